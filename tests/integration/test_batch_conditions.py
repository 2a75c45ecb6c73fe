"""What jobs of `hostler batch` find, when they begin, what ends their run early; and a run that is only shown."""

from __future__ import annotations

import os
from pathlib import Path

from tests.command import ALL, Effects, Hostler
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.lab import wait_until

ONE = ("--hosts", "sandbox1")


def test_jobs_get_the_environment_that_they_are_given_and_nobody_sees_it(
    hostler: Hostler, effects: Effects
) -> None:
    text = f'echo "$TOKEN|$A|$HOSTLER_JOB"; true {{}}; while [ ! -e {effects} ]; do sleep 0.05; done'
    running = hostler.start(
        "batch", *ALL, "--env", "TOKEN", "--env", "A=b = c", "--line-buffer", "--", text, ":::", "x",
        env={"TOKEN": "s3 cret\n'x'"},
    )  # fmt: skip
    wait_until(lambda: b"|1\n" in running.out, what="the job's line")
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert b"s3 cret" not in place.read_bytes(), place
        except (FileNotFoundError, ProcessLookupError):
            continue
    effects.path.touch()
    done = running.wait()
    assert done.out == b"s3 cret\n'x'|b = c|1\n"
    assert "s3 cret" not in done.err and "s3 cret" not in str(hostler.json("status", "last"))


def test_the_environment_is_kept_for_a_resume(hostler: Hostler, effects: Effects) -> None:
    text = f'echo "$A {{}}" >> {effects}; [ {{}} = 2 ]'
    words = (
        "-q",
        *ONE,
        "-j",
        "1",
        "--halt",
        "now,fail=1",
        "--env",
        "A=1",
        "--workdir",
        str(hostler.folder),
        "--",
        text,
    )
    assert hostler("batch", *words, ":::", "1", "2").code == 5
    assert hostler("batch", "-q", "--resume", "last", "--halt", "never").code == 1
    assert effects.lines == ["1 1", "1 2"]
    hostler("batch", "--resume", "last", "--env", "A=2").refused("--env", "keeps")


def test_jobs_begin_in_the_folder_that_was_named(hostler: Hostler, effects: Effects) -> None:
    place = hostler.folder / "there now"
    place.mkdir()
    assert hostler("batch", *ALL, "-q", "--workdir", str(place), "--", "pwd", ":::", "").lines == [str(place)]
    trap = hostler.folder / "a\ntouch x; echo 'b"
    trap.mkdir()
    within = hostler("batch", *ONE, "-q", "--workdir", str(trap), "--", "ls; basename {}", ":::", "c")
    assert within.lines == ["c"]
    home = [str(hostler.lab.home)]
    assert hostler("batch", *ONE, "-q", "--workdir", "~/.", "--", "sh", "-c", "pwd", ":::", "a").lines == home


def test_a_folder_that_is_not_there_is_no_jobs_fault_and_costs_no_retry(hostler: Hostler) -> None:
    gone = hostler("batch", *ALL, "--retries", "2", "--workdir", "/no/where", "--", "pwd", ":::", "a")
    assert gone.code == 1 and "--workdir /no/where: no such folder on this host" in gone.err, gone.err
    (attempt,) = hostler.json("log", "last")
    assert (attempt["ending"], attempt["code"]) == ("staging-failed", None)


def test_a_halted_run_has_a_code_of_its_own_says_why_and_goes_on(hostler: Hostler) -> None:
    jobs = [str(n) for n in range(1, 21)]
    done = hostler("batch", *ONE, "-j", "1", "--halt", "soon,fail=2", "--", "test {} -lt 4", ":::", *jobs)
    assert done.code == 5 and "--halt soon,fail=2: 2 jobs failed" in done.err
    status = hostler.json("status", "last")
    assert (status["state"], status["counts"]) == ("stopped", {"ok": 3, "failed": 2, "queued": 15})
    again = hostler("batch", "--resume", "last", "--halt", "never")
    assert again.code == 1 and hostler.json("status", "last")["counts"] == {"ok": 3, "failed": 17}


def test_now_ends_what_runs(hostler: Hostler, effects: Effects) -> None:
    text = f"[ {{}} = 1 ] || {{ echo on >> {effects}; sleep 60; }}; while ! grep -q on {effects}; do sleep 0.05; done"
    done = hostler("batch", *ONE, "-j", "2", "-q", "--halt", "now,success=1", "--", text, ":::", "1", "2")
    assert done.code == 5 and hostler.json("status", "last")["counts"] == {"ok": 1, "queued": 1}


def test_at_its_deadline_a_run_ends_whatever_runs(hostler: Hostler) -> None:
    done = hostler("batch", *ONE, "-j", "1", "--deadline", "4s", "--", "sleep", ":::", "0", "600", "1")
    assert done.code == 5 and "--deadline" in done.err
    assert hostler.json("status", "last")["counts"] == {"ok": 1, "queued": 2}
    again = hostler("batch", "-q", "--resume", "last")
    assert again.code == 5 and "new --deadline" in again.err


def test_jobs_begin_one_after_the_other(hostler: Hostler, effects: Effects) -> None:
    words = ("-q", *ALL, "-j", "9", "--delay", "250ms", "--", "sh", "-c", f"date +%s%N >> {effects}")
    assert hostler("batch", *words, ":::", *"abcd").code == 0
    moments = sorted(int(line) / 1e9 for line in effects.lines)
    # A start takes its time to come to pass, so neighbours may be nearer to each other than the delay.
    assert moments[-1] - moments[0] > 0.5


def test_a_dry_run_shows_the_commands_and_reaches_nothing(hostler: Hostler) -> None:
    nobody = ("--hosts", "root@127.254.254.254:9,root@127.254.254.253:9")
    done = hostler(
        "batch",
        "--dry-run",
        *nobody,
        "--",
        "echo {} {#} | wc",
        ":::",
        "a b",
        "c\nd",
        os.fsdecode(b"\x1b[31m"),
    )
    assert (done.code, done.out) == (0, b"echo 'a b' 1 | wc\necho 'c\\nd' 2 | wc\necho '^[[31m' 3 | wc\n")
    assert done.err == (
        "hostler: dry run: 3 jobs on 2 hosts\nhostler: 127.254.254.254, 127.254.254.253: by asyncssh, "
        "as nothing in your SSH configuration needs the ssh program\n"
    )
    done = hostler("batch", "--dry-run", *nobody, "--transport", "openssh", "--", "echo", ":::", "a")
    assert done.err.endswith("by openssh, as --transport or a setting says\n")
    assert hostler("batch", "--dry-run", "-q", "--", "cp", "{.}", ":::", "a b.c").out == b"cp 'a b'\n"
    assert not (hostler.folder / "state").exists()
    many = hostler(
        "batch", "--dry-run", "-q", "--", "echo", stdin=b"".join(b"%d\n" % n for n in range(20000))
    )
    assert len(many.lines) == 20000
    hostler("batch", "--dry-run", "--", "echo", ":::").refused("no jobs")
    hostler("batch", "--dry-run", "--", "echo", "{2}", ":::", "a").refused("{2}")
    hostler("batch", "--dry-run", "--resume", "1").refused("--dry-run", "new runs")
