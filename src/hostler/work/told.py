"""What a host answered to the doctor's probe, read: bytes that may be anything into facts that are harmless.

It must never believe the form of an answer: what isn't understood is as good as not said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from hostler.model.checkups import Place, Python, Told
from hostler.remote.runner.spool import NETWORK

#: A line of `df -P`: size, used, left, share, and where it is mounted.
DF = re.compile(r"\s\d+\s+\d+\s+(\d+)\s+(?:\d+%|-)\s+/")
VERSION = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,4}) ?(\S*)")
#: A session that logind watches over, as its cgroup is named.
SESSION = re.compile(r"/session-[^/]+\.scope")
#: Of a text from a host as much as this is shown.
SHOWN = 120


def read(answer: bytes, mark: str, *, sent: float, asked: float, got: float) -> Told | None:
    """What stands behind "MARK begin"; None when that never came.

    `sent` is the clock when the host was asked; `asked` and `got`, steady, are when that was and when the first of it
    came. The host's own clock is told to the second.

    >>> read(b"x\\nm begin\\nuser=ann\\nm end\\n", "m", sent=0.0, asked=0.0, got=0.0).user
    'ann'
    """
    before, begun, rest = answer.partition(f"\n{mark} begin\n".encode())
    if not begun:
        return None
    body, ended, _ = rest.partition(f"{mark} end\n".encode())
    pairs = [_pair(line) for line in body.split(b"\n") if b"=" in line]
    last = dict(pairs)
    noise = before.strip()
    now = _number(last.get("now", ""))
    took = got - asked
    cpus, load = _number(last.get("cpus", "")), _number(last.get("load", "").split(" ")[0])
    uid = _number(last.get("uid", ""))
    groups = [value for key, value in pairs if key == "cgroup"]
    return Told(
        user=last.get("user", ""),
        uid=None if uid is None else int(uid),
        shell=last.get("shell", ""),
        home=last.get("home", ""),
        home_there="home.there" in last,
        noise=harmless(noise.partition(b"\n")[0]),
        noise_size=len(before) if noise else 0,
        pythons=tuple(_python(value) for key, value in pairs if key == "python"),
        temporary=next(iter(_places(pairs, "tmp")), None),
        spools=tuple(_places(pairs, "spool")),
        # Somewhere within the second that it told, and within what asking took.
        skew=None if now is None else now + 0.5 - (sent + took / 2),
        slack=took / 2 + 0.5,
        load=load,
        cpus=None if cpus is None else int(cpus),
        tools=frozenset(value for key, value in pairs if key == "tool"),
        session=bool(last.get("session")) or any(SESSION.search(group) for group in groups),
        linger="linger" in last,
        logind=tuple(value for key, value in pairs if key == "logind"),
        stuck="" if ended else last.get("at", "its login"),
    )


def harmless(data: bytes) -> str:
    """The beginning of a line from a host, without what a terminal would obey.

    >>> harmless(b"hi \\x1b[2J there")
    'hi ?[2J there'
    """
    text = data.decode("utf-8", "replace").strip()
    shown = "".join(char if char.isprintable() else "?" for char in text[: SHOWN + 1])
    return shown if len(shown) <= SHOWN else shown[:SHOWN] + "…"


def _pair(line: bytes) -> tuple[str, str]:
    key, _, value = line.partition(b"=")
    return harmless(key), "".join(c for c in value[:4096].decode("utf-8", "replace") if c.isprintable())


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", text, re.ASCII) else None


def _python(text: str) -> Python:
    word, _, answer = text.partition(" ")
    found = VERSION.match(answer)
    if found is None:
        return Python(word=word, version=None)
    version = (int(found[1]), int(found[2]), int(found[3]))
    return Python(word=word, version=version, path=found[4], whole=answer.split()[-1] == "whole")


def _places(pairs: Sequence[tuple[str, str]], name: str) -> list[Place]:
    """The folders that were looked at under a name, each beginning with a line of it."""
    found: list[dict[str, str]] = []
    for key, value in pairs:
        if key == name:
            found.append({"": value})
        elif key.startswith(f"{name}.") and found:
            found[-1][key[len(name) + 1 :]] = value
    return [_place(each) for each in found]


def _place(said: dict[str, str]) -> Place:
    kind, _, options = said.get("mount", "").partition(" ")
    free, files = (DF.search(" " + said.get(key, "")) for key in ("free", "files"))
    ours = said.get("ours", "").split()
    known = len(ours) > 2 and ours[2].isdigit()
    return Place(
        path=said[""],
        at=said.get("at", said[""]),
        writable="writable" in said,
        kind=kind,
        network=kind in NETWORK,
        options=tuple(options.split(",")) if options else (),
        free=int(free[1]) << 10 if free else None,
        # A file system that counts no files says 0 of 0.
        files=int(files[1]) if files and int(files[1]) else None,
        ours=said.get("folder"),
        mode=ours[0] if known else None,
        owner=int(ours[2]) if known else None,
    )
