"""What attempt.sh answers to a line's first command, made into a Hello, and what its silence means."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from hostler.errors import HostError, HostRefused, LineLost, RunnerFailed
from hostler.links.attempt_answers import Answer, Answers, Greeting, Parting, Says, Stands, Told
from hostler.links.decode import words
from hostler.model.health import UNSAID
from hostler.model.reports import Hello, Standing
from hostler.ports import Stream

#: Answers before the end of a greeting, besides those about attempts.
PREFACE = 64


class Opened(Struct, frozen=True, kw_only=True):
    """A line that was answered: the spool's path, the host's time, and all that was said."""

    hello: Hello
    spool: bytes
    stamp: int
    said: Sequence[Answer]


async def opened(name: str, stream: Stream, answers: Answers, ask: Sequence[int]) -> Opened:
    """Read up to the end of what the host `name` answers to its opening. Raises HostError."""
    said: list[Answer] = []
    while not (end := _end(said)):
        if len(said) > PREFACE + 2 * len(ask):
            raise RunnerFailed(name, "its sh made no sense: a greeting without end")
        data = await stream.read()
        if not data:
            raise silence(name, stream.stderr_tail())
        try:
            said += answers.feed(data)
        except ValueError as error:
            raise RunnerFailed(name, str(error)[:300]) from None
        for one in said[: _end(said) or None]:
            if isinstance(one, Parting):
                raise (HostRefused if one.fatal else LineLost)(name, one.why)
    return _greeted(name, said, end, ask)


def _end(said: Sequence[Answer]) -> int:
    """How many of these are the greeting, behind which news may follow; 0 while its end has not come."""
    return next((at for at, one in enumerate(said, 1) if isinstance(one, Told) and one.last), 0)


def _greeted(name: str, said: Sequence[Answer], end: int, ask: Sequence[int]) -> Opened:
    found = said[:end]
    greeting = next((one for one in found if isinstance(one, Greeting)), None)
    known = {one.serial: one.standing for one in found if isinstance(one, Stands)}
    if greeting is None:
        raise RunnerFailed(name, "its sh made no sense: no word of a spool")
    try:
        standings = {serial: Standing(known.get(serial, 0)) for serial in ask}
    except ValueError as error:
        raise RunnerFailed(name, f"its sh made no sense: {error}") from None
    hello = Hello(
        spool=greeting.spool, boot=greeting.boot, account=greeting.account, python="none", slots=greeting.slots,
        standings=standings, vitals=next((one.vitals for one in found if isinstance(one, Says)), UNSAID),
    )  # fmt: skip
    stamp = max(one.at for one in found if isinstance(one, Told))
    return Opened(hello=hello, spool=greeting.path, stamp=stamp, said=said)


def silence(name: str, stderr: bytes) -> HostError:
    """What it means that nothing was answered, by what came on stderr."""
    lines = [words(line) for line in stderr[-2000:].splitlines() if line.strip()]
    if not lines or "not all of the message came" in lines[-1]:
        return LineLost(name, "its sh ended without a word")
    return RunnerFailed(name, f"its sh said: {lines[-1].strip()[:300]}")
