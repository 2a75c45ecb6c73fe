"""What a fan-out does and how it is shown: the options of `hostler run` that no batch has, and what they come to."""

from __future__ import annotations

import os
from base64 import b64encode
from typing import Any

import click

from hostler.cli.options import Marked, blaming, colour_option, duration, group, whole
from hostler.errors import UsageError

#: Bytes that a script, or what commands read, may have: it is kept with the run.
MOST = 4 << 20

#: What begins when, for how long, and what it reads.
doing_options = group(
    click.option(
        "--waves",
        metavar="SIZES",
        help="Begin so many hosts, and the next wave when those have ended: 1,10%,100%.",
    ),
    click.option("--stop-after", metavar="N|N%", help="Begin nothing more once this many hosts failed."),
    click.option("--timeout", metavar="DUR", help="End a command after this long (30s 5m 2h 1d)."),
    click.option(
        "--deadline", metavar="DUR", help="End the whole after this long, whatever is done by then."
    ),
    click.option(
        "--retries",
        cls=Marked,
        habit="0",
        metavar="N",
        help="Try a command that fails or times out this many times more.",
    ),
    click.option(
        "--on-disconnect",
        cls=Marked,
        habit="kill",
        metavar="WHAT",
        help="When a host's line is lost: kill (the habit), lease=DUR or detach.",
    ),
    click.option(
        "--output-limit",
        cls=Marked,
        habit="1G",
        metavar="SIZE",
        help="End a command one of whose streams is longer than this (1G).",
    ),
    click.option(
        "--script",
        cls=Marked,
        never="it is what is run",
        metavar="FILE",
        help="Send this file and run it there, by its #! or sh; what stands behind '--' are its arguments.",
    ),
    click.option(
        "--stdin",
        cls=Marked,
        never="it is about one run",
        is_flag=True,
        help="Give every command what stands on stdin here.",
    ),
    click.option(
        "--shell/--no-shell",
        default=None,
        help="The command is text for a shell; or never, whatever is in it.",
    ),
)
#: How it is shown.
showing_options = group(
    click.option("-N", "--no-prefix", is_flag=True, help="No host names before lines."),
    click.option("--group", is_flag=True, help="Print each host's output whole, when it has ended."),
    click.option("-k", "--keep-order", is_flag=True, help="The same in the order of the hosts."),
    click.option(
        "-b",
        "--gather",
        is_flag=True,
        help="Print what several hosts said alike once, under the set of their names.",
    ),
    click.option("--diff", is_flag=True, help="The same, of the others only what differs from most."),
    click.option(
        "--mask",
        metavar="KINDS",
        help="Hosts are alike but for these: host,address,time,pid,number, or all (with -b or --diff).",
    ),
    click.option(
        "--outdir",
        cls=Marked,
        never="it is about one run",
        metavar="DIR",
        help="Write DIR/HOST.out and DIR/HOST.err, too.",
    ),
    click.option(
        "--json", "as_json", is_flag=True, help="One JSON list at the end, an object for each host."
    ),
    click.option("--jsonl", "as_jsonl", is_flag=True, help="An object for each host on a line, as they end."),
    click.option("-q", "--quiet", is_flag=True, help="No progress, and no last lines when all went well."),
    colour_option,
)


def doing(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of BatchSpec that were given on this command line. Raises UsageError."""
    from hostler.cli.pacing import lease
    from hostler.clock import SystemClock

    changes: dict[str, Any] = {}
    if options["waves"] is not None:
        from hostler.model.waves import Waves

        with blaming("--waves"):
            changes["waves"] = str(Waves.parse(options["waves"]))
    if options["stop_after"] is not None:
        changes["halt"] = stop_after(options["stop_after"])
    if options["timeout"] is not None:
        changes["timeout"] = duration(options["timeout"], "--timeout")
    if options["deadline"] is not None:
        changes["until"] = SystemClock().now() + duration(options["deadline"], "--deadline")
    if options["retries"] is not None:
        changes["retries"] = whole(options["retries"], "--retries", least=0, most=1000)
        changes["retry_on"] = "failed,timeout" if changes["retries"] else "none"
    if options["on_disconnect"] is not None:
        kill = options["on_disconnect"] == "kill"
        changes["lease"] = 0.0 if kill else lease(options["on_disconnect"])
    if options["output_limit"] is not None:
        from hostler.cli.placing import LEAST, size

        changes["output_limit"] = size(options["output_limit"], "--output-limit", least=LEAST)
    return changes


def stop_after(text: str) -> str:
    """The rule of --stop-after, as a spec keeps it. Raises UsageError.

    >>> stop_after("3"), stop_after("5%")
    ('soon,fail=3', 'soon,fail=5%')
    """
    from hostler.model.halting import HaltRule

    try:
        return str(HaltRule.parse(f"soon,fail={text}"))
    except UsageError:
        raise UsageError(f"--stop-after {text}: write how many hosts, or a part of all: 3, 10%") from None


def sent(options: dict[str, Any], *, lease: float) -> dict[str, Any]:
    """The fields of BatchSpec that go to hosts beside the command: a script, and what commands read. UsageError."""
    changes: dict[str, Any] = {}
    for flag, given in (("--script", options["script"]), ("--stdin", options["stdin"])):
        if given and lease:
            raise UsageError(f"{flag} needs the line that it was sent on: leave --on-disconnect out")
    if options["script"] is not None:
        try:
            with open(options["script"], "rb") as file:
                changes["script"] = _kept(file.read(MOST + 1), f"--script {options['script']}")
        except OSError as error:
            raise UsageError(f"--script {options['script']}: {error.strerror}") from None
    if options["stdin"]:
        with open(0, "rb", closefd=False) as file:
            changes["stdin"] = _kept(file.read(MOST + 1), "--stdin")
    return changes


def shown(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of Wanted that are about what is printed. Raises UsageError."""
    from hostler.model.masks import parse_masks
    from hostler.views.colours import wanted
    from hostler.wiring.wanted import Fan

    flags = {
        "as_json": "--json", "as_jsonl": "--jsonl", "group": "--group", "keep_order": "--keep-order",
        "gather": "--gather",
    }  # fmt: skip
    gathers = options["gather"] or options["diff"] or options["mask"] is not None
    chosen = [flag for name, flag in flags.items() if options[name] or (name == "gather" and gathers)]
    if len(chosen) > 1 and chosen != ["--group", "--keep-order"]:
        raise UsageError(f"{chosen[0]} and {chosen[1]}: one or the other")
    form = chosen[0].removeprefix("--") if chosen else "lines"
    outdir = os.path.abspath(options["outdir"]) if options["outdir"] else None
    return {
        "keep_order": options["keep_order"],
        "quiet": options["quiet"],
        "colour": wanted(options["color"], terminal=_err_tty(), environ=os.environ),
        "fan": Fan(
            form="group" if form == "keep-order" else form,
            prefix=not options["no_prefix"],
            outdir=outdir,
            masks=parse_masks(options["mask"]) if options["mask"] is not None else (),
            diff=options["diff"],
        ),
    }


def _kept(data: bytes, what: str) -> str:
    if len(data) > MOST:
        raise UsageError(f"{what}: longer than {MOST >> 20} MiB, which is as much as is kept with a run")
    return b64encode(data).decode()


def _err_tty() -> bool:
    try:
        return os.isatty(2)
    except OSError:
        return False
