"""The runner as it is sent: its modules joined into one source, and the command line that takes it in.

The command line holds nothing of a run: the source, and everything that it is told, come through stdin.
"""

from __future__ import annotations

import hashlib
import io
import tokenize
from functools import cache
from importlib.resources import files

MODULES = ("wire", "spool", "processes", "jobs", "serve")
PYTHONS = "python3 /usr/libexec/platform-python python3.12 python3.11 python3.9 python3.8 python3.6"

#: Reads 72 bytes (length, SHA-256), then the source, and runs it only when it is whole. It holds no quotes, dollars,
#: backslashes, newlines or exclamation marks, so that sh, csh and fish all take it as it stands.
BOOT = (
    "import os,hashlib;"
    "r=lambda n:(lambda b:b if len(b)==n or not b else b+r(n-len(b)))(os.read(0,n));"
    "h=r(72);s=r(int(h[:8] or 0));"
    "exec(s if hashlib.sha256(s).hexdigest().encode()==h[8:] else bytes(),dict(__name__=%s))"
)


def bare(text: str) -> str:
    """Python source without comments and docstrings: a third less to send and to compile at every host."""
    result, last_row, last_column, fresh = [], 1, 0, True
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.start[0] > last_row:
            last_column = 0
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and fresh):
            last_row, last_column = token.end
            continue
        result.append(" " * (token.start[1] - last_column) + token.string)
        if token.type not in (tokenize.NL, tokenize.INDENT, tokenize.DEDENT):
            fresh = token.type == tokenize.NEWLINE
        last_row, last_column = token.end
    return "\n".join(line.rstrip() for line in "".join(result).splitlines() if line.strip()) + "\n"


@cache
def source() -> bytes:
    """The whole runner as one Python source."""
    folder = files("hostler.remote.runner")
    texts = [bare((folder / f"{name}.py").read_text()) for name in MODULES]
    lines = [line for text in texts for line in text.splitlines() if not line.startswith("from hostler.")]
    return ("\n".join(lines) + "\n").encode()


@cache
def parcel() -> bytes:
    """The source as the boot line reads it: length, SHA-256, text."""
    text = source()
    return b"%08d" % len(text) + hashlib.sha256(text).hexdigest().encode() + text


def command(python: str | None = None) -> str:
    """The command line that starts the runner under any account's shell.

    `python` names the interpreter to try first.
    """
    name = f"str().join(map(chr,({','.join(str(ord(c)) for c in '__hostler__')})))"
    tries = f"{python} {PYTHONS}" if python else PYTHONS
    return (
        "exec /bin/sh -c '"
        f"for p in {tries}; do command -v $p >/dev/null 2>&1 && "
        f'exec $p -ISc "{BOOT % name}"; done; '
        "echo hostler: no python3 on this host >&2; exit 127'"
    )
