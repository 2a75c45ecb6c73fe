"""What stands before each line of a job's output: whose line it is.

A tag is one line whatever it is made of, and it must never be put into the middle of a line of the job's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from hostler.errors import UsageError
from hostler.model.shelltext import HOLE
from hostler.model.templates import Template

#: The tag of a job, by its number, arguments and host.
Tag = Callable[[int, tuple[bytes, ...], str], bytes]

#: The template of --tag, and that of --stream.
ARGUMENTS = "{}\t"
WHO = "{host} {#} | "


def tag_of(text: str) -> Tag:
    """A tag by its template, in which `{host}` stands for the host's name. Raises UsageError.

    >>> tag_of("{host}: {1/.} ")(7, (b"a/b.c",), "web1")
    b'web1: b '
    """
    if any(found[1] == b"%" for found in HOLE.finditer(text.encode("utf-8", "surrogateescape"))):
        raise UsageError("{%} can't stand in a tag: which slot a job gets is known on its host only")
    parts = [_part(part) for part in text.split("{host}")]

    def tag(job: int, args: tuple[bytes, ...], host: str) -> bytes:
        made = host.encode().join([part(job, args) for part in parts])
        return made.replace(b"\n", b" ") if b"\n" in made else made

    return tag


def _part(text: str) -> Callable[[int, tuple[bytes, ...]], bytes]:
    fixed = text.encode("utf-8", "surrogateescape")
    if not HOLE.search(fixed):
        return lambda job, args: fixed
    # The mark keeps a hole from being a word of its own, which would become several.
    template = Template.parse(["." + text], shell=False)

    def part(job: int, args: tuple[bytes, ...]) -> bytes:
        if template.needs > len(args):
            return b""
        return template.render(args, job).words[0][1:]

    return part


def tagged(data: bytes, tag: bytes, *, within: bool = False) -> bytes:
    r"""Text with a tag before each line; with `within` it goes on with a line that has its tag.

    >>> tagged(b"a\nb", b"1: "), tagged(b"a\nb\n", b"1: ", within=True)
    (b'1: a\n1: b', b'a\n1: b\n')
    """
    if not data:
        return data
    body = data[:-1].replace(b"\n", b"\n" + tag) + data[-1:]
    return body if within else tag + body


def tagged_stream(pieces: Iterable[bytes], tag: bytes) -> Iterator[bytes]:
    """The same for a text in pieces, whose last line is ended if it is not."""
    within = False
    for piece in pieces:
        if piece:
            yield tagged(piece, tag, within=within)
            within = not piece.endswith(b"\n")
    if within:
        yield b"\n"
