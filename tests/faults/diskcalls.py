"""What a program did to its disk, call by call, as strace wrote it down.

It must never show a call that did not return: what a killed program was about to do was not done.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: What changes a disk; and what tells a host something, for the moments between.
CALLS = (
    "open", "openat", "creat", "close", "write", "pwrite64", "ftruncate", "rename", "renameat", "renameat2", "link",
    "linkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "fsync", "fdatasync", "lseek", "sendto",
)  # fmt: skip

_LINE = re.compile(r"(\d+) +(.*)", re.DOTALL)
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)")
_TEXT = r'"((?:\\x[0-9a-f]{2})*)"'
_FD = re.compile(r"(?:AT_FDCWD|\d+)<((?:\\x[0-9a-f]{2}|[^>])*)>")


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _plain(text: str) -> str:
    return _bytes(text).decode("utf-8", "surrogateescape") if text.startswith("\\x") else text


def recording(log: Path) -> list[str]:
    """The words of strace that write all of it down; -f or -p, and a program, go behind them."""
    words = ["strace", "-qq", "-e", "signal=none", "-y", "-xx", "-s", "300000", "-o", str(log)]
    return [*words, "-e", f"trace={','.join(f'?{call}' for call in CALLS)}"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call: its name, the paths in it (of descriptors and in words), data, the numbers at its end, its answer."""

    name: str
    fds: tuple[str, ...]
    words: tuple[str, ...]
    data: bytes
    numbers: tuple[int, ...]
    flags: str
    back: int


def calls(log: Path) -> Iterator[Call]:
    """What strace wrote, a call at a time, where each returned."""
    begun: dict[str, str] = {}
    for line in log.read_text(errors="surrogateescape").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        pid, text = match.groups()
        if text.endswith("<unfinished ...>"):
            begun[pid] = text.removesuffix("<unfinished ...>").rstrip()
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", text, re.DOTALL):
            text = begun.pop(pid, "") + resumed[1]
        found = _CALL.match(text)
        if found is None or int(found[3]) < 0:
            continue
        inside = found[2]
        texts = re.findall(_TEXT, inside)
        words = tuple(_bytes(each).decode("utf-8", "surrogateescape") for each in texts)
        rest = re.sub(_TEXT, "", inside)
        yield Call(
            name=found[1],
            fds=tuple(_plain(each) for each in _FD.findall(inside)),
            words=words,
            data=_bytes(texts[0]) if texts else b"",
            numbers=tuple(int(each) for each in re.findall(r"(?<![\w<])(\d+)(?![\w>])", _FD.sub("", rest))),
            flags=rest,
            back=int(found[3]),
        )
