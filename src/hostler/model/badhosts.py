"""How many hosts may go bad before a run is not worth going on with: `--max-bad-hosts 3`, `--max-bad-hosts 10%`.

It must never say which hosts are bad, only how many are too many.
"""

from __future__ import annotations

from msgspec import Struct

from hostler.errors import UsageError


class BadHosts(Struct, frozen=True):
    """So many hosts may be bad, or with `percent` such a part of all."""

    most: float
    percent: bool

    @classmethod
    def parse(cls, text: str) -> BadHosts:
        """Read `N` or `N%`. Raises UsageError.

        >>> BadHosts.parse("10%")
        BadHosts(most=10.0, percent=True)
        """
        number = text.removesuffix("%")
        percent = number != text
        if not (number.isascii() and number.isdigit() and len(number) < 6) or (percent and int(number) > 100):
            raise UsageError(f"{text!r}: write how many hosts may be bad, or which part of them: 3 or 10%")
        return cls(float(number), percent)

    def exceeded(self, bad: int, *, hosts: int) -> bool:
        """Whether `bad` of so many hosts are too many.

        >>> BadHosts.parse("0").exceeded(1, hosts=9), BadHosts.parse("50%").exceeded(1, hosts=2)
        (True, False)
        """
        return bad * 100 > self.most * hosts if self.percent else bad > self.most

    def __str__(self) -> str:
        return f"{self.most:g}" + ("%" if self.percent else "")
