"""Make a golden store: what a released version of hostler left on a disk, for all later versions to read.

Run as `python -m tests.golden.make_store tests/golden/store-0001.db` by the version whose store it is, once. A golden
store is never made anew: whoever changes the schema adds the next one.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from hostler.model.events import HostConnected, HostLost, RunFinished, RunStarted, StopRequested
from hostler.model.jobs import Ending, JobState, OutputRef
from hostler.model.requests import Cancel
from hostler.stores.opening import connect
from hostler.stores.sqlite import open_store
from hostler.stores.sqlite_reading import FILE
from tests.contract.store_making import AT, accepted, dispatched, ended, failed, revoked, started, writer


async def fill(folder: Path) -> None:
    """Two runs: one that ended, one that its controller left in the middle."""
    store = open_store(folder)
    mine = await writer(store, await accepted(store, 4, command="hostler batch -- convert {}"))
    await mine.turn(
        RunStarted(at=AT, epoch=1, owner="me", options={"j": 2}),
        HostConnected(at=AT, worker=1, spool="spool-1", boot="boot-1"),
        HostLost(at=AT, worker=2, why="refused", fault="unreachable"),
    )
    await mine.turn(*(dispatched(job) for job in (1, 2, 3)))
    await mine.turn(
        started(1),
        ended(1, output=OutputRef("out/1.dat", 0, 2, 3)),
        started(2),
        failed(2, then=JobState.QUEUED),
        revoked(3),
        StopRequested(at=AT, why="Ctrl-C"),
    )
    await mine.turn(dispatched(2, 2, serial=40))
    await mine.turn(failed(2, 2, tries=2), RunFinished(at=AT + 9, state="stopped", exit_code=130))
    await store.release(mine.claim)
    mine = await writer(
        store, await accepted(store, [((), b"k" * 32), ((b"", b"\xff\n"), b"k" * 32)], uid="b" * 32)
    )
    await mine.turn(RunStarted(at=AT, epoch=1, owner="me", options={}), dispatched(1, worker=2))
    await mine.turn(
        ended(1, ending=Ending.LOST, then=JobState.LOST, detail="its host was silent"), dispatched(2)
    )
    await mine.turn(started(2))
    await store.make_request(mine.claim.run, Cancel(jobs=(2,)), who="ann@laptop (pid 7)", at=AT + 9)
    await store.close()


def main() -> None:
    """Make the file that the command line names."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(fill(Path(folder)))
        db = connect(Path(folder) / FILE)
        db.execute("VACUUM INTO ?", (sys.argv[1],))
        db.close()


if __name__ == "__main__":
    main()
