"""The terminals of attempts, for programs that hold their output back where there is none.

What a job writes to its terminal is copied into the file of its stdout; nothing else of the runner copies output.
Nobody types there: whoever reads from it finds its end. It changes no byte, and is hung up when its job has ended.
"""

import errno
import os
import select

#: Rows and columns that programs see.
WINDOW = (24, 80)
#: Bytes that are read at a time, and of what an ended job has left.
PIECE, REST = 64 << 10, 1 << 20
#: The end of input, as typed.
END = b"\x04"


class Terminal:
    """One attempt's: `name` is its path; what comes out of `master` goes to `out`. `rest` had no room on the disk."""

    __slots__ = ("master", "name", "out", "rest", "slave")

    def __init__(self, out: int) -> None:
        import fcntl
        import struct
        import termios

        self.rest = b""
        try:
            self.master, self.slave = os.openpty()
        except OSError as error:
            raise OSError(errno.EAGAIN, "it has no terminal for its job: %s" % error.strerror) from None
        try:
            self.name = os.ttyname(self.slave)
            modes = termios.tcgetattr(self.slave)
            modes[1] &= ~termios.OPOST
            modes[3] &= ~termios.ECHO
            termios.tcsetattr(self.slave, termios.TCSANOW, modes)
            fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", WINDOW[0], WINDOW[1], 0, 0))
            os.set_blocking(self.master, False)
            os.write(self.master, END)
            self.out = fcntl.fcntl(out, fcntl.F_DUPFD_CLOEXEC, 10)
        except (OSError, termios.error):
            os.close(self.master)
            os.close(self.slave)
            raise OSError(errno.EAGAIN, "it has no terminal for its job") from None

    def read(self) -> "bytes | None":
        """What has come out; nothing when there is no more, None when nobody can write to it any more."""
        try:
            return os.read(self.master, PIECE) or None
        except BlockingIOError:
            return b""
        except OSError:
            return None

    def keep(self, data: bytes) -> bool:
        """Write to the attempt's file; False while the disk has no room. What it refuses for good is dropped."""
        self.rest += data
        try:
            while self.rest:
                self.rest = self.rest[os.write(self.out, self.rest) :]
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return False
            self.rest = b""
        return True

    def close(self) -> None:
        """Take in what is left, and hang up."""
        size = 0
        while size < REST:
            data = self.read()
            if not data or not self.keep(data):
                break
            size += len(data)
        for fd in (self.master, self.slave, self.out):
            os.close(fd)


class Terminals:
    """All of them, by what the runner's loop looks at."""

    def __init__(self, poll: "select.poll") -> None:
        self.poll = poll
        self.busy = {}  # type: dict[int, Terminal]
        self.full = []  # type: list[Terminal]

    def open(self, out: int) -> Terminal:
        """A new one whose output goes to `out`. Raises OSError."""
        terminal = Terminal(out)
        self.listen(terminal)
        return terminal

    def listen(self, terminal: Terminal) -> None:
        """Have the loop tell us when there is something to read."""
        self.busy[terminal.master] = terminal
        self.poll.register(terminal.master, select.POLLIN)

    def ignore(self, terminal: Terminal) -> None:
        """Not any more."""
        if self.busy.pop(terminal.master, None) is not None:
            self.poll.unregister(terminal.master)

    def hear(self, fd: int) -> None:
        """There is something to read, or never will be."""
        terminal = self.busy[fd]
        data = terminal.read()
        if data is None:
            self.ignore(terminal)
        elif not terminal.keep(data):
            self.ignore(terminal)
            self.full.append(terminal)

    def again(self) -> None:
        """Try to write what the disk had no room for; its jobs wait for it, as for a terminal that takes no more."""
        waiting, self.full = self.full, []
        for terminal in waiting:
            if terminal.keep(b""):
                self.listen(terminal)
            else:
                self.full.append(terminal)

    def close(self, terminal: Terminal) -> None:
        """Its job has ended."""
        self.ignore(terminal)
        if terminal in self.full:
            self.full.remove(terminal)
        terminal.close()
