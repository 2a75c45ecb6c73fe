"""What differs between two trees, and so what is sent, amended and removed."""

from __future__ import annotations

from hostler.engine.copyplan import Plan, Rules, alike, plan
from hostler.model.trees import FILE, FOLDER, LINK, OTHER, Entry, Part, Tree, tree

ROOT = Entry(b"", FOLDER, 0o755, 0, 7)
SYNC, PUT = Rules(equal=True), Rules()
DELETE = Rules(equal=True, delete=True)


def file(path: bytes, *, size: int = 3, mtime: int = 5, mode: int = 0o644, more: bytes = b"") -> Entry:
    """A file of a tree."""
    return Entry(path, FILE, mode, size, mtime, more)


def sent(made: Plan) -> list[bytes]:
    """The names of the files that a plan sends."""
    return [each.entry.path for each in made.send]


def test_what_is_the_same_by_size_and_time_is_passed_over() -> None:
    made = plan(tree(ROOT, file(b"a")), tree(ROOT, file(b"a")), SYNC)
    assert made.idle and made.unchanged == 1


def test_another_size_or_time_is_sent() -> None:
    there = tree(ROOT, file(b"a", size=4), file(b"b", mtime=6))
    assert sent(plan(tree(ROOT, file(b"a"), file(b"b")), there, SYNC)) == [b"a", b"b"]


def test_other_rights_alone_send_no_content() -> None:
    made = plan(tree(ROOT, file(b"a", mode=0o755)), tree(ROOT, file(b"a")), SYNC)
    assert not made.send and [each.mode for each in made.amend] == [0o755]


def test_by_content_the_same_bytes_of_another_time_are_only_amended() -> None:
    rules = Rules(content=True, equal=True)
    made = plan(tree(ROOT, file(b"a", more=b"x")), tree(ROOT, file(b"a", mtime=9, more=b"x")), rules)
    assert not made.send and [each.path for each in made.amend] == [b"a"]


def test_by_content_other_bytes_of_the_same_size_and_time_are_sent() -> None:
    rules = Rules(content=True, equal=True)
    assert sent(plan(tree(ROOT, file(b"a", more=b"x")), tree(ROOT, file(b"a", more=b"y")), rules)) == [b"a"]


def test_a_time_in_whole_seconds_is_the_same_as_one_with_parts_of_the_second() -> None:
    assert alike(5_000_000_000, 5_900_000_000)
    assert not alike(5_100_000_000, 5_900_000_000)
    assert not alike(5_000_000_000, 6_000_000_000)


def test_without_delete_nothing_goes() -> None:
    made = plan(tree(ROOT), tree(ROOT, file(b"old")), SYNC)
    assert made.idle and not made.remove


def test_with_delete_what_the_source_lacks_goes_the_inner_before_the_outer() -> None:
    there = tree(ROOT, Entry(b"d", FOLDER), file(b"d/x"), file(b"y"))
    made = plan(tree(ROOT), there, DELETE)
    assert [each.path for each in made.remove] == [b"y", b"d/x", b"d"]


def test_nothing_is_removed_when_the_source_could_not_be_read_wholly() -> None:
    source = Tree(entries={b"": ROOT}, troubles=((b"secret", "Permission denied"),))
    made = plan(source, tree(ROOT, file(b"secret/x")), DELETE)
    assert not made.remove and "nothing is removed" in made.left[0][1]


def test_a_folder_in_a_files_place_is_only_cleared_with_delete() -> None:
    there = tree(ROOT, Entry(b"a", FOLDER), file(b"a/x"))
    refused = plan(tree(ROOT, file(b"a")), there, SYNC)
    assert not refused.send and refused.failures == ((b"a", "a folder is there; --delete would replace it"),)
    made = plan(tree(ROOT, file(b"a")), there, DELETE)
    assert [each.path for each in made.clear] == [b"a/x", b"a"] and sent(made) == [b"a"]


def test_put_leaves_a_file_that_stands_in_a_folders_place_and_passes_over_what_is_in_it() -> None:
    made = plan(tree(ROOT, Entry(b"a", FOLDER), file(b"a/x"), file(b"b")), tree(ROOT, file(b"a")), PUT)
    assert made.failures == ((b"a", "no folder but a file is there"),) and sent(made) == [b"b"]


def test_sync_puts_a_folder_in_a_files_or_a_links_place() -> None:
    made = plan(tree(ROOT, Entry(b"a", FOLDER)), tree(ROOT, Entry(b"a", LINK, more=b"/etc")), SYNC)
    assert [each.path for each in made.clear] == [b"a"] and b"a" in made.new


def test_links_differ_by_where_they_lead() -> None:
    there = tree(ROOT, Entry(b"a", LINK, more=b"x"), Entry(b"b", LINK, more=b"x"))
    made = plan(tree(ROOT, Entry(b"a", LINK, more=b"x"), Entry(b"b", LINK, more=b"y")), there, SYNC)
    assert [each.path for each in made.links] == [b"b"] and made.unchanged == 1


def test_a_device_is_left_out_and_said() -> None:
    made = plan(tree(ROOT, Entry(b"pipe", OTHER)), tree(ROOT), SYNC)
    assert made.idle and made.left == ((b"pipe", "a device, socket or pipe: left out"),)


def test_put_keeps_the_rights_of_a_folder_that_is_there_and_sync_does_not() -> None:
    source = tree(Entry(b"", FOLDER, 0o700, 0, 1), file(b"a"))
    put, sync = (plan(source, tree(ROOT), rules) for rules in (PUT, SYNC))
    assert put.kept == {b""} and not sync.kept
    assert [each.mode for each in sync.folders] == [0o700]


def test_a_folder_that_something_is_removed_from_gets_its_time_back() -> None:
    made = plan(tree(ROOT), tree(ROOT, file(b"old")), DELETE)
    assert made.folders == (ROOT,)


def test_a_cut_file_goes_on_from_what_has_arrived_of_the_same_content() -> None:
    source = tree(ROOT, file(b"big", size=100))
    part = Part(b"big 100 5", 60, b"digest")
    made = plan(source, tree(ROOT, parts=[part]), SYNC, called=lambda *of: b"%s %d %d" % of)
    assert [(each.offset, each.digest) for each in made.send] == [(60, b"digest")]
    assert made.size == 40 and not made.sweep


def test_a_part_of_other_content_is_swept() -> None:
    source = tree(ROOT, file(b"big", size=101))
    made = plan(
        source, tree(ROOT, parts=[Part(b"big 100 5", 60, b"x")]), SYNC, called=lambda *of: b"%s %d %d" % of
    )
    assert made.sweep == (b"big 100 5",) and made.send[0].offset == 0


def test_a_part_in_a_folder_that_the_source_does_not_have_is_nobodys_to_sweep_by_put() -> None:
    made = plan(tree(ROOT), tree(ROOT, Entry(b"d", FOLDER), parts=[Part(b"d/.hostler-x.part", 5, b"")]), PUT)
    assert made.idle


def test_rights_that_do_not_count_make_no_difference() -> None:
    made = plan(tree(ROOT, file(b"a", mode=0o4755)), tree(ROOT, file(b"a", mode=0o755)), Rules(rights=0o777))
    assert made.unchanged == 1
