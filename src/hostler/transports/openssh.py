"""Lines to hosts by the ssh program, for what only it can do: hardware keys, KnownHostsCommand, GSSAPI, a line shared.

One program per line, spoken to through its control socket (`muxed`). Known hosts are judged by us, as they are for
AsyncSSH. It must never let the program prompt, forward anything to a host, write a record, or outlive its line.
"""

from __future__ import annotations

import asyncio
import math
import os
import shlex
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import asyncssh
from msgspec import Struct

from hostler.errors import HostError, HostRefused, Unreachable
from hostler.model.hosts import Host
from hostler.transports.hostkeys import HostKeys, Judge
from hostler.transports.identities import Identities
from hostler.transports.jumps import Jumps
from hostler.transports.lines import SshConnection
from hostler.transports.logins import NONE, Secrets, too_many
from hostler.transports.muxed import Muxed
from hostler.transports.openssh_config import Answer, option, reaching, said_of, settle
from hostler.transports.openssh_folder import Folder, Place
from hostler.transports.openssh_keys import note_new, strictness, trusted, verdict
from hostler.transports.openssh_program import Program
from hostler.transports.openssh_reasons import broke, denied, failed
from hostler.transports.reasons import JUMP_GONE, late
from hostler.transports.sshconfig import Way, by_hand, files
from hostler.transports.strictness import Strictness
from hostler.transports.survey import survey

#: What no configuration may change: nothing is forwarded, run, asked or left behind.
OURS = (
    "ControlMaster=yes", "ControlPersist=no", "ClearAllForwardings=yes", "ForwardAgent=no", "ForwardX11=no",
    "PermitLocalCommand=no", "RemoteCommand=none", "RequestTTY=no", "Tunnel=no",
    "AddKeysToAgent=no", "UpdateHostKeys=no", "HashKnownHosts=no", "CheckHostIP=no", "VisualHostKey=no",
    "NumberOfPasswordPrompts=1", "GlobalKnownHostsFile=none", "LogLevel=DEBUG1",
)  # fmt: skip
KEYS = "gssapi-with-mic,hostbased,publickey"
ALL = KEYS + ",keyboard-interactive,password"
#: For a host that is shown the key that it names and nothing else.
ALONE = (
    "PasswordAuthentication=no", "KbdInteractiveAuthentication=no", "PreferredAuthentications=publickey",
    "IdentityAgent=none",
)  # fmt: skip
SHARED = 8  # channels of ours on a line that is the user's own
NEWS = 0.5  # seconds for the end of a jump host's line to be heard of
ATTACH = 5.0  # seconds for a control socket to answer
ASKING = 8  # `ssh -G` at once


class Opened(Struct):
    """A line, and the control socket that others can go through it by."""

    line: Muxed
    control: str

    def is_closed(self) -> bool:
        """Whether the line is over."""
        return self.line.is_closed()


class Terminal(Struct, frozen=True):
    """An open line for a terminal: its control socket, the variables that go there, and whether it is over."""

    control: str
    env: dict[str, str]
    is_closed: Callable[[], bool]

    def words(self, command: str = "") -> list[str]:
        """The command line that shows a terminal on this line, of a login shell or of `command`."""
        names = [f"-oSendEnv={name}" for name in self.env]
        more = [command] if command else []
        return [
            "ssh",
            "-F",
            "none",
            "-S",
            self.control,
            *names,
            "-oLogLevel=ERROR",
            "-tt",
            "--",
            "line",
            *more,
        ]


class OpensshTransport:
    """A ports.Transport over the ssh program.

    `state` is the folder of our own known_hosts. `strict` refuses hosts whose key is not on record: True always,
    False never, None where the user's SSH configuration says so. After `keepalive_count` keepalives without an
    answer, `keepalive` seconds apart (whole ones), a line counts as lost. `ssh_config` are the configuration files to
    read, None for the user's and the system's. `secrets` are what a login may ask for. A host that is `alone` with the
    key that it names is let in by nothing else: no agent, no secret, no line of the user's own. `say` gets remarks.
    """

    def __init__(
        self,
        *,
        state: Path,
        strict: bool | None,
        keepalive: float = 15.0,
        keepalive_count: int = 3,
        ssh_config: Sequence[Path] | None = None,
        secrets: Secrets = NONE,
        alone: Callable[[Host], bool] = lambda host: False,
        say: Callable[[str], None],
    ) -> None:
        self._folder = Folder(state, secrets)
        self._strict, self._secrets, self._alone = strict, secrets, alone
        self._given = ssh_config
        config = files(ssh_config)
        self._strictness = Strictness(config, survey(config), say=say, read=True)
        self._identities = Identities(secrets.passphrase)
        self._keys = HostKeys(state / "known_hosts")
        self._alive = [
            f"ServerAliveInterval={math.ceil(keepalive)}",
            f"ServerAliveCountMax={keepalive_count}",
        ]
        self._answers: dict[Host, tuple[Answer, bool]] = {}
        self._asking = asyncio.Semaphore(ASKING)
        self._jumps = Jumps(self._dial)

    async def connect(self, host: Host, *, deadline: float) -> SshConnection:
        """Open a line within `deadline` seconds.

        Raises Unreachable (worth another try), HostRefused (not), HostKeyMismatch.
        """
        return SshConnection(host, (await self._dial(host, deadline, ())).line)

    @asynccontextmanager
    async def terminal(self, host: Host, *, deadline: float) -> AsyncIterator[Terminal]:
        """A line for a terminal, with the words that show one, while the block lasts. Raises as connect."""
        opened = await self._dial(host, deadline, ())
        answer, _ = await self._answer(host)
        try:
            yield Terminal(opened.control, dict(answer.env), opened.is_closed)
        finally:
            await SshConnection(host, opened.line).close()

    async def said(self, host: Host) -> dict[str, list[str]]:
        """What `ssh -G` says of a host. Raises HostRefused, Unreachable."""
        async with self._asking:
            return await said_of(host, self._folder.config(self._given))

    async def close(self) -> None:
        """Close the lines to jump hosts, and remove what was put on disk for the programs."""
        for jump, opened in self._jumps.take():
            await SshConnection(jump, opened.line).close()
        self._folder.close()

    async def _dial(self, host: Host, deadline: float, through: tuple[str, ...]) -> Opened:
        place, program, mine = host.endpoint, None, None
        try:
            async with asyncio.timeout(deadline):
                answer, strict = await self._answer(host)
                way = answer.way
                place = f"its jump host {way.jump}" if way.jump else way.endpoint
                alone = self._alone(host)
                shared = None if alone or host.host_key else await self._shared(answer)
                if shared is not None:
                    return shared
                jump = await self._jumps.line(host, way, deadline, through)
                place = way.endpoint
                judge = self._keys.judge(host, way, strict=strict)
                mine = await self._folder.place(frozenset((way.address.lower(), host.address.lower())))
                given = trusted(judge)
                mine.known.write_text(given)
                words = self._words(host, answer, mine, judge, deadline, jump)
                program = await self._started(host, words, mine)
                if not await program.opened():
                    raise await self._why(host, way, judge, program, mine, jump=jump)
                if alone and not await program.took(host.identity):
                    raise HostRefused(host.name, f"it let us in, but not by {host.identity}")
                ended = partial(_ended, program=program, place=mine, jump=jump)
                line = await Muxed.attach(mine.control, ended, env=answer.env)
                try:
                    note_new(judge, mine.known, given, program.heard)
                    await self._keys.keep(judge)
                except BaseException:
                    line.abort()
                    raise
                return Opened(line, mine.control)
        except TimeoutError as error:
            reached, proved = (program.heard.reached, program.heard.proved) if program else (False, False)
            _give_up(program, mine)
            raise late(host.name, deadline, place=place, reached=reached, proved=proved) from error
        except HostError:
            _give_up(program, mine)
            raise
        except OSError as error:
            _give_up(program, mine)
            raise Unreachable(host.name, f"can't reach {place}: {error.strerror or error}") from error
        except BaseException:
            _give_up(program, mine)
            raise

    async def _answer(self, host: Host) -> tuple[Answer, bool]:
        held = self._answers.get(host)
        if held is None:
            answer = settle(host, await self.said(host), os.environ)
            strict = self._strict
            if strict is None:
                strict = await self._strictness.of(host, answer.way)
            held = self._answers[host] = (answer, strict)
        return held

    async def _shared(self, answer: Answer) -> Opened | None:
        """The user's own open line, where the configuration names one and it is there."""
        if answer.control is None or not os.path.exists(answer.control):
            return None
        try:
            async with asyncio.timeout(ATTACH):
                line = await Muxed.attach(answer.control, _theirs_ended, env=answer.env, most=SHARED)
        except (OSError, TimeoutError):
            return None  # left by a program that is no more
        return Opened(line, answer.control)

    def _words(
        self, host: Host, answer: Answer, mine: Place, judge: Judge, deadline: float, jump: Opened | None
    ) -> list[str]:
        options = [
            *OURS,
            *self._alive,
            f"BatchMode={'no' if self._secrets.any() and not self._alone(host) else 'yes'}",
            f"ConnectTimeout={max(1, math.ceil(deadline))}",
            f"StrictHostKeyChecking={strictness(judge)}",
            option("ControlPath", mine.control),
            option("UserKnownHostsFile", str(mine.known)),
        ]
        if self._alone(host):
            options += ALONE
        elif self._secrets.password is None:
            options += [
                "PasswordAuthentication=no",
                "KbdInteractiveAuthentication=no",
                f"PreferredAuthentications={KEYS}",
            ]
        else:
            options += [
                "PasswordAuthentication=yes",
                "KbdInteractiveAuthentication=yes",
                f"PreferredAuthentications={ALL}",
            ]
        if "forkafterauthentication" in answer.words:  # an older program doesn't know it
            options += ["ForkAfterAuthentication=no"]
        if judge.pinned is not None:
            options += ["VerifyHostKeyDNS=no"]
            options += ["KnownHostsCommand=none"] if "knownhostscommand" in answer.words else []
        if jump is not None:
            control = shlex.quote(jump.control).replace("%", "%%")
            shell = f"ssh -F none -o LogLevel=ERROR -S {control} -W '[%h]:%p' jump"
            options += [f"ProxyCommand={shell}", "ProxyUseFdpass=no"]
        elif answer.way.proxy is None:
            options += ["ProxyCommand=none"]  # a ProxyJump for every host would lead a jump host to itself
        words = [*self._folder.config(self._given), "-N", "-T"]
        for one in options:
            words += ["-o", one]
        return [*words, *reaching(host)]

    async def _started(self, host: Host, words: Sequence[str], mine: Place) -> Program:
        env = {name: value for name, value in os.environ.items() if not name.startswith("SSH_ASKPASS")}
        env |= {"LC_ALL": "C", **mine.asking.env()}
        try:
            return await Program.start(words, env=env, path=mine.control)
        except FileNotFoundError as error:
            raise HostRefused(host.name, "no ssh program here (install openssh-client)") from error

    async def _why(
        self, host: Host, way: Way, judge: Judge, program: Program, mine: Place, *, jump: Opened | None
    ) -> HostError:
        heard = program.heard
        refused = verdict(judge, heard)
        if refused is not None:
            return refused
        turned_down = denied(heard)
        if turned_down is None:
            if jump is not None and await _gone(jump):
                return Unreachable(host.name, JUMP_GONE)
            return failed(host.name, heard, place=way.endpoint, by_jump=jump is not None)
        account = await asyncio.to_thread(
            self._identities.account, way, heard.tried, heard.taken, heard.no_agent
        )
        if turned_down == "many":
            return HostRefused(host.name, too_many(account + mine.asking.account(heard.methods)))
        why = mine.asking.refusal(f"{way.user}@{host.address}", account, heard.methods)
        return HostRefused(host.name, f"{why}; try: {by_hand(host, way.user)}")


async def _ended(leaving: bool, *, program: Program, place: Place, jump: Opened | None) -> Exception | None:
    """Let a program go with its line; why the line broke, None when we left it."""
    if not leaving:
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await program.over.wait()
    await program.end()
    place.remove()
    if leaving:
        return None
    if jump is not None and await _gone(jump):
        return asyncssh.ConnectionLost(JUMP_GONE)
    return broke(program.heard)


async def _gone(jump: Opened) -> bool:
    """Whether a jump host's line is over: it may hear of that a little later than those who go through it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(NEWS):
            await jump.line.wait_closed()
    return jump.is_closed()


async def _theirs_ended(leaving: bool) -> Exception | None:
    return None if leaving else asyncssh.ConnectionLost("Connection lost")


def _give_up(program: Program | None, place: Place | None) -> None:
    if program is not None:
        program.kill()
    if place is not None:
        place.remove()
