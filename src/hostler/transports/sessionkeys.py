"""A run's own key on its hosts, for the time when what a person logs in with has gone: an agent, a password.

It is put there over a line that is open anyway, is tried before it counts, is good for so long only unless it is
renewed over a line that is open, and is taken away in the end. It must never stand in the way of the run: a host where
it can't be is reached by the person's own means, and that is said in one line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sized
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from hostler.clock import Clock, SystemClock
from hostler.errors import HostError, HostRefused, LineLost, Unreachable
from hostler.model.durations import format_duration
from hostler.model.hosts import Host
from hostler.ports import Connection
from hostler.transports.authorizing import authorize, withdraw
from hostler.transports.sessionfolder import Kept, SessionFolder, sweep

#: Seconds for each step on a host: more than it waits there for others who write.
STEP = 20.0
#: Seconds that all hosts have together when the run has ended, and a little more for each.
ENDING = 15.0
#: Seconds that what is under way then has to be finished.
LATE = 5.0
#: Seconds until what a host was told on a line that broke has been done there, or never will be.
SURE = 1.0
#: Seconds after which it is said what is being waited for.
SLOW = 3.0
#: Part of its life after which a key is renewed, and seconds between two looks at which are due.
RENEWED, LOOK = 0.5, 15.0
#: Seconds until a host is asked again where something was in the way that passes.
AGAIN = 60.0
#: Where the account's keys are, in words.
FILE = "~/.ssh/authorized_keys"

Dial = Callable[[Host, float], Awaitable[Connection]]


class _Place(Struct):
    """One host: what was done there (None: nothing yet), and when by the steady clock it is due again."""

    host: Host
    on: Kept | None = None
    line: Connection | None = None
    due: float = 0.0
    busy: bool = False
    refused: bool = False
    told: bool = False
    unsure: bool = False


class SessionKeys:
    """The key of one run on its hosts. Until it begins, it only remembers who came.

    A key is let in for `lifetime` seconds. `dial` opens a line to a host, by the key where the host names it and by
    whatever leads there otherwise; `fit` says for which hosts there is any need. `say` gets remarks of one line.
    """

    def __init__(
        self, state: Path, *, lifetime: float, fit: Callable[[Host], bool] = lambda host: True,
        say: Callable[[str], None], clock: Clock | None = None,
    ) -> None:  # fmt: skip
        self._state, self._lifetime, self._fit, self._say = state, lifetime, fit, say
        self._clock = clock or SystemClock()
        self.dial: Dial
        self._uid = self._public = ""
        self._folder: SessionFolder | None = None
        self._noted: dict[str, Kept] = {}
        self._makes = True
        self._places: dict[str, _Place] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, uid: str, hosts: Iterable[Host], *, make: bool) -> None:
        """Take up a run's key, or make one; who came already gets it. Without `make` nothing is put anywhere.

        `hosts` are those of the run, from which it is taken away in the end though nobody may come to them before.
        """
        self._uid, self._makes = uid, make
        folder = SessionFolder(self._state, uid)
        try:
            sweep(self._state, now=self._clock.now())
            public = folder.public(make=make)
        except OSError as error:
            self._say(f"hostler: no session key can be made ({error.strerror}): {OWN_MEANS}")
            public = None
        if public is None:
            self._makes = False
            return
        self._public, self._folder = public, folder
        self._noted = folder.hosts()
        for host in hosts:
            self._place(host)
        for place in list(self._places.values()):
            if place.line is not None:
                self._see_to(place)

    # -- logging in -------------------------------------------------------------------------------------------

    def is_ours(self, host: Host) -> bool:
        """Whether a host is to be reached by the session key and nothing else."""
        return self._folder is not None and host.identity == str(self._folder.key)

    def keyed(self, host: Host) -> Host | None:
        """The host as it is reached by the session key; None where that has not let us in, or not for long enough."""
        on = self._place(host).on
        if self._folder is None or on is None or not on.good or on.until <= self._clock.now():
            return None
        return replace(host, identity=str(self._folder.key))

    def shut_out(self, host: Host) -> None:
        """Note that a host let the key in no more: somebody has taken it away there."""
        place = self._place(host)
        if place.on is not None:
            place.on.good, place.due = False, 0.0

    def came(self, host: Host, line: Connection) -> None:
        """Take over a hold on a line that is open to a host; the one before is let go of."""
        place = self._place(host)
        if place.line is not None:
            self._spawn(place.line.close())
        place.line = line
        if self._uid:
            self._see_to(place)

    # -- on hosts ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Renew what is due on hosts to which a line is open, for as long as the run works."""
        try:
            while True:
                await self._clock.sleep(LOOK)
                for place in list(self._places.values()):
                    if place.line is not None and place.line.alive:
                        self._see_to(place)
        finally:
            for task in self._tasks:
                task.cancel()

    async def end(self) -> None:
        """Take the key away from every host, and remove it here; never raises."""
        self._makes = False
        if self._folder is None:
            return
        if self._tasks:
            # Not cancelled at once: what they have asked of a host is done there all the same, and perhaps later.
            _, late = await asyncio.wait(self._tasks, timeout=LATE)
            for task in late:
                task.cancel()
        held = [place for place in self._places.values() if place.on is not None]
        patience = ENDING + len(held) / 10
        left = {place.host.name: f"no answer within {patience:.0f}s" for place in held}

        async def take_away(place: _Place) -> None:
            assert place.on is not None
            made, name = place.on.made, place.host.name
            if place.unsure:  # what a line that broke has brought there may still be about to be done
                await self._clock.sleep(SURE)
            try:
                await self._over(place, lambda line: withdraw(line, uid=self._uid, made=made, deadline=STEP))
                del left[name]
            except HostError as error:
                left[name] = error.why

        slow = asyncio.create_task(self._slow(left))
        with suppress(TimeoutError):
            async with asyncio.timeout(patience), asyncio.TaskGroup() as group:
                for place in held:
                    group.create_task(take_away(place))
        slow.cancel()
        for place in held:
            if place.host.name in left and place.on is not None:
                rest = max(0.0, place.on.until - self._clock.now())
                self._say(
                    f"hostler: {place.host.name}: the line of the session key stays in {FILE} "
                    f"({left[place.host.name]}); nobody has that key any more, "
                    f"and it is over in {format_duration(rest)}"
                )
        self._folder.remove()
        self._folder = None
        await self.close()

    async def close(self) -> None:
        """Let go of all lines."""
        lines = [place.line for place in self._places.values() if place.line is not None]
        for place in self._places.values():
            place.line = None
        await asyncio.gather(*(line.close() for line in lines))

    async def _slow(self, left: Sized) -> None:
        await self._clock.sleep(SLOW)
        self._say(f"hostler: taking the session key away: hosts that have not answered yet: {len(left)}")

    def _place(self, host: Host) -> _Place:
        place = self._places.get(host.name)
        if place is None:
            place = self._places[host.name] = _Place(host, refused=not self._fit(host))
        if place.on is None and self._folder is not None:
            place.on = self._noted.get(host.name)
        return place

    def _see_to(self, place: _Place) -> None:
        """Put the key on a host, or renew it there, when that is due."""
        if not self._makes or place.busy or place.refused or self._clock.steady() < place.due:
            return
        place.busy = True
        self._spawn(self._put(place))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name="session keys")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _put(self, place: _Place) -> None:
        try:
            await self._renew(place)
            place.due, place.unsure = self._clock.steady() + self._lifetime * RENEWED, False
        except HostRefused as error:
            place.refused = True
            self._say(f"hostler: {place.host.name}: no session key there ({error.why}): {OWN_MEANS}")
        except LineLost:
            place.due, place.unsure = 0.0, True  # on the next line
        except HostError as error:
            if not place.told:
                place.told = True
                self._say(
                    f"hostler: {place.host.name}: no session key there yet ({error.why}); it is tried again"
                )
            place.due = self._clock.steady() + min(AGAIN, self._lifetime / 10)
        finally:
            place.busy = False

    async def _renew(self, place: _Place) -> None:
        """Put the key there and try it. Raises HostRefused where there is no use in that, HostError."""
        now, first = self._clock.now(), place.on is None
        on = place.on = place.on or Kept(until=0.0)
        good, on.until = on.good, max(on.until, now + self._lifetime)
        self._note(place)  # before anything is done there: whoever comes after us has to take it away
        span = timedelta(seconds=self._lifetime)
        try:
            on.made |= await self._over(
                place,
                lambda line: authorize(line, uid=self._uid, key=self._public, lifetime=span, deadline=STEP),
            )
        except HostRefused:
            if first:
                self._forget(place)
            raise
        if not good:
            try:
                await self._try(place.host)
            except HostRefused:
                await self._over(
                    place, lambda line: withdraw(line, uid=self._uid, made=on.made, deadline=STEP)
                )
                self._forget(place)
                raise HostRefused(place.host.name, REFUSED) from None
            on.good = True
        self._note(place)

    async def _try(self, host: Host) -> None:
        """Log in by the key alone."""
        assert self._folder is not None
        line = await self.dial(replace(host, identity=str(self._folder.key)), STEP)
        await line.close()

    async def _over(self, place: _Place, do: Callable[[Connection], Awaitable[bool | None]]) -> bool:
        """Do something over the host's open line, or one of its own where that has no room or is gone."""
        line = place.line
        if line is not None and line.alive:
            try:
                return bool(await do(line))
            except Unreachable:
                if not line.alive:
                    raise
            except LineLost:
                if self._makes:
                    raise
        own = await self.dial(place.host, STEP)
        try:
            return bool(await do(own))
        finally:
            await own.close()

    def _forget(self, place: _Place) -> None:
        """Note that there is nothing of ours on a host."""
        place.on = None
        self._noted.pop(place.host.name, None)
        self._note(place)

    def _note(self, place: _Place) -> None:
        assert self._folder is not None
        try:
            self._folder.note(place.host.name, place.on)
        except OSError as error:
            raise HostRefused(place.host.name, f"its key can't be noted here: {error.strerror}") from None


OWN_MEANS = "it is reached by your own means only"
REFUSED = "its sshd does not let it in: it is older than 7.7, reads other files, or wants more than a key"
