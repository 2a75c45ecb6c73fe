"""What the doctor found, for people and for programs: a line per host, then each trouble once, with its hosts.

Made of plain values. It must never leave out what mends a trouble, however narrow the screen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from textwrap import wrap
from typing import Any

from msgspec import Struct, to_builtins

from hostler.model.checkups import Facts, Finding
from hostler.model.durations import format_duration
from hostler.views.machines import amount
from hostler.views.tables import Column, counted, listed, table

#: Hosts that are named of those that share a trouble.
NAMED = 8


class Seen(Struct, frozen=True, kw_only=True):
    """A host with what was learnt and found."""

    facts: Facts
    found: tuple[Finding, ...]

    @property
    def name(self) -> str:
        """What the host is called."""
        return self.facts.host.name

    @property
    def out(self) -> bool:
        """Whether no job can be done there."""
        return any(each.bad for each in self.found)

    @property
    def state(self) -> str:
        """How it stands, in a word or two."""
        if self.out:
            return "out"
        return counted(len(self.found), "remark") if self.found else "well"


def checkups_text(seen: Sequence[Seen], *, width: int, colour: bool) -> str:
    """All hosts, a line each, then what is to be mended, worst first; equal findings of several hosts stand once."""
    heads = [Column("host", widest=32), Column("state"), Column("found there", widest=None)]
    rows = [(each.name, each.state, _about(each)) for each in seen]
    text = table(heads, rows, width=width, colour=colour)
    for found, hosts in folded(seen):
        word, tint = ("out", "31") if found.bad else ("remark", "33")
        head = f"{word} ({found.check}): "
        lines = wrap(head + listed(hosts, shown=NAMED), width, subsequent_indent="  ", break_on_hyphens=False)
        if colour:
            lines[0] = f"\x1b[{tint}m{head.strip()}\x1b[0m" + lines[0][len(head.strip()) :]
        text += "\n" + "\n".join(lines) + "\n"
        for label, words in (("what", found.what), ("why", found.why), ("fix", found.fix)):
            # A command that is to be pasted is never broken within a word.
            text += "\n".join(
                wrap(
                    f"  {label:<4}  {words}", width, subsequent_indent=" " * 8, break_long_words=False,
                    break_on_hyphens=False,
                )
            ) + "\n"  # fmt: skip
    return text


def summed(seen: Sequence[Seen]) -> str:
    """How they all stand, in one line.

    >>> summed([])
    '0 hosts: 0 well'
    """
    out = sum(each.out for each in seen)
    well = sum(not each.found for each in seen)
    parts = [f"{well} well"]
    if remarks := len(seen) - out - well:
        parts.append(f"{remarks} with remarks")
    if out:
        parts.append(f"{out} out")
    return f"{counted(len(seen), 'host')}: {', '.join(parts)}"


def folded(seen: Sequence[Seen]) -> list[tuple[Finding, list[str]]]:
    """Each finding with the hosts that share it, the bad ones first.

    Where only a host's own name, address, user or port tells two apart, HOST, USER and PORT stand for these.
    """
    groups: dict[Finding, list[tuple[Finding, str]]] = {}
    for each in seen:
        for found in each.found:
            groups.setdefault(_general(found, each.facts), []).append((found, each.name))
    told = []
    for general, members in groups.items():
        same = len({found for found, _ in members}) == 1
        told.append((members[0][0] if same else general, [name for _, name in members]))
    return sorted(told, key=lambda each: not each[0].bad)


def facts_json(each: Seen) -> dict[str, Any]:
    """A host for programs: seconds, bytes."""
    facts = each.facts
    told = to_builtins(facts.told) if facts.told else None
    if told is not None:
        told["tools"] = sorted(told["tools"])
    return {
        "name": each.name,
        "endpoint": facts.host.endpoint,
        "state": "out" if each.out else "remarks" if each.found else "well",
        "findings": [to_builtins(found) for found in each.found],
        "reached_by": facts.way or None,
        "connect_seconds": facts.took,
        "sessions": facts.sessions,
        "hung_up_on": {"lines": facts.crowd, "of": facts.lines} if facts.lines else None,
        "told": told,
        "as": _as_json(facts) if facts.as_user else None,
    }


def _as_json(facts: Facts) -> dict[str, Any]:
    told = to_builtins(facts.other) if facts.other else None
    if told is not None:
        told["tools"] = sorted(told["tools"])
    return {"user": facts.as_user, "refused": facts.barred or None, "told": told}


def _general(found: Finding, facts: Facts) -> Finding:
    host, told = facts.host, facts.told
    port = host.port or 22
    swaps = ((f":{port}", ":PORT"), (f"-p {port}", "-p PORT"), (f" {port};", " PORT;"))
    names = [(host.name, "HOST"), (host.address, "HOST")]
    users = [(user, "USER") for user in (host.user, told.user if told else None) if user]
    texts = []
    for text in (found.what, found.why, found.fix):
        for old, new in swaps:
            text = re.sub(rf"{re.escape(old)}(?!\d)", new, text)
        for old, new in names:
            text = re.sub(rf"(?<![\w.-]){re.escape(old)}(?![\w-])", new, text)
        for old, new in users:
            text = re.sub(rf"(?<![\w./-]){re.escape(old)}(?=@HOST)", new, text)
        texts.append(text)
    return Finding(check=found.check, bad=found.bad, what=texts[0], why=texts[1], fix=texts[2])


def _about(each: Seen) -> str:
    """What is there, in a line; of a host that is out, why."""
    if each.out:
        return each.found[0].what
    facts, told = each.facts, each.facts.other or each.facts.told
    if told is None:
        return ""
    words = [f"as {told.user}"] if facts.other else []
    words += [PurePosixPath(told.shell).name or "no shell told"]
    found = next((python for python in told.pythons if python.version), None)
    words.append(f"Python {'.'.join(map(str, found.version))}" if found and found.version else "no Python")
    if told.cpus:
        words.append(counted(told.cpus, "core"))
    if told.load is not None:
        words.append(f"load {told.load:.1f}")
    place = next((place for place in told.spools if place.writable and not place.network), None)
    if place is not None and place.free is not None:
        words.append(f"{amount(place.free)} free")
    if facts.took is not None:
        words.append(f"a line in {format_duration(facts.took)}")
    return ", ".join(words)
