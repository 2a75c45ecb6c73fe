"""Both far ends reckon by a clock that goes on while a host sleeps: played by a namespace in which it is far ahead."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostler.links import attempt_words as say
from hostler.links.attempt_answers import Answers, Told
from hostler.remote.attempt_source import message
from tests.integration.spoken import Spoken

#: Seconds by which it is ahead, and alone: steady time that stands still in a sleep is as it is everywhere.
AHEAD = 1_000_000
ASLEEP = ("unshare", "--user", "--map-root-user", "--time", "--boottime", str(AHEAD))
#: More than a test takes.
HOUR = 3600


@pytest.fixture(scope="module", autouse=True)
def namespaces() -> None:
    """See that they can be had."""
    tried = subprocess.run([*ASLEEP, "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"no time namespaces on this machine: {tried.stderr.decode().strip()}")


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Spoken]:
    made = Spoken(tmp_path, "dash")
    made.prefix = [*ASLEEP]
    yield made
    made.close()


def test_the_runner_s_lease_counts_time_asleep() -> None:
    program = "from hostler.remote.runner.lease import steady; print(steady())"
    told = subprocess.run([*ASLEEP, sys.executable, "-c", program], capture_output=True, check=True)
    assert -HOUR <= float(told.stdout) - AHEAD - time.clock_gettime(time.CLOCK_BOOTTIME) <= 0


def test_attempt_sh_counts_time_asleep(plain: Spoken) -> None:
    body = say.beginning(plain.shell, "n") + plain.opening()
    told = [one for one in Answers("n").feed(plain.run(message(body))) if isinstance(one, Told)]
    assert -HOUR <= told[0].at / 100 - AHEAD - time.clock_gettime(time.CLOCK_BOOTTIME) <= 0
