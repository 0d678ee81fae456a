"""Requirements as they are written in projects and files, also broken and hostile ones."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lepton_jupyter.errors import ConfigError
from tests.unit.environment._asked import MakeNotebook, refused, spec


class TestProject:
    def test_the_nearest_project_counts(self, notebook: MakeNotebook) -> None:
        path = notebook("x = 1", folder="work/notebooks/deep")
        project = path.parents[2] / "pyproject.toml"
        project.write_text('[project]\nname = "p"\nrequires-python = ">=3.11"\ndependencies = ["six>=1.16", "tomli"]\n')
        found = spec(path)
        assert found.requirements == ("six>=1.16", "tomli")
        assert (found.python, found.prefer, found.source) == (">=3.11", "", "pyproject.toml")
        (path.parents[1] / "requirements.txt").write_text("attrs\n")
        assert spec(path).source == "requirements.txt"

    def test_one_for_tools_alone_says_nothing(self, notebook: MakeNotebook) -> None:
        path = notebook("x = 1")
        (path.parent / "pyproject.toml").write_text("[tool.ruff]\nline-length = 100\n")
        assert spec(path).source == "what train.ipynb imports"

    def test_above_the_projects_root_nothing_is_looked_for(self, notebook: MakeNotebook, tmp_path: Path) -> None:
        (tmp_path / "requirements.txt").write_text("attrs\n")
        assert spec(notebook("x = 1")).requirements == ()

    def test_what_the_cells_import_beside_it_comes_along(self, notebook: MakeNotebook) -> None:
        path = notebook("import numpy, dateutil", "from packaging import version")
        (path.parent / "requirements.txt").write_text("matplotlib\n")  # it brings numpy, dateutil and packaging
        assert spec(path, ["six"]).requirements == ("matplotlib",)
        found = spec(path, ["tomlkit"])
        assert found.requirements == ("matplotlib", f"tomlkit=={metadata.version('tomlkit')}")
        assert found.source == "requirements.txt and what train.ipynb imports"

    def test_extras_and_groups_by_name(self, notebook: MakeNotebook) -> None:
        path = notebook("x = 1")
        (path.parent / "pyproject.toml").write_text(
            '[project]\nname = "my_app"\ndependencies = ["six"]\n'
            '[project.optional-dependencies]\nplot = ["attrs"]\nall = ["My-App[plot]", "tomli"]\n'
            '[dependency-groups]\ndev = ["idna", {include-group = "lint"}]\nlint = ["toolz"]\n'
        )
        assert spec(path, env="pyproject.toml").requirements == ("six",)
        found = spec(path, env="pyproject.toml[all, dev]")
        assert found.requirements == ("six", "attrs", "tomli", "idna", "toolz")
        assert found.source == "pyproject.toml[all, dev]"
        assert "It has: all, dev, lint, plot." in refused(path, env="pyproject.toml[tests]")

    def test_groups_that_include_one_another_are_an_error(self, notebook: MakeNotebook) -> None:
        path = notebook("x = 1")
        (path.parent / "pyproject.toml").write_text(
            '[project]\nname = "p"\ndependencies = []\n'
            '[dependency-groups]\na = [{include-group = "b"}]\nb = [{include-group = "a"}]\n'
        )
        assert "include one another" in refused(path, env="pyproject.toml[a]")

    def test_dependencies_in_a_file_of_setuptools(self, notebook: MakeNotebook) -> None:
        path = notebook("x = 1")
        (path.parent / "pyproject.toml").write_text(
            '[project]\nname = "p"\ndynamic = ["dependencies"]\n'
            '[tool.setuptools.dynamic]\ndependencies = {file = ["deps.txt"]}\n'
        )
        (path.parent / "deps.txt").write_text("six  # of old\n")
        assert spec(path).requirements == ("six",)

    def test_sources_of_uv(self, notebook: MakeNotebook) -> None:
        path = notebook("x = 1")
        (path.parent / "pyproject.toml").write_text(
            '[project]\nname = "p"\ndependencies = ["mine", "Theirs", "six", "local"]\n[tool.uv.sources]\n'
            'mine = {workspace = true}\nlocal = {path = "../local"}\n'
            'theirs = {git = "https://example.org/theirs.git", tag = "v1"}\n'
        )
        found = spec(path)
        assert found.requirements == ("Theirs @ git+https://example.org/theirs.git@v1", "six")
        assert [left.split()[0] for left in found.left_out] == ["mine", "local"]

    @pytest.mark.parametrize(
        "text",
        [
            "[project\n", '[project]\ndependencies = "six"\n', "[project]\ndependencies = [1]\n",
            '[project]\ndependencies = ["six ==== 1"]\n', '[project]\ndependencies = ["-e ."]\n',
        ],
    )  # fmt: skip
    def test_a_broken_one_is_an_error_that_names_it(self, notebook: MakeNotebook, text: str) -> None:
        path = notebook("x = 1")
        (path.parent / "pyproject.toml").write_text(text)
        assert "pyproject.toml" in refused(path)

    @pytest.mark.parametrize("text", ["project = 1\n", "[project]\ndynamic = 3\n", "[tool]\nuv = 1\n"])
    def test_one_of_strange_types_says_nothing(self, notebook: MakeNotebook, text: str) -> None:
        path = notebook("x = 1")
        (path.parent / "pyproject.toml").write_text(text)
        assert spec(path).source == "what train.ipynb imports"

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
    def test_what_a_stranger_put_above_is_not_taken(self, notebook: MakeNotebook) -> None:
        path = notebook("x = 1", folder="work/mine")
        (path.parents[1] / "requirements.txt").write_text("evil\n")
        os.chown(path.parents[1] / "requirements.txt", 12345, 12345)
        assert spec(path).requirements == ()
        os.chown(path, 12345, 12345)  # the notebook is the stranger's too
        assert spec(path).requirements == ("evil",)


class TestRequirements:
    def test_lines_markers_hashes_comments_and_includes(self, notebook: MakeNotebook) -> None:
        path = notebook("import numpy")  # which has no hash there
        digest = "a" * 64
        (path.parent / "requirements.txt").write_bytes(
            b"\xef\xbb\xbf# all that it needs\r\n"
            b"six==1.17.0 \\\r\n    --hash=sha256:" + digest.encode() + b"\r\n"
            b'tomli>=2 ; python_version < "3.11"  # not later\n'
            b"-r more/base.txt\n-c limits.txt\n--index-url https://ann:secret@example.org/simple\n"
            b"https://example.org/pkg-1.0-py3-none-any.whl#sha256=ab\n"
        )
        (path.parent / "more").mkdir()
        (path.parent / "more" / "base.txt").write_text("attrs[tests]>=23\n-r ../requirements.txt\n--pre\n")
        (path.parent / "limits.txt").write_text("idna<4\n")
        found = spec(path)
        assert found.requirements == (
            f"six==1.17.0 --hash=sha256:{digest}",
            'tomli>=2 ; python_version < "3.11"',
            "attrs[tests]>=23",
            "https://example.org/pkg-1.0-py3-none-any.whl#sha256=ab",
        )
        assert found.constraints == ("idna<4",)
        assert found.options == ("--pre", "--index-url https://ann:secret@example.org/simple")
        assert "secret" not in found.words

    def test_what_only_this_machine_has_is_left_out_and_said(self, notebook: MakeNotebook) -> None:
        path = notebook("x = 1")
        (path.parent / "requirements.txt").write_text(
            "six\n-e .\n./wheels/own.whl\nown @ file:///home/ann/own\n--find-links ./wheels\n--user\n"
            "-e git+https://example.org/x.git@main#egg=x\n~/elsewhere\nattrs --config-settings=a=b\n"
        )
        found = spec(path)
        assert found.requirements == ("six", "git+https://example.org/x.git@main#egg=x", "attrs")
        assert found.options == ()
        assert len(found.left_out) == 7
        assert "./wheels/own.whl (it lies on this machine)" in found.words

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("six =< 1\n", "requirements.txt: 'six =< 1' is no requirement"),
            ("rm -rf /\n", "is no requirement"),
            ("$(touch evil)\n", "is no requirement"),
            ("-r nowhere.txt\n", "there is no file"),
            ("-r /etc/passwd\n", "Only files of this machine that end in .txt or .in"),
            ("-r https://example.org/r.txt\n", "Only files of this machine"),
            ("-r .\n", "Only files of this machine"),
        ],
    )
    def test_what_is_no_requirement_is_an_error(self, notebook: MakeNotebook, text: str, words: str) -> None:
        path = notebook("x = 1")
        (path.parent / "requirements.txt").write_text(text)
        assert words in refused(path)

    def test_bytes_that_are_no_text(self, notebook: MakeNotebook) -> None:
        path = notebook("x = 1")
        (path.parent / "requirements.txt").write_bytes(b"\xff\xfe\x00")
        assert "cannot be read" in refused(path)

    def test_endless_includes(self, notebook: MakeNotebook) -> None:
        path = notebook("x = 1")
        for n in range(60):
            (path.parent / f"r{n}.txt").write_text(f"-r r{n + 1}.txt\n")
        assert "includes more than 50 files" in refused(path, env="r0.txt")

    def test_a_pipe_is_no_file(self, notebook: MakeNotebook) -> None:
        path = notebook("x = 1")
        os.mkfifo(path.parent / "requirements.txt")
        assert spec(path).requirements == ()
        assert "there is no file" in refused(path, env="requirements.txt")


PIECES = (
    "six|==1.0|[|]|-r |-e |--hash=sha256:|\\\n|\n| |#|;|@|https://|git+|./|'|=|dependencies|[project]"
    "|# /// script\n|# ///\n|# |import |\0|ü|%|!|(|:|\u2028|\r"
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(PIECES.split("|")), max_size=30).map("".join),
    st.sampled_from(["cells.py", "requirements.txt", "pyproject.toml"]),
)
def test_whatever_is_written_is_read_or_refused_in_words(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / ".git").mkdir(exist_ok=True)
    for other in tmp_path.glob("*.*"):
        if other.is_file():
            other.unlink()
    (tmp_path / name).write_text(text, newline="")
    try:
        found = spec(tmp_path / "cells.py", env="auto" if name == "cells.py" else name)
    except ConfigError:
        return
    for line in (*found.requirements, *found.constraints, *found.options):
        assert len(line.splitlines()) == 1, line
    assert not any(line.startswith("-") for line in found.requirements)
