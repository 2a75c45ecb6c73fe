"""`hostler top`'s screen over a real store, key by key: one sees what is kept there, and nothing else is done."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.events import Key
from textual.pilot import Pilot

from hostler.cli.storing import open_store, using
from hostler.cli.top_pages import PAGE
from hostler.cli.top_reading import Board
from hostler.model.events import HostOut, RunPaused, RunStarted
from hostler.model.jobs import Ending, JobState
from hostler.views.dashboard_place import HOSTS, JOBS, Place
from hostler.views.top.app import Top
from hostler.views.top.eyes import Want
from tests.clocks import Hurried
from tests.contract.store_making import accepted
from tests.own_postgres import OwnPostgres, missing
from tests.unit.stories import Story

#: Long: `make test-all` tries these.
pytestmark = pytest.mark.slow


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state folder, which is everybody's."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("HOSTLER_STATE_DIR", str(folder))
    monkeypatch.delenv("NO_COLOR", raising=False)
    return folder


class Seat:
    """Somebody at the screen: what they see, the keys that they press, and what was asked of runs by these."""

    def __init__(self, pilot: Pilot[int], asked: list[list[str]]) -> None:
        self.pilot, self.asked = pilot, asked

    @property
    def lines(self) -> list[str]:
        """What one sees, line by line."""
        return [strip.text.rstrip() for strip in self.pilot.app.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def rows(self) -> list[str]:
        """The first words of the table's rows, the cursor's mark aside."""
        grid = self.pilot.app.query_one("#grid")
        top = grid.region.y + 1
        words = (line[2:].split() for line in self.lines[top : top + grid.size.height - 1])
        return [row[0] for row in words if row]

    @property
    def cursor(self) -> str:
        """The row that the cursor is on."""
        return next((line for line in self.lines if line.startswith("> ")), "")

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def until(self, true: Callable[[], object], *, what: str = "") -> None:
        """Wait until it is so."""
        deadline = time.monotonic() + 30.0
        while not true():
            assert time.monotonic() < deadline, f"not within 30 s: {what}\n{self.text}"
            await self.pilot.pause(0.02)

    async def sees(self, *texts: str) -> None:
        """Wait until all of these can be seen."""
        await self.until(lambda: all(text in self.text for text in texts), what=repr(texts))

    async def sees_no(self, text: str) -> None:
        """Wait until this can't be seen."""
        await self.until(lambda: text not in self.text, what=f"no {text!r}")


@asynccontextmanager
async def seated(run: int | None = None, *, size: tuple[int, int] = (100, 24)) -> AsyncIterator[Seat]:
    """Somebody at a screen of this size."""
    asked: list[list[str]] = []

    def ask(words: Sequence[str]) -> str:
        asked.append([*words])
        return f"{' '.join(words)}: done"

    async with Top(Board(), ask, run=run).run_test(size=size) as pilot:
        yield Seat(pilot, asked)


async def mixed(state: Path) -> Story:
    """A run at work: one job well, one failed, one on its way on n2, two that wait."""
    story = await Story.begin(state, jobs="abcde", hosts=["n1", "n2"])
    await story.whole(1, seconds=2.0, out=b"hello a\n")
    await story.whole(2, Ending.EXIT, seconds=0.5, code=3, err=b"no space left\n")
    await story.start(3, worker=2)
    return story


async def test_without_a_store_it_says_so_and_shows_the_first_run_when_it_comes(state: Path) -> None:
    async with seated() as seat:
        await seat.sees("no runs yet", "hostler batch")
        assert [*state.iterdir()] == []  # who looks makes nothing
        story = await Story.begin(state, command=["convert", "{}"])
        await seat.sees("convert {}", "running")
        await story.leave()


async def test_one_goes_from_the_runs_to_one_s_jobs_and_hosts_and_back(state: Path) -> None:
    story = await mixed(state)
    async with seated() as seat:
        await seat.sees("hostler top  1 run, 1 at work")
        assert "40%" in seat.cursor and "2/2" in seat.cursor
        await seat.press("enter")
        await seat.sees("batch 1  running", "2/5 40%", "ok 1 fail 1", "hosts 2/2")
        await seat.until(lambda: seat.rows == ["3", "1", "2", "4", "5"])
        await seat.sees("hello a", "no space left", "exit 3", "waits")
        await seat.press("tab")
        await seat.until(lambda: seat.rows == ["n1", "n2"])
        await seat.sees("3, ")  # what n2 does
        await seat.press("down", "enter")
        await seat.until(lambda: seat.rows == ["3"])
        await seat.sees("'=n2'")
        await seat.press("escape", "escape")
        await seat.sees("hostler top  1 run")
    await story.leave()


async def test_what_happens_is_seen_without_a_key(state: Path) -> None:
    story = await mixed(state)
    async with seated(1) as seat:
        await seat.until(lambda: "runs" in seat.cursor)
        await story.end(3, Ending.EXIT, code=7)
        await seat.sees("exit 7", "ok 1 fail 2")
        await story.whole(4, out=b"quickly done\n")
        await seat.sees("quickly done", "ok 2 fail 2")
        await story.finish(exit_code=1)
        await seat.sees("batch 1  finished", "2 ok, 2 failed, 1 not run  2 hosts")


async def test_only_what_fails_and_the_slowest_first_are_a_key_away(state: Path) -> None:
    story = await mixed(state)
    async with seated(1) as seat:
        await seat.until(lambda: seat.rows == ["3", "1", "2", "4", "5"])
        await seat.press("f")
        await seat.until(lambda: seat.rows == ["2"])
        await seat.sees("only failing")
        await seat.press("f", "s")
        await seat.until(lambda: seat.rows == ["3", "1", "2"])  # 3 began years ago
        await seat.sees("slowest first")
    await story.leave()


async def test_the_filter_holds_while_it_is_typed_and_its_keys_do_nothing_else(state: Path) -> None:
    story = await mixed(state)
    async with seated(1) as seat:
        await seat.until(lambda: len(seat.rows) == 5)
        await seat.press("slash", *"fail")
        await seat.until(lambda: seat.rows == ["2"])
        await seat.press(*" q", "enter")  # q is a letter here
        await seat.sees("no job is meant by 'fail q'")
        await seat.press("escape")
        await seat.until(lambda: len(seat.rows) == 5)
        # However fast it is typed, no letter is a command.
        for key in ("slash", "S", "y", "c", "y"):
            seat.pilot.app.post_message(Key(key, key if len(key) == 1 else "/"))
        await seat.sees("'sycy'")
        await seat.press("escape")
        await seat.press("slash", *"n2", "escape")
        await seat.until(lambda: len(seat.rows) == 5)
        assert seat.asked == []
    await story.leave()


async def test_a_job_s_output_is_followed_harmlessly_from_attempt_to_attempt(state: Path) -> None:
    story = await Story.begin(state, jobs="ab", hosts=["n1"])
    await story.start(1)
    story.outputs.append(1, 1, 1, 0, b"\x1b]0;owned\x07first\n")
    await story.tell(RunPaused(at=story.now))
    async with seated(1) as seat:
        await seat.until(lambda: "runs" in seat.cursor)
        await seat.press("enter")
        await seat.sees("── job 1 on n1: runs", "^[]0;owned^Gfirst")
        story.outputs.append(1, 1, 2, 0, b"and an error\n")
        story.outputs.sync()
        await seat.sees("and an error")
        await story.end(1, Ending.EXIT, code=3, own_file=True, then=JobState.QUEUED)
        await seat.sees("── job 1 on n1: exit 3 after")
        await story.start(1, n=2)
        story.outputs.append(1, 2, 1, 0, b"second try\n")
        story.outputs.sync()
        await seat.sees("── job 1, attempt 2, on n1: runs", "second try")
        await seat.sees_no("and an error")
        # Another row's output comes with the cursor, and the pane closes with escape.
        await seat.press("down")
        await seat.sees("── job 2: waits", "it has not been tried yet")
        await seat.press("up", "enter")
        await seat.sees("second try")
        assert "state" not in seat.text  # the table gives way
        await seat.press("escape", "escape")
        await seat.sees_no("── job")
    await story.leave()


async def test_output_that_is_not_here_says_so(state: Path) -> None:
    story = await Story.begin(state)
    await story.whole(1, out=b"hello\n")
    for file in (state / "runs" / "1" / "out").iterdir():
        file.unlink()
    async with seated(1, size=(80, 24)) as seat:
        await seat.until(lambda: " ok " in seat.cursor)
        await seat.press("enter")
        await seat.until(lambda: "this output is gone" in " ".join(seat.text.split()))
    await story.leave()


async def test_output_that_another_machine_takes_in_is_said_to_be_there(state: Path) -> None:
    story = await Story.begin(state)
    started = RunStarted(
        at=story.now, epoch=story.claim.epoch, owner="me", options={}, kept="far:/srv/runs/1"
    )
    await story.tell(started)
    await story.start(1)
    async with seated(1) as seat:
        await seat.until(lambda: "runs" in seat.cursor)
        await seat.press("enter")
        await seat.sees("its output is kept where it is taken in: far:/srv/runs/1")
    await story.leave()


async def test_all_runs_stand_there_after_one_was_looked_at_alone(state: Path) -> None:
    for _ in range(3):
        await (await Story.begin(state)).finish()
    async with seated(2) as seat:
        await seat.sees("batch 2  finished")
        await seat.press("escape")
        await seat.until(lambda: seat.rows == ["3", "2", "1"])
    board = Board()
    assert board.look(Want(place=Place(part=JOBS, run=2))) is not None
    found = board.look(Want())
    assert found is not None and [run.number for run in found.runs] == [3, 2, 1]
    board.close()


async def test_of_long_output_the_end_is_shown_and_one_can_look_further_up(state: Path) -> None:
    story = await Story.begin(state)
    lines = b"".join(b"line %d\n" % number for number in range(5000))
    await story.whole(1, out=lines, seconds=1.0)
    async with seated(1) as seat:
        await seat.until(lambda: " ok " in seat.cursor)
        await seat.press("enter", "enter")
        await seat.sees("line 4999")
        await seat.press("home")
        await seat.sees("line 0", "lines 1-")
        await seat.press("end")
        await seat.sees("line 4999")
        await seat.sees_no("lines ")
    await story.leave()


async def test_output_that_comes_faster_than_it_can_be_shown_is_skipped_up_to_its_end(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hostler.cli.top_output.MOST", 1000)
    story = await Story.begin(state)
    await story.start(1)
    board = Board()
    board.look(Want(place=Place(part=JOBS, run=1)))

    def wrote(data: bytes, at: int) -> None:
        story.outputs.append(1, 1, 1, at, data)
        story.outputs.sync()

    wrote(b"a" * 500, 0)
    first = board.follow(1, 1)
    assert first.anew and b"".join(data for _, data in first.pieces) == b"a" * 500
    for part in range(10):
        wrote(b"%d" % part * 1000, 500 + 1000 * part)
    later = board.follow(1, 1)
    assert later.anew and b"".join(data for _, data in later.pieces) == b"9" * 1000
    wrote(b"b" * 1500, 10_500)
    last = board.follow(1, 1)
    assert not last.anew and b"".join(data for _, data in last.pieces) == b"b" * 1500
    board.close()
    await story.leave()


async def test_a_page_of_many_jobs_is_read_and_no_more(state: Path) -> None:
    story = await Story.begin(state, jobs=range(1, 1201))
    board = Board()
    want = Want(place=Place(part=JOBS, run=1))
    first = board.look(want)
    assert first is not None and len(first.jobs) == PAGE and first.more
    board.close()
    async with seated(1) as seat:
        await seat.sees("rows 1-500 of 1200, ] for more")
        await seat.press("right_square_bracket", "right_square_bracket")
        await seat.sees("rows 1001-1200 of 1200, [ goes back")
        assert seat.rows[0] == "1001"
        await seat.press("end")
        await seat.until(lambda: seat.cursor.startswith("> 1200"))
        await seat.press("right_square_bracket", "left_square_bracket")
        await seat.until(lambda: seat.rows[0] == "501")
    await story.leave()


async def test_a_thousand_hosts_stand_in_one_table_and_the_cursor_stays_with_its_row(state: Path) -> None:
    names = [f"n{number:04}" for number in range(1000)]
    story = await Story.begin(state, jobs="abc", hosts=names)
    async with seated(1) as seat:
        await seat.press("tab")
        await seat.until(lambda: seat.rows[:1] == ["n0000"])
        await seat.press("end")
        await seat.until(lambda: "n0999" in seat.cursor)
        await seat.press("up", "pageup")
        here = seat.cursor.split()[1]
        await story.whole(1, Ending.EXIT, code=1, worker=3)
        await seat.sees("fail 1")
        assert seat.cursor.split()[1] == here
        await seat.press("f")
        await seat.until(lambda: seat.rows == ["n0002"])
    await story.leave()


async def test_nothing_is_read_again_while_nothing_changes(state: Path) -> None:
    story, clock = await mixed(state), Hurried()
    board = Board(clock)
    want = Want(place=Place(part=HOSTS, run=1))
    assert board.look(want) is not None
    for _ in range(20):
        clock.seconds += 1.0
        assert board.look(want) is None
    await story.tell(HostOut(at=story.now, worker=1, why="the line broke"))
    clock.seconds += 1.0
    seen = board.look(want)
    assert seen is not None and seen.hosts[0].figures.state == "out"
    assert board.look(want) is None
    other = await Story.begin(state)
    clock.seconds += 1.0
    assert board.look(want) is None  # of another run nobody asked
    assert board.look(Want()) is not None
    board.close()
    await other.leave()
    await story.leave()


class Slow(Hurried):
    """A clock on which every glance takes a second."""

    def steady(self) -> float:
        self.seconds += 1.0
        return self.seconds


async def test_after_a_look_that_took_long_the_store_is_left_alone_unless_one_goes_elsewhere(
    state: Path,
) -> None:
    story, clock = await mixed(state), Slow()
    board = Board(clock)
    want = Want(place=Place(part=JOBS, run=1))
    assert board.look(want) is not None
    await story.end(3)
    looks = 0
    while (seen := board.look(want)) is None or seen.jobs[0].state is JobState.OPEN:
        looks += 1
        assert looks < 100
    assert looks >= 5  # ten times as long as the first one took
    await story.whole(4)
    found = board.look(Want(place=want.place.failing()))
    assert found is not None and found.runs[0].done == 4
    board.close()
    await story.leave()


async def test_a_run_that_was_left_says_what_goes_on_with_it(state: Path) -> None:
    story = await mixed(state)
    async with seated(1) as seat:
        await seat.sees("batch 1  running")
        await story.leave()
        await seat.sees("batch 1  left", "nobody works on it any more", "hostler batch --resume 1")
        await seat.until(lambda: "open" in seat.cursor)  # what it does now, nobody knows
        await seat.press("enter")
        await seat.sees("── job 3 on n2: open, and nobody works on the run")


async def test_a_run_whose_owner_shows_no_life_is_stalled(state: Path) -> None:
    story = await mixed(state)
    story.store.beat(story.claim)
    long_ago = time.time() - 600
    for path in (state / "runs" / "1").iterdir():
        if path.is_file():
            os.utime(path, (long_ago, long_ago))
    async with seated(1) as seat:
        await seat.sees("batch 1  stalled", "no sign of life for 10m", "kill -CONT 7")
    await story.leave()


async def test_what_ends_something_is_asked_for_only_after_a_yes(state: Path) -> None:
    story = await mixed(state)
    async with seated(1) as seat:
        await seat.until(lambda: "runs" in seat.cursor)
        await seat.press("S")
        await seat.sees("stop batch 1?", "y yes  n no")
        await seat.press("n")
        await seat.sees_no("stop batch 1?")
        await seat.press("y")  # to nothing
        await seat.press("S", "escape", "y")
        assert seat.asked == []
        await seat.press("c")
        await seat.sees("cancel job 3 of batch 1?")
        await seat.press("y", "y")
        await seat.sees("cancel 1 3: done")
        assert seat.asked == [["cancel", "1", "3"]]
        await seat.press("S", "y")
        await seat.sees("stop 1: done")
    await story.leave()


async def test_a_run_is_paused_and_let_go_on_by_one_key(state: Path) -> None:
    story = await mixed(state)
    async with seated() as seat:
        await seat.sees("running")
        await seat.press("p")
        await seat.sees("pause 1: done")
        await story.tell(RunPaused(at=story.now))
        await seat.sees("paused")
        await seat.press("p")
        await seat.sees("unpause 1: done")
    await story.leave()


async def test_help_comes_and_goes_and_keys_stand_at_the_bottom(state: Path) -> None:
    async with seated(size=(80, 24)) as seat:
        await seat.sees("enter open", "/ filter", "f failing", "? help  q leave")
        await seat.press("question_mark")
        await seat.sees("Asking something of a run", "? closes this")
        await seat.press("tab", "question_mark")  # what lies beneath has no keys meanwhile
        await seat.sees("no runs yet")
        await seat.press("question_mark", "q")
        await seat.until(lambda: seat.pilot.app.return_value == 0)


@pytest.mark.parametrize("size", [(20, 5), (40, 10), (80, 24), (200, 60)])
async def test_it_can_be_used_at_any_size_and_after_each_change_of_it(
    state: Path, size: tuple[int, int]
) -> None:
    story = await Story.begin(state, jobs=range(100), hosts=["n1", "n2"])
    async with seated(1) as seat:
        await seat.until(lambda: len(seat.rows) > 10)
        await seat.press(*["down"] * 12)
        await seat.pilot.resize_terminal(*size)
        await seat.until(lambda: seat.cursor.startswith(">  13"), what="the cursor's row")
        await seat.press("tab")
        await seat.until(lambda: "n1" in seat.cursor)
        assert max(map(len, seat.lines)) <= size[0] and len(seat.lines) == size[1]
    await story.leave()


async def test_with_no_color_nothing_is_coloured_and_the_cursor_is_still_seen(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    story = await mixed(state)
    async with seated(1) as seat:
        await seat.sees("exit 3")
        app = seat.pilot.app
        assert app.no_color
        for strip in app.screen._compositor.render_strips():
            for segment in strip.apply_filter(app._filters[-1], app.background_colors[1]):
                style = segment.style
                assert style is None or style.color is None or style.color.is_default, segment
        assert seat.cursor
    await story.leave()


async def test_what_hosts_say_of_themselves_drives_no_terminal(state: Path) -> None:
    story = await Story.begin(state)
    await story.tell(HostOut(at=story.now, worker=1, why="it said \x1b]0;owned\x07"))
    async with seated(1) as seat:
        await seat.press("tab")
        await seat.sees("it said ^[]0;owned^G")
        assert "\x1b" not in seat.text and "\x07" not in seat.text
    await story.leave()


@pytest.mark.slow
async def test_a_server_that_goes_away_is_told_of_and_looked_for_until_it_is_back(
    own_server: OwnPostgres, tmp_path: Path
) -> None:
    url = own_server.make("fleet")
    with using(url):
        store = open_store()
        number = await accepted(store, 3, command="echo")
        await store.close()
        async with seated() as seat:
            await seat.sees("echo", "left")
            with own_server.frozen():
                await seat.sees("the store has not answered for")
                await seat.press("question_mark")  # keys don't wait for it
                await seat.sees("? closes this")
                await seat.press("escape")
            await seat.sees_no("not answered")
            own_server.stop()
            await seat.sees("trying again")
            assert "echo" in seat.text  # what was known still stands there
            await seat.press("enter")
            await seat.sees(f"run {number}  …")
            own_server.start()
            await seat.sees("0/3 0%", "waits")
            await seat.sees_no("trying again")


@pytest.fixture
def own_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnPostgres]:
    """A server that only this test stops."""
    if why := missing():
        pytest.skip(why)
    monkeypatch.setenv("HOSTLER_STATE_DIR", str(tmp_path))
    server = OwnPostgres()
    yield server
    server.close()
