"""`hostler sandbox` and `hostler reap` as typed; the folder they trust; and a plain user's hosts."""

from __future__ import annotations

import json
import os
import pwd
import re
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

from hostler.errors import UsageError
from hostler.providers.sandbox import hosts
from hostler.providers.sandbox_files import Record, Registry
from hostler.providers.sandbox_make import Launch
from hostler.providers.sandbox_sshd import choose, home, locked
from hostler.providers.sandbox_start import start
from tests.lab import Lab, count_marked, lab_environment, wait_until

ROOT = os.geteuid() == 0


@pytest.fixture
def alone() -> Iterator[Lab]:
    """A Lab for this test alone."""
    with Lab() as lab:
        yield lab


def hostler(lab: Lab, *words: str, umask: int = -1) -> subprocess.CompletedProcess[str]:
    """Run a command of hostler that sees this Lab's hosts."""
    return subprocess.run(
        [sys.executable, "-m", "hostler", *words],
        env=lab_environment(lab),
        capture_output=True,
        text=True,
        timeout=100,
        umask=umask,
        check=False,
    )


def of_a_run(lab: Lab, *, run: str = "1" * 32, lifetime: float | None = None) -> Record:
    """A host that belongs to a run whose controller is this process."""
    launch = Launch(
        run=run,
        token=secrets.token_hex(4),
        now=time.time(),
        lifetime=lifetime,
        server=choose({**os.environ, **lab.env}),
        environment=home(lab.env),
    )
    return start(lab.registry, 1, launch=launch, seconds=60.0)[0]


def orphaned(lab: Lab) -> str:
    """The name of a host that belongs to a run whose controller has died."""
    code = (
        "import asyncio; from hostler.providers.sandbox import Sandbox;"
        "print(asyncio.run(Sandbox().launch(1, run='r', token='t', deadline=60, lifetime=None))[0].host.name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=lab_environment(lab),
        check=True,
        timeout=100,
        text=True,
        stdout=subprocess.PIPE,
    )
    return done.stdout.strip()


def test_up_prints_one_endpoint_a_line_and_the_hosts_outlive_it(alone: Lab) -> None:
    done = hostler(alone, "sandbox", "up", "2", "--hosts-file", str(alone.path / "hosts.txt"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines == [host.endpoint for host in hosts(alone.path)]
    assert (alone.path / "hosts.txt").read_text() == done.stdout
    me = pwd.getpwuid(os.geteuid()).pw_name
    assert all(line.startswith(f"{me}@127.77.") for line in lines)
    for host in hosts(alone.path):
        assert alone.run(host, "echo up").stdout == b"up\n"


def test_list_tells_people_and_scripts_the_same(alone: Lab) -> None:
    assert hostler(alone, "sandbox", "list", "--json").stdout == "[]\n"
    hostler(alone, "sandbox", "up", "1", "--lifetime", "1h")
    owned = of_a_run(alone)
    told = json.loads(hostler(alone, "sandbox", "list", "--json").stdout)
    assert [(each["name"], each["state"], each["run_uid"]) for each in told] == [
        ("sandbox1", "up", None),
        (owned.name, "up", "1" * 32),
    ]
    assert told[0]["expires"] == pytest.approx(told[0]["started"] + 3600)
    assert Path(told[0]["identity"]).is_file() and told[0]["host_key"].startswith("ssh-ed25519 ")
    text = hostler(alone, "sandbox", "list").stdout
    assert (
        "sandbox1" in text
        and told[0]["endpoint"] in text
        and re.search("59m|1h00m", text)
        and "1" * 32 in text
    )


def test_down_ends_all_or_those_named_and_can_be_said_twice(alone: Lab) -> None:
    hostler(alone, "sandbox", "up", "3")
    mark = alone.mark(hosts(alone.path)[1])
    assert alone.run(hosts(alone.path)[1], "setsid sleep 1000 </dev/null >/dev/null 2>&1 &").returncode == 0
    assert count_marked(mark)
    done = hostler(alone, "sandbox", "down", "sandbox2", "nosuch")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nosuch: no such sandbox host" in done.stderr
    assert count_marked(mark) == 0
    assert [host.name for host in hosts(alone.path)] == ["sandbox1", "sandbox3"]
    for _ in range(2):
        assert hostler(alone, "sandbox", "down").returncode == 0
        assert alone.registry.entries() == []


def test_down_leaves_a_run_that_is_at_work_its_hosts_unless_they_are_named(alone: Lab) -> None:
    owned = of_a_run(alone)
    alone.hosts()
    assert [host.name for host in hosts(alone.path)] == ["sandbox1"]  # a run's own are nobody else's
    done = hostler(alone, "sandbox", "down")
    assert owned.name in done.stderr
    assert [entry.name for entry in alone.registry.entries()] == [owned.name]
    assert hostler(alone, "sandbox", "down", owned.name).returncode == 0
    assert alone.registry.entries() == []


def test_down_takes_the_hosts_of_a_run_whose_controller_has_died(alone: Lab) -> None:
    orphaned(alone)
    assert [entry.up for entry in alone.registry.entries()] == [True]
    assert hostler(alone, "sandbox", "down").returncode == 0
    assert alone.registry.entries() == []


def test_reap_ends_what_is_broken_expired_orphaned_or_of_a_run_that_is_named(alone: Lab) -> None:
    [kept, broken] = alone.hosts(2)
    owned = of_a_run(alone)
    orphan = orphaned(alone)
    late = of_a_run(alone, run="2" * 32, lifetime=5.0)
    [dead, expired] = [
        next(entry.record for entry in alone.registry.entries() if entry.name == name)
        for name in (broken.name, late.name)
    ]
    assert dead and dead.keeper and expired and expired.keeper
    os.kill(dead.keeper.pid, signal.SIGKILL)
    os.kill(expired.keeper.pid, signal.SIGSTOP)  # it misses its own fuse
    wait_until(lambda: time.time() > late.started + 5.0)
    done = hostler(alone, "reap", "--run", "1" * 32, "--json")
    assert done.returncode == 0, done.stderr
    told = {each["name"]: each["why"] for each in json.loads(done.stdout)}
    assert told == {broken.name: "dead", owned.name: "run", late.name: "expired", orphan: "orphan"}
    assert hosts(alone.path) == (kept,)
    assert "nothing to reap" in hostler(alone, "reap").stderr
    assert "32 hex digits" in hostler(alone, "reap", "--run", "zz").stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("up", "0"), "0 sandbox hosts"),
        (("up", "-1"), "-1"),
        (("up", "501"), "must be 1 to 500"),
        (("up", "two"), "two"),
        (("up", "1", "--lifetime", "soon"), "soon"),
        (("up", "1", "--lifetime", "0"), "at least 1s"),
        (("up", "1", "--hosts-file", "/nonexistent/x"), "/nonexistent/x"),
    ],
)
def test_bad_words_are_refused_in_one_line_and_nothing_is_begun(
    alone: Lab, words: tuple[str, ...], says: str
) -> None:
    done = hostler(alone, "sandbox", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr and len(done.stderr.splitlines()) == 1
    assert alone.registry.entries() == []


@pytest.mark.parametrize("umask", [0o000, 0o777 if ROOT else 0o077])
def test_folders_and_keys_are_private_whatever_the_umask(alone: Lab, umask: int) -> None:
    alone.registry = Registry(alone.path / "in")
    environment = lab_environment(alone, HOSTLER_SANDBOX_DIR=str(alone.registry.path))
    words = [sys.executable, "-B", "-m", "hostler", "sandbox", "up", "1"]
    subprocess.run(words, env=environment, umask=umask, check=True, timeout=100, capture_output=True)
    [entry] = alone.registry.entries()
    assert entry.up
    for folder in (alone.registry.path, entry.folder, entry.folder / "spool"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in (alone.registry.client_key, entry.folder / "host_key", entry.folder / "record.json"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    [host] = hosts(alone.registry.path)
    assert alone.run(host, "umask").stdout == b"0022\n"


def test_the_usual_folder_depends_on_the_account_and_on_nothing_else() -> None:
    usual = Registry(environ={"HOME": "/elsewhere", "XDG_STATE_HOME": "/elsewhere"}).path
    assert usual == Path(f"/var/tmp/hostler-{os.geteuid()}/sandbox")


@pytest.mark.parametrize("what", ["open to others", "a file", "a link"])
def test_a_folder_that_others_could_have_written_is_refused(tmp_path: Path, what: str) -> None:
    place = tmp_path / "sandbox"
    if what == "open to others":
        place.mkdir()
        place.chmod(0o750)
    elif what == "a file":
        place.touch()
    else:
        (tmp_path / "real").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "real")
    for words in (("up", "1"), ("list",), ("down",)):
        done = subprocess.run(
            [sys.executable, "-m", "hostler", "sandbox", *words],
            env={**os.environ, "HOSTLER_SANDBOX_DIR": str(place)},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert str(place) in done.stderr and len(done.stderr.splitlines()) == 1
    assert hosts(place) == ()


def test_a_folder_of_another_account_is_refused() -> None:
    # As root any account's will do; as a plain user root's own.
    place = Path(tempfile.mkdtemp()) if ROOT else Path("/root")
    try:
        if ROOT:
            os.chown(place, 65534, 65534)
        with pytest.raises(UsageError, match=f"{place}: (belongs to user|.*denied)"):
            Registry(place).create()
        assert hosts(place) == ()
    finally:
        if ROOT:
            place.rmdir()


def test_a_damaged_record_counts_as_broken_and_is_cleared(alone: Lab) -> None:
    folder = alone.path / "sbx-0123456789abcdef"
    for text in ("", "{", "[]", '{"id": "sbx-0123456789abcdef"}', "\x00\xff"):
        alone.registry.create()
        folder.mkdir()
        (folder / "record.json").write_text(text)
        assert hosts(alone.path) == ()
        assert [each["state"] for each in json.loads(hostler(alone, "sandbox", "list", "--json").stdout)] == [
            "dead"
        ]
        assert hostler(alone, "sandbox", "down").returncode == 0
        assert not folder.exists()


def test_looking_for_hosts_imports_nothing_slow() -> None:
    code = (
        "import sys; from hostler.providers.sandbox import hosts; hosts();"
        "print([m for m in ('asyncssh', 'asyncio', 'sqlalchemy', 'rich', 'click') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], timeout=60) == b"[]\n"


def test_settings_that_can_not_be_obeyed_are_refused() -> None:
    with pytest.raises(UsageError, match="must be sshd or asyncssh"):
        choose({"HOSTLER_SANDBOX_SERVER": "telnet"})
    assert choose({"HOSTLER_SANDBOX_SERVER": "asyncssh"}).sshd is None
    with pytest.raises(UsageError, match="HOSTLER_SANDBOX_HOME"):
        home({"HOSTLER_SANDBOX_HOME": "relative"})


def test_a_path_with_blanks_and_percent_signs_is_no_trouble(tmp_path: Path) -> None:
    with Lab(path=tmp_path / "a b%h $x") as lab:
        [host] = lab.hosts()
        assert lab.run(host, 'echo "$HOME"').stdout.decode().strip() == str(lab.home)


@pytest.fixture
def plain() -> Iterator[tuple[list[str], Path]]:
    """How to become a plain user with a login shell, and a folder of theirs: an account made for the test if root."""
    place = Path(tempfile.mkdtemp(prefix="hostler-plain-"))
    if not ROOT:
        yield [], place
        shutil.rmtree(place)
        return
    name = f"hstl{secrets.token_hex(4)}"
    subprocess.run(["useradd", "-M", "-d", str(place), "-s", "/bin/sh", name], check=True, timeout=60)
    try:
        account = pwd.getpwnam(name)
        os.chown(place, account.pw_uid, account.pw_gid)
        ids = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        yield ["setpriv", *ids], place
    finally:
        subprocess.run(["userdel", name], check=True, timeout=60, capture_output=True)
        shutil.rmtree(place)


def python_for(become: list[str], place: Path) -> tuple[str, dict[str, str]]:
    """A Python that the plain user may run, and an environment in which it finds hostler."""
    library = place / "library"
    shutil.copytree(Path(sys.modules["hostler"].__path__[0]), library / "hostler")
    for package in (click, msgspec):
        shutil.copytree(Path(package.__path__[0]), library / package.__name__)
    subprocess.run(["chmod", "-R", "a+rX", str(place)], check=True, timeout=60)
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(place),
        "PYTHONPATH": str(library),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOSTLER_SANDBOX_DIR": str(place / "sandbox"),
    }
    check = "import sys; assert sys.version_info >= (3, 11); import hostler, click, msgspec"
    for candidate in (sys.executable, "/usr/bin/python3"):
        # Through a shell: setpriv itself can still run what the user can't.
        words = [*become, "sh", "-c", 'exec "$0" -c "$1"', candidate, check]
        done = subprocess.run(words, env=environment, capture_output=True, timeout=60, check=False)
        if done.returncode == 0:
            return candidate, environment
    raise AssertionError("no Python 3.11 or later that a plain user may run")


def test_a_plain_user_has_hosts_of_their_own(plain: tuple[list[str], Path]) -> None:
    become, place = plain
    python, environment = python_for(become, place)

    def run(*words: str) -> str:
        done = subprocess.run(
            [*become, python, "-m", "hostler", "sandbox", *words],
            env=environment,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert len(run("up", "2").splitlines()) == 2
    try:
        [one, two] = json.loads(run("list", "--json"))
        assert (
            one["port"] >= 1024 or Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text() < "1024"
        )
        known = place / "sandbox" / "known_hosts"
        known.write_text(f"[{one['address']}]:{one['port']} {one['host_key']}\n")
        known.chmod(0o644)
        words = ["ssh", "-F", "none", "-T", "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={known}"]
        words += ["-o", "IdentitiesOnly=yes", "-i", one["identity"], "-p", str(one["port"])]
        hider = "setsid env -i /bin/sh -c '(sleep 999 </dev/null >/dev/null 2>&1 & echo $!)'"
        done = subprocess.run(
            [*become, *words, f"{one['user']}@{one['address']}", f"id -un; {hider}"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        name, daemon = done.stdout.split()
        assert name == one["user"]
        assert Path(f"/proc/{daemon}").exists()
        run("down", "sandbox1")
        assert not Path(f"/proc/{daemon}").exists()
        assert [each["name"] for each in json.loads(run("list", "--json"))] == [two["name"]]
    finally:
        run("down")


@pytest.mark.skipif(not ROOT, reason="only root can become nobody, and only to look")
def test_an_account_without_a_login_shell_gets_asyncssh_servers(plain: tuple[list[str], Path]) -> None:
    _, place = plain
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    python, environment = python_for(become, place)
    code = "from hostler.providers.sandbox_sshd import choose; s = choose(); print(s.sshd, s.why)"
    done = subprocess.check_output(
        [*become, "sh", "-c", 'exec "$0" -c "$1"', python, code], env=environment, text=True, timeout=60
    )
    assert done.startswith("None the account nobody has no login shell")


def test_pam_is_asked_only_for_an_account_that_sshd_would_take_for_locked(tmp_path: Path) -> None:
    shadow = tmp_path / "shadow"
    shadow.write_text("root:!:20228:0:::::\nann:$6$x:20228::::::\nbob:*:20228::::::\nrooter:!:1::::::\n")
    assert [locked(user, shadow) for user in ("root", "ann", "bob", "nobody-here")] == [
        True,
        False,
        False,
        False,
    ]
    assert locked("root", tmp_path / "none") is False
