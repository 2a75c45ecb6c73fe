"""The holes that GNU parallel's users know: parts of paths, the slot; and what only looks like a hole."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostler.errors import UsageError
from hostler.model.templates import Rendered, Template
from tests.unit.test_templates import argv, text


@pytest.mark.parametrize("word", ["${1}", "${#}", "${%}", "${2.}"])
def test_what_a_shell_within_the_command_reads_itself_is_no_hole(word: str) -> None:
    assert argv("sh", "-c", "echo " + word, "-", "{}") == (
        b"sh",
        b"-c",
        b"echo " + word.encode(),
        b"-",
        b"a b",
    )
    assert text(f"sh -c 'echo {word}' - {{}}") == f"sh -c 'echo {word}' - 'a b'".encode()


@pytest.mark.parametrize(
    ("path", "bare", "base", "folder", "stem"),
    [
        (b"a/b.tar.gz", b"a/b.tar", b"b.tar.gz", b"a", b"b.tar"),
        (b"x y.png", b"x y", b"x y.png", b".", b"x y"),
        (b"/etc/d.d/f", b"/etc/d.d/f", b"f", b"/etc/d.d", b"f"),
        (b"/f", b"/f", b"f", b"/", b"f"),
        (b"a/", b"a/", b"", b".", b""),
        (b"/", b"/", b"", b"/", b""),
        (b"", b"", b"", b".", b""),
        (b"//a//b", b"//a//b", b"b", b"//a", b"b"),
        (b"n\nl.x", b"n\nl", b"n\nl.x", b".", b"n\nl"),
        (b"\xff.\xfe", b"\xff", b"\xff.\xfe", b".", b"\xff"),
    ],
)
def test_parts_of_a_path_are_those_of_gnu_parallel(
    path: bytes, bare: bytes, base: bytes, folder: bytes, stem: bytes
) -> None:
    assert argv("x", "{.}", "{/}", "{//}", "{/.}", args=(path,)) == (b"x", bare, base, folder, stem)
    joined = b"-".join([bare, base, folder, stem])
    assert argv("x", "{1.}-{1/}-{1//}-{1/.}", args=(path,)) == (b"x", joined)


def test_parts_of_several_paths_are_parts_of_each_and_quoted_in_shell_text() -> None:
    two = (b"a b/c.x", b"d'e.y")
    assert argv("x", "{/.}", "<{/.}>", args=two) == (b"x", b"c", b"d'e", b"<c d'e>")
    assert text("x {/.} {2.}", args=two) == rb"x 'c' 'd'\''e' 'd'\''e'"
    assert text("x \"{//}\" '{2/}'", args=two) == rb"""x ""'a b .'"" '''d'\''e.y'''"""


def test_the_slot_is_put_in_on_the_host() -> None:
    assert text("cp {} 'd {%}'/{%}") == b"""cp 'a b' 'd '"$HOSTLER_SLOT"''/"$HOSTLER_SLOT\""""
    made = Template.parse(["x", "-o{%}.{#}", "{}", "$y", "{.}"]).render((b"a b.c", b"d'"), 3)
    assert made.shell
    assert made == Rendered(
        (rb"""exec 'x' '-o'"$HOSTLER_SLOT"'.''3' 'a b.c' 'd'\''' '$y' 'a b' 'd'\'''""",), True
    )


@given(
    st.lists(st.binary(min_size=1, max_size=8).filter(lambda word: b"\0" not in word), min_size=1, max_size=3)
)
def test_words_with_a_slot_come_through_the_shell_as_they_would_without(args: list[bytes]) -> None:
    words = ["printf", r"%s\0", "a'$x {1}", "{}", "{/.}", ""]
    plain = Template.parse(words).render(tuple(args), 1).words
    (slotted,) = Template.parse([*words, "{%}"]).render(tuple(args), 1).words
    env = {"PATH": "/usr/bin:/bin", "HOSTLER_SLOT": "5"}
    done = [
        subprocess.run(argv, env=env, capture_output=True, check=True).stdout
        for argv in ([*plain, b"5"], [b"/bin/sh", b"-c", slotted])
    ]
    assert done[0] == done[1]


def test_a_number_beyond_the_arguments_is_refused_with_any_part() -> None:
    with pytest.raises(UsageError, match=r"\{2\}"):
        Template.parse(["x", "{2/.}"]).key((b"a",))
