"""Making the processes of attempts, finding them again, and ending them.

Every attempt is a process in a session of its own, with files for output and nothing for input. It is found again by
its session, its process group, and the name of its attempt in its environment; pids alone are never trusted.
"""

import errno
import os
import pwd
import signal

MARK = b"HOSTLER_ATTEMPT="
RESET = [
    getattr(signal, name)
    for name in ("SIGPIPE", "SIGXFSZ", "SIGHUP", "SIGINT", "SIGTERM")
    if hasattr(signal, name)
]
NOT_SHELLS = ("csh", "tcsh", "fish", "nologin", "false", "nu", "elvish", "xonsh")


def account_shell(asked: str) -> bytes:
    """The shell that runs shell jobs: the account's, unless it doesn't speak sh."""
    try:
        shell = asked or pwd.getpwuid(os.getuid()).pw_shell or "/bin/sh"
    except KeyError:
        shell = "/bin/sh"
    if os.path.basename(shell) in NOT_SHELLS or not os.access(shell, os.X_OK):
        shell = "/bin/sh"
    return os.fsencode(shell)


class Spawner:
    """Starts commands with one environment, captured once; file names of programs are looked up once."""

    def __init__(self, environment: "dict[bytes, bytes]", shell: bytes) -> None:
        self.env = dict(environment)
        self.env.pop(b"SSH_AUTH_SOCK", None)
        level = self.env.get(b"SHLVL", b"")
        if not level.isdigit() or int(level) < 1:
            self.env[b"SHLVL"] = b"1"
        self.shell = shell
        self.null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self.paths = {}  # type: dict[bytes, bytes]
        self.start = start_process if hasattr(os, "posix_spawn") else fork_process
        self.umask = None  # type: int | None
        umask = os.umask(0o077)
        if umask & 0o700:
            self.umask = umask  # files of ours would be unreadable to ourselves: switch around each spawn
        else:
            os.umask(umask)

    def path(self, word: bytes) -> bytes:
        """The file of a program, by PATH. Raises FileNotFoundError."""
        if b"/" in word:
            return word
        found = self.paths.get(word)
        if found is None:
            for folder in self.env.get(b"PATH", b"/usr/bin:/bin").split(b":"):
                candidate = os.path.join(folder or b".", word)
                if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
                    found = self.paths[word] = candidate
                    break
            else:
                raise FileNotFoundError(errno.ENOENT, "command not found", word)
        return found

    def spawn(self, words: "tuple[bytes, ...]", shell: bool, out: int, err: int) -> int:
        """Start a command in a session of its own; its pid. Raises OSError."""
        if shell:
            argv = (self.shell, b"-c", *words)
            path = self.shell
        else:
            argv = words
            path = self.path(words[0])
        if self.umask is not None:
            os.umask(self.umask)
        try:
            return self.start(path, argv, self.env, self.null, out, err)
        except NotImplementedError:
            self.start = fork_process  # this system's posix_spawn knows no sessions
            return self.start(path, argv, self.env, self.null, out, err)
        except FileNotFoundError:
            self.paths.pop(words[0], None)
            raise
        finally:
            if self.umask is not None:
                os.umask(0o077)


def start_process(
    path: bytes, argv: "tuple[bytes, ...]", env: "dict[bytes, bytes]", null: int, out: int, err: int
) -> int:
    """Make a process by posix_spawn, which costs a third of a fork. Raises NotImplementedError, OSError."""
    dup = os.POSIX_SPAWN_DUP2
    actions = [(dup, null, 0), (dup, out, 1), (dup, err, 2)]
    return os.posix_spawn(path, argv, env, file_actions=actions, setsid=True, setsigdef=RESET)


def fork_process(
    path: bytes, argv: "tuple[bytes, ...]", env: "dict[bytes, bytes]", null: int, out: int, err: int
) -> int:
    """Fork and exec; an exec that fails comes back as the OSError that it was."""
    tell, said = os.pipe()
    pid = os.fork()
    if pid:
        os.close(said)
        number = os.read(tell, 16)
        os.close(tell)
        if number:
            os.waitpid(pid, 0)
            raise OSError(int(number), os.strerror(int(number)), path)
        return pid
    try:
        os.setsid()
        for one in RESET:
            signal.signal(one, signal.SIG_DFL)
        os.dup2(null, 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.execve(path, argv, env)
    except OSError as error:
        os.write(said, b"%d" % (error.errno or 5))
    finally:
        os._exit(127)


def survivors(pid: int, attempt: bytes) -> "list[int]":
    """The processes of an attempt that live: by session, group and environment; zombies don't count."""
    mark, found, me = MARK + attempt, [], os.getpid()
    try:
        names = os.listdir("/proc")
    except OSError:
        names = []
    for name in names:
        if not name.isdigit() or int(name) == me:
            continue
        try:
            with open("/proc/" + name + "/stat", "rb") as file:
                words = file.read().rpartition(b")")[2].split()
            if words[0] in (b"Z", b"X"):
                continue
            if pid and pid in (int(words[2]), int(words[3])):
                found.append(int(name))
                continue
            with open("/proc/" + name + "/environ", "rb") as file:
                if mark in file.read().split(b"\0"):
                    found.append(int(name))
        except (OSError, IndexError, ValueError):
            continue
    return found


def signal_all(pid: int, attempt: bytes, number: int) -> "list[int]":
    """Send a signal to every process of an attempt; those that were found."""
    found = survivors(pid, attempt)
    if pid:
        try:
            os.killpg(pid, number)
        except OSError:
            pass
    for one in found:
        try:
            os.kill(one, number)
        except OSError:
            pass
    return found
