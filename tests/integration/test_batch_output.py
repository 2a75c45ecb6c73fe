"""What becomes of jobs' output: in order, with tags, as it comes, in a joblog, in a folder of results."""

from __future__ import annotations

import os
from pathlib import Path

from tests.command import ALL, Effects, Hostler
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.lab import wait_until

COLUMNS = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand"


def test_in_order_nothing_comes_before_the_jobs_before_it(hostler: Hostler, effects: Effects) -> None:
    text = (
        f"echo {{}}; echo at >> {effects}; test {{}} != a || while [ ! -e {effects}.go ]; do sleep 0.05; done"
    )
    running = hostler.start("batch", *ALL, "-q", "-k", "-j", "2", "--", text, ":::", *"abcdef")
    effects.wait(6)
    wait_until(lambda: hostler.json("status", "last")["counts"].get("ok") == 5, what="five jobs")
    assert running.out == b""
    effects.go()
    assert running.wait().lines == list("abcdef")


def test_in_order_all_attempts_and_big_outputs_stand_in_their_place(hostler: Hostler) -> None:
    text = (
        "echo {} $HOSTLER_ATTEMPT; [ {} != 2 ] || [ ${HOSTLER_ATTEMPT##*/} = 2 ] && seq 100000 | grep -v 77"
    )
    done = hostler("batch", *ALL, "-q", "-k", "--retries", "1", "--", text, ":::", "1", "2", "3")
    uid = hostler.uid()
    big = [line for line in map(str, range(1, 100001)) if "77" not in line]
    assert done.code == 0
    assert done.lines == [f"1 {uid}/1/1", *big, f"2 {uid}/2/1", f"2 {uid}/2/2", *big, f"3 {uid}/3/1", *big]


def test_in_order_a_resume_prints_what_was_left_and_a_halt_what_there_is(hostler: Hostler) -> None:
    text = "sleep 0.{}; echo {}; [ {} != 4 ]"
    words = ("-q", "-k", "-j", "4", "--hosts", "sandbox1", "--halt", "now,fail=1", "--", text)
    first = hostler("batch", *words, ":::", "9", "1", "4", "3", "2")
    assert first.code == 5 and "4" in first.lines
    assert first.lines == [word for word in ("1", "4", "3", "2") if word in first.lines]
    rest = hostler("batch", "-q", "-k", "--resume", "last", "--halt", "never")
    assert (rest.code, sorted(first.lines + rest.lines)) == (1, ["1", "2", "3", "4", "9"])
    assert rest.lines[0] == "9"


def test_tags_stand_before_every_line_and_lines_end(hostler: Hostler) -> None:
    text = "echo one; printf two; echo err >&2; test {}"
    done = hostler("batch", *ALL, "-q", "--tag", "--", text, ":::", "a b", "x\ny")
    assert sorted(done.lines) == ["a b\tone", "a b\ttwo", "x y\tone", "x y\ttwo"]
    assert sorted(done.err.splitlines()) == ["a b\terr", "x y\terr"]
    lines = hostler("batch", *ALL, "-q", "--tag", "--line-buffer", "--", text, ":::", "c").lines
    assert lines == ["c\tone", "c\ttwo"]
    done = hostler("batch", "--hosts", "sandbox1", "-q", "-k", "--tagstring", "{#}@{host} {1/}: ", "--", text,
                   ":::", "/z/a", "b")  # fmt: skip
    assert done.lines == [
        f"{n}@sandbox1 {word}: {line}" for n, word in ((1, "a"), (2, "b")) for line in ("one", "two")
    ]


def test_streamed_lines_come_at_once_and_say_whose_they_are(hostler: Hostler, effects: Effects) -> None:
    text = f"echo begun {{}}; while [ ! -e {effects} ]; do sleep 0.05; done; printf end"
    running = hostler.start(
        "batch", "-q", "--hosts", "sandbox1", "-j", "2", "--stream", "--", text, ":::", "a", "b"
    )
    wait_until(lambda: running.out.count(b"\n") >= 2, what="two lines")
    assert sorted(running.out.splitlines()) == [b"sandbox1 1 | begun a", b"sandbox1 2 | begun b"]
    effects.path.touch()
    assert sorted(running.wait().lines[2:]) == ["sandbox1 1 | end", "sandbox1 2 | end"]


def joblog(path: Path) -> list[list[str]]:
    head, *lines = path.read_text().splitlines()
    assert head == COLUMNS
    return [line.split("\t") for line in lines]


def test_a_joblog_has_a_line_per_attempt_in_the_columns_of_gnu_parallel(hostler: Hostler) -> None:
    path = hostler.folder / "jobs.log"
    text = "echo {}; [ {} != b ] || exit 3; [ {} != c ] || kill -9 $$; [ {} != d ] || sleep 60"
    done = hostler("batch", *ALL, "-q", "--joblog", "jobs.log", "--retries", "1", "--timeout", "2", "--", text,
                   ":::", *"abcd")  # fmt: skip
    assert done.code == 3
    lines = joblog(path)
    assert sorted((line[0], *line[5:8]) for line in lines) == [
        ("1", "2", "0", "0"),
        *[("2", "2", "3", "0")] * 2,
        *[("3", "2", "-1", "9")] * 2,
        *[("4", "2", "-1", "15")] * 2,
    ]
    assert all(line[1] in ("sandbox1", "sandbox2") and float(line[2]) > 1e9 for line in lines)
    assert {line[8] for line in lines if line[0] == "1"} == {text.replace("{}", "'a'")}


def test_a_joblog_and_results_are_whole_after_a_kill_and_a_resume(hostler: Hostler, effects: Effects) -> None:
    jobs = [str(n) for n in range(40)]
    text = f"echo {{}}; echo {{}} >> {effects}; sleep 0.1"
    files = ("--joblog", "jobs.log", "--results", "res")
    running = hostler.start("batch", *ALL, "-q", "-j", "2", *files, "--", text, ":::", *jobs)
    effects.wait(10)
    running.kill()
    with (hostler.folder / "jobs.log").open("a") as file:
        file.write("torn")
    for place in list((hostler.folder / "res" / "1").iterdir())[:3]:
        (place / "seq").unlink(missing_ok=True)  # the kill may have come before it was written
    other = hostler.folder / "elsewhere"
    other.mkdir()
    done = hostler.start("batch", "-q", "--resume", "last", cwd=other).wait()
    assert done.code == 0, done.err
    assert sorted(int(line[0]) for line in joblog(hostler.folder / "jobs.log")) == list(range(1, 41))
    for number, job in enumerate(jobs, 1):
        place = hostler.folder / "res" / "1" / job
        assert {file.name: file.read_text() for file in place.iterdir()} == {
            "stdout": f"{job}\n",
            "stderr": "",
            "seq": f"{number}\n",
        }


def test_hostile_arguments_make_harmless_names_of_results(hostler: Hostler) -> None:
    words = [
        "../../x",
        "..",
        "",
        "a\nb",
        "back\\slash",
        "/",
        os.fsdecode(b"\xff"),
        "y" * 300,
        "y" * 300 + "z",
        "twice",
        "twice",
    ]
    done = hostler(
        "batch", *ALL, "-q", "--results", "res", "--", "printf", "%s", ":::", *map(os.fsencode, words)
    )
    assert done.code == 0, done.err
    found = {int((place / "seq").read_text()): place for place in (hostler.folder / "res" / "1").iterdir()}
    assert sorted(found) == list(range(1, len(words) + 1))
    for number, word in enumerate(words, 1):
        assert (found[number] / "stdout").read_bytes() == os.fsencode(word)
    assert {found[1].name, found[2].name, found[10].name, found[11].name} == {
        ".._.._x".replace("_", "\\_"),
        "\\..",
        "twice",
        "twice\\#11",
    } or ({found[10].name, found[11].name} == {"twice", "twice\\#10"})
    two = hostler("batch", *ALL, "-q", "--results", "two", "--", "true", ":::", "a", ":::", "b")
    assert two.code == 0 and (hostler.folder / "two/1/a/2/b/stdout").exists()


def test_files_that_cannot_be_written_are_refused_before_a_run_is_made(hostler: Hostler) -> None:
    (hostler.folder / "note").write_text("mine\n")
    (hostler.folder / "full").mkdir()
    (hostler.folder / "full" / "x").touch()
    echo = ("--", "echo", ":::", "a")
    hostler("batch", *ALL, "--joblog", "note", *echo).refused("--joblog", "note", "no joblog")
    hostler("batch", *ALL, "--joblog", "full", *echo).refused("--joblog", "folder")
    hostler("batch", *ALL, "--joblog", "nowhere/x", *echo).refused("--joblog", "no folder")
    hostler("batch", *ALL, "--results", "full", *echo).refused("--results", "not empty")
    hostler("batch", *ALL, "--results", "note", *echo).refused("--results", "not a folder")
    hostler("batch", *ALL, "--results", "note/x", *echo).refused("--results", "not a folder")
    hostler("batch", *ALL, "-k", "--line-buffer", *echo).refused("--keep-order", "--line-buffer")
    hostler("batch", *ALL, "--tagstring", "{%}", *echo).refused("--tagstring", "{%}")
    assert (hostler.folder / "note").read_text() == "mine\n" and hostler.json("runs") == []


def test_files_that_cannot_be_written_any_more_are_said_once_and_completed_by_a_resume(
    hostler: Hostler, effects: Effects
) -> None:
    words = (
        "batch",
        "--hosts",
        "sandbox1",
        "-j",
        "1",
        "--halt",
        "now,fail=1",
        "--joblog",
        "log",
        "--results",
        "res",
    )
    text = f"echo {{}} >> {effects}; [ {{}} != 1 ] || while [ ! -e {effects}.go ]; do sleep 0.05; done; [ {{}} != 3 ]"
    running = hostler.start(*words, "--", text, ":::", "1", "2", "3", "4")
    effects.wait(1)
    res, log = hostler.folder / "res", hostler.folder / "log"
    res.rmdir()
    res.touch()
    log.unlink()
    log.mkdir()
    effects.go()
    done = running.wait()
    assert done.code == 5
    for what in ("--joblog", "--results"):
        assert (
            len([line for line in done.err.splitlines() if what in line and "a resume completes it" in line])
            == 1
        )
    res.unlink()
    log.rmdir()
    assert hostler("batch", "-q", "--resume", "last", "--halt", "never").code == 1
    assert [line[0] for line in joblog(log)] == ["1", "2", "3", "4"]
    assert sorted(place.name for place in (res / "1").iterdir()) == ["1", "2", "3", "4"]


def test_a_joblog_may_be_a_pipe(hostler: Hostler) -> None:
    done = hostler("batch", "--hosts", "sandbox1", "-q", "--joblog", "/dev/stderr", "--", "true", ":::", "a")
    assert done.err.splitlines()[0] == COLUMNS and len(done.err.splitlines()) == 2
