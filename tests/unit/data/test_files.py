"""Files that travel: what is collected, and how it arrives."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.data.files import collect, place
from lepton_jupyter.errors import ConfigError
from tests.unit.data._files import FILE, FOLDER, Store, listing, write


def test_what_is_collected_arrives_and_through_json(base: Path, there: Path, store: Store) -> None:
    write(base, data__a_csv="1", data__deep__b_csv="22", run_sh="#!/bin/sh")
    (base / "run.sh").chmod(0o4755)
    (base / "data" / "empty").mkdir()
    got = collect(["data", "run.sh"], str(base), store)
    assert (got.size, got.count, len(got.blobs)) == (12, 3, 3)
    place(json.loads(json.dumps(got.tree)), store, str(there))
    assert listing(there) == {"data/a.csv", "data/deep/b.csv", "run.sh"}
    assert (there / "data" / "empty").is_dir()
    assert stat.S_IMODE((there / "run.sh").stat().st_mode) == 0o700
    assert stat.S_IMODE((there / "data" / "a.csv").stat().st_mode) == 0o600
    assert stat.S_IMODE((there / "data").stat().st_mode) == 0o700


def test_patterns_and_places_elsewhere(base: Path, tmp_path: Path, store: Store) -> None:
    write(base, a__x_csv="1", a__y_csv="2", b__z_csv="3", plain_txt="4")
    write(tmp_path, elsewhere__w_csv="5")
    assert set(collect(["**/*.csv"], str(base), store).tree) == {"a/x.csv", "a/y.csv", "b/z.csv"}
    assert set(collect(["../elsewhere", "./a/../plain.txt"], str(base), store).tree) == {
        "elsewhere",
        "elsewhere/w.csv",
        "plain.txt",
    }
    assert "a/x.csv" in collect(["."], str(base), store).tree
    (base / "[x].txt").write_text("literally")
    assert set(collect(["[x].txt"], str(base), store).tree) == {"[x].txt"}


@pytest.mark.parametrize("asked", ["missing", "*.missing", "a/missing.txt"])
def test_a_name_that_matches_nothing_is_an_error(base: Path, store: Store, asked: str) -> None:
    with pytest.raises(ConfigError, match="missing"):
        collect([asked], str(base), store)


def test_two_files_for_one_place_are_an_error(base: Path, tmp_path: Path, store: Store) -> None:
    write(tmp_path, one__data_csv="1", two__data_csv="2")
    with pytest.raises(ConfigError, match="both be 'data.csv'"):
        collect(["../one/data.csv", "../two/data.csv"], str(base), store)


def test_ignore_files_hold(base: Path, store: Store) -> None:
    (base / ".git").mkdir()
    write(
        base, Dgitignore="*.log\n!keep.log\n/secret\nbuild/\n\\!odd\n", a_log="", keep_log="", secret="", sub__secret=""
    )
    write(
        base, build__x="", sub__build__y="", sub__Dgitignore="*.txt\n!keep.log\n", sub__a_txt="", sub__b_log="", odd=""
    )
    write(base, sub__deep__c_txt="", sub__deep__Dgitignore="!c.txt", a_txt="", __pycache____x="")
    write(base, Dvenv__pyvenv_cfg="", node_modules="", x_pyc="")
    files = {path for path, entry in collect(["."], str(base), store).tree.items() if entry[2] != FOLDER}
    assert files == {
        ".gitignore", "keep.log", "sub/secret", "odd", "a.txt", "sub/.gitignore", "sub/deep/c.txt",
        "sub/deep/.gitignore", "node.modules",
    }  # fmt: skip


def test_leptonignore_counts_before_gitignore_and_above_folders_count(base: Path, store: Store) -> None:
    (base / ".git").mkdir()
    write(base, Dgitignore="*.bin\n*.log\n", Dleptonignore="!model.bin\n*.tmp\n")
    write(base, data__model_bin="", data__other_bin="", data__a_log="", data__b_tmp="", data__c="")
    assert listing_of(collect(["data"], str(base), store).tree) == {"data/model.bin", "data/c"}


def listing_of(tree: dict[str, Any]) -> set[str]:
    return {path for path, entry in tree.items() if entry[2] != FOLDER}


def test_what_is_named_comes_though_it_is_ignored(base: Path, store: Store) -> None:
    (base / ".git").mkdir()
    write(base, Dgitignore="data/\n*.csv\n", data__a_csv="", data__sub__b="", x_csv="")
    assert listing_of(collect(["data", "x.csv"], str(base), store).tree) == {"data/a.csv", "data/sub/b", "x.csv"}
    assert listing_of(collect(["data/sub"], str(base), store).tree) == {"data/sub/b"}
    assert listing_of(collect(["."], str(base), store).tree) == {".gitignore"}


def test_without_a_repository_the_base_counts(base: Path, store: Store) -> None:
    write(base, Dleptonignore="*.tmp", data__a_tmp="", data__b="")
    assert listing_of(collect(["data"], str(base), store).tree) == {"data/b"}


def test_links_inside_stay_links(base: Path, there: Path, store: Store) -> None:
    write(base, d__real_txt="text", d__sub__x="x")
    (base / "d" / "link.txt").symlink_to("real.txt")
    (base / "d" / "sub" / "up").symlink_to("../real.txt")
    (base / "d" / "folder").symlink_to("sub")
    place(collect(["d"], str(base), store).tree, store, str(there))
    assert os.readlink(there / "d" / "link.txt") == "real.txt"
    assert (there / "d" / "sub" / "up").read_text() == "text"
    assert (there / "d" / "folder" / "x").read_text() == "x"


def test_links_to_what_does_not_come_along_are_followed_inside_the_base(base: Path, store: Store) -> None:
    write(base, other__real_txt="text", other__sub__x="x", d__y="")
    (base / "d" / "file").symlink_to("../other/real.txt")
    (base / "d" / "absolute").symlink_to(base / "other" / "real.txt")
    (base / "d" / "folder").symlink_to("../other/sub")
    tree = collect(["d"], str(base), store).tree
    assert tree["d/file"][1] == tree["d/absolute"][1] == 4
    assert tree["d/folder/x"][2] == FILE


def test_links_that_lead_out_are_refused_unless_named(base: Path, tmp_path: Path, store: Store) -> None:
    write(tmp_path, secret__key="k")
    (base / "d").mkdir()
    (base / "d" / "out").symlink_to(tmp_path / "secret")
    with pytest.raises(ConfigError, match="leads out of"):
        collect(["d"], str(base), store)
    assert listing_of(collect(["d/out"], str(base), store).tree) == {"d/out/key"}


def test_loops_broken_links_and_pipes_are_left_out_and_said(base: Path, store: Store) -> None:
    write(base, d__x="")
    (base / "d" / "loop").symlink_to("..")
    (base / "d" / "self").symlink_to("self")
    (base / "d" / "broken").symlink_to("nowhere")
    os.mkfifo(base / "d" / "pipe")
    got = collect(["d"], str(base), store)
    assert listing_of(got.tree) == {"d/x"}
    assert all(any(name in note for note in got.skipped) for name in ("loop", "self", "broken", "pipe"))
    with pytest.raises(ConfigError, match="neither a file nor a folder"):
        collect(["d/pipe"], str(base), store)


def test_a_file_is_read_once(base: Path, tmp_path: Path, store: Store) -> None:
    write(base, a="1", b="2")
    old = 1_600_000_000
    for name in ("a", "b"):
        os.utime(base / name, (old, old))
    digests = str(tmp_path / "digests")
    first = collect(["."], str(base), store, digests)
    assert sorted(store.read_files) == ["a", "b"]
    (base / "b").write_text("3")
    os.utime(base / "b", (old, old + 1))
    second = collect(["."], str(base), store, digests)
    assert store.read_files[2:] == ["b"]
    assert first.tree["a"] == second.tree["a"] and first.tree["b"] != second.tree["b"]
    assert stat.S_IMODE(os.stat(digests).st_mode) == 0o600


def test_a_file_that_was_just_written_is_read_again(base: Path, tmp_path: Path, store: Store) -> None:
    write(base, a="1")
    for _ in range(2):
        collect(["a"], str(base), store, str(tmp_path / "digests"))
    assert store.read_files == ["a", "a"]


def test_what_the_store_has_lost_is_read_again(base: Path, tmp_path: Path, store: Store) -> None:
    write(base, a="1")
    os.utime(base / "a", (1, 1))
    collect(["a"], str(base), store, str(tmp_path / "digests"))
    collect(["a"], str(base), Store(tmp_path / "another"), str(tmp_path / "digests"))
    assert Store(tmp_path / "another").has(hashlib.sha256(b"1").hexdigest())


def test_a_damaged_memory_of_digests_is_no_harm(base: Path, tmp_path: Path, store: Store) -> None:
    write(base, a="1")
    (tmp_path / "digests").write_bytes(b"no database" * 100)
    assert collect(["a"], str(base), store, str(tmp_path / "digests")).count == 1
    assert collect(["a"], str(base), store, str(tmp_path / "no" / "folder")).count == 1


def test_a_file_that_changes_all_the_time_goes_as_it_was_and_that_is_said(base: Path, tmp_path: Path) -> None:
    write(base, a="")

    class Racing(Store):
        def put_file(self, path: str) -> str:
            digest = super().put_file(path)
            with open(path, "a") as file:
                file.write("more")
            return digest

    store = Racing(tmp_path / "racing")
    got = collect(["a"], str(base), store)
    assert "was being written" in got.skipped[0]
    digest, size, _ = got.tree["a"]
    assert os.stat(store.path(digest)).st_size == size


def test_what_cannot_be_read_and_what_is_gone(base: Path, tmp_path: Path) -> None:
    write(base, a="", b="")

    class Failing(Store):
        def put_file(self, path: str) -> str:
            raise FileNotFoundError(path) if path.endswith("a") else PermissionError(path)

    got = collect(["a"], str(base), Failing(tmp_path / "s"))
    assert got.count == 0 and "removed in the meantime" in got.skipped[0]
    with pytest.raises(ConfigError, match="cannot be read"):
        collect(["b"], str(base), Failing(tmp_path / "s"))


HOSTILE = [
    "new\nline",
    "quo'te\"",
    "-rf",
    "$(x)",
    "sp ace",
    "ünï",
    "\x1b[31m",
    "a" * 255,
    "\udcff\udcfe",
    "*",
    "back\\slash",
]


def test_names_with_hostile_characters_travel_as_they_are(base: Path, there: Path, store: Store) -> None:
    for name in HOSTILE:
        (base / name).write_text(repr(name))
    tree = json.loads(json.dumps(collect(["."], str(base), store).tree))
    place(tree, store, str(there))
    assert listing(there) == set(HOSTILE)
