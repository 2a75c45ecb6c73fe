"""The command of a batch, and how a job's arguments make it a command of their own.

A million jobs are rendered from one template, so it is taken to pieces once and only joined afterwards. It must
never let an argument be read as shell text, except where the user wrote `{raw}` or gave no command at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from typing import Any, NamedTuple

from msgspec import Struct

from hostler.errors import UsageError
from hostler.model.pathparts import PARTS, split_hole
from hostler.model.shelltext import HOLE, quote, read_holes

Args = tuple[bytes, ...]
_Fill = Callable[[Args, int], bytes]
_SHELL_SIGNS = re.compile(rb"[\s|&;<>()$`\\\"'*?\[\]{}#~!]|\A[A-Za-z_][A-Za-z0-9_]*\+?=")


class Kind(StrEnum):
    """What a command is made of: words, one shell text, or each job's own line as shell text."""

    ARGV = "argv"
    SHELL = "shell"
    LINES = "lines"
    #: The same without holes: words, and text, that have no arguments to be filled in.
    WORDS = "words"
    TEXT = "text"


class Rendered(NamedTuple):
    """A job's command: an argv, or with `shell` one text for a shell. (A tuple, because a million are made.)"""

    words: Args
    shell: bool


class Template(Struct, frozen=True, dict=True):
    """A command with holes. Make it with `parse` or `from_json`; equal ones have equal kind and words."""

    kind: Kind
    words: Args

    def __post_init__(self) -> None:
        for word in self.words:
            if b"\0" in word:
                raise UsageError(f"the command's word {word[:40]!r} holds a NUL byte: no command can")
        if self.kind not in (Kind.LINES, Kind.WORDS) and not self.words:
            raise UsageError("the command is empty")
        _ = self._render  # whatever is wrong with the words is said now

    @cached_property
    def _compiled(self) -> tuple[int, Callable[[Args, int], Rendered]]:
        return _COMPILERS[self.kind](self.words)

    @cached_property
    def _render(self) -> Callable[[Args, int], Rendered]:
        return self._compiled[1]

    @cached_property
    def _digest(self) -> Any:
        return sha256(_pack(b"hostler template 1", self.kind.encode(), *self.words))

    @cached_property
    def needs(self) -> int:
        """How many arguments a job must have."""
        return self._compiled[0]

    @classmethod
    def parse(cls, words: Sequence[str | bytes], *, shell: bool | None = None) -> Template:
        """Read the command as it stood behind `--`.

        Several words are an argv; one with blanks or shell characters is shell text; none leaves each job's
        line to be shell text. `shell` True joins the words with blanks into shell text, False takes them as an
        argv whatever they hold.

        Raises UsageError on NUL, and on a hole in shell text that can't be filled safely.

        >>> Template.parse(["echo {} | wc -c"]).render((b"a b",), 1)
        Rendered(words=(b"echo 'a b' | wc -c",), shell=True)
        """
        taken = tuple(word if isinstance(word, bytes) else _encoded(word) for word in words)
        if not taken:
            if shell is False:
                raise UsageError("--no-shell needs a command after --: a line alone is text for a shell")
            return cls(Kind.LINES, ())
        if shell is None:
            shell = len(taken) == 1 and bool(_SHELL_SIGNS.search(HOLE.sub(b"", taken[0])))
        return cls(Kind.SHELL, (b" ".join(taken),)) if shell else cls(Kind.ARGV, taken)

    @classmethod
    def whole(cls, words: Sequence[str | bytes], *, shell: bool | None = None) -> Template:
        """The same of a command that has no holes, whatever is in its words. Raises UsageError on NUL.

        >>> Template.whole(["find", "-exec", "rm", "{}", ";"]).render((), 1).words[3]
        b'{}'
        """
        taken = tuple(word if isinstance(word, bytes) else _encoded(word) for word in words)
        if shell is None:
            shell = len(taken) == 1 and bool(_SHELL_SIGNS.search(taken[0]))
        return cls(Kind.TEXT, (b" ".join(taken),)) if shell else cls(Kind.WORDS, taken)

    def render(self, args: Args, seq: int) -> Rendered:
        """The command of one job: `args` its arguments, `seq` its number from 1.

        `{}` is all arguments, `{1}` the first, `{#}` the number, `{%}` the slot on its host, `{.}` `{/}` `{//}`
        `{/.}` parts of a path; where the command has no hole at all, the arguments are appended. Raises UsageError
        on NUL and on a hole for an argument that the job hasn't.
        """
        return self._render(args, seq)

    def key(self, args: Args) -> bytes:
        """Name the work by its content: SHA-256 over template and arguments, 32 bytes.

        The job's number is no part of it, so a job keeps its key when the list before it changes.
        Raises UsageError where the command asks for more arguments than these: a job is keyed before it is
        accepted, and a run that has begun must not fail by its command line.
        """
        if self.needs > len(args):
            _enough(args, self.needs)
        digest = self._digest.copy()
        if len(args) == 1:  # a million jobs of one argument: what _pack gives, without its loops
            digest.update(b"2;4:args%d:%b" % (len(args[0]), args[0]))
        else:
            digest.update(_pack(b"args", *args))
        name: bytes = digest.digest()
        return name

    def to_json(self) -> dict[str, Any]:
        """The template in JSON's own types; words that are not UTF-8 are kept byte by byte."""
        return {"kind": str(self.kind), "words": [_word_to_json(word) for word in self.words]}

    @classmethod
    def from_json(cls, stored: Any) -> Template:
        """Read back what to_json gave. Raises UsageError on anything else."""
        try:
            return cls(Kind(stored["kind"]), tuple(_word_from_json(word) for word in stored["words"]))
        except (KeyError, TypeError, ValueError) as wrong:
            raise UsageError(f"not a stored command: {str(stored)[:80]!r}") from wrong


def _encoded(word: str) -> bytes:
    try:
        return word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UsageError(f"the command's word {word[:40]!r} is not text") from None


def _word_to_json(word: bytes) -> str | dict[str, str]:
    # Lone surrogates would be shorter, but not every database takes them in JSON.
    try:
        return word.decode()
    except UnicodeDecodeError:
        return {"latin1": word.decode("latin-1")}


def _word_from_json(word: Any) -> bytes:
    data: bytes = word.encode() if isinstance(word, str) else word["latin1"].encode("latin-1")
    return data


def _pack(*words: bytes) -> bytes:
    """Words so that no other words give the same bytes: how many, then each behind its length."""
    return b"%d;" % len(words) + b"".join([b"%d:%b" % (len(word), word) for word in words])


def _checked(args: Args) -> Args:
    for word in args:
        if b"\0" in word:
            raise UsageError(f"the argument {word[:40]!r} holds a NUL byte: no command can")
    return args


def _compile_lines(words: Args) -> tuple[int, Callable[[Args, int], Rendered]]:
    return 0, lambda args, seq: Rendered((b" ".join(_checked(args)),), True)


def _compile_argv(words: Args) -> tuple[int, Callable[[Args, int], Rendered]]:
    holes = [found.group(1) for word in words for found in HOLE.finditer(word)]
    if not holes:
        return 0, lambda args, seq: Rendered(words + _checked(args), False)
    if b"%" in holes:
        return _compile_slots(words, holes)
    needs = _needs(holes)
    parts = [_spread(word) or _joiner(_argv_pieces(word)) for word in words]

    def render(args: Args, seq: int) -> Rendered:
        _enough(_checked(args), needs)
        made: list[bytes] = []
        for part in parts:
            if isinstance(part, _Spread):
                made += map(part.part, args)
            else:
                made.append(part(args, seq))
        return Rendered(tuple(made), False)

    return needs, render


class _Spread(Struct, frozen=True):
    """A word that is only {}: it becomes as many words as there are arguments; every other stays one."""

    part: Callable[[bytes], bytes]


def _spread(word: bytes) -> _Spread | None:
    found = HOLE.fullmatch(word)
    if not found or (found.group(1) != b"raw" and found.group(1) not in PARTS):
        return None
    return _Spread(PARTS.get(found.group(1), bytes))


def _compile_slots(words: Args, holes: Sequence[bytes]) -> tuple[int, Callable[[Args, int], Rendered]]:
    """Words with {%}: which slot a job gets is known on its host only, so a shell there puts it in."""
    text: list[bytes | _Fill] = [b"exec"]
    for word in words:
        spread = HOLE.fullmatch(word) if _spread(word) else None
        if spread is None:
            text += [b" ", *_quoted_pieces(word)]
        else:
            text += [b" ", _shell_fill(spread.group(1).replace(b"raw", b""), b"")[0]]
    join, needs = _joiner(text), _needs(holes)

    def render(args: Args, seq: int) -> Rendered:
        _enough(_checked(args), needs)
        return Rendered((join(args, seq),), True)

    return needs, render


def _quoted_pieces(word: bytes) -> list[bytes | _Fill]:
    """A word's pieces, each quoted for a shell."""
    made: list[bytes | _Fill] = []
    for piece in _argv_pieces(word):
        if isinstance(piece, bytes):
            made.append(quote(piece) if piece else b"")
        else:
            made.append(piece if piece is _slot else _quoting(piece))
    return made if any(piece != b"" for piece in made) else [b"''"]


def _quoting(fill: _Fill) -> _Fill:
    return lambda args, seq: quote(fill(args, seq))


def _slot(args: Args, seq: int) -> bytes:
    return b'"$HOSTLER_SLOT"'


def _compile_shell(words: Args) -> tuple[int, Callable[[Args, int], Rendered]]:
    # Stripped first: what is appended takes the place of the last newline, which may have ended a comment.
    text = words[0].rstrip()
    holes, ends = read_holes(text)
    if not holes:
        if ends:
            raise UsageError(f"an argument can't be appended to {ends}: {_TELL}")
        pieces: list[bytes | _Fill] = [text + b" ", _quote_each]
    else:
        pieces, done = [], 0
        for hole in holes:
            fill, safe = _shell_fill(hole.name, hole.around)
            if hole.unsafe and not safe:
                shown = text[hole.start : hole.end].decode()
                raise UsageError(f"{shown} stands {hole.unsafe}, where no quoting is safe: {_TELL}")
            around = b"" if safe else hole.around
            pieces += [text[done : hole.start] + around, fill, around]
            done = hole.end
        pieces.append(text[done:])
    join, needs = _joiner(pieces), _needs([hole.name for hole in holes])

    def render(args: Args, seq: int) -> Rendered:
        if needs > len(args):
            _enough(args, needs)
        return Rendered((join(args, seq),), True)

    return needs, render


_TELL = "write sh -c 'TEXT' sh {} with \"$1\" in TEXT, or {raw} where values are trusted"


def _compile_words(words: Args) -> tuple[int, Callable[[Args, int], Rendered]]:
    made = Rendered(words, False)
    return 0, lambda args, seq: made


def _compile_text(words: Args) -> tuple[int, Callable[[Args, int], Rendered]]:
    made = Rendered(words, True)
    return 0, lambda args, seq: made


_COMPILERS = {
    Kind.ARGV: _compile_argv,
    Kind.SHELL: _compile_shell,
    Kind.LINES: _compile_lines,
    Kind.WORDS: _compile_words,
    Kind.TEXT: _compile_text,
}


def _needs(holes: Sequence[bytes]) -> int:
    return max((split_hole(name)[0] for name in holes), default=0)


def _enough(args: Args, needs: int) -> None:
    if needs > len(args):
        raise UsageError(f"the command asks for {{{needs}}}, but a job has {len(args)} argument(s)")


def _argv_pieces(word: bytes) -> list[bytes | _Fill]:
    pieces: list[bytes | _Fill] = []
    done = 0
    for found in HOLE.finditer(word):
        pieces += [word[done : found.start()], _fill(found.group(1))]
        done = found.end()
    return [*pieces, word[done:]]


def _shell_fill(name: bytes, around: bytes) -> tuple[_Fill, bool]:
    """What fills a hole, and whether that needs no quoting."""
    if name == b"#":
        return _number, True
    if name == b"raw":
        return lambda args, seq: b" ".join(_checked(args)), True
    if name == b"%":
        return _slot, False
    # Inside the user's own quotes all arguments are one word, as the quotes say.
    n, op = split_hole(name)
    if n or around:
        return _quoting(_fill(name)), False
    if not op:
        return _quote_each, False
    part = PARTS[op]
    return lambda args, seq: b" ".join([quote(part(word)) for word in args]), False


def _fill(name: bytes) -> _Fill:
    """What fills a hole where nothing need be quoted."""
    if name == b"#":
        return _number
    if name == b"%":
        return _slot
    if name in (b"", b"raw"):
        return _all
    n, op = split_hole(name)
    if not op:
        return _nth(n)
    part = PARTS[op]
    if n:
        return lambda args, seq: part(args[n - 1])
    return lambda args, seq: b" ".join([part(word) for word in args])


def _all(args: Args, seq: int) -> bytes:
    return b" ".join(args)


def _quote_each(args: Args, seq: int) -> bytes:
    return quote(args[0]) if len(args) == 1 else b" ".join([quote(word) for word in args])


def _number(args: Args, seq: int) -> bytes:
    return b"%d" % seq


def _nth(n: int) -> _Fill:
    return lambda args, seq: args[n - 1]


def _joiner(pieces: Sequence[bytes | _Fill]) -> _Fill:
    """One function that joins the pieces, as short as they allow."""
    kept: list[bytes | _Fill] = []
    for piece in pieces:
        if isinstance(piece, bytes) and kept and isinstance(last := kept[-1], bytes):
            kept[-1] = last + piece
        elif piece != b"":
            kept.append(piece)
    only = kept[0] if len(kept) == 1 else b""
    if isinstance(only, bytes) and len(kept) < 2:
        return lambda args, seq: only
    head, fill, tail = [*kept, b"", b""][:3]
    if len(kept) <= 3 and isinstance(head, bytes) and not isinstance(fill, bytes) and isinstance(tail, bytes):
        return lambda args, seq: head + fill(args, seq) + tail
    return lambda args, seq: b"".join([p if isinstance(p, bytes) else p(args, seq) for p in kept])
