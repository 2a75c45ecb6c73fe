"""What oneshot.sh said about a command's end, and what that makes of it. Pure.

It must never believe the form of what a host says: what isn't understood is as good as not said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from hostler.links.decode import words
from hostler.model.jobs import Ending

#: Exit codes of the shells that listened or counted, when they ended the command.
ASKED, LATE, ALONE = b"10", b"11", b"12"
_CODE = re.compile(rb"c ([0-9]{1,3})( s)?")


class Told(Struct, frozen=True, kw_only=True):
    """`code` as sh gave it and whether it said that a signal it was; who `ended` the command; what is `left` of it.

    `unset` is why it could not be set up.
    """

    code: int = 0
    signalled: bool = False
    unset: str | None = None
    ended: frozenset[bytes] = frozenset()
    left: str = ""

    @classmethod
    def of(cls, said: Sequence[bytes]) -> Told | None:
        """What was said, None when it was not all.

        >>> Told.of([b"b", b"c 143 s", b"e 10"]).ended
        frozenset({b'10'})
        """
        if not said or said[-1][:1] != b"e":
            return None
        ended = frozenset(said[-1].split()[1:])
        left = b" ".join(line[1:].strip() for line in said if line[:1] == b"l")
        shown = " ".join(word.decode() for word in left.split()[:50] if word.isdigit())
        unset = next((line[1:].strip() for line in said if line[:1] == b"x"), None)
        if unset is not None:
            return cls(unset=words(unset)[:300], ended=ended, left=shown)
        found = next((match for line in said if (match := _CODE.fullmatch(line))), None)
        if found is None:
            return None
        return cls(code=int(found[1]), signalled=bool(found[2]), ended=ended, left=shown)


def end_of(told: Told, asked: Ending | None) -> tuple[Ending, int | None, int | None, str]:
    """The ending, with exit code or signal, and words about it; `asked` is what we wanted a kill to be.

    >>> end_of(Told(code=137, signalled=True), None), end_of(Told(code=137), None)
    ((<Ending.SIGNAL: 'signal'>, None, 9, ''), (<Ending.EXIT: 'exit'>, 137, None, ''))
    """
    code: int | None = told.code
    signal = None
    if told.code > 128 and (told.signalled or told.code > 255):
        code, signal = None, told.code & 127
    if told.left:
        return Ending.KILL_FAILED, code, signal, f"still alive: pid {told.left}"
    if told.unset is not None:
        return Ending.STAGING_FAILED, None, None, told.unset
    if told.ended & {ASKED, ALONE}:
        return asked or Ending.INTERRUPTED, code, signal, ""
    if LATE in told.ended:
        return Ending.TIMEOUT, code, signal, ""
    if signal is not None:
        return Ending.SIGNAL, code, signal, ""
    return (Ending.EXIT if code else Ending.OK), code, None, ""
