"""Writes docs/commands.md from the command tree itself, so that the two can't drift apart.

`python tools/commands_doc.py` writes the file; with --check it only says whether it is as it should be, by its exit
code. It must never hold words about a command that the command's own help doesn't.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"

HEAD = """# The commands

Written by `tools/commands_doc.py` from the commands' own help; change that, not this page.

Options are read only left of the first `--` or `:::`. Data goes to stdout, everything else to stderr; `--json` prints
one JSON value. The words are those of the [glossary](glossary.md).

## Exit codes

The worst over jobs, not over hosts:

| code | means |
|---|---|
| 0 | every job ended well, however many hosts failed |
| 1 | some jobs failed |
| 2 | the command line, or a file that it names, is wrong |
| 3 | some jobs timed out or had to be ended |
| 4 | jobs could not run, because hosts were lost, unreachable or refused us |
| 5 | stopped by a budget or a halt rule |
| 6 | hostler itself could not go on (store, disk, another owner); the run can be resumed |
| 130, 143 | stopped by INT or TERM; 143 also by `hostler stop`, 141 by `--stop-on-pipe` |

"""


def tree() -> Iterator[tuple[click.Context, click.Command]]:
    """Every command in the order of the help, `hostler` itself first, each with its context."""
    from hostler.cli.verbs import group

    yield from _beneath(
        group, click.Context(group, info_name="hostler", terminal_width=100, **group.context_settings)
    )


def _beneath(command: click.Command, context: click.Context) -> Iterator[tuple[click.Context, click.Command]]:
    yield context, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, f"{context.command_path} lists {name} and doesn't have it"
            yield from _beneath(below, click.Context(below, info_name=name, parent=context))


def page() -> str:
    """The whole page."""
    parts = [HEAD.rstrip("\n")]
    for context, command in tree():
        depth = context.command_path.count(" ") + 2
        help_text = command.get_help(context).rstrip()
        parts.append(f"{'#' * depth} {context.command_path}\n\n```text\n{help_text}\n```")
    return "\n\n".join(parts) + "\n"


def main(words: list[str]) -> int:
    """Write the page, or check it; the exit code."""
    wanted = page()
    if "--check" in words:
        same = PAGE.exists() and PAGE.read_text(encoding="utf-8") == wanted
        if not same:
            print(f"{PAGE}: not as the commands are; run python tools/commands_doc.py", file=sys.stderr)
        return 0 if same else 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
