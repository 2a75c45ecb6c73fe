"""A machine's health as a fold of what befell it: strikes fade, probation ends, a clock that jumps does no harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostler.errors import UsageError
from hostler.model.badhosts import BadHosts
from hostler.model.health import FAINT, HALF_LIFE, LONGEST_REST, MOST, REST, SAME, Fault, Health
from hostler.model.hosts import Host
from hostler.model.jobs import Ending
from hostler.model.retrying import USUAL, WORDS, RetryRule, delay_before

MOMENT = st.floats(0, 1e10)
FAULTS = st.sampled_from(list(Fault))
#: What may befall a machine: seconds since the last thing (a clock may go back), and what.
BEFALLS = st.lists(
    st.tuples(st.floats(-1e5, 1e5), st.sampled_from(["struck", "answered", "trusted"]), FAULTS)
)


def fold(befalls: list[tuple[float, str, Fault]]) -> tuple[Health, float]:
    health, at = Health(), 1e6
    for later, what, fault in befalls:
        at += later
        if what == "struck":
            health = health.struck(at, fault, "why")
        elif what == "answered":
            health = health.answered(at, took=1.0)
        else:
            health = health.trusted()
    return health, at


@given(BEFALLS)
def test_strikes_and_rests_stay_within_bounds_whatever_befalls(
    befalls: list[tuple[float, str, Fault]],
) -> None:
    health, at = fold(befalls)
    assert 0 <= health.strikes_at(at) <= MOST
    assert REST <= health.rest_at(at) <= LONGEST_REST


@given(BEFALLS, st.floats(0, 1e6), st.floats(0, 1e6))
def test_strikes_only_fade(befalls: list[tuple[float, str, Fault]], one: float, two: float) -> None:
    health, at = fold(befalls)
    soon, late = sorted((one, two))
    assert health.strikes_at(at + late) <= health.strikes_at(at + soon)


@given(BEFALLS, st.floats(-1e9, 0))
def test_a_clock_that_was_set_back_brings_no_strikes_back(
    befalls: list[tuple[float, str, Fault]], back: float
) -> None:
    health, _ = fold(befalls)
    assert health.strikes_at(health.struck_at + back) == health.strikes


@given(BEFALLS)
def test_probation_ends_in_the_end_even_if_nobody_looks(befalls: list[tuple[float, str, Fault]]) -> None:
    health, at = fold(befalls)
    assert not health.probation_at(max(at, health.struck_at) + 6 * HALF_LIFE)


@given(BEFALLS, FAULTS)
def test_one_more_strike_is_never_for_the_better(
    befalls: list[tuple[float, str, Fault]], fault: Fault
) -> None:
    health, at = fold(befalls)
    worse = health.struck(at, fault, "again")
    assert worse.strikes_at(at) >= health.strikes_at(at) and worse.rest_at(at) >= health.rest_at(at)
    assert worse.probation_at(at) or worse.strikes_at(at) <= FAINT


def test_what_one_reboot_takes_is_one_strike() -> None:
    health = Health()
    for job in range(100):
        health = health.struck(1000.0 + job * SAME / 200, Fault.LOST, "it was rebooted")
    assert health.strikes_at(1000.0 + SAME) == pytest.approx(1.0, abs=0.01)


def test_who_could_only_not_be_reached_is_well_as_soon_as_it_answers() -> None:
    assert not Health().struck(0, Fault.UNREACHABLE, "w").answered(1).probation_at(1)
    for fault in (Fault.REFUSED, Fault.LOST):
        answers = Health().struck(0, fault, "w").answered(1)
        assert answers.probation_at(1) and not answers.trusted().probation_at(1)
        assert answers.trusted().strikes_at(1) > 0.9  # it is let in, and its past is not forgotten


def test_going_out_of_reach_is_no_excuse_for_lost_jobs() -> None:
    health = Health().struck(0, Fault.LOST, "rebooted").struck(60, Fault.UNREACHABLE, "no route").answered(61)
    assert health.probation_at(61) and health.strikes_at(61) > 1.9 and health.why == "no route"


def test_the_usual_connect_time_follows_slowly() -> None:
    health = Health().answered(0, took=1.0).answered(1, took=2.0)
    assert health.took == pytest.approx(1.3)
    assert health.answered(2).took == health.took


# -- machines ---------------------------------------------------------------------------------------------------------


def test_two_names_and_two_accounts_of_one_endpoint_are_one_machine_and_a_known_key_tells_for_sure() -> None:
    one = Host(name="a", address="Web1", user="ann")
    assert one.machine == Host(name="b", address="web1", port=22, user="bob").machine
    assert one.machine != Host(name="a", address="web1", port=2222).machine
    assert one.machine != Host(name="a", address="web1", jump="gate").machine
    keyed = Host(name="a", address="10.0.0.1", host_key="ssh-ed25519 AAAA me@there")
    assert keyed.machine == Host(name="b", address="10.0.0.2", host_key="ssh-ed25519 AAAA").machine


# -- what is tried again ----------------------------------------------------------------------------------------------


@given(st.sets(st.sampled_from(list(WORDS))), st.sets(st.integers(1, 255), max_size=5))
def test_a_rule_says_itself_in_words_that_read_the_same(words: set[str], codes: set[int]) -> None:
    rule = RetryRule(frozenset(words), frozenset(codes))
    assert RetryRule.parse(str(rule)) == rule


def test_a_rule_takes_what_it_names_and_nothing_else() -> None:
    rule = RetryRule.parse("75,timeout,lost")
    assert rule.takes(Ending.EXIT, 75) and rule.takes(Ending.TIMEOUT, None) and rule.takes(Ending.LOST, None)
    assert not rule.takes(Ending.EXIT, 1) and not rule.takes(Ending.INTERRUPTED, None)
    assert not rule.takes(Ending.SIGNAL, None)
    assert all(RetryRule.parse(USUAL).takes(ending, 1) for endings in WORDS.values() for ending in endings)


@pytest.mark.parametrize("text", ["", "fail", "0", "256", "75,,lost", "none,75", "-1", "7.5", "٣"])
def test_a_rule_that_nobody_can_read_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no exit code from 1 to 255"):
        RetryRule.parse(text)


@given(st.integers(0, 10_000), st.floats(0.001, 1e6), st.floats(0.001, 1e6))
def test_delays_grow_to_their_most_and_no_further(tries: int, first: float, most: float) -> None:
    delay = delay_before(tries, first=first, most=most)
    assert 0 <= delay <= most
    assert delay_before(tries + 1, first=first, most=most) >= delay


@given(st.integers(0, 100), st.integers(1, 100), st.integers(0, 200))
def test_too_many_bad_hosts_stay_too_many_when_more_go_bad(bad: int, hosts: int, most: int) -> None:
    for text in (f"{most}", f"{min(most, 100)}%"):
        rule = BadHosts.parse(text)
        assert BadHosts.parse(str(rule)) == rule
        assert not rule.exceeded(bad, hosts=hosts) or rule.exceeded(bad + 1, hosts=hosts)
        assert not rule.exceeded(0, hosts=hosts)


@pytest.mark.parametrize("text", ["", "x", "-1", "101%", "1.5", "%"])
def test_a_number_of_bad_hosts_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="which part"):
        BadHosts.parse(text)
