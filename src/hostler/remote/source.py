"""The runner as it is sent: its modules joined into one source, and the command line that takes it in.

The command line holds nothing of a run: the source, and everything that it is told, come through stdin.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hostler.remote.attempt_source import BODY

MODULES = (
    "wire", "rules", "spool", "log", "files", "processes", "hunting", "cutting", "terminals", "telling",
    "metering", "fence", "room", "launching", "jobs", "channel", "vitals", "lease", "serve", "becoming",
)  # fmt: skip
#: The modules' imports of each other, which one source has no use for.
OURS = re.compile(r"^from hostler\.[\w.]+ import (?:\([^)]*\)|[^(\n]*)\n", re.MULTILINE)
PYTHONS = "python3 /usr/libexec/platform-python python3.12 python3.11 python3.9 python3.8 python3.6"

#: What is printed once sudo has let us in.
GRANTED = "hostler-by-sudo"

#: Reads 72 bytes (length, SHA-256), then the packed source, and runs it only when it is whole. It holds no quotes,
#: dollars, backslashes, newlines or exclamation marks, so that sh, csh and fish all take it as it stands.
BOOT = (
    "import sys;sys.version_info<(3,6) and sys.exit(repr(sys.version_info));import io,hashlib,zlib;"
    "r=io.BufferedReader(io.FileIO(0,closefd=False),1).read;"
    "h=r(72);s=r(int(h[:8] or 0));"
    "exec(zlib.decompress(s) if hashlib.sha256(s).hexdigest().encode()==h[8:] else bytes(),dict(__name__=%s))"
)


def bare(text: str) -> str:
    """Python source without lines of comment and docstrings: a third less to send and to compile at every host.

    It goes by lines, which is fifty times as fast as a tokenizer and right for text in our own style: a test compares
    the syntax trees.
    """
    result, inside = [], False
    for line in text.splitlines():
        word = line.strip()
        if inside:
            inside = not word.endswith('"""')
        elif word.startswith('"""'):
            inside = len(word) < 6 or not word.endswith('"""')
        elif word and not word.startswith("#"):
            result.append(line)
    return "\n".join(result) + "\n"


@cache
def source() -> bytes:
    """The whole runner as one Python source."""
    return joined("runner", MODULES)


@cache
def parcel() -> bytes:
    """The source as the boot line reads it."""
    return packed(source())


def joined(folder: str, modules: Sequence[str]) -> bytes:
    """Modules beside this one as one Python source."""
    texts = [
        bare(Path(__file__).with_name(folder).joinpath(f"{name}.py").read_text(encoding="utf-8"))
        for name in modules
    ]
    return OURS.sub("", "".join(texts)).encode()


def packed(text: bytes) -> bytes:
    """A source as the boot line reads it: length, SHA-256, then the text, packed: a fifth of it to send."""
    made = zlib.compress(text, 6)
    return b"%08d" % len(made) + hashlib.sha256(made).hexdigest().encode() + made


def command(python: str | None = None) -> str:
    """The command line that starts the runner under any account's shell.

    `python` names the interpreter to try first. Raises ValueError when it has characters that shells know.

    >>> command("/opt/python/bin/python3.9")[:60]
    "exec /bin/sh -c 'for p in /opt/python/bin/python3.9 python3 /"
    """
    return f"exec /bin/sh -c '{_tries(python)}'"


def command_as(user: str, *, prompt: str = "", python: str | None = None) -> str:
    """The same by sudo as another account: GRANTED comes on stdout before all that the runner says.

    With `prompt` sudo asks for a password by printing that, and reads it from stdin; without, it never asks. What
    sudo says comes on stdout, too, so that it is heard in its order. Raises ValueError on a name that no account has.

    >>> command_as("deploy")[:60]
    "exec /bin/sh -c 'exec sudo -n -H -u deploy -- /bin/sh -c \\"ec"
    """
    return as_account(user, prompt, _tries(python), merged=True)


def reader_as(user: str, *, prompt: str = "") -> str:
    """What takes in a checked message of shell text (attempt_source.BOOT) as another account, by sudo as above."""
    return as_account(user, prompt, BODY, merged=True)


def as_account(user: str, prompt: str, text: str, *, merged: bool = False) -> str:
    """Text for sh, without single quotes, as another account; `merged`, both streams of it are one."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._@+-]*", user):
        raise ValueError(f"account {user!r}: not a login name")
    asks = f"-S -p {prompt}" if prompt else "-n"
    both = " 2>&1" if merged else ""
    inside = re.sub(r'(["$])', r"\\\1", text)
    return f"exec /bin/sh -c 'exec sudo {asks} -H -u {user} -- /bin/sh -c \"echo {GRANTED}; {inside}\"{both}'"


def _tries(python: str | None) -> str:
    """Text for sh that begins the first Python it finds; for single quotes, and with nothing that csh or fish knows."""
    if python and not re.fullmatch(r"[A-Za-z0-9_./+-]+", python):
        raise ValueError(
            f"python {python!r}: only letters, digits and _ . / + - in the name of an interpreter"
        )
    name = f"str().join(map(chr,({','.join(str(ord(c)) for c in '__hostler__')})))"
    tries = f"{python} {PYTHONS}" if python else PYTHONS
    return (
        f"for p in {tries}; do command -v $p >/dev/null 2>&1 && "
        f'exec $p -ISc "{BOOT % name}"; done; '
        "echo hostler: no python3 on this host >&2; exit 127"
    )
