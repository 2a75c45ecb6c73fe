"""Targets as people type them: inventories from anywhere, earlier results, names in every shape, and slips shown."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hostler.cli.completing import candidates
from hostler.cli.main import main
from hostler.cli.saying import caret
from hostler.model.events import HostStruck
from hostler.model.jobs import Ending, JobState
from tests.command import PROGRAM
from tests.unit.stories import Story

Ran = tuple[int, str, str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with a HOME and a state of its own and no sandbox hosts."""
    for name in ("state", "home", "sandbox", "here"):
        (tmp_path / name).mkdir(mode=0o700)
    monkeypatch.setenv("HOSTLER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("HOSTLER_SANDBOX_DIR", str(tmp_path / "sandbox"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def run(here: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command line; its exit code, stdout and stderr."""

    def running(*words: str) -> Ran:
        capfd.readouterr()
        code = main(words)
        said = capfd.readouterr()
        return code, said.out, said.err

    return running


FLEET = """\
hosts: {'web[01-03]': {tags: web}, db1: , lonely: {address: 10.0.0.9}}
groups: {eu: {hosts: 'web01,db1'}}
"""


@pytest.fixture
def fleet(here: Path) -> str:
    (here / "fleet.yaml").write_text(FLEET)
    return "fleet.yaml"


def test_names_are_folded_counted_or_a_line_each(run: Callable[..., Ran], fleet: str) -> None:
    assert run("hosts", "-i", fleet, "--fold") == (0, "web[01-03],db1,lonely\n", "")
    assert run("hosts", "@web", "-i", fleet, "-e") == (0, "web01\nweb02\nweb03\n", "")
    assert run("hosts", "all!@eu", "-i", fleet, "--count") == (0, "3\n", "")
    assert run("hosts", "-i", fleet, "--groups") == (0, "@eu   2  web01,db1\n@web  3  web[01-03]\n", "")
    assert run("hosts", "-i", fleet, "--tags") == run("hosts", "-i", fleet, "--groups")


def test_each_shape_is_one_json_value_too(run: Callable[..., Ran], fleet: str) -> None:
    def told(*words: str) -> object:
        code, out, err = run("hosts", "-i", fleet, "--json", *words)
        assert (code, err) == (0, "")
        return json.loads(out)

    assert told("--fold") == "web[01-03],db1,lonely" and told("-c") == 5
    assert told("--expand", "@web!web01") == ["web02", "web03"]
    assert told("--groups") == {
        "eu": {"hosts": "web01,db1", "count": 2},
        "web": {"hosts": "web[01-03]", "count": 3},
    }


def test_two_shapes_at_once_are_refused(run: Callable[..., Ran], fleet: str) -> None:
    code, _, err = run("hosts", "-i", fleet, "--fold", "--count")
    assert code == 2 and "--fold and --count: one or the other" in err


def test_no_hosts_at_all_are_none_in_every_shape(run: Callable[..., Ran]) -> None:
    assert run("hosts", "--fold") == (0, "", "") and run("hosts", "-c") == (0, "0\n", "")
    assert run("hosts", "--groups", "--json") == (0, "{}\n", "")


@pytest.mark.parametrize("verb", [("hosts", "-e"), ("batch", "--dry-run")])
def test_limit_takes_some_of_the_hosts_and_exclude_leaves_some_out(
    run: Callable[..., Ran], fleet: str, verb: tuple[str, ...]
) -> None:
    command = ("--", "true", ":::", "x") if verb[0] == "batch" else ()
    code, out, err = run(*verb, "-i", fleet, "--limit", "@eu", *command)
    assert code == 0 and "web01" in out + err and "db1" in out + err and "web02" not in out + err
    code, out, err = run(*verb, "-i", fleet, "--limit", "@eu", "-x", "db1", *command)
    assert code == 0 and "web01" in out + err and "db1" not in out + err
    code, _, err = run(*verb, "-i", fleet, "--limit", "@eu", "-x", "@eu", *command)
    assert (code, err) == (2, "hostler: no host is left of 'all' by -x '@eu' and --limit '@eu'\n")


def test_a_slip_is_told_with_the_flag_that_it_is_in(run: Callable[..., Ran], fleet: str) -> None:
    for words, why in (
        (("hosts", "web[1-", "-i", fleet), "'web[1-': column 4: '[' is not closed"),
        (("hosts", "@eur", "-i", fleet), "'@eur': column 1: no host carries the tag 'eur'; did you mean @eu? there"),
        (("hosts", "@*", "-i", fleet), "'@*' is not a tag: letters, digits and . _ - after the @; every host is all"),
        (("hosts", "all", "-x", "@eur", "-i", fleet), "-x '@eur': column 1: no host carries the tag 'eur'"),
        (("hosts", "@all", "-i", fleet), "'@all': column 1: no host carries the tag 'all': every host is all, without"),
        (("hosts", "web:&eu", "-i", fleet), "':' is not a port: write :1 to :65535; names are joined by , & ! ^"),
        (("hosts", "-i", "a,b,"), "a,b,: no such file; hosts themselves are named with --hosts"),
        (("hosts", "--limit", "db1,,", "-i", fleet), "--limit 'db1,,': column 5: expected a name after ','"),
        (("batch", "--hosts", "web[5-1]", "--", "a", ":::", "x"), "--hosts 'web[5-1]': column 5: '5-1' runs backwards"),
        (("doctor", "db1&", "-i", fleet), "'db1&': column 5: expected a name after '&'"),
        (("hosts", "@last:faled"), "'@last:faled': column 7: 'faled' is no result: one of all, ok, failed"),
    ):  # fmt: skip
        code, out, err = run(*words)
        assert (code, out) == (2, "") and why in err and err.count("\n") == 1, err


def test_a_caret_points_at_the_column_of_a_text_that_is_shown() -> None:
    line = "hostler: --hosts 'web[1-': column 4: '[' is not closed"
    assert caret(line, width=80) == " " * line.index("[1-") + "^"
    assert caret(line, width=20) == ""  # it would stand below another row
    wide = "hostler: 'né,不,': column 6: expected a name"
    assert caret(wide, width=80) == " " * len("hostler: 'né,XX,") + "^"
    for nothing in (
        "hostler: hosts.txt:3: column 4: x",
        r"hostler: 'a\x1b[': column 3: x",
        "hostler: 'a': column 9: x",
    ):
        assert caret(nothing, width=80) == ""


def test_on_a_terminal_a_line_below_points_at_the_slip(here: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        assert subprocess.run([PROGRAM, "hosts", "web1,,db"], stderr=theirs, check=False).returncode == 2
        said = os.read(ours, 4096).decode().splitlines()
    finally:
        os.close(ours)
        os.close(theirs)
    assert said[0].startswith("hostler: 'web1,,db': column 6: expected a name") and len(said) == 2
    assert said[1] == " " * (said[0].index("web1,,db") + 5) + "^"


# -- inventories --------------------------------------------------------------------------------------------------

LISTING = """#!/bin/sh
echo run >> "$0.runs"
echo '{"_meta": {"hostvars": {"a": {"x_password": "p"}}}, "g": ["a", "b"]}'
"""


@pytest.fixture
def program(here: Path) -> Path:
    path = here / "inv"
    path.write_text(LISTING)
    path.chmod(0o700)
    return path


def test_a_program_is_run_once_for_a_command_and_what_it_says_in_vain_is_told_once(
    run: Callable[..., Ran], here: Path, program: Path
) -> None:
    for words in (
        ("hosts", "-i", "inv"),
        ("hosts", "-i", "inv", "--explain", "--json"),
        ("hosts", "@g", "-i", "inv", "-e"),
    ):
        (here / "inv.runs").unlink(missing_ok=True)
        code, out, err = run(*words)
        assert code == 0 and "a" in out and (here / "inv.runs").read_text() == "run\n", (words, err)
        assert (
            err.count("\n") == 1
            and "inv: passwords and what is encrypted are not taken from inventories: x_password is left aside"
            in err
        )
    [told, _] = json.loads(run("hosts", "-i", "inv", "--explain", "--json")[1])
    assert told["source"] == "inv" and told["tags"] == ["g"]


def test_a_projects_file_may_name_an_inventory_and_no_program(
    run: Callable[..., Ran], here: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "hostler.toml").write_text('[all]\ninventory = ["inv"]\n')
    code, _, err = run("hosts")
    assert code == 2 and not (here / "inv.runs").exists()
    assert "inv: is a program, and is not run: a project's file may not have one run (hostler.toml:2)" in err
    assert list(candidates(["hosts"], "a")) == [] and not (here / "inv.runs").exists()
    # What the person says, by a flag, a variable or a file of their own, is run.
    assert run("hosts", "-e", "-i", "inv")[1] == "a\nb\n"
    (here / "hostler.toml").unlink()
    monkeypatch.setenv("HOSTLER_INVENTORY", "inv")
    assert run("hosts", "-e")[1] == "a\nb\n"
    monkeypatch.delenv("HOSTLER_INVENTORY")
    own = Path(os.environ["HOME"], ".config", "hostler")
    own.mkdir(parents=True)
    (own / "hostler.toml").write_text(f'[all]\ninventory = ["{program}"]\n')
    assert run("hosts", "-e")[1] == "a\nb\n"


def test_names_of_the_ssh_configuration_are_an_inventory_and_are_completed_without(
    run: Callable[..., Ran], here: Path
) -> None:
    folder = Path(os.environ["HOME"], ".ssh")
    folder.mkdir()
    (folder / "config").write_text("Host gate web1 *.x\n  User me\n")
    assert run("hosts", "-i", "ssh:", "-e") == (0, "gate\nweb1\n", "")
    assert [word for word, _ in candidates(["batch", "--hosts"], "db1,w")] == ["db1,web1"]
    (here / "hostler.toml").write_text('[all]\ninventory = ["ssh:"]\n')
    assert run("hosts", "-e") == (0, "gate\nweb1\n", "")


def test_results_are_completed(here: Path) -> None:
    assert [word for word, _ in candidates(["hosts"], "web&@la")] == ["web&@last"]
    assert [word for word, _ in candidates(["hosts"], "@run/42:un")] == ["@run/42:unreachable"]
    assert [word for word, _ in candidates(["batch", "--limit"], "@last:ti")] == ["@last:timeout"]


def test_the_source_of_each_field_of_an_ansible_host_is_told(run: Callable[..., Ran], here: Path) -> None:
    (here / "hosts").write_text(
        "[web]\na ansible_host=10.0.0.1\n[web:vars]\nansible_user=u\nzone=1\n[all:vars]\nansible_port=2222\n"
    )
    code, out, _ = run("hosts", "-i", "hosts", "--explain")
    assert code == 0
    rows = {line.split()[0]: line.split(maxsplit=2)[2] for line in out.splitlines()[1:7]}
    assert rows == {
        "address": "hosts:2", "user": "hosts:4, group web", "port": "hosts:7, defaults",
        "vars.zone": "hosts:5, group web", "tags": "hosts:2", "no": rows.get("no", ""),
    }  # fmt: skip


BAD = [
    ("folder", None, "folder: is a folder, not a file"),
    ("missing", None, "missing: no such file"),
    ("binary", b"\x00\x01\x02", "binary:1: holds a NUL byte"),
    ("elf", b"\x7fELF\x02\x01\xff", "elf:1: byte 0xff is not UTF-8"),
    ("huge", b"a\n" * (5 << 20), "huge: is larger than 8 MiB"),
    ("twice.yaml", b"hosts: {a: , a: }", "twice.yaml:1: 'a' stands here again"),
    ("deep.yaml", b"all: " + b"[" * 5000, "deep.yaml:1: nested deeper than 16 levels"),
    ("tag.yaml", b"all: {hosts: {a: !!python/object/apply:os.system [x]}}", "tag.yaml:1: tags such as"),
    ("laughs.yml", b"a: &a [x,x]\n" + b"".join(b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9))
        for n in range(9)) + b"all: *j\n", "more than 1,000,000 values"),
    ("cycle", b"[a:children]\nb\n[b:children]\na\n[c]\nx\n", "cycle:4: a group is part of itself: a > b > a"),
    ("twins", b"[g]\na ansible_host=h\nb ansible_host=h\n", "twins:3: b is the same endpoint as a of twins:2: h"),
    ("group", b"[web]\na\n[eu:children]\nwbe\n", "group:4: [eu:children]: no group is called wbe; did you mean web?"),
    ("typo", b"[web]\nweb[1:\n", "typo:2: '[' is not closed"),
    ("list", b"web[1-\n", "list:1: column 4: '[' is not closed"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "why"), BAD, ids=[name for name, _, _ in BAD])
def test_a_bad_inventory_is_one_line_and_exit_code_two(
    run: Callable[..., Ran], here: Path, name: str, data: bytes | None, why: str
) -> None:
    if data is not None:
        (here / name).write_bytes(data)
    elif name == "folder":
        (here / name).mkdir()
    for verb in (("hosts",), ("batch", "--dry-run", "--", "true", ":::", "x"), ("doctor",)):
        code, out, err = run(verb[0], "-i", name, *verb[1:])
        assert (code, out, err.count("\n")) == (2, "", 1) and why in err, err


# -- earlier results ----------------------------------------------------------------------------------------------


async def told(state: Path) -> None:
    """Run 1: n1 is well, n2 fails with a full disk, n3 times out and then is well, n4 is never reached."""
    story = await Story.begin(state, jobs=["a", "b", "c", "d"], hosts=["n1", "n2", "n3", "n4"])
    await story.whole(1, worker=1, out=b"hello\n", code=0)
    await story.whole(2, Ending.EXIT, worker=2, code=3, out=b"x", err=b"cp: No space left on device\n")
    await story.whole(3, Ending.TIMEOUT, worker=3, then=JobState.QUEUED)
    await story.whole(3, n=2, worker=3, code=0)
    await story.whole(4, Ending.EXIT, worker=2, code=1, then=JobState.QUEUED)
    await story.whole(4, n=2, worker=1, code=0)
    await story.tell(HostStruck(at=story.now, worker=4, why="connection refused"))
    await story.finish(exit_code=1)


RESULTS = [
    ("@last", ["n1", "n2", "n3", "n4"]),
    ("@run/1:all", ["n1", "n2", "n3", "n4"]),
    ("@last:failed", ["n2"]),
    ("@last:exit", ["n2"]),
    ("@last:ok", ["n1", "n3"]),
    ("@run/1:unreachable", ["n4"]),
    ("@last!@last:ok", ["n2", "n4"]),
    ("@last:failed,@last:unreachable", ["n2", "n4"]),
    ('@last:out~"space left"', ["n2"]),
    ('@last:out~"hello"&n1,n9', ["n1", "n9"]),
    ("root@@last:failed", ["n2"]),
]


@pytest.mark.parametrize(("text", "names"), RESULTS)
async def test_hosts_are_chosen_by_earlier_results(
    here: Path, capsys: pytest.CaptureFixture[str], text: str, names: list[str]
) -> None:
    await told(here.parent / "state")
    assert main(["hosts", text, "-e"]) == 0
    assert capsys.readouterr().out.split() == names


async def test_no_host_of_a_result_is_told_as_such(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await told(here.parent / "state")
    for text in ("@last:timeout", "@last:lost", "@last:refused", '@last:out~"never"'):
        assert main(["hosts", text]) == 2
        assert capsys.readouterr().err == f"hostler: no host is left of {text!r}\n"


async def test_hosts_of_a_run_are_those_of_the_inventory_where_it_knows_them(
    here: Path, fleet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await told(here.parent / "state")
    (here / "more").write_text("n2 ansible_host=10.0.0.2 ansible_user=me\n")
    assert main(["hosts", "@last:failed", "-i", "more", "--json"]) == 0
    [host] = json.loads(capsys.readouterr().out)
    assert (host["endpoint"], host["source"]) == ("me@10.0.0.2", "more:1")


async def test_a_run_that_is_not_there_is_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hosts", "n1,@last:failed"]) == 2
    said = "'n1,@last:failed': column 4: @last:failed: no run last: there are no runs yet (hostler batch makes one)"
    assert capsys.readouterr().err == f"hostler: {said}\n"
    await told(here.parent / "state")
    assert main(["doctor", "@run/9"]) == 2
    assert (
        "'@run/9': column 1: @run/9: no run 9; the newest is 1 (see: hostler runs)" in capsys.readouterr().err
    )


async def test_output_that_is_gone_or_elsewhere_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = here.parent / "state"
    await told(state)
    [folder] = state.glob("runs/*")
    (folder / "out").rename(folder / "away")
    assert main(["batch", "--dry-run", "--hosts", '@last:out~"x"', "--", "true", ":::", "y"]) == 2
    err = capsys.readouterr().err
    assert "this output is gone" in err and err.count("\n") == 1
