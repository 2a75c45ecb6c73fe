"""A second terminal acts on a run: what it asks is done by the run's owner, or by itself where nobody owns it."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from tests.command import ALL, WAITING, Effects, Hostler, Running, survivors
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.door import entry
from tests.lab import Lab, wait_until

ONE = ("--hosts", "sandbox1", "-j", "1")


def at_work(hostler: Hostler, effects: Effects, *words: str, jobs: str = "abcd", begun: int = 2) -> Running:
    """A batch of jobs that wait for a word, of which so many are under way."""
    running = hostler.start("batch", *words, *effects.waiting(*jobs))
    effects.wait(begun, "begun")
    return running


def told(hostler: Hostler, *words: str) -> str:
    """The one line that a verb prints when it was done."""
    done = hostler(*words)
    assert done.code == 0, done.err
    assert len(done.lines) == 1, done.out
    return done.lines[0]


def test_stop_ends_what_runs_and_the_owner_says_for_whom(hostler: Hostler, effects: Effects) -> None:
    running = at_work(hostler, effects, *ALL, "-j", "1")
    assert told(hostler, "stop", "last") == (
        "batch 1: stopped: 4 not run; this goes on with it: hostler batch --resume 1"
    )
    assert not survivors(hostler.uid())
    done = running.wait()
    assert done.code == 143
    assert re.search(r"hostler: stop, asked for by \S+ \(pid \d+\): stopping: ", done.err), done.err
    status = hostler.json("status", "last")
    assert (status["state"], status["counts"], status["exit_code"]) == ("stopped", {"queued": 4}, 143)
    assert "it has ended already" in told(hostler, "stop", "1")
    effects.go()
    assert hostler("batch", "--resume", "last").code == 0
    assert all(effects.counts[f"done {job}"] == 1 for job in "abcd")


def test_a_drained_run_ends_what_it_began_and_nothing_else(hostler: Hostler, effects: Effects) -> None:
    running = at_work(hostler, effects, *ALL, "-j", "1")
    assert "nothing new is started" in told(hostler, "stop", "--drain", "last")
    assert hostler.json("runs")[0]["draining"]
    assert "draining already" in told(hostler, "stop", "--drain", "last")
    effects.go()
    done = running.wait()
    assert done.code == 143, done.err
    assert hostler.json("status", "last")["counts"] == {"ok": 2, "queued": 2}
    assert hostler("batch", "--resume", "last").code == 0
    assert effects.counts == {f"{word} {job}": 1 for word in ("begun", "done") for job in "abcd"}


def test_a_paused_run_starts_nothing_however_idle_and_after_a_resume(
    hostler: Hostler, effects: Effects
) -> None:
    running = at_work(hostler, effects, *ALL, "-j", "1")
    assert "paused: nothing new is started" in told(hostler, "pause", "last")
    effects.go()
    effects.wait(2, "done")
    wait_until(lambda: hostler.json("status", "1")["counts"] == {"ok": 2, "queued": 2}, what="two jobs done")
    assert hostler.json("runs")[0]["paused"] and running.process.poll() is None
    assert "paused already" in told(hostler, "pause", "last")
    running.kill()
    again = hostler.start("batch", "--resume", "last")
    wait_until(lambda: "hostler unpause 1" in again.err, what="the resumed run to say that it is paused")
    assert told(hostler, "unpause", "last") == "batch 1: no longer paused: 2 jobs to start"
    assert again.wait().code == 0
    assert effects.counts == {f"{word} {job}": 1 for word in ("begun", "done") for job in "abcd"}
    assert hostler("unpause", "1").code == 2


def test_a_pause_shows_on_a_run_that_nobody_works_on(hostler: Hostler, effects: Effects) -> None:
    running = at_work(hostler, effects, *ONE, jobs="abc", begun=1)
    running.kill()
    told(hostler, "pause", "last")
    lines = hostler("status", "last").lines
    assert lines[0].startswith("batch 1 left, paused: "), lines
    hints = [" ".join(line.split()) for line in lines[-2:]]
    assert hints == ["unpause it: hostler unpause 1", "go on: hostler batch --resume 1"]
    assert hostler.json("status", "last")["next"] == "hostler unpause 1"
    told(hostler, "stop", "last")
    assert hostler("status", "last").lines[0].startswith("batch 1 stopped, paused: ")
    again = hostler.start("batch", "--quiet", "--resume", "last")
    wait_until(lambda: "hostler unpause 1" in again.err, what="the resumed run to say that it is paused")
    effects.go()
    told(hostler, "unpause", "last")
    assert again.wait().code == 0


@pytest.mark.slow
def test_who_comes_later_reaches_hosts_as_the_run_was_told_to(hostler: Hostler, effects: Effects) -> None:
    ways = ("--transport", "openssh", "--forks", "3", "--strict-host-keys")
    running = at_work(hostler, effects, *ONE, *ways, jobs="ab", begun=1)
    running.kill()
    kept = {"transport": "openssh", "forks": 3, "strict": True}
    assert {key: hostler.spec("1")[key] for key in kept} == kept
    assert told(hostler, "cancel", "last", "1") == "batch 1: job 1: cancelled"
    assert told(hostler, "stop", "last").startswith("batch 1: stopped: 1 cancelled, 1 not run")
    events = map(json.loads, hostler("events", "last", "--jsonl").lines)
    came = [each for each in events if each["type"] == "host.connected"]
    assert len(came) >= 3 and all(each["way"].startswith("openssh, ") for each in came), came
    effects.go()
    resumed = hostler("batch", "--resume", "last", HOSTLER_BATCH_TRANSPORT="asyncssh")
    assert resumed.code == 3, resumed.err
    assert {key: hostler.spec("1")[key] for key in kept} == kept
    hostler("add", "last", ":::", "c")
    assert hostler("batch", "--resume", "last", "--transport", "asyncssh").code == 3
    assert {key: hostler.spec("1")[key] for key in kept} == kept | {"transport": "asyncssh"}


def test_jobs_and_hosts_join_a_run_that_is_under_way(hostler: Hostler, effects: Effects) -> None:
    running = at_work(hostler, effects, *ONE, jobs="a", begun=1)
    assert told(hostler, "add", "last", ":::", "b", "c d") == "batch 1: added: jobs 2 to 3"
    (hostler.folder / "more").write_text("e\nf\n")
    assert told(hostler, "add", "last", "--jobs", "more", "--hosts", "sandbox2") == (
        "batch 1: added: jobs 4 to 5 and 1 host"
    )
    effects.wait(2, "begun")  # the host that joined takes one at once
    done = hostler("add", "last", stdin=b"g\n")
    assert done.lines == ["batch 1: added: job 6"]
    effects.go()
    ended = running.wait()
    assert (ended.code, sorted(ended.lines)) == (0, ["a", "b", "c d", "e", "f", "g"])
    assert {attempt["host"] for attempt in hostler.json("log", "last")} == {"sandbox1", "sandbox2"}


@pytest.mark.parametrize(
    ("options", "first", "words", "more", "printed"),
    [
        (("--header", ":", "--colsep", ","), b"name,age\nbob,3\n", ("{name} {age}",), b"x,4\ny,5\n", ["x 4", "y 5"]),
        (("--words",), b"a 'b c'\n", ("{2}:{1}",), b"d 'e f'\n", ["e f:d"]),
        (("-0",), b"a\0", ("{}",), b"one\ntwo\0", ["one", "two"]),
    ],
    ids=["colsep", "words", "null"],
)  # fmt: skip
def test_jobs_that_are_added_are_cut_as_the_runs_own_were(
    hostler: Hostler, options: tuple[str, ...], first: bytes, words: tuple[str, ...], more: bytes, printed: list[str]
) -> None:  # fmt: skip
    begun = hostler("batch", *ONE, *options, "--", "printf", "%s\\n", *words, stdin=first)
    assert begun.code == 0, begun.err
    hostler("add", "last", stdin=b"").refused("no jobs")
    added = hostler("add", "last", stdin=more)
    assert added.code == 0, added.err
    again = hostler("batch", "--resume", "last")
    assert (again.code, again.lines) == (0, printed), again.err


def test_a_line_of_too_few_columns_adds_nothing(hostler: Hostler) -> None:
    assert hostler("batch", *ONE, "--colsep", ",", "--", "echo", "{2}", stdin=b"a,b\n").code == 0
    hostler("add", "last", stdin=b"c,d\ne\n").refused("stdin: line 2", "{2}")
    assert hostler.json("status", "last")["counts"] == {"ok": 1}


def test_jobs_added_to_a_finished_run_wait_for_a_resume(hostler: Hostler, effects: Effects) -> None:
    effects.go()
    assert hostler("batch", *ONE, *effects.waiting("a")).code == 0
    assert told(hostler, "add", "last", ":::", "b") == "batch 1: added: job 2; they wait for a resume"
    status = hostler.json("status", "last")
    assert (status["counts"], status["exit_code"], status["finished"]) == ({"ok": 1, "queued": 1}, None, None)
    assert b" left " in hostler("runs").out
    waited = hostler("wait", "last")
    assert (waited.code, "batch 1: left: 1 ok, 1 not run" in waited.err) == (6, True), waited.err
    assert hostler("batch", "--resume", "last").code == 0
    assert effects.counts == {f"{word} {job}": 1 for word in ("begun", "done") for job in "ab"}


@pytest.mark.slow
def test_settings_hold_from_now_on_also_where_jobs_run_already(hostler: Hostler, effects: Effects) -> None:
    running = at_work(hostler, effects, *ONE, "--timeout", "5m", jobs="abcdef", begun=1)
    assert told(hostler, "set", "last", "--slots", "3") == "batch 1: from now on: slots 3"
    effects.wait(3, "begun")
    assert "timeout 1s, retries 1; what runs keeps its timeout" in told(
        hostler, "set", "last", "--timeout", "1s", "--retries", "1"
    )
    told(hostler, "set", "last", "-j", "4")
    wait_until(lambda: effects.counts["begun d"] == 2, what="the fourth job to be tried again")
    effects.go()
    assert running.wait().code in (0, 3)
    counts = effects.counts
    assert all(counts[f"begun {job}"] == 1 and counts[f"done {job}"] == 1 for job in "abc"), counts
    assert {key: hostler.spec("1")[key] for key in ("slots", "timeout", "retries")} == {
        "slots": 4, "timeout": 1.0, "retries": 1,
    }  # fmt: skip


def test_a_job_is_cancelled_whether_it_waits_or_is_sent_or_runs(hostler: Hostler, effects: Effects) -> None:
    running = at_work(hostler, effects, *ONE, jobs="abcdefgh", begun=1)
    assert told(hostler, "cancel", "last", "8", "2", "1") == "batch 1: jobs 1, 2, 8: cancelled"
    effects.wait(2, "begun")
    assert effects.counts["begun b"] == 0 and effects.counts["begun c"] == 1
    assert not any(name.endswith("/1/1") for name in survivors(hostler.uid()).values())
    assert told(hostler, "cancel", "last", "4-6") == "batch 1: jobs 4, 5, 6: cancelled"
    effects.go()
    done = running.wait()
    assert done.code == 3 and "6 cancelled" in done.err and "2 ok" in done.err
    assert effects.counts == Counter(["begun a", "begun c", "done c", "begun g", "done g"])
    assert "nothing to try again" in hostler("batch", "--retry", "last").err


def test_with_nobody_at_work_each_is_done_all_the_same(hostler: Hostler, effects: Effects) -> None:
    at_work(hostler, effects, *ALL, "-j", "1", jobs="abcdef").kill()
    uid = hostler.uid()
    running = {name.split("/")[1] for name in survivors(uid).values()}
    one, other = sorted(running)
    assert told(hostler, "pause", "last") == "batch 1: paused: nothing new is started; what runs goes on"
    assert told(hostler, "set", "last", "--retries", "2") == "batch 1: from now on: retries 2"
    assert told(hostler, "add", "last", ":::", "g") == "batch 1: added: job 7; they wait for a resume"
    assert told(hostler, "cancel", "last", one, "6") == f"batch 1: jobs {one}, 6: cancelled"
    assert {name.split("/")[1] for name in survivors(uid).values()} == {other}, "the rest of the run goes on"
    assert not hostler.json("status", "last")["alive"]
    assert told(hostler, "stop", "last").startswith("batch 1: stopped, paused: 2 cancelled, 5 not run")
    assert not survivors(uid)
    assert (
        told(hostler, "unpause", "last") == "batch 1: no longer paused: 5 jobs to start; nobody works on it"
    )
    effects.go()
    assert hostler("batch", "--resume", "last").code == 3
    counts = effects.counts
    assert sum(counts[f"done {job}"] for job in "abcdefg") == 5 and counts["done f"] == 0


@pytest.mark.slow
def test_stop_names_the_host_that_nobody_can_reach(hostler: Hostler, effects: Effects) -> None:
    with Lab() as passing:
        (gone,) = passing.hosts(1)
        (hostler.folder / "away.yaml").write_text("hosts:\n" + entry(gone, "away"))
        running = hostler.start("batch", "-i", "away.yaml", "-j", "1", *effects.waiting("a", "b"))
        effects.wait(1, "begun")
        running.kill()
    stopped = hostler("stop", "last")
    assert (stopped.code, stopped.out) == (4, b"")
    assert "hostler: away: jobs 1, 2 may still run there, until the lease ends (" in stopped.err
    assert (
        "not stopped on away: 2 open; once that can be reached, this ends what still runs: hostler stop 1"
        in (stopped.err)
    )
    cancelled = hostler("cancel", "last", "2")
    assert (cancelled.code, cancelled.out) == (4, b""), cancelled.err
    trouble, end = cancelled.err.splitlines()
    assert trouble.startswith("hostler: away: job 2 may still run there, until the lease ends (")
    assert end.startswith(
        "hostler: batch 1: job 2 not cancelled yet: away could not be reached; it stays asked for"
    )
    before = len(hostler("events", "last", "--jsonl").lines)
    assert hostler("pause", "last").code == hostler("set", "last", "--slots", "2").code == 0
    assert hostler("add", "last", ":::", "c").code == hostler("unpause", "last").code == 0
    since = [json.loads(line)["type"] for line in hostler("events", "last", "--jsonl").lines[before:]]
    assert not [kind for kind in since if kind.startswith("host.")]  # such visits go to no host


@pytest.mark.slow
def test_two_that_ask_at_once_are_both_answered(hostler: Hostler, effects: Effects) -> None:
    running = at_work(hostler, effects, *ONE, jobs="abcd", begun=1)
    askers = [hostler.start("cancel", "last", "1", "3") for _ in range(2)]
    answers = sorted(asker.wait().lines + asker.err.splitlines() for asker in askers)
    assert ["batch 1: jobs 1, 3: cancelled"] in answers, answers
    running.signal(2)
    assert running.wait().code == 130
    stops = [hostler.start("stop", "last") for _ in range(3)]
    assert [stop.wait().code for stop in stops] == [0, 0, 0]


def test_waiting_gives_the_exit_code_of_who_works_on_the_run(hostler: Hostler, effects: Effects) -> None:
    jobs = "sh", "-c", f'{WAITING}; test "$2" = a', "-", str(effects), "{}"
    running = hostler.start("batch", *ONE, "--", *jobs, ":::", "a", "b")
    effects.wait(1, "begun")
    hostler("wait", "last", "--timeout", "0.3").refused("batch 1: not ended", code=124)
    waiting = hostler.start("wait", "last")
    effects.go()
    done = waiting.wait()
    assert (done.code, done.out, running.wait().code) == (1, b"", 1)
    assert done.err == "hostler: batch 1: finished: 1 ok, 1 failed\n"


@pytest.mark.slow
def test_stop_ends_the_machines_of_a_run_that_nobody_works_on(hostler: Hostler, effects: Effects) -> None:
    running = hostler.start(
        "batch", "--launch", "1", "--provider", "sandbox", "-j", "1", *effects.waiting("a", "b")
    )
    effects.wait(1, "begun")
    uid = hostler.uid()
    running.kill()
    assert [machine for machine in hostler.json("sandbox", "list") if machine["run_uid"] == uid]
    assert told(hostler, "stop", "last").startswith("batch 1: stopped: 2 not run")
    assert not [machine for machine in hostler.json("sandbox", "list") if machine["run_uid"] == uid]
    assert not survivors(uid)
