"""Whether the machine that answers is the host that we mean: the one judge of host keys and certificates.

Order: a key pinned in the inventory decides alone; then revoked keys, authorities, keys on record, and only then,
unless strict, a key seen for the first time. It must never trust a key because a check could not be made.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import asyncssh
from asyncssh.public_key import (
    get_default_certificate_algs,
    get_default_public_key_algs,
    get_public_key_algs,
)

from hostler.errors import HostKeyMismatch, HostRefused
from hostler.model.hosts import Host
from hostler.transports.knownhosts import (
    Entry,
    Known,
    KnownHosts,
    fingerprint,
    key_of,
    kind_of,
    learn,
    place,
)
from hostler.transports.logins import NONE, Answers
from hostler.transports.sshconfig import Way

SIGNATURES = {"ssh-rsa": ("rsa-sha2-256", "rsa-sha2-512", "ssh-rsa")}


class HostKeys:
    """The keys on record, theirs and ours, and the writing of new ones."""

    def __init__(self, own: Path) -> None:
        self._own = own
        self._files = KnownHosts()
        self._queue: list[tuple[str, bytes, asyncio.Future[Entry | None]]] = []
        self._writing = asyncio.Lock()

    def judge(self, host: Host, way: Way, *, strict: bool, answers: Answers | None = None) -> Judge:
        """A judge for one login, which passes questions on to `answers`.

        Raises HostRefused when the pinned key can't be one.
        """
        pinned = None
        if host.host_key is not None:
            key = key_of(host.host_key)
            if key is None:
                raise HostRefused(host.name, f"host_key {host.host_key[:40]!r} is no public key line")
            pinned = key[1]
        name, port = (way.alias, 22) if way.alias else (way.address, way.port)
        known = Known() if pinned else self._files.known(name, port, (*way.known_hosts, self._own))
        return Judge(
            host, place(name, port), known, pinned=pinned, strict=strict, own=self._own, answers=answers
        )

    async def keep(self, judge: Judge) -> None:
        """Put a key seen for the first time on record, durably. Raises HostKeyMismatch, HostRefused.

        First contacts that come together share one write.
        """
        if judge.new is None:
            return
        answer: asyncio.Future[Entry | None] = asyncio.get_running_loop().create_future()
        self._queue.append((judge.name, judge.new, answer))
        async with self._writing:
            if not answer.done():
                try:
                    await self._write()
                except OSError as error:
                    why = f"its key can't be put on record in {self._own}: {error.strerror or error}"
                    raise HostRefused(judge.host.name, why) from error
        other = answer.result()
        if other is not None:
            raise HostKeyMismatch(judge.host.name, judge.differs(other.place, other.path))

    async def _write(self) -> None:
        batch, self._queue = self._queue, []
        try:
            found = await asyncio.to_thread(learn, self._own, [(name, blob) for name, blob, _ in batch])
        except BaseException:
            self._queue = batch + self._queue  # the next in line writes for those that still wait
            raise
        for (_, _, answer), other in zip(batch, found, strict=True):
            if not answer.done():
                answer.set_result(other)


class Judge(asyncssh.SSHClient):
    """AsyncSSH's questions about one host's key, answered; `why` says what was wrong, `new` is a key to record."""

    def __init__(
        self, host: Host, name: str, known: Known, *, pinned: bytes | None, strict: bool, own: Path,
        answers: Answers | None,
    ) -> None:  # fmt: skip
        self._answers = answers or Answers(NONE)
        self.host, self.name = host, name
        self.known, self.pinned, self.strict, self._own = known, pinned, strict, own
        self.certificates = bool(known.authorities)
        self.why: str | None = None
        self.new: bytes | None = None
        self.reached = False
        self.proved = False
        self.unknown = False

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Somebody took the call."""
        self.reached = True

    def begin_auth(self, username: str) -> None:
        """The host has proved its key; the login begins."""
        self.proved = True

    def password_auth_requested(self) -> str | None:
        """The host would take a password."""
        return self._answers.password()

    def kbdint_auth_requested(self) -> str | None:
        """The host would ask questions."""
        return ""

    def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: Sequence[tuple[str, bool]]
    ) -> list[str] | None:
        """The host asks questions."""
        return self._answers.questions([text for text, _ in prompts])

    def algorithms(self, asked: str | None = None) -> list[str]:
        """What we offer to check, keys on record first, so that a host with several keys shows one that we know.

        `asked` is the user's HostKeyAlgorithms: a list, or one that adds (+), removes (-) or puts first (^).
        """
        plain = [algorithm.decode() for algorithm in get_default_public_key_algs()]
        kinds = {kind_of(self.pinned)} if self.pinned else self.known.kinds()
        wanted = {name for kind in kinds for name in SIGNATURES.get(kind, (kind,))}
        if self.pinned:
            return [name for name in plain if name in wanted] or plain
        certs = [name.decode() for name in get_default_certificate_algs()] if self.certificates else []
        usual = certs + sorted(plain, key=lambda name: name not in wanted)
        if not asked:
            return usual
        sign, names = (asked[0], asked[1:]) if asked[0] in "+-^" else ("", asked)
        every = certs + [name.decode() for name in get_public_key_algs()]
        hits = [name for one in names.split(",") for name in every if fnmatchcase(name, one)]
        chosen = {
            "": hits,
            "+": usual + hits,
            "^": hits + usual,
            "-": [name for name in usual if name not in hits],
        }[sign]
        return list(dict.fromkeys(chosen)) or usual

    def trusted(self, *_: object) -> tuple[Sequence[bytes], Sequence[bytes], Sequence[asyncssh.SSHKey]]:
        """What AsyncSSH may take for granted: nothing but what is revoked. Everything else, it asks us."""
        revoked = []
        for entry in self.known.revoked:
            try:
                revoked.append(asyncssh.import_public_key(_line(entry.blob)))
            except (ValueError, asyncssh.KeyImportError):
                continue
        return [], [], revoked

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Whether the signer of the host's certificate is an authority for this host."""
        if any(entry.blob == key.public_data for entry in self.known.authorities):
            return True
        self.why = (
            f"its certificate is signed by {fingerprint(key.public_data)}, no @cert-authority for {self.name}"
        )
        return False

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Whether the key that the host shows is its own."""
        blob = key.public_data
        kind = kind_of(blob)
        shown = f"it shows {kind} {fingerprint(blob)}"
        if self.pinned is not None:
            if blob != self.pinned:
                source = f" ({self.host.source})" if self.host.source else ""
                self.why = f"host key mismatch: {shown}, but {fingerprint(self.pinned)} is pinned{source}"
            return self.why is None
        revoked = self.known.revocation(blob)
        if revoked is not None:
            self.why = f"{shown}, which is revoked in {revoked.place}"
            return False
        other = self.known.conflict(kind, blob)
        if other is not None:
            self.why = self.differs(other.place, other.path, shown)
            return False
        if self.known.holds(blob):
            return True
        if self.strict:
            self.unknown = True
            self.why = f"its key is not on record, and unknown keys are refused: {shown}"
            return False
        self.new = blob
        return True

    def differs(self, where: str, path: str, shown: str = "it shows another key") -> str:
        """The text of a conflict with the entry at `where`."""
        ours = " (hostler's own record)" if path == str(self._own) else ""
        return (
            f"host key mismatch: {shown}, but {where}{ours} has another for {self.name}. Somebody may be in between;"
            f" if the host was reinstalled: ssh-keygen -R '{self.name}' -f {path}"
        )

    def verdict(self, error: asyncssh.HostKeyNotVerifiable) -> HostRefused:
        """The error for a login that ended over the host's key."""
        if self.why is None and "revoked" in str(error) and self.known.revoked:
            places = ", ".join(sorted({entry.place for entry in self.known.revoked}))
            self.why = f"it shows a key that is revoked in {places}"
        kind = HostRefused if self.unknown else HostKeyMismatch
        return kind(self.host.name, self.why or f"host key not verifiable: {error}")


def _line(blob: bytes) -> bytes:
    return kind_of(blob).encode() + b" " + base64.b64encode(blob)
