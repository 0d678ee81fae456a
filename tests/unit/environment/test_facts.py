"""What a host has: its Pythons, packages, frameworks and GPUs, and what `%lepton_target test` says of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.agent import facts, installed, probe
from lepton_jupyter.agent.versions import allows, release
from lepton_jupyter.errors import InterpreterUnfit
from tests.unit.environment._asked import Program


class TestFacts:
    def test_of_this_interpreter_and_of_another_they_are_the_same(self, tmp_path: Path) -> None:
        link = tmp_path / "other"
        link.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        link.chmod(0o755)
        modules, wanted = ["numpy", "no_such_module", "json", "pytest"], ["numpy>=1", "six<1"]
        mine = facts.facts("", str(tmp_path), modules, wanted)
        other = facts.facts(str(link), str(tmp_path), modules, wanted)
        assert mine["modules"] == {"numpy": True, "no_such_module": False, "json": True, "pytest": True}
        assert mine["unmet"] == "six<1"
        assert mine["disk"] > 0
        for name in ("python", "modules", "unmet", "torch", "tensorflow", "venv", "machine"):
            assert other[name] == mine[name], name
        assert other["packages"].items() <= mine["packages"].items()  # pytest puts more on our path

    def test_nothing_is_imported(self) -> None:
        code = "import sys; from lepton_jupyter.agent.facts import facts; facts(modules=['torch', 'numpy', 'keras']);"
        code += "print([name for name in ('torch', 'tensorflow', 'numpy', 'keras') if name in sys.modules])"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"

    def test_frameworks_by_what_they_were_built_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        for name in ("torch", "tensorflow"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        assert (installed.torch(), installed.tensorflow()) == ({}, {})
        info = tmp_path / "tensorflow" / "python" / "platform" / "build_info.py"
        (tmp_path / "torch").mkdir()
        info.parent.mkdir(parents=True)
        for package in ("torch", "tensorflow"):
            (tmp_path / package / "__init__.py").write_text("raise RuntimeError('imported')")
        (tmp_path / "tensorflow-2.21.0.dist-info").mkdir()
        (tmp_path / "torch" / "version.py").write_text(
            "from typing import Optional\n__version__ = '2.13.0+cu130'\ncuda: Optional[str] = '13.0'\nhip = None\n"
        )
        info.write_text("build_info = dict([('cuda_version', '12.5.1'), ('is_cuda_build', True)])\n")
        assert installed.torch() == {"version": "2.13.0+cu130", "cuda": "13.0"}
        assert installed.tensorflow() == {"version": "2.21.0", "cuda": "12.5.1"}
        (tmp_path / "torch" / "version.py").write_text("cuda = __import__('os').system('touch evil')\n")
        assert installed.torch() == {}

    def test_packages_by_any_spelling(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in (
            "Some_Thing-1.0.dist-info",
            "PyYAML-6.0-py3.11.egg-info",
            "zope.x-5.dist-info",
            "strange.dist-info",
        ):
            (tmp_path / name).mkdir()
        monkeypatch.setattr(sys, "path", [str(tmp_path), "/no/such/folder", str(tmp_path / "a.zip")])
        assert installed.packages() == {"some-thing": "1.0", "pyyaml": "6.0", "zope-x": "5"}

    def test_a_python_that_says_nonsense_is_unfit(self, program: Program) -> None:
        with pytest.raises(InterpreterUnfit, match="does not say what it has: it broke"):
            facts.facts(str(program("python", "echo it broke >&2")))

    def test_gpus_by_the_driver_and_by_its_tool(
        self, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(facts, "_NVIDIA", str(tmp_path / "nvidia"))
        assert facts.nvidia() == ("", [])
        program("nvidia-smi", "echo '535.104.05, NVIDIA A100-SXM4, 40GB'; echo '535.104.05, Tesla T4'")
        assert facts.nvidia() == ("535.104.05", ["NVIDIA A100-SXM4, 40GB", "Tesla T4"])
        (tmp_path / "nvidia" / "gpus" / "0000:01:00.0").mkdir(parents=True)
        (tmp_path / "nvidia" / "version").write_text(
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs)  Sun Jul 27\n"
        )
        (tmp_path / "nvidia" / "gpus" / "0000:01:00.0" / "information").write_text("Model: \t\t NVIDIA H100\nIRQ: 1\n")
        assert facts.nvidia() == ("580.65.06", ["NVIDIA H100"])

    def test_a_tool_that_fails_shows_no_gpu(self, program: Program) -> None:
        program("nvidia-smi", "echo 'No devices were found'; exit 6")
        assert facts.nvidia() == ("", [])

    def test_uv_is_found_where_it_installs_itself(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "executable", "/no/such/python")
        assert facts.uv() == ""
        own = Path.home() / ".local" / "bin" / "uv"
        own.parent.mkdir(parents=True, exist_ok=True)
        own.write_text("#!/bin/sh\n")
        own.chmod(0o755)
        try:
            assert facts.uv() == str(own)
        finally:
            own.unlink()
        first = program("uv", "")
        assert facts.uv() == str(first), "the PATH says which one"


@pytest.mark.parametrize(
    ("requirements", "unmet"),
    [
        (["numpy", "NumPy >= 1", "torch==2.13.0"], ""),  # 2.13.0+cpu is 2.13.0
        (["numpy<1"], "numpy<1"),
        (["no-such-thing"], "no-such-thing"),
        (["no-such-thing; python_version < '3'"], ""),
        (["numpy[extra]"], "numpy[extra]"),
        (["numpy @ https://example.org/numpy.whl"], "numpy @ https://example.org/numpy.whl"),
        (["git+https://example.org/x.git"], "git+https://example.org/x.git"),
        (["six==1.17.0 --hash=sha256:aa"], "six==1.17.0 --hash=sha256:aa"),
    ],
)
def test_what_a_python_meets_for_certain(requirements: list[str], unmet: str) -> None:
    assert installed.unmet(requirements) == unmet


@pytest.mark.parametrize(
    ("specifiers", "version", "allowed"),
    [
        (">=3.10", "3.10.0", True), (">=3.10", "3.9.18", False), (">=3.10,<3.13", "3.13.0", False),
        ("~=3.11", "3.12.1", True), ("~=3.11.2", "3.12.1", False), ("==3.11.*", "3.11.7", True),
        ("!=3.11.*", "3.11.7", False), ("==3.11", "3.11.0", True), (">3.11", "3.11.7", True), ("<=3.11", "3.11", True),
        ("", "3.11", True), ("^3.11", "3.9", True), ("nonsense", "3.9", True), ("===3.11.7", "3.11.7", True),
    ],
)  # fmt: skip
def test_versions_that_specifiers_allow(specifiers: str, version: str, allowed: bool) -> None:
    assert allows(specifiers, version) is allowed


def test_the_numbers_of_a_version() -> None:
    assert [release(text) for text in ("2.13.0rc1+cpu", "v1", "", "x", " 3")] == [(2, 13, 0), (1,), (), (), (3,)]


class TestProbe:
    def rows(self, root: Path, python: str = "auto") -> dict[str, dict[str, Any]]:
        return {row["subject"]: row for row in probe.findings(str(root), python)}

    def test_all_is_told(self, tmp_path: Path) -> None:
        rows = self.rows(tmp_path)
        assert all(row["ok"] is not False for row in rows.values())
        assert "ipykernel" in rows["Python"]["value"]
        assert "uv" in rows["packages"]["value"]
        assert "without CUDA" in rows["PyTorch"]["value"]
        assert "GiB free" in rows["storage"]["value"]

    def test_a_gpu_that_nothing_here_can_use(self, tmp_path: Path, program: Program) -> None:
        by_question = "*driver_version,name*) echo '580.65.06, NVIDIA H100';; *) echo 'NVIDIA H100, 80';;"
        program("nvidia-smi", f"case $* in {by_question} esac")
        rows = self.rows(tmp_path)
        assert rows["accelerator"]["value"] == "NVIDIA H100, 80"
        assert rows["PyTorch"]["ok"] is False
        assert "--env auto" in rows["PyTorch"]["cure"]

    def test_a_driver_that_is_broken(self, tmp_path: Path, program: Program) -> None:
        program("nvidia-smi", 'echo "NVIDIA-SMI has failed because it couldn\'t communicate with the driver"; exit 9')
        row = self.rows(tmp_path)["accelerator"]
        assert row["ok"] is False
        assert "couldn't communicate" in row["value"]

    def test_a_python_without_anything(self, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        bare = {"python": "3.9.2", "packages": {}, "torch": {}, "tensorflow": {}, "venv": False, "uv": "", "gpus": []}
        monkeypatch.setattr(facts, "facts", lambda *args: bare)
        rows = self.rows(tmp_path)
        assert rows["packages"]["ok"] is None
        assert "python3.9-venv" in rows["packages"]["cure"]
        assert "an environment will be made" in rows["Python"]["value"]
        assert rows["frameworks"]["value"] == "none"

    def test_an_interpreter_that_is_not_there(self, tmp_path: Path) -> None:
        assert self.rows(tmp_path, "/no/such/python")["Python"]["ok"] is False
