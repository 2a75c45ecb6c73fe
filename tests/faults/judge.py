"""The judge: what was planned, what jobs wrote down themselves, and what hostler says, held against each other.

None of the three is trusted alone. It asks hostler only what a person could ask (`log`, `report`, the kept
output), and only reads.
"""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostler.cli.storing import using
from tests.command import Hostler, survivors
from tests.faults.frame import Tally
from tests.faults.plan import Mark, Plan, read_marks

#: Endings that a job brings about by itself. What comes after one is a retry; after any other, a repetition.
ITS_OWN = ("ok", "exit", "signal", "timeout", "output-limit")
#: Endings without an effect: it was taken back before it began.
NO_EFFECT = ("revoked",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found, a line each; `repeated` is how many jobs' effects may have been made again, and were said to."""

    jobs: int
    attempts: int
    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    wrong: tuple[str, ...]
    repeated: int

    @property
    def clean(self) -> bool:
        """Whether all is as it should be."""
        return not (self.lost or self.doubled or self.wrong)

    def tally(self, *, tries: int, fault: str = "", note: str = "") -> Tally:
        """The verdict as a row."""
        kinds = (("lost", self.lost), ("doubled", self.doubled), ("wrong", self.wrong))
        return Tally(
            fault=fault,
            tries=tries,
            lost=len(self.lost),
            doubled=len(self.doubled),
            wrong=len(self.wrong),
            note=note,
            evidence=tuple(f"{kind}: {line}" for kind, lines in kinds for line in lines),
        )


def judge(
    hostler: Hostler, *, plan: Plan, effects: Path, run: str = "last", forgives: Collection[str] = (),
    unfinished: bool = False,
) -> Verdict:  # fmt: skip
    """Hold a run that is over against its plan and its effects.

    `forgives` are the endings, beside the jobs' own, that the faults account for: "lost" where hosts died,
    "interrupted" where leases ended. With `unfinished` the run may have jobs that wait.
    """
    with _asking(hostler):
        return _Case(hostler, plan, effects, run, {*ITS_OWN, *NO_EFFECT, *forgives}, unfinished).judge()


class _Case:
    """One run before the judge."""

    def __init__(
        self, hostler: Hostler, plan: Plan, effects: Path, run: str, allowed: set[str], unfinished: bool
    ) -> None:
        self.plan, self.allowed, self.unfinished = plan, allowed, unfinished
        self.report = hostler.json("report", run)
        self.run, self.uid = str(self.report["number"]), str(self.report["uid"])
        self.attempts: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for attempt in hostler.json("log", self.run):
            self.attempts[attempt["job"]].append(attempt)
        self.marks: dict[tuple[int, int], list[Mark]] = defaultdict(list)
        for mark in read_marks(effects):
            if mark.uid == self.uid:
                self.marks[mark.job, mark.n].append(mark)
        self.lost: list[str] = []
        self.doubled: list[str] = []
        self.wrong: list[str] = []
        self.repeated = 0

    def judge(self) -> Verdict:
        accepted = sum(self.report["counts"].values())
        if accepted != len(self.plan.tasks):
            self.lost.append(f"{len(self.plan.tasks)} jobs were given, {accepted} are on record")
        if self.report["state"] != "finished" and not self.unfinished:
            self.lost.append(f"the run is {self.report['state']}: {self.report['counts']}")
        for job in range(1, len(self.plan.tasks) + 1):
            self._job(job, self.attempts.get(job, []))
        on_record = {(job, each["attempt"]) for job, made in self.attempts.items() for each in made}
        for job, n in sorted(set(self.marks) - on_record):
            self.wrong.append(f"job {job}: attempt {n} ran, and is not on record")
        if self.repeated != self.report["maybe_duplicated"]:
            self.wrong.append(
                f"the report says {self.report['maybe_duplicated']} repeated, the log {self.repeated}"
            )
        for pid, attempt in survivors(self.uid).items():
            if not self.unfinished:
                self.wrong.append(f"process {pid} of attempt {attempt} is still there")
        self._outputs()
        return Verdict(
            jobs=len(self.plan.tasks),
            attempts=len(on_record),
            lost=tuple(self.lost),
            doubled=tuple(self.doubled),
            wrong=tuple(self.wrong),
            repeated=self.repeated,
        )

    def _job(self, job: int, made: Sequence[Mapping[str, Any]]) -> None:
        """One job: is its end on record, does the record hold, was anything done twice in silence?"""
        blamed, said = 0, False
        before: list[str] = []
        for attempt in made:
            marks = self.marks.get((job, attempt["attempt"]), [])
            begun = [mark for mark in marks if mark.begin]
            if len(begun) > 1:
                self.doubled.append(f"job {job}: attempt {attempt['attempt']} began {len(begun)} times")
            self._attempt(job, attempt, marks)
            if begun and "ok" in before:
                self.doubled.append(f"job {job}: attempt {attempt['attempt']} after it had ended well")
            again = any(ending not in ITS_OWN for ending in before)
            if begun and again and not attempt["maybe_duplicated"]:
                self.doubled.append(
                    f"job {job}: attempt {attempt['attempt']} again, not said; before: {before}"
                )
            said = said or attempt["maybe_duplicated"]
            if begun:
                before.append(str(attempt["ending"]))
            blamed += attempt["ending"] in ITS_OWN and attempt["ending"] != "ok"
        self.repeated += said
        last = made[-1]["ending"] if made else None
        if last is None or last in NO_EFFECT:
            if not self.unfinished:
                self.lost.append(
                    f"job {job}: no end on record; attempts: {[each['ending'] for each in made]}"
                )
        elif last in ITS_OWN and last != "ok" and blamed != self.plan.retries + 1 and not self.unfinished:
            self.wrong.append(f"job {job}: given up after {blamed} failures, retries: {self.plan.retries}")

    def _attempt(self, job: int, attempt: Mapping[str, Any], marks: Sequence[Mark]) -> None:
        """One attempt: does what is on record of it agree with what it did?"""
        n, ending = attempt["attempt"], attempt["ending"]
        name = f"job {job}, attempt {n} on {attempt['host']}"
        begun, ended = any(m.begin for m in marks), [m.end for m in marks if not m.begin]
        if ending is None:
            if not self.unfinished:
                self.lost.append(f"{name}: open for ever; began: {begun}, ended: {ended}")
            return
        if ending not in self.allowed:
            self.wrong.append(
                f"{name}: on record as {ending} ({attempt['detail']}), which nothing here explains"
            )
        if ending in NO_EFFECT and begun:
            self.wrong.append(f"{name}: on record as {ending}, but it began")
        if ending in ("ok", "exit", "signal") and not begun:
            self.lost.append(f"{name}: on record as {ending}, but it never began")
            return
        if wrong_hosts := {m.host for m in marks} - {attempt["host"]}:
            self.wrong.append(f"{name}: it ran on {wrong_hosts}")
        if ending in ("ok", "exit", "signal"):
            planned = self.plan.tasks[job - 1].ends(n)
            if [planned] != ended or _ends_as(attempt) != planned:
                self.wrong.append(f"{name}: on record {_ends_as(attempt)}, did {ended}, planned {planned}")
        elif ending == "timeout" and (attempt["seconds"] or 0.0) < (self.plan.timeout or float("inf")):
            self.wrong.append(f"{name}: timed out after {attempt['seconds']} s of {self.plan.timeout}")

    def _outputs(self) -> None:
        """Hold what is kept of every attempt's output against what it printed: in whole, or as far as it came."""
        from hostler.cli.looking import look as looked
        from hostler.cli.looking import opened, output_of
        from hostler.stores.output_reading import read_output
        from hostler.stores.reads.attempts import attempts

        with opened() as reader:
            seen = looked(reader, self.run)
            for row in attempts(seen.reader, seen.row.number):
                ref, folder = output_of(seen, row), seen.folder
                for stream in (1, 2):
                    kept = b"".join(read_output(folder, ref, stream)) if ref and folder else b""
                    task = self.plan.tasks[row.job - 1]
                    full = task.prints(f"{self.uid}/{row.job}/{row.n}", stream)
                    whole = row.ending in ("ok", "exit", "signal")
                    if (kept != full) if whole else not full.startswith(kept):
                        self.wrong.append(
                            f"job {row.job}, attempt {row.n} on {row.worker}: stream {stream} has {len(kept)} bytes "
                            f"kept, {len(full)} printed; ending {row.ending}; the same up to {_common(kept, full)}"
                        )


def _ends_as(attempt: Mapping[str, Any]) -> str:
    """How an attempt ended, in the words of a plan."""
    if attempt["ending"] == "signal":
        return signal.Signals(attempt["signal"]).name.removeprefix("SIG")
    return str(attempt["code"] or 0)


def _common(one: bytes, other: bytes) -> int:
    """How many bytes two texts have in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


@contextmanager
def _asking(hostler: Hostler) -> Iterator[None]:
    """Read the store that this command has, in this process."""
    ours = {name: value for name, value in hostler.env.items() if name.startswith("HOSTLER_")}
    before = dict(os.environ)
    os.environ.update(ours)
    try:
        with using(hostler.env.get("HOSTLER_STORE")):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)
