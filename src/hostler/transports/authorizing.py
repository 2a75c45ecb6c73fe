"""A key of ours in an account's authorized_keys, over a line that is open: put there, and taken away again.

It must never lose a byte of what others wrote there: what was read is written back by the host itself, and only if it
is still the same. It must never carry anything but a public key.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from hostler.clock import SystemClock
from hostler.errors import HostRefused, Unreachable
from hostler.ports import Connection, Finished
from hostler.remote import authorized_source
from hostler.remote.attempt_source import BOOT, cksum
from hostler.shell.authorized import Edit, parse_moment, put_in, take_out

#: How often it is read anew when others write to it at the same time.
TRIES = 8
#: Seconds to wait for a session: one of ours that has just ended counts for a moment yet.
PAUSES = (0.05, 0.2, 0.5)
#: Bytes of the file that we take to look at.
LONGEST = 1 << 20
#: What a login may print before our answer, in bytes.
NOISE = 64 << 10


async def authorize(line: Connection, *, uid: str, key: str, lifetime: timedelta, deadline: float) -> bool:
    """Have the account let in a run's `key` for `lifetime` by the host's clock; whether the file was made for it.

    Raises HostRefused with the reason where it can't be, Unreachable, LineLost. `deadline` is for each step.
    """
    return await _edit(
        line, lambda text, now: put_in(text, uid=uid, key=key, now=now, lifetime=lifetime), deadline=deadline
    )


async def withdraw(line: Connection, *, uid: str, made: bool, deadline: float) -> None:
    """Have it let that key in no more; a file `made` for it that holds nothing else goes, too. Raises the same."""
    await _edit(line, lambda text, now: take_out(text, uid=uid, now=now), deadline=deadline)
    if made:
        mark = secrets.token_hex(8)
        await _say(line, mark, authorized_source.unmake(mark), deadline=deadline)


async def _edit(
    line: Connection, wanted: Callable[[bytes, datetime], Edit | None], *, deadline: float
) -> bool:
    for _ in range(TRIES):
        mark = secrets.token_hex(8)
        _, told, rest = await _say(line, mark, authorized_source.look(mark), deadline=deadline)
        moment, _, state = told.partition(" ")
        old = await _whole(line, state, rest)
        if old is None and state != authorized_source.ABSENT:
            continue  # it was written to while it was read
        try:
            edit = wanted(old or b"", parse_moment(moment))
        except (ValueError, OverflowError):
            raise HostRefused(line.host.name, f"its date says {moment[:40]!r}") from None
        if edit is None:
            return False
        mark = secrets.token_hex(8)
        word, _, _ = await _say(line, mark, authorized_source.write(mark, edit, old=old), deadline=deadline)
        if word == "done":
            return old is None
    raise Unreachable(line.host.name, "~/.ssh/authorized_keys changes all the time")


async def _whole(line: Connection, state: str, rest: bytes) -> bytes | None:
    """The file as it was told, None where that is not what cksum said of it."""
    if state == authorized_source.ABSENT:
        return None
    sum_, _, size = state.partition(" ")
    if not (sum_.isdigit() and size.isdigit()):
        raise HostRefused(line.host.name, "its cksum says something else than we know")
    if int(size) > LONGEST:
        raise HostRefused(line.host.name, "~/.ssh/authorized_keys is longer than a megabyte")
    text = rest[: int(size)]
    return text if len(text) == int(size) and cksum(text) == int(sum_) else None


async def _say(line: Connection, mark: str, message: bytes, *, deadline: float) -> tuple[str, str, bytes]:
    done = await _run(line, message, deadline=deadline)
    word, told, rest = authorized_source.answer(mark, done.stdout)
    if word == "no":
        raise HostRefused(line.host.name, told[:200])
    if not word:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["nothing"]
        raise HostRefused(line.host.name, f"its shell answered {said[-1][:120]}")
    return word, told, rest


async def _run(line: Connection, message: bytes, *, deadline: float) -> Finished:
    clock, pauses = SystemClock(), iter(PAUSES)
    while True:
        began = clock.steady()
        try:
            return await line.run(BOOT, stdin=message, deadline=deadline, limit=LONGEST + NOISE)
        except Unreachable:
            pause = next(pauses, None)
            if pause is None or clock.steady() - began > deadline / 2:
                raise
        await clock.sleep(pause)
