"""A run outlives whoever works on it: gone on with, watched, tried again, with the options given last."""

from __future__ import annotations

import os
import signal

from tests.command import ALL, WAITING, Effects, Hostler, at_the_same_time
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.door import entry
from tests.lab import Lab, wait_until

#: A job that says when it is at work, for a quarter of a second.
BOUNDED = 'echo "+ $2" >> "$1"; sleep 0.25; echo "- $2" >> "$1"'


def test_a_finished_run_resumed_prints_its_report_and_gives_its_exit_code(
    hostler: Hostler, effects: Effects
) -> None:
    assert hostler("batch", *ALL, "--", f"echo {{}} >> {effects}; test {{}} = a", ":::", "a", "b").code == 1
    again = hostler("batch", "--resume", "1")
    assert (again.code, again.out) == (1, b"")
    assert "1 ok, 1 failed" in again.err and "hostler batch --retry 1" in again.err
    assert effects.counts == {"a": 1, "b": 1}


def test_the_controller_killed_in_the_middle_loses_nothing_and_repeats_nothing(
    hostler: Hostler, effects: Effects
) -> None:
    running = hostler.start("batch", *ALL, "-j", "1", *effects.waiting(*"abcdef"))
    effects.wait(2, "begun")
    running.kill()
    status = hostler("status", "last")
    assert "left" in status.out.decode() and "hostler batch --resume 1" in status.out.decode()
    effects.go()
    resumed = hostler("batch", "--resume", "last")
    assert resumed.code == 0, resumed.err
    assert effects.counts == {f"{word} {job}": 1 for word in ("begun", "done") for job in "abcdef"}
    assert sorted(resumed.lines) == [*"abcdef"]
    # What waited on a busy host may have been taken back before it began, and given to an idle one.
    begun = [each for each in hostler.json("log", "last") if each["ending"] != "revoked"]
    assert len(begun) == 6 and all(each["ending"] == "ok" for each in begun)


def test_a_run_that_somebody_works_on_is_followed_to_the_same_exit_code(
    hostler: Hostler, effects: Effects
) -> None:
    first = hostler.start("batch", *ALL, "--", "sh", "-c", f'{WAITING}; test "$2" = a', "-", str(effects), "{}",
                          ":::", "a", "b")  # fmt: skip
    effects.wait(2, "begun")
    second = hostler.start("batch", "--resume", "last")
    wait_until(lambda: "following it" in second.err, what="the second one to follow")
    effects.go()
    one, two = first.wait(), second.wait()
    assert (one.code, two.code) == (1, 1), two.err
    assert sorted(one.lines) == sorted(two.lines) == ["a", "b"]
    assert "1 ok, 1 failed" in two.err
    assert effects.counts == {f"{word} {job}": 1 for word in ("begun", "done") for job in "ab"}


def test_who_follows_a_run_leaves_it_alone_when_told_to_end(hostler: Hostler, effects: Effects) -> None:
    first = hostler.start("batch", *ALL, *effects.waiting("a", "b"))
    effects.wait(2, "begun")
    second = hostler.start("batch", "--resume", "last")
    wait_until(lambda: "following it" in second.err, what="the second one to follow")
    second.signal(signal.SIGINT)
    followed = second.wait(10)
    assert followed.code == 130 and "Traceback" not in followed.err
    assert "goes on" in followed.err
    effects.go()
    assert first.wait().code == 0
    assert effects.counts == {f"{word} {job}": 1 for word in ("begun", "done") for job in "ab"}


def test_who_follows_takes_over_when_the_owner_dies(hostler: Hostler, effects: Effects) -> None:
    first = hostler.start("batch", *ALL, "-j", "1", *effects.waiting(*"abcd"))
    effects.wait(2, "begun")
    second = hostler.start("batch", "--resume", "last")
    wait_until(lambda: "following it" in second.err, what="the second one to follow")
    first.kill()
    effects.go()
    done = second.wait()
    assert done.code == 0, done.err
    assert effects.counts == {f"{word} {job}": 1 for word in ("begun", "done") for job in "abcd"}


def test_two_that_resume_at_once_do_each_job_once(hostler: Hostler, effects: Effects) -> None:
    first = hostler.start("batch", *ALL, "-j", "1", *effects.waiting(*"abcdefgh"))
    effects.wait(2, "begun")
    first.kill()
    both = [hostler.start("batch", "--resume", "last") for _ in range(2)]
    effects.go()
    ended = [one.wait() for one in both]
    assert [one.code for one in ended] == [0, 0], [one.err for one in ended]
    assert effects.counts == {f"{word} {job}": 1 for word in ("begun", "done") for job in "abcdefgh"}


def test_retry_puts_back_what_went_wrong_and_nothing_else(hostler: Hostler, effects: Effects) -> None:
    text = (
        f"echo {{}} >> {effects}; test {{}} = ok && exit; test -e {effects}.go && exit; "
        "test {} = slow && sleep 60; exit 1"
    )
    first = hostler("batch", *ALL, "--timeout", "2", "--", text, ":::", "ok", "bad", "slow")
    assert first.code == 3 and "1 ok, 1 failed, 1 timed out" in first.err
    effects.go()
    again = hostler("batch", "--retry", "1")
    assert again.code == 0, again.err
    assert effects.counts == {"ok": 1, "bad": 2, "slow": 2}
    assert sorted((each["job"], each["attempt"]) for each in hostler.json("log", "1")) == [
        (1, 1), (2, 1), (2, 2), (3, 1), (3, 2)
    ]  # fmt: skip
    assert hostler.json("status", "1")["counts"] == {"ok": 3}


def test_retry_of_a_run_in_which_all_went_well_says_so(hostler: Hostler, effects: Effects) -> None:
    hostler("batch", *ALL, "--", f"echo {{}} >> {effects}", ":::", "a")
    again = hostler("batch", "--retry", "last")
    assert again.code == 0 and effects.counts == {"a": 1}
    assert "nothing to try again" in again.err


def test_retry_of_a_run_that_somebody_works_on_is_refused(hostler: Hostler, effects: Effects) -> None:
    first = hostler.start("batch", *ALL, *effects.waiting("a"))
    effects.wait(1, "begun")
    refused = hostler("batch", "--retry", "last")
    refused.refused("being worked on", code=6)
    effects.go()
    assert first.wait().code == 0


def test_options_given_when_going_on_hold_from_then_on(hostler: Hostler, effects: Effects) -> None:
    first = hostler.start("batch", "--hosts", "sandbox1", "-j", "1", "--", "sh", "-c", BOUNDED, "-", str(effects),
                          "{}", ":::", *map(str, range(16)))  # fmt: skip
    effects.wait(3)
    first.signal(signal.SIGINT)
    first.wait()
    before = len(effects.lines)
    assert at_the_same_time(effects) == 1
    resumed = hostler("batch", "--resume", "1", "-j", "4", "--retries", "1", "--timeout", "30")
    assert resumed.code == 0, resumed.err
    later = Effects(effects.path.with_name("later"))
    later.path.write_text("".join(line + "\n" for line in effects.lines[before:]))
    assert at_the_same_time(later) == 4
    hostler("batch", "--resume", "1", "--timeout", "9")
    spec = hostler.spec("1")
    assert (spec["slots"], spec["retries"], spec["timeout"]) == (4, 1, 30)


def test_a_new_timeout_when_trying_again(hostler: Hostler) -> None:
    assert hostler("batch", *ALL, "--timeout", "1", "--", "sleep", ":::", "2").code == 3
    assert hostler("batch", "--retry", "1", "--timeout", "30").code == 0


def test_hosts_given_when_going_on_take_the_place_of_the_old_ones(hostler: Hostler, effects: Effects) -> None:
    with Lab() as passing:
        (gone,) = passing.hosts(1)
        sheet = "hosts:\n" + entry(gone, "away")
        (hostler.folder / "away.yaml").write_text(sheet)
        first = hostler.start("batch", "-i", "away.yaml", *effects.waiting("a", "b", "c", "d"))
        effects.wait(1, "begun")
        first.signal(signal.SIGINT)
        first.wait()
    effects.go()
    resumed = hostler("batch", "--resume", "1", *ALL)
    assert resumed.code == 0, resumed.err
    assert all(effects.counts[f"done {job}"] == 1 for job in "abcd")
    done_by = {each["host"] for each in hostler.json("log", "1") if each["ending"] == "ok"}
    assert done_by <= {"sandbox1", "sandbox2"}


def test_a_second_run_beside_the_first_is_no_trouble(hostler: Hostler, effects: Effects) -> None:
    first = hostler.start("batch", *ALL, *effects.waiting("a", "b"))
    effects.wait(2, "begun")
    assert hostler("batch", *ALL, "--", "echo", ":::", "x").lines == ["x"]
    assert [run["state"] for run in hostler.json("runs")] == ["finished", "running"]
    effects.go()
    assert first.wait().code == 0
    assert os.path.isdir(hostler.folder / "state")
