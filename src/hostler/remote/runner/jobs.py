"""The attempts that a runner holds: waiting, running, ended and not yet acknowledged.

One table, one thread, no waiting: the loop in `serve` calls in here when something has happened. A start that was
seen before is never run again; that check and the start are one step, and the start's record is on disk before its
process is made.
"""

import errno
import heapq
import os
import time
from collections import deque

from hostler.remote.runner.cutting import amount
from hostler.remote.runner.files import Files, Pair
from hostler.remote.runner.hunting import Ladder, Marks, Prey, end_all
from hostler.remote.runner.log import Log
from hostler.remote.runner.metering import Meter
from hostler.remote.runner.processes import NoFolder, Spawner
from hostler.remote.runner.rules import Rules
from hostler.remote.runner.telling import (
    EXIT,
    INTERRUPTED,
    KILL_FAILED,
    LOST,
    OK,
    OUTPUT_LIMIT,
    SIGNAL,
    STAGING_FAILED,
    TIMEOUT,
)
from hostler.remote.runner.telling import Attempt, Voice
from hostler.remote.runner.terminals import Terminals
from hostler.remote.runner.wire import NO_CODE, NUMBER, R_HELD, R_LOST, R_REFUSED, R_REVOKED, frame, numbers

#: Seconds in which a job's output is not looked at, and after which its beginning is told.
YOUNG, NEWS = 0.1, 0.05
#: More output of ended jobs than this waiting for the controller, in bytes: no new job starts.
BACKLOG = 256 << 20
#: Attempts that are started in one go: their records are one write, their files open at once.
ROUND = 32
#: Bytes that must be free on the spool's disk for a job to start; on a small disk, a fiftieth of it.
ROOM = 16 << 20
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


class Table:
    """All attempts of one run on one host."""

    def __init__(
        self, path: str, uid: str, log: Log, spawner: Spawner, slots: int, rules: Rules
    ) -> None:  # fmt: skip
        self.rules = rules
        self.log, self.uid, self.spawner, self.slots = log, uid.encode(), spawner, slots
        self.path = os.path.realpath(path)
        self.files = Files(path, {number for _, _, number in log.starts.values()})
        self.voice = Voice(self.files)
        self.meter = Meter(self.files, rules.limit)
        self.terminals: "Terminals | None" = None
        self.ladder = Ladder()
        self.marks = Marks(log.id)
        self.grace = 5.0
        self.high = log.high
        self.waiting = {}  # type: dict[int, tuple[int, int, int, tuple[bytes, ...], bool, float]]
        self.order = deque()  # type: deque[int]
        self.unseen = set()  # type: set[int]
        self.barred = set()  # type: set[int]
        self.running = {}  # type: dict[int, Attempt]
        self.pids = {}  # type: dict[int, Attempt]
        self.ended = {}  # type: dict[int, Attempt]
        self.fresh = deque()  # type: deque[Attempt]
        self.timeouts = []  # type: list[tuple[float, int]]
        self.free = list(range(slots, 0, -1))
        self.looked = self.asked = self.unsaved = 0.0
        self.full = ""
        self.unwanted = self.crowded = False
        self.revive()

    def revive(self) -> None:
        """Take over what an earlier runner left: results stand; what has none is ended, and lost."""
        log, preys = self.log, {}  # type: Log, dict[int, Prey]
        for serial, (job, n, number) in sorted(log.starts.items()):
            attempt = self.ended[serial] = Attempt(serial, job, n, Pair(number))
            if serial not in log.results:
                preys[serial] = self.prey(attempt)
        if preys:
            end_all(list(preys.values()), 5.0)
        for serial, attempt in self.ended.items():
            if serial in preys:
                left = preys[serial].left
                log.result(serial, KILL_FAILED if left else LOST, NO_CODE, 0, 0.0, 0, 0)
                attempt.detail = alive(left)
            attempt.ending, attempt.code, attempt.signal, attempt.elapsed = log.results[serial][:4]
            self.meter.revived(attempt, log.results[serial][4:])

    def prey(self, attempt: Attempt) -> Prey:
        """What there is to find an attempt's processes by."""
        outputs = tuple(os.path.join(self.path, attempt.pair.name(stream)) for stream in (0, 1))
        if attempt.terminal is not None:
            outputs += (attempt.terminal.name,)
        return Prey(attempt.pid, self.id(attempt), outputs, self.marks.of(attempt.serial))

    def id(self, attempt: Attempt) -> bytes:
        """The attempt's name everywhere."""
        return b"%s/%d/%d" % (self.uid, attempt.job, attempt.n)

    # -- what the controller asks for -------------------------------------------------------------------------

    def attached(self, asked: "list[int]", slots: int) -> "list[tuple[int, int]]":
        """A new line: what is known of the serials asked about (0 nothing, 1 waiting, 2 running, 3 ended, 4 lost)."""
        self.voice.reset()
        for attempt in self.running.values():
            attempt.sent, attempt.told = [0, 0], False
        for attempt in self.ended.values():
            attempt.sent, attempt.said = [0, 0], False
        self.fresh = deque(self.running.values())
        self.resize(slots)
        if self.log.damaged and asked:
            self.high = max(self.high, *asked)  # whatever can't be read may have been any of these
        return [(serial, self.standing(serial)) for serial in asked]

    def resize(self, slots: int) -> None:
        """Run so many attempts at once from now on; what runs is let end."""
        if slots != self.slots:
            self.slots = slots
            busy = {attempt.slot for attempt in self.running.values()}
            self.free = [slot for slot in range(slots, 0, -1) if slot not in busy]

    def standing(self, serial: int) -> int:
        """What is known of a serial. One that was given back, or dropped before it began, is as if never seen."""
        if serial in self.waiting:
            return 1
        if serial in self.running:
            return 2
        if serial in self.ended:
            return 4 if self.ended[serial].ending == LOST else 3
        return 0 if serial > self.high or serial in self.unseen or serial in self.barred else 4

    def accept(self, starts: "list[tuple[int, int, int, tuple[bytes, ...], bool, float]]") -> None:
        """Queue starts; one that was seen before is answered with what became of it."""
        for start in starts:
            serial = start[0]
            if serial in self.barred:
                self.voice.talk.append(frame(R_REVOKED, NUMBER.pack(serial)))
            elif serial > self.high or serial in self.unseen:
                self.unseen.discard(serial)
                self.high = max(self.high, serial)
                self.waiting[serial] = start
                self.order.append(serial)
            elif self.standing(serial) == 4 and serial not in self.ended:
                self.forgotten(serial)

    def revoke(self, serials: "tuple[int, ...]", now: float) -> None:
        """Give back what has not started; what was never seen never will be."""
        given = []
        for serial in serials:
            if serial in self.running:
                self.voice.began(self.running[serial], now)
            elif self.waiting.pop(serial, None) is not None or self.standing(serial) == 0:
                self.barred.add(serial)
                self.unseen.discard(serial)
                given.append(serial)
            elif serial not in self.ended:
                self.forgotten(serial)
        if given:
            self.voice.talk.append(frame(R_REVOKED, numbers(given)))

    def forgotten(self, serial: int) -> None:
        """Answer for what was started here once, and is not known any more."""
        words = b"it was here before, and is forgotten"
        self.voice.talk.append(frame(R_LOST, NUMBER.pack(serial) + words))

    def ack(self, serials: "tuple[int, ...]") -> None:
        """Forget results that the controller has on its disk."""
        known = [serial for serial in serials if serial in self.ended]
        for serial in known:
            self.files.release(self.ended.pop(serial).pair)
        if known:
            self.log.forget(known)
        if self.crowded:
            self.asked = 0.0
            self.look_at_disk(time.monotonic())

    def follow(self, serial: int, out: int, err: int) -> None:
        """Go on with an attempt's output from these offsets."""
        attempt = self.running.get(serial) or self.ended.get(serial)
        if attempt is not None:
            if attempt.ending < 0:
                self.meter.running(attempt)
            attempt.follow(0, out)
            attempt.follow(1, err)

    def retell(self) -> None:
        """Every follow has been said: results that are not acknowledged may be told, output may flow."""
        self.voice.ready = True
        now = time.monotonic()
        for attempt in list(self.ended.values()):
            if (
                attempt.began and not attempt.said
            ):  # who comes after its end can't tell from that when it began
                self.voice.began(attempt, now)
            self.voice.ended(attempt, [])

    def kill(self, serials: "tuple[int, ...]", grace: float, ending: int, now: float) -> None:
        """Begin the kill ladder on running attempts."""
        for serial in serials:
            attempt = self.running.get(serial)
            if attempt is not None and attempt.killing < 0:
                attempt.killing = ending
                self.ladder.add(serial, self.prey(attempt), grace, now)

    def expire(self, now: float) -> None:
        """Nobody wants this work at present: what waits is as if never seen, what runs is ended."""
        self.unseen.update(self.waiting)
        self.waiting.clear()
        self.order.clear()
        self.kill(tuple(self.running), self.grace, INTERRUPTED, now)

    def abandon(self, now: float) -> None:
        """Nothing of this run is wanted ever more: results that are there or come count as acknowledged."""
        self.unwanted = True
        self.expire(now)
        self.ack(tuple(self.ended))

    # -- what happens here --------------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """Start what waits while slots are free."""
        while self.able:
            self.look_at_disk(now)
            if self.crowded:
                return
            chosen = []  # type: list[tuple[int, int, int, tuple[bytes, ...], bool, float]]
            while self.order and len(chosen) < min(len(self.free), ROUND):
                start = self.waiting.pop(self.order.popleft(), None)
                if start is not None:
                    chosen.append(start)
            if chosen:
                self.round(chosen, now)

    def round(self, chosen: "list[tuple[int, int, int, tuple[bytes, ...], bool, float]]", now: float) -> None:
        """Start these: their records are one write before the first process."""
        log, made = self.log, []  # type: Log, list[tuple[Attempt, int, int]]
        try:
            if self.full:
                raise OSError(errno.ENOSPC, self.full)
            log.reserve(len(chosen))
            for start in chosen:
                pair, out, err = self.files.take()
                made.append((Attempt(start[0], start[1], start[2], pair), out, err))
                log.start(start[0], start[1], start[2], pair.number)
            log.write()
        except OSError as error:
            log.unwrite([attempt.serial for attempt, _, _ in made])
            for start in chosen:
                self.refuse(start[0], error)
            for attempt, out, err in made:
                os.close(out)
                os.close(err)
                self.files.release(attempt.pair)
            return
        for start, (attempt, out, err) in zip(chosen, made):
            self.launch(attempt, out, err, start, now)

    def look_at_disk(self, now: float) -> None:
        """See from time to time whether the disk has room for the output of jobs, and how much of it is ours.

        A full one is a reason to refuse what is to start. What we hold ourselves goes by and by: starts wait for that.
        """
        if now - self.asked <= 0.5:
            return
        self.asked, facts, share = now, os.fstatvfs(self.files.folder), self.rules.share
        free, least = facts.f_bavail * facts.f_frsize, min(ROOM, facts.f_blocks * facts.f_frsize // 50)
        self.full = "its disk has %d KiB free" % (free >> 10) if free < least else ""
        if facts.f_files and not facts.f_favail:
            self.full = "its disk has no room for more files"
        ours = sum(sum(attempt.lengths) for held in (self.running, self.ended) for attempt in held.values())
        before, self.crowded = (
            self.crowded,
            not self.full and ours > (share if share > 1 else share * (free + ours)),
        )
        if self.crowded and not before:
            words = b"%s of output wait there (--spool-max): nothing more is begun until some is here"
            self.voice.talk.append(frame(R_HELD, words % amount(ours)))

    def launch(
        self,
        attempt: Attempt,
        out: int,
        err: int,
        start: "tuple[int, int, int, tuple[bytes, ...], bool, float]",
        now: float,
    ) -> None:
        """Make one attempt's process."""
        serial, job, _, words, shell, timeout = start
        slot, env = self.free[-1], self.spawner.env
        env[b"HOSTLER_ATTEMPT"] = self.id(attempt)
        env[b"HOSTLER_JOB"] = b"%d" % job
        env[b"HOSTLER_SLOT"] = b"%d" % slot
        attempt.began = time.monotonic()
        try:
            if self.terminals is not None:
                attempt.terminal = self.terminals.open(out)
                self.spawner.terminal = attempt.terminal.name
            self.marks.set(serial)
            attempt.pid = self.spawner.spawn(words, shell, out, err)
        except OSError as error:
            if error.errno in SHORTAGES:
                self.log.result(serial, LOST, NO_CODE, 0, 0.0, 0, 0)
                self.log.forget([serial])
                self.hang_up(attempt)
                self.refuse(serial, error)
                self.files.release(attempt.pair)
            else:
                self.stillborn(attempt, err, words[0], error)
            return
        finally:
            os.close(out)
            os.close(err)
        attempt.slot = self.free.pop()
        self.running[serial] = self.pids[attempt.pid] = attempt
        self.fresh.append(attempt)
        if timeout > 0:
            heapq.heappush(self.timeouts, (now + timeout, serial))
            if len(self.timeouts) > 1024 + 2 * len(self.running):
                self.timeouts = sorted(entry for entry in self.timeouts if entry[1] in self.running)

    def hang_up(self, attempt: Attempt) -> None:
        """Take in what is left in an attempt's terminal, if it has one, and close it."""
        if attempt.terminal is not None and self.terminals is not None:
            self.terminals.close(attempt.terminal)
            attempt.terminal = None

    def refuse(self, serial: int, error: OSError) -> None:
        """The host, not the job, could not do it: nothing was started, nor will be, and it says so."""
        self.barred.add(serial)
        self.voice.talk.append(frame(R_REFUSED, NUMBER.pack(serial) + str(error.strerror).encode()))

    def stillborn(self, attempt: Attempt, err: int, word: bytes, error: OSError) -> None:
        """A command that can't be executed ends as in a shell: 127 when it is not there, 126 when it can't be run.

        Where its folder can't be entered nothing was begun at all, which is no job's fault.
        """
        if isinstance(error, NoFolder):
            gone = error.errno in (errno.ENOENT, errno.ENOTDIR)
            why = b"no such folder on this host" if gone else (error.strerror or "can't be entered").encode()
            attempt.detail = b"%s %s: %s" % (error.about, self.spawner.folder, why)
            self.end(attempt, STAGING_FAILED, NO_CODE, 0)
            return
        text, code = b"hostler: %s: " % word[:200], 126
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            code = 127
            if b"/" in word:
                text += b"no such file, or its interpreter is not there\n"
            else:
                text += b"command not found (PATH is " + self.spawner.env.get(b"PATH", b"not set") + b")\n"
        else:
            text += (error.strerror or "could not be started").encode() + b"\n"
        try:
            os.write(err, text)
        except OSError:
            pass
        self.end(attempt, EXIT, code, 0)

    def reap(self) -> None:
        """Take in every process that has ended."""
        while self.pids:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            attempt = self.pids.pop(pid, None)
            if attempt is not None:
                self.over(attempt, status)

    def over(self, attempt: Attempt, status: int) -> None:
        """An attempt's own process has ended."""
        attempt.pid = 0  # the number may be another's from now on
        if os.WIFSIGNALED(status):
            attempt.signal = os.WTERMSIG(status)
        else:
            attempt.code = os.WEXITSTATUS(status)
        if attempt.killing < 0:
            self.finish(attempt)
        else:
            self.ladder.next = self.ladder.free

    def finish(self, attempt: Attempt) -> None:
        """An attempt has ended by itself."""
        self.leave(attempt)
        code, number = attempt.code, attempt.signal
        self.end(attempt, SIGNAL if number else EXIT if code else OK, code, number)

    def leave(self, attempt: Attempt) -> None:
        """An attempt gives its slot back."""
        del self.running[attempt.serial]
        if attempt.slot <= self.slots:
            self.free.append(attempt.slot)

    def end(self, attempt: Attempt, ending: int, code: int, number: int) -> None:
        """Record a result and tell it."""
        attempt.elapsed = time.monotonic() - attempt.began
        if attempt.terminal is not None:
            self.hang_up(attempt)
        ending, texts = self.meter.ended(attempt, ending)
        attempt.ending, attempt.code, attempt.signal = ending, code, number
        self.log.result(attempt.serial, ending, code, number, attempt.elapsed, *attempt.whole)
        self.ended[attempt.serial] = attempt
        if self.unwanted:
            self.ack((attempt.serial,))
        else:
            self.voice.ended(attempt, texts)

    def bury(self, serial: int, signalled: bool, left: "list[int]") -> None:
        """A killed attempt is over, or can't be ended."""
        attempt = self.running[serial]
        if attempt.pid:
            pid, status = os.waitpid(attempt.pid, os.WNOHANG)
            if pid:
                del self.pids[pid]
                self.over(attempt, status)
            elif not left:
                self.ladder.add(serial, self.prey(attempt), self.grace, time.monotonic())
                return
        if not signalled:
            self.finish(attempt)  # it was faster than the kill
            return
        self.leave(attempt)
        attempt.detail = attempt.detail or alive(left)
        self.end(attempt, KILL_FAILED if left else attempt.killing, attempt.code, attempt.signal)

    # -- what time brings -----------------------------------------------------------------------------------------

    def tick(self, now: float) -> float:
        """Timeouts, kills, news of beginnings; when to look again at the latest."""
        soonest = now + 3600.0
        while self.timeouts and (self.timeouts[0][0] <= now or self.timeouts[0][1] not in self.running):
            self.kill((heapq.heappop(self.timeouts)[1],), self.grace, TIMEOUT, now)
        if self.timeouts:
            soonest = self.timeouts[0][0]
        fresh = self.fresh
        while fresh and (fresh[0].ending >= 0 or now - fresh[0].began > NEWS):
            attempt = fresh.popleft()
            if attempt.ending < 0 and not attempt.told:
                self.voice.began(attempt, now)
        if fresh:
            soonest = min(soonest, fresh[0].began + NEWS)
        for over in self.ladder.climb(now):
            self.bury(*over)
        if self.ladder.rungs:
            soonest = min(soonest, self.ladder.next)
        return soonest

    def save(self, now: float) -> None:
        """Have what has ended on disk; while that fails, it is tried again from time to time."""
        if self.log.pending and now >= self.unsaved:
            try:
                self.log.write()
            except OSError:
                self.unsaved = now + 1.0

    def look(self) -> None:
        """See what the running attempts have written."""
        now = self.looked = time.monotonic()
        if self.terminals is not None and self.terminals.full:
            self.terminals.again()
        if self.crowded:
            self.look_at_disk(now)
        for attempt in list(self.running.values()):
            if now - attempt.began < YOUNG:
                break  # so is everything behind it
            if self.meter.running(attempt) and attempt.killing < 0:
                self.kill((attempt.serial,), min(self.grace, 1.0), OUTPUT_LIMIT, now)
            self.voice.grown(attempt)

    @property
    def able(self) -> bool:
        """Whether there is something to start, and room for it."""
        return bool(self.order and self.free) and self.voice.backlog < BACKLOG and not self.crowded


def alive(pids: "list[int]") -> bytes:
    """What is said of processes that can't be ended."""
    return b"still alive: pid " + b", ".join(b"%d" % pid for pid in pids[:20]) if pids else b""
