"""A Link over the runner: frames on one SSH channel.

It believes nothing that is not whole, keeps no state of attempts beyond what it has yet to send, and decides nothing:
when the line breaks it says Down and is done; whoever wants the host opens another Link.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice

from msgspec.structs import asdict

from hostler.clock import Clock
from hostler.errors import HostError, HostRefused, LineLost, NoPython, RunnerFailed
from hostler.links.ahead import Ahead
from hostler.links.brief import Brief
from hostler.links.decode import decode, hello, result, words
from hostler.links.sudo import Sudo
from hostler.model.hosts import Host
from hostler.model.jobs import Ending, Start
from hostler.model.reports import Down, Hello, Output, Renewed, Report, Result, Revoked
from hostler.ports import Connection, Stream, Transport
from hostler.remote import source
from hostler.remote.runner import wire

#: Output that a host may send before we have written some of it to disk, in bytes.
CREDIT = 1 << 20
#: Login messages that may come before the runner's first word, in bytes.
NOISE = 256 << 10
#: Renewals in a row after which nothing was heard, not even an answer: the line is given up though it stands.
SILENT = 6
#: The longest frame that a host may send, in bytes.
MAX_FRAME = 4 << 20
#: Starts, and bytes of words, that are sent as one message; a start alone may be longer.
STARTS, STARTS_SIZE = 256, 256 << 10
#: The longest command that is sent at all, in bytes: no kernel runs one that is half as long.
COMMAND = 16 << 20
#: Room for what a runner puts in place of a part of a stream, in bytes.
CUT_WORDS = 64
#: What a runner says in its last words when another try may succeed.
NOT_NOW = "hostler: not now: "
#: What is said where Python is missing, too old (the second: even for its options) or not whole.
NO_PYTHON = (
    "hostler: no python3",
    "Try `python -h'",
    "sys.version_info(",
    "ModuleNotFoundError:",
    "ImportError:",
)


class RunnerLink:
    """One host's runner, spoken to over a transport by a run's `brief`. With `sudo` the runner is another account's.

    `ahead` may have a line already, with the source sent.
    """

    def __init__(
        self, host: Host, *, brief: Brief, transport: Transport, clock: Clock, sudo: Sudo | None = None,
        ahead: Ahead | None = None,
    ) -> None:  # fmt: skip
        self.host, self._sudo, self._ahead = host, sudo, None if sudo else ahead
        self._transport, self._clock = transport, clock
        self._hello = {
            "protocol": wire.PROTOCOL, **asdict(brief), "host": host.name, "shell": host.var("shell"),
            "spool": None if sudo else host.var("spool"), "as": sudo.user if sudo else None, "counts": True,
        }  # fmt: skip
        self._lease, self._most = brief.lease, brief.output_limit + CUT_WORDS
        self._connection: Connection | None = None
        self._stream: Stream | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._unsent: dict[int, Start] = {}
        self._more = asyncio.Event()
        self._undrained = 0
        self._owed = self._granted = 0
        self._renewal = 0
        self._said = self._came = self._unanswered = 0
        self._counts = False
        self._mute: Down | None = None
        self._gone = asyncio.Event()
        self._leaving = False
        self._deliver: Callable[[Report], None] = lambda report: None

    async def open(
        self, ask: Sequence[int], *, given: int, deliver: Callable[[Report], None], deadline: float
    ) -> Hello:  # fmt: skip
        """Reach the runner, starting it where there is none. Raises HostError."""
        self._deliver = deliver
        python, sudo = self.host.var("python"), self._sudo
        try:
            command = sudo.command(python) if sudo else source.command(python)
        except ValueError as error:
            raise HostRefused(self.host.name, str(error)) from None
        begun = await self._ahead.take(self.host) if self._ahead else None
        # With a clock of its own: the host may have to wait for its turn first.
        self._connection = begun[0] if begun else await self._transport.connect(self.host, deadline=deadline)
        try:
            async with asyncio.timeout(deadline):
                stream = begun[1] if begun else await self._connection.stream(command, deadline=deadline)
                frames, found = await self._reach(stream, ask, given, first=b"" if begun else source.parcel())
                answer = self._answer(*found[0], ask)
        except TimeoutError:
            await self._abandon()
            raise LineLost(self.host.name, f"its runner did not answer within {deadline:.0f}s") from None
        except BaseException:
            await self._abandon()
            raise
        self._stream, self._counts = stream, answer.counts
        name = self.host.name
        self._tasks = [
            asyncio.create_task(self._listen(stream, frames, found[1:]), name=f"listen {name}"),
            asyncio.create_task(self._send(stream), name=f"send {name}"),
            asyncio.create_task(self._renew(), name=f"renew {name}"),
        ]
        return answer

    async def _reach(
        self, stream: Stream, ask: Sequence[int], given: int, *, first: bytes
    ) -> tuple[wire.Frames, list[tuple[int, bytes]]]:
        """Say hello, behind what is to come `first`, and wait for the first frames that the runner sends."""
        sudo = self._sudo
        body = json.dumps(self._hello | {"ask": list(ask), "given": given}).encode()
        seen = await sudo.pass_by(stream, self.host.name) if sudo else b""
        stream.write(first + wire.frame(wire.HELLO, body))
        frames = wire.Frames(MAX_FRAME)
        try:
            found = frames.feed(await self._beyond_noise(stream, seen))
            while not found:
                found = frames.feed(await self._read(stream))
        except ValueError as error:
            raise RunnerFailed(self.host.name, f"its runner made no sense: {error}") from None
        return frames, found

    def _answer(self, kind: int, body: bytes, ask: Sequence[int]) -> Hello:
        name = self.host.name
        if kind == wire.R_BYE:
            why = words(body[1:]) or "its runner refused us"
            raise HostRefused(name, why) if body[:1] == wire.NEVER else LineLost(name, why)
        try:
            if kind != wire.R_HELLO:
                raise ValueError(f"its runner began with a frame of type {kind}")
            return hello(body, ask)
        except ValueError as error:
            raise RunnerFailed(name, str(error)) from None

    async def _beyond_noise(self, stream: Stream, seen: bytes) -> bytes:
        """What comes after the runner's magic word; what the login printed before it is dropped."""
        while (at := seen.find(wire.MAGIC)) < 0:
            if len(seen) > NOISE:
                raise RunnerFailed(
                    self.host.name, "its login prints without end; the runner's answer never came"
                )
            seen += await self._read(stream, seen)
        return seen[at + len(wire.MAGIC) :]

    async def _read(self, stream: Stream, seen: bytes = b"") -> bytes:
        data = await stream.read()
        if not data:
            if self._sudo and seen and self._sudo.refused(seen):
                raise self._sudo.refusal(self.host.name, seen)
            tail = stream.stderr_tail() or seen
            said = [words(line) for line in tail[-2000:].splitlines() if line.strip()]
            if not said:
                raise LineLost(self.host.name, "its runner ended without a word")
            if said[-1].startswith(NOT_NOW):
                raise LineLost(self.host.name, said[-1].removeprefix(NOT_NOW))
            why = said[-1].strip()[:300]
            if any(sign in why for sign in NO_PYTHON):
                raise NoPython(self.host.name, "no python3 of 3.6 or later there")
            raise RunnerFailed(self.host.name, why)
        return data

    async def _abandon(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    # -- what comes in ----------------------------------------------------------------------------------------

    async def _listen(self, stream: Stream, frames: wire.Frames, found: list[tuple[int, bytes]]) -> None:
        down = Down("the line was closed")
        try:
            while True:
                for kind, body in found:
                    if kind == wire.R_BYE:
                        down = Down(words(body[1:]) or "the host let go", fatal=body[:1] == wire.NEVER)
                        if not self._leaving:
                            return
                    elif kind == wire.R_RESULT:
                        self._deliver(result(body))
                    else:
                        self._heard(kind, body)
                    self._came += 1
                data = await stream.read()
                if not data:
                    return
                self._unanswered = 0
                found = frames.feed(data)
        except HostError as error:
            down = Down(error.why)
        except (ValueError, struct.error) as error:
            # A host is untrusted: whatever it sends ends its own line and nothing else.
            down = Down(f"its runner made no sense ({error})"[:300], nonsense=True)
        finally:
            self._gone.set()
            self._deliver(self._mute or down)

    def _heard(self, kind: int, body: bytes) -> None:
        """Deliver what one frame reports. Raises ValueError."""
        if kind == wire.R_RENEWED:
            if len(body) not in (wire.NUMBER.size, wire.RENEWAL.size):
                raise ValueError("a renewal of another length")
            self._renewal, *said = wire.read_numbers(body)
            if said and said != [self._came]:
                raise ValueError("a frame is missing")
            self._deliver(Renewed(max(0.0, self._clock.steady() - self._renewal / 1e6)))
            return
        for report in decode(kind, body):
            if isinstance(report, Output):
                self._granted -= len(report.data)
                if self._granted < 0:
                    raise ValueError("it sends more output than it may")
                if report.offset + len(report.data) > self._most:
                    raise ValueError("it sends more of a stream than is kept")
            self._deliver(report)

    # -- what goes out ------------------------------------------------------------------------------------------

    async def _send(self, stream: Stream) -> None:
        """Send starts as the line takes them; everything else overtakes them."""
        with suppress(HostError):
            while True:
                await self._more.wait()
                await stream.drain()
                self._undrained = self._unanswered = 0  # what we say moves on, however slowly
                self._some()

    def _some(self) -> None:
        """Send one message of starts."""
        size = 0
        chosen: list[Start] = []
        for start in islice(self._unsent.values(), STARTS):
            length = sum(map(len, start.words))
            if chosen and size + length > STARTS_SIZE:
                break
            size += length
            chosen.append(start)
        for start in chosen:
            del self._unsent[start.serial]
        if chosen:
            body = wire.pack_starts(
                [(s.serial, s.job, s.n, s.words, s.shell, s.timeout or 0.0) for s in chosen]
            )
            self._undrained += len(body)
            self._frame(wire.STARTS, body)
        if not self._unsent:
            self._more.clear()

    async def _renew(self) -> None:
        """Keep the lease; a runner that stands still while its line does not is told from one with nothing to say."""
        pause = min(self._lease / 6, 10.0)
        while self._unanswered < SILENT:
            self._unanswered += 1
            said = wire.NUMBER.pack(self._said) if self._counts else b""
            sent = int(self._clock.steady() * 1e6)
            self._frame(wire.RENEW, wire.RENEWAL.pack(sent, self._renewal) + said)
            await self._clock.sleep(pause)
        self._mute = Down(f"its runner has said nothing for {SILENT * pause:.0f}s")
        self._tasks[0].cancel()

    def _frame(self, kind: int, body: bytes) -> None:
        if self._stream is not None and not self._gone.is_set():
            self._stream.write(wire.frame(kind, body))
            self._said += 1

    def start(self, starts: Sequence[Start]) -> None:
        """Send attempts, in rising order of serial. One whose command no kernel could run ends here, with 126."""
        for start in starts:
            if sum(map(len, start.words)) > COMMAND:
                text = b"hostler: the command is longer than any system runs\n"
                self._deliver(Result(start.serial, Ending.EXIT, 126, None, 0.0, 0, len(text), b"", text))
            else:
                self._unsent[start.serial] = start
        if self._unsent and not self._more.is_set() and self._undrained < STARTS_SIZE:
            self._some()
        if self._unsent:
            self._more.set()

    def follow(self, serial: int, *, out: int, err: int) -> None:
        """Have the attempt's output go on behind what is on our disk."""
        self._frame(wire.FOLLOWS, wire.FOLLOW.pack(serial, out, err))

    def ready(self) -> None:
        """Say that every follow has been sent: output and kept results may come."""
        self._frame(wire.HELLO, b"")
        self._grant(CREDIT)

    def revoke(self, serials: Sequence[int]) -> None:
        """Take back what has not started; what we never sent is taken back here."""
        sent = [serial for serial in serials if self._unsent.pop(serial, None) is None]
        if sent:
            self._frame(wire.REVOKE, wire.numbers(sent))
        for serial in set(serials).difference(sent):
            self._deliver(Revoked(serial))

    def kill(self, serials: Sequence[int], *, grace: float, ending: str) -> None:
        """End running attempts by the kill ladder."""
        body = wire.KILL.pack(grace, wire.ENDINGS.index(ending)) + wire.numbers(list(serials))
        self._frame(wire.KILLS, body)

    def resize(self, slots: int) -> None:
        """Have the host run so many jobs at once from now on."""
        self._frame(wire.SLOTS, wire.NUMBER.pack(slots))

    def ack(self, serials: Sequence[int]) -> None:
        """Say that these results are on our disk."""
        self._frame(wire.ACK, wire.numbers(list(serials)))

    def credit(self, size: int) -> None:
        """Allow more output; small amounts are saved up."""
        self._owed += size
        if self._owed >= CREDIT // 4:
            self._grant(self._owed)
            self._owed = 0

    def _grant(self, size: int) -> None:
        self._granted += size
        self._frame(wire.CREDIT, wire.NUMBER.pack(size))

    async def close(self, *, forget: bool, deadline: float) -> None:
        """Leave; nothing is delivered from now on. With `forget` wait until the runner has gone, or the deadline."""
        self._leaving, self._deliver = True, lambda report: None
        if forget and self._stream is not None and not self._gone.is_set():
            self._frame(wire.BYE, b"")
            with suppress(TimeoutError):
                async with asyncio.timeout(deadline):
                    await self._gone.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._stream is not None:
            with suppress(HostError):
                await self._stream.close()
        await self._abandon()
