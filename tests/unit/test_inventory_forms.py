"""Inventories that are none of hostler's nor Ansible's: Loom's nodes, the names of ~/.ssh/config, programs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hostler.errors import SpecError
from hostler.manifests import load_inventory, programs, read_inventories
from hostler.manifests.programs import run_program
from tests.lab import wait_until


@pytest.fixture
def write(tmp_path: Path):
    def writing(name: str, text: str, *, mode: int = 0o600) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    return writing


# -- Loom ---------------------------------------------------------------------------------------------------------

NODES = """\
staging:
  user: root
  password: useidentinstead
  ip: 192.168.1.10
production:
    user: root
    ip: 192.168.1.11
    identity: ~/.ssh/id_rsa.pub
db1: # the name will resolve
  user: mysql
db2: {user: mysql}
"""


def test_looms_nodes_are_hosts_with_the_account_that_each_names(write) -> None:
    read = read_inventories([path := write("nodes.yaml", NODES)])
    hosts = list(read.inventory())
    assert [(host.name, host.endpoint) for host in hosts] == [
        ("staging", "root@192.168.1.10"), ("production", "root@192.168.1.11"),
        ("db1", "mysql@db1"), ("db2", "mysql@db2"),
    ]  # fmt: skip
    assert hosts[1].identity == os.path.expanduser("~/.ssh/id_rsa") and hosts[0].source == f"{path}:1"
    passwords, halves = read.remarks
    assert "passwords are not taken from inventories: say --ssh-password (staging)" in passwords
    assert "without .pub: so it is taken (production)" in halves
    assert "useidentinstead" not in repr(hosts) + passwords
    # The example of Loom's own manual, with nothing that says it is YAML.
    assert (
        load_inventory([write("nodes", "staging: # node name\n  user: root # still\n")]).hosts[0].user
        == "root"
    )


BAD_NODES = [
    ("a:\n  user: x\nb:\n  ip: 10.0.0.1\n", 3, "node b: has no user, which Loom's nodes need"),
    ("a: {user: x, pasword: y}", 1, "node a: unknown key 'pasword'; did you mean 'password'?"),
    ("a: {user: x}\nb: text", 2, "node b: must be a mapping, this is a text"),
    ("a: {user: [x]}", 1, "node a: user must be a text, this is a list"),
    ("a: {user: -oX}", 1, "node a: user '-oX': not a login name"),
    ("a: {user: x, ip: -oX}", 1, "node a: ip '-oX': letters, digits"),
    ("'a[1-2]': {user: x}", 1, "node a[1-2]: one name, no set of names"),
    ("a b: {user: x}", 1, "node a b: letters, digits"),
    ('a: {user: x, password: "a\\0b"}', 1, "node a: password: not a text"),
    ("a: {user: x}\nhosts: {b: }", 1, "an inventory: unknown key 'a'"),
    ("a: {user: x, identity: ~nobody-of-that-name/k}", 1, "nobody's home folder"),
]


@pytest.mark.parametrize(("text", "line", "why"), BAD_NODES)
def test_bad_nodes_are_refused_with_their_line(write, text: str, line: int, why: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_inventory([write("nodes.yaml", text)])
    assert why in str(caught.value) and caught.value.line == line and "\n" not in str(caught.value)


# -- ~/.ssh/config ------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_the_names_of_the_ssh_configuration_are_hosts_and_wildcards_are_none(write, home: Path) -> None:
    write(
        ".ssh/config",
        "Include conf.d/*\nHost web1 web2 *.example.com !old\n  User deploy\nHOST=db\nHost ?x *\n",
    )
    write(".ssh/conf.d/10-more", 'Host "gate" a/b\n  Port 2222\nMatch host zzz\n  User me\n')
    read = read_inventories(["ssh:"])
    hosts = list(read.inventory())
    assert [host.name for host in hosts] == ["gate", "web1", "web2", "db"]
    assert {(host.address == host.name, host.user, host.port) for host in hosts} == {(True, None, None)}
    assert hosts[1].source == f"{home}/.ssh/config:2" and hosts[0].source == f"{home}/.ssh/conf.d/10-more:1"
    assert read.remarks == ["ssh:: no names of hosts: 'a/b' left out"]


def test_an_inventory_may_say_more_of_a_name_of_the_ssh_configuration(write, home: Path) -> None:
    write(".ssh/config", "Host web1 web2\n")
    more = write("more.yaml", "groups: {web: {hosts: 'web[1-2]', slots: 2}}")
    assert [(host.name, host.slots, sorted(host.tags)) for host in load_inventory(["ssh:", more])] == [
        ("web1", 2, ["web"]),
        ("web2", 2, ["web"]),
    ]


def test_an_ssh_configuration_without_names_is_told_of(write, home: Path) -> None:
    with pytest.raises(SpecError, match=r"^ssh:: there is no .*/\.ssh/config"):
        load_inventory(["ssh:"])
    write(".ssh/config", "Host *\n  User x\nInclude config\n")
    with pytest.raises(SpecError, match=r"config names no hosts, wildcards apart"):
        load_inventory(["ssh:"])


def test_a_file_of_that_name_is_given_with_its_folder(write, tmp_path: Path, monkeypatch) -> None:
    write("ssh:", "a\n")
    monkeypatch.chdir(tmp_path)
    assert [host.name for host in load_inventory(["./ssh:"])] == ["a"]


# -- programs -----------------------------------------------------------------------------------------------------

TOLD = """#!/bin/sh
[ "$*" = --list ] || exit 9
[ -t 0 ] && exit 8
cat <<'END'
{"_meta": {"hostvars": {"a": {"ansible_host": "10.0.0.1"}}}, "web": ["a", "b"]}
END
"""


def test_a_program_is_run_once_with_list_and_its_json_is_the_inventory(write, tmp_path: Path) -> None:
    path = write("inv", TOLD + f"echo run >> {tmp_path}/runs\n", mode=0o700)
    read = read_inventories([path])
    inventory = read.inventory()
    assert [(host.endpoint, sorted(host.tags)) for host in inventory] == [
        ("10.0.0.1", ["web"]),
        ("b", ["web"]),
    ]
    assert read.sources()["a"] == {"address": str(path)} and inventory.hosts[0].source == str(path)
    assert (tmp_path / "runs").read_text() == "run\n"


def test_a_program_is_found_by_its_own_name_and_not_by_path(write, tmp_path: Path, monkeypatch) -> None:
    write("ls", TOLD, mode=0o700)
    monkeypatch.chdir(tmp_path)
    assert len(load_inventory(["ls"])) == 2


def test_text_that_may_be_executed_is_read_and_a_program_that_may_not_is_told_of(write) -> None:
    assert len(load_inventory([write("hosts", "a\nb\n", mode=0o755)])) == 2
    with pytest.raises(
        SpecError, match=r"inv:1: begins as a program does and may not be executed: chmod u\+x it"
    ):
        load_inventory([write("inv", TOLD)])


BAD_PROGRAMS = [
    ("exit 3", "inv: --list ended with exit code 3"),
    ("echo first >&2; printf 'no \\033[2Jtoken\\n' >&2; exit 1", "ended with exit code 1: no ?[2Jtoken"),
    ("kill -9 $$", "--list was ended by signal 9"),
    ("echo '{'", "not JSON: "),
    ("", "not JSON: "),
    ('echo \'{"web": ["a"]}\'', "_meta.hostvars is missing (an empty one will do)"),
    ('echo \'{"_meta": {}, "web": ["a"]}\'', "_meta.hostvars is missing"),
    ("printf '\\377'", "--list printed byte 0xff, which is not UTF-8"),
    ("echo hosts: a", "not JSON: "),
]


@pytest.mark.parametrize(("body", "why"), BAD_PROGRAMS)
def test_a_program_that_fails_is_named_with_the_last_that_it_said(write, body: str, why: str) -> None:
    path = write("inv", f"#!/bin/sh\n{body}\n", mode=0o700)
    with pytest.raises(SpecError) as caught:
        load_inventory([path])
    assert (
        why in str(caught.value)
        and str(caught.value).startswith(str(path))
        and str(caught.value).isprintable()
    )


def test_a_program_that_cannot_be_begun_is_named(write) -> None:
    path = write("inv", "#!/nowhere/python\n", mode=0o700)
    with pytest.raises(SpecError, match="inv: can't be run: No such file"):
        load_inventory([path])


def test_a_program_that_does_not_end_is_ended_with_all_that_it_began(write, tmp_path: Path) -> None:
    path = write("inv", f"#!/bin/sh\nsleep 600 & echo $! > {tmp_path}/pid; echo '{{'; wait\n", mode=0o700)
    with pytest.raises(SpecError, match=r"inv: --list has not ended after 3s"):
        run_program(path, deadline=3.0)
    state = Path(f"/proc/{int((tmp_path / 'pid').read_text())}/stat")
    wait_until(lambda: not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] in ("Z", "X"))


def test_what_holds_its_output_open_behind_it_is_not_waited_for_longer(write) -> None:
    path = write("inv", "#!/bin/sh\nsleep 600 & echo '{}'\n", mode=0o700)
    with pytest.raises(SpecError, match=r"has not ended after 0\.5s"):
        run_program(path, deadline=0.5)


def test_a_program_that_prints_without_end_is_stopped(write) -> None:
    path = write("inv", "#!/bin/sh\nexec cat /dev/zero\n", mode=0o700)
    with pytest.raises(SpecError, match="inv: --list printed more than 1 MiB"):
        run_program(path, largest=1 << 20)
    assert programs.LARGEST == 16 << 20 and programs.DEADLINE == 30.0


@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_a_program_that_others_can_write_to_is_not_run(write, tmp_path: Path, mode: int) -> None:
    path = write("inv", f"#!/bin/sh\ntouch {tmp_path}/ran\n", mode=mode)
    with pytest.raises(
        SpecError, match=r"is a program, and is not run, since others can write to it \(mode 7"
    ):
        load_inventory([path])
    path.chmod(0o700)
    tmp_path.chmod(0o777)
    with pytest.raises(SpecError, match="since others can write to the folder"):
        load_inventory([path])
    tmp_path.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
        with pytest.raises(SpecError, match="since it belongs to user 12345 and not to you"):
            load_inventory([path])
    assert not (tmp_path / "ran").exists()


def test_no_program_is_run_where_none_may_be(write, tmp_path: Path) -> None:
    path = write("inv", f"#!/bin/sh\ntouch {tmp_path}/ran\n", mode=0o700)
    with pytest.raises(SpecError, match="inv: is a program, and is not run: the file says so"):
        read_inventories([path], no_programs="the file says so")
    assert not (tmp_path / "ran").exists() and stat.S_IMODE(path.stat().st_mode) == 0o700
