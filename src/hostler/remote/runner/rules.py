"""What a run asks of its runner beyond its jobs: a terminal, how much output is kept, how much of the disk it may take.

They are read from a controller's hello; a hello that doesn't speak of one gets what is usual.
"""

#: Bytes of a stream that are kept, the part of the disk's free space that a spool may fill, and the seconds for which
#: what an earlier run left is kept.
LIMIT, SHARE, KEEP_FOR = 1 << 30, 0.1, 7 * 86400.0


class Rules:
    """`pty`, `limit` in bytes, `share` (up to 1 a part of what is free, above that bytes), `keep` in seconds."""

    __slots__ = ("keep", "limit", "pty", "share")

    def __init__(self, hello: "dict[str, object]") -> None:
        self.pty = bool(hello.get("pty"))
        self.limit = int(str(hello.get("output_limit") or LIMIT))
        self.share = float(str(hello.get("spool_max") or SHARE))
        self.keep = float(str(hello.get("spool_keep") or KEEP_FOR))
        if not (self.limit > 0 and self.share > 0 and self.keep > 0):
            raise ValueError("rules that make no sense")
