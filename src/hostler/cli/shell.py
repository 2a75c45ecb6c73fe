"""`hostler shell HOST`: a terminal on one host, by the same keys, jumps and verified host keys as everything else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from hostler.cli.parsing import Verb
from hostler.cli.placing import housed, login
from hostler.cli.reaching import reaching, reaching_options, sources_apart
from hostler.cli.saying import say
from hostler.cli.targeting import chosen_hosts, inventory_option
from hostler.errors import LineLost, UsageError

if TYPE_CHECKING:
    from hostler.cli.splitter import Split
    from hostler.model.hosts import Host
    from hostler.wiring.wanted import Wanted

EXAMPLES = "\b\nExamples:\n  hostler shell sandbox1\n  hostler shell user@host1 -- htop"


@click.command(cls=Verb, epilog=EXAMPLES)
@click.argument("target", metavar="HOST")
@inventory_option
@click.option("--user", metavar="NAME", help="Log in as NAME where a host names no user of its own.")
@click.option("--as", "as_user", metavar="USER", help="Become USER there, through sudo.")
@reaching_options
@click.pass_obj
def command(split: Split, /, target: str, as_user: str | None, **options: Any) -> int:
    """Open a terminal on a host, of its login shell or of the command behind '--'; ends as that does.

    The line is opened by the ssh program, whatever --transport says, so its escapes (Enter ~.) work. Host keys are
    judged as for every verb.
    """
    import asyncio

    from hostler.shell.quoting import join
    from hostler.wiring.wanted import Wanted

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("shell is for a terminal, and stdin or stdout is none; hostler batch runs commands")
    sources_apart(options, jobs_on_stdin=False)
    chosen = {
        "hosts": target,
        "hostfile": None,
        "exclude": None,
        "limit": None,
        "inventory": options["inventory"],
    }
    try:
        hosts = housed(chosen_hosts(chosen), {**options, "as_user": None})
    except UsageError as error:
        raise UsageError(str(error).removeprefix("--hosts ")) from None
    if len(hosts) != 1:
        raise UsageError(f"{target!r} is {len(hosts)} hosts, and a terminal is on one")
    words = [word.encode("utf-8", "surrogateescape") for word in split.command or ()]
    text = join(words) if len(words) > 1 else b"".join(words)
    if as_user is not None:
        become = login(as_user, "--as").encode()
        text = b"exec sudo -u " + become + (b" -i" if not text else b" -- /bin/sh -c " + join([text]))
    how = Wanted(**reaching({**options, "resume": None, "retry": None}))
    return asyncio.run(_at(hosts[0], how, command=text.decode("utf-8", "surrogateescape")))


async def _at(host: Host, how: Wanted, *, command: str) -> int:
    """Be at a terminal of the host; its exit code."""
    import os
    from asyncio import create_subprocess_exec

    from hostler.stores.folder import state_dir
    from hostler.transports.logins import Secrets
    from hostler.transports.sshlib import load

    if host.var("transport") == "local" or how.transport == "local":
        words = ["/bin/sh", "-c", command] if command else [os.environ.get("SHELL") or "/bin/sh", "-l"]
        return _code(await (await create_subprocess_exec(*words)).wait())
    load()
    from hostler.transports.openssh import OpensshTransport

    secrets = Secrets(password=how.password, passphrase=how.passphrase)
    transport = OpensshTransport(state=state_dir(), strict=how.strict, secrets=secrets, say=say)
    try:
        async with transport.terminal(host, deadline=how.connect_timeout) as line:
            there = await create_subprocess_exec(*line.words(command), env={**os.environ, **line.env})
            code = _code(await there.wait())
            if code == 255 and line.is_closed():
                raise LineLost(host.name, "the line broke")
            return code
    finally:
        await transport.close()


def _code(returned: int) -> int:
    """A process's exit code as a shell tells it."""
    return returned if returned >= 0 else 128 - returned
