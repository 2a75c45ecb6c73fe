"""What people get wrong, each with one clear line: what it is, where, what to do; and never a traceback."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.command import ALL, PROGRAM, Hostler
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.door import Door
from tests.lab import Lab, wait_until

ECHO = ("--", "echo")


# -- jobs ---------------------------------------------------------------------------------------------------------


def test_no_jobs(hostler: Hostler) -> None:
    for stdin in (b"\n\n\n", None):
        hostler("batch", *ALL, *ECHO, stdin=stdin).refused("no jobs", "stdin", ":::", "--jobs")
    hostler("batch", *ALL, *ECHO, ":::").refused("no jobs")
    assert hostler.json("runs") == []


def test_stdin_that_is_a_terminal_is_not_read(hostler: Hostler) -> None:
    ours, theirs = pty.openpty()
    try:
        hostler.start("batch", *ALL, *ECHO, stdin=theirs).wait(20).refused(
            "no jobs", "terminal", ":::", "--jobs"
        )
    finally:
        os.close(ours)
        os.close(theirs)


def test_empty_lines_are_no_jobs_and_are_counted(hostler: Hostler) -> None:
    done = hostler("batch", *ALL, *ECHO, stdin=b"\na\n\n\nb\n")
    assert (done.code, sorted(done.lines)) == (0, ["a", "b"])
    assert "3 empty lines skipped" in done.err
    assert "1 empty line skipped" in hostler("batch", *ALL, *ECHO, stdin=b"a\n\n").err


def test_a_nul_byte_is_refused_with_its_line(hostler: Hostler) -> None:
    hostler("batch", *ALL, *ECHO, stdin=b"a\nb\0c\n").refused("stdin", "line 2", "NUL")
    (hostler.folder / "list").write_bytes(b"a\n\0\n")
    hostler("batch", *ALL, "--jobs", "list", *ECHO).refused("list", "line 2", "NUL")
    assert hostler.json("runs") == []


def test_arguments_arrive_as_they_left(hostler: Hostler) -> None:
    words = [
        "new\nline",
        "quote ' and \"",
        "$HOME ${x} `id` $(id)",
        "a; rm -rf /nowhere",
        "-rf",
        "",
        "\\n",
        "é ☃",
    ]
    done = hostler("batch", *ALL, "-j", "1", "--", "printf", "<%s>\\0", ":::", *words)
    assert done.code == 0, done.err
    assert sorted(done.out.split(b"\0")) == sorted([b"", *(f"<{word}>".encode() for word in words)])
    shell = hostler("batch", *ALL, "--", "x={}; printf '<%s>\\0' \"$x\"", ":::", *words)
    assert sorted(shell.out.split(b"\0")) == sorted([b"", *(f"<{word}>".encode() for word in words)])


def test_the_same_line_again_is_another_job(hostler: Hostler) -> None:
    assert sorted(hostler("batch", *ALL, "--", "echo", ":::", "a", "a", "a", "b").lines) == [
        "a",
        "a",
        "a",
        "b",
    ]


def test_an_argument_of_100_kilobytes(hostler: Hostler) -> None:
    long = os.urandom(50_000).hex().encode()
    assert hostler("batch", *ALL, *ECHO, stdin=long + b"\n").out == long + b"\n"
    counted = hostler("batch", *ALL, "--", "printf %s {} | wc -c", stdin=long + b"\n")
    assert counted.lines == ["100000"]


def test_an_argument_that_no_system_takes_fails_its_own_job_only(hostler: Hostler) -> None:
    done = hostler("batch", *ALL, *ECHO, stdin=b"x" * 200_000 + b"\nshort\n")
    assert (done.code, done.lines) == (1, ["short"])
    assert "too long" in done.err.lower()


def test_a_file_of_jobs_that_cannot_be_read(hostler: Hostler) -> None:
    (hostler.folder / "folder").mkdir()
    (hostler.folder / "secret").write_text("a\n")
    (hostler.folder / "secret").chmod(0)
    hostler("batch", *ALL, "--jobs", "nowhere", *ECHO).refused("--jobs nowhere", "No such file")
    hostler("batch", *ALL, "--jobs", "folder", *ECHO).refused("--jobs folder", "directory")
    if os.geteuid():
        hostler("batch", *ALL, "--jobs", "secret", *ECHO).refused("--jobs secret", "Permission denied")
    (hostler.folder / "binary").write_bytes(Path("/bin/true").read_bytes())
    hostler("batch", *ALL, "--jobs", "binary", *ECHO).refused("binary", "line 1", "NUL")


@pytest.mark.slow
def test_a_million_lines_are_accepted_in_bounded_memory(hostler: Hostler) -> None:
    (hostler.folder / "list").write_text("".join(f"{number}\n" for number in range(1_000_000)))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        running = hostler.start("batch", "--hosts", f"root@127.0.0.1:{port}", "--jobs", "list", *ECHO)
        wait_until(lambda: "1000000 jobs" in running.err or running.process.poll() is not None, seconds=60)
        assert "batch 1: 1000000 jobs, 1 host" in running.err
        usage = Path(f"/proc/{running.process.pid}/status").read_text()
        highest = int(next(line.split()[1] for line in usage.splitlines() if line.startswith("VmHWM")))
        assert highest < 150 << 10, f"{highest} KiB"
        running.signal(2)
        done = running.wait()
    assert done.code == 130
    assert "1000000 not run" in done.err


def test_closed_descriptors_are_not_taken_for_files(hostler: Hostler) -> None:
    program = [str(PROGRAM), "batch", *ALL, "-q", "--", "echo"]
    closing = '"$@" <&- >&- 2>&-; echo $? > code'
    subprocess.run(
        ["sh", "-c", closing, "-", *program, ":::", "a"],
        env=hostler.env,
        cwd=hostler.folder,
        timeout=60,
        check=True,
    )
    assert (hostler.folder / "code").read_text() == "0\n"
    assert hostler("log", "last", "1", "--stdout").out == b"a\n"
    done = subprocess.run(
        ["sh", "-c", '"$@" <&-', "-", *program], env=hostler.env, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 2 and b"stdin is closed" in done.stderr


# -- hosts --------------------------------------------------------------------------------------------------------


def test_no_hosts(hostler: Hostler) -> None:
    hostler("batch", *ECHO, ":::", "a").refused("no hosts", "--hosts", "--hostfile", "-i")
    hostler("batch", "--hosts", "", *ECHO, ":::", "a").refused("host")
    hostler("batch", "--hosts", "@nothing", *ECHO, ":::", "a").refused("nothing")
    hostler("batch", *ALL, "-x", "@sandbox", *ECHO, ":::", "a").refused("no host is left")
    hostler("batch", "--hosts", "web[1-", *ECHO, ":::", "a").refused("web[1-")
    hostler("batch", *ALL, "--hostfile", "f", *ECHO, ":::", "a").refused("one or the other")
    hostler("batch", "--hostfile", "nowhere", *ECHO, ":::", "a").refused("nowhere", "no such file")
    hostler("batch", "-i", "nowhere.yaml", *ECHO, ":::", "a").refused("nowhere.yaml", "no such file")
    assert hostler.json("runs") == []


def test_a_host_that_nobody_knows(hostler: Hostler) -> None:
    done = hostler("batch", "--hosts", "no-such-host.invalid", *ECHO, ":::", "a", "b")
    assert (done.code, done.out) == (4, b"")
    assert "no-such-host.invalid" in done.err and "name not known" in done.err
    assert "2 not run" in done.err and "hostler batch --resume 1" in done.err


def test_a_refused_port_among_others_costs_nothing_but_the_host(hostler: Hostler, ground: Lab) -> None:
    (host,) = ground.shared(1)
    with Door(host) as door:
        port = door.port
    done = hostler("batch", "--hosts", f"sandbox1,root@127.0.0.1:{port}", *ECHO, ":::", *"abcd")
    assert (done.code, sorted(done.lines)) == (0, [*"abcd"]), done.err


def test_a_refused_port_alone_ends_the_run_in_bounded_time_and_is_named(
    hostler: Hostler, ground: Lab
) -> None:
    (host,) = ground.shared(1)
    with Door(host) as door:
        port = door.port
    began = time.monotonic()
    done = hostler("batch", "--hosts", f"root@127.0.0.1:{port}", *ECHO, ":::", "a")
    assert done.code == 4, done.err
    assert time.monotonic() - began < 30
    assert f"connection refused by 127.0.0.1:{port}" in done.err
    assert "1 not run" in done.err and "hostler batch --resume 1" in done.err


def test_no_key_accepted_says_which_were_tried_and_how_to_look(hostler: Hostler, ground: Lab) -> None:
    (host,) = ground.shared(1)
    with Door(host) as door:
        done = hostler("batch", "--hosts", f"root@127.0.0.1:{door.port}", *ECHO, ":::", "a")
    assert done.code == 4, done.err
    assert "no key accepted" in done.err and "ssh -p" in done.err and "1 not run" in done.err


def test_a_changed_host_key_is_refused_loudly(hostler: Hostler, ground: Lab) -> None:
    one, two = ground.shared(2)
    with Door(one) as door:
        sheet = "hosts:\n" + door.sheet().replace(str(one.host_key), str(two.host_key))
        (hostler.folder / "wrong.yaml").write_text(sheet)
        done = hostler("batch", "-i", "wrong.yaml", *ECHO, ":::", "a")
    assert (done.code, done.out) == (4, b""), done.err
    assert "host key" in done.err.lower() and "door" in done.err and "1 not run" in done.err


def test_a_key_learned_at_the_first_visit_holds_for_the_next(hostler: Hostler, ground: Lab) -> None:
    one, two = ground.shared(2)
    sheet = "hosts:\n  web: {{address: 127.0.0.1, port: {port}, user: {user}, identity: {identity}}}\n"
    with Door(one) as door:
        (hostler.folder / "hosts.yaml").write_text(
            sheet.format(port=door.port, user=one.user, identity=one.identity)
        )
        strict = hostler("batch", "--strict-host-keys", "-i", "hosts.yaml", *ECHO, ":::", "a")
        assert strict.code == 4 and "its key is not on record" in strict.err, strict.err
        assert hostler("batch", "-i", "hosts.yaml", *ECHO, ":::", "a").lines == ["a"]
        door.host = two
        changed = hostler("batch", "-i", "hosts.yaml", *ECHO, ":::", "a")
    assert (changed.code, changed.out) == (4, b""), changed.err
    assert "known_hosts" in changed.err


# -- words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-j", "0"], "--slots 0"),
        (["-j", "two"], "--slots two"),
        (["-j", "1.5"], "--slots 1.5"),
        (["--timeout", "0"], "--timeout"),
        (["--timeout", "-5"], "-5"),
        (["--timeout", "5 minutes"], "5 minutes"),
        (["--connect-timeout", "soon"], "soon"),
        (["--retries", "-1"], "--retries -1"),
        (["--launch", "2"], "--provider"),
        (["--launch", "2", "--provider", "clouds"], "clouds"),
        (["--provider", "sandbox"], "--launch"),
        (["--keep"], "--launch"),
        (["--job", "x"], "--job"),
        (["--colour", "always"], "--color"),
        (["--resume", "1", "--retry", "1"], "one or the other"),
        (["stray", "word"], "'stray word' stands before '--'"),
        (["--jobs", "list"], "one or the other"),
    ],
)
def test_words_that_make_no_sense(hostler: Hostler, words: list[str], said: str) -> None:
    hostler("batch", *ALL, *words, *ECHO, ":::", "a").refused(said)


def test_holes_that_no_job_can_fill(hostler: Hostler) -> None:
    hostler("batch", *ALL, "--", "echo", "{2}", ":::", "a").refused("{2}")
    hostler("batch", *ALL, "--", ":::", "a").refused("command")


# -- runs ---------------------------------------------------------------------------------------------------------


def test_runs_that_are_not_there(hostler: Hostler) -> None:
    hostler("batch", "--resume", "last").refused("no run")
    hostler("status", "1").refused("no run")
    hostler("batch", *ALL, *ECHO, ":::", "a")
    hostler("batch", "--resume", "99").refused("no run 99", "the newest is 1")
    hostler("batch", "--retry", "zzz").refused("zzz")
    hostler("log", "last", "7").refused("7")


def test_a_run_that_goes_on_keeps_its_jobs(hostler: Hostler) -> None:
    hostler("batch", *ALL, *ECHO, ":::", "a")
    hostler("batch", "--resume", "last", *ECHO, ":::", "b").refused("keeps its command and jobs")
    hostler("batch", "--resume", "last", "--jobs", "x").refused("keeps its command and jobs")


def test_a_state_folder_that_cannot_be_used(hostler: Hostler) -> None:
    (hostler.folder / "file").write_text("")
    done = hostler("batch", *ALL, *ECHO, ":::", "a", HOSTLER_STATE_DIR=str(hostler.folder / "file"))
    done.refused("file", code=done.code)
    assert done.code in (2, 6)
