"""What takes files in: never out of its folder, never through a link, never a part under the real name."""

from __future__ import annotations

import fcntl
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hostler.remote.files import framing
from hostler.remote.files.framing import Frames, frame, record
from hostler.remote.files.giving import CHANGED, Giver
from hostler.remote.files.taking import Taker


class Rig:
    """A taker beneath a folder, and what it said."""

    def __init__(self, folder: Path, **more: object) -> None:
        self.folder = folder
        self.failed: list[tuple[bytes, bytes]] = []
        self.placed = 0
        self.taker = Taker(
            os.fsencode(folder),
            lambda *of: self.failed.append(of),
            self._placed,
            **more,  # type: ignore[arg-type]
        )

    def _placed(self, count: int, size: int) -> None:
        self.placed += count

    def file(self, path: bytes, data: bytes, *, size: int | None = None) -> None:
        """Send a file."""
        length = len(data) if size is None else size
        self.taker.take(
            framing.BEGIN, record(framing.FILE, path, 0o640, length, 5, more=framing.OFFSET.pack(0))
        )
        self.taker.take(framing.BYTES, data)

    def end(self) -> None:
        """Send the end of a file, and of all."""
        self.taker.take(framing.END, b"")
        self.taker.take(framing.DONE, b"")
        self.taker.close()

    @property
    def names(self) -> list[str]:
        """What there is beneath the folder."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))


@pytest.mark.parametrize("path", [b"../x", b"/etc/x", b"a/../../x", b"a//b", b"./x", b"a/\0b"])
def test_a_name_that_leads_out_is_nonsense(tmp_path: Path, path: bytes) -> None:
    rig = Rig(tmp_path)
    with pytest.raises(ValueError):
        rig.file(path, b"x")
    assert rig.names == []


def test_nothing_is_written_through_a_link_that_came_before(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    inside = tmp_path / "inside"
    inside.mkdir()
    rig = Rig(inside)
    rig.taker.take(framing.POINT, record(framing.LINK, b"way", more=os.fsencode(outside)))
    rig.file(b"way/x", b"data")
    rig.end()
    assert list(outside.iterdir()) == [] and [path for path, _ in rig.failed] == [b"way/x"]


def test_a_file_that_nobody_asked_for_is_nonsense(tmp_path: Path) -> None:
    rig = Rig(tmp_path, only={b"a"})
    with pytest.raises(ValueError, match="nobody asked"):
        rig.file(b"b", b"x")


def test_more_than_was_said_is_nonsense(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    with pytest.raises(ValueError, match="more than"):
        rig.file(b"a", b"12345", size=4)


def test_a_short_file_that_is_cut_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    rig = Rig(tmp_path)
    rig.file(b"a", b"new and", size=100)
    rig.taker.close()
    assert rig.names == ["a"] and (tmp_path / "a").read_bytes() == b"old"


def test_a_long_file_that_is_cut_leaves_its_part_beside_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    rig = Rig(tmp_path)
    rig.file(b"a", b"x" * framing.KEPT, size=2 * framing.KEPT)
    rig.taker.close()
    part = framing.part_name(b"a", 2 * framing.KEPT, 5).decode()
    assert rig.names == sorted(["a", part]) and (tmp_path / "a").read_bytes() == b"old"


def test_a_part_that_somebody_else_laid_as_a_link_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / framing.part_name(b"a", 3, 5).decode()).symlink_to(victim)
    rig = Rig(folder)
    rig.file(b"a", b"new")
    rig.end()
    assert victim.read_bytes() == b"precious" and (folder / "a").read_bytes() == b"new" and not rig.failed


def test_a_part_that_is_a_second_name_of_another_file_is_not_written_to(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / framing.part_name(b"a", 3, 5).decode()).hardlink_to(victim)
    rig = Rig(folder)
    rig.file(b"a", b"new")
    rig.end()
    assert victim.read_bytes() == b"precious" and (folder / "a").read_bytes() == b"new"


def test_two_who_send_the_same_at_once_both_come_to_their_end(tmp_path: Path) -> None:
    one, other = Rig(tmp_path), Rig(tmp_path)
    one.file(b"a", b"new")
    other.file(b"a", b"new")
    one.end()
    other.end()
    assert one.names == ["a"] and not one.failed + other.failed


def test_the_sweep_leaves_a_part_that_is_being_written(tmp_path: Path) -> None:
    one, other = Rig(tmp_path), Rig(tmp_path)
    one.file(b"a", b"ne", size=3)
    [part] = one.names
    other.taker.take(framing.SWEEP, record(framing.PART, part.encode()))
    assert one.names == [part]
    one.taker.cut()
    assert one.names == []


def test_the_rights_that_do_not_count_are_taken_off(tmp_path: Path) -> None:
    rig = Rig(tmp_path, rights=0o777)
    rig.taker.take(framing.BEGIN, record(framing.FILE, b"a", 0o6755, 0, 5, more=framing.OFFSET.pack(0)))
    rig.end()
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o755


def test_a_file_that_changes_while_it_is_sent_does_not_come_and_is_named(tmp_path: Path) -> None:
    source, there = tmp_path / "source", tmp_path / "there"
    source.write_bytes(b"x" * (4 * framing.GATHER))
    there.mkdir()
    rig, frames = Rig(there, inside=b"a"), Frames()
    for data in Giver(os.fsencode(source)).given([(b"", 0, b"")]):
        with open(source, "ab") as file:
            file.write(b"more")
        for kind, body in frames.feed(data):
            rig.taker.take(kind, body)
    rig.taker.close()
    assert rig.failed == [(b"", CHANGED)] and "a" not in rig.names


def test_frames_cut_anywhere_come_out_as_they_went_in() -> None:
    whole = frame(framing.MAKE, b"abc") + frame(framing.BYTES, b"content") + frame(framing.DONE)
    for size in range(1, len(whole) + 1):
        frames, found, content = Frames(), [], b""
        for at in range(0, len(whole), size):
            for kind, body in frames.feed(whole[at : at + size]):
                if kind == framing.BYTES:
                    content += body
                else:
                    found.append((kind, body))
        assert (found, content) == ([(framing.MAKE, b"abc"), (framing.DONE, b"")], b"content")


def test_a_frame_of_a_length_beyond_all_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="frame of"):
        Frames().feed(framing.HEAD.pack(framing.MAKE, 1 << 31))


@pytest.mark.parametrize("body", [b"x", record(framing.FILE, b"abc")[:-1], record(framing.FILE, b"a") + b"x"])
def test_a_broken_record_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        framing.records(body)


def test_names_within_a_thousand_folders_are_followed_or_fail_alone(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    deep = b"/".join([b"d"] * 1050)
    rig.file(deep + b"/x", b"x")
    for at in range(1, 1051):
        rig.taker.take(framing.MAKE, record(framing.FOLDER, b"/".join([b"d"] * at), 0o755))
    rig.taker.cut()
    rig.file(deep + b"/x", b"x")
    rig.end()
    assert [path for path, _ in rig.failed] == [deep + b"/x"] and rig.placed == 1
    subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)  # shutil goes by recursion


def test_a_part_that_becomes_the_file_between_two_steps_of_another_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = Rig(tmp_path), Rig(tmp_path)
    one.file(b"a", b"new")
    flock = fcntl.flock
    seen: list[int] = []

    def late(fd: int, how: int) -> None:
        if not seen:
            seen.append(fd)
            one.end()  # it has opened the part, and not locked it yet
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", late)
    other.file(b"a", b"ne", size=3)
    assert seen and (tmp_path / "a").read_bytes() == b"new"
    other.taker.cut()
    assert one.names == ["a"] and not one.failed + other.failed


def test_a_new_part_that_somebody_sweeps_before_it_is_locked_gets_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, flock = Rig(tmp_path), fcntl.flock
    seen: list[int] = []

    def late(fd: int, how: int) -> None:
        if not seen:
            seen.append(fd)
            for name in rig.names:
                (tmp_path / name).unlink()
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", late)
    rig.file(b"a", b"new")
    rig.end()
    assert seen and rig.placed == 1 and rig.names == ["a"] and not rig.failed


def test_many_who_send_the_same_at_once_leave_it_whole(tmp_path: Path) -> None:
    data = b"x" * 5000

    def send() -> Rig:
        rig = Rig(tmp_path, durable=False)
        for at in range(200):
            rig.file(b"f%d" % at, data)
            rig.taker.take(framing.END, b"")
        rig.taker.take(framing.DONE, b"")
        rig.taker.close()
        return rig

    with ThreadPoolExecutor(6) as pool:
        rigs = [future.result() for future in [pool.submit(send) for _ in range(6)]]
    assert [rig.failed for rig in rigs] == [[]] * 6
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {data} and len(rigs[0].names) == 200
