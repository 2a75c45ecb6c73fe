"""Inventories and host files: what is read, how files lie over each other, and how bad ones are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hostler.errors import SpecError
from hostler.manifests import load_inventory, read_hostfile
from hostler.manifests.texts import LARGEST
from hostler.model.hosts import Host, Inventory
from hostler.model.selectors import parse_targets


@pytest.fixture
def write(tmp_path: Path):
    def writing(name: str, text: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return writing


def endpoints(inventory: Inventory) -> list[str]:
    return [f"{host.name}={host.endpoint}" for host in inventory]


def test_a_plain_list_has_a_host_a_line_with_comments_blanks_and_node_sets(write) -> None:
    path = write(
        "hosts.txt", "# fleet\r\nroot@web[01-02]:2222  # two\r\n\r\n  db1\n[fe80::1]:22\nme@fe80::2\nx#y,z\n"
    )
    with pytest.raises(SpecError, match=r"hosts\.txt:7: column 2: '#' can't stand"):
        load_inventory([path])
    path = write("hosts.txt", path.read_text().replace("x#y,z", "y,z  #c"))
    inventory = load_inventory([path])
    assert endpoints(inventory) == [
        "web01=root@web01:2222",
        "web02=root@web02:2222",
        "db1=db1",
        "fe80::1=[fe80::1]:22",
        "fe80::2=me@fe80::2",
        "y=y",
        "z=z",
    ]
    assert [host.source for host in inventory][:3] == [f"{path}:2", f"{path}:2", f"{path}:4"]


def test_a_byte_order_mark_and_a_missing_last_newline_are_no_matter(write) -> None:
    assert endpoints(load_inventory([write("h", b"\xef\xbb\xbfa\nb")])) == ["a=a", "b=b"]
    assert endpoints(load_inventory([write("h.yml", b"\xef\xbb\xbfhosts: {a: }")])) == ["a=a"]


INVENTORY = """\
defaults: {user: deploy, tags: [fleet], vars: {python: 3.10, zone: none}}
hosts:
  web[01-02]:
    tags: [web]
    port: 2200
  web02: {port: 2201, vars: {zone: "b"}}   # a later, narrower name
  db[1-2]:
    address: 10.0.0.[8-9]
    user: postgres
    slots: 3
    identity: keys/db
    host_key: ssh-ed25519 AAAAC3Nz comment
    vars: {spool: /data/spool}
  bare:
groups:
  eu:
    hosts: [web01, "db[1-2]"]
    jump: gate@gate.example.com:22
    user: ignored-where-own
    port: 99
    tags: europe
    vars: {zone: eu, dns: 'yes'}
  old: {hosts: "@eu&@web"}
  everyone: {hosts: all!bare}
"""


def test_an_inventory_in_yaml_has_hosts_groups_and_defaults(write, tmp_path: Path) -> None:
    path = write("fleet.yaml", INVENTORY)
    inventory = load_inventory([path])
    assert endpoints(inventory) == [
        "web01=ignored-where-own@web01:2200",
        "web02=deploy@web02:2201",
        "db1=postgres@10.0.0.8:99",
        "db2=postgres@10.0.0.9:99",
        "bare=deploy@bare",
    ]
    web1, web2, db1, _, bare = inventory
    assert web1.tags == {"fleet", "web", "eu", "europe", "old", "everyone"}
    assert web2.tags == {"fleet", "web", "everyone"}
    assert bare.tags == {"fleet"} and bare.vars == (("python", "3.10"), ("zone", "none"))
    assert web1.vars == (("dns", "yes"), ("python", "3.10"), ("zone", "eu"))
    assert web2.vars == (("python", "3.10"), ("zone", "b"))
    assert db1.vars == (("dns", "yes"), ("python", "3.10"), ("spool", "/data/spool"), ("zone", "eu"))
    assert (db1.slots, db1.jump, db1.host_key) == (
        3,
        "gate@gate.example.com:22",
        "ssh-ed25519 AAAAC3Nz comment",
    )
    assert db1.identity == str(tmp_path / "keys/db")
    assert [host.source for host in inventory] == [
        f"{path}:3", f"{path}:3, {path}:6", f"{path}:7", f"{path}:7", f"{path}:14",
    ]  # fmt: skip


def test_an_identity_starts_at_the_file_at_home_or_at_the_root(write, tmp_path: Path) -> None:
    text = "hosts: {a: {identity: k}, b: {identity: ~/.ssh/k}, c: {identity: /etc/k}}"
    a, b, c = load_inventory([write("f.yaml", text)])
    assert (a.identity, b.identity, c.identity) == (
        str(tmp_path / "k"),
        os.path.expanduser("~/.ssh/k"),
        "/etc/k",
    )


def test_of_several_files_the_later_wins_per_field_and_tags_and_groups_unite(write) -> None:
    one = write(
        "1.yaml",
        "hosts: {a: {user: ann, port: 1, tags: [x], vars: {k: 1, l: 1}}, b: }\ngroups: {g: {hosts: a}}",
    )
    two = write("2.txt", "bob@a\nc\n")
    three = write(
        "3.yaml",
        "defaults: {user: dan, slots: 2}\nhosts: {a: {tags: [y], vars: {k: 3}}}\ngroups: {g: {hosts: 'b,c'}}",
    )
    inventory = load_inventory([one, two, three])
    assert endpoints(inventory) == ["a=bob@a:1", "b=b", "c=c"]
    a, b, c = inventory
    assert a.tags == {"x", "y", "g"} and a.vars == (("k", "3"), ("l", "1")) and a.slots == 2
    assert b.tags == c.tags == {"g"}
    assert a.source == f"{one}:1, {two}:1, {three}:2"


def test_anchors_may_be_used_where_they_stay_small(write) -> None:
    path = write("f.yaml", "hosts:\n  a: &web {tags: [web], vars: {x: y}}\n  b: *web\n")
    a, b = load_inventory([path])
    assert a.tags == b.tags == {"web"} and a.vars == b.vars


SANDBOX = Host(
    name="sandbox1",
    address="127.77.0.1",
    user="root",
    port=22,
    identity="/k",
    host_key="ssh-ed25519 AAAA",
    tags=frozenset({"sandbox"}),
    vars=(("spool", "/s"),),
)


def test_hosts_known_without_a_file_come_last_and_fill_in_what_files_leave_open(write) -> None:
    other = Host(name="sandbox2", address="127.77.0.2", user="root", port=22)
    path = write("hosts.txt", "web1\nroot@127.77.0.1:22\n")
    inventory = load_inventory([path], extra=[SANDBOX, other])
    assert endpoints(inventory) == [
        "web1=web1",
        "127.77.0.1=root@127.77.0.1:22",
        "sandbox2=root@127.77.0.2:22",
    ]
    typed = inventory.hosts[1]
    assert (typed.identity, typed.host_key, typed.tags, typed.vars) == (
        SANDBOX.identity, SANDBOX.host_key, SANDBOX.tags, SANDBOX.vars,
    )  # fmt: skip
    named = load_inventory([write("f.yaml", "hosts: {sandbox1: {slots: 9, user: me}}")], extra=[SANDBOX])
    assert [(host.slots, host.endpoint, host.identity) for host in named] == [(9, "me@127.77.0.1:22", "/k")]
    assert load_inventory([], extra=[SANDBOX]).hosts == (SANDBOX,)


def test_two_names_for_one_endpoint_are_refused_with_both_places(write) -> None:
    one = write("one.yaml", "hosts:\n  a: {address: 10.0.0.1}\n")
    two = write("two.txt", "\n10.0.0.1:22\n")
    with pytest.raises(SpecError) as caught:
        load_inventory([one, two])
    assert str(caught.value) == f"{two}:2: 10.0.0.1 is the same endpoint as a of {one}:2: 10.0.0.1:22"
    both = write("both.yaml", "hosts: {a: {address: h, user: u}, b: {address: h}, c: {address: h, port: 23}}")
    assert len(load_inventory([both])) == 3


def test_one_name_with_two_endpoints_in_one_list_is_refused(write) -> None:
    path = write("h.txt", "a\nb\nroot@a\n")
    for reading in (read_hostfile, lambda path: load_inventory([path])):
        with pytest.raises(SpecError, match=r"h\.txt:3: a stands on line 1 with another user or port"):
            reading(path)
    assert len(load_inventory([write("h.txt", "a\na\n")])) == 1


BAD_YAML = [
    ("hosts: {a: !!python/object/apply:os.system ['touch /tmp/pwned']}", 1, "such as !!python/object/apply:os"),
    ("hosts:\n  a: !thing {}", 2, "tags such as !thing"),
    ("hosts:\n  a:\n  b:\n  a:", 4, "'a' stands here again, after line 2"),
    ("hosts: {a: {port: 1, port: 2}}", 1, "'port' stands here again"),
    ("hosts:\n" + "".join(f"{' ' * n}a:\n" for n in range(1, 40)), 16, "nested deeper than 16 levels"),
    ("hosts: " + "[" * 5000, 1, "nested deeper than 16 levels"),
    ("hosts: " + "{" * 5000, 1, "nested deeper than 16 levels"),
    ("x: *none", 1, "the alias *none has no finished anchor"),
    ("x: &a [*a]", 1, "the alias *a has no finished anchor"),
    ("a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n"
        for n in range(9)), 6, "more than 1,000,000 values, its aliases written out"),
    ("hosts: {a: }\n---\nhosts: {b: }", 3, "a second document begins here"),
    ("hosts: [a, b]", 1, "hosts must be a mapping, this is a list"),
    ("- a\n- b", 1, "an inventory must be a mapping, this is a list"),
    ("just text", 1, "an inventory must be a mapping, this is a text"),
    ("hosts: {a: b}", 1, "host a must be a mapping, this is a text"),
    ("hosts: {? {a: b} : c}", 1, "a key must be a text, this is a mapping"),
    ("hosts: {~: }", 1, "a key must be a text, this is nothing"),
    ("host: {a: }", 1, "an inventory: unknown key 'host'; did you mean 'hosts'?"),
    ("hosts:\n  a:\n    usr: x", 3, "host a: unknown key 'usr'; did you mean 'user'?"),
    ("hosts: {a: {zzz: x}}", 1, "unknown key 'zzz'; there are address, user, port"),
    ("defaults: {address: x}\nhosts: {a: }", 1, "defaults: unknown key 'address'"),
    ("hosts: {a: {port: 0}}", 1, "host a: port '0': must be a whole number from 1 to 65535"),
    ("hosts:\n  a:\n    user: x\n    port: 65536", 4, "must be a whole number from 1 to 65535"),
    ("hosts: {a: {port: ssh}}", 1, "port 'ssh': must be a whole number"),
    ("hosts: {a: {port: 22.0}}", 1, "port '22.0': must be a whole number"),
    ("hosts: {a: {port: 0x16}}", 1, "port '0x16': must be a whole number"),
    ("hosts: {a: {port: [22]}}", 1, "host a: port must be a text, this is a list"),
    ("hosts: {a: {slots: -1}}", 1, "slots '-1': must be a whole number from 1 to 10000"),
    ("hosts: {a: {user: '-l root'}}", 1, "user '-l root': not a login name"),
    ("hosts: {a: {address: '-oProxyCommand=x'}}", 1, "address '-oProxyCommand=x'"),
    ("hosts: {a: {address: 'a b'}}", 1, "address 'a b'"),
    ("hosts: {'a[1-3]': {address: 'b[1-2]'}}", 1, "host a[1-3]: 3 hosts, but 2 addresses"),
    ("hosts: {'a[1-3]': {address: x}}", 1, "host a[1-3]: 3 hosts, but 1 addresses"),
    ("hosts: {a: {address: 'b[1-'}}", 1, "host a: address: '[' is not closed"),
    ("hosts: {a: {jump: '-x'}}", 1, "jump '-x'"),
    ("hosts: {a: {jump: 'b[1-2]'}}", 1, "jump 'b[1-2]': one [user@]host[:port]"),
    ("hosts: {a: {host_key: AAAA}}", 1, "host_key 'AAAA': write a public key line"),
    ("hosts: {a: {identity: ~nobody-of-that-name/k}}", 1, "nobody's home folder"),
    ('hosts: {a: {identity: "a\\0b"}}', 1, "not a text that a host could be given"),
    ('hosts: {a: {vars: {x: "\\ud800"}}}', 1, "not a text that a host could be given"),
    ("hosts: {a: {vars: [x]}}", 1, "host a: vars must be a mapping, this is a list"),
    ("hosts: {a: {vars: {x: {y: z}}}}", 1, "host a: vars: x must be a text, this is a mapping"),
    ("hosts: {a: {vars: {'x y': z}}}", 1, "vars: 'x y' is not a variable's name"),
    ("hosts: {a: {tags: {x: y}}}", 1, "host a: tags must be a text, this is a mapping"),
    ("hosts: {a: {tags: [x, 'y z']}}", 1, "host a: tag 'y z': letters, digits"),
    ("hosts: {a: {tags: [last]}}", 1, "tag 'last': is taken"),
    ("hosts: {root@a: }", 1, "host 'root@a': user and port are fields of it"),
    ("hosts: {'a:22': }", 1, "host 'a:22': user and port are fields of it"),
    ("hosts: {'a,b': }", 1, "host 'a,b': one name or node set a key"),
    ("hosts: {all: }", 1, "host 'all': not a host's name"),
    ("hosts: {'@x': }", 1, "host '@x': not a host's name"),
    ("hosts: {'a b': }", 1, "host 'a b': expected one of"),
    ("hosts: {'n[0-9999999]': }", 1, "at most 1,000,000"),
    ("hosts: {'a[1-900000]': , 'b[1-900000]': }", 1, "more than 1,000,000 hosts"),
    ("hosts: {a: }\ngroups:\n  g: {}", 3, "group g has no hosts"),
    ("hosts: {a: }\ngroups:\n  g: {hosts: b}", 3, "group g: no host is called b; name it under hosts: first"),
    ("hosts: {web1: }\ngroups: {g: {hosts: wbe1}}", 2, "no host is called wbe1; did you mean web1?"),
    ("hosts: {a: }\ngroups: {g: {hosts: root@a}}", 2, "root@a: write user: and port: in the group"),
    ("hosts: {a: }\ngroups: {g: {hosts: '@nope'}}", 2, "no host carries the tag 'nope'"),
    ("hosts: {a: }\ngroups:\n  g: {hosts: '@h'}\n  h: {hosts: '@g'}", 3, "made of @h, which stands below it (line 4)"),
    ("hosts: {a: }\ngroups: {g: {hosts: 'a,@g'}}", 2, "group g is made of itself: write it of groups above it"),
    ("hosts: {a: }\ngroups: {g: {hosts: '@last:failed'}}", 2, "@last:failed can't stand in an inventory"),
    ("hosts: {a: }\ngroups: {g: {hosts: '^/etc/passwd'}}", 2, "^/etc/passwd can't stand in an inventory"),
    ("hosts: {a: }\ngroups: {g: {hosts: 'a,,'}}", 2, "group g: hosts: column 3: expected a name"),
    ("hosts: {a: }\ngroups: {'g h': {hosts: a}}", 2, "group 'g h': letters, digits"),
    ("hosts: {a: }\ngroups: {g: {hosts: a, adress: b}}", 2, "group g: unknown key 'adress'"),
    ("hosts:\n  a: {", 2, "not YAML: "),
    ("hosts:\n\ta:", 2, "not YAML: found character '\\t'"),
    ("hosts: {a: }\n\x07", 2, "not YAML: the character '\\x07' can't stand in it"),
    ("%YAML 9.9\n---\nhosts: {a: }", None, "not YAML: "),
    ("hosts: {a: {port: " + "9" * 5000 + "}}", 1, "must be a whole number"),
    ("", None, "names no hosts"),
    ("# nothing\n", None, "names no hosts"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "why"), BAD_YAML)
def test_a_bad_inventory_is_refused_with_its_line(write, text: str, line: int | None, why: str) -> None:
    path = write("bad.yaml", text)
    with pytest.raises(SpecError) as caught:
        load_inventory([path])
    assert why in str(caught.value)
    assert caught.value.path == str(path) and (line is None or caught.value.line == line)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert not Path("/tmp/pwned").exists()


BAD_LISTS = [
    ("", None, "names no hosts"),
    ("# only this\n\n", None, "names no hosts"),
    ("a\nb c\n", 2, "column 3: expected one of , & ! ^ before 'c'"),
    ("a\n  b:x\n", 2, "column 4: ':x' is not a port"),
    ("a\nb:99999", 2, "column 2: ':99999' is not a port"),
    ("a\n-oProxyCommand=sh", 2, "can't stand in a host's name"),
    ("a\n@tag", 2, "'@tag': a list has one [user@]host[:port] a line"),
    ("all", 1, "'all': a list has one"),
    ("^other", 1, "'^other': a list has one"),
    ("a!b", 1, "'a!b': a list has one"),
    ("web[1-", 1, "column 4: '[' is not closed"),
    ("n[1-999999]\nm[1-2]\n", 2, "more than 1,000,000 hosts"),
    ("x" * 100_000, 1, "can't be a host's name"),
]


@pytest.mark.parametrize(("text", "line", "why"), BAD_LISTS)
@pytest.mark.parametrize("reading", ["inventory", "hostfile"])
def test_a_bad_list_is_refused_with_its_line(
    write, reading: str, text: str, line: int | None, why: str
) -> None:
    path = write("bad.txt", text)
    with pytest.raises(SpecError) as caught:
        load_inventory([path]) if reading == "inventory" else read_hostfile(path)
    assert why in str(caught.value) and caught.value.line == line and caught.value.path == str(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["x.yaml", "x.txt"])
@pytest.mark.parametrize("reading", ["inventory", "hostfile"])
def test_a_file_that_is_none_of_text_is_refused(write, tmp_path: Path, name: str, reading: str) -> None:
    if reading == "hostfile" and name == "x.yaml":
        name = "x"
    path = tmp_path / name

    def refused() -> str:
        with pytest.raises(SpecError) as caught:
            load_inventory([path]) if reading == "inventory" else read_hostfile(str(path))
        return str(caught.value).removeprefix(str(path))

    assert refused() == ": no such file"
    write(name, b"a\nb\0c\n")
    assert refused() == ":2: holds a NUL byte: this is not a text file"
    write(name, b"\x7fELF\x02\x01\xff")
    assert refused() == ":1: byte 0xff is not UTF-8"
    write(name, "a\nb".encode("utf-16"))
    assert refused() == ":1: holds a NUL byte: this is not a text file"
    path.unlink()
    path.mkdir()
    assert refused() == ": is a folder, not a file"
    path.rmdir()
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)
    assert refused() == ": is larger than 8 MiB"
    path.unlink()
    path.symlink_to(path)
    assert "can't be read: " in refused()


def test_an_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(SpecError, match="is larger than 8 MiB"):
        load_inventory([Path("/dev/zero")])


def test_a_host_file_gives_targets_that_the_inventory_knows_better(write) -> None:
    path = write("hosts.txt", "web[1-2] # both\nroot@db:99\n")
    known = Inventory((Host(name="web2", address="10.0.0.2", user="me"),))
    picked = parse_targets(f"^{path}").pick(known, files=read_hostfile)
    assert [host.endpoint for host in picked] == ["web1", "me@10.0.0.2", "root@db:99"]
    assert read_hostfile(str(path)).pick(known) == picked


def test_a_yaml_inventory_as_a_host_file_is_told_where_it_belongs(write) -> None:
    with pytest.raises(SpecError, match="a YAML inventory is given with -i"):
        read_hostfile(write("fleet.yaml", INVENTORY))
    with pytest.raises(SpecError, match="a YAML inventory is given with -i"):
        read_hostfile(write("fleet", INVENTORY))
    for text in ("[web]\na\n", "a ansible_port=22\n", '{"web": ["a"]}'):
        with pytest.raises(SpecError, match="hosts: an Ansible inventory is given with -i"):
            read_hostfile(write("hosts", text))


def test_reading_inventories_never_imports_pydantic_and_lists_need_no_yaml(write) -> None:
    code = (
        "import sys; from pathlib import Path; from hostler.manifests import load_inventory\n"
        "heavy = ('pydantic', 'asyncssh', 'sqlalchemy', 'ClusterShell', 'asyncio')\n"
        "load_inventory([Path(sys.argv[1])]); print([m for m in sys.modules if m.startswith((*heavy, 'ruamel'))])\n"
        "load_inventory([Path(sys.argv[2])]); print([m for m in sys.modules if m.startswith(heavy)])\n"
    )
    paths = [write("h", "a[1-3]\n"), write("f.yaml", INVENTORY)]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"
