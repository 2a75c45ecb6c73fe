"""The frames between controller and runner: what goes in comes out, and what is not whole is nothing."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostler.model.jobs import Ending
from hostler.remote.runner import wire

STARTS = st.lists(
    st.tuples(
        st.integers(0, 2**62), st.integers(0, 2**62), st.integers(0, 2**32 - 1),
        st.lists(st.binary(max_size=40), min_size=1, max_size=5).map(tuple), st.booleans(), st.floats(0, 1e9),
    ),
    max_size=6,
)  # fmt: skip
FRAMES = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=8)


@given(STARTS)
def test_starts_arrive_as_they_left(
    starts: list[tuple[int, int, int, tuple[bytes, ...], bool, float]],
) -> None:
    assert wire.unpack_starts(wire.pack_starts(starts)) == starts


@given(STARTS, st.data())
def test_starts_that_are_cut_or_changed_are_refused(
    starts: list[tuple[int, int, int, tuple[bytes, ...], bool, float]], data: st.DataObject
) -> None:
    whole = wire.pack_starts(starts)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ValueError):
        wire.unpack_starts(whole[:cut])
    at = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ValueError):
        wire.unpack_starts(whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :])


@given(st.binary(max_size=200))
def test_whatever_a_start_message_holds_it_is_starts_or_a_value_error(body: bytes) -> None:
    """Even when its digest is right: the far end may be of another version."""
    import hashlib

    try:
        starts = wire.unpack_starts(hashlib.sha256(body).digest() + body)
    except ValueError:
        return
    assert all(words for _, _, _, words, _, _ in starts)


def test_a_start_without_words_is_refused() -> None:
    with pytest.raises(ValueError, match="without its words"):
        wire.unpack_starts(wire.pack_starts([(1, 1, 1, (), False, 0.0)]))


@given(FRAMES, st.lists(st.integers(1, 50), max_size=60))
def test_frames_come_whole_however_their_bytes_arrive(
    frames: list[tuple[int, bytes]], sizes: list[int]
) -> None:
    stream = b"".join(wire.frame(kind, body) for kind, body in frames)
    cutter, found, at = wire.Frames(), [], 0
    for size in [*sizes, len(stream)]:
        found += cutter.feed(stream[at : at + size])
        at += size
    assert found == frames and not cutter.rest


def test_a_frame_that_is_too_long_is_refused_by_its_head() -> None:
    with pytest.raises(ValueError, match="a frame of"):
        wire.Frames().feed(struct.pack(">IB", wire.MAX_FRAME + 1, 65))
    assert wire.Frames(10).feed(wire.frame(65, b"x" * 10)) == [(65, b"x" * 10)]
    with pytest.raises(ValueError, match="a frame of 11 bytes"):
        wire.Frames(10).feed(wire.frame(65, b"x" * 11))


@given(st.lists(st.integers(0, 2**64 - 1), max_size=50))
def test_numbers_arrive_as_they_left(values: list[int]) -> None:
    assert wire.read_numbers(wire.numbers(values)) == tuple(values)


def test_a_list_of_numbers_that_is_cut_is_refused() -> None:
    with pytest.raises(ValueError):
        wire.read_numbers(wire.numbers([1, 2])[:-1])


def test_every_ending_of_the_wire_is_one_of_ours_and_keeps_its_number() -> None:
    assert wire.ENDINGS[:9] == (
        "ok", "exit", "signal", "timeout", "interrupted", "output-limit", "cancelled", "kill-failed", "lost",
    )  # fmt: skip
    assert all(Ending(word) for word in wire.ENDINGS)


def test_no_two_kinds_of_frames_share_a_letter() -> None:
    kinds = [
        wire.HELLO, wire.STARTS, wire.REVOKE, wire.KILLS, wire.ACK, wire.RENEW, wire.FOLLOWS, wire.CREDIT, wire.BYE,
        wire.R_HELLO, wire.R_BEGAN, wire.R_OUTPUT, wire.R_RESULT, wire.R_REVOKED, wire.R_REFUSED, wire.R_LOST,
        wire.R_RENEWED, wire.R_BYE,
    ]  # fmt: skip
    assert len(kinds) == len(set(kinds))
