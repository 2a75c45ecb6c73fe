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
from hostler.remote.runner.fence import GONE, UNKNOWN, WAITING, Fence
from hostler.remote.runner.files import Files, Pair
from hostler.remote.runner.hunting import Ladder, Marks, end_all
from hostler.remote.runner.launching import SHORTAGES, Launcher
from hostler.remote.runner.log import Log
from hostler.remote.runner.metering import Meter
from hostler.remote.runner.processes import Spawner
from hostler.remote.runner.room import Room
from hostler.remote.runner.rules import Rules
from hostler.remote.runner.telling import (
    EXIT,
    INTERRUPTED,
    KILL_FAILED,
    LOST,
    OK,
    OUTPUT_LIMIT,
    SIGNAL,
    TIMEOUT,
)
from hostler.remote.runner.telling import Attempt, Voice
from hostler.remote.runner.wire import NO_CODE, NUMBER, R_HELD, R_LOST, R_REFUSED, R_REVOKED, frame, numbers

#: Seconds in which a job's output is not looked at, and after which its beginning is told.
YOUNG, NEWS = 0.1, 0.05
#: More output of ended jobs than this waiting for the controller, in bytes: no new job starts.
BACKLOG = 256 << 20
#: Attempts that are started in one go: their records are one write, their files open at once.
ROUND = 32


class Table:
    """All attempts of one run on one host."""

    def __init__(
        self, path: str, uid: str, log: Log, spawner: Spawner, slots: int, rules: Rules
    ) -> None:  # fmt: skip
        self.rules = rules
        self.log, self.slots = log, slots
        self.launcher = Launcher(path, uid, spawner, Marks(log.id))
        self.files = Files(path, {number for _, _, number in log.starts.values()})
        self.voice = Voice(self.files)
        self.meter = Meter(self.files, rules.limit)
        self.room = Room(self.files)
        self.ladder = Ladder()
        self.grace = 5.0
        self.fence = Fence(log.high)
        self.running = {}  # type: dict[int, Attempt]
        self.pids = {}  # type: dict[int, Attempt]
        self.ended = {}  # type: dict[int, Attempt]
        self.fresh = deque()  # type: deque[Attempt]
        self.timeouts = []  # type: list[tuple[float, int]]
        self.free = list(range(slots, 0, -1))
        self.looked = self.unsaved = 0.0
        self.unwanted = False
        self.revive()

    def revive(self) -> None:
        """Take over what an earlier runner left: results stand; what has none is ended, and lost."""
        log = self.log
        for serial, (job, n, number) in sorted(log.starts.items()):
            self.ended[serial] = Attempt(serial, job, n, Pair(number))
        prey = self.launcher.prey
        preys = {serial: prey(attempt) for serial, attempt in self.ended.items() if serial not in log.results}
        if preys:
            end_all(list(preys.values()), 5.0)
        for serial, attempt in self.ended.items():
            if serial in preys:
                left = preys[serial].left
                log.result(serial, KILL_FAILED if left else LOST, NO_CODE, 0, 0.0, 0, 0)
                attempt.detail = alive(left)
            attempt.ending, attempt.code, attempt.signal, attempt.elapsed = log.results[serial][:4]
            self.meter.revived(attempt, log.results[serial][4:])

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
            self.fence.high = max(
                self.fence.high, *asked
            )  # whatever can't be read may have been any of these
        return [(serial, self.standing(serial)) for serial in asked]

    def resize(self, slots: int) -> None:
        """Run so many attempts at once from now on; what runs is let end."""
        if slots != self.slots:
            self.slots = slots
            busy = {attempt.slot for attempt in self.running.values()}
            self.free = [slot for slot in range(slots, 0, -1) if slot not in busy]

    def standing(self, serial: int) -> int:
        """What is known of a serial."""
        if serial in self.running:
            return 2
        if serial in self.ended:
            return 4 if self.ended[serial].ending == LOST else 3
        return self.fence.standing(serial)

    def accept(self, starts: "list[tuple[int, int, int, tuple[bytes, ...], bool, float]]") -> None:
        """Queue starts; one that was seen before is answered with what became of it."""
        for start in starts:
            serial = start[0]
            if serial in self.fence.barred:
                self.voice.talk.append(frame(R_REVOKED, NUMBER.pack(serial)))
            elif not self.fence.admit(start) and self.standing(serial) == GONE and serial not in self.ended:
                self.forgotten(serial)

    def revoke(self, serials: "tuple[int, ...]", now: float) -> None:
        """Give back what has not started; what was never seen never will be."""
        given = []
        for serial in serials:
            if serial in self.running:
                self.voice.began(self.running[serial], now)
            elif self.standing(serial) in (UNKNOWN, WAITING):
                self.fence.bar(serial)
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
        if self.room.crowded:
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
                self.ladder.add(serial, self.launcher.prey(attempt), grace, now)

    def expire(self, now: float) -> None:
        """Nobody wants this work at present: what waits is as if never seen, what runs is ended."""
        self.fence.drop()
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
            if self.room.due(now):
                self.look_at_disk(now)
            if self.room.crowded:
                return
            chosen = self.fence.next(min(len(self.free), ROUND))
            if chosen:
                self.round(chosen, now)

    def round(self, chosen: "list[tuple[int, int, int, tuple[bytes, ...], bool, float]]", now: float) -> None:
        """Start these: their records are one write before the first process."""
        log, made = self.log, []  # type: Log, list[tuple[Attempt, int, int]]
        try:
            if self.room.full:
                raise OSError(errno.ENOSPC, self.room.full)
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
        """See whether there is room for what is to start, and say so when starts must wait for it."""
        ours = sum(sum(attempt.lengths) for held in (self.running, self.ended) for attempt in held.values())
        if self.room.look(now, ours, self.rules.share):
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
        serial, _, _, words, shell, timeout = start
        attempt.began = time.monotonic()
        try:
            self.launcher.launch(attempt, words, shell, self.free[-1], out, err)
        except OSError as error:
            if error.errno in SHORTAGES:
                self.log.result(serial, LOST, NO_CODE, 0, 0.0, 0, 0)
                self.log.forget([serial])
                self.launcher.hang_up(attempt)
                self.refuse(serial, error)
                self.files.release(attempt.pair)
            else:
                ending, code = self.launcher.stillborn(attempt, err, words[0], error)
                self.end(attempt, ending, code, 0)
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

    def refuse(self, serial: int, error: OSError) -> None:
        """The host, not the job, could not do it: nothing was started, nor will be, and it says so."""
        self.fence.bar(serial)
        self.voice.talk.append(frame(R_REFUSED, NUMBER.pack(serial) + str(error.strerror).encode()))

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
        self.launcher.hang_up(attempt)
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
                self.ladder.add(serial, self.launcher.prey(attempt), self.grace, time.monotonic())
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
        terminals = self.launcher.terminals
        if terminals is not None and terminals.full:
            terminals.again()
        if self.room.crowded and self.room.due(now):
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
        return bool(self.fence.order and self.free) and self.voice.backlog < BACKLOG and not self.room.crowded


def alive(pids: "list[int]") -> bytes:
    """What is said of processes that can't be ended."""
    return b"still alive: pid " + b", ".join(b"%d" % pid for pid in pids[:20]) if pids else b""
