"""Lines to hosts by AsyncSSH, the default: cheap to open, thousands on one event loop.

It must never switch host-key checking off, ask anybody for a password, or forward an agent, X11 or ports to a host.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import asyncssh
from msgspec.structs import replace

from hostler.errors import HostError, HostRefused
from hostler.model.hosts import Host
from hostler.transports.hostkeys import HostKeys, Judge
from hostler.transports.identities import Hand, Identities
from hostler.transports.jumps import Jumps
from hostler.transports.lines import SshConnection
from hostler.transports.logins import NONE, Answers, Secrets, too_many
from hostler.transports.reasons import late, unreachable
from hostler.transports.sshconfig import Settings, Way, by_hand, files
from hostler.transports.strictness import Strictness
from hostler.transports.survey import survey

CIPHERS = "^aes128-gcm@openssh.com,chacha20-poly1305@openssh.com"


class AsyncsshTransport:
    """A ports.Transport over AsyncSSH.

    `state` is the folder of our own known_hosts. `strict` refuses hosts whose key is not on record: True always,
    False never, None where the user's SSH configuration says so. After `keepalive_count` keepalives without an
    answer, `keepalive` seconds apart, a line counts as lost. `ssh_config` are the configuration files to read, None
    for the user's and the system's. `secrets` are what a login may ask for. A host that is `alone` with the key that it
    names is shown nothing else: no agent, no secret. `say` gets remarks of one line.
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
        config = files(ssh_config)
        looked = survey(config)
        self._strict, self._secrets, self._alone = strict, secrets, alone
        self._keepalive = {"keepalive_interval": keepalive, "keepalive_count_max": keepalive_count}
        self._settings = Settings(config, looked)
        self._strictness = Strictness(config, looked, say=say)
        self._identities = Identities(secrets.passphrase)
        self._keys = HostKeys(state / "known_hosts")
        self._settled: dict[Host, Way] = {}
        self._ways: dict[Host, tuple[Way, bool]] = {}
        self._jumps = Jumps(self._dial)

    async def connect(self, host: Host, *, deadline: float) -> SshConnection:
        """Open a line within `deadline` seconds.

        Raises Unreachable (worth another try), HostRefused (not), HostKeyMismatch.

        >>> await transport.connect(Host(name="web1", address="web1"), deadline=10)  # doctest: +SKIP
        """
        conn = await self._dial(host, deadline, ())
        return SshConnection(host, conn, conn.get_extra_info("jump"))

    async def way(self, host: Host) -> Way:
        """How a host would be reached, as the configuration says. Raises HostRefused."""
        held = self._settled.get(host)
        if held is None:
            held = self._settled[host] = await self._settings.way(host, os.environ)
        return held

    async def close(self) -> None:
        """Close the lines to jump hosts."""
        for jump, line in self._jumps.take():
            await SshConnection(jump, line).close()

    async def _dial(
        self, host: Host, deadline: float, through: tuple[str, ...]
    ) -> asyncssh.SSHClientConnection:
        place, judge, hand, answers = (
            host.endpoint,
            None,
            None,
            Answers(NONE if self._alone(host) else self._secrets),
        )
        try:
            async with asyncio.timeout(deadline):
                way, strict = await self._way(host)
                place = f"its jump host {way.jump}" if way.jump else way.endpoint
                tunnel = await self._jumps.line(host, way, deadline, through)
                place = way.endpoint
                judge = self._keys.judge(host, way, strict=strict, answers=answers)
                hand = await self._identities.hand(way)
                try:
                    conn = await self._log_in(way, judge, hand, tunnel, deadline)
                except asyncssh.HostKeyNotVerifiable as error:
                    if not judge.certificates or "revoked" in f"{error} {judge.why}":
                        raise
                    # As OpenSSH does: a certificate that doesn't hold leaves the plain key to be judged.
                    judge = self._keys.judge(host, way, strict=strict, answers=answers)
                    judge.certificates = False
                    conn = await self._log_in(way, judge, hand, tunnel, deadline)
                conn.set_extra_info(jump=tunnel)
                try:
                    await self._keys.keep(judge)
                except BaseException:
                    conn.abort()
                    raise
                return conn
        except TimeoutError as error:
            if error.errno:  # the system's own
                raise self._failed(error, host, place, judge, hand, answers) from error
            reached, proved = (judge.reached, judge.proved) if judge else (False, False)
            raise late(host.name, deadline, place=place, reached=reached, proved=proved) from error
        except HostError:
            raise
        except asyncssh.HostKeyNotVerifiable as error:
            assert judge is not None
            raise judge.verdict(error) from error
        except (OSError, ValueError, asyncssh.Error) as error:
            raise self._failed(error, host, place, judge, hand, answers) from error
        finally:
            if hand is not None:
                hand.close()

    async def _log_in(
        self, way: Way, judge: Judge, hand: Hand, tunnel: asyncssh.SSHClientConnection | None, deadline: float
    ) -> asyncssh.SSHClientConnection:
        options: dict[str, Any] = {
            "config": None,
            "known_hosts": judge.trusted,
            "host_key_alias": way.alias,
            "server_host_key_algs": judge.algorithms(way.host_key_algorithms),
            "client_keys": [*hand.pairs] or None,
            "agent_path": None,
            "encryption_algs": CIPHERS,
            "compression_algs": None,
            "agent_forwarding": False,
            "x11_forwarding": False,
            "x509_trusted_certs": None,
            "x509_trusted_cert_paths": [],
            "gss_kex": False,
            "gss_auth": False,
            "host_based_auth": False,
            # Without a secret there is no answer, and we hear what the host would have taken.
            "password_auth": True,
            "kbdint_auth": True,
            "preferred_auth": "publickey,keyboard-interactive,password",
            "connect_timeout": None,
            "login_timeout": deadline + 60.0,  # ours ends first
            "utf8_decode_errors": "replace",
            **self._keepalive,
            **dict(way.more),
        }
        return await asyncssh.connect(
            way.address,
            way.port,
            username=way.user,
            tunnel=tunnel,
            proxy_command=way.proxy,
            client_factory=lambda: judge,
            **options,
        )

    async def _way(self, host: Host) -> tuple[Way, bool]:
        held = self._ways.get(host)
        if held is None:
            way = await self.way(host)
            if self._alone(host) and host.identity is not None:
                way = replace(way, keys=(host.identity,), certificates=(), only=True, agent=None)
            strict = self._strict
            if strict is None:
                strict = await self._strictness.of(host, way)
            held = self._ways[host] = (way, strict)
        return held

    def _failed(
        self,
        error: Exception,
        host: Host,
        place: str,
        judge: Judge | None,
        hand: Hand | None,
        answers: Answers,
    ) -> HostError:
        many = "oo many authentication failures" in str(error)
        if isinstance(error, asyncssh.PermissionDenied) or many:
            keys = hand.account() if hand else "no key to try"
            if many:
                return HostRefused(host.name, too_many(keys + answers.account()))
            user = self._ways[host][0].user
            why = answers.refusal(f"{user}@{host.address}", keys)
            return HostRefused(host.name, f"{why}; try: {by_hand(host, user)}")
        if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
            return HostRefused(host.name, f"can't be asked for as configured: {error}")
        reached, proved = (judge.reached, judge.proved) if judge is not None else (False, False)
        return unreachable(host.name, error, place=place, reached=reached, proved=proved)
