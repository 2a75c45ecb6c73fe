"""What a fault module offers: functions that injure hostler in one way and say what came of it, as rows of a table.

    from tests.faults.frame import Tally, Trial, fault

    @fault("disk of a host full", sample=6.0, full=60.0)
    def host_full(trial: Trial) -> Iterator[Tally]:
        for disk in trial.pick(DISKS, sample=2):
            ...
            yield Tally(tries=1, lost=0, doubled=0, wrong=0)

Any module of this folder is found by `tools/faults` and by pytest without being named anywhere. What is counted here
is never asserted here: rows are the result, and whoever called decides that they must be zeros.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class CannotTry(Exception):
    """This machine lacks what a fault needs; says what, and how to have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What came of a fault: how often it was tried, and how many jobs were lost, doubled, or recorded wrongly.

    `fault` names the row when one function makes several; rows of one name are added up. `note` is for people.
    `evidence` has a line for each lost, doubled or wrong job: what was done, what was recorded.
    """

    tries: int
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    fault: str = ""
    note: str = ""
    evidence: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether the fault was tried, and did no harm."""
        return bool(self.tries) and not (self.lost or self.doubled or self.wrong)

    def __add__(self, other: Tally) -> Tally:
        """Both together; the later one's note stands."""
        return replace(
            self,
            tries=self.tries + other.tries,
            lost=self.lost + other.lost,
            doubled=self.doubled + other.doubled,
            wrong=self.wrong + other.wrong,
            note=other.note or self.note,
            evidence=self.evidence + other.evidence,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One call of a fault's function: its luck, its size, its place, its time.

    `chance` comes from `seed` and the fault's name alone, so the same seed injures at the same places. `folder` is
    this call's own. `say` shows a line of progress.
    """

    seed: int
    chance: random.Random
    sample: bool
    folder: Path
    until: float
    say: Callable[[str], None]

    @property
    def left(self) -> float:
        """Seconds that it may still take; below zero it should end with the rows that it has."""
        return self.until - time.monotonic()

    def count(self, *, sample: int, full: int) -> int:
        """So many of something, by the trial's size."""
        return sample if self.sample else full

    def pick(self, all_of: Iterable[T], *, sample: int) -> Sequence[T]:
        """All, in a sample so many of them by chance, in their order."""
        items = list(all_of)
        if not self.sample or len(items) <= sample:
            return items
        return [items[n] for n in sorted(self.chance.sample(range(len(items)), sample))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault that can be tried: a function, its name as a row has it, and how long it usually takes."""

    key: str
    name: str
    under: str
    sample: float | None
    full: float
    alone: bool
    run: Callable[[Trial], Iterator[Tally]]

    def tried(
        self, *, seed: int, folder: Path, sample: bool, seconds: float | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> list[Tally]:  # fmt: skip
        """Try it; a row per name, in order of their first appearance. Raises CannotTry."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        usual = self.sample if sample and self.sample else self.full
        trial = Trial(
            seed=seed,
            chance=random.Random(f"{seed} {self.key}"),
            sample=sample,
            folder=folder,
            until=time.monotonic() + (seconds or usual),
            say=say,
        )
        rows: dict[str, Tally] = {}
        for tally in self.run(trial):
            name = tally.fault or self.name
            tally = replace(tally, fault=name)
            rows[name] = rows[name] + tally if name in rows else tally
        return list(rows.values()) or [Tally(fault=self.name, tries=0, note="nothing was tried")]


FOUND: dict[str, Fault] = {}


def fault(
    name: str, *, full: float, sample: float | None = None, under: str = "faults", alone: bool = False
) -> Callable[[Callable[[Trial], Iterator[Tally]]], Callable[[Trial], Iterator[Tally]]]:
    """Offer a function as a fault.

    `full` and `sample` are the seconds that it usually takes, and what `Trial.left` counts from; without `sample` it is
    only tried in full. `under` is the target of make that tries it: faults, soak or chaos. One that is to be tried
    `alone` measures something, and has the machine to itself.
    """

    def offer(run: Callable[[Trial], Iterator[Tally]]) -> Callable[[Trial], Iterator[Tally]]:
        key = f"{run.__module__.rpartition('.')[2]}.{run.__name__}"
        FOUND[key] = Fault(key=key, name=name, under=under, sample=sample, full=full, alone=alone, run=run)
        return run

    return offer


def found(under: str | None = None) -> list[Fault]:
    """Every fault of this folder, by modules in order of their names; only those of one target if it is named."""
    package = importlib.import_module("tests.faults")
    for module in sorted(module.name for module in pkgutil.iter_modules(package.__path__)):
        if not module.startswith("test_"):
            importlib.import_module(f"tests.faults.{module}")
    return [each for each in FOUND.values() if under in (None, each.under)]
