"""Good input with a few things put in, cut out, turned or said again: the fuzzers' one way to mutate.

It must never be random by itself: hypothesis draws, so that a failure comes again and shrinks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hypothesis import strategies as st

CORPUS = Path(__file__).parent / "corpus"


@st.composite
def spoilt(draw: st.DrawFn, good: bytes, tokens: Sequence[bytes]) -> bytes:
    """`good`, changed in one to four places; `tokens` are what breaks readers of its kind."""
    data = good
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.sampled_from([0, 0, 1, 1, 7, 60])))
        new = draw(st.one_of(st.sampled_from(tokens), st.binary(max_size=8), st.just(data[:at])))
        data = data[:at] + new + data[end:]
    return data


@st.composite
def flipped(draw: st.DrawFn, good: bytes) -> bytes:
    """`good` with one byte changed."""
    at = draw(st.integers(0, len(good) - 1))
    return good[:at] + bytes([good[at] ^ draw(st.integers(1, 255))]) + good[at + 1 :]


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """`data` cut at these places."""
    ends = [*sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)})]
    return [data[at:end] for at, end in zip([0, *ends], ends, strict=False) if end > at]


#: Places to cut at.
CUTS = st.lists(st.integers(0, 1 << 16), max_size=8)


def kept(folder: str) -> list[Path]:
    """The cases of one kind that are worth keeping."""
    return sorted(path for path in (CORPUS / folder).rglob("*") if path.is_file())


def case_id(path: Path) -> str:
    return str(path.relative_to(CORPUS))


#: Values of any kind, and those that break who expects another.
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
        st.sampled_from(["\ud800", "1", "8" * 32, 10**32 - 1, 10**4000, 1e308, "\x1b[2J"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip
