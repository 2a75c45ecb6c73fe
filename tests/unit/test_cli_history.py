"""`events` and `report` tell what happened, in order and at any time, to people and to programs."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hostler.cli.looking import opened, report_text
from hostler.model.events import TYPES, AttemptSuperseded, HostConnected, HostOut, HostStruck, JobsRequeued
from hostler.model.jobs import Ending, JobState
from hostler.views.history import WORDS
from hostler.views.text import columns
from tests.lab import wait_until
from tests.unit.stories import BEGIN, Story
from tests.unit.test_cli_looking import CaptureFixture, as_json, mixed, shown
from tests.unit.test_cli_looking import state as state


async def troubled(state: Path) -> Story:
    """A host whose line broke, whose job came to its end there all the same after another had done it."""
    story = await Story.begin(state, jobs=["a"], hosts=["n1", "n2"])
    await story.start(1)
    story.now += 10
    await story.tell(HostOut(at=story.now, worker=1, why="n1: reset by peer", until=story.now + 130))
    await story.tell(HostStruck(at=story.now + 1, worker=1, why="no route to host"))
    story.now += 130
    await story.end(1, Ending.LOST, seconds=None, detail="its host was silent", then=JobState.QUEUED)
    await story.whole(1, n=2, worker=2, seconds=2.0)
    await story.tell(HostConnected(at=story.now, worker=1, spool="s", boot="b"))
    await story.tell(AttemptSuperseded(at=story.now, job=1, n=1, ending=Ending.EXIT, code=3))
    return story


async def test_events_tell_people_what_happened_in_order(state: Path, capsys: CaptureFixture) -> None:
    await (await troubled(state)).finish()
    out, err = shown(capsys, "events")
    assert err == ""
    assert out.splitlines() == [
        "2026-01-02 04:04:05  run.accepted        batch: echo {}",
        "2026-01-02 04:04:05  jobs.accepted       1 job: 1",
        "2026-01-02 04:04:05  run.started         by ann@laptop (pid 7)",
        "2026-01-02 04:04:05  host.connected      n1 answers",
        "2026-01-02 04:04:05  host.connected      n2 answers",
        "2026-01-02 04:04:05  attempt.dispatched  job 1, attempt 1, to n1",
        "2026-01-02 04:04:05  attempt.started     n1: job 1, attempt 1",
        "2026-01-02 04:04:15  host.out            n1: reset by peer",
        "2026-01-02 04:04:16  host.struck         n1: no route to host",
        "2026-01-02 04:06:25  attempt.finished    n1: job 1, attempt 1: lost: its host was silent; the job waits again",
        "2026-01-02 04:06:25  attempt.dispatched  job 1, attempt 2, to n2",
        "2026-01-02 04:06:25  attempt.started     n2: job 1, attempt 2",
        "2026-01-02 04:06:27  attempt.finished    n2: job 1, attempt 2: ok after 2.0s",
        "2026-01-02 04:06:27  host.connected      n1 answers",
        "2026-01-02 04:06:27  attempt.superseded  job 1, attempt 1, given up before, ended after all: exit 3",
        "2026-01-02 04:06:27  run.finished        finished, exit code 0",
    ]


async def test_events_tell_programs_the_same_under_stable_names(state: Path, capsys: CaptureFixture) -> None:
    story = await troubled(state)
    await story.tell(JobsRequeued(at=story.now, states=(int(JobState.OK),), count=1))
    await story.whole(1, Ending.EXIT, n=3, worker=2, seconds=0.5, code=3, out=b"hi\n")
    await story.finish(exit_code=1)
    out, _ = shown(capsys, "events", "1", "--jsonl")
    told = [json.loads(line) for line in out.splitlines()]
    assert [event["seq"] for event in told] == list(range(1, len(told) + 1))
    assert all((event["run"], event["at"] >= BEGIN) == (1, True) for event in told)
    by_type = {event["type"]: event for event in told}
    assert by_type["attempt.finished"] == {
        "run": 1, "seq": 19, "at": story.now, "type": "attempt.finished", "job": 1, "attempt": 3, "host": "n2",
        "ending": "exit", "then": "failed", "tries": 1, "code": 3, "signal": None, "seconds": 0.5, "detail": "",
        "stdout_bytes": 3, "stderr_bytes": 0,
    }  # fmt: skip
    assert by_type["host.out"]["host"] == "n1" and by_type["host.out"]["until"] == BEGIN + 140
    assert by_type["jobs.requeued"]["states"] == ["ok"]
    assert by_type["attempt.dispatched"]["host"] == by_type["attempt.started"]["host"] == "n2"


def test_every_type_of_event_has_words_of_its_own() -> None:
    assert set(WORDS) == set(TYPES.values())
    assert all(not {"run", "seq", "type"} & set(kind.__struct_fields__) for kind in WORDS)


async def test_events_of_a_later_version_are_told_as_they_are(state: Path, capsys: CaptureFixture) -> None:
    story = await Story.begin(state)
    await story.leave()
    with Tables(state) as store:
        store.run("INSERT INTO event VALUES (1, 99, 5.0, 'tick.due', '{\"schedule\": \"a\\u001bb\"}')")
    out, _ = shown(capsys, "events", "1")
    assert out.splitlines()[-1] == "1970-01-01 01:00:05  tick.due            schedule=a^[b"
    out, _ = shown(capsys, "events", "1", "--jsonl")
    assert json.loads(out.splitlines()[-1])["schedule"] == "a\x1bb"


class Tables:
    """The tables themselves, for what only a later version would write."""

    def __init__(self, state: Path) -> None:
        self._db = sqlite3.connect(state / "store.db")

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def run(self, sql: str) -> None:
        self._db.execute(sql)
        self._db.commit()


async def test_followed_events_come_as_they_happen_until_the_run_ends(state: Path, tmp_path: Path) -> None:
    story = await Story.begin(state, jobs=["a", "b"])
    out = tmp_path / "out"
    with out.open("wb") as file:
        words = [sys.executable, "-m", "hostler", "events", "last", "-f", "--jsonl"]
        follower = subprocess.Popen(words, stdout=file, stderr=subprocess.PIPE)
    try:
        await soon(lambda: b"run.started" in out.read_bytes())
        await story.start(1)
        await soon(lambda: b"attempt.started" in out.read_bytes())
        await story.end(1)
        await story.whole(2)
        assert follower.poll() is None
        await story.finish()
        _, err = await asyncio.to_thread(follower.communicate, timeout=60)
    finally:
        follower.kill()
    assert (follower.returncode, err) == (0, b"")
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert [event["seq"] for event in told] == list(range(1, story.seq + 1))
    assert told[-1]["type"] == "run.finished"


async def test_who_follows_a_run_is_told_when_its_owner_has_died(state: Path) -> None:
    story = await Story.begin(state)
    await story.start(1)
    await story.leave()
    done = subprocess.run(
        [sys.executable, "-m", "hostler", "events", "-f"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert done.stderr == (
        "hostler: nobody works on batch 1 any more; this goes on with it: hostler batch --resume 1\n"
    )
    assert "attempt.started" in done.stdout


async def soon(true: Callable[[], object]) -> None:
    """Wait in a thread, so that the store's own can go on."""
    await asyncio.to_thread(wait_until, true)


# -- the report ---------------------------------------------------------------------------------------------------


async def test_the_report_can_be_had_again_at_any_time(state: Path, capsys: CaptureFixture) -> None:
    await mixed(state)
    with opened() as reader:
        assert reader is not None
        text, _ = report_text(reader, 1, signal=None, colour=False)
    assert shown(capsys, "report", "last") == (text, "")


async def test_the_report_of_a_stopped_run_names_the_signal(state: Path, capsys: CaptureFixture) -> None:
    story = await Story.begin(state, jobs=["a", "b"])
    await story.whole(1)
    await story.finish(state="stopped", exit_code=130)
    out, _ = shown(capsys, "report", "1")
    assert out.splitlines()[0] == "batch 1 stopped by SIGINT: 1 of 2 jobs done on 1 host in 1.0s"


async def test_the_report_tells_scripts_all_that_people_are_told(state: Path, capsys: CaptureFixture) -> None:
    await mixed(state)
    told = as_json(capsys, "report", "1")
    assert (told["number"], told["exit_code"], told["seconds"]) == (1, 1, 7.75)
    assert told["counts"] == {"ok": 3, "failed": 1}
    assert told["next"] == "hostler batch --retry 1"
    (failure,) = told["failures"]
    assert (failure["count"], failure["ending"], failure["last_line"]) == (1, "exit 3", "no space left")
    assert (failure["jobs"], failure["hosts"], failure["alike"]) == ([2], ["n2"], False)
    assert [host["name"] for host in told["hosts"]] == ["n1", "n2"]
    assert [slow["job"] for slow in told["slowest"]] == [3, 1, 4, 2, 2]
    assert (told["maybe_duplicated"], told["maybe_duplicated_first"]) == (1, [3])


def objects(value: object) -> Iterator[dict[str, object]]:
    """Every object within a JSON value."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(each)


async def test_scripts_are_told_the_same_by_the_same_words_whichever_verb_they_ask(
    state: Path, capsys: CaptureFixture
) -> None:
    await (await troubled(state)).leave()
    verbs = [["runs"], ["status", "1"], ["report", "1"], ["log", "1"], ["log", "1", "1"]]
    told = [as_json(capsys, *words) for words in [*verbs, ["explain", "1", "1"], ["explain", "1", "n1"]]]
    told += [json.loads(line) for line in shown(capsys, "events", "1", "--jsonl")[0].splitlines()]
    seen = list(objects(told))
    for each in seen:
        assert ("number" in each) == ("uid" in each and "seq" not in each), each
        assert not {"number", "run"} <= each.keys(), each
    assert all({"uid", "run"} & each.keys() for each in told if isinstance(each, dict))
    attempts = [each for each in seen if {"job", "attempt"} <= each.keys() and "attempts" not in each]
    assert len({frozenset(each) for each in attempts}) > 3
    assert all(each.get("host") in ("n1", "n2") or each["type"] == "attempt.superseded" for each in attempts)
    others = {"n", "elapsed", "worker", "maybe_repeated", "jobid", "hostname"}
    assert not [each for each in seen if others & each.keys() and "seq" not in each]
    assert (
        sum("maybe_duplicated" in each for each in seen) == 5
    )  # the report, and two attempts asked for twice


@pytest.mark.parametrize("width", [60, 80, 120, 200])
async def test_no_line_of_the_report_is_wider_than_the_screen(
    state: Path, capsys: CaptureFixture, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    await mixed(state)
    monkeypatch.setattr("hostler.cli.looking.columns_of", lambda fd: width)
    out, _ = shown(capsys, "report", "1")
    # Sentences that name a command to be copied are never cut.
    lines = [line for line in out.splitlines() if line[:1] == " "]
    assert lines and all(columns(line) <= width for line in lines)


def test_asking_for_a_run_that_is_not_there_is_one_line(state: Path, capsys: CaptureFixture) -> None:
    for verb in ("events", "report"):
        out, err = shown(capsys, verb, "7", code=2)
        assert out == "" and "no run 7: there are no runs yet" in err and err.count("\n") == 1
