"""`tools/faults`: try faults, and print what came of them as one table.

Each has a folder of its own, which stays when it did harm; nothing of the person who runs it is read or written.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.faults.frame import Fault, found
from tests.faults.table import put_into, text
from tests.faults.trying import Trying, keep

SEED = 1
FOLDER = "hostler-faults-"
AT_ONCE = 2


def main(words: Sequence[str]) -> int:
    """Try what `words` choose; 0 when all of it was tried and did no harm."""
    given = _parser().parse_args(words)
    chosen = [each for each in found(given.under) if _chosen(each, given.words)]
    if given.list:
        for each in chosen:
            print(f"{each.key:40} {each.full:6.0f} s  {each.name}")
        return 0
    if not chosen:
        print(f"no fault of `make {given.under}` has {' or '.join(given.words)} in its name", file=sys.stderr)
        return 2
    _surroundings_of_our_own()
    place = given.place or Path(tempfile.mkdtemp(prefix=FOLDER))
    trying = Trying(place=place, seed=given.seed, sample=given.sample, seconds=given.seconds)
    rows = trying.all_of(chosen, at_once=given.jobs)
    if given.rows:
        keep(rows, given.rows)
        return 0
    print(text(rows), end="", flush=True)
    if not any(place.iterdir()):
        place.rmdir()
    if given.into:
        command = " ".join(
            ["tools/faults", *(word for word in words if word != "--into" and word != str(given.into))]
        )
        put_into(given.into, rows, mark=given.under, command=command, whole_table=not given.words)
    return 0 if all(row.clean for row in rows) else 1


def _chosen(each: Fault, words: Sequence[str]) -> bool:
    return not words or any(word in each.key or word in each.name for word in words)


def _surroundings_of_our_own() -> None:
    """Forget what the person who runs this has set for hostler and ssh."""
    for name in [*os.environ]:
        if name.startswith(("HOSTLER_", "XDG_")) or name == "SSH_AUTH_SOCK":
            del os.environ[name]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/faults", description="Injure hostler, and see what comes of it."
    )
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="only faults whose key or name holds one of these"
    )
    parser.add_argument(
        "--under", default="faults", choices=("faults", "soak", "chaos"), help="whose (faults)"
    )
    parser.add_argument("--list", action="store_true", help="name the faults, and do nothing")
    parser.add_argument("--sample", action="store_true", help="a short sample of each")
    parser.add_argument("--seed", type=int, default=SEED, metavar="N", help=f"where it is injured ({SEED})")
    parser.add_argument(
        "--jobs", type=int, default=AT_ONCE, metavar="N", help=f"so many faults at once ({AT_ONCE})"
    )
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, metavar="N", help="how long each may take, about")
    parser.add_argument(
        "--into", type=Path, metavar="FILE", help="put the rows between their marks in this page"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
