"""The tables of a dashboard: which rows and columns stand there for which state, filter and sort."""

from __future__ import annotations

from typing import Any

import pytest

from hostler.engine.summary import HostFigures
from hostler.model.health import Fault, Health
from hostler.model.jobs import Ending, JobState
from hostler.model.runs import AttemptRow
from hostler.views.dashboard import Asked, JobLine, RunLine, jobs_table, runs_table
from hostler.views.dashboard_hosts import HostLine, hosts_table
from hostler.views.dashboard_words import HELP, KEYS, keys_line, modes_line, run_figures
from hostler.views.filters import Filter
from hostler.views.grids import GAP, Table, bar, padded, widths
from hostler.views.text import columns

NOW = 1000.0


def run(number: int, *, state: str = "running", ended: float | None = None, **counts: int) -> RunLine:
    """A run that began at 900, with so many jobs in each state."""
    by_state = {JobState[word.upper()]: count for word, count in counts.items()}
    return RunLine(
        number=number, kind="batch", state=state, counts=by_state, up=1, hosts=2, begun=900.0, ended=ended,
        command=f"convert {number}",
    )  # fmt: skip


def attempt(
    job: int, *, n: int = 1, worker: str = "n1", started: float | None = 990.0, **more: Any
) -> AttemptRow:
    """An attempt, open unless `ending` is given."""
    ending = more.get("ending")
    values: dict[str, Any] = {
        "dispatched_at": 990.0, "ended_at": None if ending is None else 995.0, "ending": ending, "code": None,
        "signal": None, "elapsed": None, "file": None, "offset": None, "out": None, "err": None, "indexed": False,
        "detail": "",
    }  # fmt: skip
    return AttemptRow(job=job, n=n, worker=worker, open=ending is None, started_at=started, **(values | more))


def host(name: str, *, state: str = "up", tags: tuple[str, ...] = (), **more: Any) -> HostLine:
    """A host of a run."""
    own = {key: more.pop(key) for key in ("rests_until", "health", "longest", "running") if key in more}
    return HostLine(figures=HostFigures(host=name, state=state, **more), tags=tags, **own)


def job(number: int, state: JobState, last: AttemptRow | None = None, *, said: str = "") -> JobLine:
    return JobLine(job=number, state=state, last=last, command=f"echo {number}", said=said)


def column(table: Table, head: str) -> list[str]:
    """The cells beneath a head."""
    place = [each.head for each in table.heads].index(head)
    return [row.cells[place] for row in table.rows]


def asked(text: str = "", **more: bool) -> Asked:
    return Asked(filter=Filter(text), **more)


# -- runs ---------------------------------------------------------------------------------------------------------

RUNS = [
    run(3, queued=5, open=1, ok=4),
    run(2, state="finished", ended=990.0, ok=8, failed=1, timeout=1, lost=2),
    run(1, state="left", ended=None, ok=1, queued=1),
]


def test_a_run_s_row_says_how_it_stands() -> None:
    table = runs_table(RUNS, asked(), now=NOW, width=120)
    assert column(table, "run") == ["3", "2", "1"]
    assert column(table, "state") == ["running", "finished", "left"]
    assert column(table, "ok") == ["4", "8", "1"]
    assert column(table, "failed") == ["", "2", ""]  # a timeout is a failure
    assert column(table, "lost") == ["", "2", ""]
    assert column(table, "hosts") == ["1/2", "2", "1/2"]  # of one that has ended nobody asks who is up
    assert column(table, "age") == ["1m40s"] * 3
    assert [cell[-4:] for cell in column(table, "jobs done")] == [" 40%", "100%", " 50%"]


def test_where_there_is_little_room_the_kind_of_a_run_is_left_out() -> None:
    assert "kind" not in [head.head for head in runs_table(RUNS, asked(), now=NOW, width=80).heads]
    assert "kind" in [head.head for head in runs_table(RUNS, asked(), now=NOW, width=120).heads]


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (asked("fail"), ["2"]),
        (asked("lost"), ["2"]),
        (asked("run"), ["3"]),  # it has a job that runs
        (asked("left"), ["1"]),
        (asked("3"), ["3"]),
        (asked("*vert* 2"), ["2"]),
        (asked("nothing"), []),
        (asked(failing=True), ["2"]),
        (asked(slowest=True), ["3", "1", "2"]),
    ],
)
def test_runs_are_chosen_and_sorted(wanted: Asked, numbers: list[str]) -> None:
    assert column(runs_table(RUNS, wanted, now=NOW, width=80), "run") == numbers


def test_an_empty_table_says_why() -> None:
    def empty(wanted: Asked) -> str:
        return runs_table(RUNS[:1], wanted, now=NOW, width=80).empty

    assert empty(asked("n1*")) == "no run is meant by 'n1*' (escape clears the filter)"
    assert empty(asked(failing=True)) == "no run fails (f shows all)"
    assert (
        empty(asked("n1*", failing=True)) == "no run that fails is meant by 'n1*' (escape clears the filter)"
    )
    assert empty(asked()) == ""


def test_a_run_that_has_ended_is_summed_up() -> None:
    assert run_figures(RUNS[1]) == "12/12 100%  8 ok, 1 failed, 1 timed out, 2 lost  2 hosts  in 1m30s"


# -- hosts --------------------------------------------------------------------------------------------------------

STRUCK = Health().struck(990.0, Fault.LOST, "n2 was rebooted")
HOSTS = [
    host("n1", tags=("web",), ok=5, busy=10.0, running=2, longest=attempt(7), open=3),
    host(
        "n2",
        state="out",
        tags=("db",),
        why="n2: connection refused",
        health=STRUCK,
        rests_until=1020.0,
        gone=1,
    ),
    host("n10", tags=("web",), ok=1, failed=2, busy=90.0, health=Health().answered(995.0)),
]


def hosts(wanted: Asked, *, width: int = 120, alive: bool = True) -> Table:
    return hosts_table(HOSTS, wanted, now=NOW, width=width, alive=alive, told={7: "step 3"})


def test_a_host_s_row_says_what_it_does_and_how_its_machine_stands() -> None:
    table = hosts(asked())
    assert column(table, "state") == ["up", "rests", "up"]
    assert column(table, "run") == ["2", "", ""]
    assert column(table, "ok") == ["5", "", "1"]
    assert column(table, "failed") == ["", "", "2"]
    assert column(table, "lost") == ["", "1", ""]
    assert column(table, "strikes") == ["", "1.0", ""]
    assert column(table, "rests") == ["", "20s", ""]
    assert column(table, "answered") == ["", "", "5.0s"]
    assert column(table, "at work on") == ["7 and 1 more, 10s: step 3", "connection refused", ""]


def test_columns_that_say_nothing_of_any_host_are_left_out() -> None:
    table = hosts_table(HOSTS[:1], asked(), now=NOW, width=120, alive=True, told={})
    assert not {"lost", "strikes", "rests"} & {head.head for head in table.heads}


def test_of_a_run_that_nobody_works_on_a_host_s_jobs_are_open_and_no_more_is_known() -> None:
    assert column(hosts(asked(), alive=False), "open") == ["3", "", ""]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (asked("n1*"), ["n1", "n10"]),
        (asked("n1"), ["n1", "n10"]),
        (asked("=n1"), ["n1"]),
        (asked("@web"), ["n1", "n10"]),
        (asked("@web n2"), []),
        (asked("n2 =n1"), ["n1", "n2"]),
        (asked("fail"), ["n10"]),
        (asked("rests"), ["n2"]),
        (asked(failing=True), ["n2", "n10"]),
        (asked(slowest=True), ["n10", "n1", "n2"]),
    ],
)
def test_hosts_are_chosen_and_sorted(wanted: Asked, names: list[str]) -> None:
    assert column(hosts(wanted), "host") == names


# -- jobs ---------------------------------------------------------------------------------------------------------

JOBS = [
    job(1, JobState.OPEN, attempt(1), said="step 3"),
    job(2, JobState.OPEN, attempt(2, started=None)),
    job(3, JobState.OK, attempt(3, ending="ok", elapsed=5.0), said="done"),
    job(4, JobState.FAILED, attempt(4, n=2, ending="exit", code=3, elapsed=0.5)),
    job(5, JobState.QUEUED),
    job(6, JobState.QUEUED, attempt(6, ending="exit", code=1)),
    job(7, JobState.CANCELLED),
    job(8, JobState.LOST, attempt(8, ending="lost", detail="n1 was rebooted")),
]


def jobs(*, width: int = 120, alive: bool = True) -> Table:
    return jobs_table(JOBS, asked(), now=NOW, width=width, alive=alive)


def test_a_job_s_row_says_where_it_stands() -> None:
    table = jobs()
    assert column(table, "job") == ["1", "2", "3", "4/2", "5", "6", "7", "8"]
    assert column(table, "state") == [
        "runs", "sent", "ok", "exit 3", "waits", "waits again", "cancelled", "lost: n1 was rebooted",
    ]  # fmt: skip
    assert column(table, "host") == ["n1", "n1", "n1", "n1", "", "n1", "", "n1"]
    assert column(table, "took") == ["10s", "", "5.0s", "0.5s", "", "?", "", "?"]
    assert column(table, "last line")[:3] == ["step 3", "", "done"]


def test_where_there_is_little_room_a_job_says_its_last_line_or_else_what_it_is() -> None:
    assert column(jobs(width=80), "last line, or command")[:3] == ["step 3", "echo 2", "done"]


def test_of_a_run_that_nobody_works_on_nobody_knows_what_its_open_jobs_do() -> None:
    table = jobs(alive=False)
    assert column(table, "state")[:3] == ["open", "open", "ok"]
    assert column(table, "took")[:3] == ["?", "?", "5.0s"]


def test_of_a_long_command_both_ends_are_shown() -> None:
    long = JobLine(
        job=1, state=JobState.QUEUED, last=None, command="sh -c 'something long' " * 9 + "/data/17.png"
    )
    [cell] = column(jobs_table([long], asked(), now=NOW, width=120, alive=True), "command")
    assert cell.startswith("sh -c 'some") and cell.endswith("/data/17.png") and len(cell) == 44


# -- the filter ---------------------------------------------------------------------------------------------------


def test_a_word_that_begins_a_state_s_name_is_that_state_and_any_other_a_host() -> None:
    assert Filter("fail").states == {JobState.FAILED}
    assert Filter("LOST time").states == {JobState.LOST, JobState.TIMEOUT}
    assert Filter("run").states == {JobState.OPEN}
    assert Filter("fail1").states == frozenset() and Filter("fail1").names == ["fail1"]
    assert Filter("f").names == ["f"]  # one letter is no state yet


def test_a_filter_that_names_no_host_means_all_of_them_and_one_that_names_some_only_those() -> None:
    known = {1: ("n1", ["web"]), 2: ("n2", ["db"]), 3: ("n10", ["web"])}
    assert Filter("fail 17").workers(known) is None
    assert Filter("n1*").workers(known) == [1, 3]
    assert Filter("@web =n1").workers(known) == [1]
    assert Filter("@nothing").workers(known) == []


@pytest.mark.parametrize("text", ["[", "*", "@", "=", "[!", "n[1", "\\", "?" * 50, "9" * 40, "é*", "a\tb"])
def test_whatever_is_typed_is_a_filter(text: str) -> None:
    some = Filter(text)
    assert isinstance(some.names_host("n1", ["web"]), bool)
    assert some.workers({1: ("n1", [])}) in (None, [], [1])


# -- how it is drawn ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("which", ["runs", "hosts", "jobs"])
def test_a_row_fills_its_room_and_no_more(width: int, which: str) -> None:
    table = {
        "runs": runs_table(RUNS, asked(), now=NOW, width=width),
        "hosts": hosts(asked(), width=width),
        "jobs": jobs(width=width),
    }[which]
    wide = widths(table, width)
    drawn = sum(wide) + GAP * (len(wide) - 1)
    assert drawn == width or (drawn > width and wide[-1] == 1) or width < 80
    for row in table.rows:
        assert [columns(padded(cell, w)) for cell, w in zip(row.cells, wide, strict=True)] == wide


def test_wide_characters_keep_columns_in_line() -> None:
    assert padded("不要回", 4) == "不… " and padded("不", 4, right=True) == "  不"


@pytest.mark.parametrize("done", range(0, 101, 7))
def test_a_bar_is_full_only_when_all_is_done(done: int) -> None:
    drawn = bar(done, 0, 100, width=10)
    assert ("░" not in drawn) == (done == 100) and len(drawn) == 15


@pytest.mark.parametrize("where", KEYS)
@pytest.mark.parametrize("width", [20, 60, 80, 200])
def test_the_keys_fit_and_the_ones_that_lead_out_are_named(where: str, width: int) -> None:
    text = keys_line(where, width)
    assert columns(text) <= width
    assert {"question": "n no", "filter": "", "help": "q leave"}.get(where, "q leave") in text


def test_help_fits_a_screen_of_80_by_24() -> None:
    assert max(map(columns, HELP.splitlines())) <= 78 and len(HELP.splitlines()) <= 23


def test_a_page_of_many_says_which_it_is() -> None:
    def told(first: int, *, more: bool, filter: str = "") -> str:
        return modes_line(
            failing=False, slowest=False, filter=filter, first=first, rows=500, more=more, total=1200
        )

    assert told(1, more=True) == "rows 1-500 of 1200, ] for more"
    assert told(501, more=True) == "rows 501-1000 of 1200, [ goes back, ] for more"
    assert told(501, more=False, filter="n1") == "'n1', rows 501-1000, [ goes back"
    assert told(1, more=False) == ""


def test_every_ending_has_a_word_and_a_look() -> None:
    for ending in Ending:
        line = job(1, JobState.FAILED, attempt(1, ending=ending.value, code=1, signal=9))
        [row] = jobs_table([line], asked(), now=NOW, width=80, alive=True).rows
        assert row.cells[1]
