"""Whether a file could be somebody else's word: asked of what decides or is executed by being there.

It must never be the place that refuses: it says why there is doubt, and whoever asks knows what to do about it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path


def doubt(found: os.stat_result, path: Path, *, owners: Collection[int]) -> str:
    """Why a file may be somebody else's word, and what to do about it; empty when it is one of the `owners`' alone.

    `found` is what the open file says of itself. The folders around it, where it is named and where it really is,
    must be ours or root's.
    """
    if not stat.S_ISREG(found.st_mode):
        return "it is no ordinary file: remove it"
    if found.st_uid not in owners:
        return f"it belongs to user {found.st_uid} and not to you: make it yours, remove it"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others can write to it (mode {stat.S_IMODE(found.st_mode):o}): chmod go-w it"
    for folder in _chain(path):
        try:
            above = os.stat(folder)
        except OSError as error:
            return f"{folder} can't be looked at ({error.strerror}): mend that"
        if above.st_uid not in (os.geteuid(), 0):
            return f"the folder {folder} belongs to user {above.st_uid}: move it"
        # In a folder like /tmp others can add files, but not replace ours.
        if above.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not above.st_mode & stat.S_ISVTX:
            return f"others can write to the folder {folder} (mode {stat.S_IMODE(above.st_mode):o}): chmod go-w that"
    return ""


def _chain(path: Path) -> Iterator[Path]:
    """The folders around a file, up to the root: those where it is named, and those where it really is."""
    named = Path(os.path.abspath(path))
    seen = dict.fromkeys(
        [*Path(os.path.realpath(named.parent), named.name).parents, *Path(os.path.realpath(path)).parents]
    )
    yield from seen
