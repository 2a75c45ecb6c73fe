"""Settings as people meet them: the real command, real files, and files that somebody else could have written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from click import Option

from hostler.cli.batch import command as batch
from hostler.cli.batch import overrides
from hostler.cli.options import plain_default
from hostler.model.runs import BatchSpec
from tests.command import ALL, Effects, Hostler
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler

ECHO = ("--", "echo")


def project(hostler: Hostler, text: str, mode: int = 0o600) -> Path:
    """A ./hostler.toml where the command runs."""
    path = hostler.folder / "hostler.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def user(hostler: Hostler, text: str) -> Path:
    """The user's own file."""
    path = hostler.folder / "home/.config/hostler/hostler.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    hostler.env["XDG_CONFIG_HOME"] = str(path.parents[1])
    return path


def test_values_come_from_the_nearest_source(hostler: Hostler) -> None:
    user(hostler, "[batch]\nhosts = '@sandbox'\nretries = 1\nslots = 1\ntimeout = '50s'\n")
    project(hostler, "[batch]\nslots = 2\ntimeout = '40s'\n")
    done = hostler("batch", "--timeout", "20s", *ECHO, ":::", "a", HOSTLER_BATCH_SLOTS="3")
    assert (done.code, done.lines) == (0, ["a"]), done.err
    spec = hostler.spec("1")
    assert (spec["retries"], spec["slots"], spec["timeout"]) == (1, 3, 20.0)


def test_a_run_that_goes_on_keeps_its_ways_whatever_the_settings_are_by_then(
    hostler: Hostler, effects: Effects
) -> None:
    running = hostler.start("batch", "--hosts", "sandbox1", "-j", "1", *effects.waiting("a", "b"))
    effects.wait(1, "begun")
    running.kill()
    effects.go()
    project(
        hostler,
        "[batch]\nhosts = 'nobody.invalid'\nslots = 7\nshell = true\ncolor = 'never'\nexclude = 'x'\n",
    )
    user(hostler, "[batch]\nprovider = 'sandbox'\nlaunch = 3\nkeep = true\n")
    done = hostler("batch", "--resume", "last")
    assert done.code == 0, done.err
    assert hostler.spec("1")["slots"] == 1
    assert {host["name"] for host in hostler.json("status", "last")["hosts"]} == {"sandbox1"}


def test_a_complaint_about_a_value_says_where_it_comes_from(hostler: Hostler) -> None:
    project(hostler, "[batch]\n\nslots = 'many'\n")
    hostler("batch", *ALL, *ECHO, ":::", "a").refused("--slots many", "(--slots comes from hostler.toml:3)")
    hostler("batch", *ALL, *ECHO, ":::", "a", HOSTLER_BATCH_SLOTS="x").refused(
        "comes from HOSTLER_BATCH_SLOTS"
    )
    assert hostler("batch", *ALL, "-j", "1", *ECHO, ":::", "a").code == 0


def test_unknown_keys_and_wrong_types_are_refused_with_file_line_and_suggestion(hostler: Hostler) -> None:
    project(hostler, "[batch]\nslot = 4\n")
    hostler("batch", *ALL, *ECHO, ":::", "a").refused("hostler.toml:2:", "'slot'", "did you mean 'slots'?")
    assert hostler("batch", "--help").code == 0
    project(hostler, "[all]\ncolor = true\n")
    hostler("sandbox", "list").refused("hostler.toml:2:", "color = true", "auto, always, never")
    path = user(hostler, "[runs]\nlimit =\n")
    project(hostler, "")
    hostler("sandbox", "list").refused(f"{path}:2:", "is not TOML")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("provider = 'sandbox'", "a provider"),
        ("strict-host-keys = false", "a host-key policy"),
        ("as-password = 'env:X'", "a secret"),
        ("yes = true", "what may cost money"),
    ],
)
def test_a_project_may_not_choose_for_its_user(hostler: Hostler, line: str, why: str) -> None:
    project(hostler, f"[batch]\n{line}\n")
    hostler("batch", *ALL, *ECHO, ":::", "a").refused("hostler.toml:2:", why, "may not", "your own file")
    (hostler.folder / "hostler.toml").unlink()
    user(hostler, f"[all]\n{line}\n")
    assert hostler("sandbox", "list").code == 0


def test_a_secret_is_never_taken_literally_nor_repeated(hostler: Hostler) -> None:
    path = user(hostler, "[batch]\nas = 'root'\nas-password = 'hunter2'\n")
    done = hostler("batch", *ALL, *ECHO, ":::", "a")
    done.refused(f"{path}:3:", "never the secret itself")
    assert "hunter2" not in done.err
    path.unlink()
    done = hostler("batch", *ALL, *ECHO, ":::", "a", HOSTLER_BATCH_AS_PASSWORD="hunter2")
    done.refused("HOSTLER_BATCH_AS_PASSWORD", "never the secret itself")
    assert "hunter2" not in done.err


def test_a_projects_file_that_others_can_write_to_is_refused(hostler: Hostler) -> None:
    for mode in (0o666, 0o620, 0o602):
        project(hostler, "", mode)
        hostler("sandbox", "list").refused("hostler.toml:", "others can write to it", "chmod go-w")
    project(hostler, "", 0o644)
    assert hostler("sandbox", "list").code == 0


@pytest.mark.parametrize(
    "text", ["[nonsense]\n", "x = 1\n", "not toml", "[all]\nsolts = 1\n", "[stop]\nslots = 1\n"]
)
def test_a_broken_projects_file_keeps_nobody_from_ending_things_or_looking_at_them(
    hostler: Hostler, text: str
) -> None:
    path = project(hostler, text)
    for words in (["runs"], ["reap"]) if text != "[stop]\nslots = 1\n" else (["stop", "1"],):
        done = hostler(*words)
        assert done.code == (2 if words[0] == "stop" else 0)  # there is no run to be stopped
        assert "hostler: settings of this folder are ignored: hostler.toml:" in done.err.splitlines()[0]
    path.unlink()
    user(hostler, "[nonsense]\n")
    hostler("stop", "1").refused(
        "hostler.toml:1:", "there is no verb 'nonsense'", str(hostler.folder / "home")
    )


def test_a_projects_file_in_a_folder_that_others_can_write_to_is_refused(hostler: Hostler) -> None:
    below = hostler.folder / "open" / "below"
    below.mkdir(parents=True)
    (below / "hostler.toml").touch(0o600)
    below.parent.chmod(0o777)
    hostler.start("sandbox", "list", cwd=below).wait().refused(
        "others can write to the folder", str(below.parent), "chmod go-w"
    )
    below.parent.chmod(0o1777)
    assert hostler.start("sandbox", "list", cwd=below).wait().code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away; the next test does without")
def test_a_projects_file_of_somebody_else_is_refused_also_if_it_is_roots_turn(hostler: Hostler) -> None:
    path = project(hostler, "[batch]\nslots = 1\n", 0o644)
    os.chown(path, 65534, 65534)
    hostler("sandbox", "list").refused("hostler.toml:", "belongs to user 65534", "another folder")
    os.chown(path, 0, 0)
    os.chown(hostler.folder, 65534, 65534)
    try:
        hostler("sandbox", "list").refused("the folder", "belongs to user 65534")
    finally:
        os.chown(hostler.folder, 0, 0)


def test_a_link_to_a_file_of_somebody_else_is_refused(hostler: Hostler) -> None:
    """What /proc shows of the first process is root's, or for root an account's own by a link into an open folder."""
    far = hostler.folder / "far"
    far.mkdir()
    (far / "real").touch(0o600)
    far.chmod(0o777)
    (hostler.folder / "hostler.toml").symlink_to(far / "real")
    hostler("sandbox", "list").refused("hostler.toml:", "others can write to the folder", str(far))
    far.chmod(0o755)
    assert hostler("sandbox", "list").code == 0
    (far / "real").unlink()
    hostler("sandbox", "list").refused("hostler.toml:", "leads nowhere")


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_refused_and_not_waited_for(hostler: Hostler, kind: str) -> None:
    path = hostler.folder / "hostler.toml"
    path.mkdir() if kind == "folder" else os.mkfifo(path, 0o600)
    hostler("sandbox", "list").refused("hostler.toml:", "no ordinary file")


def test_the_users_file_must_be_theirs_too(hostler: Hostler) -> None:
    path = user(hostler, "[runs]\nlimit = 3\n")
    path.chmod(0o666)
    hostler("sandbox", "list").refused(str(path), "others can write to it")


def test_the_users_file_is_not_taken_for_a_projects_when_one_stands_beside_it(hostler: Hostler) -> None:
    path = user(hostler, "[batch]\nprovider = 'sandbox'\n")
    assert hostler.start("batch", *ALL, *ECHO, ":::", "a", cwd=path.parent).wait().lines == ["a"]


def test_relative_paths_are_relative_to_the_file_that_says_them(hostler: Hostler) -> None:
    path = user(hostler, "[all]\ninventory = ['hosts.yaml']\n")
    (path.parent / "hosts.yaml").write_text(
        "hosts:\n  here: {address: 127.0.0.1, vars: {transport: local}}\n"
    )
    hostler("batch", *ECHO, ":::", "a").refused("no hosts")
    assert hostler("batch", "--hosts", "here", *ECHO, ":::", "a").lines == ["a"]


def test_variables_that_mean_nothing_get_one_line_and_those_of_jobs_none(hostler: Hostler) -> None:
    done = hostler(
        "runs", "--json", HOSTLER_BATCH_SLOT="4", HOSTLER_JOB="7", HOSTLER_ATTEMPT="x/1/1", HOSTLER_SLOT="2"
    )
    assert (done.code, done.out) == (0, b"[]\n")
    said = (
        "hostler: HOSTLER_BATCH_SLOT is no setting and changes nothing; did you mean 'HOSTLER_BATCH_SLOTS'?\n"
    )
    assert done.err == said


def test_a_state_folder_named_by_a_relative_path_is_refused(hostler: Hostler) -> None:
    for given in ("here", "./here", "~/here"):
        hostler("batch", *ALL, *ECHO, ":::", "a", HOSTLER_STATE_DIR=given).refused(
            "HOSTLER_STATE_DIR", "full path"
        )
    hostler("sandbox", "list", HOSTLER_SANDBOX_DIR="here").refused("HOSTLER_SANDBOX_DIR", "full path")
    assert not (hostler.folder / "here").exists()


# -- config show --------------------------------------------------------------------------------------------------


def test_config_show_tells_each_value_and_its_source(hostler: Hostler) -> None:
    path = user(hostler, "[batch]\nas-password = 'env:SECRET'\nretries = 2\n\n[all]\ncolor = 'never'\n")
    project(hostler, "[batch]\nslots = 3\n")
    hostler.env["HOSTLER_BATCH_TIMEOUT"] = "5m"
    told = hostler.json("config", "show", "batch")
    found = {each["key"]: (each["value"], each["source"], each["place"]) for each in told["settings"]}
    assert found["slots"] == ("3", "project", "hostler.toml:2")
    assert found["retries"] == ("2", "user", f"{path}:3")
    assert found["color"] == ("never", "user", f"{path}:6")
    assert found["timeout"] == ("5m", "env", "HOSTLER_BATCH_TIMEOUT")
    assert found["as-password"] == ("[hidden]", "user", f"{path}:2")
    assert found["forks"] == ("64", "default", None)
    assert "resume" not in found and {each["verb"] for each in told["settings"]} == {"batch"}
    assert [(file["kind"], file["read"]) for file in told["files"]] == [("project", True), ("user", True)]
    shown = hostler("config", "show", "batch")
    assert any(line.split() == ["batch", "slots", "3", "hostler.toml:2"] for line in shown.lines), shown.out
    assert "SECRET" not in shown.out.decode()


def test_config_show_tells_what_holds_when_nobody_says_anything(hostler: Hostler) -> None:
    told = hostler.json("config", "show", "batch")
    shown = {each["key"]: each["value"] for each in told["settings"]}
    kept = {"output-limit": "1G", "spool-max": "10%", "spool-keep": "7d", "on-disconnect": "lease=2m",
            "halt": "never", "delay": "0s", "retries": "0"}  # fmt: skip
    assert {key: shown[key] for key in kept} == kept
    made = overrides(batch_options(**{key.replace("-", "_"): value for key, value in kept.items()}))
    for name in ("output_limit", "spool_max", "spool_keep", "lease", "halt", "delay", "retries"):
        assert made[name] == getattr(BatchSpec(), name)


def batch_options(**said: str) -> dict[str, Any]:
    """The options of `batch` with nothing but this said."""
    return {
        str(option.name): plain_default(option) for option in batch.params if isinstance(option, Option)
    } | said


def test_config_show_tells_the_names_of_an_environment_and_no_value(hostler: Hostler) -> None:
    user(hostler, "[batch]\nenv = ['TOK=hunter2', 'PLAIN']\n")
    assert b"hunter2" not in hostler("config", "show", "batch", COLUMNS="200").out
    (shown,) = [each for each in hostler.json("config", "show", "batch")["settings"] if each["key"] == "env"]
    assert shown["value"] == ["TOK=[hidden]", "PLAIN"]
    user(hostler, "[batch]\nenv = ['TOK=hunter2', true]\n")
    done = hostler("config", "show", "batch")
    done.refused("env = ")
    assert "hunter2" not in done.err


def test_config_show_reads_every_table_and_refuses_as_the_verb_would(hostler: Hostler) -> None:
    project(hostler, "[log]\nfailed = 1\n")
    hostler("config", "show", "batch").refused("hostler.toml:2:", "failed = 1: must be true or false")
    project(hostler, "[set]\nslots = 4\n")
    hostler("config", "show").refused("hostler.toml:2:", "slots is no setting", "said each time")
    project(hostler, "[all]\nslots = 4\n")
    told = hostler.json("config", "show")["settings"]
    assert [each["verb"] for each in told if each["key"] == "slots"] == ["batch"]
    hostler("config", "show", "bacth").refused("there is no verb 'bacth'", "did you mean 'batch'?")
    hostler("config", "show", "completion").refused("completion takes no settings")
