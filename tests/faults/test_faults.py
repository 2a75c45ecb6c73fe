"""Each fault tried: a short seeded sample of it always, the whole of it when there is time.

The counts must be zeros. A failure prints the command that does the same again.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.frame import CannotTry, Fault, found

SEED = 4
SAMPLES = [each for each in found() if each.sample is not None]
#: Seconds beyond what a fault usually takes before it counts as hanging: machines differ much.
PATIENCE = 240.0


@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize("each", SAMPLES, ids=lambda each: each.key)
def test_a_sample_of_each_fault_loses_doubles_and_falsifies_nothing(each: Fault, tmp_path: Path) -> None:
    harmless(each, tmp_path, sample=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "each",
    [
        pytest.param(each, id=each.key, marks=pytest.mark.timeout(2 * each.full + PATIENCE))
        for each in found("faults")
    ],
)
def test_each_fault_in_full_loses_doubles_and_falsifies_nothing(each: Fault, tmp_path: Path) -> None:
    harmless(each, tmp_path, sample=False)


def test_the_samples_together_take_ninety_seconds_at_most_by_their_own_word() -> None:
    assert sum(each.sample or 0.0 for each in SAMPLES) <= 90.0


def harmless(each: Fault, folder: Path, *, sample: bool) -> None:
    again = f"tools/faults {'--sample ' if sample else ''}--seed {SEED} {each.key}"
    try:
        rows = each.tried(seed=SEED, folder=folder, sample=sample)
    except CannotTry as error:
        pytest.skip(str(error))
    bad = [row for row in rows if not row.clean]
    told = "\n".join(line for row in bad for line in (str(row), *row.evidence[:20]))
    assert not bad, f"{told}\nthe same again: {again}"
