"""Where the jobs of `hostler batch` come from, beyond lines and words: lists, files, columns, names, another order."""

from __future__ import annotations

from tests.command import ALL, Hostler
from tests.command import ground as ground
from tests.command import hostler as hostler

ECHO = ("-q", *ALL, "--", "echo")


def test_lists_in_step_lists_from_files_and_links(hostler: Hostler) -> None:
    (hostler.folder / "list").write_text("1\n\n2\n")
    pair = "<{1} {2}>"
    done = hostler("batch", *ECHO, pair, ":::", "a", "b", ":::+", "x", "y")
    assert sorted(done.lines) == ["<a x>", "<b y>"]
    done = hostler("batch", *ECHO, pair, ":::", "a", "b", "::::", "list")
    assert sorted(done.lines) == ["<a 1>", "<a 2>", "<b 1>", "<b 2>"]
    done = hostler("batch", "--link", *ECHO, pair, ":::", "a", "b", "c", "::::", "list")
    assert sorted(done.lines) == ["<a 1>", "<b 2>", "<c 1>"]
    assert sorted(hostler("batch", *ECHO, "::::", "list").lines) == ["1", "2"]
    assert sorted(hostler("batch", *ECHO, "::::", "-", ":::", "a", stdin=b"z\n").lines) == ["z a"]


def test_columns_and_their_names(hostler: Hostler) -> None:
    table = b"from,to\na b.txt,/x/c\nd.tar.gz,e\n"
    words = ("batch", "--colsep", ",", "--header", ":", "-q", *ALL, "--")
    done = hostler(*words, "echo", "<{from/.}>", "{to/}", stdin=table)
    assert sorted(done.lines) == ["<a b> c", "<d.tar> e"]
    done = hostler(*words, "echo {to}'; '{from} | cat", stdin=table)
    assert sorted(done.lines) == ["/x/c; a b.txt", "e; d.tar.gz"]
    done = hostler("batch", "--header", ":", *ECHO, "{n}{c}", ":::", "n", "1", "2", ":::", "c", "x")
    assert sorted(done.lines) == ["1x", "2x"]


def test_words_as_a_shell_would_cut_them(hostler: Hostler) -> None:
    done = hostler("batch", "--words", "-q", *ALL, "--", "printf", "[%s]", stdin=b"a 'b c' \\$d\n \n")
    assert done.out == b"[a][b c][$d]"


def test_items_that_end_with_nul(hostler: Hostler) -> None:
    done = hostler(
        "batch", "-0", "-j", "1", "-q", "--hosts", "sandbox1", "--", "printf", "<%s>", stdin=b"a\nb\0c d\0"
    )
    assert done.out == b"<a\nb><c d>"


def test_a_shuffled_order_is_recorded_and_can_be_had_again(hostler: Hostler) -> None:
    numbers = [str(n) for n in range(20)]
    words = (*ALL, "-k", "--", "echo", ":::", *numbers)
    first = hostler("batch", "--shuf", *words)
    seed = str(hostler.spec("1")["seed"])
    assert f"--seed {seed}" in first.err and first.lines != numbers
    assert sorted(first.lines, key=int) == numbers
    assert hostler("batch", "--shuf", "--seed", seed, *words).lines == first.lines


def test_paths_and_slots(hostler: Hostler) -> None:
    done = hostler("batch", "-j", "1", *ECHO, "{%}", "{#}", "{.} {/} {//} {/.} {1/}", ":::", "/a/b.c")
    assert done.lines == ["1 1 /a/b b.c /a b b.c"]


def test_what_is_wrong_with_a_line_is_said_with_its_number(hostler: Hostler) -> None:
    (hostler.folder / "list").write_text("a,b\n1,2\n3\n")
    csv = ("batch", *ALL, "--jobs", "list", "--colsep", ",")
    hostler(*csv, "--", "echo", "{2}").refused("list", "line 3", "{2}", "1 argument")
    hostler("batch", *ALL, "--words", "--", "echo", stdin=b"a\n\nit's\n").refused("stdin", "line 3", "quote")
    assert hostler.json("runs") == []
