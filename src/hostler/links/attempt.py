"""A Link over attempt.sh: for hosts without Python, by remote commands on at most four channels of one connection.

One command stays and tells what happens; what we have to say goes out in others, all that has gathered in one: starts
in one queue, kills, returns and acknowledgements in a second that overtakes them, requests for output in a third. Like
RunnerLink it believes nothing that is not whole and decides nothing: when the line breaks it says Down and is done.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress

from hostler.clock import Clock
from hostler.errors import HostError, HostRefused, LineLost, RunnerFailed, Unreachable
from hostler.links import attempt_words as say
from hostler.links.attempt_answers import Answer, Answers, Greeting, Grown, Parting, Piece, Says, Stands, Told
from hostler.links.attempt_channels import ALONE, PATIENCE, Channels
from hostler.links.attempt_opening import opened, silence
from hostler.links.attempt_state import Held, choose
from hostler.links.brief import Brief
from hostler.links.choosing import SPOOL
from hostler.links.runner import COMMAND, CREDIT, STARTS, STARTS_SIZE
from hostler.model.hosts import Host
from hostler.model.jobs import Ending, Start
from hostler.model.reports import Down, Hello, Lost, Refused, Renewed, Report, Result, Revoked
from hostler.ports import Connection, Stream, Transport
from hostler.remote.attempt_source import BOOT, message

#: What is said where no second session is to be had.
SESSIONS = (
    "without Python there two sessions are needed on a line, and its sshd grants one: set MaxSessions to 2 or more in "
    "its sshd_config, or install Python 3.6 or later"
)
#: Bytes of words that go out as one message, and acknowledgements after which old marks are swept there.
WORDS, SETTLE = 128 << 10, 256


class AttemptLink:
    """One host's attempts by attempt.sh, spoken to over a transport by a run's `brief`.

    A stream beyond its output limit ends its job; pty and spool_max are not for it. `shell` is the sh to use there.
    """

    def __init__(
        self, host: Host, *, brief: Brief, transport: Transport, clock: Clock, shell: str = "/bin/sh"
    ) -> None:
        self.host, self._brief = host, brief
        self._transport, self._clock, self._shell = transport, clock, shell
        self._line = secrets.token_hex(8)
        self._connection: Connection | None = None
        self._channels: Channels | None = None
        self._stream: Stream | None = None
        self._spool, self._stamp, self._last = b"", 0, 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._unsent: dict[int, Start] = {}
        self._words: list[bytes] = []
        self._more, self._urgent, self._fetchable = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._calm = asyncio.Event()  # nothing urgent is unsaid
        self._calm.set()
        self._held: dict[int, Held] = {}
        self._open: set[int] = set()
        self._high = self._acked = 0
        self._allowed = 0
        self._ready = False
        self._gone = asyncio.Event()
        self._deliver: Callable[[Report], None] = lambda report: None

    # -- the line ---------------------------------------------------------------------------------------------

    async def open(
        self, ask: Sequence[int], *, given: int, deliver: Callable[[Report], None], deadline: float
    ) -> Hello:  # fmt: skip
        """Reach the host, and go on with what is there. Raises HostError."""
        self._deliver = deliver
        connection = self._connection = await self._transport.connect(self.host, deadline=deadline)
        self._channels = Channels(connection, clock=self._clock)
        nonce = secrets.token_hex(8)
        answers = Answers(nonce)
        body = self._opening(nonce, ask, given) + b'_hnow\necho ". $_ht"\n_hlook\n'
        try:
            async with asyncio.timeout(deadline):
                self._stream = await connection.stream(BOOT, deadline=deadline)
                self._stream.write(message(body))
                answer = await opened(self.host.name, self._stream, answers, ask)
                self._spool, self._stamp = answer.spool, answer.stamp
                # It renews the lease; and no job begins on a line that has room for one command only.
                await self._command(b"", patience=ALONE)
        except Unreachable as error:
            await connection.close()
            if "no more sessions" not in error.why:
                raise
            raise HostRefused(self.host.name, SESSIONS) from error
        except TimeoutError:
            await connection.close()
            raise LineLost(self.host.name, f"its sh did not answer within {deadline:.0f}s") from None
        except ValueError as error:
            await connection.close()
            raise RunnerFailed(self.host.name, f"its sh made no sense: {error}"[:300]) from None
        except BaseException:
            await connection.close()
            raise
        self._open.update(ask)
        self._high = max(ask, default=0)
        listen = self._listen(self._stream, answers, answer.said)
        for work in (listen, self._starts(), self._urgents(), self._fetches(), self._renew()):
            self._tasks.append(asyncio.create_task(work, name=f"attempts on {self.host.name}"))
        return answer.hello

    def _opening(self, nonce: str, ask: Sequence[int], given: int) -> bytes:
        return say.beginning(self._shell, nonce) + say.opening(
            self.host,
            brief=self._brief,
            line=self._line,
            id=SPOOL + secrets.token_hex(15),
            ask=ask,
            given=given,
        )

    async def _listen(self, stream: Stream, answers: Answers, said: Sequence[Answer]) -> None:
        """Take in what happens there, from what `said` the opening's answer had in tow."""
        with self._until_down():
            for one in said:
                self._heard(one)
            while data := await stream.read():
                for one in answers.feed(data):
                    self._heard(one)
            raise LineLost(self.host.name, "the line was closed")

    def _down(self, down: Down) -> None:
        """The line is gone, for the first reason that shows."""
        if not self._gone.is_set():
            self._gone.set()
            self._deliver(down)

    def _until_down(self) -> _UntilDown:
        return _UntilDown(self._down)

    # -- what comes in ----------------------------------------------------------------------------------------

    def _heard(self, one: Answer) -> None:
        """Take in one answer, and deliver what it makes known. Raises ValueError."""
        if self._gone.is_set():
            return
        if isinstance(one, Parting):
            self._down(Down(one.why or "the host let go", fatal=one.fatal))
        elif isinstance(one, Piece):
            self._piece(one)
        elif isinstance(one, Grown):
            self._attempt(one.serial).grown(one.out, one.err)
            self._fetchable.set()
        elif isinstance(one, Result):
            self._attempt(one.serial).ended(one)
            self._tell(one.serial)
        elif isinstance(one, Lost | Refused | Revoked):
            self._held.pop(one.serial, None)
            self._open.discard(one.serial)
            self._deliver(one)
        elif not isinstance(one, Told | Greeting | Says | Stands):
            self._deliver(one)

    def _attempt(self, serial: int) -> Held:
        return self._held.setdefault(serial, Held(serial))

    def _piece(self, piece: Piece) -> None:
        held = self._held.get(piece.serial)
        if held is None:
            return
        self._allowed -= len(piece.data)
        if self._allowed < 0:
            raise ValueError("it sends more output than it may")
        for output in held.took(piece.stream - 1, piece.place, piece.data):
            self._deliver(output)
        self._tell(piece.serial)

    def _tell(self, serial: int) -> None:
        """Deliver a result once all of its output was; before that, see that it is asked for."""
        result = self._held[serial].due() if self._ready else None
        if result is not None:
            del self._held[serial]
            self._deliver(result)
        else:
            self._fetchable.set()

    # -- what goes out ------------------------------------------------------------------------------------------

    async def _command(self, body: bytes, *, patience: float = PATIENCE) -> None:
        """One remote command: say something, take in what is answered. Raises HostError, ValueError."""
        assert self._channels is not None
        nonce, began = secrets.token_hex(8), self._clock.steady()
        enter = say.entering(self._spool, epoch=self._brief.epoch, line=self._line, stamp=self._stamp)
        text = message(say.beginning(self._shell, nonce) + enter + body + b"_hdone\n")
        finished = await self._channels.run(text, patience=patience)
        answers, held = Answers(nonce), 0
        times = []
        for one in answers.feed(finished.stdout):
            if isinstance(one, Told):
                times.append(one.at)
            self._heard(one)
        if not answers.begun:
            raise silence(self.host.name, finished.stderr)
        if len(times) > 1:
            held = times[-1] - times[0]
            self._renewed(times[0], max(0.0, self._clock.steady() - began - held / 100))

    def _renewed(self, stamp: int, rtt: float) -> None:
        """The host has counted the lease from this time of its own; said at most twice a second."""
        now = self._clock.steady()
        if now - self._last >= min(0.5, self._brief.lease / 12) and not self._gone.is_set():
            self._last, self._stamp = now, stamp
            self._deliver(Renewed(rtt))

    async def _starts(self) -> None:
        """Send starts, as many at once as have gathered."""
        with self._until_down():
            while True:
                await self._more.wait()
                await self._calm.wait()
                chosen, size = list[Start](), 0
                for start in self._unsent.values():
                    size += sum(map(len, start.words))
                    if len(chosen) == STARTS or (chosen and size > STARTS_SIZE):
                        break
                    chosen.append(start)
                for start in chosen:
                    del self._unsent[start.serial]
                if not self._unsent:
                    self._more.clear()
                if chosen:
                    await self._command(say.starting(chosen))

    async def _urgents(self) -> None:
        """Say what overtakes starts."""
        with self._until_down():
            while True:
                await self._urgent.wait()
                size = count = 0
                while count < len(self._words) and size <= WORDS:
                    size += len(self._words[count])
                    count += 1
                body = b"".join(self._words[:count])
                del self._words[:count]
                if not self._words:
                    self._urgent.clear()
                await self._command(body)
                if not self._words:
                    self._calm.set()

    async def _fetches(self) -> None:
        """Ask for output while there is some that we may have."""
        with self._until_down():
            while True:
                await self._fetchable.wait()
                pieces = choose(self._held, self._allowed) if self._ready else []
                if pieces:
                    await self._command(say.fetching(pieces))
                else:
                    self._fetchable.clear()

    async def _renew(self) -> None:
        """Let the host hear of us, if nothing else was said."""
        pause = min(self._brief.lease / 6, 10.0)
        while True:
            await self._clock.sleep(pause)
            if self._clock.steady() - self._last >= pause * 0.9:
                self._urgent.set()

    def _say(self, texts: list[bytes]) -> None:
        if self._stream is not None and not self._gone.is_set() and texts:
            self._words += texts
            self._calm.clear()
            self._urgent.set()

    def start(self, starts: Sequence[Start]) -> None:
        """Send attempts, in rising order of serial. One that no system could run ends here, with 126."""
        for start in starts:
            if why := unfit(start):
                text = f"hostler: {why}\n".encode()
                self._deliver(Result(start.serial, Ending.EXIT, 126, None, 0.0, 0, len(text), b"", text))
            elif self._stream is not None and not self._gone.is_set():
                self._unsent[start.serial] = start
                self._open.add(start.serial)
                self._high = max(self._high, start.serial)
        if self._unsent:
            self._more.set()

    def follow(self, serial: int, *, out: int, err: int) -> None:
        """Have the attempt's output go on behind what is on our disk."""
        self._attempt(serial).follow(out, err)

    def ready(self) -> None:
        """Say that every follow has been said: output and kept results may come."""
        self._ready = True
        self._allowed += CREDIT
        for serial in list(self._held):
            self._tell(serial)
        self._fetchable.set()

    def revoke(self, serials: Sequence[int]) -> None:
        """Take back what has not started; what we never sent is taken back here."""
        sent = [serial for serial in serials if self._unsent.pop(serial, None) is None]
        self._say(say.revoking(sent))
        for serial in set(serials).difference(sent):
            self._open.discard(serial)
            self._deliver(Revoked(serial))

    def kill(self, serials: Sequence[int], *, grace: float, ending: str) -> None:
        """End running attempts by the kill ladder."""
        self._say(say.killing(serials, grace=grace, ending=ending))

    def ack(self, serials: Sequence[int]) -> None:
        """Say that these results are on our disk."""
        self._open.difference_update(serials)
        self._say(say.acknowledging(serials))
        self._acked += len(serials)
        if self._acked >= SETTLE:
            self._acked = 0
            self._say(say.settling(min(self._open, default=self._high + 1) - 1))

    def resize(self, slots: int) -> None:
        """Run so many jobs at once from now on; what runs goes on."""
        self._say(say.resizing(slots))

    def credit(self, size: int) -> None:
        """Allow more output."""
        self._allowed += size
        self._fetchable.set()

    async def close(self, *, forget: bool, deadline: float) -> None:
        """Leave; nothing is delivered from now on. With `forget` wait until the host is deserted, or the deadline."""
        self._deliver = lambda report: None
        leaving = forget and self._stream is not None and not self._gone.is_set()
        for task in self._tasks[1:] if leaving else self._tasks:
            task.cancel()
        if leaving:
            with suppress(TimeoutError, HostError, ValueError):
                async with asyncio.timeout(deadline):
                    await self._command(say.forgetting(grace=self._brief.grace, seconds=deadline))
        self._gone.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._stream is not None:
            with suppress(HostError):
                await self._stream.close()
        if self._connection is not None:
            await self._connection.close()


class _UntilDown:
    """Whatever ends a part of the link ends the line, with its reason."""

    def __init__(self, down: Callable[[Down], None]) -> None:
        self._down = down

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, HostError):
            self._down(Down(error.why))
        elif isinstance(error, ValueError):
            # A host is untrusted: whatever it sends ends its own line and nothing else.
            self._down(Down(f"its sh made no sense ({error})"[:300], nonsense=True))
        return isinstance(error, HostError | ValueError)


def unfit(start: Start) -> str:
    """Why no system could run this, or nothing."""
    if sum(map(len, start.words)) > COMMAND:
        return "the command is longer than any system runs"
    return "a NUL in its arguments" if any(b"\0" in word for word in start.words) else ""
