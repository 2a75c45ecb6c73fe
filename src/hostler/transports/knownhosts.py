"""What is on record about hosts' keys: known_hosts files, those of others read, our own also written.

It must never write a file that isn't ours, hold a host for known because a line could not be read, or import
AsyncSSH: keys are compared as the bytes that a host shows.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import hmac
import os
import time
from collections.abc import Iterable, Sequence
from fnmatch import translate
from pathlib import Path
from re import IGNORECASE, Pattern, compile

from msgspec import Struct

LONGEST = 64 << 20  # bytes of one known_hosts file
LOCK_WAIT = 10.0  # seconds to wait for another hostler that is writing


class Entry(Struct, frozen=True, kw_only=True):
    """One key on record: where it stands, its marker ("", "cert-authority", "revoked") and its bytes."""

    path: str
    line: int
    marker: str
    kind: str
    blob: bytes

    @property
    def place(self) -> str:
        """file:line.

        >>> Entry(path="/k", line=3, marker="", kind="ssh-ed25519", blob=b"").place
        '/k:3'
        """
        return f"{self.path}:{self.line}"


class Known(Struct, frozen=True, kw_only=True):
    """What is on record for one host: its keys, keys of the same name without port, authorities, revoked keys."""

    keys: tuple[Entry, ...] = ()
    portless: tuple[Entry, ...] = ()
    authorities: tuple[Entry, ...] = ()
    revoked: tuple[Entry, ...] = ()

    def kinds(self) -> frozenset[str]:
        """The types of the keys that the host may show."""
        return frozenset(entry.kind for entry in self.keys or self.portless)

    def holds(self, blob: bytes) -> bool:
        """Whether this very key is on record for the host."""
        return any(entry.blob == blob for entry in self.keys + self.portless)

    def conflict(self, kind: str, blob: bytes) -> Entry | None:
        """The entry that speaks against this key, if one does.

        A key of the same type in a file that doesn't list this one, or any other key when it is nowhere listed.
        A name without port speaks for a key, never against one.
        """
        listing = {entry.path for entry in self.keys if entry.blob == blob}
        for entry in self.keys:
            if entry.path not in listing and entry.kind == kind:
                return entry
        if not listing and not self.holds(blob) and self.keys:
            return self.keys[0]
        return None

    def revocation(self, blob: bytes) -> Entry | None:
        """The entry that revokes this key, if one does."""
        return next((entry for entry in self.revoked if entry.blob == blob), None)


class Conflict(Exception):
    """Another key was recorded for this host in the meantime."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry.place)
        self.entry = entry


def place(name: str, port: int) -> str:
    """A host as known_hosts files name it.

    >>> place("Web1", 22), place("web1", 2222), place("::1", 22)
    ('web1', '[web1]:2222', '::1')
    """
    return name.lower() if port == 22 else f"[{name.lower()}]:{port}"


def key_of(text: str) -> tuple[str, bytes] | None:
    """The type and bytes of a public key line ("ssh-ed25519 AAAA… comment"), or None when it isn't one.

    >>> key_of("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me")[0]
    'ssh-ed25519'
    >>> key_of("ssh-ed25519 nonsense") is None
    True
    """
    words = text.split(None, 2)
    if len(words) < 2:
        return None
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (ValueError, binascii.Error):
        return None
    kind = words[0].encode("ascii", "replace")
    if blob[: 4 + len(kind)] != len(kind).to_bytes(4, "big") + kind:
        return None
    return words[0], blob


def fingerprint(blob: bytes) -> str:
    """A key as people compare it.

    >>> fingerprint(b"")
    'SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU'
    """
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def kind_of(blob: bytes) -> str:
    """The type that a key's bytes begin with.

    >>> kind_of(bytes([0, 0, 0, 11]) + b"ssh-ed25519")
    'ssh-ed25519'
    """
    length = int.from_bytes(blob[:4], "big")
    return blob[4 : 4 + length].decode("ascii", "replace")


def written(names: str, blob: bytes) -> str:
    """A key as a line of a known_hosts file."""
    return f"{names} {kind_of(blob)} {base64.b64encode(blob).decode()}\n"


class KnownHosts:
    """Readings of known_hosts files, each parsed once until it changes on disk."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[tuple[int, int, int] | None, _File]] = {}

    def known(self, name: str, port: int, files: Iterable[Path]) -> Known:
        """What `files` say of the host called `name` (or its HostKeyAlias, with port 22)."""
        full, bare = place(name, port), name.lower()
        exact: list[Entry] = []
        portless: list[Entry] = []
        for path in dict.fromkeys(files):
            file = self._file(path)
            exact += file.entries(full)
            if full != bare:
                portless += file.entries(bare)
        both = exact + portless
        return Known(
            keys=tuple(entry for entry in exact if not entry.marker),
            portless=tuple(entry for entry in portless if not entry.marker),
            authorities=tuple(entry for entry in both if entry.marker == "cert-authority"),
            revoked=tuple(entry for entry in both if entry.marker == "revoked"),
        )

    def _file(self, path: Path) -> _File:
        stamp: tuple[int, int, int] | None
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except OSError:
            stamp = None
        held = self._read.get(path)
        if held is None or held[0] != stamp:
            held = self._read[path] = (stamp, _File.read(path) if stamp is not None else _File())
        return held[1]


class _File:
    """One file: plain names in a table, the rest (hashes, patterns) in file order."""

    __slots__ = ("hashed", "patterns", "plain")

    def __init__(self) -> None:
        self.plain: dict[str, list[Entry]] = {}
        self.hashed: list[tuple[bytes, bytes, Entry]] = []
        self.patterns: list[tuple[list[tuple[bool, Pattern[str]]], Entry]] = []

    @classmethod
    def read(cls, path: Path) -> _File:
        file = cls()
        try:
            with path.open("rb") as opened:
                text = opened.read(LONGEST).decode("utf-8", "surrogateescape")
        except OSError:
            return file
        for number, line in enumerate(text.split("\n"), 1):
            file._take(str(path), number, line.strip())
        return file

    def _take(self, path: str, number: int, line: str) -> None:
        words = line.split(None, 3)
        if not words or line.startswith("#"):
            return
        marker = words.pop(0)[1:] if line.startswith("@") else ""
        key = key_of(" ".join(words[1:]))
        if key is None or marker not in ("", "cert-authority", "revoked"):
            return
        names = words[0]
        entry = Entry(path=path, line=number, marker=marker, kind=key[0], blob=key[1])
        if names.startswith("|"):
            parts = names.split("|")
            if len(parts) == 4 and parts[1] == "1":
                try:
                    salt, digest = base64.b64decode(parts[2]), base64.b64decode(parts[3])
                except (ValueError, binascii.Error):
                    return
                self.hashed.append((salt, digest, entry))
        elif any(sign in names for sign in "*?!"):
            self.patterns.append(([_pattern(word) for word in names.split(",") if word], entry))
        else:
            for name in names.lower().split(","):
                self.plain.setdefault(name, []).append(entry)

    def entries(self, name: str) -> list[Entry]:
        found = list(self.plain.get(name, ()))
        data = name.encode()
        found += [entry for salt, digest, entry in self.hashed if hmac.digest(salt, data, "sha1") == digest]
        for patterns, entry in self.patterns:
            hits = {wanted for wanted, pattern in patterns if pattern.match(name)}
            if hits == {True}:
                found.append(entry)
        return found


def _pattern(word: str) -> tuple[bool, Pattern[str]]:
    # OpenSSH knows * and ? only; brackets are part of a name here, not a set of letters.
    plain = word.removeprefix("!").replace("[", "\x00")
    return not word.startswith("!"), compile(translate(plain).replace("\x00", r"\["), IGNORECASE)


def learn(path: Path, entries: Sequence[tuple[str, bytes]]) -> list[Entry | None]:
    """Append keys of hosts that had none, (place, bytes) each, to our own file; durable on return.

    Answers for each None when the key is on record now, or the entry of another key that was there first. The
    file is 0600 whatever the umask, and two writers wait for one another. Raises OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = not path.exists()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(fd, 0o600)
        _lock(fd, path)
        held = _File.read(path)
        answers: list[Entry | None] = []
        lines: list[str] = []
        new: dict[str, bytes] = {}
        for name, blob in entries:
            found = [entry for entry in held.entries(name) if not entry.marker]
            if name in new and new[name] != blob:
                found = [Entry(path=str(path), line=0, marker="", kind=kind_of(new[name]), blob=new[name])]
            same = any(entry.blob == blob for entry in found)
            answers.append(found[0] if found and not same else None)
            if not found and name not in new:
                new[name] = blob
                lines.append(written(name, blob))
        if lines:
            size = os.fstat(fd).st_size
            gap = b"\n" if size and os.pread(fd, 1, size - 1) != b"\n" else b""
            os.write(fd, gap + "".join(lines).encode())
            os.fsync(fd)
            if made:
                _sync_folder(path.parent)
        return answers
    finally:
        os.close(fd)


def _lock(fd: int, path: Path) -> None:
    give_up = time.monotonic() + LOCK_WAIT
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise TimeoutError(f"{path} has been locked by another process for {LOCK_WAIT:g}s") from None
            time.sleep(0.02)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
