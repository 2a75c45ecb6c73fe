"""Following a run that another process works on: its output as it is recorded, and its exit code.

It only reads. When the owner is gone without having ended the run, it says so by answering None.
"""

from __future__ import annotations

from contextlib import suppress

from hostler.clock import Clock, SystemClock
from hostler.engine.summary import Progress
from hostler.model.events import AttemptEnded
from hostler.stores.outputs import read_output
from hostler.stores.reads.events import events
from hostler.stores.reads.runs import has_owner, run
from hostler.stores.sqlite import SqliteStore
from hostler.views.console import Console
from hostler.views.live import Live

#: Seconds between two looks at whether the store has changed.
LOOK = 0.2


async def watch(
    store: SqliteStore, number: int, *, quiet: bool, colour: bool, clock: Clock | None = None
) -> int | None:
    """Follow run `number` until it ends; its exit code, or None when its owner has died."""
    clock = clock or SystemClock()
    reader, folder = store.reader, store.run_folder(number)
    console = Console.of_process()
    row = run(reader, number)
    if not quiet:
        console.note(f"run {number} is being worked on by {row.owner}: following it")
    counts = dict(row.counts)
    total = sum(counts.values())
    seen = max((seq for seq, _ in events(reader, number)), default=0)

    def progress() -> Progress:
        known = {word: counts.get(word, 0) for word in ("queued", "open", "ok", "failed", "timeout", "lost")}
        return Progress(
            number=number, total=total, queued=known["queued"], running=known["open"], ok=known["ok"],
            failed=known["failed"], timed_out=known["timeout"], lost=known["lost"],
            other=total - sum(known.values()), phase="followed",
        )  # fmt: skip

    live = Live(console, progress, clock=clock, colour=colour, quiet=quiet)
    version = counted_at = -1
    next_count = 0.0
    while True:
        alive = has_owner(reader, number)
        if reader.version() != version:
            version = reader.version()
            for seq, event in events(reader, number, since=seen):
                seen = seq
                if isinstance(event, AttemptEnded) and event.output is not None and folder is not None:
                    with suppress(OSError):
                        console.job_output(
                            read_output(folder, event.output, 1), read_output(folder, event.output, 2)
                        )
        if version != counted_at and clock.steady() >= next_count:
            began, counted_at = clock.steady(), version
            counts = dict(run(reader, number).counts)
            # A million jobs take a while to count: no more than a part of our time goes into it.
            next_count = clock.steady() + max(LOOK, 10 * (clock.steady() - began))
        live.tick()
        if not alive:
            live.end()
            await console.drained()
            row = run(reader, number)
            return row.exit_code if row.state in ("finished", "stopped") else None
        await clock.sleep(LOOK)
