"""What `hostler doctor` asks of a host, as it is sent: shell text that only looks, through stdin, checked."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from hostler.remote.attempt_source import bare, message
from hostler.remote.source import PYTHONS
from hostler.shell.quoting import quote


def probe(mark: str, *, spool: str = "", python: str = "") -> bytes:
    """The message for attempt_source.BOOT; the answer stands between the lines "MARK begin" and "MARK end".

    `spool` and `python` are what the inventory says of the host.
    """
    pythons = "" if python == "none" else f"{python} {PYTHONS}".strip()
    words = (("_hn", mark), ("_hspool", spool), ("_hpython", pythons))
    head = b"".join(b"%s=%s\n" % (name.encode(), quote(value.encode())) for name, value in words)
    return message(head + _text())


@cache
def _text() -> bytes:
    return bare((files("hostler.remote") / "probe.sh").read_text())
