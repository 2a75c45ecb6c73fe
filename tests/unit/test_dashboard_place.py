"""Where one is in a dashboard: every key is a step, and every step leads back."""

from __future__ import annotations

import pytest

from hostler.views.dashboard_place import HOSTS, JOBS, RUNS, Place
from hostler.views.ring import EACH, LONGEST, Ring


def test_one_goes_from_all_runs_to_one_to_a_job_s_output_and_back() -> None:
    runs = Place()
    jobs = runs.opened(42)
    output = jobs.opened(7)
    whole = output.opened(7)
    assert [place.where for place in (runs, jobs, output, whole)] == [RUNS, JOBS, "output", "whole"]
    assert whole.back() == output and output.back() == jobs and jobs.back() == runs and runs.back() == runs


def test_a_host_opens_to_its_own_jobs() -> None:
    hosts = Place(part=HOSTS, run=42)
    jobs = hosts.opened("n1")
    assert (jobs.part, jobs.run, jobs.asked.filter.text) == (JOBS, 42, "=n1")
    assert jobs.back() == Place(part=JOBS, run=42)


def test_nothing_opens_where_there_is_no_row() -> None:
    assert Place().opened(None) == Place()


def test_tab_turns_between_a_run_s_hosts_and_jobs_and_does_nothing_elsewhere() -> None:
    jobs = Place(part=JOBS, run=42)
    assert jobs.turned().part == HOSTS and jobs.turned().turned() == jobs
    assert Place().turned() == Place()
    whole = jobs.opened(7).opened(7)
    assert whole.turned() == whole


def test_what_is_asked_for_anew_begins_on_the_first_page() -> None:
    page = Place(part=JOBS, run=42, page=3)
    assert [place.page for place in (page.failing(), page.slowest(), page.filtered("n1"))] == [0, 0, 0]
    assert page.failing().failing().asked == page.asked


def test_there_is_no_page_beyond_the_last_nor_before_the_first() -> None:
    jobs = Place(part=JOBS, run=42)
    assert jobs.paged(1, more=False).page == 0 and jobs.paged(-1, more=True).page == 0
    assert jobs.paged(1, more=True).page == 1
    assert Place().paged(1, more=True).page == 0


def test_another_row_s_output_takes_the_place_of_the_one_that_is_open() -> None:
    jobs = Place(part=JOBS, run=42)
    assert jobs.beside(8) == jobs
    assert jobs.opened(7).beside(8).output == 8


# -- the ring -----------------------------------------------------------------------------------------------------


def texts(ring: Ring) -> list[str]:
    return [text for _, text in ring.lines]


def test_a_ring_keeps_the_last_lines_and_counts_those_that_went() -> None:
    ring = Ring(most=10 * (EACH + 5))
    ring.feed([(1, b"".join(b"%05d\n" % number for number in range(100)))])
    assert texts(ring) == [f"{number:05}" for number in range(90, 100)]
    assert ring.gone == 90 and ring.size <= 10 * (EACH + 5)


def test_a_line_without_end_takes_no_more_room_than_the_ring_has() -> None:
    ring = Ring(most=1 << 20)
    for _ in range(64):
        ring.feed([(1, b"x" * 65536)])
    assert ring.size <= 1 << 20
    assert {len(text) for text in texts(ring)} == {LONGEST}
    assert all(len(text) <= LONGEST for _, text in ring.unfinished)


@pytest.mark.parametrize("cut", range(1, 12))
def test_what_drives_a_terminal_is_made_visible_wherever_it_is_cut(cut: int) -> None:
    data = b"a\x1b[2J\x07\xff \xc3\xa9\r\nb"
    ring = Ring()
    ring.feed([(1, data[:cut]), (1, data[cut:])])
    ring.end()
    assert texts(ring) == ["a^[[2J^G<FF> é", "b"]


def test_the_two_streams_do_not_run_into_each_other_s_lines() -> None:
    ring = Ring()
    ring.feed([(1, b"out "), (2, b"err "), (1, b"put\n"), (2, b"or")])
    assert list(ring.lines) == [(1, "out put")] and ring.unfinished == [(2, "err or")]
    ring.end()
    assert list(ring.lines) == [(1, "out put"), (2, "err or")] and ring.unfinished == []
