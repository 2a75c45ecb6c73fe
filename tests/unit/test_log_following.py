"""`log -f` prints what jobs write as it comes, each byte once, until there is nothing more to come."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hostler.model.jobs import Ending, JobState
from hostler.stores.growing import Growing
from hostler.stores.outputs import RunOutputs
from tests.lab import wait_until
from tests.unit.stories import Story
from tests.unit.test_cli_looking import CaptureFixture, mixed, shown
from tests.unit.test_cli_looking import state as state

LEFT = "hostler: nobody works on batch 1 any more; this goes on with it: hostler batch --resume 1\n"


class Follower:
    """`hostler log WORDS` at work, and what it has printed so far."""

    def __init__(self, folder: Path, *words: str) -> None:
        self._out, self._err = folder / "follow.out", folder / "follow.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            program = [sys.executable, "-m", "hostler", "log", *words]
            self.process = subprocess.Popen(program, stdout=out, stderr=err)

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    async def shows(self, text: str) -> None:
        """Wait until it has printed this, on either stream."""
        await asyncio.to_thread(
            wait_until, lambda: text in self.out or text in self.err, what=f"{text!r} in what was printed"
        )

    async def ends(self) -> int:
        return await asyncio.to_thread(self.process.wait, 60)


@contextmanager
def following(folder: Path, *words: str) -> Iterator[Follower]:
    """A follower that is ended with the block."""
    follower = Follower(folder, *words)
    try:
        yield follower
    finally:
        follower.process.kill()
        follower.process.wait()


async def test_a_running_jobs_output_is_printed_as_it_comes_and_the_next_attempts_too(
    state: Path, tmp_path: Path
) -> None:
    story = await Story.begin(state, hosts=["n1", "n2"])
    await story.start(1)
    with following(tmp_path, "1", "1", "-f") as follower:
        await follower.shows("running")
        for stream, offset, data in ((1, 0, b"one\n"), (2, 0, b"two\n"), (1, 4, b"three\n")):
            story.outputs.append(1, 1, stream, offset, data)
            story.outputs.sync()
            await follower.shows(data.decode())
        await story.end(1, Ending.EXIT, code=3, seconds=4.0, then=JobState.QUEUED, own_file=True)
        await follower.shows("the job waits to be tried again")
        await story.whole(1, n=2, worker=2, seconds=1.0, out=b"at last\n")
        assert await follower.ends() == 0
        assert follower.out == "one\nthree\nat last\n"
        assert follower.err.endswith(
            "two\n"
            "hostler: job 1 attempt 1, on n1: exit 3 after 4.0s; the job waits to be tried again\n"
            "hostler: job 1 attempt 2, on n2: ok after 1.0s\n"
        )
    await story.leave()


async def test_who_follows_a_job_that_waits_is_told_so_and_sees_it_begin(state: Path, tmp_path: Path) -> None:
    story = await Story.begin(state)
    with following(tmp_path, "1", "1", "-f", "--stdout") as follower:
        await story.start(1)
        await story.end(1, out=b"short\n")
        assert await follower.ends() == 0
        assert (follower.out, follower.err) == ("short\n", "")
    await story.leave()


async def test_a_job_that_waits_says_how_to_learn_why(state: Path, tmp_path: Path) -> None:
    story = await Story.begin(state)
    with following(tmp_path, "1", "1", "-f") as follower:
        await follower.shows("hostler: job 1 waits to be started (why: hostler explain 1 1)\n")
    await story.leave()


async def test_one_attempt_can_be_followed_alone(state: Path, tmp_path: Path) -> None:
    story = await Story.begin(state)
    await story.start(1)
    with following(tmp_path, "1", "1", "-f", "-a", "1") as follower:
        await follower.shows("running")
        await story.end(1, Ending.EXIT, code=3, out=b"first\n", then=JobState.QUEUED)
        assert await follower.ends() == 0
        assert follower.out == "first\n"
    await story.leave()


async def test_following_what_is_over_prints_it_and_ends(state: Path, tmp_path: Path) -> None:
    await mixed(state)
    with following(tmp_path, "1", "2", "-f") as follower:
        assert await follower.ends() == 0
        assert follower.out == "" and follower.err.endswith("\nno space left\n")


async def test_when_the_owner_dies_the_follower_says_so_and_ends(state: Path, tmp_path: Path) -> None:
    story = await Story.begin(state)
    await story.start(1)
    story.outputs.append(1, 1, 1, 0, b"so far\n")
    story.outputs.sync()
    with following(tmp_path, "1", "1", "-f") as follower:
        await follower.shows("so far")
        await story.leave()
        assert await follower.ends() == 0
        assert follower.out == "so far\n" and follower.err.endswith(LEFT)


async def test_a_runs_outputs_are_printed_in_the_order_of_their_ends(state: Path, tmp_path: Path) -> None:
    story = await Story.begin(state, jobs=["a", "b", "c"])
    await story.start(1)
    await story.whole(2, out=b"two\n", err=b"oops\n")
    with following(tmp_path, "last", "-f") as follower:
        await follower.shows("two")
        await story.end(1, Ending.EXIT, seconds=2.0, code=1, out=b"one\n")
        await follower.shows("one")
        await story.whole(3, Ending.REVOKED, then=JobState.QUEUED)
        await story.whole(3, n=2, out=b"three\n")
        await story.finish(exit_code=1)
        assert await follower.ends() == 0
        assert follower.out == "two\none\nthree\n"
        lines = follower.err.splitlines()
        assert [line.split()[2] for line in lines if line.startswith("2026")] == ["2/1", "1/1", "3/2"]
        assert "oops" in lines
    with following(tmp_path, "last", "-f", "--failed") as follower:
        assert await follower.ends() == 0
        assert follower.out == "one\n"


async def test_following_and_json_are_told_apart(state: Path, capsys: CaptureFixture) -> None:
    await mixed(state)
    out, err = shown(capsys, "log", "1", "-f", "--json", code=2)
    assert out == "" and "hostler events -f --jsonl" in err and err.count("\n") == 1


# -- the file that grows ------------------------------------------------------------------------------------------


@pytest.fixture
def outputs(tmp_path: Path) -> Iterator[RunOutputs]:
    made = RunOutputs(tmp_path, epoch=1)
    yield made
    made.close()


def test_each_piece_is_given_once_when_all_of_it_is_there(tmp_path: Path, outputs: RunOutputs) -> None:
    growing = Growing(tmp_path, 7, 1)
    assert list(growing.news()) == [] and not growing.begun
    outputs.append(7, 1, 1, 0, b"a" * 70_000)
    outputs.append(7, 1, 2, 0, b"err")
    outputs.sync()
    first = list(growing.news())
    assert [(stream, len(data)) for stream, data in first] == [(1, 65536), (1, 4464), (2, 3)]
    assert list(growing.news()) == [] and growing.begun
    with (tmp_path / "out" / "7.1.log.idx").open("ab") as index:
        index.write(b"\1\0\0")  # a record that is only begun
    assert list(growing.news()) == []
    growing.close()


def test_a_record_whose_bytes_are_not_there_yet_is_waited_for(tmp_path: Path, outputs: RunOutputs) -> None:
    outputs.append(7, 1, 1, 0, b"hello ")
    outputs.append(7, 1, 1, 6, b"world")
    outputs.sync()
    log = tmp_path / "out" / "7.1.log"
    whole = log.read_bytes()
    log.write_bytes(whole[:8])
    growing = Growing(tmp_path, 7, 1)
    assert list(growing.news()) == [(1, b"hello ")]
    log.write_bytes(whole)
    assert list(growing.news()) == [(1, b"world")]
    growing.close()


def test_of_a_file_that_is_long_already_only_the_end_is_given_and_then_all_that_comes(
    tmp_path: Path, outputs: RunOutputs
) -> None:
    for place in range(10):
        outputs.append(7, 1, 1, place * 100, b"%d" % place * 100)
    outputs.sync()
    growing = Growing(tmp_path, 7, 1, most=250)
    assert b"".join(data for _, data in growing.news()) == b"7" * 100 + b"8" * 100 + b"9" * 100
    outputs.append(7, 1, 2, 0, b"x" * 1000)
    outputs.sync()
    assert list(growing.news()) == [(2, b"x" * 1000)]
    growing.close()
