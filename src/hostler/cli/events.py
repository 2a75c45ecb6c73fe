"""`hostler events [RUN]`: what happened in a run, in order, for people or for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from hostler.cli.parsing import Verb
from hostler.cli.storing import store_option

if TYPE_CHECKING:
    from hostler.cli.looking import Look
    from hostler.model.events import Event
    from hostler.stores.reads.events import UnknownEvent


@click.command(cls=Verb, epilog="\b\nExamples:\n  hostler events last\n  hostler events 42 -f --jsonl")
@click.argument("name", metavar="[RUN]", default="last")
@click.option("-f", "--follow", is_flag=True, help="Go on as things happen, until the run ends.")
@click.option(
    "--jsonl", is_flag=True, help="One JSON object a line: seq, at, type and the event's own fields."
)
@store_option
def command(name: str, follow: bool, jsonl: bool) -> None:
    """Tell what happened in a run, in order: when, the event's type, and what it says.

    RUN is a run's number, the first letters of its uid, or 'last'. With --jsonl fields are only ever added; `at` is in
    seconds since the epoch. With -f it ends when the run does, or when nobody works on it any more; the exit code is 0.
    """
    from hostler.cli import looking

    with looking.opened() as reader:
        seen = looking.look(reader, name)
        history = History(seen, jsonl=jsonl)
        if follow:
            import asyncio

            asyncio.run(_followed(seen, history))
        else:
            history.tell()


class History:
    """Prints a run's events, each once, however often it is asked to."""

    def __init__(self, seen: Look, *, jsonl: bool) -> None:
        self._seen, self._jsonl = seen, jsonl
        self._names: dict[int, str] = {}
        self._told = 0
        self._hosts: dict[tuple[int, int], str | None] = {}  # of attempts that are open

    def tell(self) -> None:
        """Print what has not been printed yet."""
        from hostler.stores.reads.batch import workers
        from hostler.stores.reads.events import events

        reader, number = self._seen.reader, self._seen.row.number
        self._names = {worker.id: worker.host.name for worker in workers(reader, number)}
        for seq, event in events(reader, number, since=self._told):
            self._told = seq
            sys.stdout.write(self._line(seq, event))
        sys.stdout.flush()

    def _line(self, seq: int, event: Event | UnknownEvent) -> str:
        from hostler.model.events import Event
        from hostler.views.history import as_data, in_words, unknown_in_words
        from hostler.views.text import one_line
        from hostler.views.words import when

        host = self._host(event)
        if self._jsonl:
            data = as_data(event, self._names) if isinstance(event, Event) else event.data
            data |= {"host": host} if host else {}
            first: dict[str, object] = {
                "run": self._seen.row.number,
                "seq": seq,
                "at": event.at,
                "type": event.type,
            }
            return json.dumps(first | {key: value for key, value in data.items() if key not in first}) + "\n"
        if isinstance(event, Event):
            words = in_words(event, self._names, host=host)
        else:
            words = one_line(unknown_in_words(event.data).encode())
        return f"{when(event.at)}  {event.type:<18}  {words}\n"

    def _host(self, event: Event | UnknownEvent) -> str | None:
        """Where the attempt of which an event tells is; None for other events."""
        from hostler.model.events import AttemptDispatched, AttemptEnded, AttemptStarted

        if isinstance(event, AttemptDispatched):
            self._hosts[event.job, event.n] = self._names.get(event.worker)
        if isinstance(event, AttemptEnded):
            return self._hosts.pop((event.job, event.n), None)
        return self._hosts.get((event.job, event.n)) if isinstance(event, AttemptStarted) else None


async def _followed(seen: Look, history: History) -> None:
    from hostler.cli.following import glances, say_if_left

    async for glance in glances(seen.reader, seen.row.number):
        if glance.news:
            history.tell()
    say_if_left(seen.reader, seen.row.number)
