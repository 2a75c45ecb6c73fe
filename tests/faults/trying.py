"""Trying faults: one here, or several at once as processes of their own; what came of each, as rows.

Most of a fault is waiting, so two at once take little more than half the time. Those that measure come last and one
by one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from _pytest.outcomes import OutcomeException

from tests.faults.frame import CannotTry, Fault, Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Trying:
    """How faults are tried: their luck and size, and where their folders are made."""

    place: Path
    seed: int
    sample: bool = False
    seconds: float | None = None
    _speaking: threading.Lock = field(default_factory=threading.Lock)

    def all_of(self, faults: Sequence[Fault], *, at_once: int) -> list[Tally]:
        """Try them, so many at once; their rows in the order of the faults."""
        if at_once < 2 or len(faults) < 2:
            return [row for each in faults for row in self.here(each)]
        together = sorted((each for each in faults if not each.alone), key=lambda each: -each.full)
        with ThreadPoolExecutor(at_once) as pool:
            found = dict(zip(map(_key, together), pool.map(self._apart, together), strict=True))
        found |= {each.key: self._apart(each) for each in faults if each.alone}
        return [row for each in faults for row in found[each.key]]

    def here(self, each: Fault) -> list[Tally]:
        """Try one in this process. Its folder stays when it did harm."""
        self.say(f"== {each.key}: {each.name}, seed {self.seed}")
        began, folder = time.monotonic(), self.place / each.key
        rows = self._tried(each, folder)
        if all(row.clean for row in rows):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            size = "--sample " if self.sample else ""
            self.say(
                f"   the same again: tools/faults {size}--under {each.under} --seed {self.seed} {each.key}"
            )
            self.say(f"   what it left: {folder}")
        self.say(f"   {time.monotonic() - began:.0f} s")
        return rows

    def _tried(self, each: Fault, folder: Path) -> list[Tally]:
        try:
            return each.tried(
                seed=self.seed, folder=folder, sample=self.sample, seconds=self.seconds, say=self.say
            )
        except CannotTry as error:
            return [Tally(fault=each.name, tries=0, note=f"not tried: {error}")]
        except (Exception, OutcomeException) as error:  # pytest.fail is no Exception
            traceback.print_exc()
            return [_broke_off(each, f"{type(error).__name__}: {error}")]

    def _apart(self, each: Fault) -> list[Tally]:
        """Try one in a process of its own; what it says is passed on with its name in front."""
        rows = self.place / f"{each.key}.rows"
        words = [
            "--under",
            each.under,
            "--seed",
            str(self.seed),
            "--place",
            str(self.place),
            "--rows",
            str(rows),
        ]
        words += ["--sample"] * self.sample
        words += ["--seconds", str(self.seconds)] if self.seconds else []
        with subprocess.Popen(
            [sys.executable, "-m", "tests.faults", *words, each.key], stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                self.say(f"{each.key:26} {line.rstrip()}")
        try:
            return [
                Tally(**{**row, "evidence": tuple(row["evidence"])}) for row in json.loads(rows.read_text())
            ]
        except (OSError, ValueError):
            return [_broke_off(each, f"its process ended with {process.returncode}")]
        finally:
            rows.unlink(missing_ok=True)

    def say(self, line: str) -> None:
        """Tell of progress; whole lines, whoever else is speaking."""
        with self._speaking:
            print(line, file=sys.stderr, flush=True)


def keep(rows: Sequence[Tally], into: Path) -> None:
    """Write rows for the process that began this one."""
    into.write_text(json.dumps([asdict(row) for row in rows]))


def _broke_off(each: Fault, why: str) -> Tally:
    first = (why.strip().splitlines() or [""])[0]
    return Tally(fault=each.name, tries=0, note=f"broke off: {first}"[:160])


def _key(each: Fault) -> str:
    return each.key
