"""What is said to attempt.sh: shell text made of numbers, names of ours and quoted words, nothing else.

Serials have ten digits there, so that a folder's order is theirs; times are in centiseconds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from math import ceil

from hostler.links.brief import Brief
from hostler.model.hosts import Host
from hostler.model.jobs import Start
from hostler.remote.attempt_source import argument, program
from hostler.shell.quoting import quote

#: The first words of every answer, followed by a number of the message's own: what a login prints is none.
MAGIC = b"hostler-sh "


def beginning(shell: str, nonce: str) -> bytes:
    """What every message begins with."""
    return b"echo %s%s\n_hSH=%s\nexport _hSH\n" % (MAGIC, nonce.encode(), quote(shell.encode()))


def opening(
    host: Host, *, brief: Brief, line: str, id: str, ask: Iterable[int], given: int | None = None
) -> bytes:  # fmt: skip
    """Make or find the spool, and ask after attempts. Its folder is the token and `.sh`, to be no runner's.

    It refuses us where it has seen a serial above `given`.
    """
    words = [
        host.var("spool") or "", brief.uid, f"{brief.token}.sh", id, str(brief.epoch), line, str(brief.run), host.name,
        str(brief.slots or 0), str(_time(brief.grace)), str(max(1, _time(brief.lease))), host.var("shell") or "",
        str(-(-brief.output_limit // 512)),
    ]  # fmt: skip
    asked = b" ".join(_serial(serial) for serial in ask)
    made = b" ".join(quote(word.encode()) for word in words)
    jobs = environment(brief.env, brief.workdir or "")
    highest = b"" if given is None else b"%d" % given
    set_ = b"_hkeep=%d\n_hgiven=%s\n_hjenv=%s\n" % (ceil(brief.spool_keep / 86400), highest, quote(jobs))
    return program() + set_ + b"_hopen " + made + b"\n" + (b"_hask " + asked + b"\n" if asked else b"")


def environment(env: Mapping[str, str], workdir: str) -> bytes:
    """What a job's first process reads: its variables, and the folder that it begins in."""
    lines = [
        b"%s=%s\nexport %s\n" % (name.encode(), quote(os.fsencode(value)), name.encode())
        for name, value in env.items()
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)
    ]
    return b"".join(lines) + b"_hcd=%s\n" % quote(os.fsencode(workdir))


def entering(spool: bytes, *, epoch: int, line: str, stamp: int) -> bytes:
    """What every later message goes on with: `stamp` is the newest of the host's times that has reached us."""
    gone = b"echo 'X - its spool is gone'; exit 0"
    path = quote(spool)
    return b"[ -r %s/attempt.sh ] || { %s; }\n. %s/attempt.sh\n_henter %s %d %s %d\n" % (
        path, gone, path, path, epoch, line.encode(), stamp,
    )  # fmt: skip


def starting(starts: Iterable[Start]) -> bytes:
    """Have attempts wait, and see that there are workers for them. Raises UsageError on a NUL."""
    lines = [b"_hroom\n"]
    for start in starts:
        timeout = max(1, ceil(start.timeout * 100)) if start.timeout else 0
        meta = b"%d %d %d %d" % (timeout, start.job, start.n, start.shell)
        words = quote(b" ".join(argument(word) for word in start.words))
        lines.append(b"_hstart %s '%s' %s\n" % (_serial(start.serial), meta, words))
    return b"".join(lines) + b"_hbegin\n"


def revoking(serials: Iterable[int]) -> list[bytes]:
    """Take back what has not begun."""
    return [b"_hrevoke %s\n" % _serial(serial) for serial in serials]


def killing(serials: Sequence[int], *, grace: float, ending: str) -> list[bytes]:
    """End what runs."""
    return [b"_hkill %d %s %s\n" % (_time(grace), ending.encode(), _serials(serials))] if serials else []


def acknowledging(serials: Sequence[int]) -> list[bytes]:
    """Let results go."""
    return [b"_hack %s\n" % _serials(serials)] if serials else []


def settling(serial: int) -> list[bytes]:
    """Let one number stand for the marks of all serials up to this one."""
    return [b"_hsettled %d\n" % serial]


def resizing(slots: int) -> list[bytes]:
    """Run so many jobs at once from now on."""
    return [b"_hresize %d\n" % slots]


def fetching(pieces: Iterable[tuple[int, int, int, int, int]]) -> bytes:
    """Ask for output: serial, stream (1 or 2), place in the stream, offset in its file, length of each piece."""
    names = ("", "out", "err")
    return b"".join(
        b"_hfetch %s %s %d %d %d\n" % (_serial(serial), names[stream].encode(), place, offset, length)
        for serial, stream, place, offset, length in pieces
    )


def forgetting(*, grace: float, seconds: float) -> bytes:
    """End everything there, leave nothing, and wait so long for it."""
    return b"_hforgetall %d %d\n" % (_time(grace), _time(seconds))


def once(serial: int, *, wait: float, inline: int) -> bytes:
    """Wait so many seconds for the end of this attempt; told with all of its output, it leaves nothing behind."""
    return b"_honce %s %d %d\n" % (_serial(serial), _time(wait), inline)


def _serial(serial: int) -> bytes:
    return b"%010d" % serial


def _serials(serials: Iterable[int]) -> bytes:
    return b" ".join(map(_serial, serials))


def _time(seconds: float) -> int:
    return round(min(seconds, 1e9) * 100)
