"""The runner's life: taking the spool's lock, serving one controller at a time, leaving when nothing is owed.

The first channel's process becomes the relay: it hands its stdin and stdout to the runner and then only holds the
SSH session open. The runner reads and writes the channel itself, so that no byte is copied twice. When the channel
dies the runner does not; a relay that comes later hands over a new one through a socket in the spool.
"""

import array
import fcntl
import json
import os
import select
import signal
import socket
import sys
import time

from hostler.remote.runner.jobs import INTERRUPTED, Table
from hostler.remote.runner.processes import Spawner, account_shell
from hostler.remote.runner.spool import Log, folder, lock
from hostler.remote.runner.wire import ACK, BYE, CREDIT, FOLLOW, FOLLOWS, HELLO, KILL, KILLS
from hostler.remote.runner.wire import MAGIC, NUMBER, PROTOCOL
from hostler.remote.runner.wire import RENEW, REVOKE, R_BYE, R_HELLO, R_RENEWED, STARTS
from hostler.remote.runner.wire import HEAD, Frames, frame, read_numbers, unpack_starts

#: Results are gathered for this many seconds when the last ones have just been sent: fewer, fuller packets.
GAP = 0.01
#: How often the output of running jobs is looked at, in seconds.
WATCH = 0.1
HIGH_WATER = 256 << 10


class Channel:
    """A line to a controller: two file descriptors of an SSH session, and the relay that keeps it open."""

    def __init__(self, read: int, write: int, leash: socket.socket) -> None:
        self.fd_in, self.fd_out, self.leash = read, write, leash
        for fd in (read, write):
            os.set_blocking(fd, False)
        self.frames = Frames()
        self.queue = bytearray()
        self.stuck = False  # whether the line takes no more for now

    def send(self) -> bool:
        """Write what the line takes now; False once it is gone."""
        while self.queue:
            try:
                sent = os.write(self.fd_out, memoryview(self.queue)[: 256 << 10])
            except BlockingIOError:
                return True
            except OSError:
                return False
            del self.queue[:sent]
        return True

    def close(self) -> None:
        """Let go; the relay sees it and ends, and so does the SSH session."""
        for fd in (self.fd_in, self.fd_out):
            os.close(fd)
        self.leash.close()


class Runner:
    """The loop: signals, the line, the socket, the clock."""

    def __init__(self, path: str, table: Table, listener: socket.socket, hello: "dict[str, object]") -> None:
        self.path, self.table, self.listener = path, table, listener
        self.channel = None  # type: Channel | None
        self.epoch = 0
        self.lease = 120.0
        self.grace = 5.0
        self.renewed = self.flushed = time.monotonic()
        self.watched = 0.0
        self.expired = self.leaving = False
        self.poll = select.poll()
        wake, waker = os.pipe()
        for fd in (wake, waker):
            os.set_blocking(fd, False)
        self.wake = wake
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for fd in (wake, listener.fileno()):
            self.poll.register(fd, select.POLLIN)

    def attach(self, channel: Channel, hello: "dict[str, object]") -> None:
        """Serve this controller from now on; an older one is let go, a stale one refused."""
        epoch = int(str(hello["epoch"]))
        if epoch < self.epoch:
            channel.queue += frame(R_BYE, b"a newer controller has taken this run over")
            channel.send()
            channel.close()
            return
        if self.channel is not None:
            self.drop()
        self.channel, self.epoch = channel, epoch
        self.lease, self.grace = float(str(hello["lease"])), float(str(hello["grace"]))
        self.renewed, self.expired, self.leaving = time.monotonic(), False, False
        self.poll.register(channel.fd_in, select.POLLIN)
        table, asked = self.table, hello["ask"]
        table.attached(())
        table.credit = int(str(hello["credit"]))
        standings = [[serial, table.standing(serial)] for serial in asked] if isinstance(asked, list) else []
        answer = {
            "protocol": PROTOCOL, "spool": table.log.id, "boot": boot(), "uid": os.getuid(), "pid": os.getpid(),
            "python": "%d.%d.%d" % sys.version_info[:3], "slots": table.slots, "standings": standings,
        }  # fmt: skip
        channel.queue += MAGIC + frame(R_HELLO, json.dumps(answer).encode())
        self.flush(time.monotonic(), True)

    def drop(self) -> None:
        """The line is gone. What runs goes on."""
        if self.channel is not None:
            self.poll.unregister(self.channel.fd_in)
            if self.channel.stuck:
                self.poll.unregister(self.channel.fd_out)
            self.channel.close()
            self.channel = None

    def hear(self) -> None:
        """Read what the controller says, all that is there."""
        channel = self.channel
        if channel is None:
            return
        try:
            data = os.read(channel.fd_in, 1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.drop()
            return
        try:
            for kind, body in channel.frames.feed(data):
                self.obey(kind, body)
        except (ValueError, KeyError, IndexError) as error:
            sys.stderr.write("hostler runner: %s: the line is dropped\n" % error)
            sys.stderr.flush()
            self.drop()

    def obey(self, kind: int, body: bytes) -> None:
        """Do what one frame asks."""
        table = self.table
        if kind == STARTS:
            table.accept(unpack_starts(body))
        elif kind == ACK:
            table.ack(read_numbers(body))
        elif kind == RENEW:
            self.renewed = time.monotonic()
            table.talk.append(frame(R_RENEWED, body))
            self.flushed = 0.0
        elif kind == REVOKE:
            table.revoke(read_numbers(body))
            self.flushed = 0.0
        elif kind == KILLS:
            grace, ending = KILL.unpack_from(body)
            table.kill(read_numbers(body[KILL.size :]), grace, ending, time.monotonic())
        elif kind == FOLLOWS:
            table.follow(*FOLLOW.unpack(body))
        elif kind == CREDIT:
            table.credit += NUMBER.unpack(body)[0]
        elif kind == HELLO:
            table.retell()  # a second hello says that every follow has been sent
        elif kind == BYE:
            self.leaving = bool(body[0])
            if self.channel is not None and self.leaving and table.idle:
                self.channel.queue += frame(R_BYE, b"")

    def welcome(self) -> None:
        """A relay has come with a new channel."""
        try:
            leash = self.listener.accept()[0]
            leash.settimeout(5.0)
            fds = array.array("i")
            text, extra, _, _ = leash.recvmsg(1, socket.CMSG_SPACE(2 * fds.itemsize))
            for _, _, data in extra:
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
            for fd in fds:
                os.set_inheritable(fd, False)
            body = b""
            while (text and len(body) < 5) or len(body) < 5 + HEAD.unpack_from(body)[0]:
                more = leash.recv(1 << 16)
                if not more:
                    break
                body += more
            hello = json.loads(body[5:].decode())
            leash.settimeout(None)
            self.attach(Channel(fds[0], fds[1], leash), hello)
        except (OSError, ValueError, KeyError, IndexError) as error:
            sys.stderr.write("hostler runner: a relay that made no sense: %s\n" % error)
            sys.stderr.flush()

    def flush(self, now: float, urgent: bool) -> None:
        """Put on the line what there is to say: answers and results first, then output as far as it is taken."""
        channel, table = self.channel, self.table
        if channel is None:
            return
        if table.talk and (urgent or now - self.flushed >= GAP):
            channel.queue += b"".join(table.talk)
            table.talk = []
            self.flushed = now
        grown = now - self.watched >= WATCH
        if len(channel.queue) < HIGH_WATER and (table.unsent or grown):
            if grown:
                self.watched = now
            channel.queue += b"".join(table.output(HIGH_WATER, now, grown))
        if channel.queue:
            if not channel.send():
                self.drop()
            elif bool(channel.queue) != channel.stuck:
                channel.stuck = not channel.stuck
                if channel.stuck:
                    self.poll.register(channel.fd_out, select.POLLOUT)
                else:
                    self.poll.unregister(channel.fd_out)

    def patience(self, now: float, soonest: "float | None") -> int:
        """How long to wait for something to happen, in milliseconds."""
        table, channel = self.table, self.channel
        wake = self.renewed + self.lease
        if soonest is not None:
            wake = min(wake, soonest)
        if channel is not None:
            if table.talk:
                wake = min(wake, self.flushed + GAP)
            if table.running:
                wake = min(wake, self.watched + WATCH)
        return max(0, min(int((wake - now) * 1000) + 1, 60000))

    def expire(self, now: float) -> None:
        """Nobody has renewed the lease: end everything, keep the results."""
        if not self.expired:
            self.expired = True
            self.table.waiting.clear()
            self.table.kill(tuple(self.table.running), self.grace, INTERRUPTED, now)

    def live(self) -> None:
        """Serve until nothing is owed, or until the lease has ended and everything has been ended."""
        table = self.table
        while True:
            now = time.monotonic()
            soonest = table.tick(now)
            self.flush(now, False)
            if now >= self.renewed + self.lease:
                if self.channel is not None:
                    self.drop()
                self.expire(now)
            if self.expired and not table.running:
                return
            if self.leaving and table.idle and (self.channel is None or not self.channel.queue):
                return
            for fd, _ in self.poll.poll(self.patience(now, soonest)):
                if fd == self.wake:
                    try:
                        os.read(self.wake, 65536)
                    except BlockingIOError:
                        pass
                elif fd == self.listener.fileno():
                    self.welcome()
                elif self.channel is not None and fd == self.channel.fd_in:
                    self.hear()
            table.reap()
            if not self.expired:
                table.begin(time.monotonic())


def boot() -> str:
    """A name that changes with every boot of the host, where the kernel tells one."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def read_exactly(fd: int, size: int) -> bytes:
    """Read `size` bytes, or fewer at the end."""
    data = b""
    while len(data) < size:
        more = os.read(fd, size - len(data))
        if not more:
            break
        data += more
    return data


def serve(path: str, held: int, hello: "dict[str, object]", leash: socket.socket) -> None:
    """Be the runner: everything of the SSH session but the channel is left behind."""
    os.setsid()
    if os.fork():
        os._exit(0)
    fd_in, fd_out = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (0, 1))
    null = os.open("/dev/null", os.O_RDWR)
    trace = os.open(os.path.join(path, "errors"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for fd, source in ((0, null), (1, trace), (2, trace)):
        os.dup2(source, fd)
    os.close(null)
    os.close(trace)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    spawner = Spawner(dict(os.environb), account_shell(str(hello.get("shell") or "")))
    slots = int(str(hello["slots"] or 0)) or len(os.sched_getaffinity(0))
    names = {b"HOSTLER_RUN": str(hello["run"]).encode(), b"HOSTLER_HOST": str(hello["host"]).encode()}
    table = Table(path, str(hello["uid"]), Log(path), spawner, slots, names)
    home = os.open(".", os.O_RDONLY | os.O_CLOEXEC)
    os.chdir(path)  # a socket's name holds 108 bytes only: bind it by a relative one
    try:
        os.unlink("socket")
    except OSError:
        pass
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind("socket")
    os.chmod("socket", 0o600)
    listener.listen(8)
    os.fchdir(home)
    os.close(home)
    runner = Runner(path, table, listener, hello)
    runner.attach(Channel(fd_in, fd_out, leash), hello)
    runner.live()
    listener.close()
    if table.idle:
        for name in os.listdir(path):
            if name != "lock":
                os.unlink(os.path.join(path, name))
        os.unlink(os.path.join(path, "lock"))
        os.rmdir(path)
        try:
            os.rmdir(os.path.dirname(path))
        except OSError:
            pass  # another host's spool of the same run is there
    os.close(held)


def relay(path: str, body: bytes) -> bool:
    """Hand our stdin and stdout to the runner that lives, and stay until it lets go; False when there is none."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    home = os.open(".", os.O_RDONLY)
    os.chdir(path)
    try:
        line.connect("socket")
    except OSError:
        return False
    finally:
        os.fchdir(home)
        os.close(home)
    fds = array.array("i", [0, 1])
    try:
        line.sendmsg([b"+"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        line.sendall(frame(HELLO, body))
        while line.recv(4096):
            pass
    except OSError:
        pass
    return True


def main() -> None:
    """Read the controller's hello and become the runner, or the relay to the one that lives."""
    size, kind = HEAD.unpack(read_exactly(0, HEAD.size))
    body = read_exactly(0, size)
    if kind != HELLO or len(body) != size:
        sys.exit("hostler runner: no whole hello came")
    hello = json.loads(body.decode())
    path = folder(str(hello.get("spool") or ""), str(hello["uid"]), str(hello["token"]))
    for _ in range(100):
        held = lock(path)
        if held is None:
            if relay(path, body):
                return
        elif os.path.exists(os.path.join(path, "lock")):
            break
        else:  # the last runner has just removed its spool
            os.close(held)
            path = folder(str(hello.get("spool") or ""), str(hello["uid"]), str(hello["token"]))
        time.sleep(0.05)
    else:
        sys.exit("hostler runner: the runner here does not answer")
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        try:
            serve(path, held, hello, theirs)
        except (OSError, ValueError, KeyError, IndexError, TypeError, MemoryError):
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
        finally:
            os._exit(0)
    os.close(held)
    theirs.close()
    while ours.recv(4096):
        pass


if __name__ == "__hostler__":
    try:
        main()
    except OSError as trouble:
        sys.exit("hostler runner: %s" % trouble)
