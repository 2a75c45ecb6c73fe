"""The verbs and the group that holds them: a verb's module is imported when the verb is used, not before.

Its one line of help stands here, so that `hostler --help` costs no more than this file. Nothing heavy may be imported
from here, ever: every command's start stands on it.
"""

from __future__ import annotations

from importlib import import_module

import click

import hostler

#: Verb: what it does, in the order of the help. Each is `command` of hostler.cli.<verb>.
VERBS = {
    "run": "Run one command on many hosts, now.",
    "batch": "Spread shell jobs over hosts, each done once.",
    "runs": "List the runs, newest first.",
    "status": "Show how a run stands: jobs, hosts, what is open.",
    "log": "Show a run's attempts, or all about one job.",
    "report": "Print a run's final report again.",
    "explain": "Say why a job or a host is where it is.",
    "events": "Tell what happened in a run, in order.",
    "put": "Put a file or folder onto hosts.",
    "get": "Get a file or folder of hosts.",
    "sync": "Have a file or folder on hosts be what it is here.",
    "top": "Watch runs on the whole terminal.",
    "hosts": "List hosts, and how each has behaved over all runs.",
    "shell": "Open a terminal on a host.",
    "doctor": "Say what would go wrong on hosts, and what mends it.",
    "stop": "End a run; what has not run waits for a resume.",
    "pause": "Start no more jobs of a run for the time being.",
    "unpause": "Let a paused run go on.",
    "add": "Add jobs or hosts to a run.",
    "set": "Change a run's slots, timeout or retries.",
    "cancel": "Cancel jobs of a run.",
    "wait": "Wait until runs have ended.",
    "sandbox": "Begin, list and end real SSH hosts on this machine.",
    "reap": "End machines that nobody will come back for.",
    "config": "Show settings, and where each comes from.",
    "completion": "Print what makes a shell complete words.",
}

#: Those that read what stands right of the first `--` or `:::`.
TAKES_MORE = ("run", "batch", "add", "shell")

EXAMPLES = """\b
Examples:
  seq 10 | hostler batch --hosts 'user@host1,user@host2' -- echo hello
  hostler log last 3
"""


class Verbs(click.Group):
    """The group of all verbs, none of which is imported until it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order of the help."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb; None when there is no such verb."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(f"hostler.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or name the nearest one."""
        name = args[0]
        if name not in VERBS and not name.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(name, VERBS, n=1)
            ctx.fail(f"there is no verb {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        if name in VERBS and name not in TAKES_MORE and ctx.obj is not None:
            given = "--" if ctx.obj.command is not None else ":::" if ctx.obj.sources else ""
            if given:
                below = self.get_command(ctx, name)
                assert below is not None
                where = click.Context(below, info_name=name, parent=ctx)
                raise click.UsageError(f"{name} takes nothing behind {given!r}", where)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of verbs, from the lines above."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(
    cls=Verbs,
    name="hostler",
    epilog=EXAMPLES,
    subcommand_metavar="VERB [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(hostler.__version__, prog_name="hostler", message="%(prog)s %(version)s")
@click.option(
    "--debug", is_flag=True, help="Show where an error came from. Also HOSTLER_DEBUG=1; any verb takes it."
)
def group(debug: bool) -> None:
    """Put a fleet of SSH hosts to work.

    Every verb has --help with examples.
    """
