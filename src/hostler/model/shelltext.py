"""Shell text written by a user, with holes in it that other people's bytes will fill.

Where a hole stands decides how it may be filled: between words, inside double quotes and inside single quotes
each need something else, and in a few places (backquotes, here-documents, `${…}`) nothing is safe. This module
reads the text only as far as that takes. It must never let a value be more than data: in doubt it refuses.
`shell.quoting` gives `quote` to everybody else; it lives here because templates stand below it.
"""

from __future__ import annotations

import re

from msgspec import Struct

from hostler.errors import UsageError

#: {} {1} {raw} {#} {%}, and parts of a path: {.} {/} {//} {/.} {1/.}. What a shell reads itself, ${1}, is none.
HOLE = re.compile(rb"\{(raw|(?<!\$\{)(?:#|%|[1-9][0-9]?(?:\.|//|/\.|/)?)|(?:\.|//|/\.|/)?)\}")
_HEREDOC = re.compile(rb"<<<|<<")
_CASE = re.compile(rb"case[ \t\n]")
_CUT = re.compile(rb"[A-Za-z0-9_$<]")
_COMMENT = re.compile(rb"#[^\n]*")
_INSIDE = {
    "d": "double quotes", "s": "single quotes", "a": "$'…'", "b": "${…}", "N": "((…))", "n": "((…))", "q": "backquotes",
    "p": "brackets",
}  # fmt: skip


def quote(word: bytes) -> bytes:
    """Make of any bytes one word of a POSIX shell that means exactly them.

    Always in quotes, so that what stands beside it can't change its meaning (`echo {}>f`, `~{}`).
    Raises UsageError on NUL, which no argument can hold.

    >>> quote(b"it's $HOME")
    b"'it'\\\\''s $HOME'"
    """
    if b"\0" in word:
        raise UsageError(f"{word[:40]!r}: an argument can't hold a NUL byte")
    return b"'" + word.replace(b"'", b"'\\''") + b"'"


class Hole(Struct, frozen=True):
    """A `{}`, `{raw}`, `{#}` or `{1}` in shell text: `name` is what stands between the braces.

    `around` is the quote that it stands in (b'"', b"'") or empty; `unsafe` says why no quoting helps there.
    """

    start: int
    end: int
    name: bytes
    around: bytes
    unsafe: str


def read_holes(text: bytes) -> tuple[tuple[Hole, ...], str]:
    """Find the holes of shell text, and say why nothing could be appended to it ("" if it could).

    A hole in a comment is none.

    >>> [hole.around for hole in read_holes(b'echo {} "{}"')[0]]
    [b'', b'"']
    """
    holes: list[Hole] = []
    # p: words; d, s, a: the three kinds of quotes; b: ${}; N and n: arithmetic; q: backquotes.
    stack, at, doubt, ends, heredoc, fresh, dollar = ["p"], 0, "", "", False, True, False
    while at < len(text):
        mode, sign, ends = stack[-1], text[at : at + 1], ""
        found = HOLE.match(text, at + (sign == b"\\")) if sign in b"{\\" else None
        if found and not (sign == b"\\" and mode == "s"):
            unsafe = "right behind a backslash" if sign == b"\\" else doubt
            if not unsafe and mode not in "pds":
                unsafe = f"inside {_INSIDE[mode]}"
            around = {"d": b'"', "s": b"'"}.get(mode, b"")
            holes.append(Hole(found.start(), found.end(), found.group(1), around, unsafe))
            at, fresh, dollar = found.end(), False, False
            continue
        step = 1
        if mode == "s":
            if sign == b"'":
                stack.pop()
        elif sign == b"\\":
            if mode == "a":
                # What \' is in there depends on the shell.
                doubt = doubt or "behind $'…' with a backslash"
            ends = "a backslash" if at + 1 == len(text) else ""
            step = 2
            if text[at + 1 : at + 2] == b"\n" and mode != "q":
                # A line goes on as if nothing stood here; what was being written may go on too.
                doubt = doubt or ("behind a word cut by a backslash" if _CUT.match(text, at - 1) else "")
                at += step
                continue
        elif mode == "q":
            if sign == b"`":
                stack.pop()
        elif mode == "a":
            if sign == b"'":
                stack.pop()
        elif sign == b"`":
            stack.append("q")
        elif sign == b"$" and text[at + 1 : at + 2] in (b"(", b"{"):
            opened = ["N", "n"] if text.startswith(b"$((", at) else ["p"] if text[at + 1] == 0x28 else ["b"]
            stack += opened
            step, fresh = 1 + len(opened), opened == ["p"]
            at += step
            continue
        elif mode == "d":
            if sign == b'"':
                stack.pop()
        elif mode == "b":
            if sign == b"}":
                stack.pop()
            elif sign in b"'\"":
                doubt = doubt or "behind quotes inside ${…}"
        elif mode in "Nn":
            if sign == b"(":
                stack.append("n")
            elif sign == b")":
                stack.pop()
                if stack[-1] == "N" and text[at + 1 : at + 2] != b")":
                    # It was brackets in brackets to one shell, and is arithmetic still to another.
                    doubt = doubt or "behind (( without ))"
            elif sign in b"'\"":
                doubt = doubt or "behind quotes inside $((…))"
        elif sign == b"#" and fresh and (comment := _COMMENT.match(text, at)):
            ends, step = "a comment", len(comment.group())
        elif sign in (b"'", b'"'):
            stack.append("d" if sign == b'"' else "a" if dollar else "s")
        elif text.startswith(b"((", at):
            # Arithmetic to bash, which would evaluate a value however it is quoted.
            stack += ["N", "n"]
            step = 2
        elif sign == b"(":
            stack.append("p")
        elif sign == b")" and len(stack) > 1:
            stack.pop()
        elif document := _HEREDOC.match(text, at):
            heredoc, step = heredoc or len(document.group()) == 2, len(document.group())
        elif sign == b"\n" and heredoc:
            doubt = doubt or "behind the start of a here-document"
        elif fresh and len(stack) > 1 and _CASE.match(text, at):
            # Its patterns end in brackets that were never opened.
            doubt = doubt or "behind a case inside brackets"
        fresh, dollar = sign in b" \t\n;&|()<>", sign == b"$"
        at += step
    if len(stack) > 1:
        ends = f"open {_INSIDE[stack[-1]]}"
    elif doubt or heredoc:
        ends = doubt or "a here-document"
    return tuple(holes), ends
