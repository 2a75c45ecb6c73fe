"""Which form an inventory has, told by what stands in it, and the sheet that its reader makes of it.

What has no form that is known here is refused by the reader of the nearest one, with the line. It must never guess
between two forms: each has something that no other may hold.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from hostler.errors import SpecError
from hostler.manifests.facts import Sheet
from hostler.manifests.plain import plain_sheet, read_plain_terms
from hostler.manifests.texts import read_text

if TYPE_CHECKING:
    from hostler.manifests.trees import Node

YAML = (".yaml", ".yml")
JSON = ".json"
#: What a YAML document begins with and no list of hosts does: a mark, or a key.
_YAML = re.compile(r"\s*(?:#[^\n]*\n\s*)*(?:---\s|[A-Za-z_][\w.-]*:(?:\s|\Z))")
#: The top of hostler's own form.
OWN = ("hosts", "groups", "defaults")
#: The tag of what only Ansible can decrypt.
VAULT = "!vault"
#: Where Ansible looks for more variables, beside an inventory.
BESIDE = ("group_vars", "host_vars")


def read_source(source: str | Path, *, no_programs: str = "") -> Sheet:
    """What one inventory says: a file of any form, a program, or `ssh:` for the user's SSH configuration.

    `no_programs` is why none may be run, where none may. Raises SpecError with file and line.
    """
    from hostler.manifests import programs
    from hostler.manifests.sshnames import WORD, ssh_sheet

    if str(source) == WORD:
        return ssh_sheet()
    path = Path(source)
    if "," in path.name and not path.exists():
        raise SpecError(str(path), None, "no such file; hosts themselves are named with --hosts")
    if programs.is_program(path):
        if no_programs:
            raise SpecError(str(path), None, f"is a program, and is not run: {no_programs}")
        return _beside(path, _listed(path, programs.run_program(path), whole=True))
    text = read_text(path)
    if text.startswith("#!"):
        raise SpecError(str(path), 1, "begins as a program does and may not be executed: chmod u+x it")
    if path.suffix.lower() in YAML or (path.suffix.lower() != JSON and _YAML.match(text)):
        return _of_tree(path, text)
    if path.suffix.lower() == JSON or text.lstrip().startswith("{"):
        return _beside(path, _listed(path, text, whole=False))
    from hostler.manifests.ansible.ini import ini_sheet, is_ini

    if is_ini(text):
        return _beside(path, ini_sheet(str(path), text))
    return plain_sheet(str(path), read_plain_terms(str(path), text))


def refuse_other_forms(path: Path, text: str) -> None:
    """Refuse as a plain list what is an inventory of another form. Raises SpecError."""
    from hostler.manifests.ansible.ini import is_ini

    if path.suffix.lower() in YAML or _YAML.match(text):
        raise SpecError(str(path), None, "a YAML inventory is given with -i; a host file is a plain list")
    if text.lstrip().startswith("{") or is_ini(text):
        raise SpecError(str(path), None, "an Ansible inventory is given with -i; a host file is a plain list")


def _listed(path: Path, text: str, *, whole: bool) -> Sheet:
    from hostler.manifests.ansible.listing import json_sheet

    return json_sheet(str(path), text, whole=whole)


def _of_tree(path: Path, text: str) -> Sheet:
    from hostler.manifests.trees import read_tree

    try:
        root = read_tree(str(path), text)
    except SpecError:
        if VAULT not in text:
            raise
        root = read_tree(str(path), text, sealed=VAULT)
        if not _is_ansible(root):
            raise
    if _is_ansible(root):
        from hostler.manifests.ansible.yamls import yaml_sheet

        return _beside(path, yaml_sheet(str(path), root))
    from hostler.manifests.loom import is_node, loom_sheet

    others = _others(root)
    if others and any(map(is_node, others)):
        return loom_sheet(str(path), root)
    from hostler.manifests.sheets import read_sheet

    return read_sheet(path, root)


def _is_ansible(root: Node) -> bool:
    from hostler.manifests.ansible.yamls import is_group

    top = root.value if isinstance(root.value, dict) else {}
    return "all" in top or "plugin" in top or any(map(is_group, _others(root)))


def _others(root: Node) -> list[Node]:
    """What stands at the top of a document that has nothing of hostler's own form there."""
    top = root.value if isinstance(root.value, dict) else {}
    return [] if any(key in OWN for key in top) else [node for _, node in top.values()]


def _beside(path: Path, sheet: Sheet) -> Sheet:
    """An Ansible inventory's sheet, with a word about variables that Ansible would read from elsewhere."""
    from msgspec.structs import replace

    found = [name for name in BESIDE if (path.parent / name).is_dir()]
    if not found:
        return sheet
    told = f"{path}: {' and '.join(found)} beside it {'is' if len(found) == 1 else 'are'} not read; "
    told += "ansible-inventory --list tells all variables in one file"
    return replace(sheet, remarks=(*sheet.remarks, told))
