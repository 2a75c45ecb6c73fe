"""Which hosts a run has to do without: said once, with the reason, and not for ever."""

from __future__ import annotations

from hostler.model.events import HostConnected, HostLost, HostStruck
from hostler.views.hostnews import LINES, HostNews


def news(count: int = 2) -> tuple[HostNews, list[str]]:
    said: list[str] = []
    made = HostNews(said.append)
    made.names = {number: f"web{number}" for number in range(1, count + 1)}
    return made, said


def test_trouble_is_told_once_with_its_reason_and_again_when_it_changes() -> None:
    made, said = news()
    for _ in range(3):
        made.trouble(1, "connection refused by web1:22")
    made.saw([HostStruck(at=0.0, worker=1, why="connection refused by web1:22")])
    made.trouble(1, "no answer from web1:22 within 30s")
    made.saw([HostLost(at=0.0, worker=2, why="web2: no key accepted")])
    assert said == [
        "hostler: web1: connection refused by web1:22; trying again",
        "hostler: web1: no answer from web1:22 within 30s; trying again",
        "hostler: web2: no key accepted; given up",
    ]


def test_who_comes_back_is_told_only_of_hosts_that_were_out() -> None:
    made, said = news()
    up = HostConnected(at=0.0, worker=1, spool="s", boot="b")
    made.saw([up])
    made.trouble(1, "the line broke")
    made.saw([up, up])
    made.trouble(1, "the line broke")
    assert [line.removeprefix("hostler: web1: ") for line in said] == [
        "the line broke; trying again",
        "back again",
        "the line broke; trying again",
    ]


def test_a_site_that_is_down_does_not_fill_the_screen() -> None:
    made, said = news(500)
    for number in range(1, 501):
        made.trouble(number, "no route to host")
    assert len(said) == LINES + 1
    assert "hostler status" in said[-1]
