"""Work in a thread beside the event loop, which a cancelled caller leaves only once it is done.

It must never let go of work half-way: whoever cleans up behind it would do so beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def beside(thread: Executor, work: Callable[[], T]) -> T:
    """Do `work` in `thread`, and give what it gives; a cancelled caller first waits for its end."""
    done = asyncio.get_running_loop().run_in_executor(thread, work)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        while not done.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([done])
        raise
