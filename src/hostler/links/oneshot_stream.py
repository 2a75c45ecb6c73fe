"""What comes back on one of a command's streams, taken apart: the command's own bytes, and what oneshot.sh says.

The command may write anything, newlines or none, and what it left behind may go on writing; so what is said stands
behind a mark that nobody could know, and ends with a newline. It must never hold back a byte that can't be part of one.
"""

from __future__ import annotations

from hostler.remote.oneshot_source import SIGN

#: Login messages that may come before the first word, in bytes; and the longest that is said.
NOISE, LONGEST = 256 << 10, 64 << 10


class Noise(ValueError):
    """What came makes no sense."""


class Marked:
    """One stream. `said` are the words behind marks so far, `noise` what came before the first.

    >>> stream = Marked(b"\\x1em")
    >>> stream.feed(b"motd\\n\\x1em b\\nhello\\x1em c 0\\n"), stream.said
    (b'hello', [b'b', b'c 0'])
    """

    def __init__(self, mark: bytes) -> None:
        self._mark = mark + b" "
        self._rest = b""
        self._open = False
        self.said: list[bytes] = []
        self.noise = b""
        self.over = False

    @property
    def begun(self) -> bool:
        """Whether the command has begun."""
        return self._open

    def feed(self, data: bytes) -> bytes:
        """Take in what came; the command's own bytes of it. Raises Noise."""
        data = self._rest + data
        self._rest = b""
        given: list[bytes] = []
        while True:
            at = data.find(self._mark)
            if at < 0:
                given.append(self._own(self._but_for_the_tail(data)))
                break
            end = data.find(b"\n", at)
            given.append(self._own(data[:at]))
            if end < 0:
                if len(data) - at > LONGEST:
                    raise Noise("a word without end")
                self._rest = data[at:]
                break
            self._hear(data[at + len(self._mark) : end].strip())
            data = data[end + 1 :]
        return b"".join(given)

    def finish(self) -> bytes:
        """What was held back, once no more comes."""
        rest, self._rest = self._rest, b""
        return self._own(rest)

    def _hear(self, words: bytes) -> None:
        self.said.append(words)
        kind = words[:1]
        self._open = self._open or kind == b"b"
        self.over = self.over or kind in (b"c", b"x", b"e")

    def _own(self, data: bytes) -> bytes:
        """Bytes that are the command's: neither what came before it, nor what others wrote behind its end."""
        if self._open:
            return b"" if self.over else data
        self.noise += data
        if len(self.noise) > NOISE:
            raise Noise("no word of it among login messages")
        return b""

    def _but_for_the_tail(self, data: bytes) -> bytes:
        """All but what may be the beginning of a mark."""
        at = data.rfind(SIGN, max(0, len(data) - len(self._mark) + 1))
        if at >= 0 and self._mark.startswith(data[at:]):
            self._rest = data[at:]
            return data[:at]
        return data
