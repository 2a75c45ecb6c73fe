"""The transport contract kept without SSH, on this machine; and what is said of hosts that it can't reach."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hostler.errors import HostRefused, LineLost
from hostler.model.hosts import Host
from hostler.transports.local import LocalConnection, LocalTransport
from tests.contract.transport_suite import LONG, LineSuite, read_exactly
from tests.lab import wait_until

HERE = Host(name="here", address="localhost")


class Remembering(LocalTransport):
    """It knows its lines, so that a test can cut them."""

    def __init__(self) -> None:
        self.lines: list[LocalConnection] = []

    async def connect(self, host: Host, *, deadline: float) -> LocalConnection:
        self.lines.append(await super().connect(host, deadline=deadline))
        return self.lines[-1]


class LocalGround:
    """This machine."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.transport, self.host = folder, Remembering(), HERE

    def folder(self) -> str:
        return tempfile.mkdtemp(dir=self._folder)

    async def cut(self) -> None:
        for line in self.transport.lines:
            await line.close()


class TestLocal(LineSuite):
    @pytest.fixture
    async def ground(self, tmp_path: Path) -> AsyncIterator[LocalGround]:
        ground = LocalGround(tmp_path)
        yield ground
        await ground.cut()


@pytest.fixture
async def line() -> AsyncIterator[LocalConnection]:
    line = await LocalTransport().connect(HERE, deadline=LONG)
    yield line
    await line.close()


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1", "127.9.8.7", "::1"])
async def test_this_machine_has_several_names(address: str) -> None:
    assert (await LocalTransport().connect(Host(name="a", address=address), deadline=LONG)).alive


@pytest.mark.parametrize(
    ("host", "why"),
    [
        (Host(name="a", address="192.0.2.1"), "192.0.2.1 is not this machine"),
        (Host(name="a", address="elsewhere.invalid"), "not this machine"),
        (Host(name="a", address="localhost", user="somebody-else"), "no other account"),
        (Host(name="a", address="localhost", port=2222), "a port 2222, which is for SSH"),
        (Host(name="a", address="localhost", jump="b"), "a jump host b, which is for SSH"),
    ],
)
async def test_what_only_ssh_can_reach_is_refused(host: Host, why: str) -> None:
    with pytest.raises(HostRefused, match=why):
        await LocalTransport().connect(host, deadline=LONG)


async def test_commands_start_at_home_without_what_was_said_to_hostler(
    line: LocalConnection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HOSTLER_STATE_DIR", "/nowhere")
    monkeypatch.setenv("HOSTLER_SANDBOX", "mark")
    done = await line.run("pwd; echo ${HOSTLER_STATE_DIR-none} $HOSTLER_SANDBOX", deadline=LONG)
    assert done.stdout.decode().split() == [str(tmp_path.resolve()), "none", "mark"]


async def test_a_closed_line_ends_what_ignores_it_and_leaves_what_is_detached(
    line: LocalConnection, tmp_path: Path
) -> None:
    stream = await line.stream(
        "trap '' HUP; setsid sleep 600 >/dev/null 2>&1 </dev/null & "
        "sleep 600 & echo $! $$; while :; do sleep 1; done",
        deadline=LONG,
    )
    said = b""
    while b"\n" not in said:
        said += await asyncio.wait_for(stream.read(), LONG)
    pids = [int(word) for word in said.split()]
    detached = await line.run(f"ps -o pid= --ppid {pids[1]} -o sid= -o args=", deadline=LONG)
    own = [int(row.split()[0]) for row in detached.stdout.decode().splitlines() if "sleep 600" in row]
    [free] = [pid for pid in own if pid != pids[0]]
    try:
        wait_until(lambda: os.getsid(free) == free, what="it is detached")
        await line.close()
        wait_until(lambda: not any(alive(pid) for pid in pids), what="the session ended")
        assert alive(free)
    finally:
        os.kill(free, 9)


def alive(pid: int) -> bool:
    """Whether a process runs, zombies aside."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_command_given_up_takes_its_children_along(line: LocalConnection, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    running = asyncio.create_task(
        line.run(f"sleep 600 & echo $! >{tmp_path}/pid; mv {tmp_path}/pid {begun}; exit 0", deadline=LONG)
    )
    async with asyncio.timeout(LONG):
        while not begun.exists():
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    pid = int(begun.read_text())
    async with asyncio.timeout(LONG):  # the loop goes on meanwhile: it may still be busy with the beginning
        while alive(pid):
            await asyncio.sleep(0.01)


def test_a_line_that_is_closed_while_commands_begin_leaves_nothing_of_them_behind() -> None:
    async def scene() -> None:
        line = await LocalTransport().connect(HERE, deadline=LONG)
        tasks: list[asyncio.Task[object]] = []
        for _ in range(3):
            tasks.append(asyncio.create_task(line.stream("sleep 600", deadline=LONG)))
        tasks.append(asyncio.create_task(line.run("sleep 600", deadline=LONG)))
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await line.close()

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        asyncio.run(scene())
        gc.collect()
    assert [str(each.message) for each in warned] == []


async def test_a_command_too_long_to_start_is_refused_and_the_line_stays(line: LocalConnection) -> None:
    for command in ("x" * (1 << 20), "nul \x00"):
        with pytest.raises(HostRefused, match="can't start a command"):
            await line.run(command, deadline=LONG)
    assert (await line.run("true", deadline=LONG)).code == 0


async def test_a_file_is_as_private_as_asked_and_a_pipe_holds_nobody(
    line: LocalConnection, tmp_path: Path
) -> None:
    await line.put(b"x", f"{tmp_path}/secret", mode=0o640, deadline=LONG)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o640
    os.mkfifo(tmp_path / "pipe")
    assert await line.get(f"{tmp_path}/pipe", deadline=LONG) == b""
    with pytest.raises(HostRefused, match="is a directory"):
        await line.get(str(tmp_path), deadline=LONG)
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


async def test_what_a_stream_started_goes_on_behind_a_closed_stream_until_the_line_closes(
    line: LocalConnection,
) -> None:
    stream = await line.stream("echo $$; exec sleep 600", deadline=LONG)
    pid = int((await read_exactly(stream, 2)).decode())
    await stream.close()
    await asyncio.sleep(0.05)
    assert alive(pid)
    await line.close()
    wait_until(lambda: not alive(pid), what="it ended")
    with pytest.raises(LineLost):
        await line.run("true", deadline=LONG)
