"""Files that only grow, to which a kill at any instant makes no difference: nothing is there twice, nothing is missing.

Before pages are appended, they are noted in one file beside them, with the length that each file had and how far they
go in whoever's terms; so the next to come can tell what arrived, and adds the rest. It holds no file open. It must
never shorten a file, or who follows it would be told everything again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hostler.errors import StoreError

#: Beside the files: what was to be appended last.
NOTED = ".written"
#: What changes when the machine is started: after a power cut nobody knows what of the files reached the disk.
BOOT = Path("/proc/sys/kernel/random/boot_id")
#: Folders that are set aside at most.
ASIDE = 1000

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Appending:
    """Private files in `folder`, which is made when it is needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def recover(self) -> Any:
        """Complete what was being appended; what was noted with it, None where nothing is known of the folder.

        A folder with files that nothing is known of is set aside, as NAME.1 and so on. Raises OSError, StoreError.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        found = self._noted()
        if found is None:
            if any(self._folder.iterdir()):
                self._set_aside()
            return None
        pages, noted = found
        for name, (size, text) in pages.items():
            there = self._size(name)
            self._add(name, text if there < size else text[there - size :])
        return noted

    def append(self, pages: Mapping[str, bytes | bytearray], noted: object) -> None:
        """Append a page to each of these files; `noted`, a JSON value, holds from now on. Raises OSError."""
        record = {
            "boot": _boot(),
            "pages": {name: (self._size(name), text.decode("latin-1")) for name, text in pages.items()},
            "noted": noted,
        }
        fresh = self._folder / f"{NOTED}.new"
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(record), encoding="ascii")
        fresh.replace(self._folder / NOTED)
        for name, text in pages.items():
            self._add(name, text)

    def within_line(self, name: str) -> bool:
        """Whether a file ends in the middle of a line."""
        try:
            fd = os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            size = os.fstat(fd).st_size
            return size > 0 and os.pread(fd, 1, size - 1) != b"\n"
        finally:
            os.close(fd)

    def _noted(self) -> tuple[dict[str, tuple[int, bytes]], Any] | None:
        """What was to be appended last, and what was noted with it; None where that can't be told or relied on."""
        try:
            found = json.loads((self._folder / NOTED).read_bytes())
            pages = {
                str(name): (int(size), text.encode("latin-1"))
                for name, (size, text) in found["pages"].items()
                if "/" not in name
            }
            if found["boot"] != _boot() or not isinstance(found["noted"], dict):
                return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        for name, (size, text) in pages.items():
            there = self._size(name)
            # One that is gone was taken away by somebody, and begins anew.
            if there and not size <= there <= size + len(text):
                return None
        return pages, found["noted"]

    def _size(self, name: str) -> int:
        try:
            return (self._folder / name).stat().st_size
        except FileNotFoundError:
            return 0

    def _add(self, name: str, text: bytes | bytearray) -> None:
        if not text:
            return
        fd = os.open(self._folder / name, _APPEND, 0o600)
        try:
            left = memoryview(text)
            while left:
                left = left[os.write(fd, left) :]
        finally:
            os.close(fd)

    def _set_aside(self) -> None:
        for number in range(1, ASIDE):
            place = self._folder.with_name(f"{self._folder.name}.{number}")
            if not place.exists():
                self._folder.rename(place)
                self._folder.mkdir(mode=0o700)
                return
        raise StoreError(f"{self._folder}: {ASIDE} older ones lie beside it; remove some")


def _boot() -> str:
    try:
        return BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""
