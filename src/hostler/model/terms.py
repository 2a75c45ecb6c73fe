"""The grammar of targets: one text into terms and the signs between them.

What a term means (which hosts) is decided in selectors; here it is only read, and every complaint knows its
column. Nothing here opens a file or looks up a run: `^FILE` and `@last:failed` become values that say so.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address

from msgspec import Struct

from hostler.model.hosts import USER
from hostler.model.nodesets import LIMIT, Pattern, Unreadable, read_pattern

TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
#: What can be asked of an earlier run's hosts; `failed` is every one with an ending that isn't `ok`.
RESULT_STATES = (
    "all", "ok", "failed", "exit", "signal", "timeout", "lost", "interrupted", "unreachable", "refused",
    "staging-failed", "output-limit", "cancelled", "kill-failed",
)  # fmt: skip
_RESULT = re.compile(r"(last|run/([0-9]{1,18}))(?::(.*))?", re.DOTALL)
_OUT = re.compile(r'out~"((?:[^"\\]|\\.)*)"', re.DOTALL)
_PORT = re.compile(r"[0-9]{1,5}")
_BLANKS = re.compile(r"\s*")
_SIGN = re.compile(r"(&\s*!|[,&!^])")


class Names(Struct, frozen=True):
    """Hosts called by name, or by address when no such name is known."""

    pattern: Pattern


class Tag(Struct, frozen=True):
    """Every host that carries a tag, or belongs to a group."""

    tag: str


class Everything(Struct, frozen=True):
    """Every host of the inventory."""


class HostFile(Struct, frozen=True):
    """The hosts that a file names: `^` and a path, which is all the rest of the text, signs and blanks too."""

    path: str


class ResultSet(Struct, frozen=True):
    """The hosts of an earlier run that came to some result.

    `run` is a run's number, or "last"; `state` one of RESULT_STATES; `out`, where not None, is text that the
    host's output must hold.
    """

    run: str
    state: str = "all"
    out: str | None = None


class Term(Struct, frozen=True, kw_only=True):
    """One atom of a target text with the user and port bound to it; `sign` is what stands before it.

    `column` counts from 1, `sign` is one of `,` `&` `!` `^` (the first term's is `,`).
    """

    sign: str
    atom: Names | Tag | Everything | HostFile | ResultSet
    text: str
    column: int
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        """The term as it was typed, or its beginning, on one line whatever stands in its quotes."""
        shown = self.text if len(self.text) <= 200 else f"{self.text[:200]}…"
        return shown if shown.isprintable() else repr(shown)


def read_terms(text: str) -> tuple[Term, ...]:
    """Read a target text, left to right.

    Raises Unreadable.

    >>> [(term.sign, term.text) for term in read_terms("root@web[1-3] &! @old")]
    [(',', 'root@web[1-3]'), ('!', '@old')]
    """
    terms: list[Term] = []
    at, sign, count = _blanks(text, 0), ",", 0
    if at == len(text):
        raise Unreadable(0, "no target is given")
    while True:
        term, at = _file(text, at) if not terms and text[at] == "^" else _term(text, at, sign)
        count += len(term.atom.pattern) if isinstance(term.atom, Names) else 0
        if count > LIMIT:
            raise Unreadable(term.column - 1, f"more than {LIMIT:,} hosts are named")
        terms.append(term)
        at = _blanks(text, at)
        if at == len(text):
            return tuple(terms)
        found = _SIGN.match(text, at)
        if not found:
            raise Unreadable(at, f"expected one of , & ! ^ before {text[at : at + 20]!r}")
        sign, after = found.group()[-1], found.group()
        at = _blanks(text, found.end())
        if at == len(text) or _SIGN.match(text, at):
            raise Unreadable(at, f"expected a name after {after!r}")


def _blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    return found.end() if found else at


def _file(text: str, at: int) -> tuple[Term, int]:
    path = text[at + 1 :]
    if not path.strip():
        raise Unreadable(at + 1, "expected a file's name after '^'")
    return Term(sign=",", atom=HostFile(path), text="^" + path, column=at + 1), len(text)


def _term(text: str, at: int, sign: str) -> tuple[Term, int]:
    if _SIGN.match(text, at):
        hint = "; write all!NAME to leave some out" if text[at] == "!" else ""
        raise Unreadable(at, f"expected a name before {text[at]!r}{hint}")
    end = _word_end(text, at)
    word = text[at:end]
    user, start = None, 0
    if not word.startswith("@"):
        split = word.find("@@") if "@@" in word else word.rfind("@")
        if split >= 0:
            user, start = word[:split], split + 1
            if not USER.match(user):
                raise Unreadable(at, f"{user!r} is not a login name")
    try:
        atom, port = _atom(word[start:])
    except Unreadable as wrong:
        raise Unreadable(at + start + wrong.at, wrong.why) from None
    return Term(sign=sign, atom=atom, text=word, column=at + 1, user=user, port=port), end


def _word_end(text: str, start: int) -> int:
    """Where the word ends that begins at `start`: at a sign or blank outside brackets and quotes."""
    at, bracket = start, -1
    while at < len(text):
        sign = text[at]
        if sign == '"':
            closing = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL).match(text, at)
            if not closing:
                raise Unreadable(at, "the quote is not closed")
            at = closing.end()
            continue
        if sign == "[" and bracket < 0:
            bracket = at
        elif sign == "]":
            bracket = -1
        elif sign.isspace() or (sign in ",&!^" and (bracket < 0 or sign != ",")):
            break
        at += 1
    if bracket >= 0:
        raise Unreadable(bracket, "'[' is not closed")
    return at


def _atom(word: str) -> tuple[Names | Tag | Everything | ResultSet, int | None]:
    if not word:
        raise Unreadable(0, "expected a name after '@'")
    if word.startswith("@"):
        return _tag(word)
    end = word.find("]")
    if word.startswith("[") and word.count(":", 0, end) >= 2 and word[end + 1 : end + 2] in ("", ":"):
        return Names(Pattern((_v6(word[1:end], 1),))), _port(word, end + 1)
    if word.count(":") - word.count(":", word.find("["), word.rfind("]")) >= 2:
        return Names(Pattern((_v6(word, 0),))), None
    colon = word.find(":", word.rfind("]") + 1)
    name = word if colon < 0 else word[:colon]
    port = None if colon < 0 else _port(word, colon)
    return (Everything() if name == "all" else Names(read_pattern(name))), port


def _tag(word: str) -> tuple[Tag | ResultSet, int | None]:
    if earlier := _RESULT.fullmatch(word, 1):
        run, state = earlier.group(2) or "last", earlier.group(3)
        if state is None:
            return ResultSet(run), None
        if holds := _OUT.fullmatch(state):
            return ResultSet(run, out=re.sub(r"\\(.)", r"\1", holds.group(1), flags=re.DOTALL)), None
        if state not in RESULT_STATES:
            known = ", ".join(RESULT_STATES)
            raise Unreadable(earlier.start(3), f'{state!r} is no result: one of {known}, or out~"TEXT"')
        return ResultSet(run, state), None
    found = TAG.match(word, 1)
    if not found or (found.end() < len(word) and word[found.end()] != ":"):
        at = found.end() if found else 1
        hint = "; every host is all" if word.startswith("@*") else ""
        raise Unreadable(at, f"{word!r} is not a tag: letters, digits and . _ - after the @{hint}")
    return Tag(found.group()), _port(word, found.end())


def _port(word: str, at: int) -> int | None:
    """The port in what follows a name, `:22` or nothing."""
    if at == len(word):
        return None
    found = _PORT.fullmatch(word, at + 1)
    if word[at] != ":" or not found or not 1 <= int(found.group()) <= 65535:
        hint = "; names are joined by , & ! ^" if word[at:] == ":" else ""
        raise Unreadable(at, f"{word[at:]!r} is not a port: write :1 to :65535{hint}")
    return int(found.group())


def _v6(address: str, at: int) -> str:
    try:
        IPv6Address(address)
    except ValueError:
        hint = "; an IPv6 address with a port is written [ADDRESS]:PORT"
        raise Unreadable(at, f"{address!r} is not an IPv6 address{hint}") from None
    return address
