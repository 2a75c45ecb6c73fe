"""Values as they lie in a row: arguments as bytes, hosts and specs as JSON.

It must never lose a difference: what was packed comes back equal. Readers pass over fields of a later version.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

from hostler.errors import HostlerError, StoreError, UsageError
from hostler.model.hosts import Host
from hostler.model.runs import BatchSpec


def pack_args(args: Sequence[bytes]) -> bytearray:
    """Join arguments, each ended by NUL, which none of them can hold; raises UsageError for one that does.

    A bytearray, because the driver binds that at once, and bytes at ten times the cost.

    >>> pack_args((b"a", b"")), pack_args(())
    (bytearray(b'a\\x00\\x00'), bytearray(b''))
    """
    packed = bytearray(b"\0".join(args))
    if args:
        packed += b"\0"
    if packed.count(0) != len(args):
        raise UsageError("an argument of a job holds a NUL byte, which no command line can carry")
    return packed


def unpack_args(packed: bytes) -> tuple[bytes, ...]:
    """The arguments that `pack_args` joined."""
    return tuple(packed[:-1].split(b"\0")) if packed else ()


def host_to_json(host: Host) -> str:
    """A Host's facts, without those that are left open."""
    facts = {name: getattr(host, name) for name in host.__struct_fields__}
    facts["tags"] = sorted(host.tags)
    return json.dumps({name: value for name, value in facts.items() if value not in (None, [], (), "")})


def host_from_json(text: str) -> Host:
    """The Host that `host_to_json` wrote. Raises StoreError for what it can't have written."""
    with _whole("host"):
        facts = _known(Host, json.loads(text))
        facts["tags"] = frozenset(facts.get("tags", ()))
        facts["vars"] = tuple((name, value) for name, value in facts.get("vars", ()))
        return Host(**facts)


def spec_to_json(spec: BatchSpec) -> str:
    """A batch's spec as JSON."""
    return json.dumps({name: getattr(spec, name) for name in spec.__struct_fields__})


def spec_from_json(text: str) -> BatchSpec:
    """The spec that `spec_to_json` wrote. Raises StoreError for what it can't have written."""
    with _whole("run"):
        facts = _known(BatchSpec, json.loads(text))
        facts["providers"] = tuple(facts.get("providers", ()))
        return BatchSpec(**facts)


@contextmanager
def _whole(what: str) -> Iterator[None]:
    try:
        yield
    except (HostlerError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise StoreError(
            f"the store is damaged: what it has on record of a {what} makes no sense ({error})"[:300]
            + "; go on with a copy of it, or set HOSTLER_STATE_DIR to another folder"
        ) from error


def _known(kind: type[Struct], facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name in kind.__struct_fields__}
