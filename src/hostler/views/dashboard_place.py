"""Where one is in a dashboard, as a value: which table of which run, how it is asked for, whose output is open.

Every key that leads somewhere is a step from one place to another. It must never know what stands at a place.
"""

from __future__ import annotations

from msgspec import Struct, field
from msgspec.structs import replace

from hostler.views.dashboard import Asked
from hostler.views.filters import Filter

RUNS, HOSTS, JOBS = "runs", "hosts", "jobs"


class Place(Struct, frozen=True, kw_only=True):
    """A place. `output` is the job whose output is shown, `whole` that it fills the screen.

    >>> jobs = Place().opened(42); jobs.part, jobs.run, jobs.opened(7).output, jobs.opened(7).back() == jobs
    ('jobs', 42, 7, True)
    """

    part: str = RUNS
    run: int | None = None
    asked: Asked = field(default_factory=Asked)
    page: int = 0
    output: int | None = None
    whole: bool = False

    @property
    def table(self) -> tuple[str, int | None, Asked, int]:
        """What it is about, whoever's output is shown beside it."""
        return self.part, self.run, self.asked, self.page

    @property
    def where(self) -> str:
        """Which keys hold here."""
        return "whole" if self.whole else "output" if self.output is not None else self.part

    def opened(self, key: int | str | None) -> Place:
        """After a step into the row of this key; of an output, to the whole screen."""
        if self.output is not None:
            return replace(self, whole=True)
        if key is None:
            return self
        if self.part == RUNS:
            return Place(part=JOBS, run=int(key))
        if self.part == HOSTS:
            return Place(part=JOBS, run=self.run, asked=Asked(filter=Filter(f"={key}")))
        return replace(self, output=int(key))

    def back(self) -> Place:
        """After one step back; a run that has been left is the table of all."""
        if self.whole:
            return replace(self, whole=False)
        if self.output is not None:
            return replace(self, output=None)
        if self.asked.filter:
            return self.filtered("")
        return Place() if self.part != RUNS else self

    def turned(self) -> Place:
        """A run's hosts instead of its jobs, or its jobs."""
        if self.part == RUNS or self.whole:
            return self
        return Place(part=JOBS if self.part == HOSTS else HOSTS, run=self.run)

    def filtered(self, text: str) -> Place:
        """With these words in the filter box."""
        return replace(self, asked=replace(self.asked, filter=Filter(text)), page=0)

    def failing(self) -> Place:
        """Only what fails, or all again."""
        return replace(self, asked=replace(self.asked, failing=not self.asked.failing), page=0)

    def slowest(self) -> Place:
        """What took longest first, or in the usual order again."""
        return replace(self, asked=replace(self.asked, slowest=not self.asked.slowest), page=0)

    def paged(self, pages: int, *, more: bool) -> Place:
        """On another page, if there is one."""
        if self.part != JOBS or (pages > 0 and not more):
            return self
        return replace(self, page=max(0, self.page + pages))

    def beside(self, key: int | str | None) -> Place:
        """With the output of another row's job in place of the one that is shown."""
        return self if self.output is None or key is None else replace(self, output=int(key))
