"""`explain` says why a job or a host is where it is: only what was recorded, and all of it that matters."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostler.model.events import (
    AttemptDispatched,
    AttemptEnded,
    AttemptSuperseded,
    HostConnected,
    HostOut,
    HostRetired,
    HostStruck,
    HostTrusted,
    RunPaused,
    StopRequested,
)
from hostler.model.jobs import Ending, JobState
from hostler.stores.ownership import RunLock
from hostler.views.explaining import Told, drawn
from tests.unit.stories import BEGIN, Story
from tests.unit.test_cli_looking import CaptureFixture, as_json, mixed, shown
from tests.unit.test_cli_looking import state as state


def explained(capsys: CaptureFixture, *words: str) -> tuple[list[str], list[str], list[str]]:
    """What it says: about what, what happened (without the day), and what holds now."""
    out, err = shown(capsys, "explain", *words)
    assert err == ""
    about, story, now = [], [], []
    for line in out.splitlines():
        if line.startswith("  2026-01-0"):
            story.append(line[13:])
        elif line.startswith(("  now  ", " " * 20)):
            now.append(line[6:].strip())
        elif line:
            about.append(line.strip())
    return about, story, now


async def test_a_jobs_story_tells_where_each_attempt_went_and_what_befell_it(
    state: Path, capsys: CaptureFixture
) -> None:
    story = await Story.begin(state, jobs=["a"], hosts=["n1", "n2"], retries=1)
    await story.start(1)
    story.now += 10
    await story.tell(HostOut(at=story.now, worker=1, why="n1: reset by peer", until=story.now + 120))
    await story.tell(HostStruck(at=story.now + 3, worker=1, why="no route to host"))
    story.now += 120
    await story.end(1, Ending.LOST, seconds=None, detail="its host was silent", then=JobState.QUEUED)
    await story.tell(AttemptDispatched(at=story.now, job=1, n=2, worker=1, serial=9))
    await story.tell(
        AttemptEnded(
            at=story.now,
            job=1,
            n=2,
            ending=Ending.REVOKED,
            then=JobState.QUEUED,
            tries=0,
            detail="its disk is full",
        )
    )
    await story.whole(1, Ending.EXIT, n=3, worker=2, seconds=2.0, code=7)
    await story.tell(AttemptSuperseded(at=story.now, job=1, n=1, ending=Ending.OK))
    await story.finish(exit_code=1)
    about, told, now = explained(capsys, "last", "1")
    assert about == ["job 1 of batch 1: failed", "echo a"]
    assert told == [
        "04:04:05  attempt 1 is given to n1",
        "04:04:05  attempt 1 starts on n1",
        "04:04:15  n1: reset by peer; what it holds stays its own until 2026-01-02 04:06:15",
        "04:04:18  n1 gets a strike: no route to host",
        "04:06:15  attempt 1 ends on n1: lost: its host was silent; that costs the job no retry",
        "04:06:15  attempt 2 is given to n1",
        "04:06:15  attempt 2 is given back before it started: n1 could not start it: its disk is full",
        "04:06:15  attempt 3 is given to n2, rather than n1, where it had no luck",
        "04:06:15  attempt 3 starts on n2",
        "04:06:17  attempt 3 ends on n2: exit 7 after 2.0s; try 1 of 2",
        "04:06:17  attempt 1, given up before, ended after all: ok; it counts for nothing",
    ]
    assert now == ["it has ended (failed) and is left so; hostler batch --retry 1 tries it again"]


async def test_a_running_job_whose_host_is_gone_says_until_when_it_is_waited_for(
    state: Path, capsys: CaptureFixture
) -> None:
    story = await Story.begin(state, hosts=["n1"])
    await story.start(1)
    assert explained(capsys, "1", "1")[2][0].startswith("it has run on n1 for ")
    await story.tell(HostOut(at=story.now, worker=1, why="the line broke", until=story.now + 130))
    (host,) = as_json(capsys, "status", "1")["hosts"]
    assert (host["state"], host["why"]) == ("out", "the line broke")
    assert explained(capsys, "1", "1")[2] == [
        "it ran on n1 when that went out of reach: the line broke",
        "unless n1 answers before 2026-01-02 04:06:15, the job is given to another host",
    ]
    await story.tell(HostConnected(at=story.now, worker=1, spool="s", boot="b"))
    assert explained(capsys, "1", "1")[2][0].startswith("it has run on n1 for ")
    await story.leave()
    assert explained(capsys, "1", "1")[2] == [
        "nobody works on the run; n1 is asked after it when somebody does: hostler batch --resume 1"
    ]


async def test_a_job_that_was_sent_ahead_says_what_it_waits_for(state: Path, capsys: CaptureFixture) -> None:
    story = await Story.begin(state, jobs=["a", "b"], slots=1)
    await story.start(1)
    await story.tell(AttemptDispatched(at=story.now, job=2, n=1, worker=1, serial=2))
    assert explained(capsys, "1", "2")[2] == [
        "it was sent to n1 ahead of need and starts when a slot is free there: 1 job at work in 1 slot, 1 sent ahead"
    ]
    await story.leave()


async def test_a_job_that_waits_says_for_what(state: Path, capsys: CaptureFixture) -> None:
    story = await Story.begin(state, jobs=range(5), hosts=["n1", "n2"], slots=1)
    await story.start(1)
    await story.start(2, worker=2)
    assert explained(capsys, "1", "5")[2] == [
        "2 other jobs wait before it",
        "no slot is free: 2 jobs at work on the 2 hosts that are up",
    ]
    rested = story.now + 30
    await story.tell(HostStruck(at=story.now, worker=2, why="n2: connection refused", until=rested))
    await story.tell(RunPaused(at=story.now))
    assert explained(capsys, "1", "3")[2] == [
        "the run is paused: nothing is started until hostler unpause 1",
        "no slot is free: 1 job at work on n1",
        "n2 is out: connection refused; it is left alone until about 2026-01-02 04:04:35 and is tried again then",
    ]
    await story.lose(1, "n1: no key is accepted")
    assert explained(capsys, "1", "3")[2][1:3] == [
        "no host can take it now",
        "n1 was given up: no key is accepted",
    ]
    await story.tell(StopRequested(at=story.now, why="SIGINT"))
    assert explained(capsys, "1", "3")[2] == [
        "the run is being ended (SIGINT): what waits is left for hostler batch --resume 1"
    ]
    await story.leave()
    assert explained(capsys, "1", "3")[2] == [
        "nobody works on the run, which was ended (SIGINT); it waits for: hostler batch --resume 1"
    ]


async def test_probation_quarantine_and_retirement_are_told_where_they_hold(
    state: Path, capsys: CaptureFixture
) -> None:
    story = await Story.begin(state, jobs=range(4), hosts=["n1", "n2"], slots=1)
    await story.start(1)
    await story.start(2, worker=2)
    await story.tell(HostStruck(at=story.now, worker=1, why="its runner died", fault="lost"))
    probed = "gets one job at a time, until one has shown that it is well"
    assert f"n1 {probed}" in explained(capsys, "1", "3")[2]
    assert explained(capsys, "1", "n1")[2][0] == f"n1 is up: 1 job at work in 1 slot; it {probed}"
    await story.tell(HostTrusted(at=story.now + 1, worker=1))
    assert explained(capsys, "1", "n1")[2][0] == "n1 is up: 1 job at work in 1 slot"
    lost = AttemptEnded(
        at=story.now + 2, job=1, n=1, ending=Ending.LOST, then=JobState.QUARANTINED, tries=0, kills=3,
        detail="its runner died under it; 3 hosts were lost while this job ran there",
    )  # fmt: skip
    await story.tell(lost)
    head, _, now = explained(capsys, "1", "1")
    assert head[0] == "job 1 of batch 1: quarantined"
    assert now == [
        "it is quarantined: one host after another was lost while it ran there; hostler batch --retry 1 lets it out"
    ]
    await story.tell(HostRetired(at=story.now + 3, worker=1, why="2 jobs in a row failed", job=9))
    assert explained(capsys, "1", "n1")[2] == ["n1 gets no more jobs: 2 jobs in a row failed"]
    assert "n1 gets no more jobs: 2 jobs in a row failed" in explained(capsys, "1", "3")[2]
    await story.leave()


async def test_a_job_that_failed_on_a_host_is_kept_from_it(state: Path, capsys: CaptureFixture) -> None:
    story = await Story.begin(state, jobs=["a"], hosts=["n1", "n2"], retries=2)
    await story.whole(1, Ending.EXIT, code=1, then=JobState.QUEUED)
    assert explained(capsys, "1", "1")[2] == [
        "0 jobs at work on the 2 hosts that are up; a free slot there takes the next one that waits",
        "its last attempt ended badly on n1, so another host has the first claim on it",
    ]
    await story.leave()


async def test_a_host_says_what_befell_it_and_what_it_holds(state: Path, capsys: CaptureFixture) -> None:
    story = await Story.begin(state, jobs=range(4), hosts=["n1", "n2"], slots=2)
    await story.whole(1, seconds=2.0)
    await story.start(2)
    await story.tell(AttemptDispatched(at=story.now, job=3, n=1, worker=1, serial=9))
    about, told, now = explained(capsys, "1", "n1")
    assert about == [
        "host n1 in batch 1: up",
        "reached at n1",
        "0 strikes in this run",
        "1 attempt ended here: 1 ok, 0 failed, 0 lost, 2.0s each",
    ]
    assert told == ["04:04:05  n1 answers"]
    assert now == [
        "n1 is up: 1 job at work in 2 slots, 1 sent ahead",
        "at work there: job 2",
        "sent there, not started: job 3",
    ]
    await story.tell(HostStruck(at=story.now, worker=1, why="n1: connection refused"))
    facts = as_json(capsys, "explain", "1", "n1")
    assert (facts["state"], facts["strikes"], facts["why"]) == ("out", 1, "n1: connection refused")
    assert (facts["running"], facts["sent_ahead"], facts["ok"]) == ([2], [3], 1)
    assert facts["story"][-1] == {"at": BEGIN + 2, "text": "n1 gets a strike: connection refused"}
    await story.leave()


async def test_a_host_says_how_it_was_reached_and_how_many_jobs_it_takes(
    state: Path, capsys: CaptureFixture
) -> None:
    story = await Story.begin(state)
    way = "openssh, as ~/.ssh/config says KnownHostsCommand"
    await story.tell(HostConnected(at=BEGIN, worker=1, spool="s", boot="b", slots=8, way=way))
    about, _, _ = explained(capsys, "1", "n1")
    assert about[1] == f"reached at n1, by {way}"
    facts = as_json(capsys, "explain", "1", "n1")
    assert (facts["way"], facts["slots"]) == (way, 8)
    await story.leave()


async def test_scripts_are_told_the_same_of_a_job(state: Path, capsys: CaptureFixture) -> None:
    await mixed(state)
    facts = as_json(capsys, "explain", "1", "3")
    assert (facts["run"], facts["job"], facts["state"], facts["command"]) == (1, 3, "ok", "echo d")
    assert facts["story"][0]["text"] == "attempt 1 is given to n2" and facts["now"] == ["it is done"]


@pytest.mark.parametrize("word", ["n9", "0", "5", "99999999999999999999999"])
async def test_what_is_neither_job_nor_host_is_refused_in_one_line(
    state: Path, capsys: CaptureFixture, word: str
) -> None:
    await mixed(state)
    out, err = shown(capsys, "explain", "1", word, code=2)
    assert out == "" and err.count("\n") == 1
    assert f"run 1 has no host '{word}', and no job of that number; its hosts are n1, n2" in err


async def test_a_lock_that_is_free_is_nobody_working(state: Path, capsys: CaptureFixture) -> None:
    story = await Story.begin(state)
    await story.leave()
    assert RunLock(state / "runs" / "1").take()
    assert "hostler batch --resume" not in "".join(explained(capsys, "1", "1")[2])


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_on_a_terminal_sentences_are_broken_where_the_window_ends(width: int) -> None:
    sentence = (
        "n1: connection refused; what it holds stays its own until 2026-01-02 04:06:15, and so on and on"
    )
    text = drawn(
        "job 1 of batch 1: open", ["echo a"], [Told(BEGIN, sentence)], [sentence, "short"], width=width
    )
    assert all(len(line) <= width for line in text.splitlines())
    assert " ".join(text.split()).count(sentence) == 2
    assert text.splitlines()[-1] == " " * 23 + "short"
