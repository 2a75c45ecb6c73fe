"""Finding the processes of attempts, and ending them: TERM, the grace, KILL, and a look whether anything is left.

A process belongs to an attempt by its session or group while the attempt's own process pins that number, by the
attempt's name in its environment, by the attempt's files as its stdout or stderr, by the attempt's mark among its
limits, or by descent from one that does.
Pids alone are never trusted: a process is the same one only while its start time is the same.
"""

import os
import resource
import signal
import time

MARK = b"HOSTLER_ATTEMPT="
#: Rounds of KILL before an attempt counts as one that can't be ended, and seconds between them.
ROUNDS = 40
PAUSE = 0.1


#: A limit that means nothing but to real-time programs, and where it is told. Children keep their parent's, whatever
#: they do to their session, environment and files; so a number that is far beyond any such program marks an attempt.
REALTIME = getattr(resource, "RLIMIT_RTTIME", -1)
REALTIME_LINE = b"Max realtime timeout"
FAR = 1 << 61


class Marks:
    """Marks the processes of attempts: one setrlimit(2) before each is begun, where the account has no such limit.

    `key` is the name of the spool in hex, so that no two runners on a host use the same marks.
    """

    def __init__(self, key: str) -> None:
        self.base = FAR | int(key[:7], 16) << 32
        try:
            self.able = REALTIME >= 0 and resource.getrlimit(REALTIME) == (resource.RLIM_INFINITY,) * 2
        except (OSError, ValueError):
            self.able = False

    def of(self, serial: int) -> int:
        """The mark of one attempt; 0 where there are none."""
        return 0 if not self.able else self.base | serial & 0xFFFFFFFF

    def set(self, serial: int) -> None:
        """Have whatever is begun next carry an attempt's mark."""
        if self.able:
            resource.setrlimit(REALTIME, (self.base | serial & 0xFFFFFFFF, resource.RLIM_INFINITY))


class Prey:
    """One attempt that is hunted.

    `session` is its own process's number while that can't be another's, else 0; `name` its attempt id, `outputs` the
    real paths of its files, `mark` what its processes carry among their limits, or 0. `known` holds start times of its
    processes by pid, as far as they were ever seen.
    """

    __slots__ = ("known", "left", "mark", "name", "outputs", "session")

    def __init__(self, session: int, name: bytes, outputs: "tuple[str, ...]", mark: int = 0) -> None:
        self.session, self.name, self.outputs, self.mark = session, name, outputs, mark
        self.known = {}  # type: dict[int, int]
        self.left = []  # type: list[int]

    def send(self, number: int) -> None:
        """Send a signal to everything that was found."""
        if self.session and self.left:
            try:
                os.killpg(self.session, number)
            except OSError:
                pass
        for pid in self.left:
            try:
                os.kill(pid, number)
            except OSError:
                pass


def look_up(preys: "list[Prey]") -> None:
    """Find the living processes of all these attempts in one look at /proc; zombies don't count there."""
    sessions = {prey.session: prey for prey in preys if prey.session}
    names = {prey.name: prey for prey in preys}
    outputs = {path: prey for prey in preys for path in prey.outputs}
    marks = {prey.mark: prey for prey in preys if prey.mark}
    known = {(pid, born): prey for prey in preys for pid, born in prey.known.items()}
    owner = {}  # type: dict[int, Prey]
    children = {}  # type: dict[int, list[int]]
    births = {}  # type: dict[int, int]
    pinned = set()  # type: set[int]
    me, everybody = os.getpid(), pids()
    if not everybody:
        ask_groups(preys)
        return
    for pid in everybody:
        facts = look(pid)
        if pid == me or facts is None:
            continue
        parent, group, session, births[pid] = facts
        children.setdefault(parent, []).append(pid)
        prey = sessions.get(session) or sessions.get(group)
        if prey is not None:
            pinned.add(prey.session)
        else:
            prey = known.get((pid, births[pid])) or names.get(name_of(pid)) or by_output(pid, outputs)
            if prey is None and marks:
                prey = marks.get(mark_of(pid))
        if prey is not None:
            owner[pid] = prey
    for prey in preys:
        prey.left = []
        if prey.session not in pinned:
            prey.session = 0  # nobody holds the number any more: it may be another's from now on
    queue = list(owner.items())
    while queue:
        pid, prey = queue.pop()
        prey.left.append(pid)
        prey.known[pid] = births[pid]
        for child in children.get(pid, ()):
            if child not in owner:
                owner[child] = prey
                queue.append((child, prey))


def ask_groups(preys: "list[Prey]") -> None:
    """All that can be known without /proc: whether an attempt's process group has anybody in it."""
    for prey in preys:
        try:
            if prey.session:
                os.killpg(prey.session, 0)
        except OSError:
            prey.session = 0
        prey.left = [prey.session] if prey.session else []


def pids() -> "list[int]":
    """All processes that there are; none where the kernel doesn't tell."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def look(pid: int) -> "tuple[int, int, int, int] | None":
    """A living process's parent, group, session and start time."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            words = file.read().rpartition(b")")[2].split()
        if words[0] in (b"Z", b"X"):
            return None
        return int(words[1]), int(words[2]), int(words[3]), int(words[19])
    except (OSError, IndexError, ValueError):
        return None


def name_of(pid: int) -> bytes:
    """The attempt that a process names in its environment, or nothing."""
    try:
        with open("/proc/%d/environ" % pid, "rb") as file:
            words = file.read()
    except OSError:
        return b""
    at = words.find(MARK)
    while at > 0 and words[at - 1] != 0:
        at = words.find(MARK, at + 1)
    return words[at + len(MARK) :].partition(b"\0")[0] if at >= 0 else b""


def mark_of(pid: int) -> int:
    """The number at which attempts have their mark; 0 where it can't be one."""
    try:
        with open("/proc/%d/limits" % pid, "rb") as file:
            soft = file.read().partition(REALTIME_LINE)[2].split(None, 1)[0]
        return int(soft) if soft.isdigit() else 0
    except (OSError, IndexError):
        return 0


def by_output(pid: int, outputs: "dict[str, Prey]") -> "Prey | None":
    """Whose file a process has as its stdout or stderr. The file itself is not touched: it may hang."""
    for number in (1, 2):
        try:
            prey = outputs.get(os.readlink("/proc/%d/fd/%d" % (pid, number)))
        except OSError:
            continue
        if prey is not None:
            return prey
    return None


def end_all(preys: "list[Prey]", seconds: float) -> None:
    """Kill everything of these attempts at once, and wait for it; what is `left` then can't be ended."""
    until = time.monotonic() + seconds
    while True:
        look_up(preys)
        if not any(prey.left for prey in preys) or time.monotonic() > until:
            return
        for prey in preys:
            prey.send(signal.SIGKILL)
        time.sleep(0.02)


class Ladder:
    """The attempts that are being ended, each on its rung."""

    def __init__(self) -> None:
        self.rungs = {}  # type: dict[int, Rung]
        self.next = 0.0  # when to look again
        self.free = 0.0  # not before: looking must not become all that is done here

    def add(self, serial: int, prey: Prey, grace: float, now: float) -> None:
        """Begin to end an attempt."""
        self.rungs[serial] = Rung(prey, grace, now)
        self.next = self.free

    def climb(self, now: float) -> "list[tuple[int, bool, list[int]]]":
        """Go on with all of them; for each that is over: serial, whether it was signalled, pids that can't be ended."""
        if not self.rungs or now < self.next:
            return []
        look_up([rung.prey for rung in self.rungs.values()])
        then = time.monotonic()
        over = []  # type: list[tuple[int, bool, list[int]]]
        soonest = then + 1.0
        for serial, rung in list(self.rungs.items()):
            if rung.step(then):
                over.append((serial, rung.rounds >= 0, rung.prey.left))
                del self.rungs[serial]
            else:
                soonest = min(soonest, rung.due(then))
        self.free = then + 4 * (then - now)
        self.next = max(soonest, self.free)
        return over


class Rung:
    """One attempt on the ladder."""

    __slots__ = ("grace", "prey", "rounds", "since", "until")

    def __init__(self, prey: Prey, grace: float, now: float) -> None:
        self.prey, self.grace, self.since = prey, grace, now
        self.rounds = -1  # of KILL; below 0 TERM has not been sent
        self.until = now

    def step(self, now: float) -> bool:
        """Do what is due; True once nothing is left, or nothing helps."""
        if not self.prey.left:
            return True
        if self.rounds < 0:
            self.prey.send(signal.SIGTERM)
            self.rounds, self.since, self.until = 0, now, now + self.grace
        elif self.rounds > 0 or now >= self.until:
            if now >= self.until:
                if self.rounds >= ROUNDS:
                    return True
                self.rounds, self.until = self.rounds + 1, now + PAUSE
            self.prey.send(signal.SIGKILL)  # at every look: what multiplies must not gain on us
        return False

    def due(self, now: float) -> float:
        """When to look again: soon after a signal, then less and less often."""
        if self.rounds > 0:
            return now + 0.02
        return min(self.until, now + 0.01 + min((now - self.since) / 2, 0.2))
