"""Our judgement of host keys, put into what the ssh program reads; and what it did with a key, put into our words.

The program gets one file of all that it may trust for this host, made anew for each line; the record itself is never
within its reach. It must never be let in on a key that the record speaks against, whatever that file would allow.
"""

from __future__ import annotations

from pathlib import Path

from hostler.errors import HostKeyMismatch, HostRefused
from hostler.transports.hostkeys import Judge
from hostler.transports.knownhosts import Entry, fingerprint, key_of, written
from hostler.transports.openssh_program import Heard

CHANGED = ("REMOTE HOST IDENTIFICATION HAS CHANGED", "POSSIBLE DNS SPOOFING", "DNS spoofing")
REVOKED = ("REVOKED", "revoked")
UNKNOWN = ("Host key verification failed", "strict checking")


def trusted(judge: Judge) -> str:
    """A known_hosts file of what is right for this host, and of nothing else."""
    if judge.pinned is not None:
        return written(judge.name, judge.pinned)
    known, bare = judge.known, judge.name.rpartition("]")[0].lstrip("[") or judge.name
    lines = [written(judge.name, one.blob) for one in known.keys if _stands(judge, one)]
    lines += [written(bare, one.blob) for one in known.portless if _stands(judge, one)]
    lines += ["@cert-authority " + written("*", one.blob) for one in known.authorities]
    lines += ["@revoked " + written("*", one.blob) for one in known.revoked]
    return "".join(lines)


def strictness(judge: Judge) -> str:
    """What the program does with a key that the file doesn't hold: as soon as one is on record, it is refused."""
    return "yes" if judge.strict or judge.pinned or judge.known.keys else "accept-new"


def note_new(judge: Judge, path: Path, given: str, heard: Heard) -> None:
    """Take over a key that the program added to its file: it was seen for the first time. Raises HostRefused."""
    if any("Failed to add the host" in line for line in heard.lines):  # it would go on without a record
        raise HostRefused(judge.host.name, "its key can't be put on record: no room for ssh's files here")
    if judge.pinned is None:
        for text in path.read_text()[len(given) :].splitlines():
            words = text.split(None, 1)
            key = key_of(words[1]) if len(words) == 2 and not text.startswith("@") else None
            if key is not None and not judge.known.holds(key[1]):
                judge.new = key[1]


def verdict(judge: Judge, heard: Heard) -> HostRefused | None:
    """The error when the program ended over the host's key; None when that is not why."""
    said = "\n".join(heard.lines)
    if not any(word in said for word in (*CHANGED, *REVOKED, *UNKNOWN)) or heard.proved:
        return None
    name = judge.host.name
    kind, print_ = heard.shown or ("a key", "that ssh did not show")
    shown = f"it shows {kind} {print_}"
    if judge.pinned is not None:
        source = f" ({judge.host.source})" if judge.host.source else ""
        why = f"host key mismatch: {shown}, but {fingerprint(judge.pinned)} is pinned{source}"
        return HostKeyMismatch(name, why)
    revoked = next((one for one in judge.known.revoked if fingerprint(one.blob) == print_), None)
    if revoked is not None or any(word in said for word in REVOKED):
        places = ", ".join(sorted({one.place for one in judge.known.revoked}))
        where = revoked.place if revoked else places or "your SSH configuration's RevokedHostKeys"
        return HostKeyMismatch(name, f"{shown}, which is revoked in {where}")
    against = _against(judge, kind, print_)
    if against is not None:
        return HostKeyMismatch(name, judge.differs(against.place, against.path, shown))
    if any(word in said for word in CHANGED):
        return HostKeyMismatch(name, f"host key mismatch: {shown}, but ssh knows another for {judge.name}")
    return HostRefused(name, f"its key is not on record, and unknown keys are refused: {shown}")


def _stands(judge: Judge, entry: Entry) -> bool:
    return judge.known.revocation(entry.blob) is None and judge.known.conflict(entry.kind, entry.blob) is None


def _against(judge: Judge, kind: str, print_: str) -> Entry | None:
    keys = judge.known.keys
    same = next((one for one in keys if fingerprint(one.blob) == print_), None)
    if same is not None:
        return judge.known.conflict(same.kind, same.blob)
    return next((one for one in keys if one.kind == kind), keys[0] if keys else None)
