"""`hostler doctor --as`: what an account that jobs are to run as has, or why it can't be had; and hosts of a file."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import Hostler
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.town import Town

ROOT = pytest.mark.skipif(os.getuid() != 0, reason="accounts of one's own can only be made by root")
SECRET = "s3cret-of-bob"
SUDOERS = """
anna ALL=(deploy) NOPASSWD: ALL
bob ALL=(deploy) ALL
erna ALL=(deploy) NOPASSWD: /bin/true
Defaults:frank requiretty
frank ALL=(deploy) NOPASSWD: ALL
"""


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    """Those who log in, and whom they are to become."""
    assert shutil.which("sudo"), "sudo is not installed here"
    shells = dict.fromkeys(("anna", "bob", "carl", "erna", "frank", "deploy"), "/bin/bash")
    with Town(shells, sudoers=SUDOERS, passwords={"bob": SECRET}) as made:
        yield made


def looked(hostler: Hostler, town: Town, *words: str) -> dict[str, dict[str, Any]]:
    """What the doctor says of everybody who logs in."""
    path = hostler.folder / "town.yaml"
    path.write_text(town.inventory("anna", "bob", "carl", "erna", "frank"))
    done = hostler("doctor", "all&!@sandbox", "-i", str(path), "--json", *words)
    assert done.out, done.err
    return {each["name"]: each for each in json.loads(done.out)}


def found(seen: dict[str, Any], check: str) -> dict[str, Any]:
    [finding] = [each for each in seen["findings"] if each["check"] == check]
    return dict(finding)


@ROOT
def test_what_jobs_will_have_is_that_of_the_other_account(hostler: Hostler, town: Town) -> None:
    seen = looked(hostler, town, "--as", "deploy")
    told = seen["anna"]["as"]["told"]
    home = str(town.home_of("deploy"))
    assert (told["user"], told["home"], told["uid"]) == ("deploy", home, town.uids["deploy"])
    assert told["pythons"][0]["whole"] and told["spools"][0]["path"].startswith(home)
    assert seen["anna"]["told"]["user"] == "anna" and seen["anna"]["as"]["refused"] is None
    assert seen["anna"]["state"] != "out"
    assert not list(town.home_of("deploy").iterdir()) or not (town.home_of("deploy") / ".local").exists()


@ROOT
def test_each_refusal_of_sudo_is_explained_and_mended(hostler: Hostler, town: Town) -> None:
    seen = looked(hostler, town, "--as", "deploy")
    assert {name for name, each in seen.items() if each["state"] == "out"} == {"bob", "carl", "erna", "frank"}
    for name in ("bob", "carl"):
        asked = found(seen[name], "sudo")
        assert "a password is required" in asked["what"]
        assert "--as-password ask" in asked["fix"] and f"{name} ALL=(deploy) NOPASSWD: ALL" in asked["fix"]
    terminal = found(seen["frank"], "sudo")
    assert "must have a tty" in terminal["what"] and "Defaults:frank !requiretty" in terminal["fix"]
    assert "sudo" in {each["check"] for each in seen["erna"]["findings"]}
    nobody = found(looked(hostler, town, "--as", "nobody-here")["anna"], "sudo")
    assert "no such account" in nobody["why"] and "useradd -m nobody-here" in nobody["fix"]


@ROOT
def test_a_password_for_sudo_is_tried_and_shown_nowhere(hostler: Hostler, town: Town, tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text(SECRET + "\n")
    wrong.write_text("wr0ng\n")
    for path in (right, wrong):
        path.chmod(0o600)
    words = ("--as", "deploy", "--as-password")
    seen = looked(hostler, town, *words, f"file:{right}")
    assert seen["bob"]["as"]["told"]["user"] == seen["anna"]["as"]["told"]["user"] == "deploy"
    assert SECRET not in json.dumps(seen)
    refused = found(looked(hostler, town, *words, f"file:{wrong}")["bob"], "sudo")
    assert "did not take the password" in refused["what"] and "the password of bob" in refused["why"]


def test_hosts_may_stand_in_a_file_by_flag_or_by_target(hostler: Hostler, tmp_path: Path) -> None:
    path = tmp_path / "hosts.txt"
    path.write_text("nobody@127.0.0.1:9\n")
    by_flag = hostler("doctor", "--hostfile", str(path), "--json")
    by_target = hostler("doctor", f"^{path}", "--json")
    assert by_flag.code == by_target.code == 4
    assert [each["endpoint"] for each in json.loads(by_flag.out)] == ["nobody@127.0.0.1:9"]
    assert [each["name"] for each in json.loads(by_target.out)] == [
        each["name"] for each in json.loads(by_flag.out)
    ]
    hostler("doctor", "web1", "--hostfile", str(path)).refused("TARGETS and --hostfile: one or the other")
    hostler("doctor", "--as", "-x", "web1").refused("--as '-x': not a login name")
    hostler("doctor", "web1", "--as-password", "ask").refused("say whom jobs run as, with --as USER")
