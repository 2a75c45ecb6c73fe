"""oneshot.sh as it is sent, and the command line that takes it in.

The command line holds nothing of a run. What is sent is one message, which is read only when all of it has come: it
says its length, and ends with a mark of 128 bits that was said before it. SSH sees to it that no byte of it is another;
so no checksum is reckoned, which would cost a host more than all the rest.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from hostler.remote.attempt_source import bare
from hostler.remote.source import as_account

#: What a mark begins with: no text has it.
SIGN = b"\x1e"
#: Takes a line (mark, length) and so many bytes, and reads them as shell text if they end with the mark. It holds no
#: single quotes, exclamation marks or newlines: sh, csh and fish all take it as it stands.
BODY = (
    'read -r _hN _hl; _hx=$(exec head -c "${_hl:-0}"); '
    'case $_hx in *": ${_hN:-/}") eval "$_hx";; '
    "*) echo hostler: not all of the message came >&2; exit 65;; esac"
)
BOOT = f"exec /bin/sh -c '{BODY}'"


def boot_as(user: str, *, prompt: str = "") -> str:
    """The same by sudo as another account: what sudo says comes on stderr. Raises ValueError on no login name."""
    return as_account(user, prompt, BODY)


def message(body: bytes, mark: bytes) -> bytes:
    """What is written to the boot line's stdin for it to read `body` as shell text.

    >>> message(b"echo hello", b"x")
    b'x 14\\necho hello\\n: x'
    """
    whole = body + b"\n: " + mark
    return b"%s %d\n%s" % (mark, len(whole), whole)


@cache
def program() -> bytes:
    """Shell text that defines what begins, watches and ends a command."""
    folder = files("hostler.remote")
    hunting = (folder / "attempt" / "hunting.sh").read_text()
    return bare(hunting + (folder / "oneshot.sh").read_text())
