"""More loopback addresses for one server than it can listen on itself: each is carried to it byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def also_on(addresses: Sequence[str], *, port: int, server: str) -> Iterator[None]:
    """Have what listens on `server`:`port` answer on these loopback addresses too, as long as the block lasts."""
    loop = asyncio.new_event_loop()
    ready: list[asyncio.Server] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()

    async def carried(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(server, port)
            await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))
        writer.close()

    async def listen() -> None:
        ready.append(await asyncio.start_server(carried, list(addresses), port, backlog=100))

    loop.run_until_complete(listen())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        for listening in ready:
            listening.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
