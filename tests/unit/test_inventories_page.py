"""docs/inventories.md: its examples are read as it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hostler.errors import SpecError
from hostler.manifests import load_inventory, read_hostfile
from hostler.manifests.ansible.variables import ARGUMENTS, FIELDS, OWN
from hostler.manifests.sheets import HOST_KEYS
from hostler.model.terms import RESULT_STATES

PAGE = (Path(__file__).parents[2] / "docs" / "inventories.md").read_text()
EXAMPLES = dict(re.findall(r"<!-- example: (\S+) -->\n```\w*\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, text in EXAMPLES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_example_of_a_fleet_is_what_its_comments_say(files: Path) -> None:
    fleet = load_inventory([files / "fleet.yaml"])
    assert len(fleet) == 24
    web1, router, db2 = (fleet.get(name) for name in ("web01", "router", "db2"))
    assert web1 and router and db2
    assert (web1.user, web1.jump) == ("deploy", "gate.example.com") and web1.tags == {"web", "eu"}
    assert (router.user, dict(router.vars)) == ("admin", {"python": "none", "spool": "/var/tmp"})
    assert (db2.endpoint, db2.slots, db2.jump) == ("deploy@10.0.0.9:2222", 2, None)
    assert [host.name for host in fleet.tagged("spare")] == [f"web{n}" for n in range(11, 21)]


def test_a_second_file_is_laid_over_the_first_as_the_page_says(files: Path) -> None:
    fleet = load_inventory([files / "fleet.yaml", files / "site.yaml"])
    web1, web21 = fleet.get("web01"), fleet.get("web21")
    assert web1 and web21
    assert (web1.endpoint, web21.endpoint) == ("deploy@web01:2200", "web21")
    assert [host.name for host in fleet.tagged("night")] == ["db1", "db2"]


def test_the_list_is_an_inventory_and_a_host_file(files: Path) -> None:
    hosts = [host.endpoint for host in load_inventory([files / "hosts.txt"])]
    assert hosts == ["root@box1:2222", "root@box2:2222", "root@box3:2222", "db1", "[fe80::1]:22"]
    assert len(read_hostfile(files / "hosts.txt").terms) == 3


def test_every_key_of_a_host_is_on_the_page() -> None:
    assert [key for key in HOST_KEYS if f"`{key}`" not in PAGE] == []


@pytest.mark.parametrize("word", ["python", "spool", "shell", "transport"])
def test_a_variable_that_stands_beside_the_fields_is_told_where_it_belongs(tmp_path: Path, word: str) -> None:
    path = tmp_path / "h.yaml"
    path.write_text(f"hosts:\n  a:\n    {word}: none\n")
    with pytest.raises(SpecError, match=rf"h\.yaml:3: host a: '{word}' is a variable: write it below vars"):
        load_inventory([path])


def test_the_example_in_ansibles_form_is_what_the_page_says(files: Path) -> None:
    hosts = load_inventory([files / "hosts.ini"])
    assert len(hosts) == 24 and len(hosts.tagged("eu")) == len(hosts.tagged("web")) == 23
    www, db, lonely = (hosts.get(name) for name in ("www07.example.com", "db-c", "lonely"))
    assert www and db and lonely
    assert (www.endpoint, www.jump) == ("deploy@www07.example.com", "gate.example.com")
    assert (db.endpoint, dict(db.vars)) == ("db-c:2222", {"zone": "eu west", "python": "/usr/bin/python3.11"})
    assert (lonely.endpoint, lonely.jump, lonely.vars) == ("10.0.0.7", None, ())


def test_the_example_of_looms_nodes_is_read(files: Path) -> None:
    assert [host.endpoint for host in load_inventory([files / "nodes.yaml"])] == [
        "root@192.168.1.10",
        "mysql@db1",
    ]


def test_every_variable_that_is_read_and_every_result_is_on_the_page() -> None:
    for name in (*FIELDS, *ARGUMENTS, *(f"hostler_{each}" for each in OWN)):
        told = name.replace("ansible_ssh_host", "ansible_ssh_…").replace(
            "ansible_private_key", "ansible_ssh_private_key"
        )
        told = {"ansible_ssh_user": "ansible_ssh_…", "ansible_ssh_port": "ansible_ssh_…"}.get(told, told)
        assert told.replace("ansible_ssh_extra_args", "…_extra_args") in PAGE, name
    assert [state for state in RESULT_STATES if f"`{state}`" not in PAGE and state != "all"] == []
