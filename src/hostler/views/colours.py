"""Whether to use colours, by the habits that people's terminals already know. It must never ask a terminal anything."""

from __future__ import annotations

from collections.abc import Mapping


def wanted(choice: str, *, terminal: bool, environ: Mapping[str, str]) -> bool:
    """Whether to use colours on a stream: `choice` is auto, always or never; `terminal` whether one is at its end.

    NO_COLOR (https://no-color.org) and TERM=dumb say no, CLICOLOR_FORCE says yes; what was chosen by hand wins.

    >>> wanted("auto", terminal=True, environ={"NO_COLOR": "1"}), wanted("auto", terminal=True, environ={})
    (False, True)
    """
    if choice != "auto":
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("CLICOLOR_FORCE", "0") != "0":
        return True
    return terminal and environ.get("TERM") != "dumb"
