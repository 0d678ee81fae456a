# ruff: noqa: E501 - tables
"""Files that travel: nothing is written but what and where it should, and what a cell wrote is found."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from lepton_jupyter.data import _contents, _placing
from lepton_jupyter.data.files import changed, deliver, place, state
from lepton_jupyter.errors import LeptonError, WireError
from tests.unit.data._files import FILE, FOLDER, LINK, PROGRAM, Store, listing, tree_of, write


@pytest.mark.parametrize(
    ("path", "entry"),
    [
        *((path, None) for path in ["../x", "/x", "a/../../x", "a/./x", "", "a//x", "a/", "..", "x\0y", "a/..", "\ud800"]),
        *((path, None) for path in ["a" * 256, "/".join(["a" * 250] * 17), ".lepton-placed", "a/.lepton-x", 3, None]),
        ("x", ["0" * 63, 1, FILE]),
        ("x", ["Z" * 64, 1, FILE]),
        ("x", ["../../etc/passwd", 1, FILE]),
        ("x", ["0" * 64, -1, FILE]),
        ("x", ["0" * 64, True, FILE]),
        ("x", ["0" * 64, 1.5, FILE]),
        ("x", ["0" * 64, 1, 0o104755]),
        ("x", ["0" * 64, 1, 0o102644]),
        ("x", ["", 0, 0o020666]),  # a device
        ("x", ["", 0, 0o010600]),  # a pipe
        ("x", ["", 0, 0o140600]),  # a socket
        ("x", ["0" * 64, 1]),
        ("x", "text"),
        ("x", None),
        ("x", {}),
        (".", ["x", 0, LINK]),
        *(("a/x", [to, 0, LINK]) for to in ["/etc", "../../x", "a/../../..", "", ".", "b/..", "x\0", "a//b", "\ud800", "../.."]),
    ],
)  # fmt: skip
def test_a_tree_that_could_write_elsewhere_is_refused(there: Path, store: Store, path: Any, entry: Any) -> None:
    good = tree_of(store, good="good")
    bad = {**good, path: good["good"] if entry is None and path != "x" else entry}
    with pytest.raises(WireError):
        place(bad, store, str(there))
    assert not there.exists()
    with pytest.raises(WireError):
        deliver(bad, store, str(there))


@pytest.mark.parametrize("tree", [None, [], "text", 3, [["a", 1]]])
def test_what_is_no_tree_is_refused(there: Path, store: Store, tree: Any) -> None:
    with pytest.raises(WireError):
        place(tree, store, str(there))


def test_a_path_through_a_file_or_link_of_the_same_tree_is_refused(there: Path, store: Store) -> None:
    tree = tree_of(store, x="1")
    for first in (tree["x"], ["b", 0, LINK]):
        with pytest.raises(WireError, match="is no folder"):
            place({"a": first, "a/b/c": tree["x"], "b": ["", 0, FOLDER]}, store, str(there))


def test_an_announced_size_is_held_to(there: Path, store: Store) -> None:
    tree = tree_of(store, small="12345")
    tree["small"][1] = 4
    with pytest.raises(WireError, match="announced size"):
        place(tree, store, str(there))
    tree["small"][1] = 1 << 60  # a bomb
    for write_there in (place, deliver):
        with pytest.raises(LeptonError):
            write_there(tree, store, str(there))
    assert listing(there) == set()


def test_a_content_that_is_missing_or_damaged_writes_nothing(there: Path, store: Store) -> None:
    tree = tree_of(store, a="1", b="2")
    tree["c"] = ["0" * 64, 1, FILE]
    with pytest.raises(LeptonError):
        place(tree, store, str(there))
    assert listing(there) == set()


def test_a_link_in_the_way_is_not_followed(there: Path, tmp_path: Path, store: Store) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    there.mkdir()
    (there / "data").symlink_to(outside)
    (there / "file").symlink_to(outside / "target")
    (outside / "target").write_text("mine")
    x = tree_of(store, x="theirs")["x"]
    with pytest.raises(LeptonError, match="'data' is a link"):
        place({"data/x": x}, store, str(there))
    assert os.listdir(outside) == ["target"]
    place({"file": x}, store, str(there))
    assert (outside / "target").read_text() == "mine"
    assert (there / "file").read_text() == "theirs" and not (there / "file").is_symlink()


def test_a_folder_that_becomes_a_link_while_files_are_written(
    there: Path, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    copy = _contents._copy

    def race(source: int, target: int, size: int) -> None:
        copy(source, target, size)
        if not (there / "moved").exists():
            (there / "d").rename(there / "moved")
            (there / "d").symlink_to(outside)

    monkeypatch.setattr(_contents, "_copy", race)
    place({f"d/{name}": entry for name, entry in tree_of(store, a="1", b="2").items()}, store, str(there))
    assert os.listdir(outside) == []
    assert listing(there / "moved") == {"a", "b"}


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.mkdir(path)])
def test_what_is_in_the_way_is_replaced_or_said(there: Path, store: Store, make: Any) -> None:
    there.mkdir()
    make(str(there / "x"))
    tree = tree_of(store, x="1")
    if (there / "x").is_dir():
        with pytest.raises(LeptonError, match="there is a folder of that name"):
            place(tree, store, str(there))
        assert os.listdir(there / "x") == []
    else:
        place(tree, store, str(there))
        assert (there / "x").read_text() == "1"
    assert not [name for name in os.listdir(there) if name.startswith(".lepton-") and name != ".lepton-placed"]


def test_unchanged_files_are_not_touched_and_removed_ones_go(there: Path, store: Store) -> None:
    whole = {"d": ["", 0, FOLDER]}
    tree = {**whole, **{f"d/{name}": entry for name, entry in tree_of(store, a="1", b="2", c="3").items()}}
    done = place(tree, store, str(there))
    assert set(done.written) == {"d/a", "d/b", "d/c"}
    (there / "d" / "own").write_text("the cell's")
    (there / "d" / "c").write_text("changed by a cell")
    before = (there / "d" / "a").stat()
    again = place(tree, store, str(there))
    assert again.written == again.removed == ()
    assert (there / "d" / "c").read_text() == "changed by a cell"

    less = {**whole, "d/a": tree["d/a"]}
    assert place(less, store, str(there)).removed == ("d/b",)
    assert listing(there) == {"d/a", "d/c", "d/own"}
    assert (there / "d" / "a").stat() == before


def test_only_a_folder_that_comes_as_a_whole_loses_files(there: Path, store: Store) -> None:
    files = tree_of(store, a="1", b="2")
    place({"d": ["", 0, FOLDER], "d/a": files["a"]}, store, str(there))
    assert place({"b": files["b"]}, store, str(there)).removed == ()
    assert listing(there) == {"d/a", "b"}
    assert place({"d": ["", 0, FOLDER], "b": files["b"]}, store, str(there)).removed == ("d/a",)
    assert place({".": ["", 0, FOLDER]}, store, str(there)).removed == ("b",)


def test_a_file_that_becomes_a_folder_and_back(there: Path, store: Store) -> None:
    whole, x = {".": ["", 0, FOLDER]}, tree_of(store, x="1")["x"]
    place({**whole, "a": x}, store, str(there))
    place({**whole, "a": ["", 0, FOLDER], "a/b": x}, store, str(there))
    assert listing(there) == {"a/b"}
    place({**whole, "a": x}, store, str(there))
    assert listing(there) == {"a"}


def test_a_changed_content_or_permission_is_written_and_a_lost_file_comes_again(there: Path, store: Store) -> None:
    tree = tree_of(store, a="1", b="2")
    place(tree, store, str(there))
    tree["a"] = tree_of(store, a="new")["a"]
    tree["b"] = [*tree["b"][:2], PROGRAM]
    assert set(place(tree, store, str(there)).written) == {"a", "b"}
    assert (there / "a").read_text() == "new" and os.access(there / "b", os.X_OK)
    (there / "a").unlink()
    assert place(tree, store, str(there)).written == ("a",)


def test_a_forged_list_of_what_was_placed_removes_nothing_elsewhere(there: Path, tmp_path: Path, store: Store) -> None:
    there.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("x")
    about = victim.stat()
    forged = {"../victim": [["0" * 64, 1, FILE], [about.st_ino, about.st_mtime_ns, about.st_size]]}
    for text in (json.dumps(forged), "[]", '{"a": 1}', '{"a": [1, 2]}', "{", '{"a": []}'):
        (there / ".lepton-placed").write_text(text)
        place({".": ["", 0, FOLDER], **tree_of(store, a="1")}, store, str(there))
        assert victim.exists()


def test_a_full_disk_leaves_no_half_file(there: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: int, target: int, size: int) -> None:
        os.write(target, b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    tree = tree_of(store, a="1")
    monkeypatch.setattr(_contents, "_copy", full)
    with pytest.raises(LeptonError, match="no room"):
        place(tree, store, str(there))
    assert listing(there) == set()
    monkeypatch.undo()
    monkeypatch.setattr(_placing.Folder, "free", 0)
    with pytest.raises(LeptonError, match="no room for 1 bytes|no room"):
        place(tree, store, str(there))


def test_names_that_differ_in_case_are_refused_where_case_does_not_count(
    there: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tree_of(store, Read="1", read="2")
    folders = {"A/x": tree["Read"], "a/y": tree["read"]}
    place(tree, store, str(there / "counts"))
    monkeypatch.setattr(_placing.Folder, "case_blind", True)
    with pytest.raises(LeptonError, match="one name"):
        place(tree, store, str(there / "blind"))
    with pytest.raises(LeptonError, match="one name"):
        place({"É": tree["Read"], "e\u0301/x": tree["read"]}, store, str(there / "blind"))
    place(folders, store, str(there / "blind"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.lists(st.sampled_from(["..", ".", "", "a", "b", "c", "\n", "~", "-rf", "\0"]), max_size=4).map("/".join),
        st.sampled_from(["file", "", "a", "..", "../a", "../..", "/", "a/b", "b/../.."]),
        max_size=5,
    )
)
def test_nothing_is_ever_written_elsewhere(tmp_path: Path, store: Store, made: dict[str, str]) -> None:
    root = Path(os.path.join(tmp_path, os.urandom(6).hex()))
    (root / "outside").mkdir(parents=True)
    content = tree_of(store, x="x")["x"]
    tree = {path: content if to == "file" else [to, 0, LINK] for path, to in made.items()}
    for _ in range(2):
        try:
            place(tree, store, str(root / "in" / "folder"))
        except LeptonError:
            pass
    assert {path.name for path in root.iterdir()} <= {"outside", "in"} and not os.listdir(root / "outside")
    if (root / "in").exists():
        assert os.listdir(root / "in") == ["folder"]
        for folder, folders, files in os.walk(root / "in" / "folder"):
            for name in folders + files:
                assert os.path.realpath(os.path.join(folder, name)).startswith(os.path.realpath(root / "in" / "folder"))


# deliver


def test_what_came_back_is_written_and_never_over_the_users_files(there: Path, store: Store) -> None:
    there.mkdir()
    (there / "mine.txt").write_text("mine")
    (there / "same.txt").write_text("same")
    tree = {"same.txt": tree_of(store, x="same")["x"], "out/new.txt": tree_of(store, x="new")["x"]}
    before = (there / "same.txt").stat()
    assert deliver(tree, store, str(there)) == ("out/new.txt",)
    assert (there / "same.txt").stat() == before
    assert deliver(tree, store, str(there)) == ()
    tree |= tree_of(store, **{"mine.txt": "theirs", "other.txt": "1"})
    with pytest.raises(LeptonError, match=r"other files by these names: 'mine.txt'"):
        deliver(tree, store, str(there))
    assert listing(there) == {"mine.txt", "same.txt", "out/new.txt"}


def test_a_file_that_appears_meanwhile_is_not_overwritten(
    there: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = _contents._copy

    def race(source: int, target: int, size: int) -> None:
        copy(source, target, size)
        (there / "a").write_text("mine")

    monkeypatch.setattr(_contents, "_copy", race)
    with pytest.raises(LeptonError, match="cannot be written"):
        deliver(tree_of(store, a="theirs"), store, str(there))
    assert (there / "a").read_text() == "mine" and os.listdir(there) == ["a"]


def test_a_link_with_the_name_of_what_came_is_not_followed(there: Path, tmp_path: Path, store: Store) -> None:
    there.mkdir()
    (tmp_path / "target").write_text("theirs")
    (there / "a").symlink_to(tmp_path / "target")
    with pytest.raises(LeptonError, match="other files"):
        deliver(tree_of(store, a="theirs"), store, str(there))


# changed


def test_what_a_cell_wrote_is_found(there: Path, store: Store) -> None:
    place(tree_of(store, a="1", b="2"), store, str(there))
    before = json.loads(json.dumps(state(str(there))))
    (there / "a").write_text("11")
    (there / "b").unlink()
    write(there, out__new_txt="", __pycache____x_pyc="")
    (there / "link").symlink_to("a")
    (there / "up").symlink_to("..")
    os.mkfifo(there / "pipe")
    assert list(changed(str(there), before)) == ["a", "out/new.txt"]
    assert changed(str(there), state(str(there))).paths == ()
    assert list(changed(str(there / "nowhere"), {})) == []


def test_a_rewrite_of_the_same_size_counts(there: Path, store: Store) -> None:
    place(tree_of(store, a="1"), store, str(there))
    before = state(str(there))
    (there / "new").write_text("2")
    os.replace(there / "new", there / "a")
    assert list(changed(str(there), before)) == ["a"]


def test_limits_are_said(there: Path) -> None:
    write(there, a="1", b="22", c="333", d="4444")
    by_count = changed(str(there), {}, most=2)
    assert by_count.paths == ("a", "b") and "2 written files stay" in by_count.notes[0] and "'c'" in by_count.notes[0]
    by_size = changed(str(there), {}, most_bytes=6)
    assert by_size.paths == ("a", "b", "c")
    assert changed(str(there), {}).notes == ()
