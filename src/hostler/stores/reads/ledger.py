"""How machines have behaved over all runs: for the engine at a run's beginning, and for people."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from msgspec import Struct

from hostler.model.health import Health
from hostler.stores.ledger import COLUMNS, health_of
from hostler.stores.reading import Reader

#: Machines that are asked for at once.
_MANY = 400


class MachineRow(Struct, frozen=True, kw_only=True):
    """One machine as the store keeps it, for people: the name and endpoint that it had in its last `run`."""

    id: str
    name: str
    endpoint: str
    run: int
    health: Health


def health(reader: Reader, machines: Iterable[str]) -> dict[str, Health]:
    """What is known of these machines (Host.machine); one of which nothing is known is left out."""
    found: dict[str, Health] = {}
    rest = iter(dict.fromkeys(machines))
    while some := list(islice(rest, _MANY)):
        marks = ", ".join("?" * len(some))
        rows = reader.all(f"SELECT {COLUMNS}, id FROM machine WHERE id IN ({marks})", *some)
        found |= {row[-1]: health_of(row[:-1]) for row in rows}
    return found


def machines(reader: Reader, *, limit: int = 10_000) -> list[MachineRow]:
    """Every machine of which something is known, by the names that they had last, at most `limit`."""
    rows = reader.all(
        f"SELECT {COLUMNS}, id, name, endpoint, run FROM machine ORDER BY name, id LIMIT ?", limit
    )
    return [
        MachineRow(id=row[-4], name=row[-3], endpoint=row[-2], run=row[-1], health=health_of(row[:-4]))
        for row in rows
    ]
