"""The power cut: what the controller's disk would hold had the machine gone dark after any of its calls.

Looked at alone: one run is written down by strace, and from that each disk is made that a cut could have left. Whatever
had been printed by then (the run's number, a job's line in the job log) must be on that disk, and the real command must
read it. And with the host that lives on: the controller is killed at a call, finds its state folder as a cut would have
left it, and has to end the run on a host that remembers everything.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.command import Hostler
from tests.faults.controller_calls import ground, judged, submitted, under
from tests.faults.disk import Disk
from tests.faults.diskcalls import Call, calls, recording
from tests.faults.frame import Tally, Trial, fault
from tests.faults.injecting import kinds, need_strace, places
from tests.lab import Lab

JOBS = 6


@dataclass(slots=True)
class Told:
    """What had been printed by a moment: whether the run's number was, and the jobs in the job log with their codes."""

    number: bool = False
    ended: dict[int, int] = field(default_factory=dict)

    def hear(self, call: Call) -> None:
        if call.name != "write" or not call.fds:
            return
        if call.fds[0].endswith("/err") and b"batch 1:" in call.data:
            self.number = True
        if call.fds[0].endswith("/joblog"):
            for line in call.data.decode().splitlines():
                columns = line.split("\t")
                if columns[0].isdigit():
                    self.ended[int(columns[0])] = int(columns[6])


def record(folder: Path, lab: Lab) -> list[Call]:
    """Play one run under strace; its calls."""
    log, state = folder / "trace", folder / "state"
    hostler = Hostler(folder, lab)
    hostler.within = (*recording(log), "-f")
    with (folder / "err").open("wb") as err:
        done = hostler.start(
            "batch", "--transport", "local", "--hosts", "localhost", "-j", "2", "--joblog", str(folder / "joblog"),
            "--", "echo said {}; exit {}", ":::", *map(str, range(JOBS)), stderr=err.fileno(),
        ).wait(120)  # fmt: skip
    assert done.code == 1, (folder / "err").read_text()
    assert (state / "store.db").exists()
    return list(calls(log))


def wrongs(hostler: Hostler, told: Told) -> tuple[list[str], list[str]]:
    """What is lost and what is wrong on a disk, held against what was told."""
    runs = hostler("runs", "--json")
    if runs.code != 0:
        return [], [f"the store can't be read: {runs.err.strip()}"]
    rows = json.loads(runs.out)
    if not rows:
        return (["the run whose number was printed"], []) if told.number else ([], [])
    lost, wrong = [], []
    if sum(rows[0]["counts"].values()) != JOBS:
        lost.append(f"jobs: {rows[0]['counts']} of {JOBS}")
    log = hostler("log", "1", "--json")
    if log.code != 0:
        return lost, [f"its log can't be read: {log.err.strip()}"]
    ended = {each["job"]: each["code"] for each in json.loads(log.out) if each["ending"]}
    lost += [f"the end of job {job}" for job in told.ended.keys() - ended.keys()]
    wrong += [f"job {job}: code {code}, not {job - 1}" for job, code in ended.items() if code != job - 1]
    for job in list(ended)[-2:]:
        text = hostler("log", "1", str(job))
        if text.out != b"said %d\n" % (job - 1):
            wrong.append(f"output of job {job}: {text.out!r} {text.err.strip()!r}")
    return lost, wrong


@fault("power cut at the controller", sample=3.0, full=1200.0)
def power(trial: Trial) -> Iterator[Tally]:
    """Cut the power after each call that changed the disk; keep nothing, all, or some of what was not synced."""
    need_strace()
    played = trial.folder / "played"
    played.mkdir()
    with Lab(path=trial.folder / "lab") as lab:
        recorded = record(played, lab)
        state = str(played / "state")
        moments = moments_of(recorded, state)
        tried = trial.pick([(n, keep) for n in moments for keep in ("none", "some", "all")], sample=6)
        done = 0
        for disk, told, n in replay(recorded, state, sorted({n for n, _ in tried})):
            for keep in [each for at, each in tried if at == n]:
                if trial.left < 0 and done:
                    return
                place = trial.folder / f"cut{n}-{keep}"
                place.mkdir()
                disk.cut(place, keep=keep, chance=trial.chance)
                lost, wrong = wrongs(Hostler(place, lab), told)
                done += 1
                evidence = [
                    f"after call {n} of {len(recorded)}, {keep} of the rest kept: {each}"
                    for each in lost + wrong
                ]
                yield Tally(
                    tries=1,
                    lost=len(lost),
                    wrong=len(wrong),
                    note=f"{done} of {3 * len(moments)} disks",
                    evidence=tuple(evidence),
                )
                if not evidence:
                    shutil.rmtree(place)


def moments_of(recorded: Sequence[Call], state: str) -> list[int]:
    """After which calls the disk is another one."""
    disk = Disk(state)
    return [n for n, call in enumerate(recorded) if disk.take(call)]


def replay(recorded: Sequence[Call], state: str, moments: Sequence[int]) -> Iterator[tuple[Disk, Told, int]]:
    """The disk, and what had been told, after each of these calls."""
    disk, told, wanted = Disk(state), Told(), set(moments)
    for n, call in enumerate(recorded):
        disk.take(call)
        told.hear(call)
        if n in wanted:
            yield disk, told, n


#: Before which calls the lights go out: those that change the disk, and those by which hosts are told.
DARK = ("write", "pwrite64", "fdatasync", "fsync", "ftruncate", "rename", "mkdir", "link", "unlink", "sendto")


@fault("power cut at the controller, its host lives on", sample=4.0, full=900.0)
def living(trial: Trial) -> Iterator[Tally]:
    """Cut the power before each call that changes the disk or tells the host something; resume on what is left."""
    need_strace()
    log = trial.folder / "calls"
    with ground(trial, store=False) as place:
        with place.hostler("reference") as hostler:
            code = under(recording(log), submitted(hostler, held=True))
            assert code == 1, code
        found = [(call, n) for call, n in places(log) if call in DARK]
        for number, (call, n) in enumerate(trial.pick(found, sample=2), 1):
            if trial.left < 0 and not trial.sample:
                return
            keep = trial.chance.choice(("none", "none", "some", "all"))
            name = f"dark at {call} {n}, {keep} of the rest kept"
            with place.hostler(f"{call}-{n}") as hostler:
                trace, state = hostler.folder / "trace", hostler.folder / "state"
                words = [*recording(trace), "-e", f"inject={kinds(call)}:signal=KILL:when={n}"]
                code = under(words, submitted(hostler, held=True))
                if code == -signal.SIGKILL:
                    darken(state, list(calls(trace)), keep=keep, trial=trial)
                tally = judged(hostler, code)
            trial.say("\n".join([f"   {name}: {code}", *(f"   {line}" for line in tally.evidence)]))
            if tally.clean or not tally.tries:
                shutil.rmtree(hostler.folder)
            yield replace(
                tally,
                note=f"{number} of {len(found)} places",
                evidence=tuple(f"{name}: {line}" for line in tally.evidence),
            )


def darken(state: Path, done: Sequence[Call], *, keep: str, trial: Trial) -> None:
    """Put in place of a state folder what these calls would have left of it."""
    disk = Disk(str(state), empty=True)
    for call in done:
        disk.take(call)
    os.rename(state, state.with_name("state-before"))
    disk.cut(state.parent, keep=keep, chance=trial.chance)
