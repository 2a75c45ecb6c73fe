"""The hosts that the user's `~/.ssh/config` names, spelt `ssh:` where an inventory is asked for.

Only their names: what the configuration says of them is found out when they are reached, by what always does that.
Names with wildcards are none. It must never change what a name means.
"""

from __future__ import annotations

from pathlib import Path

from hostler.errors import SpecError
from hostler.manifests.facts import Facts, Mention, Sheet
from hostler.manifests.values import address_fault

#: How they are spelt; a file of that name is ./ssh:
WORD = "ssh:"


def ssh_sheet() -> Sheet:
    """The user's names as a sheet. Raises SpecError where there are none."""
    config = Path.home() / ".ssh" / "config"
    if not config.is_file():
        raise SpecError(WORD, None, f"there is no {config}")
    odd: dict[str, None] = {}
    found: dict[str, Mention] = {}
    for name, path, line in names(config):
        if address_fault(name):
            odd[name] = None
        else:
            found.setdefault(name, Mention(name=name, line=line, path=path, facts=Facts()))
    if not found:
        raise SpecError(WORD, None, f"{config} names no hosts, wildcards apart")
    some = ", ".join(repr(name[:40]) for name in [*odd][:5])
    remarks = (f"{WORD}: no names of hosts: {some} left out",) if odd else ()
    return Sheet(path=WORD, mentions=tuple(found.values()), remarks=remarks)


def names(config: Path) -> list[tuple[str, str, int]]:
    """The names of a configuration and of what it includes, each with its file and line; those with wildcards not."""
    from hostler.transports.survey import survey

    return [
        (name, str(path), line)
        for values, path, line in survey([config]).hosts
        for name in values
        if not any(sign in name for sign in "*?!")
    ]
