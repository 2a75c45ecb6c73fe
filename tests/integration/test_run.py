"""`hostler run`, on real sshd: what arrives, what is shown, and how each end is told."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.command import PROGRAM, Hostler
from tests.command import ground as ground
from tests.command import hostler as hostler

BOTH, ONE = "@sandbox", "sandbox1"
#: Nobody listens there.
NOBODY = "127.0.0.1:1"


def run(hostler: Hostler, *words: str | bytes, **more: object) -> tuple[int, list[str], list[str]]:
    """A fan-out: its exit code, the sorted lines of stdout, and those of stderr."""
    done = hostler("run", *words, **more)  # type: ignore[arg-type]
    return done.code, sorted(done.out.decode("utf-8", "backslashreplace").splitlines()), done.err.splitlines()


# -- what is shown --------------------------------------------------------------------------------------------


def test_each_host_s_lines_stand_behind_its_name_and_a_last_line_counts(hostler: Hostler) -> None:
    code, out, err = run(hostler, BOTH, "--", "echo out; echo err >&2")
    assert (code, out) == (0, ["sandbox1 | out", "sandbox2 | out"])
    assert sorted(err[:2]) == ["sandbox1 | err", "sandbox2 | err"]
    assert err[2].startswith("hostler: run 1: 2 ok in ") and len(err) == 3


def test_hosts_that_ended_alike_are_told_of_in_one_line(hostler: Hostler) -> None:
    code, out, err = run(hostler, f"{BOTH},{NOBODY}", "-N", "--", "exit 7")
    assert (code, out) == (4, [])
    assert err[:2] == ["sandbox[1-2]: exit 7", "127.0.0.1: unreachable: connection refused by it"]
    assert err[2].startswith("hostler: run 1: 2 failed, 1 unreachable in ")


def test_quiet_says_nothing_where_all_is_well_and_the_last_lines_where_it_is_not(hostler: Hostler) -> None:
    assert run(hostler, ONE, "-q", "--", "true") == (0, [], [])
    code, _, err = run(hostler, ONE, "-q", "--", "false")
    assert code == 1 and err[0] == "sandbox1: exit 1"


def test_a_script_sees_only_what_hosts_wrote_with_no_prefix(hostler: Hostler) -> None:
    assert run(hostler, ONE, "-N", "-q", "--", "cat", "/etc/hostname") == (
        0, Path("/etc/hostname").read_text().splitlines(), [],
    )  # fmt: skip


def test_output_without_a_final_newline_with_nul_and_bad_utf8_arrives_whole(hostler: Hostler) -> None:
    done = hostler("run", ONE, "-q", "-N", "--group", "--", r"printf 'a\000\377\nend'")
    assert done.out == b"a\0\xff\nend"
    done = hostler("run", ONE, "-q", "--", r"printf 'a\000\377\nend'")
    assert done.out == b"sandbox1 | a\0\xff\nsandbox1 | end\n"
    assert hostler("log", "last", "1", "--stdout", "--raw").out == b"a\0\xff\nend"


def test_lines_come_while_the_command_runs(hostler: Hostler, tmp_path: Path) -> None:
    word = tmp_path / "word"
    os.mkfifo(word)
    running = hostler.start("run", ONE, "--", f"echo before; cat {word}")
    with word.open("w") as gate:  # opened once the command reads: it has said its first line by then
        from tests.lab import wait_until

        wait_until(lambda: running.out == b"sandbox1 | before\n")
        gate.write("after\n")
    assert running.wait().out == b"sandbox1 | before\nsandbox1 | after\n"


def test_grouped_output_is_each_host_s_own_and_kept_order_that_of_the_hosts(hostler: Hostler) -> None:
    text = "echo a; sleep 0.$((3 - HOSTLER_JOB)); echo b"
    done = hostler("run", BOTH, "-q", "--group", "--", text)
    assert done.lines in (
        ["sandbox2 | a", "sandbox2 | b", "sandbox1 | a", "sandbox1 | b"],
        ["sandbox1 | a", "sandbox1 | b", "sandbox2 | a", "sandbox2 | b"],
    )
    done = hostler("run", BOTH, "-q", "-k", "--", text)
    assert done.lines == ["sandbox1 | a", "sandbox1 | b", "sandbox2 | a", "sandbox2 | b"]


def test_json_is_one_list_and_jsonl_an_object_a_line(hostler: Hostler) -> None:
    words = (f"{BOTH},{NOBODY}", "-q")
    done = hostler("run", *words, "--json", "--", "echo hi; exit $HOSTLER_JOB")
    told = {each["host"]: each for each in json.loads(done.out)}
    assert {name: (each["state"], each["code"], each["stdout"]) for name, each in told.items()} == {
        "sandbox1": ("failed", 1, "hi\n"), "sandbox2": ("failed", 2, "hi\n"), "127.0.0.1": ("unreachable", None, ""),
    }  # fmt: skip
    done = hostler("run", *words, "--jsonl", "--", r"printf '\377'")
    lines = [json.loads(line) for line in done.lines]
    assert sorted(each["state"] for each in lines) == ["ok", "ok", "unreachable"]
    assert {each.get("stdout_base64") for each in lines} == {"/w==", None}


def test_outdir_has_a_file_for_each_host_and_stream(hostler: Hostler) -> None:
    assert hostler("run", BOTH, "-q", "--outdir", "out", "--", "echo $HOSTLER_HOST; echo e >&2").code == 0
    found = {path.name: path.read_text() for path in (hostler.folder / "out").iterdir()}
    assert found == {
        "sandbox1.out": "sandbox1\n", "sandbox1.err": "e\n", "sandbox2.out": "sandbox2\n", "sandbox2.err": "e\n",
    }  # fmt: skip


def test_a_reader_that_leaves_stops_the_printing_and_not_the_run(hostler: Hostler) -> None:
    pair = f"{PROGRAM} run {ONE} -- 'seq 200000; echo done >&2' | head -n 1"
    done = subprocess.run(["sh", "-c", pair], env=hostler.env, cwd=hostler.folder, capture_output=True)
    assert done.stdout == b"sandbox1 | 1\n" and b"stdout was closed" in done.stderr
    assert hostler.json("status", "last")["counts"] == {"ok": 1}
    assert hostler("log", "last", "1", "--stdout", "--raw").out.endswith(b"\n200000\n")


def test_more_output_than_memory_should_hold_is_on_disk_and_whole(hostler: Hostler) -> None:
    size = 64 << 20
    done = hostler("run", ONE, "-q", "-N", "--outdir", "o", "--", f"head -c {size} /dev/zero | tr '\\0' 'x'")
    assert done.code == 0 and len(done.out) in (size, size + 1)
    assert (hostler.folder / "o" / "sandbox1.out").stat().st_size == size


def test_output_without_end_ends_its_command_and_what_came_is_kept(hostler: Hostler) -> None:
    code, _, err = run(hostler, ONE, "--output-limit", "1M", "--outdir", "o", "--group", "--", "yes")
    assert code == 1 and err[0].startswith("sandbox1: failed: a stream was longer than 1048576 bytes"), err
    assert (hostler.folder / "o" / "sandbox1.out").stat().st_size == 1 << 20


# -- what arrives ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [("a b", "", "c\nd", "'\"$x`y`\\", "{}", "{1} {%} {host}", "*", "-n", "\u4e0d\u8981"), ("x" * 100_000,)],
    ids=["hostile", "long"],
)
def test_arguments_arrive_as_they_left(hostler: Hostler, words: tuple[str, ...]) -> None:
    done = hostler("run", ONE, "-q", "-N", "--group", "--", "printf", "%s|", *words)
    assert done.out == "".join(f"{word}|" for word in words).encode()


def test_one_word_is_shell_text_and_several_are_not(hostler: Hostler) -> None:
    assert run(hostler, ONE, "-qN", "--", "echo $((1+1)) {}") == (0, ["2 {}"], [])
    assert run(hostler, ONE, "-qN", "--", "echo", "$((1+1))") == (0, ["$((1+1))"], [])
    assert run(hostler, ONE, "-qN", "--shell", "--", "echo", "$((1+1))") == (0, ["2"], [])


def test_what_a_command_finds_when_it_begins(hostler: Hostler) -> None:
    words = ("--env", "A=b c'd", "--workdir", "/usr")
    text = 'echo "$A"; pwd; echo $HOSTLER_RUN $HOSTLER_JOB $HOSTLER_HOST; test -t 0 || cat; echo ${SSH_AUTH_SOCK-none}'
    code, out, _ = run(hostler, ONE, "-qN", *words, "--", text)
    assert (code, out) == (0, sorted(["b c'd", "/usr", "1 1 sandbox1", "none"]))
    code, _, err = run(hostler, ONE, "-q", "--workdir", "/nowhere", "--", "pwd")
    assert code == 1 and "no such folder on this host" in err[0]


def test_interrupts_reach_a_command_and_what_it_begins(hostler: Hostler) -> None:
    assert run(hostler, ONE, "-qN", "--", "trap 'echo heard; exit 3' INT; kill -INT $$; echo deaf")[:2] == (
        1, ["heard"],
    )  # fmt: skip


def test_stdin_here_is_what_every_command_reads(hostler: Hostler) -> None:
    data = b"%s\\n\0\xff'x'\n" * 5000
    done = hostler("run", BOTH, "-q", "--stdin", "--outdir", "o", "--", "cat", stdin=data)
    assert done.code == 0, done.err
    assert {path.read_bytes() for path in (hostler.folder / "o").glob("*.out")} == {data}
    assert not list(Path("/tmp").glob(".hostler-*"))


def test_a_script_is_sent_and_run_by_what_its_first_line_says(hostler: Hostler) -> None:
    script = hostler.folder / "s"
    script.write_text(
        "#!/usr/bin/env python3\nimport sys\nprint(sys.argv[1:], sys.stdin.read())\nsys.exit(4)\n"
    )
    code, out, _ = run(hostler, ONE, "-qN", "--script", "s", "--", "a b", "$c")
    assert (code, out) == (1, ["['a b', '$c'] "])
    script.write_text('echo $# "$1"; exit 0\n')
    assert run(hostler, ONE, "-qN", "--script", "s", "--", "a  b") == (0, ["1 a  b"], [])
    assert run(hostler, ONE, "-qN", "--script", "s") == (0, ["0 "], [])


# -- how it ended ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("exit 255", "exit 255"), ("exit 137", "exit 137"), ("kill -9 $$", "killed by SIGKILL"),
        ("kill -15 $$", "killed by SIGTERM"), ("nosuchcommand", "exit 127"),
    ],
)  # fmt: skip
def test_every_end_is_told_as_it_is(hostler: Hostler, text: str, words: str) -> None:
    code, _, err = run(hostler, ONE, "-qN", "--", text)
    assert (code, err[-2]) == (1, f"sandbox1: {words}"), err
    assert len(err) == 2 + ("nosuch" in text)


def test_255_of_a_command_is_none_of_a_line(hostler: Hostler) -> None:
    assert hostler("run", ONE, "-q", "--", "exit 255").code == 1
    assert hostler("run", NOBODY, "-q", "--", "exit 255").code == 4


def test_a_host_that_takes_the_call_and_says_nothing_is_given_up_in_time(hostler: Hostler) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        code, out, err = run(hostler, f"{ONE},{place}", "--connect-timeout", "1s", "--", "echo here")
    assert (code, out) == (4, ["sandbox1  | here"])
    assert err[0].startswith("127.0.0.1: unreachable: it took the call") and "1 ok, 1 unreachable" in err[-1]


@pytest.mark.slow
def test_a_timeout_ends_what_a_command_began(hostler: Hostler) -> None:
    from tests.command import survivors

    code, out, err = run(
        hostler, ONE, "--timeout", "1s", "--", "(trap '' TERM; setsid sleep 600) & echo begun; sleep 600"
    )
    assert (code, out, err[0]) == (3, ["sandbox1 | begun"], "sandbox1: timeout after 1s")
    assert survivors(hostler.uid()) == {}


def test_what_is_left_in_the_background_holds_nobody_up(hostler: Hostler) -> None:
    code, out, err = run(hostler, ONE, "--", "sleep 600 & echo parent")
    assert (code, out) == (0, ["sandbox1 | parent"]) and "1 ok" in err[-1]
    from tests.command import survivors

    left = survivors(hostler.uid())
    assert len(left) == 1, "a daemon that a command left lives on, as it does after ssh"
    for pid in left:
        os.kill(pid, 9)


# -- more than one --------------------------------------------------------------------------------------------


def test_waves_begin_one_after_the_other_and_failures_stop_them(hostler: Hostler) -> None:
    done = hostler("run", BOTH, "--waves", "1", "--stop-after", "1", "--", "exit 1")
    assert done.code == 5
    assert done.err.splitlines()[-3:-1] == ["sandbox1: exit 1", "sandbox2: not run"]
    assert "--stop-after 1: 1 host failed: nothing more is begun" in done.err
    done = hostler("run", "--resume", "last", "--stop-after", "50%")
    assert "2 failed" in done.err


def test_a_run_is_looked_at_and_gone_on_with_as_any_other(hostler: Hostler) -> None:
    mark = hostler.folder / "mark"
    text = f"test $HOSTLER_JOB = 1 || test -e {mark}"
    assert hostler("run", BOTH, "-q", "--", text).code == 1
    (seen,) = hostler.json("runs")
    assert (seen["kind"], seen["counts"], seen["command"]) == ("fanout", {"ok": 1, "failed": 1}, text)
    assert hostler("log", "last", "2").code == 0
    assert "sandbox2" in hostler("explain", "last", "2").out.decode()
    assert hostler("report", "last").out
    assert run(hostler, "@last:failed", "-q", "--", "echo again") == (0, ["sandbox2 | again"], [])
    mark.touch()
    done = hostler("run", "--retry", "1")
    assert done.code == 0 and "run 1: 2 ok" in done.err, done.err
    assert hostler("add", "1", "--", "x", ":::", "y").code == 2


def test_retries_try_a_failed_command_again_where_it_failed(hostler: Hostler) -> None:
    once = f"mkdir {hostler.folder}/$HOSTLER_HOST 2>/dev/null && exit 9; echo $HOSTLER_ATTEMPT"
    code, out, _ = run(hostler, BOTH, "-qN", "--retries", "1", "--", once)
    assert code == 0 and [line.rpartition("/")[2] for line in out] == ["2", "2"]


def test_a_host_named_twice_gets_one_command(hostler: Hostler) -> None:
    assert run(hostler, f"{ONE},sandbox1,{BOTH}&{ONE}", "-q", "--", "echo x") == (0, ["sandbox1 | x"], [])


def test_slips_are_told_in_one_line(hostler: Hostler) -> None:
    hostler("run", "--", "x").refused("no hosts", "before '--'")
    hostler("run", ONE).refused("no command")
    hostler("run", "a", "b", "--", "x").refused("as one word")
    hostler("run", ONE, "--waves", "0", "--", "x").refused("--waves")
    hostler("run", ONE, "--stop-after", "x", "--", "x").refused("--stop-after x")
    hostler("run", ONE, "--json", "--group", "--", "x").refused("one or the other")
    hostler("run", ONE, "--script", "nosuch").refused("--script nosuch: No such file")
    hostler("run", ONE, "--", "x", ":::", "a").refused("hostler batch")
    hostler("run", ONE, "--stdin", "--on-disconnect", "detach", "--", "x").refused("--stdin")
