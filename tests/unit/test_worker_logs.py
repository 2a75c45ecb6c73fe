"""Each host's file tells what it does as it does it, and holds each thing once, however often hostler was killed."""

from __future__ import annotations

import json
import os
import random
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from hostler.model.events import Event, JobsAccepted
from hostler.model.jobs import Ending, JobState
from hostler.stores.outputs import part
from hostler.stores.reads import endings
from hostler.stores.sqlite import open_store
from hostler.views import appending, workerlogs
from hostler.views.workerlogs import LONG, Told, WorkerLogs, file_name
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
    """The files of a story's run, as its controller would keep them."""

    def __init__(self, story: Story, folder: Path) -> None:
        self.said: list[str] = []
        self.later = Later()
        reader, self.folder = story.store.reader, folder
        run_folder = story.store.run_folder(story.number)
        assert run_folder is not None
        source = Told(
            ended=partial(endings.ended, reader, story.number),
            ended_since=partial(endings.all_ended, reader, story.number),
            begun=partial(endings.begun, reader, story.number),
            running=partial(endings.running, reader, story.number),
            command=lambda args, job: f"echo {args[0].decode()}",
            size=story.outputs.written,
            read=partial(part, run_folder),
        )
        self.logs = WorkerLogs(folder, run=1, source=source, later=self.later, say=self.said.append)
        self.logs.begin(story.seq)
        self._story, self._tell = story, story.tell
        story.tell = self.tell  # type: ignore[method-assign]

    async def tell(self, *events: Event) -> None:
        """What is told to the store is told to the view."""
        await self._tell(*events)
        self.logs.saw(events)

    def leave(self) -> None:
        """Nobody tells the view any more."""
        self._story.tell = self._tell  # type: ignore[method-assign]

    def __getitem__(self, host: str) -> str:
        """What is in a host's file once what there is was told."""
        self.later.now()
        return (self.folder / f"{host}.log").read_text()


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.glob("*.log"))}


def prints(story: Story, job: int, data: bytes, *, n: int = 1, stream: int = 1) -> None:
    """A running job prints so much that it is on disk."""
    story.outputs.append(job, n, stream, story.outputs.held(job, n)[stream - 1], data)


N1 = """\
== job 1/1 begins 2026-01-02 04:04:05: echo a
hello a
warning
== job 1/1 ends 2026-01-02 04:04:07: ok after 2.0s
== job 2/1 begins 2026-01-02 04:04:07: echo b c
first try
== job 2/1 ends 2026-01-02 04:04:07: exit 3 after 0.5s
== job 3/2 begins 2026-01-02 04:04:07: echo d
== job 3/2 ends 2026-01-02 04:04:11: ok after 4.0s
== job 4/1 begins 2026-01-02 04:04:11: echo e
<FF>^[[2J no newline
== job 4/1 ends 2026-01-02 04:04:12: ok after 1.0s
"""
N2 = """\
== job 2/2 begins 2026-01-02 04:04:07: echo b c
no space left
== job 2/2 ends 2026-01-02 04:04:07: exit 3 after 0.2s
== job 3/1 begins 2026-01-02 04:04:07: echo d
== job 3/1 ends 2026-01-02 04:04:07: lost: n2 was rebooted
"""


async def test_what_ended_before_is_told_whole_in_the_order_of_the_ends(state: Path, tmp_path: Path) -> None:
    story = await mixed(state)
    files = await again(state, story, tmp_path / "workers")
    assert texts(files.folder) == {"n1.log": N1, "n2.log": N2}


async def again(state: Path, story: Story, folder: Path) -> Files:
    """The files of a run that was left, taken up."""
    story.store = open_store(state)
    return Files(story, folder)


async def test_a_job_is_told_of_when_it_begins_when_it_prints_and_when_it_ends(
    state: Path, tmp_path: Path
) -> None:
    story = await Story.begin(state)
    files = Files(story, tmp_path / "workers")
    await story.start(1)
    begins = "== job 1/1 begins 2026-01-02 04:04:05: echo a\n"
    assert files["n1"] == begins
    prints(story, 1, b"one\n")
    assert files["n1"] == begins + "one\n"
    prints(story, 1, b"two\n", stream=2)
    assert files["n1"] == begins + "one\ntwo\n"
    prints(story, 1, b"three\n")
    await story.end(1, Ending.EXIT, code=3, own_file=True)
    ends = "== job 1/1 ends 2026-01-02 04:04:06: exit 3 after 1.0s\n"
    assert files["n1"] == begins + "one\ntwo\nthree\n" + ends
    files.later.now()
    assert not files.later.waiting  # nothing runs: nothing is looked at any more
    await story.leave()


async def test_jobs_of_one_host_that_print_at_once_are_told_apart(state: Path, tmp_path: Path) -> None:
    story = await Story.begin(state, jobs=["a", "b"])
    files = Files(story, tmp_path / "workers")
    await story.start(1)
    await story.start(2)
    prints(story, 1, b"a1\n")
    prints(story, 2, b"b1\n")
    assert files["n1"].splitlines()[2:] == ["== job 1/1 goes on", "a1", "== job 2/1 goes on", "b1"]
    prints(story, 2, b"b2\n")
    assert files["n1"].endswith("b1\nb2\n")
    await story.leave()


async def test_a_line_is_told_when_it_is_whole_or_when_no_more_of_it_comes(
    state: Path, tmp_path: Path
) -> None:
    story = await Story.begin(state, jobs=["a", "b"])
    files = Files(story, tmp_path / "workers")
    await story.start(1)
    prints(story, 1, b"10% ")
    assert files["n1"].endswith("echo a\n")
    assert files["n1"].endswith("echo a\n10% ")
    prints(story, 1, b"20%\n")
    assert files["n1"].endswith("10% 20%\n")
    prints(story, 1, b"x" * 5000)
    assert files["n1"].endswith("x" * 5000)
    await story.start(2)
    assert "x\n== job 2/1 begins" in files["n1"]
    await story.leave()


async def test_hostile_bytes_are_harmless_also_when_they_come_in_pieces(state: Path, tmp_path: Path) -> None:
    story = await Story.begin(state)
    files = Files(story, tmp_path / "workers")
    await story.start(1)
    for byte in "é\x1b]0;owned\x07\u202e 不\n".encode() + b"\xff\r\n\x9b2J\n":
        prints(story, 1, bytes([byte]))
        for _ in range(2):
            files.later.now()
    assert files["n1"].split("echo a\n")[1] == "é^[]0;owned^G<U+202E> 不\n<FF>\n<9B>2J\n"
    await story.leave()


async def test_attempts_that_were_taken_back_are_not_told_of(state: Path, tmp_path: Path) -> None:
    story = await Story.begin(state)
    files = Files(story, tmp_path / "workers")
    files.leave()
    await story.whole(1, Ending.REVOKED, then=JobState.QUEUED)
    await files.tell(JobsAccepted(at=0.0, first=2, last=2))
    assert not files.later.waiting
    Files(story, tmp_path / "again")
    assert texts(tmp_path / "again") == {}
    await story.leave()


async def test_the_files_are_private_and_closed(state: Path, tmp_path: Path) -> None:
    hosts = [f"n{number}" for number in range(1, 101)]
    story = await Story.begin(state, jobs=hosts, hosts=hosts)
    files = Files(story, tmp_path / "workers")
    await story.start(1)
    prints(story, 1, b"a\n")
    files.later.now()
    held = len(os.listdir("/proc/self/fd"))
    for job in range(2, 101):
        await story.start(job, worker=job)
    files.later.now()
    assert len(texts(tmp_path / "workers")) == 100
    assert len(os.listdir("/proc/self/fd")) == held
    assert stat.S_IMODE((tmp_path / "workers").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "workers").iterdir()} == {0o600}
    await story.leave()


@pytest.mark.parametrize("live", [False, True])
async def test_of_much_output_at_once_the_end_is_told_and_where_to_find_the_rest(
    state: Path, tmp_path: Path, live: bool
) -> None:
    story = await Story.begin(state)
    files = Files(story, tmp_path / "workers")
    await story.start(1)
    prints(story, 1, b"first\n")
    files.later.now()
    prints(story, 1, b"x" * 79 + b"\n" + b"y" * (LONG * 3) + b"\nthe end\n")
    prints(story, 1, b"alas\n", stream=2)
    if not live:
        await story.end(1, own_file=True)
    text = files["n1"]
    assert len(text) < LONG
    lines = text.splitlines()
    assert lines[1] == "first"
    left = int(lines[2].removeprefix("(").split()[0])
    assert lines[2] == f"({left} bytes more: hostler log 1 1 -a 1)"
    assert left + len("the end\nalas\n") == 80 + LONG * 3 + 1 + len("the end\nalas\n")
    assert lines[3:5] == ["the end", "alas"]
    await story.leave()


class Killed(BaseException):
    """What ends a controller between two of its steps."""


def torn(chance: random.Random) -> Callable[[int, bytes], int]:
    """Writing that a kill may cut short."""
    write, left = os.write, chance.randrange(1, 400)

    def some(fd: int, data: bytes) -> int:
        nonlocal left
        if left <= 0:
            raise Killed
        wrote = write(fd, bytes(data)[: max(1, left)])
        left -= wrote
        return wrote

    return some


@pytest.mark.parametrize("seed", range(6))
async def test_whoever_goes_on_after_a_kill_adds_what_is_missing_and_nothing_twice(
    state: Path, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(workerlogs, "GATHER", chance.choice([2, 1000]))
    jobs = [f"j{number}" for number in range(1, 9)]
    story = await Story.begin(state, jobs=jobs, hosts=["n1", "n2"])
    folder = tmp_path / "workers"
    waiting, lines = list(range(1, 9)), 0
    running: list[int] = []
    ended: list[int] = []
    follows = True
    while len(ended) < 8:
        with monkeypatch.context() as patch, suppress(Killed):
            patch.setattr("hostler.views.appending.os.write", torn(chance))
            files = Files(story, folder) if follows else None
            for _ in range(chance.randrange(1, 12)):
                what = chance.choice("spppef")
                if what == "s" and waiting:
                    running.append(job := waiting.pop(0))
                    await story.start(job, worker=1 + job % 2)
                elif what == "p" and running:
                    lines += 1
                    prints(story, chance.choice(running), b"line %d\n" % lines)
                elif what == "e" and running:
                    ended.append(job := running.pop(chance.randrange(len(running))))
                    await story.end(job, own_file=True)
                elif files is not None:
                    files.later.now()
        if files is not None:
            files.leave()
        follows = chance.random() < 0.7  # now and then a controller that was not asked for files
    files = Files(story, folder)
    every = "".join(texts(folder).values()).splitlines()
    assert sorted(line for line in every if line.startswith("line ")) == sorted(
        f"line {number}" for number in range(1, lines + 1)
    )
    for word in ("begins", "ends"):
        assert sorted(line.split()[2] for line in every if f" {word} " in line) == [
            f"{job}/1" for job in range(1, 9)
        ]
    assert not folder.with_name("workers.1").exists()
    assert not files.said
    await story.leave()


@pytest.mark.parametrize("left", [None, b"", b"[]", b"\0" * 40, b"other boot", b"longer"])
async def test_files_of_which_nobody_knows_how_far_they_go_are_set_aside_and_told_anew(
    state: Path, tmp_path: Path, left: bytes | None
) -> None:
    story = await mixed(state)
    folder = tmp_path / "workers"
    await again(state, story, folder)
    mark = folder / appending.NOTED
    if left is None:
        mark.unlink()
    elif left == b"other boot":
        mark.write_text(json.dumps(json.loads(mark.read_text()) | {"boot": "another"}))
    elif left == b"longer":
        (folder / "n1.log").write_text(2 * N1)
    else:
        mark.write_bytes(left)
    files = Files(story, folder)
    assert texts(folder) == {"n1.log": N1, "n2.log": N2}
    assert texts(tmp_path / "workers.1").keys() == {"n1.log", "n2.log"}
    assert not files.said


async def test_a_file_that_somebody_took_away_begins_anew(state: Path, tmp_path: Path) -> None:
    story = await Story.begin(state, jobs=["a", "b"])
    files = Files(story, tmp_path / "workers")
    await story.whole(1, out=b"1\n")
    files.later.now()
    (tmp_path / "workers" / "n1.log").rename(tmp_path / "rotated")
    await story.whole(2, out=b"2\n")
    assert [line for line in files["n1"].splitlines() if line in ("1", "2")] == ["2"]
    await story.leave()


async def test_a_file_that_cannot_be_written_is_said_once_and_the_run_goes_on(
    state: Path, tmp_path: Path
) -> None:
    story = await Story.begin(state, jobs=["a", "b"])
    (tmp_path / "workers").write_text("in the way")
    files = Files(story, tmp_path / "workers")
    await story.whole(1)
    files.logs.flush()
    (line,) = files.said
    assert "hostler: the hosts' files are no longer written" in line
    assert line.endswith("hostler batch --resume 1 --worker-logs")
    await story.leave()


async def test_output_that_is_gone_is_said_in_its_place(state: Path, tmp_path: Path) -> None:
    story = await mixed(state)
    for file in (state / "runs" / "1" / "out").iterdir():
        file.unlink()
    await again(state, story, tmp_path / "workers")
    assert "this output is gone)\n== job 1/1 ends" in texts(tmp_path / "workers")["n1.log"]


def test_names_that_are_too_long_for_files_are_cut_and_yet_differ() -> None:
    one, two = (file_name("n" * 253 + end) for end in "ab")
    assert one != two and max(map(len, (one, two))) < 255
