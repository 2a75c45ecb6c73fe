"""Copying as it is seen: a line while it goes on, a table at its end, and what would change where nothing is done yet.

Names come from hosts: they are shown harmless. It must never say that all is well where something was left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import unified_diff
from typing import Any

from msgspec import Struct

from hostler.engine.copyplan import Plan, Sending
from hostler.model.durations import format_duration
from hostler.model.sizes import format_size
from hostler.model.trees import FOLDER, LINK, Copied
from hostler.views.tables import Column, counted, table
from hostler.views.text import columns, fit, one_line

#: Failures and remarks of one host that are shown.
SHOWN = 20
HEADS = (
    Column("host", widest=None),
    *(Column(head, right=True) for head in ("files", "bytes", "same", "removed", "failed", "time")),
    Column("", widest=None),
)
#: What is left out first where the live line is too long.
DROPPED = ("rate", "verb", "eta", "files")


class Figures(Struct, frozen=True, kw_only=True):
    """How copying stands: hosts, files and bytes, done and in all; `rate` in bytes a second."""

    verb: str
    hosts: int
    over: int
    bad: int = 0
    looking: int = 0
    files: int = 0
    files_total: int = 0
    done: int = 0
    total: int = 0
    rate: float = 0.0


def live_line(figures: Figures, *, width: int) -> str:
    """The live line, at most `width` columns wide.

    >>> live_line(Figures(verb="put", hosts=2, over=1, files=3, files_total=9, done=10, total=40), width=70)
    'put  hosts 1/2  files 3/9  10 B/40 B 25%'
    """
    f = figures
    share = f" {f.done * 100 // f.total}%" if f.total else ""
    left = (f.total - f.done) / f.rate if f.rate > 0 and f.total > f.done else 0.0
    parts = [
        ("verb", f.verb),
        ("hosts", f"hosts {f.over}/{f.hosts}" + (f" ({f.bad} failed)" if f.bad else "")),
        ("files", f"files {f.files}/{f.files_total}" if f.files_total else ""),
        ("bytes", f"{format_size(f.done)}/{format_size(f.total)}{share}" if f.total else "looking"),
        ("rate", f"{format_size(f.rate)}/s" if f.rate else ""),
        ("eta", f"ETA {format_duration(left)}" if left >= 1 else ""),
    ]
    parts = [part for part in parts if part[1]]
    text = ""
    for name in (*DROPPED, ""):
        text = "  ".join(words for _, words in parts)
        if columns(text) <= width:
            return text
        parts = [part for part in parts if part[0] != name]
    return fit(text, width)


def results_text(results: Sequence[Copied], *, width: int, colour: bool) -> str:
    """The table of all hosts, and what went wrong or was left out on each."""
    rows = [
        (
            shown(each.host),
            str(each.files),
            format_size(each.size),
            str(each.unchanged),
            str(each.removed),
            str(each.failed),
            format_duration(each.seconds) if each.seconds >= 1 else f"{each.seconds:.1f}s",
            _state(each),
        )
        for each in results
    ]
    text = table(HEADS, rows, width=width, colour=colour)
    return text + "".join(f"{line}\n" for each in results for line in _remarks(each))


def _state(each: Copied) -> str:
    if each.error:
        return shown(each.error)
    words = []
    if each.failed:
        words.append("not all of it")
    if each.amended:
        words.append(f"rights or times of {each.amended}")
    if each.resumed:
        words.append(f"went on with {each.resumed}")
    return ", ".join(words)


def _remarks(each: Copied) -> Iterator[str]:
    for path, why in each.failures[:SHOWN] if not (each.error and each.failed == 1) else ():
        yield f"{shown(each.host)}: {named(path)}: {shown(why)}"
    if each.failed > SHOWN:
        yield f"{shown(each.host)}: and {counted(each.failed - min(SHOWN, len(each.failures)), 'more failure')}"
    for remark in each.remarks[:SHOWN]:
        yield f"{shown(each.host)}: {shown(remark)}"
    if len(each.remarks) > SHOWN:
        yield f"{shown(each.host)}: and {counted(len(each.remarks) - SHOWN, 'more remark')}"


def result_facts(each: Copied) -> dict[str, Any]:
    """A host's result for programs."""
    return {
        "host": each.host, "ok": each.well, "reached": each.reached, "files": each.files, "bytes": each.size,
        "unchanged": each.unchanged, "amended": each.amended, "removed": each.removed, "resumed": each.resumed,
        "failed": each.failed, "seconds": round(each.seconds, 3), "error": each.error or None,
        "failures": [{"path": text_of(path), "why": why} for path, why in each.failures],
        "remarks": list(each.remarks),
    }  # fmt: skip


def plan_lines(plan: Plan) -> Iterator[tuple[bytes, str]]:
    """What a plan changes, each with its name: `+` new, `~` other content, `=` rights or time, `-` gone."""
    for each in plan.clear:
        yield each.path, f"- {named(each.path)}{'/' if each.kind == FOLDER else ''}"
    for each in plan.folders:
        if each.path in plan.new:
            yield each.path, f"+ {named(each.path)}/"
    for each in plan.links:
        yield each.path, f"+ {named(each.path)} -> {shown_bytes(each.more)}"
    for each in plan.amend:
        yield each.path, f"= {named(each.path)} {each.mode:04o}"
    for sending in plan.send:
        yield sending.entry.path, _sent(sending)
    for each in plan.remove:
        yield each.path, f"- {named(each.path)}{'/' if each.kind == FOLDER else ''}"


def _sent(each: Sending) -> str:
    sign = "+" if each.old is None or each.old.kind == LINK else "~"
    rest = f", {format_size(each.offset)} of it there" if each.offset else ""
    return f"{sign} {named(each.entry.path)} {format_size(each.entry.size)}{rest}"


def plan_text(
    host: str,
    root: bytes,
    plan: Plan,
    texts: Mapping[bytes, tuple[bytes, bytes]],
    failures: Sequence[tuple[bytes, str]],
) -> str:
    """What would change on a host, and how the text of small files would."""
    head = f"{shown(host)}: {shown_bytes(root)}: "
    if not plan.changes:
        head += "nothing changes"
    else:
        head += f"{counted(plan.changes, 'change')}, {format_size(plan.size)} to send"
    lines = [head]
    for path, line in plan_lines(plan):
        lines.append(f"  {line}")
        if path in texts:
            lines += [f"    {each}" for each in difference(*texts[path])]
    lines += [f"  ! {named(path)}: {shown(why)}" for path, why in failures[:SHOWN]]
    lines += [f"  . {named(path)}: {shown(why)}" for path, why in plan.left[:SHOWN]]
    return "\n".join(lines) + "\n"


def difference(old: bytes, new: bytes) -> list[str]:
    """How two texts differ, line by line, harmless; nothing where either is no text.

    >>> difference(b"a\\n", b"b\\n")
    ['-a', '+b']
    """
    if b"\0" in old or b"\0" in new:
        return ["(no text)"]
    before, after = (
        [one_line(line) for line in data.removesuffix(b"\n").split(b"\n")] if data else []
        for data in (old, new)
    )
    return [
        line
        for line in unified_diff(before, after, lineterm="", n=2)
        if not line.startswith(("---", "+++", "@@"))
    ]


def named(path: bytes) -> str:
    """A name in a tree; the root is a dot."""
    return shown_bytes(path) if path else "."


def shown(text: str) -> str:
    """Words as one harmless line."""
    return one_line(text.encode("utf-8", "surrogateescape"))


def shown_bytes(data: bytes) -> str:
    """Bytes as one harmless line."""
    return one_line(data)


def text_of(path: bytes) -> str:
    """A name for JSON, which has no bytes: stray ones as \\xNN."""
    return path.decode("utf-8", "backslashreplace")
