"""Which store a verb works with: that of the state folder, or the one that --store names.

It must never let a password be said on a command line, nor leave one where what we start finds it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hostler.cli.options import Marked, blaming
from hostler.cli.parsing import said
from hostler.errors import UsageError
from hostler.model.commands import STORE

if TYPE_CHECKING:
    from hostler.model.storeurls import StoreUrl
    from hostler.stores.reading import Reader
    from hostler.stores.store import RowStore

F = TypeVar("F", bound=Callable[..., Any])

_CHOSEN: ContextVar[StoreUrl | None] = ContextVar("store", default=None)


def store_option(command: F) -> F:
    """--store, which holds for all that the verb opens; the verb itself is not given it."""

    @wraps(command)
    def storing(*args: Any, store: str | None, **more: Any) -> Any:
        if store:
            _guard(store)
        with using(store):
            return command(*args, **more)

    option = click.option(
        "--store",
        cls=Marked,
        names="a store",
        url=True,
        metavar="URL",
        help="The store, postgresql://[USER@]HOST/DATABASE, instead of the state folder's own.",
    )
    return option(storing)  # type: ignore[return-value]


@contextmanager
def using(text: str | None) -> Iterator[None]:
    """Work with the store of this URL within the block; None is the state folder's. Raises UsageError."""
    token, words = _CHOSEN.set(_url(text) if text else None), STORE.set(_again(text))
    try:
        yield
    finally:
        STORE.reset(words)
        _CHOSEN.reset(token)


def open_store() -> RowStore:
    """The store to work with, made where there is none. Raises StoreError."""
    from hostler.stores import choosing
    from hostler.stores.folder import state_dir

    return choosing.open_store(state_dir(), url=_CHOSEN.get())


def open_reader() -> Reader | None:
    """The store to look at; None where there is none yet. Raises StoreError."""
    from hostler.stores import choosing
    from hostler.stores.folder import state_dir

    return choosing.open_reader(state_dir(), url=_CHOSEN.get())


def existing_store() -> RowStore | None:
    """The store to ask something of a run; None where there is none yet. Raises StoreError."""
    from hostler.stores import choosing
    from hostler.stores.folder import state_dir

    return choosing.existing_store(state_dir(), url=_CHOSEN.get())


def again(verb: str) -> tuple[list[str], dict[str, str]]:
    """What a `verb` that we start needs to find the same store: options, and variables for what no option may say."""
    url = _CHOSEN.get()
    if url is None:
        return [], {}
    if url.secret:
        return [], {f"HOSTLER_{verb.upper()}_STORE": url.text}
    return ["--store", url.text], {}


def _again(text: str | None) -> str:
    """What the commands that we tell of need to find this store: nothing where a setting names it to them, too."""
    if not text or not said("store"):
        return ""
    from hostler.shell.quoting import join

    return join([b"--store", os.fsencode(text)]).decode("utf-8", "replace")


def _url(text: str) -> StoreUrl:
    from hostler.model.storeurls import StoreUrl

    with blaming("--store:"):
        return StoreUrl.parse(text)


def _guard(text: str) -> None:
    """Refuse a password on the command line, and take one out of the environment of what we start."""
    if not _url(text).secret:
        return
    if said("store"):
        raise UsageError(
            "--store: everybody on this machine can read a password on a command line; "
            "let PGPASSFILE, ~/.pgpass or a service file say it, HOSTLER_STORE, or your own settings"
        )
    for name in [name for name, value in os.environ.items() if value == text]:
        del os.environ[name]
