"""The runner's end of a line to a controller, and the two ways in which one comes to it.

The process that an SSH session starts is a relay: it hands its stdin and stdout to the runner, by fork or through the
socket in the spool, and then only holds the session open, so that no byte is copied twice. It ends when the runner
lets go of it, or when the session's other end is gone.
"""

import array
import os
import select
import socket

from hostler.remote.runner.wire import HEAD, HELLO, MAX_FRAME, Frames, frame

#: Bytes that are read, or queued for a line that takes no more, at a time.
GULP = 64 << 10
HIGH_WATER = 256 << 10
#: What a relay is told when the runner has taken its line.
TAKEN = b"+"


class Channel:
    """A line to a controller: two file descriptors of an SSH session, and the leash of the relay that keeps it open."""

    def __init__(self, fd_in: int, fd_out: int, leash: socket.socket) -> None:
        self.fd_in, self.fd_out, self.leash = fd_in, fd_out, leash
        for fd in (fd_in, fd_out):
            os.set_blocking(fd, False)
        self.frames = Frames()
        self.came = self.said = (
            0  # frames after the hello, each way: one that is missing must not be waited for
        )
        self.queue = bytearray()
        self.stuck = False  # whether the line takes no more for now, and is watched for when it does

    def read(self) -> "bytes | None":
        """What has come; nothing at the end, None when it only seemed so."""
        try:
            return os.read(self.fd_in, GULP)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def send(self) -> bool:
        """Write what the line takes now; False once it is gone."""
        while self.queue:
            try:
                sent = os.write(self.fd_out, self.queue)
            except BlockingIOError:
                return True
            except OSError:
                return False
            del self.queue[:sent]
        return True

    def finish(self, seconds: float) -> None:
        """Write what is queued, for some seconds at most."""
        poll = select.poll()
        poll.register(self.fd_out, select.POLLOUT)
        while self.send() and self.queue:
            if not poll.poll(int(seconds * 1000)):
                return

    def close(self) -> None:
        """Let go; the relay sees it and ends, and so does the SSH session."""
        for fd in (self.fd_in, self.fd_out):
            os.close(fd)
        self.leash.close()


class Visitor:
    """A relay that is about to hand over its line; it may take its time without holding anything up."""

    def __init__(self, leash: socket.socket) -> None:
        self.leash = leash
        self.fds = array.array("i")
        self.said = bytearray()
        leash.setblocking(False)

    def hello(self) -> "bytes | None":
        """The body of its hello once that is whole. Raises OSError, ValueError when there will be none."""
        text, extra, _, _ = self.leash.recvmsg(GULP, socket.CMSG_SPACE(2 * self.fds.itemsize))
        for _, _, data in extra:
            self.fds.frombytes(data[: len(data) - len(data) % self.fds.itemsize])
        for fd in self.fds:
            os.set_inheritable(fd, False)
        self.said += text
        if not text:
            raise ValueError("it left before it had said hello")
        if len(self.said) < 1 + HEAD.size:
            return None
        size, kind = HEAD.unpack_from(self.said, 1)
        if kind != HELLO or size > MAX_FRAME or len(self.fds) != 2:
            raise ValueError("it does not say hello")
        return bytes(self.said[1 + HEAD.size :]) if len(self.said) >= 1 + HEAD.size + size else None

    def channel(self) -> Channel:
        """Its line, taken over."""
        self.leash.setblocking(True)
        self.leash.send(TAKEN)
        fds, self.fds = self.fds, array.array("i")
        return Channel(fds[0], fds[1], self.leash)

    def dismiss(self) -> None:
        """Let go of it; a relay that has not been told otherwise tries again."""
        for fd in self.fds:
            os.close(fd)
        self.leash.close()


def listen(path: str) -> socket.socket:
    """The socket in the spool, bound by a relative name: a whole one holds 108 bytes only."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    here = os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC)
    os.chdir(path)
    try:
        try:
            os.unlink("socket")
        except FileNotFoundError:
            pass
        listener.bind("socket")
        os.chmod("socket", 0o600)
        listener.listen(8)
    finally:
        os.fchdir(here)
        os.close(here)
    listener.setblocking(False)
    return listener


def relay(path: str, body: bytes) -> bool:
    """Hand our stdin and stdout to the runner that lives, and stay; False when none takes them."""
    leash = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        here = os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC)
        try:
            os.chdir(path)
            leash.connect("socket")
        finally:
            os.fchdir(here)
            os.close(here)
        leash.sendmsg([TAKEN], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1]))])
        leash.sendall(frame(HELLO, body))
        taken = stay(leash)
    except OSError:
        taken = False
    leash.close()
    return taken


def stay(leash: socket.socket) -> bool:
    """Hold the session open until the runner lets go or the session's other end does; whether it ever held us."""
    poll = select.poll()
    poll.register(leash, select.POLLIN)
    for fd in (0, 1):
        poll.register(fd, 0)  # only that it hangs up
    taken = False
    while True:
        for fd, what in poll.poll():
            if fd != leash.fileno():
                if what & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                    return True
                continue
            try:
                if not leash.recv(4096):
                    return taken
                taken = True
            except OSError:
                return taken
