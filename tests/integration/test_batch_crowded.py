"""One sshd behind many addresses that takes few new lines at a time: who runs a batch over them sees nothing of it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.addresses import also_on
from tests.command import Effects, Hostler
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.contract.own_sshd import USER, OwnSshd


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[Callable[[int, str], tuple[list[str], OwnSshd]]]:
    """Words for a batch over so many addresses of one sshd with this MaxStartups, and the sshd."""
    with contextlib.ExitStack() as stack:

        def make(count: int, startups: str) -> tuple[list[str], OwnSshd]:
            server = OwnSshd(tmp_path / "sshd", lines=(f"MaxStartups {startups}", "LogLevel VERBOSE"))
            stack.callback(server.stop)
            addresses = [f"127.9.8.{n}" for n in range(1, count + 1)]
            stack.enter_context(also_on(addresses, port=server.port, server=server.address))
            (tmp_path / "base").mkdir(mode=0o700)
            rows = [f"  h{n}: {{address: {address}}}" for n, address in enumerate(addresses, 1)]
            (tmp_path / "hosts.yaml").write_text(
                f"defaults: {{user: {USER}, port: {server.port}, identity: {server.identity}, slots: 1,"
                f" vars: {{spool: {tmp_path}/base}}}}\nhosts:\n" + "\n".join(rows) + "\n"
            )
            return ["-i", str(tmp_path / "hosts.yaml")], server

        yield make


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("way", "count", "startups"),
    [
        ("asyncssh", 40, "3:50:8"),
        pytest.param("openssh", 40, "3:50:8", marks=pytest.mark.slow),
        pytest.param("asyncssh", 200, "10:30:100", marks=pytest.mark.slow),
    ],
)
def test_many_addresses_of_one_crowded_machine_show_no_failure(
    hostler: Hostler,
    effects: Effects,
    crowded: Callable[[int, str], tuple[list[str], OwnSshd]],
    way: str,
    count: int,
    startups: str,
) -> None:
    words, server = crowded(count, startups)
    words += ["--transport", way]
    jobs = [str(number) for number in range(count)]
    running = hostler.start("batch", *words, *effects.waiting(*jobs))
    effects.wait(count, "begun", seconds=120)  # so every host has been reached, and holds a job
    effects.go()
    done = running.wait(120)
    assert done.code == 0 and sorted(done.lines) == sorted(jobs), done.err
    for word in ("hung up", "reset", "trying again", "out:", "unreachable"):
        assert word not in done.err, done.err
    assert "past MaxStartups" in (server.folder / "log").read_text(errors="replace")  # there was a crowd
    with contextlib.closing(sqlite3.connect(hostler.folder / "state" / "store.db")) as db:
        kinds = {kind for (kind,) in db.execute("SELECT DISTINCT type FROM event WHERE type LIKE 'host.%'")}
    assert kinds <= {"host.connected", "host.released"}
