"""What is found where the store should be: nothing, a good one, an old one, a newer one, or something else."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hostler.errors import StoreError
from hostler.model.jobs import JobState, Queued
from hostler.stores.migrating import migrate
from hostler.stores.reads.events import events
from hostler.stores.reads.runs import runs
from hostler.stores.schema import sqlite_text
from hostler.stores.sqlite import open_store
from hostler.stores.sqlite_reading import FILE, open_reader
from hostler.stores.versions import APPLICATION, VERSION
from tests.contract.store_making import accepted, begun, counts, dispatched, ended, waiting, writer

GOLDEN = Path(__file__).parents[1] / "golden"


async def filled(folder: Path, jobs: int = 500) -> Path:
    """A good store in `folder`; its file."""
    store = open_store(folder)
    mine = await begun(store, jobs)
    await mine.turn(dispatched(1), ended(1))
    await store.close()
    return folder / FILE


def tables(db: sqlite3.Connection) -> dict[str, str]:
    """What makes up a database, by name, whatever the blanks."""
    rows = db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {name: " ".join(sql.split()) for name, sql in rows}


async def test_a_missing_store_is_made_private_and_durable(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = open_store(tmp_path)
        mine = await begun(store, 3)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {
        FILE: 0o600,
        f"{FILE}-wal": 0o600,
        f"{FILE}-shm": 0o600,
        "runs": 0o700,
        "1": 0o700,
        "lock": 0o600,
    }
    assert store.reader.one("PRAGMA journal_mode") == ("wal",)
    assert mine.claim.epoch == 1
    await store.close()


async def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    store = open_store(tmp_path)
    assert await counts(store, await accepted(store, 2)) == {"queued": 2}
    await store.close()


def flipped(file: Path) -> None:
    """Spoil every page but the first."""
    data = bytearray(file.read_bytes())
    for place in range(4096, len(data), 64):
        data[place] ^= 0xFF
    file.write_bytes(data)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_bytes(b"this is no database, whatever its name says\n" * 100),
        lambda file: file.write_bytes(os.urandom(100_000)),
        lambda file: os.truncate(file, 6000),
        lambda file: os.truncate(file, 10),
        lambda file: file.write_bytes(bytes(4096) + file.read_bytes()[4096:]),
        flipped,
    ],
    ids=["text", "noise", "cut in a page", "cut in the header", "first page of zeros", "flipped bytes"],
)
async def test_a_damaged_store_is_told_in_one_line_that_says_what_to_do(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    file = await filled(tmp_path)
    spoil(file)
    before = file.read_bytes()

    async def use() -> None:
        store = open_store(tmp_path)
        try:
            await store.batch_rows(1)
            list(events(store.reader, 1))
            mine = await writer(store, 1)
            for job in range(2, 500):
                await mine.turn(dispatched(job))
        finally:
            await store.close()

    with pytest.raises(StoreError) as caught:
        await use()
    assert str(file) in str(caught.value) and "HOSTLER_STATE_DIR" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert file.read_bytes() == before or spoil is flipped


async def test_damage_left_by_an_unclean_end_is_found_at_once(tmp_path: Path) -> None:
    file = await filled(tmp_path)
    flipped(file)
    (tmp_path / f"{FILE}-wal").write_bytes(b"torn")
    with pytest.raises(StoreError, match="damaged"):
        open_store(tmp_path)


@pytest.mark.parametrize("what", ["folder", "other program's", "newer"])
async def test_what_is_not_our_store_is_refused_and_left_as_it_is(tmp_path: Path, what: str) -> None:
    file = tmp_path / FILE
    if what == "folder":
        file.mkdir()
        words = "can't be used"
    else:
        db = sqlite3.connect(file)
        db.execute("CREATE TABLE recipe (name TEXT)")
        if what == "newer":
            db.execute(f"PRAGMA application_id = {APPLICATION}")
            db.execute(f"PRAGMA user_version = {VERSION + 6}")
        db.commit()
        db.close()
        words = f"newer hostler .store version {VERSION + 6}" if what == "newer" else "some other program's"
    for opening in (open_store, open_reader):
        with pytest.raises(StoreError, match=words) as caught:
            opening(tmp_path)
        assert "HOSTLER_STATE_DIR" in str(caught.value)
    if what != "folder":
        assert tables(sqlite3.connect(file)) == {"recipe": "CREATE TABLE recipe (name TEXT)"}


def test_reading_where_there_is_no_store_makes_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store yet"):
        open_reader(tmp_path)
    assert not (tmp_path / FILE).exists()


def test_a_folder_that_can_not_be_written_to_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="HOSTLER_STATE_DIR"):
        open_store(tmp_path / "missing")


# Six processes open each of twenty folders that have no store yet, at the same moment.
MAKERS = """
import os, sys, traceback
from pathlib import Path
from hostler.stores.sqlite import open_store

failed = 0
for number in range(20):
    folder = Path(sys.argv[1], str(number))
    folder.mkdir()
    starting, start = os.pipe()
    children = []
    for _ in range(6):
        child = os.fork()
        if child == 0:
            os.close(start)
            os.read(starting, 1)
            try:
                assert open_store(folder).reader.one("SELECT count(*) FROM run") == (0,)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    os.close(starting)
    os.close(start)
    failed += sum(os.waitpid(child, 0)[1] != 0 for child in children)
print("failed", failed)
"""


def test_several_processes_may_make_the_store_at_once(tmp_path: Path) -> None:
    paths = os.pathsep.join(path for path in sys.path if path)
    answer = subprocess.run(
        [sys.executable, "-c", MAKERS, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert answer.stdout == "failed 0\n", answer.stderr
    assert {path.name.split("-")[0] for path in tmp_path.glob("*/*")} == {FILE}


# -- versions -------------------------------------------------------------------------------------------------


def test_the_tables_in_sqlites_words_are_those_of_the_schema() -> None:
    from hostler.stores import schema

    assert schema.__file__ is not None
    kept = Path(schema.__file__).with_name("schema.sql").read_text()
    assert kept == sqlite_text(), "python -m hostler.stores.schema > schema.sql"


async def test_an_empty_database_is_migrated_to_what_a_new_store_is(tmp_path: Path) -> None:
    migrate(tmp_path / "old.db", version=VERSION)
    old = sqlite3.connect(tmp_path / "old.db")
    new = sqlite3.connect(await filled(tmp_path))
    assert tables(old) == tables(new)
    for db in (old, new):
        assert db.execute("SELECT version_num FROM alembic_version").fetchall() == [(f"{VERSION:04}",)]
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION,)
        db.close()


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / FILE
    db = sqlite3.connect(file)
    db.execute("CREATE TABLE worker (name TEXT)")
    db.commit()
    db.close()
    with pytest.raises(StoreError, match="is as it was"):
        migrate(file, version=VERSION)
    assert tables(sqlite3.connect(file)) == {"worker": "CREATE TABLE worker (name TEXT)"}


def test_every_version_has_its_golden_store() -> None:
    names = [f"store-{version:04}.db" for version in range(1, VERSION + 1)]
    assert sorted(path.name for path in GOLDEN.glob("store-*.db")) == names


@pytest.mark.parametrize("golden", sorted(GOLDEN.glob("store-*.db")), ids=lambda path: path.stem)
async def test_a_store_of_every_version_is_read_and_gone_on_with(tmp_path: Path, golden: Path) -> None:
    shutil.copy(golden, tmp_path / FILE)
    store = open_store(tmp_path)
    two, one = runs(store.reader)
    assert (one.number, one.state, one.exit_code, one.command) == (
        1,
        "stopped",
        130,
        "hostler batch -- convert {}",
    )
    assert one.counts == {"queued": 2, "ok": 1, "failed": 1}
    assert (two.state, two.counts) == ("running", {"open": 1, "lost": 1})
    assert await waiting(store, 1) == [Queued(3, (b"3",), 0, 1), Queued(4, (b"4",))]
    assert [seq for seq, _ in events(store.reader, 1)] == list(range(1, 18))
    rows = await store.batch_rows(2)
    assert [(each.job, each.n, each.args, each.started) for each in rows.open] == [
        (2, 1, (b"", b"\xff\n"), True)
    ]
    assert rows.counts[JobState.LOST] == 1
    mine = await writer(store, 2)
    assert mine.claim.epoch == 2
    await mine.turn(ended(2))
    assert await counts(store, 2) == {"lost": 1, "ok": 1}
    await store.close()


# -- what it costs --------------------------------------------------------------------------------------------


def test_a_store_is_made_and_opened_without_the_heavy_libraries(tmp_path: Path) -> None:
    code = (
        "import sys, asyncio\nfrom pathlib import Path\n"
        "from tests.contract.store_making import begun, dispatched, ended, counts\n"
        "from hostler.stores.sqlite import open_store\nfrom hostler.stores.sqlite_reading import open_reader\n"
        "from hostler.stores.reads import attempts, events, report, runs\n"
        "from hostler.stores import outputs\n"
        "async def main():\n"
        "    store = open_store(Path(sys.argv[1]))\n"
        "    mine = await begun(store)\n"
        "    await mine.turn(dispatched(1), ended(1))\n"
        "    await store.close()\n"
        "    open_reader(Path(sys.argv[1])).close()\n"
        "asyncio.run(main())\n"
        "print([name for name in ('sqlalchemy', 'alembic', 'pydantic', 'asyncssh', 'rich') if name in sys.modules])"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
        check=True,
    )
    assert answer.stdout.strip() == "[]"


async def test_two_stores_of_one_process_keep_their_locks_to_themselves(tmp_path: Path) -> None:
    """SQLite's locks are the process's: a second opening and closing must not drop the first one's."""
    store = open_store(tmp_path)
    mine = await begun(store, 3)
    other = open_store(tmp_path)
    assert await counts(other, 1) == {"queued": 3}
    await other.close()
    open_reader(tmp_path).close()
    await mine.turn(dispatched(1))
    await asyncio.gather(mine.turn(ended(1)), store.batch_rows(1))
    assert await counts(store, 1) == {"queued": 2, "ok": 1}
    await store.close()
