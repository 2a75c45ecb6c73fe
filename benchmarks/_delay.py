"""A far away host on this machine: a proxy that holds back every byte for half of a round trip, each way.

    python benchmarks/_delay.py ADDRESS:PORT MILLISECONDS      prints its own port, serves until stdin ends

It must never listen on anything but loopback. Bytes stay in order and none is lost; only time is added.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Bytes that may be on their way in one direction: more than any line between continents holds.
ON_THE_WAY = 4 << 20


@contextmanager
def far_away(endpoint: str, milliseconds: float) -> Iterator[int]:
    """A port of this machine behind which `endpoint` (address:port) answers a round trip later."""
    words = [sys.executable, str(Path(__file__)), endpoint, str(milliseconds)]
    proxy = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert proxy.stdin and proxy.stdout
    try:
        yield int(proxy.stdout.readline())
    finally:
        proxy.stdin.close()
        try:
            proxy.wait(timeout=10)
        except subprocess.TimeoutExpired:
            proxy.kill()
            proxy.wait()


async def serve(address: str, port: int, seconds: float) -> None:
    """Be the proxy, until stdin ends."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(address, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(
            carry(reader, far_writer, seconds / 2),
            carry(far_reader, writer, seconds / 2),
            return_exceptions=True,
        )

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Carry one direction's bytes, each `seconds` late."""
    loop = asyncio.get_running_loop()
    way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(ON_THE_WAY // 65536)

    async def read() -> None:
        while data := await reader.read(65536):
            await way.put((loop.time() + seconds, data))
        await way.put((loop.time() + seconds, b""))

    reading = asyncio.create_task(read())
    try:
        while True:
            due, data = await way.get()
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            if not data:
                break
            writer.write(data)
            await writer.drain()
    finally:
        reading.cancel()
        with suppress(OSError):
            writer.close()


if __name__ == "__main__":
    host, _, number = sys.argv[1].rpartition(":")
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(host, int(number), float(sys.argv[2]) / 1000))
