"""Writes the tables of docs/settings.md from the commands and variables themselves, so that they can't drift apart.

`python tools/settings_doc.py` writes them; with --check it only says whether they are as they should be. It must never
touch the words around them.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from hostler.cli.settling import tree
from hostler.settings.variables import FIXED

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"


def guarded() -> str:
    """The flags that a project's file may not set; one that most verbs have is told once."""
    named = [
        (" ".join(words), field.key, field.names)
        for words, fields in tree().items()
        for field in fields.values()
        if field.names and not field.never
    ]
    count = Counter(key for _, key, _ in named)
    told = dict.fromkeys(
        (f"--{key}` of every verb that has it" if count[key] > 3 else f"{verb} --{key}`", names)
        for verb, key, names in named
    )
    return "\n".join(["| flag | names |", "|---|---|", *(f"| `{flag} | {names} |" for flag, names in told)])


def variables() -> str:
    """The variables that no flag stands for."""
    return "\n".join(
        ["| variable | is |", "|---|---|", *(f"| `{name}` | {about} |" for name, about in FIXED.items())]
    )


def page() -> str:
    """The page with its tables as they should be."""
    text = PAGE.read_text(encoding="utf-8")
    for mark, table in (("tools/settings_doc.py", guarded()), ("variables", variables())):
        before, begin, rest = text.partition(f"<!-- begin: {mark} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        text = f"{before}{begin}{table}\n{end}{after}"
    return text


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if page() == PAGE.read_text(encoding="utf-8") else 1)
    PAGE.write_text(page(), encoding="utf-8")
