"""Whole target texts, made up and spoilt: read back as they were, picked as sets would be, refused at a column.

The model is of sets alone: no user or port binds there, since two ways to one host are refused by design.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostler.errors import UsageError
from hostler.model.hosts import Host, Inventory
from hostler.model.nodesets import Pattern
from hostler.model.selectors import parse_targets
from hostler.model.terms import RESULT_STATES, Everything, Names, ResultSet, Tag, Term, read_terms
from tests.spoiling import case_id, kept, spoilt

FLEET = Inventory(
    tuple(
        Host(name=name, address=name, tags=frozenset(tags.split()))
        for name, tags in (("a1", "odd"), ("a2", "even old"), ("a3", "odd old"), ("b1", "odd"), ("all2", "even"))
    )
)  # fmt: skip
KNOWN = [host.name for host in FLEET]
EARLIER = {"last": ["a1", "gone"], "42": ["b1"]}


def earlier(which: ResultSet) -> list[Host]:
    return [Host(name=name, address=name) for name in EARLIER[which.run]]


#: How a term is written, and the hosts that it stands for.
Written = tuple[str, list[str]]
TERMS: st.SearchStrategy[Written] = st.one_of(
    st.sampled_from([*KNOWN, "new", "x.example.com", "fe80::1"]).map(lambda name: (name, [name])),
    st.sampled_from(["odd", "even", "old"]).map(
        lambda tag: (f"@{tag}", [host.name for host in FLEET.tagged(tag)])
    ),
    st.just(("all", KNOWN)),
    st.sampled_from([*EARLIER]).flatmap(
        lambda run: st.sampled_from(
            [f"@{run if run == 'last' else 'run/' + run}{state}" for state in ("", ":failed", ':out~"a, &!^[ b"')]
        ).map(lambda text: (text, EARLIER[run]))
    ),
    st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(0, 3), st.integers(1, 2)).map(
        lambda t: (f"{t[0]}[{t[1]}-{t[1] + t[2]}/{t[3]}]", [f"{t[0]}{n}" for n in range(t[1], t[1] + t[2] + 1, t[3])])
    ),
    st.tuples(st.integers(0, 9), st.integers(10, 12)).map(
        lambda t: (f"a[{t[0]:02}:{t[1]:02},7]", [*(f"a{n:02}" for n in range(t[0], t[1] + 1)), "a7"])
    ),
)  # fmt: skip
SIGNS = st.sampled_from([",", "&", "!", "&!", "^", " , ", "\t& ! ", " ^\n"])
TEXTS = st.tuples(TERMS, st.lists(st.tuples(SIGNS, TERMS), max_size=6))


def picked(text: str) -> list[str]:
    hosts = parse_targets(text).pick(FLEET, results=earlier)
    return [host.name for host in hosts]


def as_sets(left: Iterable[str], rest: list[tuple[str, Written]]) -> set[str]:
    found = set(left)
    for sign, (_, names) in rest:
        match sign.strip()[-1]:
            case ",":
                found |= set(names)
            case "&":
                found &= set(names)
            case "!":
                found -= set(names)
            case _:
                found ^= set(names)
    return found


@given(TEXTS)
def test_what_is_picked_is_what_sets_would_hold_each_host_once(made: tuple[Written, list]) -> None:
    (first, names), rest = made
    text = first + "".join(sign + word for sign, (word, _) in rest)
    found = picked(text)
    assert set(found) == as_sets(names, rest) and len(found) == len(set(found))
    assert [host.name for host in parse_targets(text).pick(
        FLEET, results=earlier, leave_out=parse_targets("a1,b[1-2]")
    )] == [name for name in found if name not in ("a1", "b1", "b2")]  # fmt: skip


USERS = st.sampled_from([None, "root", "me@corp.example", "svc$"])
PORTS = st.sampled_from([None, 1, 22, 65535])
WORDS = st.sampled_from(
    [*KNOWN, "all", "x.example.com", "a[1-3]", "a[08-10,7]b[1:9/2].c", "[1-2]n", "w[1,3,05]", "r-1_x"]
)
ADDRESSES = st.sampled_from(["2001:db8::7", "fe80::2%eth0", "::1"])


@st.composite
def terms(draw: st.DrawFn) -> str:
    """One term of any kind, with what may bind to it."""
    user, port = draw(USERS), draw(PORTS)
    kind = draw(st.sampled_from(["name", "v6", "tag", "earlier"]))
    if kind == "v6":
        address = draw(ADDRESSES)
        word = f"[{address}]:{port}" if port else draw(st.sampled_from([address, f"[{address}]"]))
    elif kind == "earlier":
        state = draw(st.sampled_from(["", *(f":{state}" for state in RESULT_STATES), r':out~"\"\\ ,&!^[@:"']))
        word = draw(st.sampled_from(["@last", "@run/7"])) + state
    else:
        word = draw(WORDS)
        word = ("@odd.x-1_" if kind == "tag" else word) + (f":{port}" if port else "")
    return f"{user}@{word}" if user else word


def printed(term: Term) -> str:
    """A term from its parts alone: what it was read into says all that was written."""
    word = ""
    match term.atom:
        case Names(Pattern((address,), ())) if ":" in address:
            word = f"[{address}]"
        case Names(Pattern(texts, sets)):
            ranges = ["[" + ",".join(
                f"{numbers[0]:0{width}}-{numbers[-1]:0{width}}/{numbers.step}" for numbers, width in ranges
            ) + "]" for ranges in sets]  # fmt: skip
            word = "".join(text + bracket for text, bracket in zip(texts, [*ranges, ""], strict=True))
        case Tag(tag):
            word = f"@{tag}"
        case Everything():
            word = "all"
        case ResultSet(run, state, out):
            held = None if out is None else "".join("\\" + sign if sign in '"\\' else sign for sign in out)
            word = ("@last" if run == "last" else f"@run/{run}") + (
                f":{state}" if out is None else f':out~"{held}"'
            )
    return (f"{term.user}@" if term.user else "") + word + (f":{term.port}" if term.port else "")


def meant(text: str) -> list[tuple[object, ...]]:
    return [
        (term.sign, term.user, term.port, [*term.atom.pattern] if isinstance(term.atom, Names) else term.atom)
        for term in read_terms(text)
    ]


@given(terms(), st.lists(st.tuples(SIGNS, terms()), max_size=5))
def test_what_is_read_printed_and_read_again_means_the_same(first: str, rest: list[tuple[str, str]]) -> None:
    text = first + "".join(sign + word for sign, word in rest)
    read = read_terms(text)
    assert [term.text for term in read] == [first, *(word for _, word in rest)]
    by_text = "".join((term.sign if at else "") + term.text for at, term in enumerate(read))
    by_parts = "".join((term.sign if at else "") + printed(term) for at, term in enumerate(read))
    assert meant(by_text) == meant(text) == meant(by_parts)


GOOD = 'root@a[1-3]:22 , @odd&!@last:failed^[2001:db8::7]:2222!me@corp@@even,@run/42:out~"a, b",x.example.com'
TOKENS = [
    *(sign.encode() for sign in ',&!^[]"@:~/\\-% \t\n\0*?'), b"&!", b"[1-", b"[9-1]", b"[1-99999999]", b"[[", b"]]",
    b"[[[[", b"[0-9]" * 30, b"9" * 19, b"[1-2]" * 60, b"@last:", b"@run/", b'out~"', b"all", b":99999", b":0", b"::",
    b"fe80::1%", "é".encode(), "١".encode(), "\u2028".encode(), "\ud800".encode("utf-8", "surrogatepass"), b"\x1b[2J",
    b"[0-999999999999999999/1]", b"[1:2:3]", b"a" * 300,
]  # fmt: skip


def read(text: str) -> None:
    """A text is picked by, or refused in one harmless line that says where."""
    try:
        parse_targets(text, what="--hosts").pick(
            FLEET,
            results=lambda which: earlier(ResultSet("last")),
            files=parse_targets,
            leave_out=parse_targets("b1"),
        )
    except UsageError as refused:
        said = str(refused)
        assert "column " in said and said.isprintable() and len(said) < 1000, ascii(said)


@given(
    st.one_of(
        spoilt(GOOD.encode(), TOKENS).map(lambda data: data.decode("utf-8", "surrogateescape")), st.text()
    )
)
def test_a_spoilt_text_is_picked_by_or_refused_at_a_column_of_it(text: str) -> None:
    read(text)


@pytest.mark.parametrize("case", kept("selectors"), ids=case_id)
def test_a_kept_text_is_picked_by_or_refused_at_a_column_of_it(case: Path) -> None:
    read(case.read_bytes().decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize(
    "text",
    [
        "a[1-99999999]", "a[0-999999999999999999]", "[1-1000]" * 2_000, "a[" + "1," * 8_000 + "1]", "[" * 100_000,
        "a" + "[" * 50_000 + "]" * 50_000, "@" * 100_000, "a@" * 50_000, '@last:out~"' + "\\" * 100_000, ":" * 100_000,
        "&!" * 50_000, " " * 100_000, "a,".join("b" * 3_000), '"' * 100_001, "[::1]" * 20_000, "a^" * 3_000 + "a",
        "@" + "x" * 100_000, "root@" * 20_000 + "a",
    ],
    ids=lambda text: f"{text[:12]!r} {len(text)}",
)  # fmt: skip
def test_a_text_made_to_take_long_or_much_takes_neither(text: str) -> None:
    tracemalloc.start()
    try:
        read(text)
        assert tracemalloc.get_traced_memory()[1] < 200 * len(text) + (16 << 20)
    finally:
        tracemalloc.stop()
