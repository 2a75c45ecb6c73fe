"""The folder in which this machine's sandbox hosts are written down: one folder a host, one lock for all.

It depends on neither HOME nor the state folder, so that every command of the same account finds the same hosts.
It must never trust a folder that another account could have written, nor read a half-written record.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, to_builtins
from msgspec.structs import replace

import hostler
from hostler.errors import ProviderError, UsageError
from hostler.model.hosts import Host
from hostler.model.instances import Instance
from hostler.providers.sandbox_procs import Pin, living

VARIABLE = "HOSTLER_SANDBOX_DIR"
MARK = "HOSTLER_SANDBOX"
_FOLDER = re.compile(r"sbx-[0-9a-f]{16}\Z")


class Record(Struct, frozen=True, kw_only=True):
    """All that is written down about one sandbox host.

    `command` is its SSH server's argv, `environment` what is set for all that is begun through it; `controller` the
    process that asked for the host, `keeper` and `server` the processes that are it, None until they have started.
    `mark` is the registry's where the host was launched for a run. Times are seconds since the epoch; `fuse` is how
    many seconds a run's host outlives its controller.
    """

    id: str
    number: int
    name: str
    address: str
    port: int
    user: str
    host_key: str
    identity: str
    run: str | None
    token: str
    started: float
    expires: float | None
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    vars: tuple[tuple[str, str], ...] = ()
    controller: Pin | None = None
    keeper: Pin | None = None
    server: Pin | None = None
    fuse: float | None = None
    mark: str = ""

    @property
    def host(self) -> Host:
        """The facts needed to reach it."""
        return Host(
            name=self.name,
            address=self.address,
            user=self.user,
            port=self.port,
            identity=self.identity,
            host_key=self.host_key,
            tags=frozenset({"sandbox"}),
            vars=self.vars,
            source="sandbox",
            instance=f"{self.id} {self.mark}" if self.mark else None,
        )

    @property
    def instance(self) -> Instance:
        """The same as the Provider port has it."""
        return Instance(
            id=self.id,
            provider="sandbox",
            run=self.run,
            token=self.token,
            host=self.host,
            started=self.started,
            expires=self.expires,
        )

    @property
    def up(self) -> bool:
        """Whether its keeper lives."""
        return living(self.keeper) is not None


class Entry(Struct, frozen=True, kw_only=True):
    """A host's folder and what stands in it; the record is None when it is missing or makes no sense."""

    id: str
    folder: Path
    record: Record | None

    @property
    def name(self) -> str:
        """What people call it."""
        return self.record.name if self.record else self.id

    @property
    def up(self) -> bool:
        """Whether the host can be there; under the lock, False means that it is broken."""
        return self.record is not None and self.record.up


class Registry:
    """The sandbox hosts of this account, on disk, at `path` (None: by the environment)."""

    def __init__(self, path: Path | None = None, *, environ: Mapping[str, str] = os.environ) -> None:
        given = path or environ.get(VARIABLE)
        if isinstance(given, str) and given and not os.path.isabs(given):
            raise UsageError(
                f"{VARIABLE}={given}: write the full path, lest it be another folder wherever hostler is run"
            )
        usual = Path(f"/var/tmp/hostler-{os.geteuid()}")
        self.path = Path(given).absolute() if given else usual / "sandbox"
        self._folders = (self.path,) if given else (usual, self.path)

    @property
    def client_key(self) -> Path:
        """The one private key that all these hosts accept."""
        return self.path / "client_key"

    def mark(self) -> str:
        """What tells this folder from every other, of this machine or another; empty while it holds no key."""
        try:
            return hashlib.sha256(self.client_key.read_bytes()).hexdigest()[:16]
        except OSError:
            return ""

    def create(self) -> None:
        """Make the folder, 0700 whatever the umask. Raises UsageError when what is there can't be trusted."""
        if any(ord(letter) < 32 or letter == '"' for letter in str(self.path)):
            raise UsageError(
                f"{VARIABLE} {str(self.path)!r}: quotes and control characters can't stand in it"
            )
        for folder in self._folders:
            try:
                folder.parent.mkdir(parents=True, exist_ok=True)
                folder.mkdir(mode=0o700)
                folder.chmod(0o700)
            except FileExistsError:
                pass
            except OSError as error:
                raise UsageError(
                    f"sandbox folder {folder}: {error.strerror}; set {VARIABLE} to a folder that you may write"
                ) from None
        self.there()

    def there(self) -> bool:
        """Whether the folder exists. Raises UsageError when it isn't ours alone."""
        for folder in self._folders:
            try:
                about = folder.lstat()
            except FileNotFoundError:
                return False
            except OSError as error:
                raise UsageError(
                    f"sandbox folder {folder}: {error.strerror}; set {VARIABLE} to another"
                ) from None
            mode = stat.S_IMODE(about.st_mode)
            if not stat.S_ISDIR(about.st_mode):
                raise UsageError(
                    f"sandbox folder {folder}: not a folder; remove it or set {VARIABLE} to another"
                )
            if about.st_uid != os.geteuid():
                raise UsageError(
                    f"sandbox folder {folder}: belongs to user {about.st_uid}, not to you; set {VARIABLE} to another"
                )
            if mode & 0o077:
                raise UsageError(f"sandbox folder {folder}: open to others (mode {mode:04o}); chmod 700 it")
        return True

    def entries(self) -> list[Entry]:
        """Every host written down, by name; empty when there is no folder. Raises UsageError as `there` does."""
        if not self.there():
            return []
        found = [
            Entry(id=item.name, folder=Path(item.path), record=read(Path(item.path)))
            for item in os.scandir(self.path)
            if _FOLDER.match(item.name) and item.is_dir(follow_symlinks=False)
        ]
        return sorted(found, key=_order)

    @contextlib.contextmanager
    def lock(self, *, seconds: float) -> Iterator[None]:
        """Hold the one lock under which hosts are begun and ended. Raises ProviderError after `seconds`."""
        until = time.monotonic() + seconds
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= until:
                        raise ProviderError(
                            f"sandbox: another hostler has been at work in {self.path} for {seconds:.0f} s; try again"
                        ) from None
                    time.sleep(0.02)
            yield
        finally:
            os.close(handle)


def _order(entry: Entry) -> tuple[int, float, int, str]:
    """Those begun by hand first, by number; then each launch's own, oldest first; broken ones last."""
    record = entry.record
    if record is None:
        return (2, 0.0, 0, entry.id)
    return (
        (0, 0.0, record.number, "")
        if record.run is None
        else (1, record.started, record.number, record.token)
    )


def import_path() -> str:
    """PYTHONPATH for a process of a host's own, which looks for no site packages and doesn't stand where we stand."""
    packages = (hostler, msgspec)
    return ":".join(dict.fromkeys(str(Path(str(package.__file__)).parent.parent) for package in packages))


def write(folder: Path, record: Record) -> None:
    """Replace the record in a host's folder: the old one or the new one is there, never a part."""
    draft = folder / f".record-{os.getpid()}"
    private(draft, json.dumps(to_builtins(record)))
    os.rename(draft, folder / "record.json")
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rewrite(
    registry: Registry, which: Callable[[Record], bool], *, seconds: float, **changes: Any
) -> list[Record]:
    """Change the records of hosts that are up; the new ones. Raises ProviderError when the lock is not to be had."""
    if not registry.there():
        return []
    with registry.lock(seconds=seconds):
        changed = [
            (entry.folder, replace(entry.record, **changes))
            for entry in registry.entries()
            if entry.up and entry.record and which(entry.record)
        ]
        for folder, record in changed:
            write(folder, record)
    return [record for _, record in changed]


def private(path: Path, text: str) -> None:
    """Write a file that only this account can read, whatever the umask, down to the disk."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
        os.fchmod(handle, 0o600)
        file.write(text)
        file.flush()
        os.fsync(handle)


def remove(folder: Path) -> None:
    """Remove a host's folder with all that jobs left in it, also what they locked themselves out of."""
    import shutil  # slow to import, and only needed at a host's end

    # The record goes first: what is left without one counts as broken and is cleared by whoever comes next.
    with contextlib.suppress(OSError):
        (folder / "record.json").unlink()
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        for place, folders, _ in os.walk(folder):
            for name in folders:
                if not os.path.islink(os.path.join(place, name)):
                    with contextlib.suppress(OSError):
                        os.chmod(os.path.join(place, name), 0o700)
        shutil.rmtree(folder, ignore_errors=True)


def read(folder: Path) -> Record | None:
    """The record in a host's folder; None when it is missing or makes no sense."""
    try:
        with open(folder / "record.json", "rb") as file:
            fields = json.loads(file.read(1 << 20))
        fields = {name: value for name, value in fields.items() if name in Record.__struct_fields__}
        for name in ("controller", "keeper", "server"):
            fields[name] = fields.get(name) and Pin(**fields[name])
        fields["command"] = tuple(fields["command"])
        for pairs in ("environment", "vars"):
            fields[pairs] = tuple((name, value) for name, value in fields.get(pairs, ()))
        record = Record(**fields)
        record.host  # noqa: B018  a Host checks its own facts
    except (OSError, ValueError, TypeError, KeyError, AttributeError, UsageError):
        return None
    return record if record.id == folder.name else None
