"""The verbs that act on a run, where no host has to be reached: what they refuse, and what they do by themselves."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostler.cli.completing import candidates
from hostler.cli.main import main
from hostler.model.jobs import Ending, JobState
from tests.unit.stories import Story

CaptureFixture = pytest.CaptureFixture[str]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """An empty state folder."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOSTLER_STATE_DIR", str(folder))
        patch.setenv("HOSTLER_SANDBOX_DIR", str(tmp_path / "sandbox"))
        yield folder


def ended(state: Path) -> None:
    """A run of one job, which went well."""

    async def tell() -> None:
        story = await Story.begin(state)
        await story.whole(1)
        await story.finish()

    asyncio.run(tell())


def left(state: Path, *, state_word: str = "") -> None:
    """A run of four jobs, one of which failed; its controller is gone, with a word about its end or without."""

    async def tell() -> None:
        story = await Story.begin(state, jobs="abcd")
        await story.whole(1, Ending.EXIT, code=3, then=JobState.FAILED)
        if state_word:
            await story.finish(state=state_word, exit_code=130)
        else:
            await story.leave()

    asyncio.run(tell())


def told(capsys: CaptureFixture, *words: str) -> str:
    """The one line that a verb prints on stdout, and nothing else anywhere."""
    assert main(list(words)) == 0
    said = capsys.readouterr()
    assert said.err == "" and said.out.count("\n") == 1, said
    return said.out.rstrip("\n")


def row(state: Path, columns: str) -> tuple[object, ...]:
    """What the store holds of the last run."""
    with contextlib.closing(sqlite3.connect(state / "store.db")) as db:
        found: tuple[object, ...] = db.execute(f"SELECT {columns} FROM run ORDER BY number DESC").fetchone()
        return found


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["stop", "9"], "no run 9; the newest is 1"),
        (["pause", "last"], "batch 1 has finished; there is nothing to pause"),
        (["unpause", "1"], "batch 1 has finished; it is not paused"),
        (["set", "last"], "nothing to set: say --slots, --timeout or --retries"),
        (["set", "last", "--slots", "0"], "--slots 0: must be a whole number from 1 to 10000"),
        (["set", "last", "--timeout", "soon"], "--timeout: "),
        (
            ["set", "last", "--retries", "1"],
            "batch 1 has finished; what failed is tried again so by: hostler batch --retry 1 --retries 1",
        ),
        (["cancel", "last", "7"], "run 1 has no job 7; its jobs are 1 to 1"),
        (["cancel", "last", "x"], "JOB x: must be a whole number"),
        (["cancel", "last", "3-2"], "JOB 3-2: 2: must be a whole number from 3"),
        (["cancel", "last", "1"], "batch 1: job 1 has ended already: ok"),
        (["cancel", "last"], "JOB"),
        (["add", "last", "b"], "'b' stands before ':::'"),
        (["add", "last", "--", "echo"], "the run keeps its command"),
        (["add", "last", "--jobs", "nowhere"], "nowhere: No such file"),
        (["add", "last", "--hosts", "a,b&"], "--hosts 'a,b&': "),
        (["add", "last", "--jobs", "x", ":::", "y"], "one or the other"),
        (["wait", "9"], "no run 9"),
        (["wait", "1", "--timeout", "0"], "must be more than nothing"),
        (["stop", "1", "--", "x"], "stop takes nothing behind '--'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_can_not_be_asked_is_refused_in_one_line(
    state: Path, capsys: CaptureFixture, words: list[str], why: str
) -> None:
    ended(state)
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and said.err.startswith("hostler: "), said.err
    assert why in said.err


@pytest.mark.parametrize("words", ["stop last", "pause 1", "set 1 -j 2", "cancel 1 1", "wait 1"])
def test_where_there_is_no_run_yet_each_verb_says_so_and_makes_nothing(
    state: Path, capsys: CaptureFixture, words: str
) -> None:
    assert main(words.split()) == 2
    assert "there are no runs yet (hostler batch makes one)" in capsys.readouterr().err
    assert list(state.iterdir()) == []


@pytest.mark.parametrize("word", ["", "stopped"])
def test_with_nobody_at_work_what_is_asked_is_kept_for_the_next_owner(
    state: Path, capsys: CaptureFixture, word: str
) -> None:
    left(state, state_word=word)
    assert told(capsys, "pause", "last") == "batch 1: paused: nothing new is started; what runs goes on"
    assert told(capsys, "pause", "last") == "batch 1: it is paused already"
    assert told(capsys, "set", "last", "-j", "3", "--timeout", "90s") == (
        "batch 1: from now on: slots 3, timeout 90s; what runs keeps its timeout"
    )
    assert (
        told(capsys, "cancel", "last", "2", "3", "1") == "batch 1: jobs 2, 3: cancelled; job 1: failed before"
    )
    assert (
        told(capsys, "add", "last", ":::", "e", "f") == "batch 1: added: jobs 5 to 6; they wait for a resume"
    )
    assert told(capsys, "add", "last", "--hosts", "10.0.0.9") == "batch 1: added: 1 host"
    assert row(state, "state, paused, owner, total, epoch") == (word or "running", 1, None, 6, 7)
    assert told(capsys, "unpause", "last").startswith("batch 1: no longer paused: 3 jobs to start")
    with contextlib.closing(sqlite3.connect(state / "store.db")) as db:
        states = db.execute("SELECT state, count(*) FROM job GROUP BY state ORDER BY state").fetchall()
        assert states == [(JobState.QUEUED, 3), (JobState.FAILED, 1), (JobState.CANCELLED, 2)]
        assert db.execute("SELECT count(*) FROM request WHERE answered IS NULL").fetchone() == (0,)


def test_completion_offers_only_what_the_verb_does_not_refuse(state: Path) -> None:
    ended(state)
    assert list(candidates(["cancel", "1"], "")) == []
    assert [list(candidates([verb], "")) for verb in ("cancel", "pause", "unpause", "set", "stop")] == [
        []
    ] * 5
    assert [job for job, _ in candidates(["log", "1"], "")] == ["1"]
    left(state)
    assert [job for job, _ in candidates(["cancel", "2", "3"], "")] == ["2", "4"]
    assert [run for run, _ in candidates(["cancel"], "")] == ["last", "2"]
    assert list(candidates(["unpause"], "")) == []
    assert [run for run, _ in candidates(["log"], "")] == ["last", "2", "1"]


def test_jobs_added_to_a_finished_run_put_it_back_to_be_resumed(state: Path, capsys: CaptureFixture) -> None:
    ended(state)
    assert told(capsys, "add", "1", ":::", "x") == "batch 1: added: job 2; they wait for a resume"
    assert row(state, "state, exit_code, counts") == ("running", None, None)


def test_a_stop_of_what_has_ended_says_so_and_is_no_mistake(state: Path, capsys: CaptureFixture) -> None:
    ended(state)
    assert told(capsys, "stop", "last") == "batch 1: it has ended already, finished: 1 ok"


def test_a_stop_of_a_run_whose_controller_died_ends_it_on_record(state: Path, capsys: CaptureFixture) -> None:
    async def tell() -> None:
        story = await Story.begin(state, jobs="ab", hosts=["localhost"])
        await story.leave()

    asyncio.run(tell())
    with contextlib.closing(sqlite3.connect(state / "store.db")) as db:
        db.execute("UPDATE worker SET spool = NULL")  # no host was ever reached
        db.commit()
    assert told(capsys, "stop", "last") == (
        "batch 1: stopped: 2 not run; this goes on with it: hostler batch --resume 1"
    )
    assert row(state, "state, exit_code") == ("stopped", 143)


def test_waiting_ends_with_the_owner_and_tells_a_run_that_was_left(
    state: Path, capsys: CaptureFixture
) -> None:
    ended(state)
    left(state, state_word="stopped")
    left(state)
    assert main(["wait", "1"]) == 0
    assert capsys.readouterr().err == "hostler: batch 1: finished: 1 ok\n"
    assert main(["wait", "1", "2"]) == 130
    capsys.readouterr()
    assert main(["wait", "last"]) == 6
    assert capsys.readouterr().err == (
        "hostler: batch 3: left: 1 failed, 3 not run; this goes on with it: hostler batch --resume 3\n"
    )


def test_an_owner_that_does_not_answer_is_not_waited_for_for_ever(
    state: Path, capsys: CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hostler.cli.asking.PATIENCE", 0.3)
    over = threading.Event()

    async def own() -> None:
        story = await Story.begin(state, jobs="ab")
        begun.set()
        while not over.is_set():
            await asyncio.sleep(0.02)
        await story.leave()

    begun = threading.Event()
    owner = threading.Thread(target=lambda: asyncio.run(own()))
    owner.start()
    try:
        assert begun.wait(30)
        assert main(["pause", "last"]) == 6
    finally:
        over.set()
        owner.join()
    assert capsys.readouterr().err == (
        "hostler: batch 1: ann@laptop (pid 7) has not done it yet; it stays asked for, and is done when it can be\n"
    )
    # Whoever has the run next does it, and what is asked of it then.
    assert told(capsys, "unpause", "last") == "batch 1: no longer paused: 2 jobs to start; nobody works on it"
