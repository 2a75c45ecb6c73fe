"""A file's bytes as text, or one line that says why not. It must never read more than it was asked to."""

from __future__ import annotations

from pathlib import Path

from hostler.errors import SpecError

LARGEST = 8 << 20


def read_text(path: Path, *, largest: int = LARGEST) -> str:
    """The text of a file (or pipe) of at most `largest` bytes; a byte order mark is dropped.

    Raises SpecError when it is missing, a folder, too large, binary or not UTF-8.
    """
    name = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(largest + 1)
    except FileNotFoundError:
        raise SpecError(name, None, "no such file") from None
    except IsADirectoryError:
        raise SpecError(name, None, "is a folder, not a file") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SpecError(name, None, f"can't be read: {why}") from None
    if len(data) > largest:
        raise SpecError(name, None, f"is larger than {largest >> 20} MiB")
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise SpecError(name, line, "holds a NUL byte: this is not a text file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = data.count(b"\n", 0, wrong.start) + 1
        raise SpecError(name, line, f"byte 0x{data[wrong.start]:02x} is not UTF-8") from None
