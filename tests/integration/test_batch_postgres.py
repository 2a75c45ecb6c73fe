"""A batch whose store is in PostgreSQL: several machines share it, and what it was told in confidence stays so."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.command import ALL, Effects, Hostler
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.lab import Lab, wait_until
from tests.own_postgres import OwnPostgres, postgres

__all__ = ["postgres"]
NUMBERS = count(1)
CANARY = "k3yb1rd"


@pytest.fixture
def store(hostler: Hostler, postgres: OwnPostgres) -> str:
    """A store of this test's own, which the command has been told of."""
    url = hostler.env["HOSTLER_STORE"] = postgres.make(f"batch{next(NUMBERS)}")
    return url


@pytest.fixture
def elsewhere(tmp_path: Path, ground: Lab, store: str) -> Iterator[Hostler]:
    """The command on another machine that has the store: nothing else is shared."""
    made = Hostler(tmp_path / "elsewhere", ground, HOSTLER_STORE=store)
    yield made
    made.close()


def test_a_run_is_taken_up_on_another_machine_and_nothing_is_lost_or_doubled(
    hostler: Hostler, elsewhere: Hostler, effects: Effects
) -> None:
    text = 'echo "$2" >> "$1"; while [ "$2" -gt 30 ] && [ ! -e "$1.go" ]; do sleep 0.1; done; echo "out $2"'
    jobs = "".join(f"{number}\n" for number in range(1, 61)).encode()
    running = hostler.start(
        "batch", *ALL, "-j", "4", "--", "sh", "-c", text, "-", str(effects), "{}", stdin=jobs
    )
    effects.wait(38)
    assert elsewhere.json("runs")[0]["alive"]
    running.kill()
    effects.go()  # some end while there is nobody to tell
    wait_until(lambda: not elsewhere.json("runs")[0]["alive"], what="the end of a lock whose holder is dead")

    done = elsewhere("batch", "--resume", "last")
    assert done.code == 0, done.err
    assert effects.counts == {str(number): 1 for number in range(1, 61)}
    log = elsewhere.json("log", "last")
    assert sorted(each["job"] for each in log) == list(range(1, 61))
    assert all(
        (each["attempt"], each["ending"], each["maybe_duplicated"]) == (1, "ok", False) for each in log
    )
    assert hostler.json("status", "last")["counts"] == {"ok": 60}

    # Rows are for everybody; bytes lie with whose controller took them in, and that is told.
    told, kept = elsewhere("log", "last", "1"), hostler.folder / "state" / "runs" / hostler.uid()
    assert told.code == 6 and f":{kept}" in told.err and "kept where it was taken in" in told.err, told.err
    assert hostler("log", "last", "1", "--stdout").out == b"out 1\n"
    last = max(log, key=lambda each: float(each["ended"]))["job"]
    assert elsewhere("log", "last", str(last), "--stdout").out == f"out {last}\n".encode()
    assert f":{elsewhere.folder / 'state'}" in hostler("log", "last", str(last)).err


@pytest.mark.slow
def test_files_beside_a_run_are_gone_on_with_on_another_machine(
    hostler: Hostler, elsewhere: Hostler, effects: Effects
) -> None:
    words = ["batch", *ALL, "-j", "1", "-k", "--results", "res", "--joblog", "log"]
    first = hostler.start(*words, *effects.waiting("a", "b", "c", "d"))
    effects.wait(2, "begun")
    effects.go()
    wait_until(lambda: hostler.json("runs")[0]["counts"].get("ok", 0) >= 1, what="a result on record")
    first.kill()
    done = elsewhere("batch", "--resume", "last")
    assert done.code == 0, done.err
    assert effects.counts == {f"{word} {job}": 1 for word in ("begun", "done") for job in "abcd"}


@pytest.mark.slow
def test_what_is_asked_for_on_one_machine_is_done_on_the_other(
    hostler: Hostler, elsewhere: Hostler, effects: Effects
) -> None:
    running = hostler.start("batch", *ALL, "-j", "1", *effects.waiting("a", "b", "c", "d"))
    effects.wait(2, "begun")
    assert elsewhere("pause", "last").code == 0
    assert elsewhere("add", "last", ":::", "e").code == 0
    assert elsewhere("cancel", "last", "4").code == 0
    follower = elsewhere.start("batch", "--resume", "last")
    effects.go()
    effects.wait(2, "done")
    assert elsewhere("unpause", "last").code == 0
    assert [running.wait().code, follower.wait().code] == [3, 3]  # a cancelled job
    assert effects.counts == {f"{word} {job}": 1 for word in ("begun", "done") for job in "abce"}
    assert elsewhere("wait", "last").code == 3


@pytest.mark.slow
def test_the_store_that_the_flag_names_is_used_and_no_other(hostler: Hostler, postgres: OwnPostgres) -> None:
    url = postgres.make(f"batch{next(NUMBERS)}")
    assert hostler("runs", "--store", url).err == hostler("runs").err  # none anywhere
    assert hostler("batch", "--store", url, *ALL, "--", "true", ":::", "a").code == 0
    assert hostler("runs").err.startswith("hostler: there are no runs yet")
    assert [row["number"] for row in hostler.json("runs", "--store", url)] == [1]
    offered = hostler("log", "--store", url, "", _HOSTLER_COMPLETE="fish").out
    assert offered.startswith(b"words\nlast\t"), offered
    assert hostler("log", "", _HOSTLER_COMPLETE="fish", HOSTLER_STORE=url).out == offered
    hostler("batch", "--store", "mysql://h/d", *ALL, ":::", "true").refused("--store: a store is named by")
    project = hostler.folder / "hostler.toml"
    project.write_text(f'[all]\nstore = "{url}"\n')
    hostler("batch", *ALL, ":::", "true").refused("store names a store, which a project's file may not")


def test_the_commands_that_are_told_name_the_store_that_the_flag_named_and_work_as_they_stand(
    hostler: Hostler, postgres: OwnPostgres
) -> None:
    url = postgres.make(f"batch{next(NUMBERS)}")
    done = hostler("batch", "--store", url, *ALL, "--", "sh", "-c", "exit 3", ":::", "a")
    again, closer = (
        shlex.split(line.partition(":")[2])
        for word in ("try again:", "look closer:")
        for line in done.err.splitlines()
        if line.startswith(word)
    )
    assert again == ["hostler", "batch", "--retry", "1", "--store", url], done.err
    assert hostler(*again[1:]).code == 1
    assert hostler(*closer[1:], "--json").code == 0
    assert hostler.json("status", "1", "--store", url)["next"].endswith(shlex.join(["--store", url]))
    hostler("log", "9", "--store", url).refused(f"(see: hostler runs {shlex.join(['--store', url])})")
    # Where a setting names the store a plain command finds it, too; and a password stays where it is.
    assert (
        hostler("batch", "--retry", "1", HOSTLER_STORE=url).err.rstrip().endswith("hostler batch --retry 1")
    )


def test_a_server_that_is_not_there_is_told_in_one_line_and_the_run_may_be_gone_on_with(
    hostler: Hostler, store: str, postgres: OwnPostgres, effects: Effects
) -> None:
    running = hostler.start("batch", *ALL, "-j", "1", *effects.waiting("a", "b"))
    effects.wait(2, "begun")
    postgres.stop()
    try:
        for words in (["runs"], ["batch", *ALL, "--", "true", ":::", "a"], ["stop", "last"]):
            hostler(*words).refused("can't be reached for the moment", code=6)
        effects.go()
        effects.wait(2, "done")
        wait_until(lambda: "nothing new is started until" in running.err, what="word of a store that is away")
        running.kill()
    finally:
        postgres.start()
    resumed = hostler("batch", "--resume", "last")
    assert (resumed.code, sorted(resumed.lines)) == (0, ["a", "b"]), resumed.err
    assert effects.counts == {f"{word} {job}": 1 for word in ("begun", "done") for job in "ab"}


# -- secrets -----------------------------------------------------------------------------------------------


@pytest.fixture
def walled(postgres: OwnPostgres) -> str:
    """A database that is only opened with a password, by another name."""
    name = f"batch{next(NUMBERS)}"
    postgres.says(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'walled') THEN "
        f"CREATE ROLE walled LOGIN PASSWORD '{CANARY}'; END IF; END $$"
    )
    postgres.says(f"CREATE DATABASE {name} OWNER walled")
    return name


@pytest.mark.slow
def test_the_password_in_a_url_is_seen_nowhere(
    hostler: Hostler, postgres: OwnPostgres, walled: str, effects: Effects
) -> None:
    hostler.env["HOSTLER_STORE"] = postgres.url(walled).replace("hostler@", f"walled:{CANARY}@")
    running = hostler.start("batch", *ALL, *effects.waiting("a", "b"))
    effects.wait(2, "begun")
    assert CANARY not in argv_of_all()
    shown = [hostler("config", "show").out.decode(), hostler("config", "show", "--json").out.decode()]
    assert all(f"walled@/{walled}" in text and CANARY not in text for text in shown)
    effects.go()
    done = running.wait()
    assert done.code == 0, done.err
    told = done.err + "".join(hostler(verb, "last").err for verb in ("status", "log", "report", "events"))
    hostler.env["HOSTLER_STORE"] = hostler.env["HOSTLER_STORE"].replace(CANARY, CANARY + "x")
    wrong = hostler("runs")
    wrong.refused("password authentication failed", f"walled@/{walled}", code=6)
    assert CANARY not in told + wrong.err
    files = [path for path in hostler.folder.rglob("*") if path.is_file()]
    assert files and not [path for path in files if CANARY.encode() in path.read_bytes()]


def test_a_password_on_the_command_line_is_refused(hostler: Hostler) -> None:
    refused = hostler("runs", "--store", f"postgresql://ann:{CANARY}@h/d")
    refused.refused("everybody on this machine can read a password on a command line")
    assert CANARY not in refused.err


def test_the_password_may_stand_where_libpq_looks_for_it(
    hostler: Hostler, postgres: OwnPostgres, walled: str
) -> None:
    url = postgres.url(walled).replace("hostler@", "walled@")
    hostler("runs", "--store", url).refused("password", code=6)
    passwords = hostler.folder / "passwords"
    passwords.write_text(f"*:*:{walled}:walled:{CANARY}\n")
    passwords.chmod(0o600)
    service = hostler.folder / "services"
    service.write_text(f"[fleet]\nhost={postgres.folder}\ndbname={walled}\nuser=walled\n")
    hostler.env |= {"PGPASSFILE": str(passwords), "PGSERVICEFILE": str(service)}
    assert hostler("runs", "--store", url).err.startswith("hostler: there are no runs yet")
    assert hostler("runs", "--store", "postgresql://?service=fleet").code == 0


def argv_of_all() -> str:
    """The command lines of every process on this machine."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            found.append(Path("/proc", pid, "cmdline").read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)


def test_where_the_driver_is_missing_that_is_told(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from hostler.cli.main import main; sys.exit(main(['runs', '--store', 'postgresql://h/d']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2 and b"pip install 'hostler[postgres]'" in done.stderr, done.stderr
