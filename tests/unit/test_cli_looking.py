"""`runs`, `status` and `log` say what the store holds, to people and to scripts, and never more than that."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostler.cli.looking import report_text
from hostler.cli.main import main
from hostler.model.jobs import Ending, JobState
from tests.unit.screens import Screen
from tests.unit.stories import BEGIN, Story

CaptureFixture = pytest.CaptureFixture[str]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """An empty state folder, an hour east of Greenwich."""
    (tmp_path / "state").mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOSTLER_STATE_DIR", str(tmp_path / "state"))
        patch.setenv("TZ", "XYZ-1")
        time.tzset()
        yield tmp_path / "state"
    time.tzset()


async def mixed(state: Path) -> Story:
    """Four jobs: one well, one failed twice, one lost with its host and done again, one that printed binary."""
    story = await Story.begin(state, jobs=["a", "b c", "d", "e"], hosts=["n1", "n2"], slots=2)
    await story.whole(1, seconds=2.0, out=b"hello a\n", err=b"warning\n")
    await story.whole(2, Ending.EXIT, seconds=0.5, code=3, err=b"first try\n", then=JobState.QUEUED)
    await story.whole(2, Ending.EXIT, n=2, worker=2, seconds=0.25, code=3, err=b"no space left\r\n")
    await story.whole(3, Ending.LOST, worker=2, seconds=None, detail="n2 was rebooted", then=JobState.QUEUED)
    await story.lose(2, "n2: was rebooted too often")
    await story.whole(3, n=2, seconds=4.0)
    await story.whole(4, seconds=1.0, out=b"\xff\x1b[2J no newline")
    await story.finish(exit_code=1)
    return story


def shown(capsys: CaptureFixture, *words: str, code: int = 0) -> tuple[str, str]:
    """What a command line prints."""
    assert main(list(words)) == code
    said = capsys.readouterr()
    return said.out, said.err


def as_json(capsys: CaptureFixture, *words: str):
    """The one JSON value that a command line prints."""
    out, err = shown(capsys, *words, "--json")
    assert err == ""
    return json.loads(out)


# -- runs ---------------------------------------------------------------------------------------------------------


def test_without_any_run_there_is_an_empty_list(state: Path, capsys: CaptureFixture) -> None:
    assert as_json(capsys, "runs") == []
    assert shown(capsys, "runs") == ("", "hostler: there are no runs yet (hostler batch makes one)\n")
    assert list(state.iterdir()) == []


async def test_runs_are_listed_newest_first(state: Path, capsys: CaptureFixture) -> None:
    await mixed(state)
    left = await Story.begin(state, jobs=range(10), command=["sleep", "60"])
    await left.start(1)
    await left.leave()
    out, err = shown(capsys, "runs")
    assert err == ""
    assert out.splitlines() == [
        "  run  state     started              exit  jobs  ok  bad  left  command",
        "    2  left      2026-01-02 04:04:05          10             10  sleep 60",
        "    1  finished  2026-01-02 04:04:05     1     4   3    1        echo {}",
    ]


async def test_runs_tell_scripts_what_they_need(state: Path, capsys: CaptureFixture) -> None:
    await mixed(state)
    [run] = as_json(capsys, "runs")
    assert run == {
        "number": 1,
        "uid": "0" * 32,
        "kind": "batch",
        "state": "finished",
        "alive": False,
        "stalled": None,
        "paused": False,
        "draining": False,
        "owner": None,
        "created": BEGIN,
        "started": BEGIN,
        "finished": BEGIN + 7.75,
        "exit_code": 1,
        "command": "echo {}",
        "jobs": 4,
        "counts": {"ok": 3, "failed": 1},
    }


async def test_as_many_runs_are_listed_as_asked_for(state: Path, capsys: CaptureFixture) -> None:
    for _ in range(3):
        await (await Story.begin(state)).finish()
    assert [run["number"] for run in as_json(capsys, "runs", "-n", "2")] == [3, 2]


# -- which run ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["status", "log"])
async def test_a_run_is_called_by_number_by_last_and_by_its_uid(
    state: Path, capsys: CaptureFixture, verb
) -> None:
    await mixed(state)
    wanted = shown(capsys, verb, "1")
    assert shown(capsys, verb, "last") == wanted
    assert shown(capsys, verb, "0000") == wanted


@pytest.mark.parametrize("verb", ["status", "log"])
@pytest.mark.parametrize("name", ["999", "nonsense", "-1", "0", "1.5", "9" * 30, "abcdef12", "1; rm -rf /"])
async def test_an_unknown_run_is_one_line_and_wrong_usage(
    state: Path, capsys: CaptureFixture, verb: str, name: str
) -> None:
    await mixed(state)
    out, err = shown(capsys, verb, name, code=2)
    assert out == "" and err.startswith("hostler: ") and err.count("\n") == 1


async def test_the_newest_run_is_named_where_one_is_unknown(state: Path, capsys: CaptureFixture) -> None:
    await mixed(state)
    _, err = shown(capsys, "status", "999", code=2)
    assert "no run 999" in err and "1" in err.removeprefix("hostler: no run 999")


def test_last_of_no_runs_is_wrong_usage(state: Path, capsys: CaptureFixture) -> None:
    _, err = shown(capsys, "status", "last", code=2)
    assert err == "hostler: no run last: there are no runs yet (hostler batch makes one)\n"


# -- status -------------------------------------------------------------------------------------------------------


async def test_status_is_one_screen_of_all_that_matters(state: Path, capsys: CaptureFixture) -> None:
    await mixed(state)
    out, err = shown(capsys, "status", "1")
    assert err == ""
    assert out == (
        "batch 1 finished: 4 jobs on 2 hosts in 7.8s, 31/min\n"
        "  3 ok, 1 failed\n"
        "\n"
        "  command  echo {}\n"
        "  started  2026-01-02 04:04:05\n"
        "  ended    2026-01-02 04:04:12\n"
        "  uid      00000000000000000000000000000000\n"
        "\n"
        "hosts:\n"
        "  host  attempts  ok  failed  lost  mean  busy  state\n"
        "  n1           4   3       1        1.9s   48%\n"
        "  n2           2   0       1     1  0.1s    2%  out\n"
        "\n"
        "1 host out:\n"
        "  n2: was rebooted too often\n"
        "\n"
        "look closer: hostler log 1 --failed\n"
        "try again:   hostler batch --retry 1\n"
    )


async def test_status_of_a_run_at_work_shows_its_owner_and_what_is_open(
    state: Path, capsys: CaptureFixture
) -> None:
    story = await Story.begin(state, jobs=range(1, 6))
    await story.start(2)
    out, _ = shown(capsys, "status", "last")
    await story.leave()
    assert "batch 1 running: 0 of 5 jobs done on 1 host" in out
    assert "  owner    ann@laptop (pid 7)\n" in out
    assert "1 attempt open:\n" in out and "echo 2" in out
    assert out.endswith("watch it:    hostler batch --resume 1\n")


async def test_status_of_a_run_whose_owner_died_says_how_to_go_on(
    state: Path, capsys: CaptureFixture
) -> None:
    story = await Story.begin(state, jobs=range(1, 6))
    await story.start(2)
    await story.leave()
    out, _ = shown(capsys, "status", "last")
    assert "batch 1 left: 0 of 5 jobs done" in out
    assert "  owner    nobody works on it\n" in out
    assert "1 attempt open, which may still run; whoever goes on with the run asks its host:\n" in out
    assert out.endswith("go on:       hostler batch --resume 1\n")


async def test_of_a_run_left_with_open_jobs_nobody_says_how_long_it_worked(
    state: Path, capsys: CaptureFixture
) -> None:
    story = await Story.begin(state, jobs=range(1, 4), slots=1)
    await story.whole(1, seconds=2.0)
    await story.start(2)
    await story.leave()
    told = as_json(capsys, "status", "1")
    assert (told["seconds"], told["rate"], told["hosts"][0]["busy"]) == (None, None, None)
    out, _ = shown(capsys, "status", "1")
    assert " in " not in out.splitlines()[0] and "busy" not in out


async def test_status_tells_scripts_the_same(state: Path, capsys: CaptureFixture) -> None:
    story = await Story.begin(state, jobs=range(1, 4), hosts=["n1", "n2"], slots=1)
    await story.whole(1, seconds=2.0)
    await story.start(2, worker=2)
    told = as_json(capsys, "status", "1")
    await story.leave()
    assert (told["number"], told["alive"], told["counts"]) == (1, True, {"ok": 1, "open": 1, "queued": 1})
    assert told["next"] == "hostler batch --resume 1"
    assert [(host["name"], host["state"], host["ok"], host["open"]) for host in told["hosts"]] == [
        ("n1", "up", 1, 0),
        ("n2", "up", 0, 1),
    ]
    [open_] = told["open"]
    assert (open_["job"], open_["attempt"], open_["host"], open_["started"]) == (2, 1, "n2", BEGIN + 2.0)


# -- log ----------------------------------------------------------------------------------------------------------


async def test_log_of_a_run_is_one_line_per_attempt(state: Path, capsys: CaptureFixture) -> None:
    await mixed(state)
    out, err = shown(capsys, "log", "1")
    assert err == ""
    assert out.splitlines() == [
        "2026-01-02 04:04:05  1/1  n1    2.0s  ok           echo a",
        "2026-01-02 04:04:07  2/1  n1    0.5s  exit 3       echo 'b c'",
        "2026-01-02 04:04:07  2/2  n2    0.2s  exit 3       echo 'b c'",
        "2026-01-02 04:04:07  3/1  n2       ?  lost: n2 was rebooted  echo d",
        "2026-01-02 04:04:07  3/2  n1    4.0s  ok           echo d",
        "2026-01-02 04:04:11  4/1  n1    1.0s  ok           echo e",
    ]
    out, _ = shown(capsys, "log", "1", "--failed")
    assert [line.split()[2] for line in out.splitlines()] == ["2/1", "2/2", "3/1"]


async def test_log_of_a_run_is_one_json_list(state: Path, capsys: CaptureFixture) -> None:
    await mixed(state)
    told = as_json(capsys, "log", "1")
    assert [(each["job"], each["attempt"], each["ending"]) for each in told] == [
        (1, 1, "ok"),
        (2, 1, "exit"),
        (2, 2, "exit"),
        (3, 1, "lost"),
        (3, 2, "ok"),
        (4, 1, "ok"),
    ]
    assert told[2] == {
        "job": 2,
        "attempt": 2,
        "host": "n2",
        "ending": "exit",
        "code": 3,
        "signal": None,
        "dispatched": BEGIN + 2.5,
        "started": BEGIN + 2.5,
        "ended": BEGIN + 2.75,
        "seconds": 0.25,
        "detail": "",
        "maybe_duplicated": False,
        "stdout_bytes": 0,
        "stderr_bytes": 15,
    }


async def test_log_of_a_run_without_attempts_is_empty(state: Path, capsys: CaptureFixture) -> None:
    await (await Story.begin(state)).leave()
    assert shown(capsys, "log", "1") == ("", "")
    assert as_json(capsys, "log", "1") == []


def output(*words: str) -> tuple[bytes, bytes]:
    """What a command line writes to pipes, as a process of its own."""
    done = subprocess.run([sys.executable, "-m", "hostler", *words], capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


async def test_log_of_a_job_gives_its_output_back_stream_by_stream(state: Path) -> None:
    await mixed(state)
    out, err = output("log", "1", "1")
    assert out == b"hello a\n"
    assert err.decode().splitlines() == [
        "job 1 of batch 1: ok",
        "  echo a",
        "  attempt 1  n1  2026-01-02 04:04:05    2.0s  ok",
        "warning",
    ]


async def test_log_of_a_job_shows_every_attempt_and_the_last_one_s_output(state: Path) -> None:
    await mixed(state)
    out, err = output("log", "1", "2")
    assert (out, err.decode("utf-8").split("\n")) == (
        b"",
        [
            "job 2 of batch 1: failed",
            "  echo 'b c'",
            "  attempt 1  n1  2026-01-02 04:04:07    0.5s  exit 3",
            "  attempt 2  n2  2026-01-02 04:04:07    0.2s  exit 3",
            "output of attempt 2:",
            "no space left\r",
            "",
        ],
    )
    assert output("log", "1", "2", "--attempt", "1", "--stderr") == (b"first try\n", b"")


async def test_one_stream_of_a_job_comes_alone_and_byte_for_byte(state: Path) -> None:
    await mixed(state)
    assert output("log", "1", "4", "--stdout") == (b"\xff\x1b[2J no newline", b"")
    assert output("log", "1", "4", "--stderr") == (b"", b"")
    assert output("log", "1", "1", "--stderr") == (b"warning\n", b"")


async def test_on_a_terminal_a_job_s_output_is_made_harmless(state: Path) -> None:
    await mixed(state)
    for words, wanted in (
        (["--stdout"], b"<FF>^[[2J no newline\n"),
        (["--stdout", "--raw"], b"\xff\x1b[2J no newline"),
    ):
        screen = Screen()
        subprocess.run(
            [sys.executable, "-m", "hostler", "log", "1", "4", *words], stdout=screen.fd, check=True
        )
        assert screen.text() == wanted


async def test_log_of_a_job_is_one_json_object(state: Path, capsys: CaptureFixture) -> None:
    await mixed(state)
    told = as_json(capsys, "log", "1", "4")
    assert (told["run"], told["job"], told["state"], told["command"]) == (1, 4, "ok", "echo e")
    assert (told["arguments"], told["attempt"], len(told["attempts"])) == (["e"], 1, 1)
    assert told["stdout"] == "\ufffd\x1b[2J no newline"
    assert base64.b64decode(told["stdout_base64"]) == b"\xff\x1b[2J no newline"
    assert told["stderr"] == "" and "stderr_base64" not in told


async def test_a_job_that_was_not_tried_says_so(state: Path, capsys: CaptureFixture) -> None:
    await (await Story.begin(state)).leave()
    assert output("log", "1", "1") == (b"", b"job 1 of batch 1: queued\n  echo a\n  not tried yet\n")
    assert as_json(capsys, "log", "1", "1")["attempt"] is None


async def test_output_of_a_running_job_is_shown_as_far_as_it_has_come(state: Path) -> None:
    story = await Story.begin(state)
    await story.start(1)
    story.outputs.append(1, 1, 1, 0, b"so far\n")
    story.outputs.append(1, 1, 2, 0, b"so bad\n")
    story.outputs.sync()
    out, err = output("log", "1", "1")
    await story.leave()
    assert out == b"so far\n" and err.endswith(b"so bad\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["1", "5"], "job 5"),
        (["1", "x"], "JOB x: must be a whole number"),
        (["1", "0"], "JOB 0: must be a whole number"),
        (["1", "2", "--attempt", "3"], "job 2 of run 1 has no attempt 3; its attempts are 1 to 2"),
        (["1", "--stdout"], "are about one job: name it"),
    ],
)
async def test_asking_for_what_is_not_there_is_one_line(
    state: Path, capsys: CaptureFixture, words: list[str], line: str
) -> None:
    await mixed(state)
    out, err = shown(capsys, "log", *words, code=2)
    assert out == "" and line in err and err.count("\n") == 1


async def test_a_lost_output_file_is_said(state: Path) -> None:
    await mixed(state)
    for file in (state / "runs" / "1" / "out").iterdir():
        file.unlink()
    done = subprocess.run([sys.executable, "-m", "hostler", "log", "1", "1"], capture_output=True, text=True)
    assert done.returncode == 6
    assert done.stderr.splitlines()[-1].startswith("hostler: ") and "gone" in done.stderr


async def test_a_long_log_stops_when_its_reader_does(state: Path) -> None:
    await mixed(state)
    script = f"{sys.executable} -m hostler log 1 | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.stderr == "" and done.stdout == "0\n"


# -- the report ---------------------------------------------------------------------------------------------------


async def test_the_report_is_made_of_what_the_store_holds(state: Path) -> None:
    story = await mixed(state)
    from hostler.cli.looking import opened

    with opened() as reader:
        assert reader is not None
        text, code = report_text(reader, story.number, signal=None, colour=False)
    assert code == 1
    assert text == (
        "batch 1 finished: 4 jobs on 2 hosts in 7.8s, 31/min\n"
        "  3 ok, 1 failed\n"
        "\n"
        "1 job ended badly:\n"
        "  1 × exit 3 on n2 (job 2)\n"
        "      no space left\n"
        "      by: echo 'b c'\n"
        "\n"
        "hosts:\n"
        "  host  attempts  ok  failed  lost  mean  busy  state\n"
        "  n1           4   3       1        1.9s   48%\n"
        "  n2           2   0       1     1  0.1s    2%  out\n"
        "\n"
        "1 host out:\n"
        "  n2: was rebooted too often\n"
        "\n"
        "1 job may have had its effects twice (job 3): an attempt was ended or lost part-way, and another followed\n"
        "\n"
        "look closer:  hostler log 1 2\n"
        "try again:    hostler batch --retry 1\n"
    )


def test_looking_loads_nothing_that_only_work_needs(state: Path) -> None:
    import asyncio

    asyncio.run(mixed(state))
    heavy = {"pydantic", "alembic", "sqlalchemy", "asyncssh", "rich", "ruamel", "ClusterShell"}
    verbs = ("runs", "status 1", "log 1", "log 1 1", "log 1 1 -f", "report 1", "explain 1 1", "explain 1 n1")
    for words in map(str.split, (*verbs, "events 1")):
        code = (
            "import sys\nfrom hostler.cli.main import main\n"
            f"main({words!r})\n"
            f"print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stderr.splitlines()[-1] == "[]"
