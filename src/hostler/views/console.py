"""What jobs print, as it reaches the person: stdout for data, stderr for the rest, and live lines beneath it.

Output comes whole, job by job, or line by line from many jobs; on a terminal it is made harmless first, elsewhere
it is the jobs' bytes and nothing else. It must never make the run wait, never raise, and never cost much: up to
thousands of jobs a second pass through, so text is gathered and leaves at `flush`, once per batch of events.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Hashable, Iterable, Iterator

from hostler.clock import Clock, SystemClock
from hostler.views.footer import Footer
from hostler.views.outlet import Outlet, Text, may_block
from hostler.views.tags import tagged, tagged_stream
from hostler.views.text import visible, visible_stream

#: An unfinished line longer than this is printed as far as it is there, and so is the longest one when all
#: together hold more than ALL_PARTS: jobs without newlines can't fill our memory. In bytes.
LONGEST_LINE = 1 << 20
ALL_PARTS = 16 << 20

#: Seconds between two drawings of the live lines, and bytes that may wait for the next one.
REDRAW = 0.1
GATHER = 1 << 18

#: A job's text: the caller's key for the job, and 1 or 2.
Place = tuple[Hashable, int]


class Console:
    """The way out for everything that a run shows.

    `stdout` and `stderr` are file descriptors; `terminal` tells for each whether a person's terminal is at its end.
    `log_command` reprints what could not be printed; `folder` takes what waits for a slow reader.

    >>> import os
    >>> null = os.open(os.devnull, os.O_WRONLY)
    >>> console = Console(null, null, terminal=(False, False))
    >>> console.job_output(b"hello"); console.flush(); console.close()
    """

    def __init__(
        self,
        stdout: int = 1,
        stderr: int = 2,
        *,
        terminal: tuple[bool, bool],
        clock: Clock | None = None,
        log_command: str = "hostler log last",
        folder: str | None = None,
    ) -> None:
        self.log_command = log_command
        self._fds, self._terminal, self._clock = (stdout, stderr), terminal, clock or SystemClock()
        self._err = Outlet(waits=may_block(stderr), folder=folder)
        # One screen, one order: what goes to the same terminal must leave by the same way.
        self._out = self._err if all(terminal) else Outlet(waits=may_block(stdout), folder=folder)
        self._gathered = 0
        self._parts: dict[Place, bytearray] = {}
        self._parts_size = 0
        self._unfinished: dict[int, Place | None] = {1: None, 2: None}
        #: What stands before each line of a job's text, by the caller's key for it, until the job has ended.
        self.tags: dict[Hashable, bytes] = {}
        #: Colours what stands before lines on a terminal: the harmless tag, and 1 or 2 for the stream.
        self.paint: Callable[[bytes, int], bytes] | None = None
        self._footer, self._drawn_at = Footer(stderr), 0.0
        self._told: set[str] = set()
        #: Called when whoever read stdout has gone.
        self.closed: Callable[[], None] | None = None

    @staticmethod
    def of_process(*, clock: Clock | None = None, folder: str | None = None) -> Console:
        """The console of this process's own stdout and stderr."""
        return Console(terminal=(is_terminal(1), is_terminal(2)), clock=clock, folder=folder)

    @property
    def stdout_failed(self) -> OSError | None:
        """Why stdout takes no more, EPIPE when its reader has gone; None while it does."""
        return self._out.failed.get(self._fds[0])

    @property
    def backlog(self) -> int:
        """Bytes that slow readers have not taken yet."""
        return self._out.backlog + (self._err.backlog if self._err is not self._out else 0)

    @property
    def gathered(self) -> int:
        """About how many bytes wait to be let go of."""
        return self._gathered

    @property
    def stderr_terminal(self) -> int | None:
        """The descriptor on which live lines can be shown; None where there is no terminal, or no more."""
        return self._fds[1] if self._terminal[1] and self._fds[1] not in self._err.failed else None

    def job_output(self, out: Text, err: Text = b"", *, tag: bytes = b"") -> None:
        """Print all that a job wrote, a `tag` before each line; big outputs come as iterables, read when printed."""
        for stream, text in ((1, out), (2, err)):
            if text:
                self._put(stream, text, tag=tag)

    @property
    def stdout_terminal(self) -> bool:
        """Whether a person's terminal is at stdout's end."""
        return self._terminal[0]

    def made(self, text: Text) -> None:
        """Print on stdout what may hold colours of ours: what hosts said in it must have been made harmless."""
        self._put(1, text, harmless=True)

    def chunk(self, key: Hashable, stream: int, data: bytes) -> None:
        """Print the whole lines of `data` and what came before them; `key` tells one job's text from another's."""
        place = (key, stream)
        end = data.rfind(b"\n") + 1
        if end:
            self._lines(place, self._part(place) + data[:end])
            data = data[end:]
        if data:
            held = self._parts.setdefault(place, bytearray())
            held += data
            self._parts_size += len(data)
            if len(held) > LONGEST_LINE:
                self._lines(place, self._part(place))
            elif self._parts_size > ALL_PARTS:
                longest = max(self._parts, key=lambda place: len(self._parts[place]))
                self._lines(longest, self._part(longest))

    def ended(self, key: Hashable) -> None:
        """Print what a job left of an unfinished last line, finished by a newline of ours."""
        for place in ((key, 1), (key, 2)):
            held = self._part(place)
            if held or self._unfinished[place[1]] == place:
                self._lines(place, held + b"\n")
        self.tags.pop(key, None)

    def note(self, text: str) -> None:
        """Say something of our own on stderr, a line by itself; shown at the next flush."""
        self._finish_line(2, None)
        self._put(2, text.encode("utf-8", "backslashreplace") + b"\n")

    def urge(self, text: str) -> None:
        """Say something of our own at once: what comes next may be long in coming."""
        self.note(text)
        self.flush(now=True)

    def report(self, text: str) -> None:
        """Say something of our own on stderr that may hold colours: its words must have been made harmless."""
        self._finish_line(2, None)
        # On a screen it is set off from the output above it.
        gap = b"\n" if self._terminal[1] else b""
        self._put(2, gap + text.encode("utf-8", "backslashreplace"), harmless=True)

    def show(self, *lines: str) -> None:
        """Draw the live lines anew, and let go of what was gathered; none, or an empty one, takes them away."""
        self._footer.want(lines)
        self.flush(now=True)

    def flush(self, *, now: bool = False) -> None:
        """Let go of what was gathered. Above live lines it may wait for the next drawing of them, unless `now`."""
        if self._out is not self._err:
            self._out.flush()
        self._tell()
        if not self._footer.lines or self.stderr_terminal is None:
            self._erase()
        elif now or self._gathered > GATHER or self._clock.steady() - self._drawn_at >= REDRAW:
            self._draw()
        else:
            return
        self._gathered = 0
        self._err.flush()

    def close(self) -> None:
        """Print all that is left and take the live lines away, waiting for slow readers however long it takes."""
        for key in {key for key, _ in self._parts}:
            self.ended(key)
        self._footer.want(())
        self.flush(now=True)
        if self._out is not self._err:
            self._out.close()
            self.flush(now=True)
        self._err.close()

    async def drained(self) -> None:
        """Take the live lines away and wait until readers have taken all; unlike close(), it can be cancelled."""
        self._footer.want(())
        for _ in range(2):  # what was printed may have brought a note about itself
            self.flush(now=True)
            while self.backlog:
                await self._clock.sleep(0.02)

    def _put(
        self, stream: int, text: Text, *, harmless: bool = False, tag: bytes = b"", within: bool = False
    ) -> None:
        fd, outlet = self._fds[stream - 1], self._err if stream == 2 else self._out
        if fd in outlet.failed:
            return
        if self._terminal[stream - 1]:
            if not harmless:
                # Our newline is the line's end as its own would be: a CR before it goes, whoever adds it.
                text = (
                    visible(_finished(text))
                    if isinstance(text, bytes)
                    else visible_stream(_finished_stream(text))
                )
                tag = visible(tag)
                tag = self.paint(tag, stream) if tag and self.paint else tag
            self._erase()
        if tag:
            text = tagged(text, tag, within=within) if isinstance(text, bytes) else tagged_stream(text, tag)
        outlet.put(fd, text)
        self._gathered += len(text) if isinstance(text, bytes) else 1
        if self._gathered > GATHER:
            self.flush()

    def _part(self, place: Place) -> bytes:
        """Take what is held of an unfinished line."""
        held = self._parts.pop(place, None)
        if held is None:
            return b""
        self._parts_size -= len(held)
        return bytes(held)

    def _lines(self, place: Place, data: bytes) -> None:
        stream = place[1]
        self._finish_line(stream, place)
        within = self._unfinished[stream] == place
        self._unfinished[stream] = None if data.endswith(b"\n") or self._terminal[stream - 1] else place
        self._put(stream, data, tag=self.tags.get(place[0], b""), within=within)

    def _finish_line(self, stream: int, place: Place | None) -> None:
        """End the part of a long line that stands last on a stream, before somebody else's text follows it."""
        if self._unfinished[stream] not in (None, place):
            self._unfinished[stream] = None
            self._put(stream, b"\n")

    def _erase(self) -> None:
        """Take the live lines off the screen, if they are there."""
        if off := self._footer.erase():
            self._err.put(self._fds[1], off)

    def _draw(self) -> None:
        """Put the live lines on the screen, unless they stand there or the terminal can't keep up."""
        if self._err.backlog:
            return
        if on := self._footer.draw():
            self._err.put(self._fds[1], on)
            self._drawn_at = self._clock.steady()

    def _tell(self) -> None:
        """Say once that stdout takes no more, and once that an output could not be read."""
        error = self.stdout_failed
        if error is not None and "stdout" not in self._told:
            self._told.add("stdout")
            why = "stdout was closed" if error.errno == errno.EPIPE else f"stdout: {error.strerror}"
            closed = self.closed if error.errno == errno.EPIPE else None
            then = "the run is stopped" if closed else "no more output is printed, the run goes on"
            self.note(f"hostler: {why}: {then} (see: {self.log_command})")
            if closed is not None:
                closed()
        unread = self._out.unread or self._err.unread
        if unread is not None and "unread" not in self._told:
            self._told.add("unread")
            self.note(f"hostler: an output could not be printed: {unread}")


def is_terminal(fd: int) -> bool:
    """Whether a terminal is at the end of `fd`; a closed descriptor is none."""
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _finished(text: bytes) -> bytes:
    return text if text.endswith(b"\n") or not text else text + b"\n"


def _finished_stream(pieces: Iterable[bytes]) -> Iterator[bytes]:
    last = b""
    for piece in pieces:
        if piece:
            last = piece[-1:]
            yield piece
    if last not in (b"", b"\n"):
        yield b"\n"
