"""Whatever an account's login has prepared: its shell, its start-up files, its umask, its disks. On a real sshd."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from hostler.clock import SystemClock
from hostler.links.brief import Brief
from hostler.links.runner import RunnerLink
from hostler.links.sudo import Sudo
from hostler.model.jobs import Start
from hostler.model.reports import Down, Lost, Refused, Report, Result
from hostler.transports.asyncssh import AsyncsshTransport
from tests.town import Town

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="accounts of one's own can only be made by root")

SHELLS = {name: path for name in ("bash", "dash", "fish", "csh", "tcsh") if (path := shutil.which(name))}
#: What start-up files print: words, bytes that are no text, and a piece of what our own first words look like.
NOISE = b"Welcome to \xff\xfe\x00 this host!\r\n\x00hostler-ru\x1b[2J" + bytes(range(256)) * 40
CHATTY = {"chatty": ".bashrc", "chattyfish": ".config/fish/config.fish", "chattycsh": ".cshrc"}
UMASKS = {"open": "000", "shut": "077"}
#: Everything that an account may write to, on disks whose files can't be executed.
NOEXEC = [
    f"mount --bind {place} {place} && mount -o remount,bind,noexec,nosuid {place}"
    for place in ("/tmp", "/var/tmp", "/dev/shm")
]
#: A host whose only Python is where RHEL keeps its own.
ELSEWHERE = [
    "mount -t tmpfs tmpfs /usr/libexec",
    "ln -s /usr/bin/python3 /usr/libexec/platform-python",
]


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    """An account for each shell, and some with habits."""
    odd = dict.fromkeys(("chatty", *UMASKS, "bare"), "/bin/bash")
    odd |= {"chattyfish": SHELLS.get("fish", ""), "chattycsh": SHELLS.get("csh", "")}
    with Town({**SHELLS, **{name: shell for name, shell in odd.items() if shell}}, mounts=NOEXEC) as made:
        for name, umask in UMASKS.items():
            made.write(name, ".bashrc", f"umask {umask}\n")
        made.write("bare", ".bashrc", "cd /; export PATH=/usr/bin:/bin; unset HOME USER LOGNAME\n")
        for name, file in CHATTY.items():
            if name in made.uids:
                made.write(name, "noise", NOISE)
                made.write(name, file, "cat ~/noise\ncat ~/noise\n")
        for name, file in {
            "chatty": ".bashrc",
            "chattyfish": ".config/fish/config.fish",
            "chattycsh": ".cshrc",
        }.items():
            if name in made.uids:
                made.write(name, file, "cat ~/noise\ncat ~/noise\n")
        yield made


class Account:
    """One account's runner: `sh` and `run` start a job and wait for its result."""

    def __init__(self, link: RunnerLink, reports: list[Report]) -> None:
        self.link, self.reports, self.last = link, reports, 0

    async def sh(self, text: str) -> Result:
        """Run text by the account's shell."""
        return await self.run(text, shell=True)

    async def run(self, *words: str, shell: bool = False) -> Result:
        """Run a program."""
        self.last += 1
        self.link.start([Start(self.last, self.last, 1, tuple(word.encode() for word in words), shell)])
        return await self.result(self.last)

    async def result(self, serial: int) -> Result:
        """Wait for a result."""
        async with asyncio.timeout(40):
            while True:
                for report in self.reports:
                    assert not isinstance(report, Down | Refused | Lost), report
                    if isinstance(report, Result) and report.serial == serial:
                        return report
                await asyncio.sleep(0.01)


@asynccontextmanager
async def entered(
    town: Town,
    name: str,
    tmp_path: Path,
    vars: dict[str, str] | None = None,
    sudo: Sudo | None = None,
    given: int = 0,
    **more: Any,
) -> AsyncIterator[Account]:
    """A line to the runner of an account, begun for this; `given` is its highest serial, `more` is for its brief."""
    transport = AsyncsshTransport(state=tmp_path, strict=None, ssh_config=(), say=print)
    reports: list[Report] = []
    words = {"uid": secrets.token_hex(16), "token": secrets.token_hex(8), "lease": 60.0, **more}
    link = RunnerLink(
        replace(town.account(name), vars=tuple((vars or {}).items())),
        brief=Brief(run=7, slots=2, **words),
        transport=transport,
        clock=SystemClock(),
        sudo=sudo,
    )
    try:
        await link.open([], given=given, deliver=reports.append, deadline=40)
        link.ready()
        yield Account(link, reports)
    finally:
        await link.close(forget=True, deadline=20)
        await transport.close()


@pytest.mark.parametrize("shell", ["bash", "dash", "fish", "csh", "tcsh"])
async def test_an_account_of_any_shell_works_as_any_other(town: Town, tmp_path: Path, shell: str) -> None:
    """Words arrive as they left; text for the shell runs under the account's own if that speaks sh, else under sh."""
    assert shell in SHELLS, f"{shell} is not installed here"
    hostile = "a'b\"c $HOME !x `id` \\ *"
    async with entered(town, shell, tmp_path) as account:
        assert (await account.run("printf", "%s", hostile)).out == hostile.encode()
        result = await account.sh('test ü = "ü" || exit 9; echo "$0" $((20+1)) $(id -un)')
        runs = SHELLS[shell] if shell in ("bash", "dash") else "/bin/sh"
        assert (result.out or b"").decode() == f"{runs} 21 {shell}\n"
        result = await account.sh(
            "wc -c; wc -c </dev/stdin; read x || echo nothing; readlink /proc/self/fd/0"
        )
        assert result.out == b"0\n0\nnothing\n/dev/null\n"


@pytest.mark.parametrize("name", CHATTY)
async def test_what_a_login_prints_is_no_output_of_a_job(town: Town, tmp_path: Path, name: str) -> None:
    assert name in town.uids
    async with entered(town, name, tmp_path) as account:
        for number in range(3):
            result = await account.sh(f"echo {number}; echo err >&2")
            assert (result.out, result.err) == (b"%d\n" % number, b"err\n")


@pytest.mark.parametrize("name", UMASKS)
async def test_the_account_s_umask_is_its_jobs_and_ours_is_our_own(
    town: Town, tmp_path: Path, name: str
) -> None:
    async with entered(town, name, tmp_path) as account:
        out = (await account.sh("umask; touch ~/made; ls -ld ~/.local/state/hostler")).out or b""
    made = town.home_of(name) / "made"
    assert int(out.split()[0], 8) == int(UMASKS[name], 8)
    assert stat.S_IMODE(made.stat().st_mode) == 0o666 & ~int(UMASKS[name], 8)
    assert out.split()[1] == b"drwx------"


async def test_where_nothing_may_be_executed_that_an_account_can_write(town: Town, tmp_path: Path) -> None:
    town.write("dash", "program", "#!/bin/sh\necho never\n")
    (town.home_of("dash") / "program").chmod(0o755)
    async with entered(town, "dash", tmp_path) as account:
        assert (await account.sh("~/program 2>/dev/null; echo $?; cp /bin/true /tmp/$$ && /tmp/$$ || echo on; "
                                 "rm /tmp/$$")).out == b"126\non\n"  # fmt: skip


async def test_a_login_that_unsets_what_others_count_on(town: Town, tmp_path: Path) -> None:
    async with entered(town, "bare", tmp_path) as account:
        assert (await account.sh("pwd; echo ${HOME-none} ${USER-nobody}")).out == b"/\nnone nobody\n"


async def test_the_python_that_a_distribution_keeps_for_itself_will_do(tmp_path: Path) -> None:
    with Town({"rhel": "/bin/bash"}, mounts=ELSEWHERE) as town:
        town.write("rhel", ".bashrc", "PATH=$HOME/bin\n")
        async with entered(town, "rhel", tmp_path) as account:
            out = (await account.sh("/bin/cat /proc/$PPID/cmdline")).out or b""
            assert out.startswith(b"/usr/libexec/platform-python\0")
