"""Hosts that misbehave, and what the next run knows of them; jobs that take hosts with them; what is tried again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import ALL, Effects, Hostler
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.door import Door, entry, inventory
from tests.lab import Lab, wait_until

ONE = ("--hosts", "sandbox1")
#: A job that says when it begins, and ends its own runner if it is called so.
KILLER = 'echo {} >> "$EFFECTS"; case {} in k*) [ -e "$EFFECTS.go" ] || { sleep 0.2; kill -9 $PPID; sleep 9; };; esac'


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Hostler]:
    """A command with two hosts of its own, which the test may end."""
    with Lab() as lab:
        lab.shared(2)
        made = Hostler(tmp_path, lab)
        try:
            yield made
        finally:
            made.close()


def ledger(command: Hostler) -> dict[str, Any]:
    """What `hostler hosts` tells of each host's machine."""
    return {each["name"]: each["ledger"] for each in command.json("hosts")}


def test_a_host_that_answers_tells_of_itself_and_the_ledger_keeps_it(hostler: Hostler) -> None:
    assert ledger(hostler)["sandbox1"] is None
    assert hostler("batch", *ONE, "--", "true", ":::", "1").code == 0
    told = ledger(hostler)["sandbox1"]
    assert told is not None and told["state"] == "well" and told["strikes"] == 0
    assert isinstance(told["free_bytes"], int) and told["free_bytes"] > 0
    assert isinstance(told["cpus"], int) and told["cpus"] > 0
    assert isinstance(told["connect_seconds"], float) and isinstance(told["load"], float)
    skew = told["clock_skew_seconds"]
    assert isinstance(skew, float) and abs(skew) < 60, "it is this machine's own clock"
    screen = hostler("hosts", "sandbox1")
    assert screen.code == 0 and "well" in screen.out.decode() and "sandbox2" not in screen.out.decode()


def test_a_host_without_python_tells_of_itself_too(hostler: Hostler, ground: Lab) -> None:
    (host,) = ground.shared(1)
    (hostler.folder / "box.yaml").write_text(
        f"defaults: {{vars: {{python: none, spool: {hostler.folder}/spool}}}}\nhosts:\n{entry(host, 'box')}"
    )
    assert hostler("batch", "-i", "box.yaml", "--", "true", ":::", "1").code == 0
    told = ledger(hostler)["sandbox1"]  # another name of the same machine
    assert told is not None and isinstance(told["free_bytes"], int) and isinstance(told["load"], float)


def test_a_dead_host_is_struck_and_the_next_run_knows_it(own: Hostler, effects: Effects) -> None:
    dead, alive = own.lab.shared(2)
    own.lab.end(dead)
    (own.folder / "hosts.yaml").write_text("hosts:\n" + entry(dead, "dead") + entry(alive, "alive"))
    running = own.start("batch", "-i", "hosts.yaml", "-j", "1", *effects.waiting("a"))
    effects.wait(1, "begun")
    wait_until(lambda: own.json("explain", "last", "dead")["strikes"], what="a strike")
    effects.go()
    done = running.wait()
    assert done.code == 0, done.err
    told = {each["name"]: each["ledger"] for each in own.json("hosts", "-i", "hosts.yaml")}
    assert told["dead"]["state"] == "not reached since" and told["dead"]["strikes"] > 0.9
    assert "connection refused" in told["dead"]["why"] and told["alive"]["strikes"] == 0
    explained = own.json("explain", "last", "dead")
    assert explained["ledger"]["probation"] is True


@pytest.mark.slow  # a struck host is left alone for half a minute
def test_a_host_that_comes_back_joins_the_run_again(hostler: Hostler, ground: Lab, effects: Effects) -> None:
    with Door(ground.shared(1)[0]) as one, Door(ground.shared(2)[1]) as two:
        (hostler.folder / "doors.yaml").write_text(inventory(one, two))
        one.shut()
        running = hostler.start("batch", "-i", "doors.yaml", "-j", "1", *effects.waiting("a", "b"))
        effects.wait(1, "begun")
        wait_until(lambda: hostler.json("explain", "last", "door1")["strikes"], what="a strike")
        one.reopen()
        effects.wait(2, "begun", seconds=90)
        assert "door1: back again" in running.err
        effects.go()
        done = running.wait()
    assert done.code == 0, done.err
    assert {each["host"] for each in hostler.json("log", "last")} == {"door1", "door2"}


def test_a_job_that_takes_three_hosts_with_it_is_quarantined_and_the_others_are_done(
    hostler: Hostler, effects: Effects
) -> None:
    done = hostler(
        "batch",
        *ALL,
        "-j",
        "2",
        "--env",
        f"EFFECTS={effects}",
        "--",
        KILLER,
        ":::",
        *"abk",
        *"cde",
        seconds=120,
    )
    assert done.code == 4, done.err
    assert "5 ok, 1 quarantined" in done.err
    assert (
        "job 3 is quarantined: its runner died under it; 3 hosts were lost while this job ran there"
        in done.err
    )
    assert effects.counts["k"] == 3
    about = hostler.json("explain", "last", "3")
    assert (about["state"], about["hosts_lost"], about["tries"]) == ("quarantined", 3, 0)
    assert "hostler batch --retry 1 lets it out" in about["now"][0]
    assert {each["ending"] for each in hostler.json("log", "last", "3")["attempts"]} == {"lost"}
    listed = {each["name"]: each["ledger"]["strikes"] for each in hostler.json("hosts", "@sandbox")}
    assert min(listed.values()) > 0.9
    effects.go()
    again = hostler("batch", "--retry", "last")
    assert again.code == 0 and "6 ok" in again.err, "it is let out, and harmless now"


def test_a_host_where_too_many_fail_in_a_row_is_retired_and_the_run_says_so(hostler: Hostler) -> None:
    done = hostler("batch", *ONE, "-j", "1", "--strikes", "2", "--", "exit {}", ":::", *"01110")
    assert done.code == 5, done.err
    assert (
        "sandbox1: 2 jobs in a row failed or timed out on it (--strikes 2); it gets no more jobs" in done.err
    )
    assert "--strikes 2: every host has been retired" in done.err
    assert "1 ok, 1 failed, 3 not run" in done.err, "the last one that failed was put back"
    about = hostler("explain", "last", "3").out.decode()
    assert "the job is put back, as that was the failure for which sandbox1 gets no more jobs" in about
    assert hostler.json("explain", "last", "sandbox1")["state"] == "retired"
    # A resume gives it another chance, with the strikes that the run began with.
    done = hostler("batch", "--resume", "last")
    assert done.code == 5 and "1 ok, 2 failed, 2 not run" in done.err, done.err


@pytest.mark.slow
def test_more_bad_hosts_than_are_put_up_with_end_the_run(own: Hostler, effects: Effects) -> None:
    running = own.start("batch", *ALL, "-j", "1", "--max-bad-hosts", "0", "--on-disconnect", "lease=1",
                        *effects.waiting(*"abcdef"))  # fmt: skip
    effects.wait(2, "begun")
    own.lab.end(own.lab.shared(2)[0])
    # What runs on the other is let end, once the bad one is known to be so.
    words = "--max-bad-hosts 0: 1 of 2 hosts are bad (sandbox1)"
    wait_until(lambda: words in running.err, what=words)
    effects.go()
    done = running.wait(90)
    assert done.code == 5, done.err
    assert "hostler batch --resume 1" in done.err and "not run" in done.err
    [now] = own.json("explain", "1", "6")["now"]
    assert (
        now == f"nobody works on the run, which was ended ({words}); it waits for: hostler batch --resume 1"
    )


def test_only_what_is_named_is_tried_again_after_its_delay_and_a_resume_keeps_that(
    hostler: Hostler, effects: Effects
) -> None:
    job = f"date +%s.%N >> {effects}.$1; exit $1"
    words = ("--", "sh", "-c", job, "-", "{}", ":::", "75", "1")
    given = ("--retries", "2", "--retry-on", "75", "--retry-delay", "0.5s", "--retry-delay-max", "0.7s")
    done = hostler("batch", *ONE, *given, *words)
    assert done.code == 1, done.err
    times = [float(line) for line in Path(f"{effects}.75").read_text().split()]
    assert len(times) == 3 and times[1] - times[0] >= 0.5 and times[2] - times[1] >= 0.7
    assert len(Path(f"{effects}.1").read_text().split()) == 1
    text = hostler("explain", "last", "2").out.decode()
    assert "exit 1" in text and "not among what is tried again (--retry-on 75)" in text
    assert hostler("batch", "--retry", "last").code == 1
    assert len(Path(f"{effects}.75").read_text().split()) == 6
    assert len(Path(f"{effects}.1").read_text().split()) == 2
    spec = hostler.spec("1")
    assert (spec["retry_on"], spec["retry_delay"], spec["retry_delay_max"]) == ("75", 0.5, 0.7)


def test_what_was_interrupted_is_held_where_that_is_wanted(hostler: Hostler, effects: Effects) -> None:
    running = hostler.start(
        "batch", *ONE, "-j", "1", "--retry-on", "failed,timeout", *effects.waiting("a", "b")
    )
    effects.wait(1, "begun")
    running.signal(2)
    done = running.wait()
    assert done.code == 130 and "1 interrupted, 1 not run" in done.err, done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--retry-on", "75,foo"), "'foo' is none of failed, timeout, lost, interrupted and no exit code"),
        (("--retry-on", "75"), "say how often to try again, with --retries N"),
        (("--retry-delay", "1s"), "say how often to try again, with --retries N"),
        (
            ("--retries", "1", "--retry-delay", "9s", "--retry-delay-max", "1s"),
            "longer than --retry-delay-max",
        ),
        (("--max-bad-hosts", "many"), "write how many hosts may be bad, or which part of them: 3 or 10%"),
        (("--strikes", "x"), "--strikes x: must be a whole number"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    hostler: Hostler, words: tuple[str, ...], said: str
) -> None:
    hostler("batch", *ONE, *words, "--", "true", ":::", "1").refused(said)


def test_hosts_say_where_each_fact_comes_from(hostler: Hostler) -> None:
    (hostler.folder / "one.yaml").write_text(
        "defaults: {user: deploy}\nhosts:\n  web1: {address: 10.0.0.5}\n"
    )
    (hostler.folder / "two.yaml").write_text("hosts:\n  web1: {port: 2222}\n")
    files = ("-i", "one.yaml", "-i", "two.yaml")
    [about] = hostler.json("hosts", "web1", *files, "--explain")
    assert about["endpoint"] == "deploy@10.0.0.5:2222"
    assert about["sources"] == {
        "address": "one.yaml:3",
        "user": "one.yaml, defaults",
        "port": "two.yaml:2",
    }
    text = hostler("hosts", "web1", *files, "--explain").out.decode()
    assert "10.0.0.5" in text and "two.yaml:2" in text and "no run has met it yet" in text


def test_hosts_are_told_without_any_run_and_nonsense_is_refused(hostler: Hostler) -> None:
    done = hostler("hosts", "10.1.2.3", "--json")
    assert done.code == 0 and json.loads(done.out)[0]["ledger"] is None
    hostler("hosts", "@nosuchtag").refused("nosuchtag")
    hostler("hosts", "-i", "nowhere.yaml").refused("nowhere.yaml")
