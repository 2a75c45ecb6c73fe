"""What root may do hides mistakes: a sample of what behaves otherwise as a plain user, run as one.

`make test-plain` runs the whole of these suites so. Here stands what is quick and would be missed most.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = "tests/integration"
#: Files, and single tests of files that take longer.
SAMPLE = (
    f"{HERE}/test_store_folder.py",
    f"{HERE}/test_batch_bad_input.py::test_a_file_of_jobs_that_cannot_be_read",
    f"{HERE}/test_postgres_store.py::test_who_dies_loses_its_run_at_once",
    f"{HERE}/test_runner_kills.py::test_nothing_of_a_plain_user_s_killed_job_survives",
    f"{HERE}/test_runner_spool.py::test_a_home_that_can_not_be_written_to_is_passed_over",
    f"{HERE}/test_security_files.py::test_the_state_folder_is_ours_alone_with_all_that_is_in_it_under_any_umask",
    f"{HERE}/test_sandbox_commands.py::test_a_plain_user_has_hosts_of_their_own",
)


@pytest.mark.skipif(os.geteuid() != 0, reason="who runs this is a plain user: so were all tests")
@pytest.mark.timeout(300)
def test_what_root_would_not_notice_is_also_tried_as_a_plain_user(tmp_path: Path) -> None:
    words = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow"]
    # The places of this process's tests are its own: the other account's processes are told of none.
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HOSTLER_", "XDG_", "PYTEST"))
    }
    done = subprocess.run(
        [str(ROOT / "tools" / "plain"), sys.executable, "-m", "pytest", *words, *SAMPLE],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    assert " passed" in done.stdout and " skipped" not in done.stdout, done.stdout[-8000:]


def test_a_plain_user_comes_from_root_with_nothing_of_root_s_left(tmp_path: Path) -> None:
    told = "id -u; id -un; id -G; grep -c '^CapEff:.0*$' /proc/self/status; echo $HOME; touch /root/x; exit 7"
    done = subprocess.run(
        [str(ROOT / "tools" / "plain"), "sh", "-c", told],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7
    uid, name, groups, *rest = done.stdout.split()
    assert rest[0] == "1"
    assert uid != "0" and "0" not in groups.split()
    if os.geteuid() == 0:
        assert name == "plain" and groups == uid
        assert not Path(rest[-1]).exists() and not Path("/root/x").exists()
