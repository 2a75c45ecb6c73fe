"""The shells of attempt.sh killed at every system call that matters: worker, watch, ladder, a job's first, our own.

What is asked later must be told the truth: done with what the job really did, lost when nobody can know, or never
seen. No attempt may begin twice, and nothing of one may go on.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hostler.links import attempt_words as say
from hostler.links.attempt_answers import Answer, Stands
from hostler.model.jobs import Ending
from hostler.model.reports import Began, Lost, Result
from tests.faults.frame import Tally, Trial, fault
from tests.faults.injecting import killed, killing, need_strace, places, watching
from tests.integration.spoken import Spoken
from tests.lab import wait_until

#: Calls of a shell that begin, wait for, name or tell something. The rest only moves descriptors about.
CALLS = ("clone", "wait4", "open", "write", "kill", "execve", "unlink", "chdir")
#: Words of complaint, and files that are only read.
HARMLESS = r"write\(2,|/dev/null|open(at)?\((?!.*O_CREAT)"
#: What a job does, by serial, behind the line that says that it begins; and how that ends by itself.
JOBS = {1: "echo out; exit 1", 2: "(setsid sleep 300 &) ; sleep 300", 3: "echo err >&2"}
ENDS = {1: (1, 4, 0), 3: (0, 0, 4)}
#: The parts of attempt.sh that are processes of their own, by what stands behind the file's name. A job's first shell
#: has no such word, and what the controller begins has only the boot line.
PARTS = ("work", "ladder", "watch", "job", "line")

#: Is the shell for attempt.sh: the first of its processes that is the wanted part runs under strace, once.
WRAPPER = """#!/bin/sh
part=$2
case $1 in -c) part=line;; */job.sh) part=job;; esac
if [ "$part" = {part} ] && [ -e {folder}/armed ] && mkdir {folder}/taken 2>/dev/null; then
    exec {strace} -DDD {shell} "$@"
fi
exec {shell} "$@"
"""


#: Seconds to wait for what should come.
PATIENCE = 20.0


@dataclass(slots=True)
class Seen:
    """What was told of attempts, by serial, and what was wrong."""

    results: dict[int, Result] = field(default_factory=dict)
    began: set[int] = field(default_factory=set)
    acknowledged: set[int] = field(default_factory=set)
    harm: list[tuple[str, str]] = field(default_factory=list)

    def take(self, answers: list[Answer]) -> None:
        """Take in what was told; what was told before must be told again."""
        for one in answers:
            if isinstance(one, Began):
                self.began.add(one.serial)
            elif isinstance(one, Result) and one.serial not in self.acknowledged:
                known = self.results.setdefault(one.serial, one)
                if (known.ending, known.code, known.out_size) != (one.ending, one.code, one.out_size):
                    self.harm.append(("wrong", f"{one} after {known}"))
            elif isinstance(one, Lost) and one.serial in self.results.keys() - self.acknowledged:
                self.harm.append(("lost", f"{one} after its result was told"))


@contextmanager
def wrapped(folder: Path, part: str, strace: list[str]) -> Iterator[Spoken]:
    """A spool whose shell is the wrapper."""
    folder.mkdir()
    spoken = Spoken(folder, "dash")
    real, spoken.shell = spoken.shell, str(folder / "shells" / "sh")
    text = WRAPPER.format(
        part=part, folder=folder, strace=" ".join(f"'{word}'" for word in strace), shell=real
    )
    Path(spoken.shell).write_text(text)
    os.chmod(spoken.shell, 0o755)
    try:
        yield spoken
    finally:
        for pid in spoken.left():
            with suppress(OSError):
                os.kill(pid, 9)


@fault("attempt.sh killed at each call of its shells", sample=4.0, full=900.0)
def shells(trial: Trial) -> Iterator[Tally]:
    """Each part, at each of its calls."""
    need_strace()
    found = []
    for part in trial.pick(PARTS, sample=1):
        log = trial.folder / f"calls-{part}"
        with wrapped(trial.folder / f"reference-{part}", part, watching(log, CALLS)) as spoken:
            seen = Seen()
            talk(spoken, seen)
            judged(spoken, seen, part)
            assert not seen.harm and set(ENDS) <= set(seen.results), (part, seen)
        found += [(part, *place) for place in places(log, but=HARMLESS)]
    for number, (part, call, n) in enumerate(trial.pick(found, sample=2), 1):
        if trial.left < 0 and not trial.sample:
            return
        what, folder, log = (
            f"{part} killed at {call} {n}",
            trial.folder / f"{part}-{call}-{n}",
            trial.folder / "log",
        )
        log.write_text("")
        seen = Seen()
        with wrapped(folder, part, killing(call, n, log=log)) as spoken:
            talk(spoken, seen)
            judged(spoken, seen, part)
        if not seen.harm:
            shutil.rmtree(folder)
        trial.say("\n".join([f"   {what}", *(f"   {words}" for _, words in seen.harm)]))
        count = Counter(kind for kind, _ in seen.harm)
        yield Tally(
            tries=int(killed(log)),
            lost=count["lost"],
            doubled=count["doubled"],
            wrong=count["wrong"],
            note=f"{number} of {len(found)} places",
            evidence=tuple(f"{what}: {words}" for _, words in seen.harm),
        )


def until(spoken: Spoken, seen: Seen, serials: list[int], *ways: type) -> set[int]:
    """Look until each of these attempts was told of in one of these ways; those of which that doesn't come."""
    missing = set(serials)
    end = time.monotonic() + PATIENCE
    while missing and time.monotonic() < end:
        answers = spoken.ask(b"_hbegin\n_hlookonce\n")
        seen.take(answers)
        missing -= {one.serial for one in answers if isinstance(one, ways)}  # type: ignore[union-attr]
        if missing:
            time.sleep(0.03)
    return missing


def talk(spoken: Spoken, seen: Seen) -> None:
    """Say all that a controller says about attempts, as one that is patient; one whose line breaks says no more."""
    spoken.open(slots=2)
    (spoken.folder / "armed").touch()
    seen.take(spoken.ask(say.starting([spoken.start(serial, text) for serial, text in JOBS.items()])))
    if not spoken.whole:
        return
    until(spoken, seen, [1], Result, Lost)
    until(spoken, seen, [2], Result, Lost, Began)
    seen.take(spoken.ask(b"".join(say.killing([2], grace=0.2, ending="cancelled"))))
    until(spoken, seen, [2, 3], Result, Lost)
    if 1 in seen.results:
        seen.take(spoken.ask(b"".join(say.acknowledging([1]))))
        seen.acknowledged.add(1)


def judged(spoken: Spoken, seen: Seen, part: str) -> None:
    """Come as the next controller, and hold what is said then against what was said before and what was done.

    Where a job's own first process was the `part` that was killed, the job has ended by that signal.
    """

    def harm(kind: str, words: str) -> None:
        seen.harm.append((kind, words))

    asked = [serial for serial in JOBS if serial not in seen.acknowledged]
    spoken.line, spoken.epoch = "two", 2
    again = []
    for one in spoken.open(*asked, slots=2, epoch=2)[1:]:
        if isinstance(one, Stands):
            began = spoken.begun(one.serial)
            known = one.serial in seen.began or one.serial in seen.results or began
            if one.standing in (0, 1) and known:
                harm("doubled", f"{one.serial} is not known any more, and has begun")
            elif one.standing == 3 and one.serial in ENDS and not began and part != "job":
                harm("wrong", f"{one.serial} is said to be done, and has not begun")
            elif one.standing == 4 and one.serial in seen.results:
                harm("lost", f"{one.serial} is said to be lost after {seen.results[one.serial]}")
            if one.standing == 0:
                again.append(one.serial)
    seen.take(spoken.ask(say.starting([spoken.start(serial, JOBS[serial]) for serial in again])))
    if 2 in asked:
        until(spoken, seen, [2], Began, Result, Lost)
        seen.take(spoken.ask(b"".join(say.killing([2], grace=0.2, ending="cancelled"))))
    if missing := until(spoken, seen, asked, Result, Lost):
        harm("lost", f"no end of {missing}; it stands {spoken.open(*asked, slots=2, epoch=2)[1:]}")
    for serial in JOBS:
        if spoken.begun(serial) > 1:
            harm("doubled", f"{serial} began {spoken.begun(serial)} times")
    for serial, result in seen.results.items():
        if part == "job" and result.signal == 9:
            continue
        if serial not in ENDS:
            if result.ending is not Ending.CANCELLED:
                harm("wrong", f"{result}")
        elif (result.code, result.out_size, result.err_size) != ENDS[serial]:
            harm("wrong", f"{result}, and not {ENDS[serial]}")
    alive = [words for pid in spoken.left() if b"sleep\0300" in (words := words_of(pid))]
    if alive and not missing:
        harm("wrong", f"{alive} goes on")
    spoken.ask(say.forgetting(grace=0.1, seconds=20))
    try:
        wait_until(lambda: not spoken.left() and not spoken.spool.exists(), what="nothing left")
    except pytest.fail.Exception:
        harm("wrong", f"left: {[words_of(pid) for pid in spoken.left()]}, {spoken.spool.exists()}")


def words_of(pid: int) -> bytes:
    """A process's words."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
