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

from hostler.clock import Clock
from hostler.errors import HostError, HostRefused, LineLost, RunnerFailed
from hostler.links.decode import decode
from hostler.model.hosts import Host
from hostler.model.jobs import Start
from hostler.model.reports import Down, Hello, Renewed, Report, Revoked, Standing
from hostler.ports import Connection, Stream, Transport
from hostler.remote import source
from hostler.remote.runner import wire

#: Output that a host may send before we have written some of it to disk, in bytes.
CREDIT = 1 << 20
#: Login messages that may come before the runner's first word, in bytes.
NOISE = 256 << 10
#: Starts that are sent as one message.
STARTS = 256


class RunnerLink:
    """One host's runner, spoken to over a transport.

    `uid` is the run's, `run` its short number for the jobs' environment, `token` the spool's name, `epoch` the
    controller's. `slots` None lets the host decide. `lease` and `grace` are in seconds.
    """

    def __init__(
        self,
        host: Host,
        *,
        transport: Transport,
        clock: Clock,
        uid: str,
        run: int,
        token: str,
        epoch: int,
        slots: int | None,
        lease: float,
        grace: float = 5.0,
    ) -> None:
        self.host = host
        self._transport, self._clock = transport, clock
        self._hello = {
            "protocol": wire.PROTOCOL, "uid": uid, "run": run, "token": token, "epoch": epoch, "slots": slots,
            "lease": lease, "grace": grace, "host": host.name, "spool": host.var("spool"), "shell": host.var("shell"),
            "credit": 0,
        }  # fmt: skip
        self._lease = lease
        self._connection: Connection | None = None
        self._stream: Stream | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._unsent: dict[int, Start] = {}
        self._more = asyncio.Event()
        self._owed = 0
        self._gone = asyncio.Event()
        self._deliver: Callable[[Report], None] = lambda report: None

    async def open(self, ask: Sequence[int], *, deliver: Callable[[Report], None], deadline: float) -> Hello:
        """Reach the runner, starting it where there is none. Raises HostError."""
        self._deliver = deliver
        try:
            async with asyncio.timeout(deadline):
                self._connection = await self._transport.connect(self.host, deadline=deadline)
                command = source.command(self.host.var("python"))
                self._stream = await self._connection.stream(command, deadline=deadline)
                hello = json.dumps(self._hello | {"ask": list(ask)}).encode()
                self._stream.write(source.parcel() + wire.frame(wire.HELLO, hello))
                frames = wire.Frames()
                found = frames.feed(await self._beyond_noise(self._stream))
                while not found:
                    found = frames.feed(await self._read(self._stream))
                answer = self._answer(*found[0])
        except TimeoutError:
            await self._abandon()
            raise LineLost(self.host.name, f"its runner did not answer within {deadline:.0f}s") from None
        except BaseException:
            await self._abandon()
            raise
        self._tasks = [
            asyncio.create_task(
                self._listen(self._stream, frames, found[1:]), name=f"listen {self.host.name}"
            ),
            asyncio.create_task(self._send(self._stream), name=f"send {self.host.name}"),
            asyncio.create_task(self._renew(self._stream), name=f"renew {self.host.name}"),
        ]
        return answer

    def _answer(self, kind: int, body: bytes) -> Hello:
        if kind != wire.R_HELLO:
            raise HostRefused(
                self.host.name, body.decode("utf-8", "replace")[:200] or "its runner refused us"
            )
        try:
            words = json.loads(body)
            if words["protocol"] != wire.PROTOCOL:
                raise RunnerFailed(self.host.name, f"its runner speaks protocol {words['protocol']}")
            return Hello(
                spool=str(words["spool"])[:64],
                boot=str(words["boot"])[:64],
                account=str(words["uid"])[:64],
                python=str(words["python"])[:32],
                slots=min(max(int(words["slots"]), 1), 10_000),
                standings={int(serial): Standing(known) for serial, known in words["standings"]},
            )
        except (ValueError, KeyError, TypeError) as error:
            raise RunnerFailed(self.host.name, f"its runner's hello made no sense: {error}") from None

    async def _beyond_noise(self, stream: Stream) -> bytes:
        """What comes after the runner's magic word; what the login printed before it is dropped."""
        seen = b""
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
            said = (stream.stderr_tail() or seen).decode("utf-8", "replace").strip().splitlines()
            raise RunnerFailed(
                self.host.name, (said[-1][:300] if said else "its runner ended without a word")
            )
        return data

    async def _abandon(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    # -- what comes in ----------------------------------------------------------------------------------------

    async def _listen(self, stream: Stream, frames: wire.Frames, first: list[tuple[int, bytes]]) -> None:
        deliver, why = self._deliver, "the line was closed"
        try:
            found = first
            while True:
                for kind, body in found:
                    if kind == wire.R_BYE:
                        why = body.decode("utf-8", "replace") or "released"
                        return
                    if kind == wire.R_RENEWED:
                        deliver(Renewed(max(0.0, self._clock.steady() - wire.NUMBER.unpack(body)[0] / 1e6)))
                        continue
                    for report in decode(kind, body):
                        deliver(report)
                data = await stream.read()
                if not data:
                    return
                found = frames.feed(data)
        except HostError as error:
            why = error.why
        except (ValueError, struct.error, IndexError) as error:
            # A host is untrusted: whatever it sends ends its own line and nothing else.
            why = f"its runner made no sense ({type(error).__name__}: {error})"
        finally:
            self._gone.set()
            deliver(Down(why))

    # -- what goes out ------------------------------------------------------------------------------------------

    async def _send(self, stream: Stream) -> None:
        """Send starts as the line takes them; everything else overtakes them."""
        with suppress(HostError):
            while True:
                await self._more.wait()
                await stream.drain()
                self._some(stream)

    def _some(self, stream: Stream) -> None:
        batch = [self._unsent.pop(serial) for serial in list(self._unsent)[:STARTS]]
        if batch:
            body = wire.pack_starts(
                [(s.serial, s.job, s.n, s.words, s.shell, s.timeout or 0.0) for s in batch]
            )
            stream.write(wire.frame(wire.STARTS, body))
        if not self._unsent:
            self._more.clear()

    async def _renew(self, stream: Stream) -> None:
        with suppress(HostError):
            while True:
                self._frame(wire.RENEW, wire.NUMBER.pack(int(self._clock.steady() * 1e6)))
                await self._clock.sleep(min(self._lease / 6, 10.0))

    def _frame(self, kind: int, body: bytes) -> None:
        if self._stream is not None and not self._gone.is_set():
            self._stream.write(wire.frame(kind, body))

    def start(self, starts: Sequence[Start]) -> None:
        """Send attempts, in rising order of serial."""
        for start in starts:
            self._unsent[start.serial] = start
        if not self._more.is_set() and self._stream is not None and len(starts) <= STARTS:
            self._some(self._stream)
        if self._unsent:
            self._more.set()

    def follow(self, serial: int, *, out: int, err: int) -> None:
        """Have the attempt's output go on behind what is on our disk."""
        self._frame(wire.FOLLOWS, wire.FOLLOW.pack(serial, out, err))

    def ready(self) -> None:
        """Say that every follow has been sent: output and kept results may come."""
        self._frame(wire.HELLO, b"")
        self._frame(wire.CREDIT, wire.NUMBER.pack(CREDIT))

    def revoke(self, serials: Sequence[int]) -> None:
        """Take back what has not started; what we never sent is taken back here."""
        sent = [serial for serial in serials if self._unsent.pop(serial, None) is None]
        for serial in set(serials) - set(sent):
            self._deliver(Revoked(serial))
        if sent:
            self._frame(wire.REVOKE, wire.numbers(sent))

    def kill(self, serials: Sequence[int], *, grace: float, ending: str) -> None:
        """End running attempts by the kill ladder."""
        body = wire.KILL.pack(grace, wire.ENDINGS.index(ending)) + wire.numbers(list(serials))
        self._frame(wire.KILLS, body)

    def ack(self, serials: Sequence[int]) -> None:
        """Say that these results are on our disk."""
        self._frame(wire.ACK, wire.numbers(list(serials)))

    def credit(self, size: int) -> None:
        """Allow more output; small amounts are saved up."""
        self._owed += size
        if self._owed >= CREDIT // 4:
            self._frame(wire.CREDIT, wire.NUMBER.pack(self._owed))
            self._owed = 0

    async def close(self, *, forget: bool, deadline: float) -> None:
        """Leave; with `forget` wait until the runner has gone too, or the deadline."""
        if forget and self._stream is not None and not self._gone.is_set():
            self._frame(wire.BYE, b"\x01")
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
