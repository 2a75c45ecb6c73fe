"""What a store on disk holds to when its process is killed, its disk is full, or another process wants it too."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hostler.errors import RunBusy, StoreError, StoreFull
from hostler.ports import Turn
from hostler.stores.reads.attempts import attempts
from hostler.stores.reads.runs import has_owner, run
from hostler.stores.sqlite import open_store
from hostler.stores.sqlite_reading import FILE, open_reader
from tests.contract.store_making import (
    accepted,
    begun,
    counts,
    dispatched,
    ended,
    number_jobs,
)

# Works on the run until it is killed. What it prints stands on disk.
WRITER = """
import asyncio, sys
from pathlib import Path
from tests.contract.store_making import dispatched, ended, writer
from hostler.stores.sqlite import open_store

async def main():
    store = open_store(Path(sys.argv[1]))
    mine = await writer(store, 1, owner="writer")
    rows = await store.batch_rows(1)
    if rows.open:
        await mine.turn(*(ended(each.job, each.n) for each in rows.open))
        print(*(each.job for each in rows.open), flush=True)
    while jobs := await store.queued(1, after=(0, 0), limit=20):
        await mine.turn(*(dispatched(each.job) for each in jobs))
        await mine.turn(*(ended(each.job) for each in jobs))
        print(*(each.job for each in jobs), flush=True)

asyncio.run(main())
"""


def python(code: str, *args: object, **more: object) -> subprocess.Popen[str]:
    """Another process of ours."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
        **more,  # type: ignore[call-overload]
    )


async def test_no_acknowledged_turn_is_lost_by_twenty_kills_of_the_writer(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    await accepted(store, 20_000)
    await store.close()
    dice = random.Random(20)
    told: set[int] = set()
    for life in range(1, 21):
        process = python(WRITER, tmp_path)
        assert process.stdout is not None
        for _ in range(dice.randrange(1, 12)):
            told.update(map(int, process.stdout.readline().split()))
        process.send_signal(signal.SIGKILL)
        told.update(map(int, process.stdout.read().split()))
        process.wait()
        process.stdout.close()
        store = open_store(tmp_path)
        by_state = await counts(store, 1)
        done = {row.job for row in attempts(store.reader, 1) if not row.open}
        assert told <= done, f"life {life}: {len(told - done)} acknowledged results are gone"
        assert by_state.get("ok", 0) == len(done)
        assert sum(by_state.values()) == 20_000
        assert run(store.reader, 1).epoch == life
        await store.close()
    assert len(told) > 200


CLAIMER = """
import asyncio, sys
from pathlib import Path
from hostler.errors import RunBusy
from hostler.stores.sqlite import open_store

async def main():
    store = open_store(Path(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        print("mine", (await store.claim(1, owner=sys.argv[2], at=1.0)).epoch, flush=True)
    except RunBusy as error:
        print("busy", error, flush=True)
    sys.stdin.readline()

asyncio.run(main())
"""


async def test_of_several_processes_that_claim_a_run_at_once_one_gets_it(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    await accepted(store)
    for epoch in (1, 2, 3):
        claimers = [python(CLAIMER, tmp_path, f"claimer {i}", stdin=subprocess.PIPE) for i in range(4)]
        for claimer in claimers:
            assert claimer.stdout and claimer.stdout.readline() == "ready\n"
        for claimer in claimers:
            assert claimer.stdin
            claimer.stdin.write("go\n")
            claimer.stdin.flush()
        answers = [claimer.stdout.readline().split() for claimer in claimers if claimer.stdout]
        assert sorted(answer[0] for answer in answers) == ["busy", "busy", "busy", "mine"]
        assert [answer[1] for answer in answers if answer[0] == "mine"] == [str(epoch)]
        assert has_owner(store.reader, 1)
        with pytest.raises(RunBusy, match="claimer"):
            await store.claim(1, owner="me", at=1.0)
        for claimer in claimers:
            claimer.kill()
            claimer.communicate()
        assert not has_owner(store.reader, 1)
    await store.close()


async def test_who_takes_a_run_up_knows_when_its_last_owner_lived(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    mine = await begun(store, 1)
    folder = store.run_folder(mine.claim.run)
    assert folder is not None
    await store.release(mine.claim)
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    for at, seen in ((time.time() - 60.0, time.time() - 50.0), (booted - 1000.0, booted)):
        os.utime(folder / "lock", (at, at))
        claim = await store.claim(mine.claim.run, owner="next", at=1.0)
        assert claim.last_seen == pytest.approx(seen, abs=5.0)
        store.beat(claim)
        assert (folder / "lock").stat().st_mtime == pytest.approx(time.time(), abs=5.0)
        await store.release(claim)
    await store.close()


async def test_a_look_at_the_owner_never_keeps_one_from_claiming(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    await accepted(store)
    looking = python(
        "import sys\nfrom pathlib import Path\nfrom hostler.stores.ownership import owner_lives\n"
        "print('ready', flush=True)\n"
        "for _ in range(2_000_000): owner_lives(Path(sys.argv[1]))",
        tmp_path / "runs" / "1",
    )
    assert looking.stdout and looking.stdout.readline() == "ready\n"
    for _ in range(200):
        claim = await store.claim(1, owner="me", at=1.0)
        await store.release(claim)
    looking.kill()
    looking.communicate()
    await store.close()


# -- a full disk ----------------------------------------------------------------------------------------------


@pytest.fixture(params=["tmpfs", "rlimit"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A folder with room for about 2 MiB, and what makes more room."""
    if request.param == "rlimit":
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 21, before[1]))
        try:
            yield tmp_path, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        return
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "hostler-test", str(tmp_path)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting needs root; the limit on file sizes is tried instead")

    def more() -> None:
        subprocess.run(["mount", "-o", "remount,size=64m", str(tmp_path)], check=True)

    try:
        yield tmp_path, more
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


async def test_a_full_disk_stops_a_turn_that_can_be_written_once_there_is_room(
    small: tuple[Path, Callable[[], None]],
) -> None:
    folder, make_room = small
    store = open_store(folder)
    mine = await begun(store, 2_000)
    for number in range(1, 2_001):
        try:
            await mine.turn(dispatched(number), ended(number, detail="x" * 4_000))
        except StoreFull as error:
            why = str(error)
            break
    else:
        pytest.fail("2,000 turns found room in 2 MiB")
    assert number > 20 and str(folder) in why and "make room" in why
    with pytest.raises(StoreFull):
        await mine.turn(dispatched(number), ended(number, detail="x" * 4_000))
    assert (await counts(store, 1))["ok"] == number - 1
    make_room()
    for each in range(number, number + 100):
        await mine.turn(dispatched(each), ended(each, detail="x" * 4_000))
    assert (await counts(store, 1))["ok"] == number + 99
    await store.close()


async def test_a_batch_that_finds_no_room_is_refused_whole(small: tuple[Path, Callable[[], None]]) -> None:
    folder, make_room = small
    store = open_store(folder)
    with pytest.raises(StoreFull):
        await accepted(store, 100_000)
    assert await accepted(store, 3) == 1
    make_room()
    assert await counts(store, await accepted(store, 20_000, uid="b" * 32)) == {"queued": 20_000}
    await store.close()


async def test_output_that_finds_no_room_holds_the_turn_that_names_it(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    mine = await begun(store, 1)

    def no_room() -> None:
        raise StoreFull("out/1.dat: no room")

    turn = Turn(run=1, epoch=1, seq=mine.seq + 1, events=[dispatched(1), ended(1)])
    with pytest.raises(StoreFull, match="no room"):
        await store.commit(turn, before=no_room)
    assert await counts(store, 1) == {"queued": 1}
    synced: list[str] = []
    await store.commit(turn, before=lambda: synced.append("synced"))
    assert synced == ["synced"] and await counts(store, 1) == {"ok": 1}
    await store.close()


# -- other processes ------------------------------------------------------------------------------------------


async def test_a_turn_waits_for_another_writer_without_stopping_the_loop(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    mine = await begun(store, 2)
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    turn = asyncio.create_task(mine.turn(dispatched(1)))
    beats = 0
    for _ in range(20):
        await asyncio.sleep(0.01)
        beats += 1
    assert not turn.done() and beats == 20
    other.execute("COMMIT")
    await asyncio.wait_for(turn, 30)
    other.close()
    assert await counts(store, 1) == {"queued": 1, "open": 1}
    await store.close()


async def test_a_reader_sees_commits_only_and_keeps_no_writer_waiting(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    mine = await begun(store, 3)
    reader = open_reader(tmp_path)
    version = reader.version()
    with reader.moment():
        assert run(reader, 1).counts == {"queued": 3}
        await mine.turn(dispatched(1))
        assert run(reader, 1).counts == {"queued": 3}
    assert run(reader, 1).counts == {"queued": 2, "open": 1}
    assert reader.version() != version

    def source() -> Iterator[tuple[tuple[bytes, ...], bytes]]:
        yield from number_jobs(12_000)
        assert run(reader, 1).counts == {"queued": 2, "open": 1}
        assert reader.one("SELECT count(*) FROM run") == (1,)

    await accepted(store, source(), uid="b" * 32)
    assert reader.one("SELECT count(*) FROM job") == (12_003,)
    with pytest.raises(StoreError, match="readonly"):
        reader.one("DELETE FROM job")
    reader.close()
    await store.close()


async def test_a_reader_comes_after_a_clean_end_and_after_a_crash(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    await accepted(store, 3)
    await store.close()
    assert not (tmp_path / (FILE + "-wal")).exists()
    reader = open_reader(tmp_path)
    assert run(reader, 1).counts == {"queued": 3}
    reader.close()
    process = python(WRITER, tmp_path)
    assert process.stdout
    process.stdout.readline()
    process.kill()
    process.communicate()
    reader = open_reader(tmp_path)
    assert sum(run(reader, 1).counts.values()) == 3
    assert not has_owner(reader, 1)
    reader.close()


async def test_a_cancelled_commit_leaves_a_store_that_goes_on(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    mine = await begun(store, 40)
    for number in range(1, 41):
        task = asyncio.create_task(mine.turn(dispatched(number)))
        for _ in range(number % 4):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        row = store.reader.one("SELECT seq FROM run WHERE number = 1")
        assert row is not None
        mine.seq = row[0]
    by_state = await counts(store, 1)
    assert sum(by_state.values()) == 40 and by_state["open"] == mine.seq - 2
    await store.close()


# -- a million jobs -------------------------------------------------------------------------------------------

BIG = """
import asyncio, resource, sys
from pathlib import Path
from tests.contract.store_making import accepted, counts
from hostler.stores.sqlite import open_store
from hostler.stores.reads.runs import runs

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

async def main():
    store = open_store(Path(sys.argv[1]))
    await accepted(store, 100, uid="0" * 32)
    await store.batch_rows(1)
    before = peak()
    number = await accepted(store, int(sys.argv[2]))
    after = peak()
    assert (await store.batch_rows(number)).counts[0] == int(sys.argv[2])
    assert len(await store.queued(number, after=(0, 500), limit=1000)) == 1000
    assert runs(store.reader)[0].counts == {"queued": int(sys.argv[2])}
    print((after - before) // 1024, (peak() - before) // 1024, flush=True)
    await store.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("jobs", [200_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_a_long_list_of_jobs_takes_little_memory(tmp_path: Path, jobs: int) -> None:
    process = python(BIG, tmp_path, jobs)
    answer, _ = process.communicate()
    accepting, reading = map(int, answer.split())
    assert accepting <= 30 and reading <= 40, f"{accepting} MiB, {reading} MiB"
