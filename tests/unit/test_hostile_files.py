"""Files of hosts, of settings and of jobs that nobody meant: read, or refused in one line that names the file.

Cases worth keeping stand in `tests/corpus/`, a file each; one that is found is added there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostler.cli.jobsource import JobSource
from hostler.cli.rows import Form
from hostler.errors import UsageError
from hostler.manifests import load_inventory, read_hostfile, read_inventories
from hostler.manifests.sshnames import names
from hostler.model.templates import Template
from hostler.settings import files
from tests.spoiling import CORPUS, JSON, case_id, kept, spoilt

YAML = """\
defaults: {user: deploy, tags: [fleet], vars: {python: 3.10}}
hosts:
  web[01-02]: {port: 2200, tags: [web]}
  db[1-2]: {address: "10.0.0.[8-9]", slots: 3, identity: keys/db}
groups:
  eu: {hosts: [web01, "db[1-2]"], jump: gate@gate.example.com:22}
  old: {hosts: "@eu&@web"}
"""
ANSIBLE = """\
lonely ansible_host=10.0.0.1
[web]
www[01:03] ansible_user=deploy zone="eu west"
db-[a:c]:2222  # three
[eu:children]
web
[web:vars]
ansible_python_interpreter=/usr/bin/python3
ansible_ssh_common_args='-o ProxyJump=ann@gate:22 -o ProxyCommand="ssh -W %h:%p gate"'
note = "x # y"
"""
ANSIBLE_YAML = """\
all:
  vars: {ansible_user: me}
  hosts:
    a: {ansible_host: 10.0.0.1, ansible_ssh_extra_args: "-J gate"}
  children:
    web: {hosts: {"b[1:2]:22": , "c": }, vars: {ansible_group_priority: 3}}
    eu: {children: {web: }}
"""
ANSIBLE_JSON = (
    '{"_meta": {"hostvars": {"a": {"ansible_port": 22, "x": [1], "y": {"z": null}}}},\n'
    ' "all": {"children": ["web"]}, "web": {"hosts": ["a", "b"], "vars": {"ansible_user": "me"}}, "l": ["b"]}\n'
)
LOOM = (
    "staging:\n  user: root\n  password: x\n  ip: 192.168.1.10\ndb1: {user: mysql, identity: ~/.ssh/id.pub}\n"
)
SSH = 'Include more\nHost web1 *.x !y "quoted"\n  User me\nMatch host a exec true\nHost=b\n'
PLAIN = "root@web[01-02]:2222  # two\r\ndb1\n[fe80::1]:22\nme@fe80::2\n"
TOML = '[batch]\ntimeout = "5m"\nhosts = "a,b"\n[reap]\nyes = true\n'
JOBS = "one\ntwo three\n'four five' six\n\ttab\\\n"

#: What breaks readers: marks of the formats themselves, and what no text should hold.
TOKENS = [
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\n", b"\t", b"\x1b[2J", b"\x85", "\u2028".encode(),
    b"'", b'"', b"\\", b"[", b"]", b"{", b"}", b"&a ", b"*a", b"<<: ", b"!!python/object:os.system ", b"? ", b"- ",
    b": ", b"#", b"|", b">", b"%", b"@", b"^", b"!", b",", b"..", b"[1-", b"[9-1]", b"[1-999999999]", b"[[",
    b"-oProxyCommand=x", b"host:99999", b":-1", b"0x10", b"1e400", b"nan", b"2026-01-01", b"[batch.deep.er]",
    b"a.b = 1", b"\n---\n", b"[" * 200, b"{{ x }}", b"{%", b":children]\n", b":vars]\n", b"\n[g]\n", b"[a:z][a:Z]",
    b"ansible_port=", b"ansible_host=", b"hostler_x=1", b"!vault ", b'"_meta"', b"hosts:", b"children:", b"#!",
]  # fmt: skip
Reader = Callable[[Path], object]


def jobs_of(form: Form, path: Path) -> list[object]:
    with closing(JobSource([], str(path), Template.parse(["echo"], shell=None), form=form)) as source:
        return list(source.jobs(check=lambda: None))


def settings_of(path: Path) -> object:
    return files._parsed(path.read_bytes(), kind="user", shown=str(path), folder=str(path.parent))


def hosts_of(path: Path) -> object:
    read = read_inventories([path])
    assert all(path.name in remark for remark in read.remarks), read.remarks
    return list(read.inventory())


def names_of(path: Path) -> object:
    return [(name, line) for name, _, line in names(path) if not line]


READERS: dict[str, tuple[str, str, list[Reader]]] = {
    "inventories/yaml": ("h.yaml", YAML, [lambda path: list(load_inventory([path]))]),
    "inventories/ansible": ("h.ini", ANSIBLE, [hosts_of]),
    "inventories/ansible-yaml": ("h.yml", ANSIBLE_YAML, [hosts_of]),
    "inventories/ansible-json": ("h.json", ANSIBLE_JSON, [hosts_of]),
    "inventories/loom": ("nodes.yml", LOOM, [hosts_of]),
    "inventories/any": ("h", ANSIBLE_YAML, [hosts_of, read_hostfile]),
    "inventories/ssh": ("config", SSH, [names_of]),
    "inventories/plain": ("hosts", PLAIN, [lambda path: list(load_inventory([path])), read_hostfile]),
    "settings": ("hostler.toml", TOML, [settings_of]),
    "joblines": (
        "jobs",
        JOBS,
        [
            partial(jobs_of, form)
            for form in (
                Form(),
                Form(words=True),
                Form(null=True),
                Form(colsep=re.compile(b"[,;]+")),
                Form(header=True),
            )
        ],
    ),
}


def read(path: Path, readers: list[Reader]) -> None:
    for reader in readers:
        try:
            reader(path)
        except UsageError as refused:
            said = str(refused)
            assert path.name in said, said
            assert said.isprintable(), ascii(said)
            assert len(said) < 1000


@pytest.mark.parametrize("kind", READERS)
def test_a_spoilt_file_is_read_or_refused_in_one_line_that_names_it(kind: str, tmp_path: Path) -> None:
    name, text, readers = READERS[kind]
    path = tmp_path / name

    @given(st.one_of(spoilt(text.encode(), TOKENS), st.binary(max_size=60)))
    def trial(data: bytes) -> None:
        path.write_bytes(data)
        read(path, readers)

    trial()


#: Places in an inventory and in settings where a value may stand, whatever it is.
PLACES = [
    '{"hosts": {"a": %s}}', '{"hosts": {"a": {"port": %s}}}', '{"hosts": {"a": {"tags": %s}}}', '{"hosts": %s}', "%s",
    '{"hosts": {"a": {"vars": %s}}}', '{"hosts": {"a": {"jump": %s}}}', '{"defaults": %s}',
    '{"defaults": {"user": %s}}',
    '{"hosts": {"a": {}}, "groups": {"g": {"hosts": %s}}}', '{"groups": {"g": %s}}', '{"hosts": {"a": {"slots": %s}}}',
    '{"hosts": {"a": {"identity": %s}}}', '{"hosts": {"a": {"host_key": %s}}}', '{"hosts": {"a": {%s: 1}}}',
]  # fmt: skip
#: The same in an Ansible inventory.
ANSIBLE_PLACES = [
    "%s", '{"all": %s}', '{"all": {"hosts": %s}}', '{"all": {"hosts": {"a": %s}}}',
    '{"w": {"hosts": ["a"], "vars": %s}}',
    '{"web": {"hosts": {"a": {"ansible_port": %s}}}}', '{"web": {"hosts": {"a": {"ansible_host": %s, "x": 1}}}}',
    '{"web": {"hosts": {"a": {"ansible_ssh_common_args": %s}}}}', '{"web": {"hosts": {"a": {"any": %s}}}}',
    '{"all": {"children": {"g": %s}}}', '{"_meta": {"hostvars": {"a": %s}}, "g": ["a"]}', '{"_meta": %s, "g": ["a"]}',
    '{"web": {"hosts": {"a": {}}, "vars": {"ansible_group_priority": %s}}}', '{"n": {"user": %s}}',
    '{"n": {"user": "u", "ip": %s}}', '{"n": {"user": "u", "identity": %s}}', '{"n": {"user": "u", "password": %s}}',
]  # fmt: skip
KEYS = [
    "batch.timeout",
    "batch.hosts",
    "batch.retries",
    "batch",
    "reap.yes",
    "slots",
    "batch.env",
    '"\\u001b"',
]


@given(st.sampled_from(ANSIBLE_PLACES), JSON)
def test_a_value_of_any_kind_in_an_ansible_inventory_is_read_or_refused_in_one_line(
    place: str, value: object
) -> None:
    with TemporaryDirectory() as folder:
        for name in ("h.yml", "h.json"):
            path = Path(folder, name)
            path.write_text(place % json.dumps(value))
            read(path, [hosts_of])


@given(st.sampled_from(PLACES), st.sampled_from(KEYS), JSON)
def test_a_value_of_any_kind_anywhere_is_read_or_refused_in_one_line(
    place: str, key: str, value: object
) -> None:
    said = json.dumps(value)
    with TemporaryDirectory() as folder:
        for name, text in (("h.yaml", place % said), ("hostler.toml", f"{key} = {said}\n")):
            path = Path(folder, name)
            path.write_text(text)
            read(path, READERS["inventories/yaml" if name == "h.yaml" else "settings"][2])


CASES = [case for kind in {kind.split("/")[0]: None for kind in READERS} for case in kept(kind)]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_kept_case_is_read_or_refused_in_one_line(case: Path) -> None:
    folder = case.relative_to(CORPUS).parts[0]
    readers = [
        reader
        for kind, (name, _, readers) in READERS.items()
        if kind.split("/")[0] == folder and (folder != "inventories" or Path(name).suffix == case.suffix)
        for reader in readers
    ]
    assert readers, f"nobody reads {case}"
    read(case, readers)
