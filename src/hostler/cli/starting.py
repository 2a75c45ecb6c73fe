"""The first moments of a new batch: its hosts are called while we still read in what works on them.

Nothing of the run is told to anybody before it is on disk; a host that was called and isn't needed is let go. It must
never import what works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from hostler.cli.saying import say
from hostler.cli.stopping import Signals, name
from hostler.stores.folder import state_dir
from hostler.wiring.reaching import Reach

if TYPE_CHECKING:
    from hostler.cli.running import Source
    from hostler.model.hosts import Host
    from hostler.model.runs import BatchSpec
    from hostler.wiring.wanted import Wanted

#: Seconds that lines which nobody needs have to close.
CLOSING = 1.0


async def begin(
    *, spec: BatchSpec, command: str, hosts: Sequence[Host], source: Source, wanted: Wanted
) -> int:
    """Begin a batch and work on it; the exit code."""
    reach = Reach(state_dir(), wanted=wanted.on(spec), bare=spec.oneshot)
    with Signals() as signals:
        try:
            link = "hostler.links.oneshot" if spec.oneshot else "hostler.links.runner"
            await _ready(reach, _first(spec, hosts), signals, needs=("hostler.cli.running", link))
            from hostler.cli.running import new_run

            return await new_run(
                spec=spec,
                command=command,
                hosts=hosts,
                source=source,
                wanted=wanted,
                reach=reach,
                signals=signals,
            )
        except asyncio.CancelledError:
            if not signals.seen:
                raise
            return 128 + signals.seen[0]
        finally:
            await reach.ahead.close(deadline=CLOSING)
            await reach.transport.close()


def _first(spec: BatchSpec, hosts: Sequence[Host]) -> Sequence[Host]:
    """The hosts that may be called before anything is known of the run."""
    if spec.oneshot:
        return [] if spec.waves else hosts[: spec.forks]
    return [] if spec.as_user else hosts


async def _ready(reach: Reach, hosts: Sequence[Host], signals: Signals, *, needs: Sequence[str]) -> None:
    """Call hosts, and read in what a run needs."""
    reach.ahead.begin(hosts)
    try:
        await asyncio.sleep(0)  # the first call gets under way, and reads in what all others need
        # In a thread: while Python reads, logins go on.
        await asyncio.to_thread(lambda: [import_module(name) for name in needs])
    except asyncio.CancelledError:
        if signals.seen:
            say(f"{name(signals.seen[0])}: no run was begun")
        raise
