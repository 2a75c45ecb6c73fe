"""One way of running `true` on many hosts: `python benchmarks/_connect.py WAY INVENTORY COUNT`.

WAY is bare (AsyncSSH and nothing else), asyncssh or openssh (hostler's transports behind their limit, host keys kept).
It exits 0 only when `true` ran on every host.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

DEADLINE = 120.0
AT_ONCE = 64


async def bare(facts: dict[str, Any], count: int) -> int:
    """What an AsyncSSH user would write in ten lines."""
    import asyncssh

    turns = asyncio.Semaphore(AT_ONCE)
    trusted = asyncssh.import_known_hosts(f"* {facts['host_key']}")

    async def one(address: str) -> bool:
        async with turns, asyncssh.connect(
            address, facts["port"], client_keys=[facts["identity"]], known_hosts=trusted, config=None,
            agent_path=None,
        ) as line:  # fmt: skip
            return (await line.run("true")).exit_status == 0

    return sum(await asyncio.gather(*map(one, facts["addresses"][:count])))


async def ours(way: str, inventory: Path, count: int) -> int:
    """The same over hostler's transports."""
    from hostler.manifests import load_inventory
    from hostler.transports.limited import LimitedTransport

    with tempfile.TemporaryDirectory() as folder:
        given: dict[str, Any] = {"state": Path(folder), "strict": None, "ssh_config": (), "say": print}
        if way == "asyncssh":
            from hostler.transports.asyncssh import AsyncsshTransport as Transport
        else:
            from hostler.transports.openssh import OpensshTransport as Transport  # type: ignore[assignment]
        transport = LimitedTransport(Transport(**given), limit=AT_ONCE)

        async def one(host: Any) -> bool:
            line = await transport.connect(host, deadline=DEADLINE)
            try:
                return (await line.run("true", deadline=DEADLINE)).code == 0
            finally:
                await line.close()

        done = await asyncio.gather(*map(one, list(load_inventory([inventory]))[:count]))
        await transport.close()
        return sum(done)


def facts_of(inventory: Path) -> dict[str, Any]:
    """The addresses, port, key and identity, without hostler's own reader: the bare way pays for none."""
    text = inventory.read_text()
    shared = dict(word.split(": ", 1) for word in text.split("{", 1)[1].split("}", 1)[0].split(", "))
    rows = [line.split("{", 1)[1].rstrip("}") for line in text.splitlines()[2:]]
    pairs = [dict(word.split(": ", 1) for word in row.split(", ")) for row in rows]
    return {
        "port": int(shared["port"]),
        "identity": shared["identity"],
        "host_key": pairs[0]["host_key"],
        "addresses": [pair["address"] for pair in pairs],
    }


if __name__ == "__main__":
    name, path, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    work = bare(facts_of(path), number) if name == "bare" else ours(name, path, number)
    sys.exit(0 if asyncio.run(work) == number else 1)
