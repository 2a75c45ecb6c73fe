"""A Link that is the runner's where there is Python, and goes through sh where there is none.

The choice is made when a host is first reached and holds for the run: what was begun one way is never looked for the
other way, or its jobs would count as forgotten and be run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hostler.errors import HostRefused, NoPython, Unreachable
from hostler.model.jobs import Start
from hostler.model.reports import Hello, Report

if TYPE_CHECKING:
    from hostler.links.runner import RunnerLink
    from hostler.ports import Link

#: A spool that is worked by sh is told from a runner's by how its id begins.
SPOOL = "sh"


class Choices:
    """What one controller knows of its hosts: by Python, or through sh. `say` gets one line for each of the latter."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._by_sh: dict[str, bool] = {}

    def of(self, host: str) -> bool | None:
        """Whether this host is served through sh; None when nobody knows yet."""
        return self._by_sh.get(host)

    def made(self, host: str, *, by_sh: bool, why: str = "") -> None:
        """Remember a choice, and say it where it was for sh and a reason is given."""
        if by_sh and why and self._by_sh.get(host) is None:
            self._say(f"hostler: {host}: {why}: jobs run through sh, output comes in pieces")
        self._by_sh[host] = by_sh


class ChoosingLink:
    """A ports.Link to one host: `runner`, or what `attempts` makes.

    `spool` is the id of the spool that the run has there already. `unable` says what was asked of the run that sh
    can't do ("--pty"), or nothing.
    """

    def __init__(
        self,
        runner: RunnerLink,
        *,
        attempts: Callable[[], Link],
        choices: Choices,
        spool: str | None,
        unable: str = "",
    ) -> None:
        self.host = runner.host
        self._attempts, self._choices, self._spool, self._unable = attempts, choices, spool, unable
        self._link: Link = runner

    async def open(
        self, ask: Sequence[int], *, given: int, deliver: Callable[[Report], None], deadline: float
    ) -> Hello:  # fmt: skip
        """Reach the host, by the runner first unless it is known to have no Python. Raises HostError."""
        name, by_sh = self.host.name, self._choices.of(self.host.name)
        if by_sh is None and self._spool is not None:
            by_sh = self._spool.startswith(SPOOL)
        why = ""
        if by_sh is None and self.host.var("python") == "none":
            by_sh, why = True, "its python is none"
        if not by_sh:
            try:
                hello = await self._link.open(ask, given=given, deliver=deliver, deadline=deadline)
            except NoPython as error:
                if (
                    by_sh is False
                ):  # what the runner holds there can't be reached in another way, and waits for us
                    raise Unreachable(name, "its Python is not there at the moment") from error
                why = error.why.removesuffix(" there")
            else:
                self._choices.made(name, by_sh=False)
                return hello
        if self._unable:
            raise HostRefused(name, f"{self._unable} needs Python there, and {why or 'it has none'}")
        self._link = self._attempts()
        hello = await self._link.open(ask, given=given, deliver=deliver, deadline=deadline)
        self._choices.made(name, by_sh=True, why=why)
        return hello

    def start(self, starts: Sequence[Start]) -> None:
        """Send attempts."""
        self._link.start(starts)

    def follow(self, serial: int, *, out: int, err: int) -> None:
        """Say how much of an attempt's output is here."""
        self._link.follow(serial, out=out, err=err)

    def ready(self) -> None:
        """Let output and kept results come."""
        self._link.ready()

    def revoke(self, serials: Sequence[int]) -> None:
        """Take back what has not started."""
        self._link.revoke(serials)

    def kill(self, serials: Sequence[int], *, grace: float, ending: str) -> None:
        """End running attempts."""
        self._link.kill(serials, grace=grace, ending=ending)

    def resize(self, slots: int) -> None:
        """Run so many jobs at once from now on."""
        self._link.resize(slots)

    def ack(self, serials: Sequence[int]) -> None:
        """Let results be forgotten."""
        self._link.ack(serials)

    def credit(self, size: int) -> None:
        """Allow more output."""
        self._link.credit(size)

    async def close(self, *, forget: bool, deadline: float) -> None:
        """Leave."""
        await self._link.close(forget=forget, deadline=deadline)


if TYPE_CHECKING:

    def _is_a_link(link: ChoosingLink) -> Link:
        return link
