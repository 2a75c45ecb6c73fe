"""The attempts that a runner holds: waiting, running, ended and not yet acknowledged.

One table, one thread, no waiting: the loop in `serve` calls in here when something has happened, and asks what there
is to say. A start that was seen before is never run again; that check and the start are one step.
"""

import errno
import os
import signal
import time
from collections import deque

from hostler.remote.runner.processes import Spawner, signal_all, survivors
from hostler.remote.runner.spool import Log
from hostler.remote.runner.wire import CHUNK, ENDINGS, INLINE, NO_CODE, NUMBER, OUTPUT, RESULT
from hostler.remote.runner.wire import BEGAN, R_BEGAN, R_LOST, R_OUTPUT, R_REFUSED
from hostler.remote.runner.wire import R_RESULT, R_REVOKED, frame, numbers

OK, EXIT, SIGNAL, TIMEOUT, INTERRUPTED, OUTPUT_LIMIT, CANCELLED, KILL_FAILED, LOST = range(len(ENDINGS))
#: Seconds in which a job's output is not looked at.
YOUNG = 0.1
#: More output than this waiting for the controller, in bytes: no new job starts.
BACKLOG = 256 << 20
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


def size_of(fd: int) -> int:
    """The length of an open file; 0 for none."""
    return os.fstat(fd).st_size if fd >= 0 else 0


class Attempt:
    """One attempt that has been started."""

    __slots__ = (
        "began",
        "code",
        "elapsed",
        "ending",
        "err",
        "grace",
        "job",
        "killing",
        "n",
        "out",
        "pid",
        "said",
        "sent",
        "serial",
        "signal",
        "sizes",
        "stage",
        "told",
        "until",
        "watched",
    )

    def __init__(self, serial: int, job: int, n: int) -> None:
        self.serial, self.job, self.n = serial, job, n
        self.pid = self.code = self.signal = 0
        self.began = self.elapsed = self.until = 0.0
        self.out = self.err = -1
        self.sent = [0, 0]
        self.sizes = (0, 0)
        self.ending = -1  # set once it has ended
        self.killing = -1  # the ending that a kill gives it
        self.stage, self.grace = 0, 5.0
        self.told = False  # whether its beginning was reported
        self.said = False  # whether its result was put on the line, to this controller
        self.watched = 0.0


class Table:
    """All attempts of one run on one host."""

    def __init__(
        self, path: str, uid: str, log: Log, spawner: Spawner, slots: int, names: "dict[bytes, bytes]"
    ) -> None:
        self.log, self.uid, self.spawner, self.slots = log, uid, spawner, slots
        self.spool = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.waiting = {}  # type: dict[int, tuple[int, int, int, tuple[bytes, ...], bool, float]]
        self.order = deque()  # type: deque[int]
        self.running = {}  # type: dict[int, Attempt]
        self.ended = {}  # type: dict[int, Attempt]
        self.kills = []  # type: list[Attempt]
        self.talk = []  # type: list[bytes]
        self.unsent = deque()  # type: deque[Attempt]
        self.backlog = 0
        self.credit = 0
        self.free = list(range(slots, 0, -1))
        self.slot = {}  # type: dict[int, int]
        spawner.env.update(names)
        self.revive()

    def name(self, serial: int, stream: int) -> str:
        """The file of an attempt's stream, in the spool."""
        return "%d.%s" % (serial, "out" if stream == 0 else "err")

    def revive(self) -> None:
        """Take over what an earlier runner left: results stand, starts without one are lost."""
        log = self.log
        log.reserved = len(log.starts) - len(log.results)
        log.reserve(0)
        for serial, (job, n) in sorted(log.starts.items()):
            attempt = Attempt(serial, job, n)
            if serial not in log.results:
                mark = self.id(attempt)
                for _ in range(50):
                    if not signal_all(0, mark, signal.SIGKILL):
                        break
                    time.sleep(0.02)
                log.write([log.result(serial, LOST, NO_CODE, 0, 0.0, 0, 0)])
            attempt.ending, attempt.code, attempt.signal, attempt.elapsed = log.results[serial][:4]
            attempt.sizes = log.results[serial][4:]
            self.ended[serial] = attempt

    def id(self, attempt: Attempt) -> bytes:
        """The attempt's name everywhere."""
        return b"%s/%d/%d" % (self.uid.encode(), attempt.job, attempt.n)

    # -- what the controller asks for -------------------------------------------------------------------------

    def accept(self, starts: "list[tuple[int, int, int, tuple[bytes, ...], bool, float]]") -> None:
        """Queue starts. A serial that is not above every other was seen before: it is not started again."""
        log, waiting = self.log, self.waiting
        for start in starts:
            serial = start[0]
            if serial > log.high:
                log.high = serial
                waiting[serial] = start
                self.order.append(serial)

    def standing(self, serial: int) -> int:
        """What is known of a serial: 0 nothing, 1 waiting, 2 running, 3 ended, 4 lost."""
        if serial in self.waiting:
            return 1
        if serial in self.running:
            return 2
        if serial in self.ended:
            return 4 if self.ended[serial].ending == LOST else 3
        return 0 if serial > self.log.high else 4

    def revoke(self, serials: "tuple[int, ...]") -> None:
        """Give back what has not started; what was never seen never will be."""
        given = []
        for serial in serials:
            if self.waiting.pop(serial, None) is not None or serial > self.log.high:
                self.log.high = max(self.log.high, serial)
                given.append(serial)
            elif serial in self.running:
                attempt = self.running[serial]
                attempt.told = True
                self.talk.append(frame(R_BEGAN, BEGAN.pack(serial, time.monotonic() - attempt.began)))
        if given:
            self.talk.append(frame(R_REVOKED, numbers(given)))

    def ack(self, serials: "tuple[int, ...]") -> None:
        """Forget results that the controller has on its disk."""
        for serial in serials:
            attempt = self.ended.pop(serial, None)
            if attempt is not None:
                self.log.forget(serial)
                self.close(attempt)
                for stream in (0, 1):
                    try:
                        os.unlink(self.name(serial, stream), dir_fd=self.spool)
                    except OSError:
                        pass

    def follow(self, serial: int, out: int, err: int) -> None:
        """Go on with an attempt's output from these offsets."""
        attempt = self.running.get(serial) or self.ended.get(serial)
        if attempt is not None:
            attempt.sent = [out, err]

    def kill(self, serials: "tuple[int, ...]", grace: float, ending: int, now: float) -> None:
        """Begin the kill ladder on running attempts."""
        for serial in serials:
            attempt = self.running.get(serial)
            if attempt is not None and attempt.killing < 0:
                attempt.killing, attempt.grace, attempt.stage = ending, grace, 0
                attempt.until = now
                self.kills.append(attempt)

    # -- what happens here --------------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """Start what waits while slots are free; the records of a round are one write before the first process."""
        log = self.log
        chosen = []  # type: list[tuple[int, int, int, tuple[bytes, ...], bool, float]]
        while self.order and len(chosen) < len(self.free) and self.backlog < BACKLOG:
            start = self.waiting.pop(self.order.popleft(), None)
            if start is not None:
                chosen.append(start)
        if not chosen:
            return
        try:
            log.reserve(len(chosen))
            log.write([log.start(start[0], start[1], start[2]) for start in chosen])
        except OSError as error:
            for start in chosen:
                log.starts.pop(start[0], None)
                self.talk.append(frame(R_REFUSED, NUMBER.pack(start[0]) + str(error.strerror).encode()))
            return
        for start in chosen:
            self.launch(start, now)

    def launch(self, start: "tuple[int, int, int, tuple[bytes, ...], bool, float]", now: float) -> None:
        """Make one attempt's process."""
        serial, job, n, words, shell, timeout = start
        attempt = Attempt(serial, job, n)
        slot, env = self.free[-1], self.spawner.env
        env[b"HOSTLER_ATTEMPT"] = self.id(attempt)
        env[b"HOSTLER_JOB"] = b"%d" % job
        env[b"HOSTLER_SLOT"] = b"%d" % slot
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC | os.O_CLOEXEC
        attempt.began = time.monotonic()
        try:
            attempt.out = os.open("%d.out" % serial, flags, 0o600, dir_fd=self.spool)
            attempt.err = os.open("%d.err" % serial, flags, 0o600, dir_fd=self.spool)
            attempt.pid = self.spawner.spawn(words, shell, attempt.out, attempt.err)
        except OSError as error:
            if error.errno in SHORTAGES:
                self.turn_down(attempt, error)
            else:
                self.stillborn(attempt, words, error)
            return
        self.free.pop()
        self.slot[attempt.pid] = slot
        attempt.until = now + timeout if timeout else 0.0
        attempt.watched = now
        self.running[serial] = attempt

    def turn_down(self, attempt: Attempt, error: OSError) -> None:
        """The host, not the job, could not do it: nothing was started, and it says so."""
        self.log.write([self.log.result(attempt.serial, LOST, NO_CODE, 0, 0.0, 0, 0)])
        self.ended[attempt.serial] = attempt
        self.ack((attempt.serial,))
        self.talk.append(frame(R_REFUSED, NUMBER.pack(attempt.serial) + str(error.strerror).encode()))

    def stillborn(self, attempt: Attempt, words: "tuple[bytes, ...]", error: OSError) -> None:
        """An attempt whose command could not be executed ends as a shell would end it: 127 not found, 126 else."""
        text = b"hostler: " + words[0][:200] + b": "
        if isinstance(error, FileNotFoundError):
            text += b"command not found (PATH is " + self.spawner.env.get(b"PATH", b"not set") + b")\n"
        else:
            text += (error.strerror or "could not be started").encode() + b"\n"
        if attempt.err >= 0:
            try:
                os.write(attempt.err, text)
            except OSError:
                pass
        self.end(attempt, EXIT, 127 if isinstance(error, FileNotFoundError) else 126, 0)

    def reap(self) -> None:
        """Take in every process that has ended."""
        by_pid = None
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if by_pid is None:
                by_pid = {attempt.pid: attempt for attempt in self.running.values()}
            attempt = by_pid.get(pid)
            if attempt is None:
                continue
            self.free.append(self.slot.pop(pid))
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            code = NO_CODE if number else os.WEXITSTATUS(status)
            attempt.code, attempt.signal = code, number
            attempt.pid = -attempt.pid  # reaped: the number may be another's from now on
            if attempt.killing < 0:
                del self.running[attempt.serial]
                self.end(attempt, SIGNAL if number else EXIT if code else OK, code, number)

    def end(self, attempt: Attempt, ending: int, code: int, number: int) -> None:
        """Record a result and queue it for the controller."""
        attempt.elapsed = time.monotonic() - attempt.began
        attempt.ending, attempt.code, attempt.signal = ending, code, number
        attempt.sizes = (size_of(attempt.out), size_of(attempt.err))
        self.log.write(
            [self.log.result(attempt.serial, ending, code, number, attempt.elapsed, *attempt.sizes)]
        )
        self.ended[attempt.serial] = attempt
        self.say(attempt)

    def climb(self, now: float) -> None:
        """The kill ladder: TERM, the grace, KILL and look again, then say what survives."""
        for attempt in list(self.kills):
            if now < attempt.until and attempt.pid > 0:
                continue
            mark, pid = self.id(attempt), max(attempt.pid, 0)
            session = abs(attempt.pid)
            left = survivors(session, mark)
            if not left and attempt.pid < 0:
                self.buried(attempt, attempt.killing)
            elif attempt.stage == 0:
                signal_all(session if pid else 0, mark, signal.SIGTERM)
                attempt.stage, attempt.until = 1, now + attempt.grace
            elif attempt.stage < 40 and now >= attempt.until:
                for one in left:
                    try:
                        os.kill(one, signal.SIGKILL)
                    except OSError:
                        pass
                attempt.stage, attempt.until = attempt.stage + 1, now + 0.1
            elif now >= attempt.until:
                self.buried(attempt, KILL_FAILED)

    def buried(self, attempt: Attempt, ending: int) -> None:
        """A killed attempt is over, or can't be ended."""
        self.kills.remove(attempt)
        self.running.pop(attempt.serial, None)
        if attempt.pid > 0:
            self.free.append(self.slot.pop(attempt.pid))
        self.end(attempt, ending, attempt.code if attempt.pid < 0 else NO_CODE, attempt.signal)

    def tick(self, now: float) -> "float | None":
        """Timeouts, kills, output that has grown; when to look again, by the monotonic clock."""
        soonest = None  # type: float | None
        for attempt in list(self.running.values()):
            if attempt.until and attempt.killing < 0 and now >= attempt.until:
                self.kill((attempt.serial,), attempt.grace, TIMEOUT, now)
            if not attempt.told and now - attempt.began > 0.05:
                attempt.told = True
                self.talk.append(frame(R_BEGAN, BEGAN.pack(attempt.serial, now - attempt.began)))
            if attempt.until and attempt.killing < 0:
                soonest = attempt.until if soonest is None else min(soonest, attempt.until)
        if self.kills:
            self.climb(now)
            pending = [a.until if a.pid > 0 or a.stage else now for a in self.kills]
            if pending:
                wake = min(max(min(pending), now + 0.05), now + 0.1)
                soonest = wake if soonest is None else min(soonest, wake)
        return soonest

    # -- what there is to say ------------------------------------------------------------------------------------

    def say(self, attempt: Attempt) -> None:
        """Put a result on the line, with its output or behind it."""
        out, err = attempt.sizes
        if out + err <= INLINE and attempt.sent == [0, 0]:
            texts = [self.read(attempt, stream, 0, size) for stream, size in ((0, out), (1, err))]
            self.talk.append(self.result(attempt, 1, texts[0], texts[1]))
            self.close(attempt)
        else:
            self.unsent.append(attempt)
            self.backlog += out + err

    def result(self, attempt: Attempt, inline: int, out: bytes, err: bytes) -> bytes:
        """The frame of a result."""
        attempt.said = True
        detail = b""
        if attempt.ending == KILL_FAILED:
            left = survivors(abs(attempt.pid), self.id(attempt))
            detail = ("still alive: pid " + ", ".join(map(str, left))).encode()
        kind = R_LOST if attempt.ending == LOST else R_RESULT
        if kind == R_LOST:
            return frame(R_LOST, NUMBER.pack(attempt.serial) + b"its runner died and nobody saw how it ended")
        body = RESULT.pack(
            attempt.serial,
            attempt.ending,
            attempt.code,
            attempt.signal,
            attempt.elapsed,
            attempt.sizes[0],
            attempt.sizes[1],
            inline,
            len(out),
            len(err),
            len(detail),
        )
        return frame(R_RESULT, body + out + err + detail)

    def open(self, attempt: Attempt, stream: int) -> int:
        """The stream's file, opened again if it was closed; -1 when it is gone."""
        fd = attempt.err if stream else attempt.out
        if fd < 0:
            try:
                fd = os.open(self.name(attempt.serial, stream), os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.spool)
            except OSError:
                return -1
            if stream:
                attempt.err = fd
            else:
                attempt.out = fd
        return fd

    def read(self, attempt: Attempt, stream: int, offset: int, size: int) -> bytes:
        """A piece of a stream; shorter only when the file is gone."""
        if not size:
            return b""
        fd = self.open(attempt, stream)
        return os.pread(fd, size, offset) if fd >= 0 else b""

    def close(self, attempt: Attempt) -> None:
        """Let go of an attempt's files."""
        for fd in (attempt.out, attempt.err):
            if fd >= 0:
                os.close(fd)
        attempt.out = attempt.err = -1

    def pieces(self, attempt: Attempt, sizes: "tuple[int, int]") -> "list[bytes]":
        """Frames of output that is there and within the credit, a chunk of each stream at most."""
        frames = []
        for stream in (0, 1):
            size = min(sizes[stream] - attempt.sent[stream], CHUNK, self.credit)
            if size > 0:
                data = self.read(attempt, stream, attempt.sent[stream], size)
                if not data:
                    attempt.sent[stream] = sizes[stream]  # the file is gone: what it held is lost
                    continue
                frames.append(
                    frame(R_OUTPUT, OUTPUT.pack(attempt.serial, stream + 1, attempt.sent[stream]) + data)
                )
                attempt.sent[stream] += len(data)
                self.credit -= len(data)
        return frames

    def output(self, limit: int, now: float, grown: bool) -> "list[bytes]":
        """About `limit` bytes of frames: output of ended attempts with their results, then what running ones have
        `grown`. A job that may end at once is left alone for a moment: its output then travels with its result.
        """
        frames, size = [], 0  # type: list[bytes], int
        while self.unsent and size < limit:
            attempt = self.unsent[0]
            some = self.pieces(attempt, attempt.sizes)
            frames += some
            size += sum(map(len, some))
            if attempt.sent[0] >= attempt.sizes[0] and attempt.sent[1] >= attempt.sizes[1]:
                self.unsent.popleft()
                self.backlog -= attempt.sizes[0] + attempt.sizes[1]
                frames.append(self.result(attempt, 0, b"", b""))
                self.close(attempt)
            elif not some:
                return frames
        for attempt in list(self.running.values()) if grown else ():
            while size < limit and self.credit > 0 and now - attempt.began > YOUNG:
                some = self.pieces(attempt, (os.fstat(attempt.out).st_size, os.fstat(attempt.err).st_size))
                if not some:
                    break
                frames += some
                size += sum(map(len, some))
        return frames

    def attached(self, asked: "tuple[int, ...]") -> None:
        """A controller has come: everything unacknowledged is to be said again, from the beginning."""
        self.talk, self.credit = [], 0
        self.unsent.clear()
        self.backlog = 0
        for attempt in self.running.values():
            attempt.sent, attempt.told = [0, 0], False
        for attempt in self.ended.values():
            attempt.sent, attempt.said = [0, 0], False

    def retell(self) -> None:
        """Queue every result that is not acknowledged."""
        for attempt in list(self.ended.values()):
            if not attempt.said and attempt not in self.unsent:
                self.say(attempt)

    @property
    def idle(self) -> bool:
        """Whether nothing runs, waits or is owed."""
        return not (self.running or self.waiting or self.ended)
