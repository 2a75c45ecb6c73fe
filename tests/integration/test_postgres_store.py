"""The store in PostgreSQL beyond the contract: what becomes of it when sessions end, and whose tables it takes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from hostler.clock import SystemClock
from hostler.errors import RunBusy, StaleEpoch, StoreError, StoreFull, Unheard, UsageError
from hostler.model.events import HostStruck
from hostler.model.runs import BatchSpec
from hostler.model.storeurls import StoreUrl
from hostler.ports import Turn
from hostler.stores.choosing import existing_store, open_reader, open_store
from hostler.stores.reads.attempts import unfinished
from hostler.stores.reads.runs import has_owner, run, runs
from hostler.stores.store import RowStore
from hostler.stores.unheard import look_for
from hostler.stores.versions import VERSION
from tests.contract.store_making import AT, accepted, begun, counts, dispatched, ended, writer
from tests.lab import wait_until
from tests.own_postgres import OwnPostgres, emptied, postgres

__all__ = ["emptied", "postgres"]
NUMBERS = count(1)
UID = "d" * 32


@pytest.fixture
async def store(emptied: StoreUrl, tmp_path: Path) -> AsyncIterator[RowStore]:
    store = open_store(tmp_path / "one", url=emptied)
    yield store
    await store.close()


@pytest.fixture
async def other(emptied: StoreUrl, tmp_path: Path) -> AsyncIterator[RowStore]:
    """The same store from another machine."""
    store = open_store(tmp_path / "other", url=emptied)
    yield store
    await store.close()


@pytest.fixture
def fresh(postgres: OwnPostgres) -> StoreUrl:
    """A database with nothing in it."""
    return StoreUrl.parse(postgres.make(f"fresh{next(NUMBERS)}"))


def cut_off(postgres: OwnPostgres) -> None:
    """End every session at the server but ours."""
    postgres.says(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' "
        "AND pid <> pg_backend_pid()"
    )


class Wire:
    """A socket in front of the server's, which can be cut right before an answer comes through."""

    def __init__(self, folder: Path, server: Path) -> None:
        folder.mkdir()
        self.folder, self._server, self.armed, self.cuts = folder, server, False, 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        #: Done, once, when the first word to commit comes through.
        self.at_commit: Callable[[], None] | None = None
        threading.Thread(target=self._serve, daemon=True).start()

    def arm(self) -> None:
        """Let the next thing that is said through to the server, and its answer not."""
        self.armed = True

    def cut(self) -> None:
        """Let nothing more through."""
        raise ConnectionError

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                try:
                    far.connect(str(self._server / ".s.PGSQL.5432"))
                except OSError:
                    near.close()
                    continue
                for one, two, answers in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self._pass, args=(one, two, answers), daemon=True).start()

    def _pass(self, one: socket.socket, two: socket.socket, answers: bool) -> None:
        prepared = False
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                if answers and self.armed:
                    self.armed, self.cuts = False, self.cuts + 1
                    break
                if not answers:
                    if prepared and self.at_commit:
                        then, self.at_commit = self.at_commit, None
                        then()
                    # The statement goes ahead of the word to do it.
                    prepared = b"COMMIT\0" in data
                two.sendall(data)
        for each in (one, two):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def wire(postgres: OwnPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    made = Wire(Path(tmp_path_factory.mktemp("w")) / "s", postgres.folder)
    yield made
    made.close()


# -- turns -------------------------------------------------------------------------------------------------


async def test_a_turn_whose_commit_was_made_and_not_heard_is_neither_refused_nor_written_twice(
    emptied: StoreUrl, wire: Wire, tmp_path: Path
) -> None:
    store = open_store(tmp_path, url=StoreUrl.parse(f"postgresql://hostler@/emptied?host={wire.folder}"))
    mine = await begun(store, 3)
    turn = Turn(run=mine.claim.run, epoch=mine.claim.epoch, seq=mine.seq + 1, events=[dispatched(1)])
    with pytest.raises(StoreFull, match="can't be reached for the moment"):
        await store.commit(turn, before=wire.arm)
    assert wire.cuts == 1
    await store.commit(turn)
    assert await counts(store, mine.claim.run) == {"queued": 2, "open": 1}
    mine.seq += 1
    await mine.turn(ended(1), dispatched(2))
    assert await counts(store, mine.claim.run) == {"queued": 1, "open": 1, "ok": 1}
    await store.close()


async def submitted(store: RowStore) -> int:
    """Accept a batch of two jobs."""
    jobs = (((name,), name) for name in (b"a", b"b"))
    return await store.create_batch(
        uid=UID, spec=BatchSpec(), command="c", hosts=[], tokens=[], jobs=jobs, at=AT
    )


@pytest.fixture
async def wired(emptied: StoreUrl, wire: Wire, tmp_path: Path) -> AsyncIterator[RowStore]:
    """The store by a wire that can be cut."""
    store = open_store(tmp_path, url=StoreUrl.parse(f"postgresql://hostler@/emptied?host={wire.folder}"))
    yield store
    await store.close()


async def test_a_batch_whose_commit_was_made_and_not_heard_is_found_and_gone_on_with(
    wired: RowStore, wire: Wire
) -> None:
    wire.at_commit = wire.arm
    number = await submitted(wired)
    assert wire.cuts == 1
    assert [(row.number, row.uid) for row in runs(wired.reader)] == [(number, UID)]
    assert await counts(wired, number) == {"queued": 2}


async def test_a_batch_whose_commit_never_reached_the_server_is_said_not_to_be_accepted(
    wired: RowStore, wire: Wire
) -> None:
    wire.at_commit = wire.cut
    with pytest.raises(StoreFull, match=r"no batch was accepted$"):
        await submitted(wired)
    assert runs(wired.reader) == []  # looking for it has left nothing behind either
    assert await counts(wired, await submitted(wired)) == {"queued": 2}


async def test_a_batch_that_is_cut_off_earlier_is_said_not_to_be_accepted(
    store: RowStore, postgres: OwnPostgres
) -> None:
    def jobs() -> Iterator[tuple[tuple[bytes, ...], bytes]]:
        cut_off(postgres)
        yield (b"a",), b"a"

    with pytest.raises(StoreFull, match=r"no batch was accepted$"):
        await store.create_batch(
            uid=UID, spec=BatchSpec(), command="c", hosts=[], tokens=[], jobs=jobs(), at=AT
        )


async def test_a_batch_whose_server_stays_away_may_have_been_accepted_and_what_tells_is_told(
    wired: RowStore, wire: Wire, postgres: OwnPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hostler.stores.store.PATIENCE", 0.5)
    wire.at_commit = lambda: postgres.stop(how="immediate")
    try:
        with pytest.raises(StoreError, match=f"is unknown; .* this tells: hostler status {UID}$") as told:
            await submitted(wired)
        assert not isinstance(told.value, StoreFull)
    finally:
        postgres.start()
    assert runs(wired.reader) == []


async def test_a_batch_whose_old_session_has_not_ended_is_waited_for(
    store: RowStore, wired: RowStore, wire: Wire
) -> None:
    reached, go = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        assert go.wait(30)

    wire.at_commit = hold
    slow = asyncio.create_task(submitted(wired))
    assert await asyncio.to_thread(reached.wait, 30)
    database, error = store._db, Unheard("cut off")
    looking = asyncio.create_task(look_for(database, UID, clock=SystemClock(), error=error, patience=30.0))
    done, _ = await asyncio.wait([looking], timeout=0.5)
    assert not done
    go.set()
    assert await looking == await slow


async def test_a_turn_that_was_cut_off_before_its_commit_is_written_once(
    store: RowStore, postgres: OwnPostgres
) -> None:
    mine = await begun(store, 3)
    turn = Turn(run=mine.claim.run, epoch=mine.claim.epoch, seq=mine.seq + 1, events=[dispatched(1)])
    with pytest.raises(StoreFull):
        await store.commit(turn, before=lambda: cut_off(postgres))
    await store.commit(turn)
    assert await counts(store, mine.claim.run) == {"queued": 2, "open": 1}


async def test_while_the_server_is_away_writing_and_asking_may_be_tried_again(
    store: RowStore, postgres: OwnPostgres, emptied: StoreUrl, tmp_path: Path
) -> None:
    mine = await begun(store, 2)
    postgres.stop(how="immediate")
    try:
        for _ in range(2):
            with pytest.raises(StoreFull):
                await mine.turn(dispatched(1))
            with pytest.raises(StoreFull):
                await store.queued(mine.claim.run, after=(0, 0), limit=5)
        with pytest.raises(StoreFull):
            open_store(tmp_path, url=emptied)
    finally:
        postgres.start()
    await mine.turn(dispatched(1))
    assert await counts(store, mine.claim.run) == {"queued": 1, "open": 1}
    assert [row.number for row in runs(store.reader)] == [mine.claim.run]


async def test_what_hosts_say_is_kept_though_it_holds_what_no_text_there_can(store: RowStore) -> None:
    mine = await begun(store, 1)
    await mine.turn(HostStruck(at=AT, worker=1, why="a\0b"), dispatched(1))
    await mine.turn(ended(1, detail="\0"))
    assert await counts(store, mine.claim.run) == {"ok": 1}


async def test_a_long_answer_is_taken_piece_by_piece_and_is_of_one_moment(store: RowStore) -> None:
    mine = await begun(store, 2_000)
    rows = unfinished(store.reader, mine.claim.run)
    first = next(rows)
    await mine.turn(*(dispatched(job) for job in range(1, 2_001)))
    await mine.turn(*(ended(job) for job in range(1, 2_001)))
    assert [first, *rows] == list(range(1, 2_001))
    assert list(unfinished(store.reader, mine.claim.run)) == []


# -- owners ------------------------------------------------------------------------------------------------


async def test_a_run_has_one_owner_over_all_machines(store: RowStore, other: RowStore) -> None:
    mine = await begun(store, 2)
    number = mine.claim.run
    assert has_owner(other.reader, number)
    silent = other.reader.silent(number)
    assert silent is not None and silent < 3600  # by the database's own clock
    with pytest.raises(RunBusy, match=r"me \(pid 1\)"):
        await writer(other, number, owner="you")
    await store.release(mine.claim)
    assert not has_owner(other.reader, number)
    theirs = await writer(other, number, owner="you")
    assert theirs.claim.epoch == 2
    with pytest.raises(StaleEpoch):
        await mine.turn(dispatched(1))
    with pytest.raises(RunBusy, match="you"):
        await writer(store, number)


async def test_who_dies_loses_its_run_at_once(store: RowStore, emptied: StoreUrl, tmp_path: Path) -> None:
    number = await accepted(store, 2)
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, emptied.text, str(tmp_path / "dying"), str(number)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stdout=subprocess.PIPE,
    )
    assert owner.stdout is not None
    try:
        assert owner.stdout.readline() == b"mine\n"
        assert has_owner(store.reader, number)
        with pytest.raises(RunBusy):
            await writer(store, number)
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()
    wait_until(lambda: not has_owner(store.reader, number), what="the end of a lock whose holder is dead")
    mine = await writer(store, number)
    assert (mine.claim.epoch, run(store.reader, number).owner) == (2, "me (pid 1)")
    seen = mine.claim.last_seen
    assert seen is not None
    [(age,)] = [store.reader.one("SELECT extract(epoch FROM clock_timestamp())") or (0,)]
    assert -60 < float(age) - seen < 60


OWNER = """
import asyncio, sys
from pathlib import Path
from hostler.model.storeurls import StoreUrl
from hostler.stores.choosing import open_store

async def main():
    store = open_store(Path(sys.argv[2]), url=StoreUrl.parse(sys.argv[1]))
    await store.claim(int(sys.argv[3]), owner="dying", at=0.0)
    print("mine", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_who_was_cut_off_owns_its_run_again_before_it_writes(
    store: RowStore, other: RowStore, postgres: OwnPostgres
) -> None:
    mine = await begun(store, 2)
    number = mine.claim.run
    cut_off(postgres)
    wait_until(lambda: not has_owner(other.reader, number), what="the end of a session that was ended")
    await mine.turn(dispatched(1))
    assert has_owner(other.reader, number)
    with pytest.raises(RunBusy):
        await writer(other, number)


async def test_who_was_cut_off_while_another_took_over_writes_nothing(
    store: RowStore, other: RowStore, postgres: OwnPostgres
) -> None:
    mine = await begun(store, 2)
    cut_off(postgres)
    wait_until(lambda: not has_owner(other.reader, mine.claim.run), what="the end of a session")
    theirs = await writer(other, mine.claim.run, owner="you")
    with pytest.raises(StaleEpoch, match="taken over"):
        await mine.turn(dispatched(1))
    await other.release(theirs.claim)
    with pytest.raises(StaleEpoch):
        await mine.turn(dispatched(1))


async def test_who_is_cut_off_waits_while_its_older_session_still_holds_the_run(
    store: RowStore, emptied: StoreUrl, wire: Wire, tmp_path: Path
) -> None:
    mine = await begun(open_store(tmp_path, url=StoreUrl.parse(wire_url(wire))), 2)
    number, blocker = mine.claim.run, None
    with pytest.raises(StoreFull):
        await mine.store.commit(
            Turn(run=number, epoch=1, seq=mine.seq + 1, events=[dispatched(1)]), before=wire.arm
        )
    # A session that holds the lock and belongs to nobody who raised the epoch: ours of before, as the server sees it.
    wait_until(lambda: not has_owner(store.reader, number), what="the end of a session that was cut")
    blocker = await store._db.hold(number)
    assert blocker is not None
    mine.seq += 1
    with pytest.raises(StoreFull, match="has not ended yet"):
        await mine.turn(dispatched(2))
    blocker.drop()
    await mine.turn(dispatched(2))
    assert await counts(store, number) == {"open": 2}
    await mine.store.close()


def wire_url(wire: Wire) -> str:
    return f"postgresql://hostler@/emptied?host={wire.folder}"


async def test_what_was_committed_elsewhere_changes_the_version(store: RowStore, other: RowStore) -> None:
    mine = await begun(store, 1)
    seen = other.reader.version()
    assert other.reader.version() == seen
    await mine.turn(dispatched(1))
    assert other.reader.version() != seen


# -- opening -----------------------------------------------------------------------------------------------


def test_looking_where_there_is_no_store_makes_none(
    fresh: StoreUrl, postgres: OwnPostgres, tmp_path: Path
) -> None:
    assert open_reader(tmp_path, url=fresh) is None
    assert existing_store(tmp_path, url=fresh) is None
    assert tables(postgres, fresh) == []


def tables(postgres: OwnPostgres, url: StoreUrl) -> list[str]:
    """The tables of a database."""
    name = url.shown.split("?")[0].rpartition("/")[2]
    return [
        row[0] for row in postgres.says("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", name)
    ]


async def test_the_tables_that_migrations_make_are_those_of_the_schema(
    fresh: StoreUrl, tmp_path: Path
) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    from hostler.stores.postgres.connecting import connect
    from hostler.stores.schema import metadata

    await open_store(tmp_path, url=fresh).close()
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: connect(fresh, plain=True), poolclass=NullPool
    )
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


@pytest.mark.parametrize("version", range(1, VERSION))
async def test_an_older_store_is_brought_up_to_date(fresh: StoreUrl, tmp_path: Path, version: int) -> None:
    from hostler.stores.migrating import upgrade
    from hostler.stores.postgres.connecting import connect
    from hostler.stores.postgres.opening import MARK

    upgrade(
        "postgresql+psycopg://",
        lambda: connect(fresh, plain=True),
        begin=[],
        end=[f"COMMENT ON TABLE alembic_version IS '{MARK}'"],
        version=version,
        failed=str,
    )
    reader = open_reader(tmp_path, url=fresh)
    assert reader is not None and reader.all("SELECT version_num FROM alembic_version") == [
        (f"{VERSION:04}",)
    ]
    reader.close()
    store = open_store(tmp_path, url=fresh)
    await begun(store, 1)
    await store.close()


async def test_several_processes_may_make_the_store_at_once(fresh: StoreUrl, tmp_path: Path) -> None:
    def made(number: int) -> None:
        asyncio.run(open_store(tmp_path / str(number), url=fresh).close())

    await asyncio.gather(*(asyncio.to_thread(made, number) for number in range(3)))
    reader = open_reader(tmp_path, url=fresh)
    assert reader is not None and runs(reader) == []
    reader.close()


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("CREATE TABLE theirs (a int)", "holds tables of some other program"),
        ("CREATE TABLE alembic_version (version_num text)", "holds tables of some other program"),
        ("DROP SCHEMA public", "no schema of its search path"),
    ],
)
def test_what_is_not_ours_is_refused_and_left_as_it_is(
    postgres: OwnPostgres, fresh: StoreUrl, tmp_path: Path, sql: str, words: str
) -> None:
    postgres.says(sql, fresh.shown.split("?")[0].rpartition("/")[2])
    before = tables(postgres, fresh)
    for opened in (open_store, open_reader):
        with pytest.raises(StoreError, match=words):
            opened(tmp_path, url=fresh)
    assert tables(postgres, fresh) == before


async def test_a_store_of_a_newer_hostler_is_refused(
    postgres: OwnPostgres, fresh: StoreUrl, tmp_path: Path
) -> None:
    await open_store(tmp_path, url=fresh).close()
    name = fresh.shown.split("?")[0].rpartition("/")[2]
    postgres.says(f"UPDATE alembic_version SET version_num = '{VERSION + 6:04}'", name)
    with pytest.raises(StoreError, match=f"newer hostler .store version {VERSION + 6}"):
        open_reader(tmp_path, url=fresh)


async def test_stores_in_two_schemas_of_one_database_keep_apart(
    postgres: OwnPostgres, fresh: StoreUrl, tmp_path: Path
) -> None:
    name = fresh.shown.split("?")[0].rpartition("/")[2]
    mine = []
    for schema in ("one", "two"):
        postgres.says(f"CREATE SCHEMA {schema}", name)
        url = StoreUrl.parse(postgres.url(name, options=f"-csearch_path%3D{schema}"))
        mine.append(await begun(open_store(tmp_path, url=url), 1))
    assert [each.claim.run for each in mine] == [1, 1]
    await mine[0].turn(dispatched(1))
    assert await counts(mine[1].store, 1) == {"queued": 1}
    for each in mine:
        await each.store.close()


def test_a_server_that_does_not_sync_is_refused(postgres: OwnPostgres, tmp_path: Path) -> None:
    def refused() -> bool:
        try:
            open_reader(tmp_path, url=StoreUrl.parse(postgres.url()))
        except StoreError as error:
            return "fsync or full_page_writes off" in str(error)
        return False

    postgres.set("full_page_writes", "off")
    try:
        wait_until(refused, what="the server's taking of a setting")
    finally:
        postgres.set("full_page_writes", "on")
        wait_until(lambda: not refused(), what="the server's taking of a setting")


@pytest.mark.parametrize(
    "text",
    ["", "x", "sqlite:///a", "mysql://a/b", "postgresql:/a", "postgresql://a\nb", "postgresql://[::1/x"],
)
def test_what_is_no_url_of_a_store_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(UsageError, match="store") as refused:
        StoreUrl.parse(text)
    assert not text or text not in str(refused.value).replace("postgresql://[USER@]", "")


@pytest.mark.parametrize(
    ("text", "shown", "secret"),
    [
        ("postgresql://h/d", "postgresql://h/d", False),
        ("postgres://ann@h:5433/d", "postgresql://ann@h:5433/d", False),
        ("postgresql://ann:s3:cr@t@h/d", "postgresql://ann@h/d", True),
        ("postgresql://ann:@h", "postgresql://ann@h", True),
        ("postgresql:///d?host=/tmp/x&password=p", "postgresql:///d?host=/tmp/x", True),
        ("postgresql://h/d?sslpassword=p&sslkey=/k", "postgresql://h/d", True),
        ("postgresql://?service=fleet", "postgresql://?service=fleet", False),
    ],
)
def test_a_url_is_shown_without_its_password(text: str, shown: str, secret: bool) -> None:
    url = StoreUrl.parse(text)
    assert (url.shown, url.secret, url.text) == (shown, secret, text)
    assert "s3" not in repr(url)


async def test_the_server_knows_of_many_jobs_before_it_is_asked_for_one(
    fresh: StoreUrl, tmp_path: Path
) -> None:
    store = open_store(tmp_path, url=fresh)
    await begun(store, 12_000)
    assert store.reader.one("SELECT reltuples FROM pg_class WHERE relname = 'job'") == (12_000.0,)
    plan = store.reader.all("EXPLAIN SELECT 1 FROM job WHERE run = 1 AND seq = 11999 AND state = 0")
    assert "job_pkey" in str(plan), plan
    await store.close()
