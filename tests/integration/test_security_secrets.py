"""Canary secrets, looked for where they must not be, while a batch runs and after it.

In the arguments and the environment of every process, and in every file."""

from __future__ import annotations

import os
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.command import Effects, Hostler
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.contract.own_sshd import keygen
from tests.lab import wait_until
from tests.town import Town

ROOT = pytest.mark.skipif(os.getuid() != 0, reason="accounts of one's own can only be made by root")
#: Looks at all processes that are made at least while a batch runs.
LOOKS = 20


class Watch:
    """Every process's arguments and environment, looked at again and again for words that must not be there.

    `jobs_only` are words that the environment of a job may hold, and of nothing else; arguments never.
    """

    def __init__(self, never: dict[str, str], jobs_only: dict[str, str]) -> None:
        self.found: set[tuple[str, str, bytes]] = set()
        self.looks = 0
        self.commands: set[bytes] = set()
        self.looked_into_jobs = False
        self._never, self._jobs_only = never, jobs_only
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Look for as long as the block lasts."""
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join(30)

    def _watch(self) -> None:
        before = set(os.listdir("/proc"))  # none of these is begun by what is watched
        while not self._over.wait(0.01):
            for pid in filter(str.isdigit, set(os.listdir("/proc")) - before):
                with suppress(OSError):
                    self._look(Path("/proc", pid))
            self.looks += 1

    def _look(self, process: Path) -> None:
        words = (process / "cmdline").read_bytes()
        for name, word in (self._never | self._jobs_only).items():
            if word.encode() in words:
                self.found.add((name, "arguments", words))
        try:
            around = (process / "environ").read_bytes()
        except PermissionError:
            return
        self.commands.add(words.split(b"\0")[0].rpartition(b"/")[2])
        job = b"HOSTLER_ATTEMPT=" in around
        self.looked_into_jobs |= job and any(word.encode() in around for word in self._jobs_only.values())
        for name, word in (self._never | ({} if job else self._jobs_only)).items():
            if word.encode() in around:
                self.found.add((name, "environment", words))


def holding(word: str, *places: Path, but: tuple[str, ...] = ()) -> list[str]:
    """The files below some folders that hold a word, in their bytes or their names."""
    found = []
    for place in places:
        for path in place.rglob("*") if place.is_dir() else ():
            with suppress(OSError):
                if word in path.name or (
                    stat.S_ISREG(path.lstat().st_mode)
                    and path.name not in but
                    and word.encode() in path.read_bytes()
                ):
                    found.append(str(path))
    return found


def canary() -> str:
    """A word that stands nowhere else."""
    return f"canary{secrets.token_hex(12)}"


def put(path: Path, word: str) -> Path:
    """A secret's own file."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(word + "\n")
    path.chmod(0o600)
    return path


@ROOT
@pytest.mark.parametrize(
    ("transport", "link"),
    [
        ("openssh", "runner"),
        ("asyncssh", "sh"),
        pytest.param("asyncssh", "runner", marks=pytest.mark.slow),
        pytest.param("openssh", "sh", marks=pytest.mark.slow),
    ],
)
def test_no_secret_is_in_an_argument_an_environment_or_a_file(
    hostler: Hostler, effects: Effects, tmp_path_factory: pytest.TempPathFactory, transport: str, link: str
) -> None:
    passphrase, sudo, value = canary(), canary(), canary()
    hidden = tmp_path_factory.mktemp("hidden")
    effects.path = Path("/var/tmp") / f"hostler-effects-{secrets.token_hex(6)}"
    effects.path.mkdir(mode=0o777)
    effects.path.chmod(0o1777)
    go = effects.path / "go"
    sudoers = "anna ALL=(deploy) ALL"
    town = Town(dict.fromkeys(("anna", "deploy"), "/bin/bash"), sudoers=sudoers, passwords={"anna": sudo})
    try:
        with town:
            locked = keygen(hidden / "locked", secret=passphrase)
            town.accept(locked)
            town.identity = locked
            inventory = hidden / "town.yaml"
            inventory.write_text(
                town.inventory("anna", more=", vars: {python: none}" if link == "sh" else "")
            )
            settings = put(
                hidden / "config" / "hostler" / "hostler.toml", f'[batch]\nenv = ["TOKEN={value}"]'
            )
            settings.parent.chmod(0o700)
            hostler.env |= {"XDG_CONFIG_HOME": str(hidden / "config"), "TMPDIR": str(hostler.folder / "tmp")}
            (hostler.folder / "tmp").mkdir()
            words = ["-i", str(inventory), "--hosts", "anna", "--transport", transport, "--worker-logs"]
            words += ["--key-passphrase", f"file:{put(hidden / 'passphrase', passphrase)}"]
            words += [
                "--joblog",
                str(hostler.folder / "joblog"),
                "--results",
                str(hostler.folder / "results"),
            ]
            if link == "runner":
                words += ["--as", "deploy", "--as-password", f"file:{put(hidden / 'sudo', sudo)}"]
            job = f'test -n "$TOKEN"; while [ ! -e {go} ]; do sleep 0.05; done; echo ${{#TOKEN}} {{}}'
            never = {"passphrase": passphrase, "sudo's password": sudo}
            watch = Watch(never, {"--env": value})
            with watch.at_work():
                running = hostler.start("batch", *words, "--", job, ":::", "a", "b")
                wait_until(
                    lambda: watch.looks >= LOOKS and (running.process.poll() is not None or b"sleep" in watch.commands),
                    seconds=60, what="looks while jobs run",
                )  # fmt: skip
                assert running.process.poll() is None, running.err
                meanwhile = [
                    each
                    for word in never.values()
                    for each in holding(word, hostler.folder, town.folder / "homes")
                ]
                go.touch()
                done = running.wait()
            assert (done.code, sorted(done.lines)) == (0, [f"{len(value)} a", f"{len(value)} b"]), done.err
            assert watch.found == set() and meanwhile == []
            assert (
                b"sshd: anna [priv]" not in watch.commands or watch.looks
            )  # it was the lot that was looked at
            told = [hostler(*verb.split()) for verb in ("runs --json", "events last --jsonl", "status last --json",
                    "report last", "log last --json", "explain last 1", "config show")]  # fmt: skip
            for word in (*never.values(), value):
                assert word not in done.err and word.encode() not in done.out
                assert not [each for each in told if word.encode() in each.out or word in each.err]
                # The store holds what --env says, for a resume needs it: SECURITY.md says so.
                but = ("store.db", "store.db-wal") if word == value else ()
                places = [hostler.folder, town.folder / "homes", *Path("/var/tmp").glob("hostler-[0-9]*")]
                assert holding(word, *places, but=but) == []
    finally:
        for path in effects.path.iterdir():
            path.unlink()
        effects.path.rmdir()


def test_a_store_s_password_is_told_nobody(
    hostler: Hostler, tmp_path_factory: pytest.TempPathFactory
) -> None:
    word = canary()
    config = put(
        tmp_path_factory.mktemp("hidden") / "config" / "hostler" / "hostler.toml",
        f"[all]\nstore = 'postgresql://ann:{word}@127.0.0.1:1/none?connect_timeout=2'",
    )
    watch = Watch({"the store's password": word}, {})
    with watch.at_work():
        env = {"XDG_CONFIG_HOME": str(config.parents[1])}
        ended = [
            hostler.start(*verb, env=env).wait()
            for verb in (("runs",), ("config", "show"), ("--debug", "runs"))
        ]
        wait_until(lambda: watch.looks >= 3, seconds=30, what="looks")
    assert watch.found == set()
    assert [each.code for each in ended] == [6, 0, 6], ended
    assert not [each for each in ended if word in each.err or word.encode() in each.out]
    assert holding(word, hostler.folder) == []
