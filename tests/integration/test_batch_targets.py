"""Hosts of an Ansible inventory put to work over real SSH, and chosen again by what came of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostler.model.hosts import Host
from tests.command import WAITING, Effects, Hostler
from tests.command import effects as effects
from tests.command import ground as ground
from tests.command import hostler as hostler
from tests.lab import Lab, wait_until

#: Long: `make test-all` tries these.
pytestmark = pytest.mark.slow

#: Each host holds one job until both have one; then that of `b` fails.
UNEVEN = WAITING + '; test "$HOSTLER_HOST" = a || { echo "No space left" >&2; exit 3; }'


def line(host: Host, name: str) -> str:
    key = f" ansible_ssh_private_key_file={host.identity}" if host.identity else ""
    user = f" ansible_user={host.user}" if host.user else ""
    return f"{name} ansible_host={host.address} ansible_port={host.port or 22}{user}{key}\n"


@pytest.fixture
def inventory(hostler: Hostler, ground: Lab) -> Path:
    """The two hosts as `a` and `b` of the group `boxes`."""
    one, two = ground.shared(2)
    path = hostler.folder / "hosts.ini"
    path.write_text(f"[boxes]\n{line(one, 'a')}{line(two, 'b')}[all:children]\nboxes\n")
    return path


def test_hosts_of_an_ansible_inventory_work_and_are_chosen_by_their_results(
    hostler: Hostler, inventory: Path, effects: Effects
) -> None:
    job = ["--", "sh", "-c", UNEVEN, "-", str(effects), "{}", ":::", "x", "y"]
    running = hostler.start("batch", "-i", "hosts.ini", "--hosts", "@boxes", "-j", "1", *job)
    effects.wait(2, "begun")
    effects.go()
    assert running.wait().code == 1
    for text, names in (
        ("@last:failed", "b"), ("@last:exit", "b"), ("@last:ok", "a"), ('@run/1:out~"space left"', "b"),
        ("@last", "a b"), ("all!@last:failed", "a"),
    ):  # fmt: skip
        where = ("--limit", "a,b") if text.startswith("all") else ()
        assert (
            hostler("hosts", text, *where, "-i", "hosts.ini", "-e").out.decode().split() == names.split()
        ), text
    again = hostler("batch", "-i", "hosts.ini", "--hosts", "@last:failed", "-q", "--", "echo", ":::", "z")
    assert (again.code, again.out) == (0, b"z\n")
    assert [host["name"] for host in hostler.json("status", "last")["hosts"]] == ["b"]
    # Without the inventory the host is the one that the run knew, with its port and key.
    inventory.unlink()
    assert hostler("batch", "--hosts", "@run/1:failed", "-q", "--", "echo", ":::", "w").out == b"w\n"
    [host] = hostler.json("hosts", "@last")
    assert host["name"] == "b" and host["source"] == "sandbox", (
        "this machine knows the endpoint by another name"
    )


def test_a_host_that_is_not_there_is_a_result_too(hostler: Hostler, ground: Lab, effects: Effects) -> None:
    lab, (alive,) = ground, ground.shared(1)
    dead = lab.hosts(1)[0]
    lab.end(dead)
    (hostler.folder / "hosts.ini").write_text(line(alive, "alive") + line(dead, "dead"))
    running = hostler.start("batch", "-i", "hosts.ini", "--connect-timeout", "5s", *effects.waiting("x"))
    wait_until(
        lambda: hostler("hosts", "@last:unreachable", "-e").out == b"dead\n", what="an unreachable host"
    )
    effects.go()
    assert running.wait().code == 0
    assert hostler("hosts", "@last:unreachable", "-e").out == b"dead\n"
    assert hostler("doctor", "@last:unreachable", "--connect-timeout", "5s").code == 4
