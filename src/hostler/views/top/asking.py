"""Asking something of a run from the screen: what is asked, the yes before it, and the answer.

What ends something is asked for only after a yes that was typed for it. It must never ask twice for one key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hostler.errors import HostlerError
from hostler.views.dashboard import RunLine
from hostler.views.top.eyes import Ask
from hostler.views.top.reading import Aside


class Asking:
    """At most one question, and what came of the last one. `changed` is called whenever there is something to draw."""

    def __init__(self, ask: Ask, *, changed: Callable[[], None]) -> None:
        self._ask, self._changed, self._aside = ask, changed, Aside()
        self._words: Sequence[str] = ()
        #: What is asked of the person, and what was answered to them.
        self.question = self.answer = ""

    def stop(self, run: RunLine) -> None:
        """Ask whether to stop a run."""
        self._question(
            f"stop {run.kind} {run.number}? What runs is ended, the rest waits for a resume.", ["stop", run]
        )

    def cancel(self, run: RunLine, job: int) -> None:
        """Ask whether to cancel a job."""
        self._question(
            f"cancel job {job} of {run.kind} {run.number}? It is not tried again.", ["cancel", run, job]
        )

    async def pause(self, run: RunLine) -> None:
        """Pause a run, or let it go on: nothing is lost by it, so nothing is asked."""
        await self._do(["unpause" if run.paused else "pause", str(run.number)])

    async def yes(self) -> None:
        """Do what is asked."""
        words, self._words, self.question = self._words, (), ""
        if words:
            await self._do(words)

    def clear(self) -> bool:
        """No, or the answer has been read; whether there was either."""
        there = bool(self.question or self.answer)
        self._words, self.question, self.answer = (), "", ""
        return there

    def end(self) -> None:
        """Do no more once what is being done is done."""
        self._aside.end()

    def _question(self, text: str, words: Sequence[object]) -> None:
        self.question, self.answer = text, ""
        self._words = [str(word.number) if isinstance(word, RunLine) else str(word) for word in words]
        self._changed()

    async def _do(self, words: Sequence[str]) -> None:
        self.answer = f"{' '.join(words)}: asked…"
        self._changed()
        try:
            answer = await self._aside.do(lambda: self._ask(words))
        except HostlerError as error:
            answer = str(error)
        self.answer = answer
        self._changed()
