"""Which keys we show a host, in which order, and why others were left out: so that a refusal can name them.

It must never ask for a passphrase: a key that needs one is used through the agent, or opened with what was given.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path

import asyncssh
from msgspec import Struct, field

from hostler.model.secrets import Secret
from hostler.transports.certificates import valid_before
from hostler.transports.logins import ENCRYPTED, NO_AGENT, NO_FIT
from hostler.transports.sshconfig import Way

USUAL = ("id_ed25519_sk", "id_ecdsa_sk", "id_ed25519", "id_ecdsa", "id_rsa")


class Loaded(Struct, frozen=True):
    """What one key file gave: pairs, or the reason why none; the public halves that stand beside it.

    `until` is when its certificate ends, in seconds since the epoch.
    """

    pairs: tuple[asyncssh.SSHKeyPair, ...] = ()
    why: str | None = None
    publics: frozenset[bytes] = frozenset()
    until: float | None = None


class Hand(Struct):
    """The keys for one login, in the order in which they are shown, and what to say when none is accepted."""

    pairs: list[asyncssh.SSHKeyPair] = field(default_factory=list)
    tried: list[str | Path] = field(default_factory=list)
    left_out: list[tuple[Path | None, str]] = field(default_factory=list)
    until: dict[Path, float] = field(default_factory=dict)
    agent: asyncssh.SSHAgentClient | None = None

    def account(self) -> str:
        """What was tried and what was not, in one line."""
        names = [self._named(one) if isinstance(one, Path) else one for one in self.tried]
        tried = f"tried {listing(names)}" if names else "no key to try"
        return "; ".join([tried, *(f"{short(path)} {why}" if path else why for path, why in self.left_out)])

    def _named(self, path: Path) -> str:
        over = self.until.get(path, math.inf) < time.time()
        return short(path) + (" (its certificate has expired)" if over else "")

    def close(self) -> None:
        """Let go of the agent; its keys are of no use afterwards."""
        if self.agent is not None:
            self.agent.close()
            self.agent = None


class Identities:
    """The account's keys, each file read once until it changes."""

    def __init__(self, passphrase: Secret | None = None) -> None:
        self._passphrase = passphrase
        self._files: dict[tuple[Path, tuple[str, ...]], tuple[_Stamp, Loaded]] = {}

    async def hand(self, way: Way) -> Hand:
        """Gather keys for a login: those named for the host before the agent's others, usual ones after them."""
        hand = Hand()
        named = [Path(os.path.expanduser(name)) for name in way.keys]
        usual = [] if named else [Path.home() / ".ssh" / name for name in USUAL]
        loaded = self._load(named, usual, way.certificates)
        chosen = frozenset[bytes]().union(*(one.publics for one in loaded.values()))
        from_agent = await self._agent(way, hand, chosen)
        held = {pair.public_data for pair in from_agent}
        files: list[asyncssh.SSHKeyPair] = []
        names: list[str | Path] = []
        hand.until = {path: one.until for path, one in loaded.items() if one.until is not None}
        for path, one in loaded.items():
            if one.pairs:
                names.append(path)
                # AsyncSSH notes the signature algorithm that a host wants on the pair itself.
                files += [copy.copy(pair) for pair in one.pairs if pair.public_data not in held]
            elif one.why is not None and not one.publics & held:
                hand.left_out.append((path, one.why))
        spoken: list[str | Path] = [_of_agent(len(from_agent))] if from_agent else []
        if named:
            first = [pair for pair in from_agent if pair.public_data in chosen]
            rest = [pair for pair in from_agent if pair.public_data not in chosen]
            hand.pairs, hand.tried = first + files + rest, names + spoken
        else:
            hand.pairs, hand.tried = from_agent + files, spoken + names
        return hand

    def account(self, way: Way, tried: Sequence[str | None], taken: Sequence[str], no_agent: bool) -> str:
        """What the ssh program tried and what it could not, in one line; None in `tried` is a key of the agent.

        `taken` are keys that the host would have accepted.
        """
        files = list(dict.fromkeys(name for name in tried if name is not None))
        hand = Hand()
        for name in dict.fromkeys([*files, *way.keys]):
            path = Path(os.path.expanduser(name))
            if not (path.exists() or name in files or len(way.keys) == 1):
                continue  # one of the usual ones, which isn't there
            one = self._load([path], [], way.certificates)[path]
            if one.until is not None:
                hand.until[path] = one.until
            if name in files and name not in taken:
                hand.tried.append(path)
            elif one.why is not None:
                hand.left_out.append((path, one.why))
        if no_agent:
            hand.left_out.append((None, NO_AGENT.format(way.agent)))
        count = sum(name is None for name in tried)
        if count:
            hand.tried.append(_of_agent(count))
        return hand.account()

    async def _agent(self, way: Way, hand: Hand, chosen: frozenset[bytes]) -> list[asyncssh.SSHKeyPair]:
        if not way.agent or (way.only and not chosen):
            return []
        hand.agent = asyncssh.SSHAgentClient(way.agent)
        try:
            pairs = list(await hand.agent.get_keys())
        except (OSError, ValueError):
            hand.close()
            hand.left_out.append((None, NO_AGENT.format(way.agent)))
            return []
        except BaseException:
            hand.close()
            raise
        return [pair for pair in pairs if pair.public_data in chosen] if way.only else pairs

    def _load(
        self, named: list[Path], usual: list[Path], certificates: tuple[str, ...]
    ) -> dict[Path, Loaded]:
        found: dict[Path, Loaded] = {}
        for path in named + usual:
            stamp = _stamp(path)
            if isinstance(stamp, OSError):
                if path in named:
                    found[path] = Loaded(why=f"can't be read ({stamp.strerror})", publics=_publics(path))
                continue
            held = self._files.get((path, certificates))
            if held is None or held[0] != stamp:
                held = self._files[path, certificates] = (stamp, _read(path, certificates, self._passphrase))
            found[path] = held[1]
        return found


_Stamp = tuple[int, int, int]


def _stamp(path: Path) -> _Stamp | OSError:
    try:
        key = path.stat()
    except OSError as error:
        return error
    try:
        certified = os.stat(f"{path}-cert.pub").st_mtime_ns
    except OSError:
        certified = 0
    return key.st_mtime_ns, key.st_ino, certified


def _read(path: Path, certificates: tuple[str, ...], passphrase: Secret | None) -> Loaded:
    publics = _publics(path)
    certs = [name for name in map(os.path.expanduser, certificates) if os.access(name, os.R_OK)]
    try:
        pairs = _opened(path, certs, passphrase)
    except OSError as error:
        return Loaded(why=f"can't be read ({error.strerror})", publics=publics)
    except (ValueError, asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        if "assphrase" in str(error) or isinstance(error, asyncssh.KeyEncryptionError):
            return Loaded(why=ENCRYPTED if passphrase is None else NO_FIT, publics=publics)
        if publics:  # a public key, naming one that the agent holds
            return Loaded(why="is not held by the agent", publics=publics)
        return Loaded(why="is not a private key that can be used", publics=publics)
    publics |= {pair.public_data for pair in pairs}
    ends = [end for end in map(valid_before, publics) if end is not None]
    return Loaded(pairs=pairs, publics=publics, until=min(ends, default=None))


def _opened(path: Path, certs: list[str], passphrase: Secret | None) -> tuple[asyncssh.SSHKeyPair, ...]:
    try:
        return tuple(asyncssh.load_keypairs(str(path), certlist=certs))
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        if passphrase is None or "assphrase" not in str(error):
            raise
    return tuple(asyncssh.load_keypairs(str(path), passphrase.reveal(), certlist=certs))


def _publics(path: Path) -> frozenset[bytes]:
    """Public keys and certificates at `path` or beside it, as an agent would list them."""
    found: set[bytes] = set()
    for name in (str(path), f"{path}.pub", f"{path}-cert.pub"):
        try:
            found.add(asyncssh.read_public_key(name).public_data)
        except (OSError, ValueError, asyncssh.KeyImportError):
            try:
                found.add(asyncssh.read_certificate(name).public_data)
            except (OSError, ValueError, asyncssh.KeyImportError):
                continue
    return frozenset(found)


def _of_agent(count: int) -> str:
    return f"{count} key{'s'[: count != 1]} of the agent"


def short(path: Path) -> str:
    """A path as people write it."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def listing(words: list[str]) -> str:
    """Words as a sentence names them.

    >>> listing(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
