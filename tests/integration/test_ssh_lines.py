"""Lines that won't open, break, or carry files, against real and unreal servers."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from hostler.errors import HostRefused, LineLost, Unreachable
from hostler.model.hosts import Host
from hostler.transports.asyncssh import AsyncsshTransport
from hostler.transports.reasons import unreachable
from tests.contract.own_sshd import OwnSshd
from tests.contract.own_sshd import server as server

LONG = 30.0
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@pytest.fixture
async def transport(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncsshTransport]:
    monkeypatch.setenv("HOME", str(tmp_path))
    transport = AsyncsshTransport(state=tmp_path / "state", strict=None, ssh_config=[], say=lambda line: None)
    yield transport
    await transport.close()


async def knock(transport: AsyncsshTransport, talk: Talk, *, deadline: float = LONG) -> None:
    """Connect to a server that talks as it likes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        host = Host(name="odd", address="127.0.0.1", port=port, user="me")
        await asyncio.wait_for(transport.connect(host, deadline=deadline), LONG)


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What MaxStartups and penalties look like."""


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    line: socket.socket = writer.get_extra_info("socket")
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    await reader.read(1)
    writer.transport.abort()


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    await writer.drain()


async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-1.5-ancient\r\n")
    await reader.read()


async def noise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(os.urandom(100_000).replace(b"\n", b"x"))
    await reader.read()


async def binary(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-\xff\xfe\r\n" + b"\xff" * 5000)
    await reader.read()


async def banner_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-slow\r\n")
    await reader.read()


@pytest.mark.parametrize("talk", [hang_up, reset, http, old, noise, binary])
async def test_a_port_that_speaks_something_else_or_hangs_up_is_unreachable(
    transport: AsyncsshTransport, talk: Talk
) -> None:
    with pytest.raises(Unreachable) as caught:
        await knock(transport, talk)
    assert len(caught.value.why) < 150 and "\n" not in caught.value.why and caught.value.why.isprintable()


async def test_a_host_that_stops_talking_after_its_banner_is_unreachable_in_time(
    transport: AsyncsshTransport,
) -> None:
    with pytest.raises(Unreachable, match=r"did not finish SSH's opening within 0\.3s"):
        await knock(transport, banner_only, deadline=0.3)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), HostRefused, "name not known: web"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), Unreachable, "could not be looked up now"),
        (OSError(113, "No route to host"), Unreachable, "no route to web:22"),
        (TimeoutError(110, "timed out"), Unreachable, "no answer from web:22"),
        (OSError(24, "Too many open files"), Unreachable, "ulimit -n"),
        (
            OSError("Multiple exceptions: [Errno 101] a, [Errno 111] b"),
            Unreachable,
            "connection refused by web:22",
        ),
        (OSError(75, "Value too large"), Unreachable, "can't reach web:22: value too large"),
    ],
)
def test_errors_of_the_system_are_told_in_words_and_by_what_to_do_next(
    error: OSError, kind: type[Exception], text: str
) -> None:
    found = unreachable("web", error, place="web:22", reached=False)
    assert type(found) is kind and text in str(found)


async def test_a_name_that_can_be_none_is_refused(transport: AsyncsshTransport) -> None:
    for address in ("x" * 64, "a..b"):
        with pytest.raises(HostRefused, match="name not known"):
            await transport.connect(Host(name="odd", address=address, user="me"), deadline=LONG)


async def test_a_host_full_of_sessions_says_so_and_the_line_stays(
    tmp_path: Path, transport: AsyncsshTransport
) -> None:
    server = OwnSshd(tmp_path / "sshd", lines=["MaxSessions 2"])
    try:
        line = await transport.connect(server.host, deadline=LONG)
        streams = [await line.stream("cat", deadline=LONG) for _ in range(2)]
        with pytest.raises(Unreachable, match="allows no more sessions on this line"):
            await line.stream("cat", deadline=LONG)
        with pytest.raises(Unreachable, match="allows no more sessions on this line"):
            await line.run("true", deadline=LONG)
        assert line.alive
        streams[0].write(b"still here")
        assert await streams[0].read() == b"still here"
        await line.close()
    finally:
        server.stop()


async def test_a_host_that_freezes_is_a_lost_line_after_its_keepalives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    server = OwnSshd(tmp_path / "sshd")
    transport = AsyncsshTransport(
        state=tmp_path / "state", strict=None, ssh_config=[], keepalive=0.1, keepalive_count=2, say=print
    )
    try:
        line = await transport.connect(server.host, deadline=LONG)
        streams = [await line.stream("cat", deadline=LONG) for _ in range(3)]
        await asyncio.sleep(0.5)  # answered keepalives leave the line alone
        assert line.alive
        server.freeze()
        for stream in streams:
            with pytest.raises(LineLost, match="stopped answering"):
                await asyncio.wait_for(stream.read(), LONG)
        assert not line.alive
        await line.close()
    finally:
        await transport.close()
        server.stop()


async def test_a_sleeping_reader_of_much_output_does_not_stop_the_line(
    server: OwnSshd, transport: AsyncsshTransport
) -> None:
    line = await transport.connect(server.host, deadline=LONG)
    flood = await line.stream("cat /dev/zero", deadline=LONG)
    await flood.read()
    for number in range(5):
        assert (await line.run(f"echo {number}", deadline=LONG)).stdout == b"%d\n" % number
    await flood.close()
    assert (await line.run("echo on", deadline=LONG)).stdout == b"on\n"
    await line.close()


async def test_a_command_that_leaves_a_daemon_behind_ends_when_its_output_is_closed(
    server: OwnSshd, transport: AsyncsshTransport
) -> None:
    line = await transport.connect(server.host, deadline=LONG)
    done = await line.run("(exec sleep 1 >/dev/null 2>&1 </dev/null) & echo started", deadline=LONG)
    assert (done.stdout, done.code) == (b"started\n", 0)
    await line.close()


async def test_a_login_banner_and_start_up_files_that_print_do_no_harm(
    tmp_path: Path, transport: AsyncsshTransport
) -> None:
    (tmp_path / "banner").write_bytes(b"Beware!\x1b[31m \xff\n" * 20)
    server = OwnSshd(tmp_path / "sshd", lines=[f"Banner {tmp_path}/banner"])
    try:
        line = await transport.connect(server.host, deadline=LONG)
        assert (await line.run("echo x", deadline=LONG)).stdout == b"x\n"
        await line.close()
    finally:
        server.stop()


async def test_a_file_has_the_rights_asked_for_whatever_the_umask(
    server: OwnSshd, transport: AsyncsshTransport, tmp_path: Path
) -> None:
    line = await transport.connect(server.host, deadline=LONG)
    before = os.umask(0)
    try:
        for mode in (0o600, 0o755, 0o400):
            path = tmp_path / f"mode{mode:o}"
            await line.put(b"x", str(path), mode=mode, deadline=LONG)
            assert stat.S_IMODE(path.stat().st_mode) == mode
    finally:
        os.umask(before)
    await line.close()


@pytest.mark.parametrize("umask", ["000", "077"])
async def test_the_hosts_umask_changes_no_rights(
    tmp_path: Path, transport: AsyncsshTransport, umask: str
) -> None:
    server = OwnSshd(tmp_path / "sshd", lines=[f"Subsystem sftp internal-sftp -u {umask}"])
    try:
        line = await transport.connect(server.host, deadline=LONG)
        for mode in (0o600, 0o755):
            path = tmp_path / f"mode{mode:o}"
            await line.put(b"x", str(path), mode=mode, deadline=LONG)
            assert stat.S_IMODE(path.stat().st_mode) == mode
        await line.close()
    finally:
        server.stop()


async def test_while_a_file_is_put_its_name_shows_the_old_one_or_the_new_one(
    server: OwnSshd, transport: AsyncsshTransport, tmp_path: Path
) -> None:
    line = await transport.connect(server.host, deadline=LONG)
    path, size = tmp_path / "file", 300_000
    seen = set()
    path.write_bytes(b"0" * size)
    for number in range(1, 6):
        putting = asyncio.create_task(line.put(b"%d" % number * size, str(path), deadline=LONG))
        while not putting.done():
            data = path.read_bytes()
            assert len(data) == size and len(set(data)) == 1
            seen.add(data[:1])
            await asyncio.sleep(0)
        await putting
        assert path.read_bytes() == b"%d" % number * size
    assert seen
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.endswith(".part")] == []
    await line.close()


async def test_a_put_that_fails_leaves_no_part(
    server: OwnSshd, transport: AsyncsshTransport, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    line = await transport.connect(server.host, deadline=LONG)
    with pytest.raises(HostRefused, match="taken"):
        await line.put(b"x", str(tmp_path / "taken"), deadline=LONG)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["state", "taken"]
    await line.close()


async def test_a_line_cut_while_a_file_is_put_is_lost(tmp_path: Path, transport: AsyncsshTransport) -> None:
    server = OwnSshd(tmp_path / "sshd")
    try:
        line = await transport.connect(server.host, deadline=LONG)
        putting = asyncio.create_task(line.put(bytes(200_000_000), str(tmp_path / "big"), deadline=LONG))
        while not list(tmp_path.glob(".big*")):
            assert not putting.done()
            await asyncio.sleep(0.005)
        server.cut()
        with pytest.raises(LineLost):
            await asyncio.wait_for(putting, LONG)
        assert not (tmp_path / "big").exists()
    finally:
        server.stop()


async def test_a_host_without_sftp_says_so_and_still_runs_commands(
    tmp_path: Path, transport: AsyncsshTransport
) -> None:
    server = OwnSshd(tmp_path / "sshd", lines=["Subsystem none"])
    try:
        line = await transport.connect(server.host, deadline=LONG)
        for _ in range(12):
            with pytest.raises(HostRefused, match="no SFTP there"):
                await line.put(b"x", str(tmp_path / "file"), deadline=LONG)
        with pytest.raises(HostRefused, match="no SFTP there"):
            await line.get(str(tmp_path / "file"), deadline=LONG)
        assert (await line.run("echo x", deadline=LONG)).stdout == b"x\n"
        await line.close()
    finally:
        server.stop()


async def test_a_broken_sftp_server_says_so(tmp_path: Path, transport: AsyncsshTransport) -> None:
    programs = ("/bin/false", "/nonexistent/sftp-server", "/bin/echo hello there, this is no protocol")
    for number, program in enumerate(programs):
        server = OwnSshd(tmp_path / f"sshd{number}", lines=[f"Subsystem sftp {program}"])
        try:
            line = await transport.connect(server.host, deadline=LONG)
            with pytest.raises(HostRefused, match="SFTP"):
                await line.put(b"x", str(tmp_path / "file"), deadline=LONG)
            assert (await line.run("echo x", deadline=LONG)).stdout == b"x\n"
            await line.close()
        finally:
            server.stop()


async def test_a_host_that_runs_no_commands_for_us_is_refused(
    tmp_path: Path, transport: AsyncsshTransport
) -> None:
    server = OwnSshd(tmp_path / "sshd")
    try:
        file = server.folder / "authorized"
        file.write_text('restrict,command="echo forced" ' + file.read_text())
        line = await transport.connect(server.host, deadline=LONG)
        assert (await line.run("id", deadline=LONG)).stdout == b"forced\n"
        await line.close()
    finally:
        server.stop()


async def test_a_hundred_lines_open_and_close_without_leaving_files_open(
    server: OwnSshd, transport: AsyncsshTransport
) -> None:
    async def visit(number: int) -> None:
        line = await transport.connect(replace(server.host, name=f"n{number}"), deadline=LONG)
        assert (await line.run("true", deadline=LONG)).code == 0
        await line.close()

    await visit(0)
    before = len(os.listdir("/proc/self/fd"))
    for batch in range(5):
        await asyncio.gather(*(visit(batch * 10 + n) for n in range(10)))
    assert len(os.listdir("/proc/self/fd")) <= before + 2
