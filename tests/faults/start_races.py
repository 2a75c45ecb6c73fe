"""Several lines that start the same attempts at the same moment, slowed down at the calls that decide who is first.

Each attempt must begin once. Over the runner, with none there yet and with one that is just leaving; and over
attempt.sh, whose fence is the making of a hard link.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from hostler.links import attempt_words as say
from hostler.model.reports import Result, Standing
from hostler.remote.attempt_source import BOOT, message
from hostler.remote.runner import wire
from tests.faults.frame import Tally, Trial, fault
from tests.faults.injecting import attached, delaying, need_strace
from tests.integration.runner_rig import Line, Rig, eventually, rigged, start_frame
from tests.integration.spoken import Spoken

JOBS = (1, 2, 3, 4)
LINES = 4
#: Calls that decide who is the runner, and what is started.
DECIDING = (
    "flock",
    "mkdir",
    "bind",
    "listen",
    "connect",
    "clone",
    "pwrite64",
    "unlink",
    "sendmsg",
    "socketpair",
)
#: Calls by which a runner leaves.
LEAVING = ("unlink", "rmdir", "close", "write")
#: Calls by which attempt.sh claims, begins and lets go.
CLAIMING = ("link", "mkdir", "rename", "unlink", "rmdir", "execve", "open", "write", "read")


@fault("started by several lines at once, no runner yet", sample=1.5, full=60.0)
def first(trial: Trial) -> Iterator[Tally]:
    """Sessions that all find no runner, and each say hello and the same starts."""
    need_strace()
    for number in range(trial.count(sample=2, full=60)):
        with rigged(trial.folder / str(number)) as rig, ExitStack() as stack:
            rig.folder.mkdir()
            lines = [rig.fork() for _ in range(LINES)]
            for line in lines:
                chosen = trial.chance.sample(DECIDING, 3)
                words = delaying(chosen, trial.chance.choice((0.002, 0.01, 0.04)))
                stack.enter_context(attached(words, line.process.pid))  # type: ignore[union-attr]
            for line in lines:
                line.send(_hello(rig), *_starts(rig))
            _listen(lines)
            yield _judged(rig, lines)


@fault("started by a line that comes while the runner leaves", sample=1.0, full=60.0)
def leaving(trial: Trial) -> Iterator[Tally]:
    """A runner that lets go of its spool call by call, and sessions that want one."""
    need_strace()
    for number in range(trial.count(sample=2, full=60)):
        with rigged(trial.folder / str(number)) as rig:
            line = rig.line()
            line.start(9, "true")
            line.result(9)
            line.ack(9)
            words = delaying(trial.chance.sample(LEAVING, 2), trial.chance.choice((0.002, 0.01)))
            with attached(words, line.answer()["pid"]):
                lines = [rig.fork() for _ in range(2)]
                line.bye()
                for each in lines:
                    each.send(_hello(rig, epoch=2), *_starts(rig, above=9))
                _listen(lines)
            yield _judged(rig, lines, above=9)


@fault("started by several lines at once, attempt.sh", full=90.0)
def shell(trial: Trial) -> Iterator[Tally]:
    """Messages with the same starts, read by as many shells at once."""
    need_strace()
    for number in range(trial.count(sample=1, full=40)):
        folder = trial.folder / str(number)
        folder.mkdir()
        spoken = Spoken(folder, "dash")
        try:
            spoken.open(slots=trial.chance.randint(1, 4))
            starts = [spoken.start(serial, "true") for serial in JOBS]
            text = message(
                say.beginning(spoken.shell, "n") + spoken.entered(say.starting(starts)) + b"_hdone\n"
            )
            boot, made = BOOT.replace("/bin/sh", spoken.shell), []
            for _ in range(LINES):
                words = delaying(trial.chance.sample(CLAIMING, 2), trial.chance.choice((0.001, 0.005, 0.02)))
                made.append(
                    subprocess.Popen(
                        [*words, spoken.shell, "-c", boot], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                        env=spoken.env,
                    )
                )  # fmt: skip
            for process in made:
                assert process.stdin is not None
                process.stdin.write(text)
                process.stdin.close()
            ends = {serial: spoken.result(serial) for serial in JOBS}
            for process in made:
                process.wait(60)
            yield _tally(
                {serial: spoken.begun(serial) for serial in JOBS},
                [f"{end}" for end in ends.values() if not isinstance(end, Result) or end.code],
            )
        finally:
            spoken.close()


def _hello(rig: Rig, **said: object) -> bytes:
    return wire.frame(wire.HELLO, json.dumps({**rig.hello, **said}).encode())


def _starts(rig: Rig, above: int = 0) -> list[bytes]:
    ready = [wire.frame(wire.HELLO, b""), wire.frame(wire.CREDIT, wire.NUMBER.pack(1 << 20))]
    return [*ready, *(start_frame(above + s, f"echo {above + s} >>{rig.folder}/began") for s in JOBS)]


def _listen(lines: list[Line]) -> None:
    """Read all lines until one has told of all jobs, or all are over."""

    def told() -> bool:
        for line in lines:
            while line.read(0.01):
                pass
        return any(len(line.of(Result)) == len(JOBS) for line in lines) or all(line.over for line in lines)

    eventually(told, "the end of all attempts, or of all lines")


def _judged(rig: Rig, lines: list[Line], above: int = 0) -> Tally:
    """Hang up and come as the next controller: send what is not known, wait for all ends, count the beginnings."""
    for each in lines:
        each.close()
    asked = [above + serial for serial in JOBS]
    line = rig.line(ask=asked, epoch=3)
    for serial, standing in line.answer()["standings"]:
        if standing == Standing.UNKNOWN:
            line.start(serial, f"echo {serial} >>{rig.folder}/began")
    wrong = [f"{line.result(serial)}" for serial in asked if line.result(serial).code != 0]
    path = Path(rig.folder / "began")
    begun = Counter(map(int, path.read_text().split())) if path.exists() else Counter[int]()
    line.ack(*asked)
    line.bye()
    line.end()
    with suppress(OSError):
        eventually(rig.deserted, "nothing left")
    return _tally({serial: begun[serial] for serial in asked}, wrong)


def _tally(begun: dict[int, int], wrong: list[str]) -> Tally:
    doubled = [f"{serial} began {count} times" for serial, count in begun.items() if count > 1]
    lost = [f"{serial} never began" for serial, count in begun.items() if not count]
    return Tally(
        tries=1, lost=len(lost), doubled=len(doubled), wrong=len(wrong), evidence=(*lost, *doubled, *wrong)
    )
