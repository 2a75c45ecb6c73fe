"""Targets: what is read, what is picked, and how clearly the rest is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest
from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet
from hypothesis import given
from hypothesis import strategies as st

from hostler.errors import UsageError
from hostler.model.hosts import Host, Inventory
from hostler.model.nodesets import Unreadable, read_pattern
from hostler.model.selectors import ResultSet, Selector, fold, parse_targets


def host(name: str, *tags: str, address: str = "", user: str | None = None, port: int | None = None) -> Host:
    return Host(name=name, address=address or name, user=user, port=port, tags=frozenset(tags))


FLEET = Inventory(
    (
        host("web1", "web", "eu"),
        host("web2", "web", "us"),
        host("db1", "db", "eu", address="10.0.0.9", user="postgres", port=2222),
        host("db2", "db", "us", "old"),
    )
)


def names(text: str, inventory: Inventory = FLEET) -> str:
    return " ".join(picked.name for picked in parse_targets(text).pick(inventory))


def endpoints(text: str, inventory: Inventory = FLEET) -> str:
    return " ".join(picked.endpoint for picked in parse_targets(text).pick(inventory))


@pytest.mark.parametrize(
    ("text", "picked"),
    [
        ("web1", "web1"),
        ("web2,web1", "web2 web1"),
        ("web1,web1,web[1-2]", "web1 web2"),
        ("all", "web1 web2 db1 db2"),
        ("@web", "web1 web2"),
        ("@web,@eu", "web1 web2 db1"),
        ("@web&@eu", "web1"),
        ("@eu!@web", "db1"),
        ("all&!@old", "web1 web2 db1"),
        ("all & ! @old", "web1 web2 db1"),
        ("@web^@eu", "web2 db1"),
        ("@web,db2!web1", "web2 db2"),
        ("all!web[1-2]!db2", "db1"),
        ("db1!web1,web1", "db1 web1"),
        ("web1!web1", ""),
        (" web1 ,\tweb2\n", "web1 web2"),
        ("new7", "new7"),
        ("web[1-2]&web2", "web2"),
    ],
)
def test_signs_are_taken_from_left_to_right_and_no_host_twice(text: str, picked: str) -> None:
    assert names(text) == picked


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("web[01-03]", "web01 web02 web03"),
        ("n[1-9/4]", "n1 n5 n9"),
        ("www[09:11]", "www09 www10 www11"),
        ("www[1:9:4].example.com", "www1.example.com www5.example.com www9.example.com"),
        ("r[1-2]n[8,10]", "r1n8 r1n10 r2n8 r2n10"),
        ("[1-2]a", "1a 2a"),
        ("a[1,03-04]b-c", "a1b-c a03b-c a04b-c"),
        ("n[3,1]", "n3 n1"),
        ("n[7]", "n7"),
    ],
)
def test_brackets_stand_for_many_names(text: str, expanded: str) -> None:
    assert names(text, Inventory()) == expanded


def test_a_user_and_a_port_bind_to_their_own_term() -> None:
    assert endpoints("root@web[1-2]:2200,db2") == "root@web1:2200 root@web2:2200 db2"
    assert endpoints("admin@all&@db,root@@web,me@new:5") == (
        "admin@10.0.0.9:2222 admin@db2 root@web1 root@web2 me@new:5"
    )
    assert endpoints("@eu:99!web1") == "postgres@10.0.0.9:99"
    assert endpoints("user@corp.example@db2") == "user@corp.example@db2"


def test_what_the_inventory_knows_holds_unless_the_term_says_otherwise() -> None:
    assert endpoints("db1") == "postgres@10.0.0.9:2222"
    assert endpoints("root@db1") == "root@10.0.0.9:2222"
    assert endpoints("db1:22") == "postgres@10.0.0.9:22"


def test_addresses_of_ip_version_6_are_read_with_and_without_a_port() -> None:
    (bare, port, scoped) = parse_targets("fe80::1,root@[2001:db8::7]:2222,[fe80::2%eth0]").pick(Inventory())
    assert (bare.name, bare.address, bare.port) == ("fe80::1", "fe80::1", None)
    assert (port.address, port.user, port.port, port.endpoint) == (
        "2001:db8::7",
        "root",
        2222,
        "root@[2001:db8::7]:2222",
    )
    assert (scoped.address, scoped.port) == ("fe80::2%eth0", None)


SANDBOX = Inventory(
    tuple(
        Host(
            name=f"sandbox{n}",
            address=f"127.77.0.{n}",
            user="root",
            port=22,
            identity="/state/key",
            host_key=f"ssh-ed25519 AAAA{n}",
            slots=3,
            tags=frozenset({"sandbox"}),
            vars=(("spool", "/var/tmp/x"),),
        )
        for n in (1, 2)
    )
)


@pytest.mark.parametrize("text", ["root@127.77.0.1:22", "root@127.77.0.1", "127.77.0.1", "127.77.0.1:22"])
def test_a_typed_address_of_a_known_host_takes_over_what_is_known_of_it(text: str) -> None:
    (picked,) = parse_targets(text).pick(SANDBOX)
    known = SANDBOX.hosts[0]
    assert picked.name == "127.77.0.1" and picked.endpoint == known.endpoint
    assert (picked.identity, picked.host_key, picked.tags, picked.slots, picked.vars) == (
        known.identity,
        known.host_key,
        known.tags,
        known.slots,
        known.vars,
    )


def test_hosts_are_left_out_by_whatever_name_they_were_picked() -> None:
    picked = parse_targets("@sandbox,web1").pick(
        SANDBOX, leave_out=parse_targets("root@127.77.0.1:22,web1,other")
    )
    assert [p.name for p in picked] == ["sandbox2"]


def test_another_user_at_a_known_address_keeps_its_key_and_another_port_is_another_host() -> None:
    (other_user, other_port) = parse_targets("me@127.77.0.1:22,127.77.0.2:2222").pick(SANDBOX)
    assert (other_user.user, other_user.host_key) == ("me", "ssh-ed25519 AAAA1")
    assert (other_port.host_key, other_port.tags, other_port.port) == (None, frozenset(), 2222)


def test_of_two_users_at_one_address_the_typed_one_is_taken() -> None:
    both = Inventory((host("a", "x", address="h", user="ann"), host("b", "y", address="h", user="bob")))
    (picked,) = parse_targets("bob@h").pick(both)
    assert picked.tags == {"y"}


def test_a_known_host_and_its_address_are_one_host() -> None:
    assert names("@sandbox!127.77.0.1:22", SANDBOX) == "sandbox2"
    assert names("sandbox1,root@127.77.0.1:22", SANDBOX) == "sandbox1"
    assert names("127.77.0.2,@sandbox", SANDBOX) == "127.77.0.2 sandbox1"
    assert names("@sandbox&127.77.0.2", SANDBOX) == "sandbox2"


@pytest.mark.parametrize(
    ("text", "one", "other"),
    [
        ("root@web1,deploy@web1", "root@web1 (column 1)", "deploy@web1 (column 11)"),
        ("web[1-3],web2:2200", "web[1-3] (column 1)", "web2:2200 (column 10)"),
        ("new:1,new:2", "new:1 (column 1)", "new:2 (column 7)"),
        ("@web,root@web2", "@web (column 1)", "root@web2 (column 6)"),
        ("ann@all&bob@web1", "ann@all (column 1)", "bob@web1 (column 9)"),
    ],
)
def test_one_host_reached_in_two_ways_is_refused_with_both_terms(text: str, one: str, other: str) -> None:
    with pytest.raises(UsageError) as caught:
        names(text)
    assert one in str(caught.value) and other in str(caught.value) and "\n" not in str(caught.value)


def test_leaving_out_doesnt_ask_for_users_and_an_intersection_may_set_them() -> None:
    assert endpoints("root@web[1-2]!web1") == "root@web2"
    assert endpoints("@eu&root@@web") == "root@web1"
    assert endpoints("root@@eu&@web") == "root@web1"
    assert endpoints("web1,web1:22") == "web1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column 1: no target is given"),
        ("  \n", "column 1: no target is given"),
        ("web1,,", "column 6: expected a name after ','"),
        ("web12,", "column 7: expected a name after ','"),
        ("web1&!", "column 7: expected a name after '&!'"),
        (",web1", "column 1: expected a name before ','"),
        ("!web1", "column 1: expected a name before '!'; write all!NAME to leave some out"),
        ("web1 web2", "column 6: expected one of , & ! ^ before 'web2'"),
        ("a,web[1-3", "column 6: '[' is not closed"),
        ("a,web[1-3]]", "column 11: ']' can't stand in a host's name"),
        ("web[x]", "column 5: 'x' is not a range of numbers: write 1-9, 01-20, 1-9/2 or 1,3,5"),
        ("web[]", "column 5: '' is not a range"),
        ("web[1,]", "column 7: '' is not a range"),
        ("a,web[1,9-2]", "column 9: '9-2' runs backwards"),
        ("web[1-9/0]", "column 5: '1-9/0': the step must be at least 1"),
        ("web[8-011]", "column 5: '8-011': both ends of a range with leading zeros must be of one length"),
        ("web[1-2!3]", "column 4: '[' is not closed"),
        ("web*", "column 4: '*' can't stand in a host's name; write web[1-9], a @tag or all"),
        ("a,-oProxyCommand=x", "column 17: '=' can't stand in a host's name"),
        ("a,-x", "column 3: '-x' can't be a host's name"),
        ("a$b", "column 2: '$' can't stand"),
        ("a,wéb", "column 4: 'é' can't stand"),
        ("a\x00b", "column 2: '\\x00' can't stand"),
        ("web1:0", "column 5: ':0' is not a port: write :1 to :65535"),
        ("a,web1:65536", "column 7: ':65536' is not a port"),
        ("web1:ssh", "column 5: ':ssh' is not a port"),
        ("web1:", "column 5: ':' is not a port"),
        ("a:b:c", "column 1: 'a:b:c' is not an IPv6 address; an IPv6 address with a port is written"),
        ("[::1]:x", "column 6: ':x' is not a port"),
        ("[::zz]:22", "column 2: '::zz' is not an IPv6 address"),
        ("-l@web", "column 1: '-l' is not a login name"),
        ("a b@web", "column 3: expected one of"),
        ("a,@", "column 4: '@' is not a tag"),
        ("root@", "column 6: expected a name after '@'"),
        ("@we*b", "column 4: '@we*b' is not a tag"),
        ("@web:x", "column 5: ':x' is not a port"),
        ("@last:bad", "column 7: 'bad' is no result: one of all, ok, failed"),
        ('@last:out~"x', "column 11: the quote is not closed"),
        ("@run/x:failed", "column 5: '@run/x:failed' is not a tag"),
        ("^", "column 2: expected a file's name after '^'"),
        ("^  ", "column 2: expected a file's name"),
        ("web1^^f", "column 6: expected a name after '^'"),
        ("n[0-99999999]", "column 1: 'n[0-99999999]' stands for 100,000,000 hosts: at most 1,000,000"),
        ("n[0-9999]m[0-9999]", "stands for 100,000,000 hosts"),
        ("a[1-600000],b[1-600000]", "column 13: more than 1,000,000 hosts are named"),
        ("n[1-99999999999999999999]", "is not a range of numbers"),
        ("n" * 300, "can't be a host's name"),
    ],
)
def test_what_cant_be_read_is_refused_at_its_column(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_targets(text)
    assert message in str(caught.value)
    assert str(caught.value).startswith("targets: column ") and "\n" not in str(caught.value)


def test_the_caller_names_what_the_text_was() -> None:
    with pytest.raises(UsageError, match=r"^--exclude: column 1: no target"):
        parse_targets("", what="--exclude")


def test_an_unknown_tag_is_refused_with_the_tags_there_are() -> None:
    with pytest.raises(
        UsageError, match="column 6: no host carries the tag 'wbe'; did you mean @web\\?"
    ) as caught:
        names("web1,@wbe")
    assert "there are: @db @eu @old @us @web" in str(caught.value)
    with pytest.raises(UsageError, match="the inventory has no tags"):
        names("@web", Inventory())
    many = Inventory(tuple(host(f"h{n}", f"t{n:03}") for n in range(50)))
    with pytest.raises(UsageError, match="@t019 and 30 more"):
        names("@nothing-like-it", many)


def test_a_host_file_is_the_whole_of_the_text_and_read_by_the_caller() -> None:
    asked = []

    def read(path: str) -> Selector:
        asked.append(path)
        return parse_targets("root@web[1-2],x:5,db1!web1")

    selector = parse_targets(" ^/tmp/my hosts,!&.txt")
    assert [p.endpoint for p in selector.pick(FLEET, files=read)] == [
        "root@web2",
        "x:5",
        "postgres@10.0.0.9:2222",
    ]
    assert asked == ["/tmp/my hosts,!&.txt"]
    with pytest.raises(
        UsageError, match=r"column 2: \^/tmp/my hosts,!&\.txt: a file of hosts can't be named here"
    ):
        selector.pick(FLEET)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("@last", ResultSet("last")),
        ("@last:failed", ResultSet("last", "failed")),
        ("@run/42:unreachable", ResultSet("42", "unreachable")),
        ('@run/42:out~"a, \\"b\\" \\\\ & c@d"', ResultSet("42", out='a, "b" \\ & c@d')),
    ],
)
def test_earlier_results_are_parsed_and_answered_by_the_caller(text: str, asked: ResultSet) -> None:
    asked_for: list[ResultSet] = []

    def results(which: ResultSet) -> list[Host]:
        asked_for.append(which)
        return [
            Host(name="web2", address="web2"),
            Host(name="gone", address="10.0.0.7", port=2222, user="bob"),
        ]

    picked = parse_targets(f"all,me@{text}!db2").pick(Inventory(), results=results)
    assert asked_for == [asked]
    assert [p.endpoint for p in picked] == ["me@web2", "me@10.0.0.7:2222"]
    with pytest.raises(UsageError, match=r"column 5: .*hosts can't be chosen by earlier results here"):
        parse_targets(f"all,{text}").pick(FLEET)


def test_hosts_of_earlier_results_are_those_of_the_inventory_where_it_knows_them() -> None:
    inventory = Inventory((
        Host(name="web1", address="10.0.0.1", user="new"), Host(name="box", address="10.0.0.2", user="ann", port=22),
    ))  # fmt: skip
    then = [
        Host(name="web1", address="10.9.9.9", user="old"),
        Host(name="10.0.0.2", address="10.0.0.2", user="ann", slots=9),
        Host(name="by-root", address="10.0.0.2", user="root"),
        Host(name="gone", address="10.0.0.3", user="x", jump="gate"),
    ]

    def picked(text: str) -> list[tuple[str, str]]:
        found = parse_targets(text).pick(inventory, results=lambda which: then)
        return [(host.name, host.endpoint) for host in found]

    assert picked("@last") == [
        ("web1", "new@10.0.0.1"), ("10.0.0.2", "ann@10.0.0.2:22"), ("by-root", "root@10.0.0.2"), ("gone", "x@10.0.0.3"),
    ]  # fmt: skip
    assert [name for name, _ in picked("all&@last")] == ["web1", "box"]
    assert [name for name, _ in picked("@last!box")] == ["web1", "by-root", "gone"]
    with pytest.raises(UsageError, match="targets: column 5: @last: no run last"):
        parse_targets("box,@last").pick(inventory, results=_no_run)


def _no_run(which: ResultSet) -> list[Host]:
    raise UsageError("no run last: there are no runs yet")


def test_hosts_are_limited_to_those_of_another_text() -> None:
    limited = parse_targets("all").pick(
        FLEET, within=parse_targets("web1,db[1-2],new"), leave_out=parse_targets("db2")
    )
    assert [host.name for host in limited] == ["web1", "db1"]
    with pytest.raises(UsageError, match=r"^--limit 'x': column 1: no host carries the tag"):
        parse_targets("all").pick(FLEET, within=parse_targets("@nope", what="--limit 'x'"))


def test_a_million_hosts_are_the_most() -> None:
    assert len(read_pattern("n[000000-999999]")) == 1_000_000
    with pytest.raises(Unreadable):
        read_pattern("n[0-1000000]")


def test_ten_thousand_terms_are_no_deeper_than_one() -> None:
    selector = parse_targets(",".join(f"u@host-{n}.example:22" for n in range(10_000)))
    assert len(selector.pick(FLEET)) == 10_000
    assert {selector: 1}[selector]


def test_plain_names_and_brackets_are_read_without_clustershell() -> None:
    code = (
        "import sys; from hostler.model.selectors import parse_targets; from hostler.model.hosts import Inventory\n"
        "assert len(parse_targets('a,b[1-9],root@c:22!b3').pick(Inventory())) == 10\n"
        "print([m for m in sys.modules if m.startswith(('ClusterShell', 'pydantic', 'asyncio', 'difflib'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("given_names", "folded"),
    [
        (["web01", "web02", "db1", "web03"], "web[01-03],db1"),
        (["n1-r1.x", "n1-r2.x", "n2-r1.x", "n2-r2.x", "n3-r2.x"], "n[1-2]-r[1-2].x,n3-r2.x"),
        (["10.0.0.1", "10.0.0.2", "10.0.0.9"], "10.0.0.[1-2,9]"),
        (["fe80::1", "fe80::2"], "fe80::1,fe80::2"),
        (["a1", "a1"], "a1"),
        (["a1", "a01", "a2"], "a[1-2,01]"),
        (["x" + "9" * 30, "x" + "9" * 29 + "8"], "x" + "9" * 30 + ",x" + "9" * 29 + "8"),
        ([], ""),
    ],
)
def test_names_are_folded_for_showing(given_names: list[str], folded: str) -> None:
    assert fold(given_names) == folded


NAMES = st.lists(
    st.from_regex(r"(?:[a-c]|[a-b][0-9]{1,3}(?:[.-][a-b]?[0-9]{1,2})?|[0-9]{1,2}b)", fullmatch=True),
    min_size=1,
    max_size=40,
)


@given(NAMES)
def test_what_is_folded_picks_the_same_names_again(some: list[str]) -> None:
    assert {p.name for p in parse_targets(fold(some)).pick(Inventory())} == set(some)


RANGES = st.lists(
    st.one_of(
        st.integers(0, 30).map(str),
        st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 4)).map(
            lambda t: f"{t[0]}-{t[0] + t[1]}/{t[2]}"
        ),
        st.tuples(st.integers(0, 9), st.integers(10, 20)).map(lambda t: f"{t[0]:03}-{t[1]:03}"),
    ),
    min_size=1,
    max_size=3,
).map(lambda items: f"[{','.join(items)}]")


@given(RANGES, RANGES)
def test_brackets_mean_what_they_mean_to_clustershell(one: str, other: str) -> None:
    text = f"a{one}b{other}.c"
    assert set(read_pattern(text)) == set(NodeSet(text, resolver=RESOLVER_NOGROUP))


@given(st.text(alphabet='ab1@,&!^[]-:/~"\\ .*%\x00', max_size=25))
def test_any_text_is_either_picked_or_refused_in_one_line(text: str) -> None:
    try:
        parse_targets(text).pick(FLEET, results=lambda which: (), files=parse_targets)
    except UsageError as error:
        refused = str(error)
    else:
        refused = ""
    assert "\n" not in refused
