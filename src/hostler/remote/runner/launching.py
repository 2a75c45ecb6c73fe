"""Making an attempt's process: with its names in the environment, its mark, and a terminal where the run wants one."""

import errno
import os

from hostler.remote.runner.hunting import Marks, Prey
from hostler.remote.runner.processes import NoFolder, Spawner
from hostler.remote.runner.telling import EXIT, STAGING_FAILED, Attempt
from hostler.remote.runner.terminals import Terminals
from hostler.remote.runner.wire import NO_CODE

#: What the host is short of, when a process can't be made; anything else is the command's own fault.
SHORTAGES = (
    errno.EAGAIN,
    errno.ENOMEM,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EMFILE,
    errno.ENFILE,
    errno.EIO,
    errno.EROFS,
)


class Launcher:
    """Begins attempts of the run `uid`, whose spool lies at `path`, and knows what their processes are found by."""

    def __init__(self, path: str, uid: str, spawner: Spawner, marks: Marks) -> None:
        self.path, self.uid = os.path.realpath(path), uid.encode()
        self.spawner, self.marks = spawner, marks
        self.terminals: "Terminals | None" = None

    def id(self, attempt: Attempt) -> bytes:
        """The attempt's name everywhere."""
        return b"%s/%d/%d" % (self.uid, attempt.job, attempt.n)

    def prey(self, attempt: Attempt) -> Prey:
        """What there is to find an attempt's processes by."""
        outputs = tuple(os.path.join(self.path, attempt.pair.name(stream)) for stream in (0, 1))
        if attempt.terminal is not None:
            outputs += (attempt.terminal.name,)
        return Prey(attempt.pid, self.id(attempt), outputs, self.marks.of(attempt.serial))

    def launch(
        self, attempt: Attempt, words: "tuple[bytes, ...]", shell: bool, slot: int, out: int, err: int
    ) -> None:
        """Make its process. Raises OSError, one of SHORTAGES where that is the host's fault."""
        env = self.spawner.env
        env[b"HOSTLER_ATTEMPT"] = self.id(attempt)
        env[b"HOSTLER_JOB"] = b"%d" % attempt.job
        env[b"HOSTLER_SLOT"] = b"%d" % slot
        if self.terminals is not None:
            attempt.terminal = self.terminals.open(out)
            self.spawner.terminal = attempt.terminal.name
        self.marks.set(attempt.serial)
        attempt.pid = self.spawner.spawn(words, shell, out, err)

    def hang_up(self, attempt: Attempt) -> None:
        """Take in what is left in an attempt's terminal, if it has one, and close it."""
        if attempt.terminal is not None and self.terminals is not None:
            self.terminals.close(attempt.terminal)
            attempt.terminal = None

    def stillborn(self, attempt: Attempt, err: int, word: bytes, error: OSError) -> "tuple[int, int]":
        """Say why a command can't be executed; its ending and code.

        As in a shell it is 127 when it is not there, 126 when it can't be run. Where its folder can't be entered
        nothing was begun at all, which is no job's fault.
        """
        gone = error.errno in (errno.ENOENT, errno.ENOTDIR)
        if isinstance(error, NoFolder):
            why = b"no such folder on this host" if gone else (error.strerror or "can't be entered").encode()
            attempt.detail = b"%s %s: %s" % (error.about, self.spawner.folder, why)
            return STAGING_FAILED, NO_CODE
        text, code = b"hostler: %s: " % word[:200], 127 if gone else 126
        if not gone:
            text += (error.strerror or "could not be started").encode() + b"\n"
        elif b"/" in word:
            text += b"no such file, or its interpreter is not there\n"
        else:
            text += b"command not found (PATH is " + self.spawner.env.get(b"PATH", b"not set") + b")\n"
        try:
            os.write(err, text)
        except OSError:
            pass
        return EXIT, code
