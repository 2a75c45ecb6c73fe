"""A terminal of which one sees what a person would: rows that wrap and scroll, and what scrolled away."""

from __future__ import annotations

import re

from hostler.views.text import columns

_PARTS = re.compile(rb"\x1b\[([0-9;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]+")


class Glass:
    """A window of so many columns and rows; understands what the live lines are drawn with, and nothing else."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.lines: list[str] = [""]
        self.top = 0
        self.row = self.column = 0

    def feed(self, data: bytes) -> None:
        """Take what a program has written; line ends as a cooked terminal makes them."""
        for found in _PARTS.finditer(data.replace(b"\r\n", b"\n")):
            text = found[0]
            if text == b"\r":
                self.column = 0
            elif text == b"\n":
                self._down()
                self.column = 0
            elif text.startswith(b"\x1b"):
                self._command(found[1], found[2])
            else:
                self._write(text.decode(errors="replace"))

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")
        self.top = max(self.top, self.row - self.height + 1)

    def _write(self, text: str) -> None:
        for character in text:
            if self.column + columns(character) > self.width:
                self._down()
                self.column = 0
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += columns(character)

    def _command(self, number: bytes, letter: bytes) -> None:
        if letter == b"A":
            self.row = max(self.top, self.row - int(number or b"1"))
        elif letter in (b"K", b"J"):
            self.lines[self.row] = self.lines[self.row][: self.column]
            if letter == b"J":
                del self.lines[self.row + 1 :]
        else:
            assert letter == b"m", letter

    def narrower(self, width: int) -> None:
        """Break every line anew, as terminals do; the cursor stays behind the last character."""
        self.width = width
        broken = []
        for line in self.lines:
            broken += [line[at : at + width] for at in range(0, len(line), width)] or [""]
        self.lines, self.row, self.column = broken, len(broken) - 1, len(broken[-1])
        self.top = max(0, len(broken) - self.height)

    @property
    def screen(self) -> list[str]:
        """What can be seen now."""
        return [line.rstrip() for line in self.lines[self.top :]]

    @property
    def all(self) -> list[str]:
        """What can be seen, and what can be scrolled back to."""
        return [line.rstrip() for line in self.lines]
