"""What every test stands on: nothing of the person who runs them is read, and nothing of theirs is written.

It must never grow fixtures that only one folder of tests needs; those stand in that folder's conftest.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Speed is the benchmarks' business: a slow machine is no failure.
# The tests are the same at every run; who wants new luck asks for `wide`, as `make test-all` does,
# or for `long`, which takes minutes a test.
SLOW = [HealthCheck.too_slow]
settings.register_profile("hostler", deadline=None, suppress_health_check=SLOW, derandomize=True)
settings.register_profile("wide", deadline=None, suppress_health_check=SLOW, max_examples=300)
settings.register_profile("long", deadline=None, suppress_health_check=SLOW, max_examples=20_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "hostler"))

# Who runs us in the background of a script has these ignored, and so would all that we start.
for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _places_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Point every folder that hostler may use into this session's own, and forget the person's settings and agent."""
    place: Path = tmp_path_factory.mktemp("places")
    with pytest.MonkeyPatch.context() as patch:
        for name in [*os.environ]:
            if name.startswith("HOSTLER_"):
                patch.delenv(name)
        patch.delenv("SSH_AUTH_SOCK", raising=False)
        for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
            patch.setenv(name, str(place / name.lower()))
        patch.setenv("HOSTLER_STATE_DIR", str(place / "state"))
        patch.setenv("HOSTLER_SANDBOX_DIR", str(place / "sandbox"))
        yield
