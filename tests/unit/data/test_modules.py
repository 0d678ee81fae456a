# ruff: noqa: E501 - sources in one line
"""The user's own modules: which they are, and that loaded ones follow their source. Host and user in one process."""

from __future__ import annotations

import importlib
import json
import os
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.blobs import BlobStore
from lepton_jupyter.data.modules import KEEP, Found, activate, find, install
from lepton_jupyter.errors import LeptonError, WireError


class Project:
    """A user's folder and a host; what the host has loaded is hidden while the user's side looks."""

    def __init__(self, root: Path) -> None:
        self.folder, self.host = root / "project", root / "host"
        self.folder.mkdir()
        self.store = BlobStore(str(root / "blobs"))

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def find(self, *imports: str, **options: Any) -> Found:
        hidden = {name: module for name, module in sys.modules.items() if name.startswith("lm_")}
        path = sys.path[:]
        for name in hidden:
            del sys.modules[name]
        sys.path[:] = [place for place in path if not place.startswith(str(self.host))]
        importlib.invalidate_caches()
        try:
            return find(imports, str(self.folder), self.store, **options)
        finally:
            sys.path[:] = path
            sys.modules.update(hidden)

    def send(self, *imports: str, namespace: dict[str, Any] | None = None) -> list[str]:
        tree = json.loads(json.dumps(self.find(*imports).tree))
        return activate(install(tree, self.store, str(self.host)), namespace)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    modules, path = {**sys.modules}, sys.path[:]
    yield Project(tmp_path)
    sys.path[:] = path
    for name in set(sys.modules) - set(modules):
        if name.startswith("lm_"):
            del sys.modules[name]
    importlib.invalidate_caches()


def load(name: str) -> Any:
    return importlib.import_module(name)


# find


def test_a_module_beside_the_notebook_comes_with_what_it_imports(project: Project) -> None:
    project.write("lm_a.py", "import os, numpy\nimport lm_b.deep.x\ndef f():\n    from lm_c import y")
    project.write("lm_b/__init__.py", "from . import deep")
    project.write("lm_b/deep/__init__.py", "")
    project.write("lm_b/deep/x.py", "import lm_a")
    project.write("lm_b/data/words.txt", "words")
    project.write("lm_b/__pycache__/x.pyc", "")
    project.write("lm_b/.git/config", "")
    project.write("lm_c.py", "y = 1")
    project.write("lm_unused.py", "")
    found = project.find("lm_a", "json", "numpy.linalg")
    files = {path for path, entry in found.tree.items() if entry[2] == 0o100644}
    assert files == {
        "lm_a.py", "lm_b/__init__.py", "lm_b/deep/__init__.py", "lm_b/deep/x.py", "lm_b/data/words.txt", "lm_c.py",
    }  # fmt: skip
    assert found.modules == ("lm_a", "lm_b", "lm_c")
    assert set(found.blobs) == {found.tree[path][0] for path in files}


def test_neither_the_standard_library_nor_installed_packages_come(project: Project) -> None:
    found = project.find(
        "json", "sys", "zipimport", "numpy", "pytest", "lepton_jupyter", "__main__", "xml.etree", "_io"
    )
    assert found.tree == {} and found.modules == ()


def test_a_folder_that_packages_were_installed_into_is_none_of_the_users(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("target/lm_installed/__init__.py", "")
    monkeypatch.syspath_prepend(str(project.folder / "target"))
    assert project.find("lm_installed").modules == ("lm_installed",)
    project.write("target/lm_installed-1.0.dist-info/METADATA", "")
    assert project.find("lm_installed").tree == {}


def test_an_editable_install_comes(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a .pth file or, as here, by a finder that maps a name to a folder elsewhere."""
    from importlib.machinery import PathFinder

    package = tmp_path / "elsewhere" / "src" / "lm_editable"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "_version.py").write_text("version = 1")
    (package / ".gitignore").write_text("_version.py")

    class Editable:
        @classmethod
        def find_spec(cls, name: str, path: Any = None, target: Any = None) -> Any:
            return PathFinder.find_spec(name, [str(package.parent)]) if name == "lm_editable" else None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Editable])
    assert {"lm_editable/__init__.py", "lm_editable/_version.py"} <= set(project.find("lm_editable").tree)


def test_a_folder_without_init_brings_its_python_files(project: Project) -> None:
    project.write("lm_plain/sub/x.py", "value = 3")
    project.write("lm_plain/huge.bin", "data")
    found = project.find("lm_plain.sub.x")
    assert set(found.tree) == {"lm_plain/sub/x.py"}
    project.send("lm_plain.sub.x")
    assert load("lm_plain.sub.x").value == 3


def test_large_and_compiled_files_and_ignored_ones_are_said(project: Project) -> None:
    project.write("lm_big/__init__.py", "")
    project.write("lm_big/model.bin", "x" * 100)
    project.write("lm_big/fast" + sysconfig.get_config_var("EXT_SUFFIX"), "")
    project.write("lm_big/.leptonignore", "*.tmp")
    project.write("lm_big/a.tmp", "")
    found = project.find("lm_big", largest=50)
    assert "lm_big/model.bin" not in found.tree and "lm_big/a.tmp" not in found.tree
    assert any("model.bin" in note for note in found.skipped)
    assert any("compiled for this machine" in note for note in found.skipped)


def test_looking_imports_nothing(project: Project) -> None:
    project.write("lm_quiet/__init__.py", "raise SystemExit('imported')")
    project.write("lm_quiet/sub.py", "this is no Python")
    assert project.find("lm_quiet.sub").modules == ("lm_quiet",)


def test_the_file_counts_not_what_is_loaded(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("lm_loaded.py", "x = 1")
    monkeypatch.syspath_prepend(str(project.folder))
    load("lm_loaded")
    project.write("lm_loaded.py", "x = 22")
    first = find(["lm_loaded"], str(project.folder), project.store)
    assert first.size == len("x = 22")
    (project.folder / "lm_loaded.py").unlink()
    importlib.invalidate_caches()
    assert find(["lm_loaded"], str(project.folder), project.store).tree == {"lm_loaded": ("", 0, 0)}


# install and activate


def test_modules_are_imported_there_and_first(project: Project) -> None:
    project.write("lm_a.py", "from lm_pkg.sub import x\nwhere = __file__")
    project.write("lm_pkg/__init__.py", "")
    project.write("lm_pkg/sub.py", "from pathlib import Path\nx = (Path(__file__).parent / 'data.txt').read_text()")
    project.write("lm_pkg/data.txt", "text")
    assert project.send("lm_a") == []
    assert load("lm_a").x == "text"
    assert load("lm_a").where.startswith(str(project.host))
    assert sys.path[0].startswith(str(project.host))


def test_nothing_is_written_or_loaded_again_when_nothing_changed(project: Project) -> None:
    project.write("lm_a.py", "class C: ...")
    project.send("lm_a")
    module, path, cls = load("lm_a"), sys.path[:], load("lm_a").C
    before = sorted(os.listdir(project.host))
    assert project.send("lm_a") == []
    assert (
        load("lm_a") is module and module.C is cls and sys.path == path and sorted(os.listdir(project.host)) == before
    )


def test_a_changed_module_is_loaded_again_in_place_with_those_that_import_it(project: Project) -> None:
    project.write("lm_base.py", "value = 1\nold = True")
    project.write("lm_middle.py", "from lm_base import value\nimport lm_other")
    project.write("lm_top.py", "def f():\n    return middle.value\nimport lm_middle as middle")
    project.write("lm_other.py", "state = []")
    project.send("lm_top")
    top, base, other = load("lm_top"), load("lm_base"), load("lm_other")
    other.state.append(1)
    project.write("lm_base.py", "value = 2")
    assert project.send("lm_top") == ["lm_base", "lm_middle", "lm_top"]
    assert top.f() == 2
    assert load("lm_base") is base and not hasattr(base, "old")
    assert load("lm_other") is other and other.state == [1]


def test_inside_a_package_only_what_changed_is_loaded_again(project: Project) -> None:
    project.write("lm_p/__init__.py", "")
    project.write("lm_p/a.py", "x = 1")
    project.write(
        "lm_p/b.py",
        "from .a import x\nfrom pathlib import Path\ndef data(): return Path(__file__).with_name('d').read_text()",
    )
    project.write("lm_p/c.py", "here = []")
    project.write("lm_p/d", "old")
    project.send("lm_p.b")
    package, b, c = load("lm_p"), load("lm_p.b"), load("lm_p.c")
    project.write("lm_p/a.py", "x = 2")
    project.write("lm_p/d", "new")
    project.write("lm_p/late.py", "y = 3")
    assert project.send("lm_p") == ["lm_p.a", "lm_p.b"]
    assert b.x == 2 and b.data() == "new"
    assert load("lm_p.c") is c and package.c is c and package.a.x == 2
    assert load("lm_p.late").y == 3
    project.write("lm_p/d", "newest")
    assert project.send("lm_p") == []
    assert b.data() == "newest"


def test_names_that_were_imported_from_a_module_are_refreshed(project: Project) -> None:
    project.write("lm_a.py", "def f(): return 1\nclass C:\n    x = 1\n")
    namespace: dict[str, Any] = {}
    project.send("lm_a", namespace=namespace)
    exec("from lm_a import f as g, C\nimport lm_a\nmine = 1", namespace)
    project.write("lm_a.py", "def f(): return 2\nclass C:\n    x = 2\n")
    project.send("lm_a", namespace=namespace)
    assert namespace["g"]() == 2 and namespace["C"].x == 2 and namespace["lm_a"].f() == 2 and namespace["mine"] == 1


def test_deleted_modules_are_gone(project: Project) -> None:
    project.write("lm_p/__init__.py", "")
    project.write("lm_p/a.py", "")
    project.write("lm_whole.py", "")
    project.send("lm_p", "lm_whole")
    load("lm_p.a"), load("lm_whole")
    (project.folder / "lm_p" / "a.py").unlink()
    (project.folder / "lm_whole.py").unlink()
    project.send("lm_p", "lm_whole")
    for name in ("lm_p.a", "lm_whole"):
        with pytest.raises(ModuleNotFoundError):
            load(name)
    assert not hasattr(load("lm_p"), "a")


def test_modules_that_a_cell_does_not_import_stay(project: Project) -> None:
    project.write("lm_a.py", "")
    project.write("lm_b.py", "")
    project.send("lm_a")
    a = load("lm_a")
    project.send("lm_b")
    assert load("lm_a") is a and load("lm_b")


def test_another_module_of_that_name_is_hidden(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "lm_a.py").write_text("x = 'foreign'")
    project.write("lm_a.py", "x = 'own'")
    tree = project.find("lm_a").tree
    monkeypatch.syspath_prepend(str(tmp_path / "foreign"))
    assert load("lm_a").x == "foreign"
    activate(install(tree, project.store, str(project.host)))
    assert load("lm_a").x == "own"


def test_a_module_that_fails_shows_its_own_error_where_it_is_imported(project: Project) -> None:
    project.write("lm_a.py", "x = 1")
    project.write("lm_b.py", "import lm_a\nx = lm_a.x")
    project.send("lm_b")
    load("lm_b")
    project.write("lm_a.py", "x = 1 / 0")
    assert project.send("lm_b") == []
    with pytest.raises(ZeroDivisionError):
        load("lm_b")
    project.write("lm_a.py", "x = 5")
    project.send("lm_b")
    assert load("lm_b").x == 5


def test_modules_in_a_circle(project: Project) -> None:
    project.write("lm_a.py", "import lm_b\nx = 1\ndef f(): return lm_b.y")
    project.write("lm_b.py", "import lm_a\ny = 1")
    project.send("lm_a")
    a = load("lm_a")
    project.write("lm_b.py", "import lm_a\ny = 2")
    assert set(project.send("lm_a")) == {"lm_a", "lm_b"}
    assert a.f() == 2


def test_two_versions_lie_side_by_side_and_old_ones_are_removed(project: Project) -> None:
    project.write("lm_a.py", "x = 1")
    first = install(project.find("lm_a").tree, project.store, str(project.host))["lm_a"]
    project.write("lm_a.py", "x = 2")
    second = install(project.find("lm_a").tree, project.store, str(project.host))["lm_a"]
    assert first != second and os.path.exists(first) and os.path.exists(second)
    old = time.time() - KEEP - 1
    for folder in (first, second):
        os.utime(folder, (old, old))
    activate({"lm_a": second})
    os.utime(second, (old, old))
    install({}, project.store, str(project.host))
    assert os.listdir(project.host) == [os.path.basename(second)]


@pytest.mark.parametrize(
    "tree",
    [None, [], {"../x.py": ["0" * 64, 1, 0o100644]}, {"a/../../x": ["", 0, 0]}, {"a": ["0" * 64, 1, 0]}, {3: ["", 0, 0]}, {"a": False}],
)  # fmt: skip
def test_a_tree_that_is_not_safe_is_refused(project: Project, tree: Any) -> None:
    if tree == {"a/../../x": ["", 0, 0]}:  # says only that there is no such module
        assert install(tree, project.store, str(project.host)) == {"a/../../x": ""}
        assert activate({"a/../../x": ""}) == []
        return
    with pytest.raises(WireError):
        install(tree, project.store, str(project.host))
    assert not project.host.exists()


def test_a_half_installed_module_is_not_there(project: Project) -> None:
    project.write("lm_a.py", "x = 1")
    tree = {**project.find("lm_a").tree, "lm_a.txt": ("0" * 64, 1, 0o100644)}
    with pytest.raises(LeptonError):
        install(tree, project.store, str(project.host))
    assert os.listdir(project.host) == []
