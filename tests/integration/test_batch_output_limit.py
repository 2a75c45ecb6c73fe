"""`hostler batch` with --pty and --output-limit: what a person sees of them."""

from __future__ import annotations

import re

from tests.command import ALL, Hostler, ground, hostler

__all__ = ["ground", "hostler"]

CUT = re.compile(rb"\n\[(\d+\.\d [KM]iB) cut out here\]\n")


def test_of_endless_output_head_and_tail_are_kept_and_the_gap_is_said(hostler: Hostler) -> None:
    text = "yes {} | head -c 3000000; echo; echo the end of {}"
    done = hostler("batch", *ALL, "-j1", "--output-limit", "100K", "--shell", "--", text, ":::", "a", "b")
    assert done.code == 0, done.err
    gaps = CUT.findall(done.out)
    assert gaps == [b"2.8 MiB"] * 2 and len(done.out) < 2 * (100 << 10) + 200
    assert b"the end of a\n" in done.out and b"the end of b\n" in done.out
    kept = hostler("log", "last", "1", "--stdout").out
    assert kept.startswith(b"a\na\n") and CUT.search(kept) and kept.endswith(b"the end of a\n")
    assert (100 << 10) < len(kept) < (100 << 10) + 64
    told = hostler.json("log", "last", "1")["attempts"][0]
    assert (told["ending"], told["detail"]) == ("ok", "2.8 MiB of its stdout cut out")
    assert hostler.spec("1")["output_limit"] == 100 << 10
    files = sum(path.stat().st_size for path in (hostler.folder / "state").rglob("out/*.log"))
    assert files < 2 * (100 << 10) + 200


def test_with_a_terminal_programs_flush_and_both_streams_are_one(hostler: Hostler) -> None:
    text = "test -t 1 && test -t 2 && echo out {}; echo err {} >&2; wc -c"
    done = hostler("batch", *ALL, "--pty", "--shell", "--", text, ":::", "x")
    assert (done.code, done.out) == (0, b"out x\nerr x\n0\n"), done.err
    assert b"err x" in hostler("log", "last", "1", "--stdout").out
    assert hostler("log", "last", "1", "--stderr").out == b""


def test_a_host_that_holds_its_share_begins_nothing_until_output_has_left_and_says_so(
    hostler: Hostler,
) -> None:
    text = "head -c 3000000 /dev/zero; sleep {}"
    words = ("--hosts", "sandbox1", "-j2", "--spool-max", "1M", "-q")
    done = hostler("batch", *words, "--shell", "--", text, ":::", "1", "3", "0", "0")
    assert done.code == 0 and len(done.out) == 12_000_000, done.err
    [line] = [line for line in done.err.splitlines() if "--spool-max" in line]
    assert line.startswith("hostler: sandbox1: ") and "nothing more is begun until some is here" in line
