"""A runner of another account's, begun by sudo: with a password or without, and refused in one clear line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hostler.errors import HostRefused
from hostler.links.sudo import Sudo
from hostler.model.jobs import Ending, Start
from hostler.model.secrets import Secret
from tests.integration.test_accounts import entered
from tests.town import Town

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="accounts of one's own can only be made by root")

SECRET = "s3cret 'of\" bob"
SUDOERS = """
anna ALL=(deploy,service) NOPASSWD: ALL
Defaults:bob passwd_tries=3
bob ALL=(deploy) ALL
Defaults:dora use_pty
dora ALL=(deploy) NOPASSWD: ALL
erna ALL=(deploy) NOPASSWD: /bin/true
"""


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    """Those who log in, and those whom they become."""
    assert shutil.which("sudo"), "sudo is not installed here"
    shells = dict.fromkeys(("anna", "bob", "carl", "dora", "erna", "deploy"), "/bin/bash")
    shells |= {"service": "/usr/sbin/nologin"}
    if csh := shutil.which("tcsh"):
        shells["anna"] = csh
    with Town(shells, sudoers=SUDOERS, passwords={"bob": SECRET}) as made:
        made.write("deploy", ".bashrc", "echo never read\n")
        yield made


LOOK = "id -un; id -Gn; pwd; echo $HOME $USER $LOGNAME ${SUDO_COMMAND-none}; test -O ~/.local/state/hostler && umask"


@pytest.mark.parametrize("login", ["anna", "dora"])
async def test_jobs_run_as_that_account_with_its_home_and_groups(
    town: Town, tmp_path: Path, login: str
) -> None:
    async with entered(town, login, tmp_path, sudo=Sudo("deploy")) as account:
        home = town.home_of("deploy")
        wanted = f"deploy\ndeploy\n{home}\n{home} deploy deploy none\n0022\n"
        assert ((await account.sh(LOOK)).out or b"").decode() == wanted
        assert len(list((home / ".local/state/hostler").iterdir())) == 1
    assert not (town.home_of(login) / ".local").exists()


async def test_a_host_s_spool_is_the_login_s_and_not_that_account_s(town: Town, tmp_path: Path) -> None:
    spool = town.home_of("anna") / "elsewhere"
    async with entered(town, "anna", tmp_path, vars={"spool": str(spool)}, sudo=Sudo("deploy")) as account:
        assert (await account.sh("ls ~/.local/state/hostler | wc -l")).out == b"1\n"
    assert not spool.exists()


async def test_an_account_that_nobody_can_log_in_to_has_sh(town: Town, tmp_path: Path) -> None:
    async with entered(town, "anna", tmp_path, sudo=Sudo("service")) as account:
        assert (await account.sh("id -un; echo $0")).out == b"service\n/bin/sh\n"


async def test_sudo_is_told_the_password_that_it_asks_for_and_nobody_else_sees_it(
    town: Town, tmp_path: Path
) -> None:
    async with entered(town, "bob", tmp_path, sudo=Sudo("deploy", Secret(SECRET))) as account:
        assert (await account.sh("id -un; wc -c")).out == b"deploy\n0\n"
        seen = [looked(pid, file) for pid in town.processes() for file in ("cmdline", "environ")]
        assert len(seen) > 4 and not any(SECRET.encode() in text for text in seen)


async def test_a_password_that_is_not_asked_for_is_told_nobody(town: Town, tmp_path: Path) -> None:
    async with entered(town, "anna", tmp_path, sudo=Sudo("deploy", Secret(SECRET))) as account:
        assert (await account.sh("id -un; wc -c")).out == b"deploy\n0\n"


def looked(pid: int, file: str) -> bytes:
    """What stands in a process's file, if it is still there."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{file}").read_bytes()
    return b""


def sleepers(town: Town) -> list[int]:
    """The jobs of one test that live."""
    return [pid for pid in town.processes() if b"sleep" in looked(pid, "cmdline")]


REFUSALS = {
    "a password is wanted": (
        "bob",
        Sudo("deploy"),
        "sudo: a password is required; give one with --as-password",
    ),
    "a wrong one": (
        "bob",
        Sudo("deploy", Secret("wrong")),
        "sudo did not take the password given for deploy",
    ),
    "nobody may": ("carl", Sudo("deploy"), "sudo: a password is required"),
    "another command": ("erna", Sudo("deploy"), "sudo"),
    "another account": ("anna", Sudo("bob"), "sudo: a password is required"),
    "no such account": ("anna", Sudo("nobody-here"), "sudo: unknown user"),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_what_sudo_refuses_is_told_in_its_own_words(town: Town, tmp_path: Path, case: str) -> None:
    login, sudo, words = REFUSALS[case]
    with pytest.raises(HostRefused) as told:
        async with entered(town, login, tmp_path, sudo=sudo):
            pass
    assert words in told.value.why and "\n" not in told.value.why, told.value.why
    assert told.value.host == login and "wrong" not in told.value.why
    assert len(told.value.why) < 320


async def test_a_host_without_sudo_says_so(tmp_path: Path) -> None:
    told = pytest.raises(HostRefused, match=r"sudo refused to run as deploy: .*sudo")
    with Town({"anna": "/bin/bash"}, mounts=["mount --bind /dev/null /usr/bin/sudo"]) as town, told:
        async with entered(town, "anna", tmp_path, sudo=Sudo("deploy")):
            pass


async def test_the_kill_ladder_reaches_that_account_s_jobs(town: Town, tmp_path: Path) -> None:
    async with entered(town, "anna", tmp_path, sudo=Sudo("deploy")) as account:
        text = "trap '' TERM; (setsid sleep 60 &); while :; do sleep 0.1; done"
        account.link.start([Start(1, 1, 1, (text.encode(),), True)])
        async with asyncio.timeout(30):
            while len(sleepers(town)) < 2:
                await asyncio.sleep(0.02)
        account.link.kill([1], grace=0.2, ending="cancelled")
        assert (await account.result(1)).ending is Ending.CANCELLED
        assert not sleepers(town)


async def test_the_line_may_break_and_the_runner_is_found_again(town: Town, tmp_path: Path) -> None:
    async with entered(town, "anna", tmp_path, sudo=Sudo("deploy")) as account:
        first = (await account.sh("echo $PPID")).out
        names: dict[str, Any] = {"uid": account.link._hello["uid"], "token": account.link._hello["token"]}
        async with entered(town, "anna", tmp_path, sudo=Sudo("deploy"), given=1, **names) as again:
            again.last = 1
            assert (await again.sh("echo $PPID")).out == first
