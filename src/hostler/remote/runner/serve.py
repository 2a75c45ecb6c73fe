"""The runner's life: taking the spool's lock, serving one controller at a time, leaving when nothing is owed.

Nothing here may wait for anything but the poll: a line that takes no more, a relay that stalls, a disk that is full
and a job that will not die must leave all others served.
"""

import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import time

from hostler.remote.runner.channel import HIGH_WATER, Channel, Visitor, listen, relay, stay
from hostler.remote.runner.jobs import NEWS, Table
from hostler.remote.runner.log import Log
from hostler.remote.runner.processes import Spawner, account_shell, deafen, surroundings
from hostler.remote.runner.rules import Rules
from hostler.remote.runner.spool import folder, lock, remove, sweep
from hostler.remote.runner.terminals import Terminals
from hostler.remote.runner.vitals import boot, cores, vitals
from hostler.remote.runner.wire import ACK, AGAIN, BYE, CREDIT, FOLLOW, FOLLOWS, HELLO, KILL, KILLS, MAX_FRAME
from hostler.remote.runner.wire import (
    HEAD,
    MAGIC,
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
#: A longer lease means that we work on whatever becomes of the controller; with nothing left to do and nobody there we
#: leave after this, and the results stay. In seconds.
ENDLESS, IDLE = 365 * 86400.0, 60.0
#: Relays that may be about to hand over their line at a time.
VISITORS = 8
OLDER = b"it holds jobs of this run of which our store knows nothing: the store is an older copy"
NONSENSE = (ValueError, KeyError, IndexError, TypeError, OverflowError, AttributeError, struct.error)


class Runner:
    """The loop: signals, the line, the socket, the clock."""

    def __init__(self, path: str, table: Table, listener: socket.socket) -> None:
        self.path, self.table, self.listener = path, table, listener
        self.channel = None  # type: Channel | None
        self.visitors = {}  # type: dict[int, Visitor]
        self.lease = 120.0
        self.renewed = time.monotonic()
        self.flushed = 0.0
        self.heard = {}  # type: dict[int, float]
        self.answer = b""
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
        if table.high > int(str(hello.get("given", table.high))):
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
        self.channel, self.lease, table.grace = channel, lease, grace
        # What runs is not given more time by a hello whose answer may never arrive, only by what is said after it.
        self.heard, self.answer, self.counts = {0: now}, b"", bool(hello.get("counts"))
        if self.expired or not (table.running or table.waiting):
            self.renewed = now
        self.expired = self.leaving = table.unwanted = False
        table.rules = rules
        if rules.pty and table.terminals is None:
            table.terminals = Terminals(self.poll)
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
                if self.heard and 0 in self.heard:
                    self.renew(0, 0)  # whoever speaks has heard our hello
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
            self.renew(sent, known)
            self.heard[sent] = now
            self.answer = body[:8]
            self.flushed = 0.0
        elif kind == REVOKE:
            table.revoke(read_numbers(body), now)
            self.flushed = 0.0
        elif kind == KILLS:
            grace, ending = KILL.unpack_from(body)
            table.kill(read_numbers(body[KILL.size :]), grace, ending, now)
        elif kind == FOLLOWS:
            table.follow(*FOLLOW.unpack(body))
        elif kind == CREDIT:
            table.voice.credit += NUMBER.unpack(body)[0]
        elif kind == SLOTS:
            table.resize(NUMBER.unpack(body)[0])
        elif kind == HELLO:
            table.retell()  # a second hello says that every follow has been sent
        elif kind == BYE:
            self.leaving = True
            table.abandon(now)
        else:
            raise ValueError("a frame of type %d" % kind)

    def renew(self, _: int, known: int) -> None:
        """Count the lease from the newest of our answers that the controller has: it counts from there, or later."""
        then = self.heard.get(known)
        if then is not None:
            self.renewed = max(self.renewed, then)
            self.heard = {sent: at for sent, at in self.heard.items() if at > then}

    def due(self) -> float:
        """When what there is to say is to be said."""
        if self.table.order:
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
            wake = min(wake, self.renewed + self.lease)
        if self.table.running:
            wake = min(wake, self.watch())
        if self.channel is not None and self.table.voice.talk:
            wake = min(wake, self.due())
        return int(max(0.0, min(wake - now, 60.0)) * 1000) + 1

    def idle(self, now: float) -> bool:
        """Whether there is nothing to do, nobody there, and no end of a lease that would let us go."""
        busy = self.channel is not None or self.table.running or self.table.waiting
        return not busy and self.lease > ENDLESS and now >= self.renewed + IDLE

    def keep_time(self, now: float) -> None:
        """End everything when the lease has ended, or when we are told to end."""
        if self.idle(now):
            self.expired = True
        if (self.ending or now >= self.renewed + self.lease) and not self.expired:
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
                elif table.terminals is not None and fd in table.terminals.busy:
                    table.terminals.hear(fd)
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


def read_exactly(fd: int, size: int) -> bytes:
    """Read `size` bytes, or fewer at the end."""
    data = b""
    while len(data) < size:
        more = os.read(fd, size - len(data))
        if not more:
            break
        data += more
    return data


def serve(path: str, held: int, hello: "dict[str, object]", leash: socket.socket, umask: int) -> None:
    """Be the runner: everything of the SSH session but the channel is left behind. Raises OSError, NONSENSE."""
    os.setsid()
    if os.fork():
        os._exit(0)
    deafen()
    listener = listen(path)
    log = Log(path)
    spawner = Spawner(surroundings(), account_shell(str(hello.get("shell") or "")), umask)
    if hello.get("as"):
        spawner.env.pop(b"SUDO_COMMAND", None)
    spawner.env[b"HOSTLER_RUN"] = str(hello["run"]).encode()
    spawner.env[b"HOSTLER_HOST"] = str(hello["host"]).encode()
    given = hello.get("env")
    if isinstance(given, dict):
        spawner.env.update((os.fsencode(name), os.fsencode(value)) for name, value in given.items())
    spawner.folder = os.fsencode(str(hello.get("workdir") or ""))
    rules = Rules(hello)
    if rules.pty:
        spawner.env.setdefault(b"TERM", b"dumb")
    table = Table(path, str(hello["uid"]), log, spawner, cores(), rules)
    runner = Runner(path, table, listener)
    fd_in, fd_out = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (0, 1))
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    trace = os.open(
        os.path.join(path, "errors"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
    )
    leash.send(b"+")
    attached = runner.attach(Channel(fd_in, fd_out, leash), hello)
    for fd, source in ((0, null), (1, trace), (2, trace)):
        os.dup2(source, fd)
    os.close(null)
    os.close(trace)
    if attached:
        sweep(path, str(hello.get("spool") or ""), rules.keep)
        runner.live()
    runner.part()
    os.close(held)


def become(path: str, held: int, hello: "dict[str, object]", umask: int) -> None:
    """Start the runner and stay as its relay."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        try:
            serve(path, held, hello, theirs, umask)
        except (OSError, MemoryError, *NONSENSE) as trouble:
            if not isinstance(trouble, OSError):
                sys.excepthook(*sys.exc_info())
            note("%s: %s" % (type(trouble).__name__, trouble))
        finally:
            sys.stderr.flush()
            os._exit(0)
    os.close(held)
    theirs.close()
    stay(ours)


def go_home() -> None:
    """Begin where a login of this account would: sudo leaves us in another's folder."""
    for place in (os.path.expanduser("~"), "/"):
        try:
            os.chdir(place)
            break
        except OSError:
            continue


def main() -> None:
    """Read the controller's hello and become the runner, or the relay to the one that lives. Raises OSError."""
    umask = os.umask(0o077)
    os.closerange(3, 256)
    head = read_exactly(0, HEAD.size)
    size, kind = HEAD.unpack(head) if len(head) == HEAD.size else (0, 0)
    body = read_exactly(0, size) if kind == HELLO and size <= MAX_FRAME else b""
    if not body or len(body) != size:
        sys.exit("hostler runner: no whole hello came")
    try:
        hello = json.loads(body.decode())
        names = (str(hello.get("spool") or ""), str(hello["uid"]), str(hello["token"]))
    except NONSENSE as error:
        sys.exit("hostler runner: a hello that made no sense: %s" % error)
    if hello.get("as"):
        go_home()
    until = time.monotonic() + 20
    while time.monotonic() < until:
        path = folder(*names)
        try:
            held = lock(path)
        except FileNotFoundError:
            continue  # the last runner has just removed its spool
        if held is not None:
            become(path, held, hello, umask)
            return
        if relay(path, body):
            return
        time.sleep(0.05)
    sys.exit("hostler: not now: the runner here does not answer")


if __name__ == "__hostler__":
    try:
        main()
    except OSError as trouble:
        sys.exit("hostler runner: %s" % trouble)
