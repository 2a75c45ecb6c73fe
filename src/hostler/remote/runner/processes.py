"""Making the processes of attempts: each in a session of its own, with files for output and nothing for input.

Everything that costs a system call a job has been thought about twice. It must never leave anything of the runner's
own state to a job: its signals, its umask, its open files.
"""

import errno
import os
import pwd
import signal

NOT_SHELLS = ("csh", "tcsh", "fish", "nologin", "false", "nu", "elvish", "xonsh", "pwsh")
#: Signals that the runner must survive. It handles them, for what is handled is reset in a job and what is ignored
#: would stay so.
DEAF = ("SIGHUP", "SIGINT", "SIGPIPE", "SIGXFSZ", "SIGIO", "SIGUSR1", "SIGUSR2", "SIGALRM")


def deafen() -> None:
    """Let no signal but TERM and KILL end the runner, and block none; jobs ignore none that our starter ignored."""
    for name in DEAF:
        signal.signal(getattr(signal, name), lambda *_: None)
    for number in range(1, signal.NSIG):  # what is caught is forgotten at an exec, what is ignored is not
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def account_shell(asked: str) -> bytes:
    """The shell that runs shell jobs: the account's, unless it doesn't speak sh."""
    try:
        shell = asked or pwd.getpwuid(os.getuid()).pw_shell or "/bin/sh"
    except KeyError:
        shell = "/bin/sh"
    if os.path.basename(shell) in NOT_SHELLS or not os.access(shell, os.X_OK):
        shell = "/bin/sh"
    return os.fsencode(shell)


def surroundings() -> "dict[bytes, bytes]":
    """The environment as the login gave it: Python itself may have added to what it holds by now."""
    try:
        with open("/proc/self/environ", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return dict(os.environb)
    found = {}
    for word in words:
        name, equals, value = word.partition(b"=")
        if name and equals:
            found[name] = value
    return found


class NoFolder(OSError):
    """The folder in which jobs are to begin can't be entered."""

    about = b"--workdir"


class Spawner:
    """Starts commands with one environment, captured once; file names of programs are looked up once.

    `umask` is what jobs get. Standard input is what descriptor 0 of the runner is: /dev/null.
    """

    def __init__(self, environment: "dict[bytes, bytes]", shell: bytes, umask: int) -> None:
        self.env = dict(environment)
        self.env.pop(b"SSH_AUTH_SOCK", None)
        level = self.env.get(b"SHLVL", b"")
        if not level.isdigit() or int(level) < 1:
            self.env[b"SHLVL"] = b"1"
        self.shell = shell
        self.paths = {}  # type: dict[bytes, bytes]
        self.start = start_process if hasattr(os, "posix_spawn") else fork_process
        self.terminal = ""  # of the next job, if it is to have one
        self.folder = b""  # in which jobs begin, relative to the login's; once we are there it is empty
        self.umask = None  # type: int | None
        if umask & 0o700:
            self.umask = umask  # our own files would be unreadable to ourselves: switch around each spawn
        else:
            os.umask(umask)

    def path(self, word: bytes) -> bytes:
        """The file of a program, by PATH. Raises FileNotFoundError, or PermissionError when none may be executed."""
        if b"/" in word:
            return word
        found = self.paths.get(word)
        if found is None:
            seen = b""
            for folder in self.env.get(b"PATH", b"/usr/bin:/bin").split(b":"):
                candidate = os.path.join(folder or b".", word)
                if os.path.isfile(candidate):
                    if os.access(candidate, os.X_OK):
                        self.paths[word] = candidate
                        return candidate
                    seen = seen or candidate
            if seen:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), seen)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), word)
        return found

    def spawn(self, words: "tuple[bytes, ...]", shell: bool, out: int, err: int) -> int:
        """Start a command in a session of its own; its pid. Raises OSError."""
        if self.umask is None:
            return self.place(words, shell, out, err)
        os.umask(self.umask)
        try:
            return self.place(words, shell, out, err)
        finally:
            os.umask(0o077)

    def place(self, words: "tuple[bytes, ...]", shell: bool, out: int, err: int) -> int:
        """Find the program and start it. One that has moved is looked for again. Raises OSError."""
        if self.folder:
            self.enter()
        if shell:
            return self.make(self.shell, (self.shell, b"-c", *words), out, err)
        try:
            return self.make(self.path(words[0]), words, out, err)
        except OSError:
            if self.paths.pop(words[0], None) is None:
                raise
            return self.make(self.path(words[0]), words, out, err)

    def enter(self) -> None:
        """Go where jobs begin, which all of them inherit. Raises NoFolder."""
        try:
            os.chdir(os.path.expanduser(self.folder))
        except OSError as error:
            raise NoFolder(error.errno or errno.ENOENT, error.strerror, self.folder) from None
        self.folder = b""

    def make(self, path: bytes, argv: "tuple[bytes, ...]", out: int, err: int) -> int:
        """Make a process. A script that names no interpreter is sh's, as everywhere. Raises OSError."""
        try:
            return self.start(path, argv, self.env, out, err, self.terminal)
        except NotImplementedError:
            self.start = fork_process  # this system's posix_spawn knows no sessions
            return self.start(path, argv, self.env, out, err, self.terminal)
        except ValueError as error:
            raise OSError(errno.EINVAL, "a NUL in its arguments (%s)" % error, path) from None
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            return self.start(b"/bin/sh", (b"/bin/sh", path, *argv[1:]), self.env, out, err, self.terminal)


def start_process(
    path: bytes, argv: "tuple[bytes, ...]", env: "dict[bytes, bytes]", out: int, err: int, terminal: str
) -> int:
    """Make a process by posix_spawn, which costs a third of a fork. Raises NotImplementedError, OSError.

    A terminal that the leader of a new session opens becomes that session's.
    """
    actions = [(os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, err, 2)]  # type: list[tuple[object, ...]]
    if terminal:
        actions = [(os.POSIX_SPAWN_OPEN, 1, terminal, os.O_RDWR, 0), (os.POSIX_SPAWN_DUP2, 1, 2)]
    return os.posix_spawn(path, argv, env, file_actions=actions, setsid=True)


def fork_process(
    path: bytes, argv: "tuple[bytes, ...]", env: "dict[bytes, bytes]", out: int, err: int, terminal: str
) -> int:
    """Fork and exec; an exec that fails comes back as the OSError that it was."""
    if any(b"\0" in word for word in argv):
        raise ValueError("embedded null byte")
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
        for name in (*DEAF, "SIGCHLD", "SIGTERM"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        out = os.open(terminal, os.O_RDWR) if terminal else out
        os.dup2(out, 1)
        os.dup2(out if terminal else err, 2)
        os.execve(path, argv, env)
    except OSError as error:
        os.write(said, b"%d" % (error.errno or 5))
    finally:
        os._exit(127)
