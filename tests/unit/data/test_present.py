"""Modules that a host finds by itself are left where they are, until they change."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.data.modules import left_alone


def tree_of(folder: Path) -> dict[str, Any]:
    files = sorted(folder.rglob("*.py"))
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size, 0o100644)
        for path in files
    }


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on sys.path with a module and a package."""
    folder = tmp_path / "beside"
    (folder / "own_package").mkdir(parents=True)
    (folder / "own_module.py").write_text("x = 1\n")
    (folder / "own_package" / "__init__.py").write_text("y = 1\n")
    (folder / "own_package" / "part.py").write_text("z = 1\n")
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_what_is_there_is_left_alone(beside: Path, tmp_path: Path) -> None:
    known: dict[str, str] = {}
    assert left_alone(tree_of(beside), str(tmp_path / "modules"), known) == {}
    assert set(known) == {"own_module", "own_package"}


def test_what_differs_in_one_file_is_not(beside: Path, tmp_path: Path) -> None:
    tree = tree_of(beside)
    (beside / "own_package" / "part.py").write_text("z = 2\n")
    assert set(left_alone(tree, str(tmp_path / "modules"), {})) == {"own_package/__init__.py", "own_package/part.py"}


def test_once_one_has_changed_all_go(beside: Path, tmp_path: Path) -> None:
    known: dict[str, str] = {}
    left_alone(tree_of(beside), str(tmp_path / "modules"), known)
    (beside / "own_module.py").write_text("x = 2\n")
    tree = tree_of(beside)
    assert left_alone(tree, str(tmp_path / "modules"), known) == tree
    assert left_alone(tree, str(tmp_path / "modules"), known) == tree


def test_a_copy_that_was_sent_is_not_what_the_host_has(beside: Path) -> None:
    tree = tree_of(beside)
    assert left_alone(tree, str(beside.parent), {}) == tree


def test_what_no_import_finds_goes(tmp_path: Path) -> None:
    tree = {"nowhere_else.py": ("0" * 64, 3, 0o100644), "gone": ("", 0, 0)}
    assert left_alone(tree, str(tmp_path), {}) == tree
