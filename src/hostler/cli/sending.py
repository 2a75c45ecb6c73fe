"""What put and sync send: the source as it is here, for every host alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from hostler.errors import UsageError

if TYPE_CHECKING:
    from hostler.ports import Transport
    from hostler.wiring.wanted import Wanted
    from hostler.work.copying.copies import One, Planned


def sent(
    src: str, dst: str, options: dict[str, Any], how: Wanted, *, equal: bool, delete: bool = False
) -> Callable[[Transport, Callable[[Planned], None]], Coroutine[Any, Any, One]]:
    """What makes one host's part of it. Raises UsageError for a source that isn't there."""
    source, destination = os.fsencode(src), os.fsencode(dst)
    if not dst or b"\0" in destination:
        raise UsageError("DST: no name of a file or folder")
    if delete and destination.rstrip(b"/") in (b"", b"~", b".", b".."):
        raise UsageError(
            f"--delete with {dst!r}: that would empty a whole account or machine; name a folder in it"
        )
    # A name of its own also for `.`, and no slash at the end.
    root = os.path.normpath(os.path.join(os.getcwdb(), source))
    if not os.path.exists(root):
        what = "a link that leads nowhere" if os.path.islink(root) else "there is no such file or folder here"
        raise UsageError(f"{src}: {what}")
    if not (os.path.isdir(root) or os.path.isfile(root)):
        raise UsageError(f"{src}: neither a file nor a folder")
    if not os.access(root, os.R_OK):
        raise UsageError(f"{src}: you may not read it")

    async def make(transport: Transport, show: Callable[[Planned], None]) -> One:
        from hostler.engine.copyplan import Rules
        from hostler.work.copying.copies import Putting, Wish

        wish = Wish(
            rules=Rules(content=options["checksum"], delete=delete, equal=equal),
            within=not equal, parents=options["parents"], durable=options["fsync"], dry=options["dry_run"],
            diff=options["diff"], deadline=how.connect_timeout,
        )  # fmt: skip
        return Putting(root, destination, transport=transport, wish=wish, show=show).to

    return make
