"""The main ways of `hostler batch`: jobs, commands, hosts, how many at once, what is printed."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest

from tests.command import ALL, Effects, Hostler, at_the_same_time, survivors
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.lab import Lab, wait_until

#: A job that says in the effects when it begins and ends; $1 is the file, $2 the job, $3 how long it takes.
BOUNDED = 'echo "+ $2" >> "$1"; sleep "$3"; echo "- $2" >> "$1"'


# -- where jobs come from -----------------------------------------------------------------------------------------


def test_each_line_of_stdin_is_one_argument_whatever_is_in_it(hostler: Hostler) -> None:
    lines = [
        b"two words",
        b"  lead and trail  ",
        b"'single' \"double\"",
        b"$HOME `id` $(id) ; rm -rf /nowhere",
    ]
    lines += [b"back\\slash", b"tab\there", b"\xff\xfe not utf-8", b"-n", b"{}", b"*"]
    done = hostler("batch", *ALL, "-j", "1", "--", "printf", "<%s>\n", stdin=b"\n".join(lines) + b"\n")
    assert done.code == 0, done.err
    assert sorted(done.out.splitlines()) == sorted(b"<" + line + b">" for line in lines)


def test_three_colons_give_every_combination(hostler: Hostler) -> None:
    done = hostler("batch", *ALL, "--", "echo", "{1}-{2}", ":::", "a", "b", ":::", "1", "2")
    assert (done.code, sorted(done.lines)) == (0, ["a-1", "a-2", "b-1", "b-2"])


def test_a_file_of_jobs_is_read_instead_of_stdin(hostler: Hostler, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("one\ntwo")
    done = hostler("batch", *ALL, "--jobs", "list", "--", "echo", stdin=b"not this\n")
    assert (done.code, sorted(done.lines)) == (0, ["one", "two"])


def test_without_a_command_each_line_is_shell_text_of_its_own(hostler: Hostler) -> None:
    done = hostler(
        "batch", *ALL, stdin=b"echo $((6 * 7))\nprintf 'a\\nb\\n' | tail -1; echo \"$HOSTLER_JOB\"\n"
    )
    assert (done.code, sorted(done.lines)) == (0, ["2", "42", "b"])


# -- what a command is --------------------------------------------------------------------------------------------


def test_several_words_are_executed_without_a_shell_and_one_with_blanks_by_one(hostler: Hostler) -> None:
    arg = "$HOME; echo gone"
    assert hostler("batch", *ALL, "--", "echo", "$0", ">", ":::", arg).lines == [f"$0 > {arg}"]
    assert hostler("batch", *ALL, "--", 'x={}; echo "<$x>" | cat', ":::", arg).lines == [f"<{arg}>"]
    assert hostler("batch", *ALL, "--", "echo before {} {#} after", ":::", arg).lines == [
        f"before {arg} 1 after"
    ]


def test_shell_and_no_shell_force_it(hostler: Hostler) -> None:
    assert hostler("batch", *ALL, "--shell", "--", "echo", "$((1+1))", ":::", "a b").lines == ["2 a b"]
    refused = hostler("batch", *ALL, "--no-shell", "--", "echo hello", ":::", "a")
    assert refused.code == 1
    assert "command not found" in refused.err


def test_jobs_know_who_they_are(hostler: Hostler) -> None:
    done = hostler("batch", *ALL, "-j", "3", "--", 'echo "$HOSTLER_JOB $HOSTLER_RUN $HOSTLER_HOST $HOSTLER_SLOT '
                   '$HOSTLER_ATTEMPT"; true {}', ":::", "a", "b")  # fmt: skip
    uid = hostler.uid()
    assert done.code == 0
    for number, line in enumerate(sorted(done.lines), 1):
        assert re.fullmatch(rf"{number} 1 sandbox[12] [123] {uid}/{number}/1", line), line


# -- which hosts --------------------------------------------------------------------------------------------------


def test_hosts_are_named_by_set_by_address_by_file_and_left_out(
    hostler: Hostler, ground: Lab, tmp_path: Path
) -> None:
    one, two = ground.shared(2)
    (tmp_path / "list").write_text(f"# ours\n{one.endpoint}\n\n{two.endpoint}\n")

    def enrolled(*words: str) -> list[str]:
        done = hostler("batch", "-q", *words, "--", "true", ":::", "a")
        assert done.code == 0, done.err
        return sorted(host["name"] for host in hostler.json("status", "last")["hosts"])

    typed = f"{one.endpoint},{two.user}@{two.address}:{two.port}"
    assert enrolled("--hosts", "sandbox[1-2]&!sandbox1") == ["sandbox2"]
    assert enrolled("--hosts", typed) == sorted([one.address, two.address])
    assert enrolled("--hostfile", "list", "-x", "sandbox1") == [two.address]


def test_inventories_plain_and_yaml_are_laid_over_each_other(
    hostler: Hostler, ground: Lab, tmp_path: Path
) -> None:
    one, two = ground.shared(2)
    (tmp_path / "plain").write_text(f"{one.endpoint}\n")
    (tmp_path / "hosts.yaml").write_text(
        f"hosts:\n  web1: {{address: {one.address}, identity: {one.identity}, tags: [web], slots: 1}}\n"
        f"  web2: {{address: {two.address}, identity: {two.identity}, vars: {{spool: {tmp_path / 'spool'}}}}}\n"
        f"groups:\n  eu: {{hosts: 'web[1-2]', user: {one.user}}}\n"
    )

    def enrolled(*words: str) -> list[str]:
        done = hostler("batch", "-q", *words, "--", "true", ":::", "a")
        assert done.code == 0, done.err
        return sorted(host["name"] for host in hostler.json("status", "last")["hosts"])

    assert enrolled("-i", "plain") == [one.address]
    (tmp_path / "names").write_text("web2\n")
    assert enrolled("-i", "hosts.yaml", "-i", "names") == ["web1", "web2"]
    assert enrolled("-i", "hosts.yaml", "--hosts", "@eu", "-x", "web1") == ["web2"]
    assert (tmp_path / "spool").is_dir()


# -- how many, how long, how often --------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 3])
def test_as_many_jobs_run_at_once_on_a_host_as_were_asked_for(
    hostler: Hostler, effects: Effects, slots: int
) -> None:
    done = hostler("batch", "--hosts", "sandbox1", "-j", str(slots), "--", "sh", "-c", BOUNDED, "-", str(effects),
                   "{}", "0.2", ":::", *map(str, range(4 * slots)))  # fmt: skip
    assert done.code == 0, done.err
    assert len(effects.lines) == 8 * slots
    assert at_the_same_time(effects) == slots


@pytest.mark.slow
def test_a_job_that_takes_too_long_is_ended_with_all_its_processes(
    hostler: Hostler, effects: Effects
) -> None:
    tree = f"trap '' TERM; sleep 300 & (setsid sleep 300 &) ; echo begun >> {effects}; sleep 300; true {{}}"
    began = time.monotonic()
    done = hostler("batch", *ALL, "--timeout", "1.5", "--", tree, ":::", "a", "b")
    assert done.code == 3, done.err
    assert time.monotonic() - began < 40
    assert effects.counts == {"begun": 2}
    assert "2 timed out" in done.err
    assert not survivors(hostler.uid())


def test_a_job_that_fails_is_tried_again_and_both_attempts_are_in_the_log(
    hostler: Hostler, effects: Effects
) -> None:
    text = f'echo "try {{}}" >> {effects}; test $(grep -c "try {{}}" {effects}) -ge 2 && echo done {{}}'
    done = hostler("batch", *ALL, "--retries", "1", "--", text, ":::", "a", "b")
    assert (done.code, sorted(done.lines)) == (0, ["done a", "done b"])
    assert effects.counts == {"try a": 2, "try b": 2}
    attempts = [(each["job"], each["attempt"], each["code"]) for each in hostler.json("log", "last")]
    assert sorted(attempts) == [(1, 1, 1), (1, 2, 0), (2, 1, 1), (2, 2, 0)]


def test_no_more_retries_than_asked_for(hostler: Hostler, effects: Effects) -> None:
    done = hostler(
        "batch", *ALL, "--retries", "2", "--", f"echo try >> {effects}; false {{}} || exit 7", ":::", "a"
    )
    assert (done.code, effects.counts) == (1, {"try": 3})
    assert "exit 7" in done.err
    assert [each["code"] for each in hostler.json("log", "last")] == [7, 7, 7]


# -- what is printed ----------------------------------------------------------------------------------------------


def test_output_stays_together_job_by_job_and_only_it_is_on_stdout(hostler: Hostler) -> None:
    text = "for i in 1 2 3; do echo {} $i; echo {} $i >&2; sleep 0.05; done"
    done = hostler("batch", *ALL, "-j", "4", "--", text, ":::", *"abcd")
    assert done.code == 0
    assert [line[0] for line in done.lines[::3]] == [line[0] for line in done.lines[2::3]]
    assert sorted(done.lines) == [f"{job} {i}" for job in "abcd" for i in (1, 2, 3)]
    assert "\x1b" not in done.err and "a 2\n" in done.err and "4 jobs" in done.err


def test_with_line_buffer_lines_come_before_the_job_ends_and_never_in_pieces(
    hostler: Hostler, effects: Effects
) -> None:
    text = (
        f"printf begun-; sleep 0.3; echo {{}}; while [ ! -e {effects} ]; do sleep 0.05; done; printf end-{{}}"
    )
    running = hostler.start("batch", *ALL, "-j", "2", "--line-buffer", "--", text, ":::", *"abcd")
    wait_until(lambda: running.out.count(b"\n") >= 4, what="four lines")
    assert sorted(running.out.splitlines()) == [b"begun-a", b"begun-b", b"begun-c", b"begun-d"]
    effects.path.touch()
    done = running.wait()
    assert sorted(done.lines[4:]) == ["end-a", "end-b", "end-c", "end-d"]
    assert done.out.endswith(b"\n")


def test_without_it_nothing_of_a_job_comes_before_its_end(hostler: Hostler, effects: Effects) -> None:
    text = (
        f"echo {{}}; echo at >> {effects}; test {{}} = b || while [ ! -e {effects}.go ]; do sleep 0.05; done"
    )
    running = hostler.start("batch", *ALL, "-j", "2", "--", text, ":::", "a", "b")
    effects.wait(2)
    wait_until(lambda: b"b\n" in running.out, what="the quick job's output")
    assert running.out == b"b\n"
    Path(f"{effects}.go").touch()
    assert running.wait().lines == ["b", "a"]


def test_a_reader_that_goes_away_stops_the_printing_and_not_the_run(
    hostler: Hostler, effects: Effects
) -> None:
    read, write = os.pipe()
    text = f"echo {{}}; echo {{}} >> {effects}; sleep 0.1"
    running = hostler.start("batch", *ALL, "-j", "1", "--", text, ":::", *map(str, range(30)), stdout=write)
    os.close(write)
    assert os.read(read, 1) != b""
    os.close(read)
    done = running.wait()
    assert done.code == 0, done.err
    assert len(effects.lines) == 30
    assert [line for line in done.err.splitlines() if "stdout" in line] == [
        "hostler: stdout was closed: no more output is printed, the run goes on (see: hostler log 1)"
    ]


def test_quiet_leaves_only_the_data_errors_and_a_line_on_what_is_not_well(hostler: Hostler) -> None:
    done = hostler("batch", *ALL, "-q", "--", "echo", ":::", "a")
    assert (done.code, done.out, done.err) == (0, b"a\n", "")
    failed = hostler("batch", *ALL, "-q", "--", "sh", "-c", "echo oh >&2; exit 1", ":::", "a")
    line = "hostler: batch 2: 1 job: 1 failed; next: hostler batch --retry 2\n"
    assert (failed.code, failed.out, failed.err) == (1, b"", "oh\n" + line)


def test_a_command_that_is_no_utf_8_is_carried_and_shown(hostler: Hostler) -> None:
    done = hostler("batch", *ALL, "--", "printf", "%s\n", b"caf\xe9", ":::", "a")
    assert (done.code, done.out) == (0, b"caf\xe9\na\n")
    assert "caf\\xe9" in hostler.json("runs")[0]["command"]
    assert "caf\\xe9" in hostler("status", "last").out.decode()


def test_colours_are_for_terminals_unless_asked_for(hostler: Hostler) -> None:
    words = (*ALL, "--", "false", ":::", "a")
    assert "\x1b[" not in hostler("batch", *words).err
    assert "\x1b[31m" in hostler("batch", "--color", "always", *words, NO_COLOR="1").err


def test_scripts_read_runs_status_and_log_as_json(hostler: Hostler) -> None:
    assert hostler.json("runs") == []
    hostler("batch", *ALL, "--", "echo", "<{}>", ":::", "a", "b")
    hostler("batch", *ALL, "--", "sh", "-c", "echo out; echo err >&2; exit 9", ":::", "x")
    newest, oldest = hostler.json("runs")
    assert (newest["number"], newest["kind"], newest["state"], newest["counts"]) == (
        2,
        "batch",
        "finished",
        {"failed": 1},
    )
    assert (oldest["number"], oldest["counts"], oldest["exit_code"]) == (1, {"ok": 2}, 0)
    assert re.fullmatch("[0-9a-f]{32}", oldest["uid"]) and oldest["started"] <= newest["started"]
    status = hostler.json("status", oldest["uid"][:8])
    assert (status["number"], sum(host["ok"] for host in status["hosts"]), status["next"]) == (1, 2, None)
    assert hostler.json("status", "last")["next"] == "hostler batch --retry 2"
    about = hostler.json("log", "last", "1")
    assert (about["stdout"], about["stderr"], about["state"]) == ("out\n", "err\n", "failed")
    assert json.loads(hostler("log", "1", "--json").out)[0]["ending"] == "ok"
