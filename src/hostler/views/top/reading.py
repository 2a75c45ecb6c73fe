"""A thread that does one thing after the other for a screen, so that a slow disk or server never holds up its keys.

It must never keep a process from ending: whoever leaves doesn't wait for an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class Aside:
    """What is done aside, in the order in which it was asked for."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # In the surroundings of whoever made it: which store is meant is known by them.
        self._thread = Thread(target=copy_context().run, args=(self._go,), name="hostler-top", daemon=True)
        self._thread.start()

    async def do(self, work: Callable[[], T]) -> T:
        """Have it done, and give what it gives, or raise what it raises."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def tell(give: Callable[[Any], None], what: Any) -> None:
            # Nobody may be there any more: neither the loop nor who asked.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(lambda: None if answer.done() else give(what))

        def go() -> None:
            try:
                found = work()
            except BaseException as error:  # noqa: BLE001  who asked is told, whatever it is
                tell(answer.set_exception, error)
            else:
                tell(answer.set_result, found)

        self._work.put(go)
        return await answer

    def end(self, last: Callable[[], None] | None = None) -> None:
        """Do no more than this `last` thing, once what is being done is done; nobody waits for it."""
        if last is not None:
            self._work.put(last)
        self._work.put(None)

    def _go(self) -> None:
        while work := self._work.get():
            work()
