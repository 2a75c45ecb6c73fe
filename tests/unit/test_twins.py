"""One endpoint by two names: used once where that is plain, refused with both places where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostler.cli.targeting import chosen_hosts
from hostler.errors import SpecError, UsageError
from hostler.model.hosts import Host, refuse_twins

NONE = {"hosts": None, "hostfile": None, "exclude": None, "limit": None, "inventory": ()}


def chosen(**options: object) -> list[str]:
    return [host.name for host in chosen_hosts({**NONE, **options})]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("web1,web1", ["web1"]),
        ("web[1-3],web2", ["web1", "web2", "web3"]),
        ("web1,web1:22", ["web1"]),
        ("root@@web1,root@@web1:22", ["web1"]),
        ("web1:22,web1:2222", None),
        ("root@@web1,web1", None),
    ],
)
def test_a_host_named_twice_is_used_once_unless_it_is_meant_in_two_ways(
    text: str, names: list[str] | None
) -> None:
    text = text.replace("@@", "@")
    if names is not None:
        assert chosen(hosts=text) == names
    else:
        with pytest.raises(UsageError, match="two ways"):
            chosen(hosts=text)


def test_a_known_host_and_its_address_are_one(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "hosts: {web: {address: 10.0.0.5, user: me}, six: {address: '2001:db8::1'}}"
    )
    sheet = (str(tmp_path / "a.yaml"),)
    assert chosen(hosts="web,10.0.0.5,me@10.0.0.5:22", inventory=sheet) == ["web"]
    assert chosen(hosts="six,[2001:db8:0::1]", inventory=sheet) == ["six"]
    assert chosen(hosts="all", exclude="10.0.0.5", inventory=sheet)[0] == "six"


def test_a_list_with_a_line_twice_is_read_as_if_it_stood_there_once(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("me@a:2222\nb\nme@a:2222\n")
    assert chosen(hostfile=str(tmp_path / "hosts")) == ["a", "b"]
    assert chosen(inventory=(str(tmp_path / "hosts"),) * 2) == ["a", "b"]


def test_two_names_in_files_are_refused_with_both_lines(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("hosts:\n  a: {address: Web.example}\n")
    two.write_text("hosts:\n  b: {address: web.example, port: 22}\n")
    with pytest.raises(SpecError, match=rf"{two}:2: b is the same endpoint as a of {one}:2"):
        chosen(inventory=(str(one), str(two)))


@pytest.mark.parametrize("text", ["WEB1,web1", "::1,[0:0::1]:22", "web[1-2],Web2"])
def test_two_spellings_typed_by_hand_are_refused_with_both(text: str) -> None:
    with pytest.raises(UsageError, match=r"\(named by hand\) and .* \(named by hand\) are one endpoint"):
        chosen(hosts=text)


def test_who_joins_a_run_under_another_name_is_refused_and_under_its_own_is_welcome() -> None:
    there = Host(name="a", address="h", source="hosts.yaml:3")
    refuse_twins([Host(name="a", address="h"), Host(name="c", address="g")], enrolled=[there])
    with pytest.raises(UsageError, match=r"b \(named by hand\) and a \(hosts\.yaml:3\) are one endpoint, h"):
        refuse_twins([Host(name="b", address="H", port=22)], enrolled=[there])


def test_another_user_port_or_jump_is_another_endpoint() -> None:
    host = Host(name="a", address="h")
    others = [
        Host(name="b", address="h", user="u"),
        Host(name="c", address="h", port=23),
        Host(name="d", address="h", jump="j"),
    ]
    refuse_twins([host, *others])
