"""A short command in one remote command: start it, wait a moment, have its result and output, leave nothing.

No program of ours stays, and nothing but sh is asked of the host. The promises are those of every attempt: it is
started once, and when the line breaks, or the moment is too short, it goes on under its lease and is asked after by an
AttemptLink of the same brief.
"""

from __future__ import annotations

import secrets

from hostler.errors import HostRefused, LineLost, RunnerFailed
from hostler.links import attempt_words as say
from hostler.links.attempt_answers import Answers, Parting
from hostler.links.brief import Brief
from hostler.links.choosing import SPOOL
from hostler.model.jobs import Start
from hostler.model.reports import Lost, Refused, Result
from hostler.ports import Connection
from hostler.remote.attempt_source import BOOT, message

#: The most output that comes with the result, in bytes.
INLINE = 512 << 10


async def once(
    connection: Connection, start: Start, *, brief: Brief, wait: float = 2.0, deadline: float = 60.0
) -> Result | None:
    """The result of a command with all of its output; None when it has not ended within `wait` seconds, or is long.

    Raises LineLost when nobody knows how far it came, HostRefused when it was not started, RunnerFailed, UsageError on
    a NUL in its words.

    >>> await once(connection, Start(1, 1, 1, (b"uptime",)), brief=brief)  # doctest: +SKIP
    """
    host, nonce = connection.host, secrets.token_hex(8)
    body = (
        say.beginning("/bin/sh", nonce)
        + say.opening(host, brief=brief, line=secrets.token_hex(8), id=SPOOL + secrets.token_hex(15), ask=())
        + say.starting([start])
        + say.once(start.serial, wait=wait, inline=INLINE)
        + b"_hdone\n"
    )
    finished = await connection.run(BOOT, stdin=message(body), deadline=deadline + wait, limit=2 * INLINE)
    answers = Answers(nonce)
    try:
        found = list(answers.feed(finished.stdout))
    except ValueError as error:
        raise RunnerFailed(host.name, str(error)[:300]) from None
    if not answers.begun:
        said = finished.stderr.decode("utf-8", "replace").strip().splitlines()
        raise (
            RunnerFailed(host.name, f"its sh said: {said[-1][:300]}")
            if said
            else LineLost(host.name, "no answer")
        )
    for one in found:
        if isinstance(one, Parting):
            raise (HostRefused if one.fatal else LineLost)(host.name, one.why)
        if isinstance(one, Lost | Refused) and one.serial == start.serial:
            raise HostRefused(host.name, one.why)
        if isinstance(one, Result) and one.serial == start.serial and one.out is not None:
            return one
    return None
