"""What is said to oneshot.sh: shell text made of numbers, names of ours and quoted words, nothing else."""

from __future__ import annotations

import secrets
from hashlib import sha256

from msgspec import Struct

from hostler.links.attempt_words import environment
from hostler.links.brief import Brief
from hostler.model.hosts import Host
from hostler.model.jobs import Start, attempt_id
from hostler.remote.attempt_source import bare
from hostler.remote.oneshot_source import SIGN, program
from hostler.shell.quoting import quote

#: Bytes that one printf is given to write.
PIECE = 16 << 10
#: What runs a script that doesn't say.
SH = (b"/bin/sh",)


class Payload(Struct, frozen=True):
    """What goes to a host beside a command: what it is to read, and the script that it is given to, or None."""

    stdin: bytes | None = None
    script: bytes | None = None


NOTHING = Payload()


def new_mark() -> bytes:
    """A mark that nobody can know beforehand."""
    return SIGN + secrets.token_hex(16).encode()


def limit_of(token: str, serial: int) -> int:
    """The limit on resident memory, in KiB, by which the processes of one attempt are known: beyond any heed."""
    digits = int(sha256(f"{token} {serial}".encode()).hexdigest()[:13], 16)
    return 2_000_000_000_000_000 + digits % 6_000_000_000_000_000


def command(start: Start, host: Host, *, brief: Brief, payload: Payload) -> bytes:
    """Begin this attempt and watch over it."""
    timeout = start.timeout or 0.0
    whole = max(1, -int(-timeout // 1))
    plain = f"{timeout:.2f}" if timeout % 1 else f"{timeout:.0f}"
    lines = [
        program(),
        _hunted(brief, start.serial, start.job, start.n),
        b"_hgrace=%d _htime=%s _hwhole=%d _hsh=%d\n"
        % (round(brief.grace * 100), plain.encode() if timeout else b"", whole, start.shell),
        b"_hshell=%s\n" % quote((host.var("shell") or "").encode()),
        b"_hsends=%s _hscripts=%s\n" % (_flag(payload.stdin), _flag(payload.script)),
        b"_henv() {\n%s%s}\n" % (environment(brief.env, brief.workdir or ""), _variables(start, host, brief)),
    ]
    if payload.stdin is not None:
        lines.append(b"_hstdin() {\n%s}\n" % written(payload.stdin))
    if payload.script is not None:
        words = b" ".join(map(quote, interpreter(payload.script)))
        lines.append(b"_hscript() {\n%s}\n" % written(payload.script))
        lines.append(b'_hinterpreted() {\n_hq=$1\nshift\n_hbegin %s "$_hq" "$@"\n}\n' % words)
    return b"".join([*lines, b"_hgo ", b" ".join(map(quote, start.words))])


def sweep(attempts: list[tuple[int, int, int]], *, brief: Brief) -> bytes:
    """End what is left of attempts (serial, job, n); their serials are said, behind a 1 if there was anything.

    The mark stands before each line.
    """
    lines = [program(), SWEEP]
    for serial, job, n in attempts:
        lines.append(_hunted(brief, serial, job, n))
        lines.append(b"_hsweep %d %d\n" % (serial, round(brief.grace * 100)))
    return b"".join([*lines, b":"])


SWEEP = bare("""
_hwho() { :; }
_hsweep() {
	_hknown='' _hown= _hd=/- _hz=1 _hfound=0
	sleep 0.01 2>/dev/null && _hz=0.1
	_hhunt
	if [ -n "$_hleft" ]; then
		_hfound=1
		_hrungs "$2"
	fi
	echo "$_hN $1 $_hfound" $_hleft
}
""")


def interpreter(script: bytes) -> tuple[bytes, ...]:
    """The words that run a script, as its first line says.

    >>> interpreter(b"#!/usr/bin/env python3\\n"), interpreter(b"echo")
    ((b'/usr/bin/env', b'python3'), (b'/bin/sh',))
    """
    line = script.partition(b"\n")[0].rstrip(b"\r")
    words = line[2:].split(None, 1) if line.startswith(b"#!") else []
    return tuple(word.strip() for word in words) or SH


def written(data: bytes) -> bytes:
    """Shell text that writes these bytes, whatever they are."""
    pieces = (data[at : at + PIECE] for at in range(0, len(data), PIECE))
    return b"".join(b"printf %s\n" % _format(piece) for piece in pieces) or b":\n"


def _format(piece: bytes) -> bytes:
    """Bytes as a format of printf: what it knows is doubled, and NUL, which no word can hold, is a number."""
    text = piece.replace(b"\\", b"\\\\").replace(b"%", b"%%").replace(b"\0", b"\\000")
    return quote(b"%b" % text) if not text.startswith(b"-") else quote(b"\\055%b" % text[1:])


def _hunted(brief: Brief, serial: int, job: int, n: int) -> bytes:
    limit = limit_of(brief.token, serial)
    name = attempt_id(brief.uid, job, n).encode()
    return b"_hid=%s _hmark=%d _hlim=%d\n" % (quote(name), limit, limit * 1024)


def _variables(start: Start, host: Host, brief: Brief) -> bytes:
    values = {
        "ATTEMPT": attempt_id(brief.uid, start.job, start.n), "RUN": str(brief.run), "JOB": str(start.job),
        "HOST": host.name, "SLOT": "1",
    }  # fmt: skip
    return b"".join(
        b"HOSTLER_%s=%s\nexport HOSTLER_%s\n" % (name.encode(), quote(value.encode()), name.encode())
        for name, value in values.items()
    )


def _flag(data: bytes | None) -> bytes:
    return b"" if data is None else b"1"
