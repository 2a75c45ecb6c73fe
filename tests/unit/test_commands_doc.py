"""docs/commands.md and the command tree say the same, both ways."""

from __future__ import annotations

import re

import click
import pytest

from hostler.cli.parsing import Verb
from hostler.cli.verbs import VERBS
from tools.commands_doc import PAGE, page, tree

TREE = [(context.command_path, command) for context, command in tree()]


def sections() -> dict[str, str]:
    """The page's text under each heading that names a command."""
    found = re.split(r"^#{2,} (hostler\b.*)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def test_the_page_is_what_the_generator_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python tools/commands_doc.py"


def test_every_command_has_its_section_and_every_section_its_command() -> None:
    assert list(sections()) == [path for path, _ in TREE]


def test_every_verb_of_the_table_is_in_the_tree() -> None:
    assert [path.removeprefix("hostler ") for path, _ in TREE if path.count(" ") == 1] == list(VERBS)


def test_every_verb_reads_its_words_by_the_rules_of_all() -> None:
    assert [path for path, command in TREE if not isinstance(command, Verb | click.Group)] == []


@pytest.mark.parametrize(("path", "command"), TREE, ids=[path for path, _ in TREE])
def test_every_option_and_argument_is_on_the_page_and_no_other_is(path: str, command: click.Command) -> None:
    text = sections()[path]
    wanted: set[str] = {"--help", "-h"}
    for param in command.params:
        if isinstance(param, click.Option) and not param.hidden:
            wanted |= {*param.opts, *param.secondary_opts}
        elif isinstance(param, click.Argument):
            assert param.make_metavar(click.Context(command)).strip("[]. ") in text
    options = text.split("Options:\n")[1].split("\n\n")[0]
    heads = re.findall(r"^  (-\S.*?)(?:  |$)", options, flags=re.MULTILINE)
    shown = {word for head in heads for word in re.findall(r"(?<![\w-])--?[A-Za-z0-9][a-z-]*", head)}
    assert shown == wanted


@pytest.mark.parametrize(("path", "command"), TREE, ids=[path for path, _ in TREE])
def test_every_command_says_what_it_does_and_shows_two_examples(path: str, command: click.Command) -> None:
    assert command.help
    assert (
        len(re.findall(r"^ +.*\bhostler ", (command.epilog or "").replace("\b", ""), flags=re.MULTILINE)) >= 2
    )
