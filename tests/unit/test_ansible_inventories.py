"""Ansible's inventories in INI, YAML and JSON: what they mean here, and how what can't be meant is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hostler.errors import SpecError
from hostler.manifests import load_inventory, read_inventories
from hostler.model.hosts import Host, Inventory


@pytest.fixture
def write(tmp_path: Path):
    def writing(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return writing


def endpoints(inventory: Inventory) -> list[str]:
    return [f"{host.name}={host.endpoint}" for host in inventory]


def one(inventory: Inventory, name: str) -> Host:
    host = inventory.get(name)
    assert host is not None, name
    return host


INI = """\
# the fleet
lonely ansible_host=10.0.0.1   # by itself
here ansible_connection=local

[web]
www[01:03].example.com ansible_user=deploy zone="eu west"
db-[a:c] ansible_port=2222
web9:2200

[eu:children]
web
old

[old]
[2001:db8::1]:22
www02.example.com http_port=80

[web:vars]
ansible_user=web
ansible_python_interpreter=/usr/bin/python3.11
note = "quoted # sign"  # a remark
jobs=4 # as Ansible reads it

[all:vars]
ansible_user=everybody
ansible_ssh_private_key_file=/keys/id
ansible_ssh_common_args='-o ProxyJump=ann@gate:2222 -o StrictHostKeyChecking=no'
"""


def test_an_ini_has_hosts_groups_within_groups_and_their_variables(write) -> None:
    read = read_inventories([write("hosts", INI)])
    inventory = read.inventory()
    assert endpoints(inventory) == [
        "lonely=everybody@10.0.0.1",
        "here=everybody@here",
        "www01.example.com=deploy@www01.example.com",
        "www02.example.com=deploy@www02.example.com",
        "www03.example.com=deploy@www03.example.com",
        "db-a=web@db-a:2222",
        "db-b=web@db-b:2222",
        "db-c=web@db-c:2222",
        "web9=web@web9:2200",
        "2001:db8::1=everybody@[2001:db8::1]:22",
    ]
    second = one(inventory, "www02.example.com")
    assert second.tags == {"web", "eu", "old"} and one(inventory, "lonely").tags == frozenset()
    assert dict(second.vars) == {
        "zone": "eu west", "http_port": "80", "python": "/usr/bin/python3.11", "note": "quoted # sign", "jobs": "4",
    }  # fmt: skip
    assert (second.jump, second.identity) == ("ann@gate:2222", "/keys/id")
    assert one(inventory, "here").var("transport") == "local"
    [remark] = read.remarks
    assert "of arguments for ssh only a jump host is used: StrictHostKeyChecking is left aside" in remark


def test_the_source_of_each_field_is_known(write) -> None:
    path = write("hosts", INI)
    sources = read_inventories([path]).sources()
    assert sources["www02.example.com"] == {
        "user": f"{path}:6", "vars.zone": f"{path}:6", "vars.http_port": f"{path}:16",
        "vars.python": f"{path}:20, group web", "vars.note": f"{path}:21, group web",
        "vars.jobs": f"{path}:22, group web", "identity": f"{path}:26, defaults", "jump": f"{path}:27, defaults",
    }  # fmt: skip
    assert sources["db-a"]["user"] == f"{path}:19, group web"
    assert one(load_inventory([path]), "www02.example.com").source == f"{path}:6, {path}:16"


YAML = """\
all:
  vars: {ansible_user: everybody}
  hosts:
    lonely: {ansible_host: 10.0.0.1}
  children:
    web:
      hosts:
        www[01:02]: {ansible_port: 2222}
        more:2200:
      vars: {ansible_user: web, ansible_become: true, list: [1, 2]}
    eu:
      children: {web: , old: }
old:
  hosts: www02
"""


def test_a_yaml_has_the_same(write) -> None:
    inventory = load_inventory([write("hosts.yml", YAML)])
    assert endpoints(inventory) == [
        "lonely=everybody@10.0.0.1", "www01=web@www01:2222", "www02=web@www02:2222", "more=web@more:2200",
    ]  # fmt: skip
    assert one(inventory, "www02").tags == {"web", "eu", "old"}
    assert one(inventory, "www01").vars == (("ansible_become", "true"),)
    # Without `all`, and without a name that says it is YAML.
    assert endpoints(load_inventory([write("hosts", "# c\n\nweb:\n  hosts:\n    a:\n")])) == ["a=a"]


JSON = {
    "_meta": {"hostvars": {
        "a": {"ansible_host": "10.0.0.1", "ansible_port": 2222, "flag": True, "tags": {"Name": "x"}},
        "stopped": {"ansible_host": "10.0.0.9"},
    }},
    "all": {"children": ["ungrouped", "web", "eu"]},
    "web": {"hosts": ["a", "b"], "vars": {"ansible_user": "web"}},
    "eu": {"children": ["web", "empty"]},
    "short": ["b"],
}  # fmt: skip


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["hosts", "hosts.json"])
def test_the_json_of_a_list_has_the_same(write, name: str, indent: int | None) -> None:
    inventory = load_inventory([write(name, json.dumps(JSON, indent=indent))])
    assert endpoints(inventory) == ["a=web@10.0.0.1:2222", "b=web@b"]
    assert one(inventory, "b").tags == {"web", "eu", "short"} and one(inventory, "a").vars == (
        ("flag", "true"),
    )


def test_a_json_of_several_lines_is_told_by_them(write) -> None:
    path = write("hosts", json.dumps(JSON, indent=1))
    assert one(load_inventory([path]), "a").source == f"{path}:4"
    with pytest.raises(
        SpecError, match=r"hosts:24: group web: unknown key 'host'; there are hosts, children"
    ):
        load_inventory([write("hosts", json.dumps({**JSON, "web": {"host": []}}, indent=1))])


def test_of_nested_groups_the_deeper_wins_of_others_the_later_by_name_or_by_priority(write) -> None:
    text = """
[outer:children]
inner
[inner]
a
[zz]
a
[outer:vars]
one=outer
two=outer
[inner:vars]
one=inner
[zz:vars]
three=zz
[bb]
a
[bb:vars]
three=bb
four=bb
[aa]
a
[aa:vars]
four=aa
ansible_group_priority=10
"""
    assert dict(load_inventory([write("h", text)]).hosts[0].vars) == {
        "one": "inner",
        "two": "outer",
        "three": "zz",
        "four": "aa",
    }


def test_values_that_ansible_would_compute_are_never_used_as_they_stand(write) -> None:
    text = """
[web]
a ansible_host="{{ inventory_hostname }}.example.com" ansible_user={{user}} ansible_port="{% if x %}1{% endif %}"
b ansible_user=ok note="{{ x }}"
"""
    read = read_inventories([path := write("h", text)])
    assert endpoints(read.inventory()) == ["a=a", "b=ok@b"] and one(read.inventory(), "b").vars == ()
    [remark] = read.remarks
    assert remark == (
        f"{path}: templates are not filled in: ansible_host (line 3), ansible_user (line 3), "
        "ansible_port (line 3), note (line 4) are left aside"
    )


def test_passwords_are_not_taken_over_and_one_line_says_so(write) -> None:
    text = (
        "a ansible_password=hunter2 ansible_become_pass=hunter2 db_password=hunter2 API_TOKEN=hunter2 x=y\n"
    )
    read = read_inventories([write("h", text)])
    assert one(read.inventory(), "a").vars == (("x", "y"),)
    [remark] = read.remarks
    assert "ansible_password, ansible_become_pass, db_password, API_TOKEN are left aside" in remark
    assert "hunter2" not in remark


def test_what_is_encrypted_is_left_aside_and_told_of(write) -> None:
    text = "all:\n  hosts:\n    a:\n      key: !vault |\n        $ANSIBLE_VAULT;1.1\n"
    text += "      x: y\n      ansible_user: !vault z\n"
    read = read_inventories([write("h.yml", text)])
    [host] = read.inventory()
    assert host.vars == (("x", "y"),) and host.user is None
    assert (
        "what is encrypted are not taken from inventories: key, ansible_user are left aside"
        in read.remarks[0]
    )


ARGUMENTS = [
    ("-o ProxyJump=gate", "gate"),
    ("-oProxyJump=ann@gate:22", "ann@gate:22"),
    ("-o 'ProxyJump gate,inner'", "gate,inner"),
    ("-J gate -C", "gate"),
    ("-Jgate", "gate"),
    ("-o proxyjump=none", None),
    ('-o ProxyCommand="ssh -W %h:%p -q gate"', "gate"),
    ('-o ProxyCommand="ssh -q -p 2222 -l ann -o StrictHostKeyChecking=no gate -W [%h]:%p"', "ann@gate:2222"),
    ('-o ProxyCommand="/usr/bin/ssh ann@gate nc %h %p"', "ann@gate"),
    ("-o ControlMaster=auto -o ControlPersist=60s", None),
]


@pytest.mark.parametrize(("args", "jump"), ARGUMENTS)
def test_a_jump_host_is_read_from_the_arguments_for_ssh(write, args: str, jump: str | None) -> None:
    path = write("h.yml", f"all: {{hosts: {{a: {{ansible_ssh_common_args: {json.dumps(args)}}}}}}}")
    assert load_inventory([path]).hosts[0].jump == jump


NO_ARGUMENTS = [
    ("-o ProxyCommand='nc -X 5 -x proxy %h %p'", "can't be used: say ProxyJump=HOST"),
    ("-o ProxyCommand='ssh -i key -W %h:%p gate'", "can't be used: say ProxyJump=HOST"),
    ("-o ProxyCommand='ssh -W other:22 gate'", "can't be used: say ProxyJump=HOST"),
    ("-o ProxyCommand='ssh gate; touch /tmp/x'", "can't be used: say ProxyJump=HOST"),
    ("-o ProxyJump=-oProxyCommand=x", "can't stand in a host's name"),
    ("-p 2222", "'-p' can't be used"),
    ("-o Port=2222", "Port is for ansible_port to say"),
    ("-o HostName=x", "HostName is for ansible_host to say"),
    ("-J a -J b", "goes through two hosts"),
    ("-o 'x", "No closing quotation"),
]


@pytest.mark.parametrize(("args", "why"), NO_ARGUMENTS)
def test_what_would_lead_elsewhere_is_refused(write, args: str, why: str) -> None:
    path = write("h.yml", f"all:\n  hosts:\n    a: {{ansible_ssh_common_args: {json.dumps(args)}}}")
    with pytest.raises(SpecError) as caught:
        load_inventory([path])
    assert why in str(caught.value) and caught.value.line == 3


def test_our_own_variables_are_said_with_our_name_before_them(write) -> None:
    text = "a shell=tcsh spool=x python=3 transport=tcp hostler_shell=/bin/zsh hostler_slots=3 hostler_spool=/var/x\n"
    host = load_inventory([write("h", text)]).hosts[0]
    assert host.vars == (("shell", "/bin/zsh"), ("spool", "/var/x")) and host.slots == 3


def test_a_key_begins_where_hostler_is_run_as_with_ansible(write, monkeypatch) -> None:
    monkeypatch.chdir("/")
    text = "a ansible_ssh_private_key_file=keys/a\nb ansible_ssh_private_key_file=~/b\n"
    a, b = load_inventory([write("h", text)])
    assert (a.identity, b.identity) == ("/keys/a", os.path.expanduser("~/b"))


def test_connections_by_ssh_are_usual_and_others_are_refused_when_they_are_used(write) -> None:
    a, b, c = load_inventory([write("h", "a ansible_connection=ssh\nb ansible_connection=winrm\nc\n")])
    assert (a.vars, b.vars, c.vars) == ((), (("transport", "winrm"),), ())


def test_an_interpreter_is_a_full_path_or_is_looked_for(write) -> None:
    text = "a ansible_python_interpreter=auto_silent\nb ansible_python_interpreter='/usr/bin/env python3'\n"
    text += "c ansible_python_interpreter=python3\nd ansible_python_interpreter=/opt/py/bin/python\n"
    read = read_inventories([write("h", text)])
    assert [host.vars for host in read.inventory()] == [(), (), (), (("python", "/opt/py/bin/python"),)]
    [remark] = read.remarks
    assert "'/usr/bin/env python3', 'python3' are left aside" in remark


def test_variables_in_folders_beside_it_are_told_to_be_unread_once(write, tmp_path: Path) -> None:
    path = write("hosts", "[web]\na\n")
    assert read_inventories([path]).remarks == []
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "host_vars").mkdir()
    [remark] = read_inventories([path]).remarks
    assert remark.startswith(
        f"{path}: group_vars and host_vars beside it are not read; ansible-inventory --list"
    )


def test_an_ansible_file_is_laid_over_and_under_others(write) -> None:
    ini = write("hosts.ini", "[web]\na ansible_user=ann zone=1\n[web:vars]\nansible_port=2222\n")
    own = write("more.yaml", "hosts: {a: {user: bob}}\ngroups: {new: {hosts: '@web'}}")
    [host] = load_inventory([ini, own])
    assert host.endpoint == "bob@a:2222" and host.tags == {"web", "new"}
    assert [host.endpoint for host in load_inventory([own.with_name("hosts.ini"), ini])] == ["ann@a:2222"]


def test_two_names_for_one_endpoint_are_refused_with_both_places(write) -> None:
    path = write("h", "a ansible_host=10.0.0.1\nb ansible_host=10.0.0.1 ansible_port=22\n")
    with pytest.raises(SpecError) as caught:
        load_inventory([path])
    assert str(caught.value) == f"{path}:2: b is the same endpoint as a of {path}:1: 10.0.0.1:22"


BAD_INI = [
    ("[web]\na\n[web:host]\nb", 3, "[web:host]: there are [group], [group:children] and [group:vars]"),
    ("[web]\na\n[web servers]", 3, "'[web servers]' is no section"),
    ("[web]\n[]\na", 2, "'[]' is no section"),
    ("[web]\na b\n", 2, "'b': a host's name is followed by variables, NAME=VALUE"),
    ("[web]\na x='open\n", 2, "no closing quotation: quotes are those of a shell"),
    ("[web]\nann@a\n", 2, "a user is said by ansible_user=ann"),
    ("[web]\na[9:1]\n", 2, "'9:1' runs backwards"),
    ("[web]\na[c:a]\n", 2, "its range of letters runs backwards"),
    ("[web]\na[a:z][a:z][a:z][a:z][a:z]\n", 2, "more than 1,000,000 hosts"),
    ("[web]\na[1:99999999]\n", 2, "at most 1,000,000"),
    ("[web]\nall\n", 2, "'all' is not a host's name"),
    ("[web]\na*\n", 2, "can't stand in a host's name"),
    ("[web]\na ansible_port=ssh\n", 2, "host a: ansible_port 'ssh': must be a whole number from 1 to 65535"),
    ("[web]\na ansible_user=-oX\n", 2, "host a: ansible_user '-oX': not a login name"),
    ("[web]\na\n[web:vars]\nansible_user=x y\n", 4, "group web: ansible_user 'x y': not a login name"),
    ("[web]\na ansible_host=-oProxyCommand=x\n", 2, "host a: ansible_host '-oProxyCommand=x': letters"),
    ("[web]\na:22 ansible_port=23\n", 2, "ansible_port says another port"),
    ("[web]\na\n[web:vars]\nx\n", 4, "variables of a group are NAME=VALUE"),
    ("[web]\na\n[wbe:vars]\nx=1\n", 3, "[wbe:vars]: no group is called wbe; did you mean web?"),
    ("[web]\na\n[eu:children]\nwbe\n", 4, "[eu:children]: no group is called wbe; did you mean web?"),
    ("[web]\na\n[eu:children]\nweb x\n", 4, "one group a line"),
    ("[web]\na\n[a:children]\nb\n[b:children]\nc\n[c:children]\na\n", 8, "a group is part of itself: a > b > c > a"),
    ("[a:children]\na\n[a]\nx\n", 2, "a group is part of itself: a > a"),
    ("[web]\na\n[web:children]\nall\n", 4, "group web: all can't be below another group"),
    ("[last]\na\n", 1, "group 'last': is taken: @last is the last run"),
    ("[we/b]\na ansible_port=22\n", 1, "group 'we/b': letters, digits"),
    ("[web]\na hostler_slot=3\n", 2, "unknown variable 'hostler_slot'; there are hostler_python"),
    ("[web]\n", None, "names no hosts"),
    ("[web]\na ansible_ssh_private_key_file=~nobody-of-that-name/k\n", 2, "nobody's home folder"),
    ("[web]\na\n[web:vars]\nansible_group_priority=high\n", 4, "must be a whole number"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "why"), BAD_INI)
def test_a_bad_ini_is_refused_with_its_line(write, text: str, line: int | None, why: str) -> None:
    path = write("hosts", text)
    with pytest.raises(SpecError) as caught:
        load_inventory([path])
    assert why in str(caught.value) and caught.value.line == line and caught.value.path == str(path)
    assert "\n" not in str(caught.value)


BAD_YAML = [
    ("all:\n  hosts: [a, b]", 2, "group all: hosts must be a mapping, this is a list"),
    ("all:\n  hsots: {a: }", 2, "group all: unknown key 'hsots'; did you mean 'hosts'?"),
    ("web:\n  hosts: {a: }\n  children:\n    old: {vras: {}}", 4, "unknown key 'vras'; did you mean 'vars'?"),
    ("all:\n  hosts:\n    a: text", 3, "host a must be a mapping, this is a text"),
    ("all:\n  hosts:\n    a: {ansible_port: [22]}", 3, "host a: ansible_port must be a text"),
    ("all:\n  hosts: {a: }\n  vars: [x]", 3, "group all: vars must be a mapping, this is a list"),
    ("all: {hosts: {a: {p: !unsafe x}}}", 1, "tags such as !unsafe are not used here"),
    ("all: {hosts: {a: {p: !vault [x]}}}", 1, "tags such as !vault are not used here"),
    ("hosts: {a: {vars: {p: !vault x}}}", 1, "tags such as !vault are not used here"),
    ("plugin: aws_ec2\nregions: [us-east-1]", 1, "names a plugin of Ansible"),
    ("all: {children: {a: {children: {b: {children: {a: {hosts: {x: }}}}}}}}", 1, "part of itself: a > b > a"),
    ("web: {hosts: {a: }}\nhosts: {b: }", 1, "an inventory: unknown key 'web'"),
    ("all: {hosts: {'ann@a': }}", 1, "a user is said by ansible_user=ann"),
    ("all: {hosts: {a: {ansible_user: \"x\\0y\"}}}", 1, "not a text that a host could be given"),
    ("all: ", None, "names no hosts"),
    ("all: text", 1, "group all must be a mapping, this is a text"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "why"), BAD_YAML)
def test_a_bad_yaml_is_refused_with_its_line(write, text: str, line: int | None, why: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_inventory([write("hosts.yaml", text)])
    assert why in str(caught.value) and caught.value.line == line


BAD_JSON = [
    ("{", "not JSON: "),
    ("{}", "names no hosts"),
    ("[1]", "a list of hosts must be an object"),
    ('{"web": {"hosts": "a"}}', "group web: hosts must be a list of names"),
    (
        '{"web": {"hosts": {"a": {"x": 1}}}}',
        "list of names; a mapping is the form of Ansible's YAML: call the file .yaml",
    ),
    ('{"web": {"hosts": ["a", 1]}}', "group web: hosts must be a list of names"),
    ('{"web": ["a b"]}', "group web: host 'a b': letters"),
    ('{"web": ["a[1:2]"]}', "group web: host 'a[1:2]': one name, no set of names"),
    ('{"web": ["-oX"]}', "group web: host '-oX': letters"),
    ('{"web": ["a"], "web": ["b"]}', "'web' stands twice in one object"),
    ('{"web": ["a"], "_meta": []}', "_meta must be an object"),
    ('{"web": ["a"], "_meta": {"hostvars": {"a": 1}}}', "_meta.hostvars of a must be an object"),
    ('{"web": ["a"], "_meta": {"hostvars": {"a": {"ansible_user": "\\ud800"}}}}', "not a text that a host"),
    ('{"a": {"children": ["b"]}, "b": {"children": ["a"], "hosts": ["x"]}}', "part of itself: a > b > a"),
    (
        '{"hosts": {"a": {}}}',
        "unknown key 'a'; there are hosts, children, vars; hostler's own inventories are YAML",
    ),
    ("[" * 100_000, "not JSON that can be used: nested too deeply"),
    ('{"web": ["a"], "n": ' + "9" * 5000 + "}", "not JSON that can be used: "),
]


@pytest.mark.parametrize(("text", "why"), BAD_JSON)
def test_a_bad_json_is_refused_in_one_line(write, text: str, why: str) -> None:
    path = write("hosts.json", text)
    with pytest.raises(SpecError) as caught:
        load_inventory([path])
    assert (
        why in str(caught.value) and str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    )


def test_a_hundred_thousand_groups_within_each_other_are_refused_or_read_without_hanging(write) -> None:
    chain = "".join(f"[g{n}:children]\ng{n + 1}\n" for n in range(20_000))
    path = write("hosts", chain + "[g20000]\n" + "".join(f"h{n}\n" for n in range(1_000)))
    with pytest.raises(SpecError, match="hold more than 3,000,000 hosts, added up"):
        load_inventory([path])
