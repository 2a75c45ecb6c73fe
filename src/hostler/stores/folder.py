"""Where hostler keeps its state: one private folder on a disk of this machine.

It holds `store.db` and `runs/<number>/`. It must never be a folder that others can write to, nor one on a network file
system: the locks that keep two controllers apart don't hold there, and SQLite's WAL needs shared memory.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from hostler.errors import StoreError, UsageError
from hostler.stores.files import private_folder, sync_folder

MOUNTS = Path("/proc/self/mountinfo")

_NETWORK = re.compile(
    r"(nfs\d?|cifs|smb\w*|ncpfs?|9p|ceph|afs|auristorfs|coda|gfs2?|ocfs2|gpfs|lustre|beegfs\w*|orangefs|pvfs2"
    r"|glusterfs|acfs|panfs|davfs"
    r"|fuse\.(sshfs|glusterfs\w*|ceph\w*|s3fs|rclone|gcsfuse|curlftpfs|davfs2?|moosefs|mfs\w*|nfs\w*|smb\w*|juicefs))\Z"
)


def state_dir(*, environ: Mapping[str, str] = os.environ, mounts: Path = MOUNTS) -> Path:
    """Find the state folder and make it, 0700, if it isn't there.

    $HOSTLER_STATE_DIR, else $XDG_STATE_HOME/hostler, else ~/.local/state/hostler. `mounts` is the table of mounts to
    look up the file system in. Raises StoreError when the folder can't be used, saying what to do, and UsageError when
    the variable's path is a relative one.
    """
    path = _wanted(environ)
    kind = file_system(path, mounts=mounts)
    if kind and _NETWORK.match(kind):
        raise StoreError(
            f"{path} is on a network file system ({kind}), where locks and the store can't be trusted; "
            "set HOSTLER_STATE_DIR to a folder on a local disk"
        )
    new = [part for part in (path, *path.parents) if not part.exists()]
    try:
        private_folder(path)
        for part in new:  # or a power cut would take the first run with the folder's own name
            with suppress(StoreError):  # a folder above that we may write to and not read
                sync_folder(part.parent)
        found = path.stat()
    except OSError as error:
        raise StoreError(
            f"state folder {path}: {error.strerror or error}; set HOSTLER_STATE_DIR to a folder that you can write to"
        ) from error
    if found.st_uid != os.geteuid():
        raise StoreError(
            f"state folder {path} belongs to user {found.st_uid}; set HOSTLER_STATE_DIR to a folder of your own"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StoreError(
            f"state folder {path} can be written to by others (mode {stat.S_IMODE(found.st_mode):o}); "
            f"chmod go-w it, or set HOSTLER_STATE_DIR to another folder"
        )
    return path


def file_system(path: Path, *, mounts: Path = MOUNTS) -> str | None:
    """The type of the file system that `path` is or would be on, as the kernel names it; None if it can't be known."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    real = Path(os.path.realpath(path))
    best: tuple[int, str] | None = None
    for line in lines:
        # https://www.kernel.org/doc/Documentation/filesystems/proc.txt, 3.5: fields vary in number up to " - ".
        front, dash, back = line.partition(" - ")
        words = front.split(" ")
        if not dash or len(words) < 5:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), words[4]))
        # Of two mounts on one place the later one is seen.
        if real.is_relative_to(point) and (best is None or len(point.parts) >= best[0]):
            best = (len(point.parts), back.split(" ")[0])
    return best[1] if best else None


def _wanted(environ: Mapping[str, str]) -> Path:
    if own := environ.get("HOSTLER_STATE_DIR"):
        if not os.path.isabs(own):
            raise UsageError(
                f"HOSTLER_STATE_DIR={own}: write the full path, {os.path.abspath(os.path.expanduser(own))}; "
                "a relative one would be another folder wherever hostler is run"
            )
        return Path(os.path.abspath(own))
    shared = environ.get("XDG_STATE_HOME", "")
    # A relative path there is to be passed over: XDG Base Directory Specification.
    if os.path.isabs(shared):
        return Path(shared) / "hostler"
    home = environ.get("HOME") or os.path.expanduser("~")
    return Path(home) / ".local" / "state" / "hostler"
