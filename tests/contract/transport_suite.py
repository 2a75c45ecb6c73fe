"""What every ports.Transport keeps, whichever way it reaches its hosts.

A module that tests one gives a fixture `ground`; the tests here say nothing of SSH. Commands are of the few words
that any host knows: true, false, exit, echo, printf, cat, head -c N /dev/zero, sleep, kill -KILL $$.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import pytest

from hostler.errors import HostKeyMismatch, HostRefused, LineLost, Unreachable
from hostler.model.hosts import Host
from hostler.ports import Connection, Finished, Stream, Transport

LONG = 30.0  # seconds: a bound for what should be quick, never a measure of it
EVERY_BYTE = bytes(range(256)) * 4 + b"\xff\xfe\x00\xc3("


class Near(Protocol):
    """One transport with a host."""

    transport: Transport
    host: Host

    def folder(self) -> str:
        """An empty folder on the host."""
        ...

    async def cut(self) -> None:
        """Break every line to the host."""
        ...


class Ground(Near, Protocol):
    """One transport with hosts of every kind that a test may meet."""

    refusing: Host
    silent: Host
    unknown: Host
    stranger: Host  # accepts none of our keys
    changed: Host  # shows another key than the one on record


async def read_all(stream: Stream) -> bytes:
    """Its stdout to the end."""
    parts = []
    while data := await asyncio.wait_for(stream.read(), LONG):
        parts.append(data)
    return b"".join(parts)


async def read_exactly(stream: Stream, size: int) -> bytes:
    """The next `size` bytes."""
    data = b""
    while len(data) < size:
        more = await asyncio.wait_for(stream.read(), LONG)
        assert more, "ended early"
        data += more
    return data


async def soon(run: Callable[[], Awaitable[Finished]]) -> bytes:
    """What a command says once the host has room for it."""
    async with asyncio.timeout(LONG):
        while True:
            try:
                return (await run()).stdout
            except Unreachable:
                await asyncio.sleep(0.01)


class LineSuite:
    """The tests of what an open line keeps, also where there is no network to be lost in."""

    @pytest.fixture
    async def line(self, ground: Near):
        connection = await ground.transport.connect(ground.host, deadline=LONG)
        yield connection
        await connection.close()

    async def test_a_command_gives_its_output_and_its_exit_code(self, line: Connection) -> None:
        done = await line.run("echo hello", deadline=LONG)
        assert (done.stdout, done.stderr, done.code, done.signal) == (b"hello\n", b"", 0, None)

    @pytest.mark.parametrize("code", [0, 1, 7, 254, 255])
    async def test_every_exit_code_is_told_as_it_is(self, line: Connection, code: int) -> None:
        done = await line.run(f"exit {code}", deadline=LONG)
        assert (done.code, done.signal) == (code, None)

    async def test_a_command_ended_by_a_signal_gives_its_name_and_no_code(self, line: Connection) -> None:
        done = await line.run("kill -KILL $$", deadline=LONG)
        assert (done.code, done.signal) == (None, "KILL")

    async def test_an_empty_command_line_ends_well(self, line: Connection) -> None:
        assert (await line.run("", deadline=LONG)).code == 0

    async def test_stderr_stays_apart_from_stdout(self, line: Connection) -> None:
        done = await line.run("echo out; echo err >&2; exit 3", deadline=LONG)
        assert (done.stdout, done.stderr, done.code) == (b"out\n", b"err\n", 3)

    async def test_stdin_and_stdout_are_bytes_of_any_kind(self, line: Connection) -> None:
        assert (await line.run("cat", stdin=EVERY_BYTE, deadline=LONG)).stdout == EVERY_BYTE

    async def test_a_run_keeps_the_first_bytes_of_a_long_output(self, line: Connection) -> None:
        done = await line.run("head -c 3000000 /dev/zero; exit 4", deadline=LONG, limit=1000)
        assert (done.stdout, done.code) == (bytes(1000), 4)

    async def test_a_run_past_its_deadline_is_given_up_and_the_line_stays(self, line: Connection) -> None:
        with pytest.raises(Unreachable, match="within"):
            await line.run("sleep 600", deadline=0.2)
        assert line.alive
        assert (await line.run("echo on", deadline=LONG)).stdout == b"on\n"

    async def test_a_command_given_up_while_it_starts_frees_its_place(self, line: Connection) -> None:
        for _ in range(12):  # more than a host allows on one line
            task = asyncio.create_task(line.stream("cat", deadline=LONG))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await soon(lambda: line.run("echo on", deadline=LONG)) == b"on\n"

    async def test_megabytes_go_there_and_back_on_a_stream(self, line: Connection) -> None:
        stream = await line.stream("cat", deadline=LONG)
        block = EVERY_BYTE * 50
        count = 5_000_000 // len(block)

        async def send() -> None:
            for _ in range(count):
                stream.write(block)
                await asyncio.wait_for(stream.drain(), LONG)

        sending = asyncio.create_task(send())
        assert await read_exactly(stream, count * len(block)) == block * count
        await sending
        await stream.close()

    async def test_a_stream_answers_while_it_stays_open(self, line: Connection) -> None:
        stream = await line.stream("cat", deadline=LONG)
        for word in (b"one", b"\x00two\xff"):
            stream.write(word)
            assert await read_exactly(stream, len(word)) == word
        await stream.close()

    async def test_a_stream_that_ends_gives_the_rest_and_then_nothing(self, line: Connection) -> None:
        stream = await line.stream("echo last; exit 9", deadline=LONG)
        assert await read_all(stream) == b"last\n"
        assert await stream.read() == b""

    async def test_a_stream_keeps_the_end_of_stderr(self, line: Connection) -> None:
        stream = await line.stream("head -c 100000 /dev/zero >&2; echo the end >&2; echo out", deadline=LONG)
        assert await read_all(stream) == b"out\n"
        tail = stream.stderr_tail()
        assert tail.endswith(b"the end\n") and 1000 < len(tail) <= 8192

    async def test_nine_streams_share_a_line_and_keep_apart(self, line: Connection) -> None:
        streams = await asyncio.gather(*(line.stream("cat", deadline=LONG) for _ in range(9)))
        for number, stream in enumerate(streams):
            stream.write(b"%d" % number)
        answers = await asyncio.gather(*(read_exactly(stream, 1) for stream in streams))
        assert answers == [b"%d" % number for number in range(9)]
        await asyncio.gather(*(stream.close() for stream in streams))
        assert (await line.run("true", deadline=LONG)).code == 0

    async def test_a_slow_reader_is_not_buried_in_output(self, line: Connection) -> None:
        stream = await line.stream("head -c 100000000 /dev/zero", deadline=LONG)
        first = await asyncio.wait_for(stream.read(), LONG)
        for _ in range(50):
            await asyncio.sleep(0.005)
        second = await asyncio.wait_for(stream.read(), LONG)
        assert first and len(second) < 10_000_000
        size = len(first) + len(second)
        while data := await asyncio.wait_for(stream.read(), LONG):
            assert len(data) < 10_000_000
            size += len(data)
        assert size == 100_000_000

    async def test_a_slow_reader_has_all_of_a_command_that_has_long_ended(self, line: Connection) -> None:
        stream = await line.stream("head -c 3500000 /dev/zero", deadline=LONG)
        for _ in range(20):  # each answer comes behind what the other has sent so far
            await line.run("true", deadline=LONG)
        size = 0
        while data := await asyncio.wait_for(stream.read(), LONG):
            size += len(data)
        assert size == 3_500_000

    async def test_what_is_written_to_a_closed_stream_is_dropped(self, line: Connection) -> None:
        stream = await line.stream("cat", deadline=LONG)
        await stream.close()
        stream.write(b"late")
        assert line.alive

    async def test_a_cut_line_wakes_its_readers_with_line_lost(self, ground: Near, line: Connection) -> None:
        streams = [await line.stream("cat", deadline=LONG) for _ in range(3)]
        reads = [asyncio.create_task(stream.read()) for stream in streams]
        running = asyncio.create_task(line.run("sleep 600", deadline=LONG))
        streams[0].write(b"x")
        assert await reads[0] == b"x"
        reads[0] = asyncio.create_task(streams[0].read())
        await ground.cut()
        for task in (*reads, running):
            with pytest.raises(LineLost):
                await asyncio.wait_for(task, LONG)
        assert not line.alive
        for stream in streams:
            stream.write(b"dropped")
            with pytest.raises(LineLost):
                await asyncio.wait_for(stream.drain(), LONG)
            with pytest.raises(LineLost):
                await asyncio.wait_for(stream.read(), LONG)
        with pytest.raises(LineLost):
            await line.run("true", deadline=LONG)
        with pytest.raises(LineLost):
            await line.stream("cat", deadline=LONG)
        await line.close()

    async def test_closing_a_line_ends_its_streams(self, line: Connection) -> None:
        stream = await line.stream("cat", deadline=LONG)
        await line.close()
        assert not line.alive
        with pytest.raises(LineLost):
            await asyncio.wait_for(stream.read(), LONG)
        await line.close()

    async def test_a_file_put_is_a_file_got(self, ground: Near, line: Connection) -> None:
        path = f"{ground.folder()}/a file"
        await line.put(EVERY_BYTE, path, deadline=LONG)
        assert await line.get(path, deadline=LONG) == EVERY_BYTE
        await line.put(b"", path, deadline=LONG)
        assert await line.get(path, deadline=LONG) == b""

    async def test_a_large_file_goes_there_and_back(self, ground: Near, line: Connection) -> None:
        path, data = f"{ground.folder()}/large", EVERY_BYTE * 1000
        await line.put(data, path, deadline=LONG)
        assert await line.get(path, deadline=LONG, limit=len(data)) == data

    async def test_a_file_longer_than_the_limit_is_refused_not_cut(
        self, ground: Near, line: Connection
    ) -> None:
        path = f"{ground.folder()}/long"
        await line.put(b"12345", path, deadline=LONG)
        with pytest.raises(HostRefused, match="more than 4 bytes"):
            await line.get(path, deadline=LONG, limit=4)
        assert await line.get(path, deadline=LONG, limit=5) == b"12345"

    async def test_a_file_that_is_not_there_is_told_as_such(self, ground: Near, line: Connection) -> None:
        with pytest.raises(FileNotFoundError):
            await line.get(f"{ground.folder()}/nothing", deadline=LONG)

    async def test_putting_where_no_folder_is_is_refused_and_the_line_stays(
        self, ground: Near, line: Connection
    ) -> None:
        with pytest.raises((HostRefused, FileNotFoundError)):
            await line.put(b"x", f"{ground.folder()}/no/such/folder", deadline=LONG)
        assert line.alive

    async def test_many_lines_can_be_opened_at_once(self, ground: Near) -> None:
        opened = await asyncio.gather(
            *(ground.transport.connect(ground.host, deadline=LONG) for _ in range(5))
        )
        done = await asyncio.gather(*(line.run("echo x", deadline=LONG) for line in opened))
        assert [one.stdout for one in done] == [b"x\n"] * 5
        await asyncio.gather(*(line.close() for line in opened))

    async def test_a_connect_given_up_leaves_nothing_that_hinders_the_next(self, ground: Near) -> None:
        task = asyncio.create_task(ground.transport.connect(ground.host, deadline=LONG))
        await asyncio.sleep(0.002)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        line = await ground.transport.connect(ground.host, deadline=LONG)
        assert (await line.run("true", deadline=LONG)).code == 0
        await line.close()


class TransportSuite(LineSuite):
    """The tests of a transport that opens lines over a network. Subclass it in a module with a `ground` fixture."""

    async def test_a_refused_port_is_unreachable(self, ground: Ground) -> None:
        with pytest.raises(Unreachable, match="connection refused by"):
            await ground.transport.connect(ground.refusing, deadline=LONG)

    async def test_a_port_that_says_nothing_is_unreachable_within_the_deadline(self, ground: Ground) -> None:
        with pytest.raises(Unreachable, match=r"within 0\.3s"):
            await asyncio.wait_for(ground.transport.connect(ground.silent, deadline=0.3), LONG)

    async def test_an_unknown_name_is_refused_for_good(self, ground: Ground) -> None:
        with pytest.raises(HostRefused, match="name not known"):
            await ground.transport.connect(ground.unknown, deadline=LONG)

    async def test_a_host_that_takes_no_key_is_refused_with_the_keys_tried(self, ground: Ground) -> None:
        with pytest.raises(HostRefused, match=r"no key accepted for .*tried .*; try: ssh "):
            await ground.transport.connect(ground.stranger, deadline=LONG)

    async def test_a_host_with_another_key_is_a_mismatch(self, ground: Ground) -> None:
        with pytest.raises(HostKeyMismatch, match="host key mismatch"):
            await ground.transport.connect(ground.changed, deadline=LONG)
