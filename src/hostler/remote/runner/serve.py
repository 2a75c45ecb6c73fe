"""The runner's life: serving one controller at a time, keeping the lease, leaving when nothing is owed.

Nothing here may wait for anything but the poll: a line that takes no more, a relay that stalls, a disk that is full
and a job that will not die must leave all others served.
"""

import json
import os
import select
import signal
import socket
import struct
import sys
import time

from hostler.remote.runner.channel import HIGH_WATER, Channel, Visitor
from hostler.remote.runner.jobs import NEWS, Table
from hostler.remote.runner.lease import Lease
from hostler.remote.runner.rules import Rules
from hostler.remote.runner.spool import remove
from hostler.remote.runner.terminals import Terminals
from hostler.remote.runner.vitals import boot, cores, vitals
from hostler.remote.runner.wire import ACK, AGAIN, BYE, CREDIT, ENDINGS, FOLLOW, FOLLOWS, HELLO, KILL, KILLS
from hostler.remote.runner.wire import (
    HIGHEST,
    MAGIC,
    MOST_SLOTS,
    NEVER,
    NUMBER,
    PROTOCOL,
    RENEW,
    RENEWAL,
    REVOKE,
    SLOTS,
    STARTS,
)
from hostler.remote.runner.wire import R_BYE, R_HELLO, R_RENEWED, frame, read_numbers, unpack_starts

#: Results are gathered for this many seconds when the last ones have just been sent: fewer, fuller packets. With
#: nothing left to start, the controller may be waiting for them, and they are gathered for less.
GAP, LULL = 0.05, 0.01
#: How often the output of running jobs is looked at, in seconds; with nobody listening, and more per running job.
WATCH, UNWATCHED, WATCH_EACH = 0.05, 1.0, 0.0002
#: Relays that may be about to hand over their line at a time.
VISITORS = 8
OLDER = b"it holds jobs of this run of which our store knows nothing: the store is an older copy"
NONSENSE = (ValueError, LookupError, TypeError, OverflowError, AttributeError, RecursionError, struct.error)


class Runner:
    """The loop: signals, the line, the socket, the clock."""

    def __init__(self, path: str, table: Table, listener: socket.socket) -> None:
        self.path, self.table, self.listener = path, table, listener
        self.channel = None  # type: Channel | None
        self.visitors = {}  # type: dict[int, Visitor]
        self.lease = Lease()
        self.flushed = 0.0
        self.answer = b""
        self.counts = False
        self.expired = self.leaving = self.ending = False
        self.poll = select.poll()
        self.wake, waker = os.pipe()
        for fd in (self.wake, waker):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(waker)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        for fd in (self.wake, listener.fileno()):
            self.poll.register(fd, select.POLLIN)

    # -- lines ------------------------------------------------------------------------------------------------

    def attach(self, channel: Channel, hello: "dict[str, object]") -> bool:
        """Serve this controller from now on; an older one is let go, a stale one refused. Raises NONSENSE."""
        table, now = self.table, time.monotonic()
        epoch, slots, asked = int(str(hello["epoch"])), int(str(hello["slots"] or 0)), hello["ask"]
        lease, grace = float(str(hello["lease"])), float(str(hello["grace"]))
        if not isinstance(asked, list) or not (lease > 0 and grace >= 0):
            raise ValueError("a hello that makes no sense")
        serials, rules = [int(serial) for serial in asked], Rules(hello)
        if not (0 <= epoch <= HIGHEST and 0 <= slots <= MOST_SLOTS and max(serials or [0]) <= HIGHEST):
            raise ValueError("a hello out of bounds")
        if hello["protocol"] != PROTOCOL or epoch < table.log.epoch or self.ending:
            reason = AGAIN + b"the runner is being ended"
            if hello["protocol"] != PROTOCOL:
                reason = NEVER + b"its runner speaks protocol %d, and not yours" % PROTOCOL
            elif epoch < table.log.epoch:
                reason = NEVER + b"a newer controller has taken this run over"
            channel.queue += MAGIC + frame(R_BYE, reason)
            channel.send()
            channel.close()
            return False
        if table.fence.high > int(str(hello.get("given", table.fence.high))):
            # The same numbers would stand for other jobs. Nothing of the true owner's is touched.
            channel.queue += MAGIC + frame(R_BYE, NEVER + OLDER)
            channel.send()
            channel.close()
            return False
        newer = epoch > table.log.epoch
        self.drop(
            NEVER + b"a newer controller has taken this run over" if newer else AGAIN + b"another line came"
        )
        table.log.lead(epoch)
        table.save(now)  # before the answer: the next runner must know it, too
        self.channel, table.grace = channel, grace
        self.lease.greeted(lease, self.expired or not (table.running or table.fence.waiting))
        self.answer, self.counts = b"", bool(hello.get("counts"))
        self.expired = self.leaving = table.unwanted = False
        table.rules = rules
        if rules.pty and table.launcher.terminals is None:
            table.launcher.terminals = Terminals(self.poll)
        self.poll.register(channel.fd_in, select.POLLIN)
        answer = {
            "protocol": PROTOCOL, "spool": table.log.id, "boot": boot(), "uid": os.getuid(), "pid": os.getpid(),
            "python": "%d.%d.%d" % sys.version_info[:3], "slots": slots or cores(),
            "standings": table.attached(serials, slots or cores()), "vitals": vitals(table.files.folder),
            "counts": True,
        }  # fmt: skip
        channel.queue += MAGIC + frame(R_HELLO, json.dumps(answer).encode())
        self.transmit()
        return True

    def drop(self, reason: bytes = b"") -> None:
        """Let go of the line, saying why if somebody may hear it. What runs goes on."""
        channel, self.channel = self.channel, None
        if channel is not None:
            if reason:
                channel.queue += frame(R_BYE, reason)
                channel.send()
            self.poll.unregister(channel.fd_in)
            if channel.stuck:
                self.poll.unregister(channel.fd_out)
            channel.close()

    def welcome(self) -> None:
        """A relay has come."""
        try:
            visitor = Visitor(self.listener.accept()[0])
        except OSError:
            return
        fd = visitor.leash.fileno()
        self.visitors[fd] = visitor
        self.poll.register(fd, select.POLLIN)
        if len(self.visitors) > VISITORS:
            self.see_off(next(iter(self.visitors))).dismiss()

    def see_off(self, fd: int) -> Visitor:
        """Stop listening to a relay on its way in."""
        self.poll.unregister(fd)
        return self.visitors.pop(fd)

    def receive(self, fd: int) -> None:
        """A relay says something; with its whole hello, its line is ours."""
        visitor = self.visitors[fd]
        try:
            body = visitor.hello()
            if body is None:
                return
            hello = json.loads(body.decode())
        except BlockingIOError:
            return
        except (OSError, *NONSENSE) as error:
            note("a relay that made no sense: %s" % error)
            self.see_off(fd).dismiss()
            return
        self.see_off(fd)
        try:
            channel = visitor.channel()
        except OSError:
            visitor.dismiss()
            return
        try:
            self.attach(channel, hello)
        except NONSENSE as error:
            note("a hello that made no sense: %s" % error)
            channel.close()

    # -- what is said -----------------------------------------------------------------------------------------

    def hear(self) -> None:
        """Read what the controller says."""
        channel = self.channel
        if channel is None:
            return
        data = channel.read()
        if data is None:
            return
        if not data:
            self.drop()
            return
        try:
            for kind, body in channel.frames.feed(data):
                self.lease.spoken()
                self.obey(kind, body)
                channel.came += 1
        except (OSError, *NONSENSE) as error:
            note("%s: %s: the line is dropped" % (type(error).__name__, error))
            self.drop(AGAIN + b"what came made no sense")

    def obey(self, kind: int, body: bytes) -> None:
        """Do what one frame asks. Raises NONSENSE."""
        table, now = self.table, time.monotonic()
        if kind == STARTS:
            if not (self.ending or self.leaving):
                table.accept(unpack_starts(body))
        elif kind == ACK:
            table.ack(read_numbers(body))
        elif kind == RENEW:
            sent, known = RENEWAL.unpack_from(body)
            if self.channel is not None and body[RENEWAL.size :] not in (b"", NUMBER.pack(self.channel.came)):
                raise ValueError("a frame is missing")
            self.lease.asked(sent, known)
            self.answer = body[:8]
            self.flushed = 0.0
        elif kind == REVOKE:
            table.revoke(read_numbers(body), now)
            self.flushed = 0.0
        elif kind == KILLS:
            grace, ending = KILL.unpack_from(body)
            if not grace >= 0 or ending >= len(ENDINGS):
                raise ValueError("a kill that makes no sense")
            table.kill(read_numbers(body[KILL.size :]), grace, ending, now)
        elif kind == FOLLOWS:
            serial, out, err = FOLLOW.unpack(body)
            if max(out, err) > HIGHEST:
                raise ValueError("a place in a stream that can't be")
            table.follow(serial, out, err)
        elif kind == CREDIT:
            table.voice.credit += NUMBER.unpack(body)[0]
        elif kind == SLOTS:
            if NUMBER.unpack(body)[0] > MOST_SLOTS:
                raise ValueError("more slots than any host has")
            table.resize(NUMBER.unpack(body)[0])
        elif kind == HELLO:
            table.retell()  # a second hello says that every follow has been sent
        elif kind == BYE:
            self.leaving = True
            table.abandon(now)
        else:
            raise ValueError("a frame of type %d" % kind)

    def due(self) -> float:
        """When what there is to say is to be said."""
        if self.table.fence.order:
            return self.flushed + GAP
        return self.flushed + LULL if self.table.running else 0.0

    def flush(self, now: float) -> None:
        """Put on the line what there is to say: answers and results first, then output as far as it is taken."""
        channel, voice = self.channel, self.table.voice
        if channel is None:
            return
        if voice.talk and now >= self.due():
            channel.queue += b"".join(voice.talk)
            channel.said += len(voice.talk)
            voice.talk = []
            self.flushed = now
        if self.answer:
            channel.queue += frame(
                R_RENEWED, self.answer + (NUMBER.pack(channel.said) if self.counts else b"")
            )
            channel.said += 1
            self.answer = b""
        if not channel.queue and not voice.turns:
            return
        while self.transmit() and not channel.queue:
            frames = voice.output(HIGH_WATER)
            if not frames:
                return
            channel.queue += b"".join(frames)
            channel.said += len(frames)

    def transmit(self) -> bool:
        """Send what is queued, as far as the line takes it; False once there is no line."""
        channel = self.channel
        if channel is None:
            return False
        if not channel.send():
            self.drop()
            return False
        if bool(channel.queue) != channel.stuck:
            channel.stuck = not channel.stuck
            if channel.stuck:
                self.poll.register(channel.fd_out, select.POLLOUT)
            else:
                self.poll.unregister(channel.fd_out)
        return True

    # -- the loop -----------------------------------------------------------------------------------------------

    def watch(self) -> float:
        """When to look at the output of running jobs again."""
        table = self.table
        return table.looked + max(
            UNWATCHED if self.channel is None else WATCH, WATCH_EACH * len(table.running)
        )

    def patience(self, now: float, soonest: float) -> int:
        """How long to wait for something to happen, in milliseconds."""
        wake = soonest
        if self.table.able and not self.expired:
            return 0  # output has just left that starts were waiting for
        if not self.expired:
            wake = min(wake, now + self.lease.left())
        if self.table.running:
            wake = min(wake, self.watch())
        if self.channel is not None and self.table.voice.talk:
            wake = min(wake, self.due())
        return int(max(0.0, min(wake - now, 60.0)) * 1000) + 1

    def idle(self) -> bool:
        """Whether there is nothing to do, nobody there, and no end of a lease that would let us go."""
        busy = self.channel is not None or self.table.running or self.table.fence.waiting
        return not busy and self.lease.idle()

    def keep_time(self, now: float) -> None:
        """End everything when the lease has ended, or when we are told to end."""
        if self.idle():
            self.expired = True
        if (self.ending or self.lease.left() <= 0) and not self.expired:
            self.expired = True
            self.table.expire(now)
            self.drop(AGAIN + (b"the runner is being ended" if self.ending else b"the lease has ended"))

    def live(self) -> None:
        """Serve until nothing is owed, or until everything has been ended."""
        table, events = self.table, []  # type: Table, list[tuple[int, int]]
        while True:
            for fd, _ in events:
                if fd == self.wake:
                    self.ending = self.ending or signal.SIGTERM in os.read(self.wake, 4096)
                elif self.channel is not None and fd == self.channel.fd_in:
                    self.hear()
                elif fd == self.listener.fileno():
                    self.welcome()
                elif fd in self.visitors:
                    self.receive(fd)
                elif table.launcher.terminals is not None and fd in table.launcher.terminals.busy:
                    table.launcher.terminals.hear(fd)
            table.reap()
            now = time.monotonic()
            self.keep_time(now)
            soonest = table.tick(now)
            if table.able and not self.expired:
                table.begin(now)  # after the tick, which may have freed slots
                soonest = min(soonest, now + NEWS)
            if table.running and now >= self.watch():
                table.look()
            table.save(now)
            self.flush(now)
            if (self.expired or self.leaving) and not table.running:
                return
            events = self.poll.poll(self.patience(now, soonest))

    def part(self) -> None:
        """Leave: the spool too, when nothing in it is wanted any more."""
        self.listener.close()
        for fd in list(self.visitors):
            self.see_off(fd).dismiss()
        if self.leaving:
            remove(self.path)
        else:
            self.table.log.compact()
        if self.channel is not None:
            self.channel.queue += frame(R_BYE, AGAIN)
            self.channel.finish(5.0)
            self.drop()


def note(text: str) -> None:
    """Write down what went wrong, for whoever looks into the spool."""
    sys.stderr.write("hostler runner: %s\n" % text)
    sys.stderr.flush()
