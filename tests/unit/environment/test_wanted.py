"""What a notebook wants: from its script block, its project, or what it imports here; and what `--env` may say."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path

import pytest

from lepton_jupyter.data.environment import imports, wanted
from tests.unit.environment._asked import MakeNotebook, refused, spec

HERE = ".".join(map(str, sys.version_info[:2]))


class TestScriptBlock:
    BLOCK = (
        '# /// script\n# requires-python = ">=3.10"\n# dependencies = [\n#   "six==1.17.0",\n#   "tomli",\n# ]\n# ///\n'
    )

    def test_it_says_all(self, notebook: MakeNotebook) -> None:
        path = notebook(self.BLOCK, "import numpy")
        (path.parent / "requirements.txt").write_text("pandas\n")
        found = spec(path, ["torch"])
        assert found.requirements == ("six==1.17.0", "tomli")
        assert found.python == ">=3.10"
        assert found.source == "the script block of train.ipynb"
        assert found.words == "2 packages of the script block of train.ipynb"

    def test_that_of_a_cell_that_is_not_saved_yet_counts(self, notebook: MakeNotebook) -> None:
        assert spec(notebook("1"), sources=[self.BLOCK]).requirements == ("six==1.17.0", "tomli")
        assert spec(notebook(self.BLOCK), sources=[self.BLOCK]).requirements == ("six==1.17.0", "tomli")

    def test_a_script_is_a_notebook_too(self, tmp_path: Path) -> None:
        path = tmp_path / "train.py"
        path.write_text(self.BLOCK + "import six\n")
        assert spec(path).requirements == ("six==1.17.0", "tomli")

    @pytest.mark.parametrize(
        ("block", "words"),
        [
            ("# /// script\n# dependencies = [\n# ///\n", "no valid TOML"),
            ("# /// script\n# dependencies = 'six'\n# ///\n", "not a list of texts"),
            ("# /// script\n# dependencies = ['six', 3]\n# ///\n", "not a list of texts"),
            ("# /// script\n# dependencies = ['--index-url=http://evil']\n# ///\n", "is no requirement"),
            ("# /// script\n# dependencies = ['six\\n--index-url http://evil']\n# ///\n", "is no requirement"),
            (BLOCK + "\n" + BLOCK, "2 blocks"),
        ],
    )
    def test_a_broken_one_is_an_error_in_words(self, notebook: MakeNotebook, block: str, words: str) -> None:
        assert words in refused(notebook(block))

    def test_without_an_end_it_is_a_comment(self, notebook: MakeNotebook) -> None:
        assert spec(notebook("# /// script\n" + "# dependencies = []\n" * 5000)).requirements == ()


class TestImports:
    def test_the_versions_here_of_what_the_cells_import(self, notebook: MakeNotebook) -> None:
        path = notebook(
            "%matplotlib inline\n!pip list\nimport numpy as np, json, sys\nfrom sklearn.svm import SVC",
            "%%lepton_train --on gpu1\nimport torch\ntry:\n    import tqdm\nexcept ImportError:\n    tqdm = None",
            "%%bash\nimport pandas",
            "import IPython, lepton_jupyter, os.path, no_such_module_here",
            "this is (no Python\nimport nbformat",
        )
        found = spec(path)
        names = [line.split("==")[0] for line in found.requirements]
        assert names == ["nbformat", "numpy", "scikit-learn", "torch", "tqdm"]
        assert f"numpy=={metadata.version('numpy')}" in found.requirements
        assert f"torch=={metadata.version('torch').partition('+')[0]}" in found.requirements  # no +cpu
        assert (found.python, found.prefer, found.source) == ("", HERE, "what train.ipynb imports")
        assert found.also == ("safetensors", "skops")

    def test_keras_comes_with_what_does_its_work(self, notebook: MakeNotebook, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KERAS_BACKEND", "torch")
        names = [line.split("==")[0] for line in spec(notebook("import keras")).requirements]
        assert names == ["keras", "torch"]

    def test_what_is_installed_from_this_machine_is_left_out(
        self, notebook: MakeNotebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = tmp_path / "lib" / "site-packages"
        origins = {
            "own_edit": {"url": "file:///home/ann/own", "dir_info": {"editable": True}},
            "own_wheel": {"url": "file:///home/ann/own.whl", "archive_info": {}},
            "of_git": {"url": "https://example.org/of.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "of_web": {"url": "https://example.org/of_web-1.0-py3-none-any.whl", "archive_info": {}},
            "of_index": None,
        }
        for name, origin in origins.items():
            info = site / f"{name}-1.0+local.dist-info"
            info.mkdir(parents=True)
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0+local\n")
            (info / "RECORD").write_text(f"{name}.py,,\n")
            (site / f"{name}.py").write_text("")
            if origin is not None:
                (info / "direct_url.json").write_text(json.dumps(origin))
        developed = tmp_path / "checkout" / "developed.egg-info"
        developed.mkdir(parents=True)
        (developed / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: developed\nVersion: 2\n")
        (developed / "top_level.txt").write_text("developed\n")
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.syspath_prepend(str(developed.parent))
        found = spec(notebook(f"import developed, {', '.join(origins)}"))
        assert found.requirements == (
            "of-git @ git+https://example.org/of.git@abc",
            "of-index==1.0",
            "of-web @ https://example.org/of_web-1.0-py3-none-any.whl",
        )
        assert [left.split()[0] for left in found.left_out] == ["developed", "own-edit", "own-wheel"]

    def test_of_a_namespace_only_what_is_imported(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        site = tmp_path / "site-packages"
        for part in ("left", "right"):
            info = site / f"shared_{part}-1.0.dist-info"
            info.mkdir(parents=True)
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: shared-{part}\nVersion: 1.0\n")
            (info / "RECORD").write_text(f"shared_space/{part}/__init__.py,,\n")
        monkeypatch.syspath_prepend(str(site))
        assert imports.distributions("shared_space.right") == ["shared-right"]
        assert imports.distributions("shared_space") == ["shared-left", "shared-right"]

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": 3}', '{"cells": [1, {"source": 5}]}', "[" * 100_000])
    def test_a_broken_notebook_imports_nothing(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "broken.ipynb"
        (tmp_path / ".git").mkdir()
        path.write_text(text)
        assert spec(path).requirements == ()
        assert spec(path, ["six"]).requirements == (f"six=={metadata.version('six')}",)

    def test_a_notebook_of_old(self, tmp_path: Path) -> None:
        path = tmp_path / "old.ipynb"
        cell = {"cell_type": "code", "input": ["import six\n", "1"]}
        path.write_text(json.dumps({"nbformat": 3, "worksheets": [{"cells": [cell]}]}))
        assert imports.cells(path) == ["import six\n1"]


class TestOption:
    @pytest.mark.parametrize("env", ["none", "off", "OFF", ""])
    def test_off(self, notebook: MakeNotebook, env: str) -> None:
        assert wanted(notebook("import six"), env=env) is None

    @pytest.mark.parametrize(
        "env", ["six==1.17.0 'tomli>=2,<3'", ["six==1.17.0", "tomli>=2,<3"], ("six==1.17.0", "tomli>=2,<3")]
    )
    def test_requirements_themselves(self, notebook: MakeNotebook, env: str | list[str]) -> None:
        found = spec(notebook("import numpy"), env=env)
        assert found.requirements == ("six==1.17.0", "tomli>=2,<3")
        assert found.source == "--env"

    def test_extras_are_not_groups(self, notebook: MakeNotebook) -> None:
        assert spec(notebook("1"), env="attrs[tests] six[a]==1").requirements == ("attrs[tests]", "six[a]==1")

    def test_a_file_anywhere(self, notebook: MakeNotebook, tmp_path: Path) -> None:
        (tmp_path / "other.txt").write_text("six\n")
        assert spec(notebook("1"), env=str(tmp_path / "other.txt")).requirements == ("six",)
        assert spec(notebook("1"), env="../other.txt").source == "other.txt"

    @pytest.mark.parametrize(
        ("env", "words"),
        [
            ("environment.yml", "conda env create -f environment.yml"),
            ("uv.lock", "uv export"),
            ("nowhere.txt", "there is no file"),
            ("poetry.toml", "there is no file"),
            ("six 'unclosed", "cannot be read"),
            ("./folder", "./folder (it lies on this machine)"),
            ("--index-url http://evil", "is no requirement"),
            (["six\nevil"], "is no requirement"),
        ],
    )
    def test_what_makes_no_environment(self, notebook: MakeNotebook, env: str | list[str], words: str) -> None:
        assert words in refused(notebook("1"), env=env)

    def test_a_project_of_poetry(self, notebook: MakeNotebook) -> None:
        path = notebook("1")
        (path.parent / "pyproject.toml").write_text('[tool.poetry.dependencies]\npython = "^3.11"\nsix = "*"\n')
        assert "poetry export" in refused(path, env="pyproject.toml")

    def test_without_a_notebook_the_current_folder_counts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "requirements.txt").write_text("six\n")
        monkeypatch.chdir(tmp_path)
        assert spec(None).requirements == ("six",)

    def test_what_is_sent(self, notebook: MakeNotebook) -> None:
        sent = spec(notebook("1"), env="six").to_json()
        assert json.loads(json.dumps(sent)) == sent
        assert sent["requirements"] == ["six"]
