"""A batch whose commit was sent and whose answer never came: looked for until somebody can say whether it was accepted.

It must never take "not there yet" for "not accepted": the server may still be about to do what the old session asked.
"""

from __future__ import annotations

from hostler.clock import Clock
from hostler.errors import StoreError, StoreFull, Unheard
from hostler.model.commands import to_type
from hostler.stores.database import Database, Db

#: Seconds for which a server that is away is waited for, and between two looks.
PATIENCE = 60.0
PAUSE = 0.5
# Whoever puts a uid down that another session is putting down waits for that one's end, whichever it is.
_PUT_DOWN = (
    "INSERT INTO run (uid, kind, state, epoch, spec, command, created, seq, total, stopping) "
    "VALUES (?, 'batch', 'accepted', 0, '{}', '', 0, 0, 0, 0) ON CONFLICT (uid) DO NOTHING RETURNING number"
)


class _NotThere(Exception):
    """The uid was free."""


async def look_for(database: Database, uid: str, *, clock: Clock, error: Unheard, patience: float) -> int:
    """The number of a batch that may have been accepted.

    Raises StoreFull when it was not, StoreError when nobody can say within `patience` seconds.
    """
    until = clock.steady() + patience
    while True:
        try:
            async with database.transaction() as db:
                return await database.change(_number, db, uid)
        except _NotThere:
            raise StoreFull(f"{error}; no batch was accepted") from error
        except StoreFull:
            if clock.steady() >= until:
                tells = to_type(f"status {uid}")
                raise StoreError(
                    f"{error}; whether the batch was accepted is unknown; once its server answers this tells: {tells}"
                ) from error
        await clock.sleep(PAUSE)


def _number(db: Db, uid: str) -> int:
    if db.execute(_PUT_DOWN, (uid,)).fetchone() is not None:
        raise _NotThere
    (number,) = db.execute("SELECT number FROM run WHERE uid = ?", (uid,)).fetchone()
    return int(number)
