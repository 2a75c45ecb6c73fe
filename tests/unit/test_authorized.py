"""Lines of ours in authorized_keys, as bytes: what is ours, what is over, and that nothing else ever changes."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from hostler.shell.authorized import LINE, OURS, parse_moment, put_in, take_out

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA"
NOW = parse_moment("202611302330")
HOURS = timedelta(hours=12)
UID, OTHER = "a" * 32, "b" * 32

#: Anything at all, and much that looks like ours.
TEXTS = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from(
            [b"\n", b"\r\n", b"restrict,", b'expiry-time="202601010000" ', b"hostler-session-" + b"c" * 32]
        ),
        st.builds(
            lambda until, end: LINE.format(until=until, key=KEY, uid="c" * 32).encode() + end,
            st.sampled_from(["202701010000", "999913329999"]),
            st.sampled_from([b"\n", b"\r\n", b" \n", b"x\n"]),
        ),
    )
).map(b"".join)


def put(text: bytes, *, uid: str = UID, now: str = "202611302330", lifetime: timedelta = HOURS) -> bytes:
    edit = put_in(text, uid=uid, key=KEY, now=parse_moment(now), lifetime=lifetime)
    return text if edit is None else edit.of(text)


def take(text: bytes, *, uid: str = UID) -> bytes:
    edit = take_out(text, uid=uid, now=NOW)
    return text if edit is None else edit.of(text)


@given(TEXTS)
def test_taken_out_again_everything_is_as_it_was(text: bytes) -> None:
    with_both = put(put(text), uid=OTHER)
    assert with_both.endswith(text) and with_both.count(b"\n") == text.count(b"\n") + 2
    assert take(take(with_both), uid=OTHER) == text
    assert put(put(text)) == put(text)


def test_a_line_names_the_run_and_its_end_across_a_turn_of_the_year() -> None:
    assert put(b"", now="202612311300", lifetime=HOURS) == (
        b'restrict,expiry-time="202701010100" ' + KEY.encode() + b" hostler-session-" + UID.encode() + b"\n"
    )


def test_a_renewal_comes_when_an_eighth_of_the_time_is_over_and_one_that_asks_for_less_counts_too() -> None:
    first = put(b"x\n")
    assert put(first, now="202612010059") == first
    assert put(first, now="202612010101") != first
    shorter = put(first, lifetime=HOURS / 4)
    assert shorter < first and len(shorter) == len(first)


def test_another_key_takes_the_place_of_the_one_that_a_lost_controller_had() -> None:
    first = put(b"x\n")
    edit = put_in(first, uid=UID, key="ssh-ed25519 BBBB", now=NOW, lifetime=HOURS)
    assert edit is not None and edit.of(first).count(b"hostler-session") == 1


def test_what_is_over_is_swept_whosever_run_it_was_and_only_that() -> None:
    over = put(b"", uid=OTHER, lifetime=-HOURS)
    alive = put(b"", uid="c" * 32)
    text = over + b"mine\n" + alive + over + b"more"
    assert take(text) == b"mine\n" + alive + b"more"
    assert put(text).endswith(b"\nmine\n" + alive + b"more") and len(OURS.findall(put(text))) == 2
    assert take(over.replace(b"restrict,", b"")) == over.replace(b"restrict,", b"")
