"""The package as it is installed: light to import, honest about its names, and whole in the wheel."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import lepton_jupyter
from lepton_jupyter.targets._agent import _TRAVELS

HEAVY = {"IPython", "ipywidgets", "jupyter_client", "keras", "numpy", "paramiko", "ray", "tensorflow", "torch"}


def python(code: str, *options: str) -> str:
    command = [sys.executable, *options, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_import_brings_nothing_heavy_along() -> None:
    loaded = python("import sys, lepton_jupyter; print(*{name.partition('.')[0] for name in sys.modules})").split()
    assert not HEAVY & set(loaded)
    assert "lepton_jupyter" in loaded


def test_import_needs_only_the_standard_library(repository: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(repository)!r}); import lepton_jupyter, lepton_jupyter.wire; print('in')"
    )
    assert python(code, "-I", "-S") == "in\n"


def test_load_ext_leaves_the_frameworks_and_back_ends_alone() -> None:
    code = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell as Shell\n"
        "shell = Shell.instance(); shell.run_line_magic('load_ext', 'lepton_jupyter')\n"
        "assert 'lepton_train' in shell.magics_manager.magics['cell'], 'not registered'\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    assert not {"keras", "numpy", "paramiko", "ray", "tensorflow", "torch"} & set(python(code).split())


@pytest.mark.parametrize("name", lepton_jupyter.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(lepton_jupyter, name)
    assert name in dir(lepton_jupyter)


def test_an_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(AttributeError, match="load_ipython_extension"):
        lepton_jupyter.no_such_name  # noqa: B018


def test_the_version_is_that_of_package_json(repository: Path) -> None:
    assert lepton_jupyter.__version__ == json.loads((repository / "package.json").read_text("utf-8"))["version"]


def test_all_that_travels_is_held_to_the_python_of_hosts(repository: Path) -> None:
    settings = (repository / "pyproject.toml").read_text("utf-8")
    (vermin,) = re.findall(r"^TRAVELS = (.*)$", (repository / "Makefile").read_text("utf-8"), re.MULTILINE)
    for name in _TRAVELS:
        assert f"lepton_jupyter/{name}" in vermin.split()
        assert re.search(rf'^"lepton_jupyter/{name}(/\*\*)?" = "py39"$', settings, re.MULTILINE)


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel. Its browser's side is built already, by `make test`."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(folder), str(repository)]
    subprocess.run(build, check=True, timeout=100)
    (found,) = folder.glob("*.whl")
    return found


@pytest.mark.slow
def test_the_wheel_carries_all_and_only_the_product(repository: Path, wheel: Path) -> None:
    inside = zipfile.ZipFile(wheel).namelist()
    tracked = {str(path.relative_to(repository)) for path in repository.glob("lepton_jupyter/**/*.py")}
    notebooks = {f"lepton_jupyter/{path.relative_to(repository)}" for path in repository.glob("notebooks/*.ipynb")}
    assert notebooks
    assert tracked | notebooks | {"lepton_jupyter/py.typed"} <= set(inside)
    assert {name.partition("/")[0].partition("-")[0] for name in inside} == {"lepton_jupyter"}
    # The browser's side, once, where Jupyter looks for it.
    assert not [name for name in inside if name.startswith("lepton_jupyter/labextension/")]
    data = [name.partition(".data/data/")[2] for name in inside if ".data/data/" in name]
    assert len(data) == len(set(data))
    assert "etc/jupyter/jupyter_server_config.d/lepton_jupyter.json" in data
    place = "share/jupyter/labextensions/lepton-jupyter"
    assert {f"{place}/package.json", f"{place}/install.json", f"{place}/schemas/lepton-jupyter/plugin.json"} <= set(
        data
    )
    assert any(re.fullmatch(rf"{place}/static/remoteEntry\.\w+\.js", name) for name in data)


@pytest.mark.slow
def test_the_wheel_installs_without_node(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    bin_only = {"PATH": str(tmp_path / "env" / "bin"), "HOME": str(tmp_path)}
    install = [
        str(tmp_path / "env" / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    subprocess.run(install, check=True, timeout=100, env=bin_only)
    place = tmp_path / "env" / "share" / "jupyter" / "labextensions" / "lepton-jupyter"
    about = json.loads((place / "package.json").read_text("utf-8"))
    assert (place / about["jupyterlab"]["_build"]["load"]).is_file()
    server = tmp_path / "env" / "etc" / "jupyter" / "jupyter_server_config.d" / "lepton_jupyter.json"
    assert json.loads(server.read_text("utf-8"))["ServerApp"]["jpserver_extensions"] == {"lepton_jupyter": True}
