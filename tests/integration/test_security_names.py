"""Names of hosts and accounts, each a try to be taken for an option, for shell text or for a terminal's orders."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostler.model.hosts import Host
from tests.command import Done, Hostler
from tests.command import ground as ground
from tests.command import hostler as hostler

#: Words that a program could take for an option, a shell for a command, a terminal for an order.
HOSTILE = (
    "-oProxyCommand=touch PWNED", "--", "-", "$(touch PWNED)", "`touch PWNED`", "a;touch PWNED", "a|touch PWNED",
    "a\nb", "a\x1b[2J", "../../etc", "a b", "%h%r", "~root", "a'b", 'a"b', "a\\b", "a&b", "a<b", "a\x00b", "é\u202etxt",
)  # fmt: skip
#: What has a meaning of its own in a list of hosts: two lines are two of them, `&` is "and".
MEANT = ("a\nb", "a&b")
USERS = ("-oProxyCommand=x", "$(touch PWNED)", "a b", "a;b", "a\nb", "a'b", "-l")


def refused(done: Done, place: Path) -> None:
    """Fail unless it was one harmless line, and nothing was begun."""
    assert done.code == 2, (done.code, done.err)
    assert done.out == b"" and len(done.err.splitlines()) == 1 and done.err.startswith("hostler: "), done.err
    assert all(char.isprintable() for char in done.err.removesuffix("\n")), repr(done.err)
    assert not (place / "PWNED").exists()


def sources(name: str, folder: Path) -> list[tuple[str, ...]]:
    """The command lines that lead to a hostile host name."""
    listed, sheet = folder / "hosts.txt", folder / "hosts.yaml"
    listed.write_text(name)
    quoted = "".join(f"\\u{ord(char):04x}" for char in name)
    sheet.write_text(f'hosts:\n  web: {{address: "{quoted}"}}\n')
    told = [("--hostfile", str(listed)), ("-i", str(sheet), "--hosts", "web"), ("--hosts", f"ok,{name}")]
    return told if "\0" not in name else told[:2]


@pytest.mark.parametrize("name", HOSTILE[:1])
def test_a_name_that_looks_like_an_option_reaches_no_program(hostler: Hostler, name: str) -> None:
    for words in sources(name, hostler.folder):
        refused(hostler("batch", *words, "--transport", "openssh", "--", "echo", ":::", "a"), hostler.folder)


def test_what_is_no_host_name_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    from hostler.errors import UsageError
    from hostler.manifests import load_inventory, read_hostfile
    from hostler.model.hosts import Inventory
    from hostler.model.selectors import parse_targets

    for name in HOSTILE:
        with pytest.raises(UsageError):
            Host(name=name, address="a")
        with pytest.raises(UsageError):
            Host(name="a", address=name)
        if name in MEANT:
            continue
        for words in sources(name, tmp_path)[:2]:
            with pytest.raises(UsageError):
                read_hostfile(words[1]) if words[0] == "--hostfile" else load_inventory([Path(words[1])])
        with pytest.raises(UsageError):
            parse_targets(f"x,{name}").pick(Inventory(()), files=read_hostfile, leave_out=None)


def test_what_is_no_account_is_refused_wherever_it_stands(hostler: Hostler) -> None:
    from hostler.errors import UsageError

    for user in USERS:
        with pytest.raises(UsageError):
            Host(name="a", address="a", user=user)
    for flag in ("--user", "--as"):
        refused(
            hostler("batch", "--hosts", "sandbox1", f"{flag}=-oProxyCommand=x", "--", "id"), hostler.folder
        )
    refused(hostler("batch", "--hosts", "-l root@sandbox1", "--", "id"), hostler.folder)
    refused(hostler("doctor", "$(touch PWNED)@sandbox1"), hostler.folder)
