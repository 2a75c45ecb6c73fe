"""The runner's folder on a host: where it may lie, who may see it, its lock, its end, and those that others left.

A folder that anybody else could have made or could write to is refused. What was once begun in one place is found
there again, whatever has become of the other places.
"""

import errno
import fcntl
import os
import stat
import time

#: Spools that one contact looks at, so that it stays cheap.
GLANCE = 256
HEX = "0123456789abcdef"
NETWORK = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "ceph",
    "glusterfs",
    "lustre",
    "fuse.sshfs",
    "gpfs",
)


def on_network(path: str) -> bool:
    """Whether the folder lies on a network file system, as far as the kernel tells."""
    best, kind = "", ""
    try:
        with open("/proc/self/mounts", "rb") as mounts:
            for line in mounts.read().decode("utf-8", "replace").splitlines():
                words = line.split(" ")
                if len(words) < 3 or len(words[1]) < len(best):
                    continue
                if path == words[1] or path.startswith(words[1].rstrip("/") + "/"):
                    best, kind = words[1], words[2]
    except OSError:
        return False
    return kind in NETWORK


def private(path: str) -> str:
    """Make a folder that is ours alone. Raises OSError when it can't be one."""
    try:
        os.mkdir(path, 0o700)
        os.chmod(path, 0o700)
    except FileExistsError:
        pass
    facts = os.lstat(path)
    why = ""
    if not stat.S_ISDIR(facts.st_mode):
        why = "it is not a folder"
    elif facts.st_uid != os.getuid():
        why = "it belongs to uid %d; set this host's spool to another folder" % facts.st_uid
    elif facts.st_mode & 0o077:
        why = "others may enter it (mode %04o); chmod 700 it, or set this host's spool" % (
            facts.st_mode & 0o7777
        )
    if why:
        raise OSError(errno.EPERM, "not safe for our work: " + why, path)
    return path


def usable(path: str) -> bool:
    """Whether a folder is there, or can be made, that is local and that we may write to."""
    try:
        os.makedirs(path, 0o700, exist_ok=True)
        real = os.path.realpath(path)
        return os.access(real, os.W_OK | os.X_OK) and not on_network(real)
    except OSError:
        return False


def bases(asked: str) -> "list[str]":
    """The folders in which everything of ours may lie: the one asked for, or the account's own and one in /var/tmp."""
    home = os.path.expanduser("~")
    if asked:
        asked = os.path.expanduser(asked)
        if not os.path.isabs(asked):
            asked = os.path.join(home if os.path.isabs(home) else "/", asked)
        return [asked]
    state = os.environ.get("XDG_STATE_HOME") or ""
    if not os.path.isabs(state):
        # A home that is not there is not made, and that of an account without one is the root.
        settled = os.path.isabs(home) and os.path.isdir(home) and home.strip("/")
        state = os.path.join(home, ".local", "state") if settled else ""
    places = [state] if state else []
    return [*places, "/var/tmp/hostler-%d" % os.getuid()]


def folder(asked: str, uid: str, token: str) -> str:
    """Make, and return, the spool of one run on one host. Raises OSError."""
    for word in (uid, token):
        if not word or word.strip(HEX):
            raise OSError(errno.EINVAL, "not the name of a run's spool", word)
    places = bases(asked)
    for top in places:
        if os.path.isdir(os.path.join(top, "hostler", uid, token)):
            break
    else:
        top = next((place for place in places[:-1] if usable(place)), places[-1])
    if top != places[-1] or asked:
        os.makedirs(top, 0o700, exist_ok=True)
    else:
        private(top)
    path = os.path.join(top, "hostler")
    for name in ("", uid, token):
        path = private(os.path.join(path, name) if name else path)
    return path


def lock(path: str) -> "int | None":
    """The spool's kernel lock as an open file, held until the last copy is closed; None while another holds it.

    Raises FileNotFoundError when the spool has just been removed.
    """
    name = os.path.join(path, "lock")
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(fd), os.stat(name)):
            return fd
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError:
        os.close(fd)
        raise
    os.close(fd)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def remove(path: str) -> None:
    """Remove a spool whose lock is ours, and its run's folder when it was the last one there."""
    clear(path)
    try:
        os.unlink(os.path.join(path, "lock"))
        os.rmdir(path)
        os.rmdir(os.path.dirname(path))
    except OSError:
        pass  # another host's spool of the same run is there, or something that is not ours to remove


def clear(path: str) -> None:
    """Remove everything in a folder but its lock; links are not followed."""
    for name in os.listdir(path):
        whole = os.path.join(path, name)
        try:
            if name == "lock":
                continue
            if stat.S_ISDIR(os.lstat(whole).st_mode):
                clear(whole)
                os.rmdir(whole)
            else:
                os.unlink(whole)
        except OSError:
            continue


def sweep(path: str, asked: str, keep: float) -> None:
    """Remove spools beside `path`, and in the other places of this account, that no runner holds.

    They go when nobody has written to them for `keep` seconds.
    """
    tops = [os.path.dirname(os.path.dirname(path))]
    tops += [os.path.join(base, "hostler") for base in bases(asked)]
    glances = GLANCE
    for top in sorted(set(tops)):
        try:
            if os.lstat(top).st_uid != os.getuid():
                continue
            runs = [name for name in os.listdir(top) if len(name) == 32 and not name.strip(HEX)]
            for run in runs:
                for token in os.listdir(os.path.join(top, run)):
                    other = os.path.join(top, run, token)
                    glances -= 1
                    if glances < 0:
                        return
                    if other != path and len(token) == 16 and not token.strip(HEX):
                        sweep_one(other, keep)
        except OSError:
            continue


def sweep_one(path: str, keep: float) -> None:
    """Remove a spool if it is old and nobody's."""
    try:
        written = [os.lstat(os.path.join(path, name)).st_mtime for name in ("", *os.listdir(path))]
        if time.time() - max(written) < keep:
            return
        held = lock(path)
    except OSError:
        return
    if held is not None:
        remove(path)
        os.close(held)
