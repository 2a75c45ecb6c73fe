"""Each host's file tells what it did, and is the same whether hostler was killed on the way or not."""

from __future__ import annotations

import random
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from hostler.model.endings import Ended
from hostler.model.events import AttemptEnded
from hostler.model.jobs import Ending, JobState
from hostler.stores.opening import connect
from hostler.stores.outputs import read_both, tail
from hostler.stores.reading import Reader
from hostler.stores.reads import endings
from hostler.views import workerlogs
from hostler.views.workerlogs import LONG, WorkerLogs, file_name
from tests.unit.stories import Story
from tests.unit.test_cli_looking import mixed
from tests.unit.test_cli_looking import state as state


class Later:
    """What was put off, until the test wants it."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def __call__(self, seconds: float, call: Callable[[], None]) -> None:
        self.waiting.append(call)

    def now(self) -> None:
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            call()


class Files:
    """The files of run 1, as a controller would keep them in `folder`."""

    def __init__(self, state: Path, folder: Path, later: Later | None = None) -> None:
        self.reader = Reader(connect(state / "store.db", read_only=True), place="store", folder=state)
        self.said: list[str] = []
        run_folder = state / "runs" / "1"
        self.logs = WorkerLogs(
            folder,
            run=1,
            fetch=partial(endings.ended, self.reader, 1),
            command=lambda ended: f"echo {ended.args[0].decode()}",
            read=partial(read_both, run_folder),
            tail=partial(tail, run_folder),
            later=later or Later(),
            say=self.said.append,
        )

    def begin(self) -> None:
        """Bring the files up to date."""
        self.logs.begin(endings.all_ended(self.reader, 1))


def begun(state: Path, folder: Path, *, later: Later | None = None) -> Files:
    """Files that are up to date."""
    files = Files(state, folder, later)
    files.begin()
    return files


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.glob("*.log"))}


N1 = """\
== job 1/1: echo a
hello a
warning
== job 1/1: ok after 2.0s, 2026-01-02 04:04:07
== job 2/1: echo b c
first try
== job 2/1: exit 3 after 0.5s, 2026-01-02 04:04:07
== job 3/2: echo d
== job 3/2: ok after 4.0s, 2026-01-02 04:04:11
== job 4/1: echo e
<FF>^[[2J no newline
== job 4/1: ok after 1.0s, 2026-01-02 04:04:12
"""
N2 = """\
== job 2/2: echo b c
no space left
== job 2/2: exit 3 after 0.2s, 2026-01-02 04:04:07
== job 3/1: echo d
== job 3/1: lost: n2 was rebooted, 2026-01-02 04:04:07
"""


async def test_a_hosts_file_tells_each_attempt_with_its_output_in_the_order_of_their_ends(
    state: Path, tmp_path: Path
) -> None:
    await mixed(state)
    begun(state, tmp_path / "workers")
    assert texts(tmp_path / "workers") == {"n1.log": N1, "n2.log": N2}


async def test_attempts_are_added_as_they_end_some_times_a_second(state: Path, tmp_path: Path) -> None:
    story, later = await Story.begin(state, jobs=["a", "b"]), Later()
    files = begun(state, tmp_path / "workers", later=later)
    assert texts(tmp_path / "workers") == {}
    for job in (1, 2):
        await story.start(job)
        await story.end(job, out=b"out\n")
        files.logs.saw([AttemptEnded(at=0.0, job=job, n=1, ending=Ending.OK, then=JobState.OK, tries=0)])
    assert texts(tmp_path / "workers") == {} and len(later.waiting) == 1
    later.now()
    once = texts(tmp_path / "workers")["n1.log"]
    assert once.count("== job 1/1") == once.count("== job 2/1") == once.count("\n") / 3 == 2
    files.logs.flush()
    assert texts(tmp_path / "workers")["n1.log"] == once
    await story.leave()


async def test_attempts_that_were_taken_back_are_not_told_of(state: Path, tmp_path: Path) -> None:
    story, later = await Story.begin(state), Later()
    files = begun(state, tmp_path / "workers", later=later)
    await story.whole(1, Ending.REVOKED, then=JobState.QUEUED)
    files.logs.saw([AttemptEnded(at=0.0, job=1, n=1, ending=Ending.REVOKED, then=JobState.QUEUED, tries=0)])
    assert not later.waiting
    begun(state, tmp_path / "again")
    assert texts(tmp_path / "again") == {}
    await story.leave()


async def test_the_files_are_private_and_closed(state: Path, tmp_path: Path) -> None:
    await mixed(state)
    begun(state, tmp_path / "workers")
    assert stat.S_IMODE((tmp_path / "workers").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "workers").iterdir()} == {0o600}


async def test_of_long_output_the_end_is_told_and_where_to_find_the_rest(state: Path, tmp_path: Path) -> None:
    story = await Story.begin(state)
    await story.whole(1, out=b"x" * 79 + b"\n" + b"y" * (LONG * 3) + b"\nthe end\n", err=b"alas")
    begun(state, tmp_path / "workers")
    text = texts(tmp_path / "workers")["n1.log"]
    assert len(text) < LONG
    assert text.splitlines()[1].endswith("bytes more: hostler log 1 1 -a 1)")
    assert text.splitlines()[-3:-1] == ["the end", "alas"]
    await story.leave()


@pytest.mark.parametrize("seed", range(12))
async def test_a_resume_completes_the_files_wherever_their_writing_was_cut(
    state: Path, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(workerlogs, "GATHER", 2)
    await mixed(state)
    folder = tmp_path / "workers"
    begun(state, folder)
    wanted, mark = texts(folder), folder / workerlogs.WRITTEN
    for _ in range(10):
        for name, text in wanted.items():
            # What a killed controller leaves: a part of each file, and a mark that is older, or none.
            (folder / name).write_text(text[: chance.randrange(len(text) + 1)])
        older = chance.choice(
            [None, b"", b"[]", b'{"attempts": 0, "sizes": {}}', b"\0" * 40, mark.read_bytes()]
        )
        mark.unlink() if older is None else mark.write_bytes(older)
        begun(state, folder)
        assert texts(folder) == wanted


async def test_with_its_mark_a_resume_goes_on_where_the_files_end(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = await Story.begin(state, jobs=["a", "b", "c"])
    await story.whole(1, out=b"1\n")
    begun(state, tmp_path / "workers")
    await story.whole(2, out=b"2\n")
    files = Files(state, tmp_path / "workers")
    told: list[int] = []
    block = files.logs.block

    def noted(ended: Ended) -> bytes:
        told.append(ended.job)
        return block(ended)

    monkeypatch.setattr(files.logs, "block", noted)
    files.begin()
    assert told == [2]
    assert texts(tmp_path / "workers")["n1.log"].count("== job") == 4
    await story.leave()


async def test_a_file_that_cannot_be_written_is_said_once_and_the_run_goes_on(
    state: Path, tmp_path: Path
) -> None:
    await mixed(state)
    (tmp_path / "workers").write_text("in the way")
    files = begun(state, tmp_path / "workers")
    files.logs.saw([AttemptEnded(at=0.0, job=1, n=1, ending=Ending.OK, then=JobState.OK, tries=0)])
    files.logs.flush()
    (line,) = files.said
    assert "hostler: the hosts' files are no longer written" in line
    assert line.endswith("hostler batch --resume 1 --worker-logs")


async def test_output_that_is_gone_is_said_in_its_place(state: Path, tmp_path: Path) -> None:
    await mixed(state)
    for file in (state / "runs" / "1" / "out").iterdir():
        file.unlink()
    begun(state, tmp_path / "workers")
    assert "this output is gone)\n== job 1/1: ok" in texts(tmp_path / "workers")["n1.log"]


def test_a_name_that_is_too_long_for_a_file_is_cut() -> None:
    assert len(file_name("n" * 255)) < 255
