"""What a host installs with: which Python, tool and builds, and what its own settings say. Nothing is built."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.agent import environments, facts, installers
from lepton_jupyter.errors import InterpreterUnfit
from tests.unit.environment._asked import Program

CPU: dict[str, Any] = {"driver": "", "rocm": ""}
NEW_GPU: dict[str, Any] = {"driver": "580.65.06", "rocm": ""}
OLD_GPU: dict[str, Any] = {"driver": "535.104.05", "rocm": ""}
AMD: dict[str, Any] = {"driver": "", "rocm": "6.4"}


class TestFits:
    def test_a_python_that_has_all_is_taken(self, tmp_path: Path) -> None:
        assert environments.fits({"requirements": ["numpy", "torch"], "python": ">=3.9"}, sys.executable, str(tmp_path))
        for spec in (
            {"requirements": ["numpy<1"]}, {"python": ">=4"}, {"requirements": ["numpy"], "constraints": ["numpy<99"]}
        ):  # fmt: skip
            assert not environments.fits(spec, sys.executable, str(tmp_path))

    def test_torch_without_cuda_does_not_fit_a_gpu(self, tmp_path: Path, program: Program) -> None:
        program("nvidia-smi", "echo '580.65.06, NVIDIA H100'")
        assert not environments.fits({"requirements": ["torch"]}, sys.executable, str(tmp_path))
        assert environments.fits({"requirements": ["numpy"]}, sys.executable, str(tmp_path))


class TestChoose:
    HERE = ".".join(map(str, sys.version_info[:2]))

    def test_this_one_when_it_will_do(self, program: Program) -> None:
        assert environments.choose({}) == sys.executable
        assert environments.choose({"python": ">=3.9", "prefer": self.HERE}) == sys.executable
        assert environments.choose({"prefer": "3.99"}) == sys.executable

    def test_the_preferred_one_when_it_is_there(self, program: Program) -> None:
        preferred = str(program("python3.13", "echo 3.13.1"))
        program("python3.14", "echo 3.14.0")
        assert environments.choose({"prefer": "3.13"}) == preferred
        assert environments.choose({"python": ">=3.13,<3.14"}) == preferred
        assert environments.choose({"python": ">=3.13"}).endswith("python3.14")

    def test_else_uv_finds_one(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "executable", "/no/such/python")
        with pytest.raises(InterpreterUnfit, match=r"pyproject.toml wants Python >=3.98, but this host has 3"):
            environments.choose({"python": ">=3.98", "source": "pyproject.toml"})
        program("uv", "")
        assert environments.choose({"python": ">=3.98, <4"}) == ">=3.98,<4"


class TestSettings:
    def test_pips_are_read_as_pip_reads_them(self, tmp_path: Path) -> None:
        config = tmp_path / "config"
        (config / "pip").mkdir(parents=True)
        (config / "pip" / "pip.conf").write_text(
            "[global]\nindex-url = https://ann:secret@example.org/simple\nfind-links =\n  /wheels\n  /more\n"
            "[install]\nno_index = true\n"
        )
        (tmp_path / "prefix").mkdir()
        (tmp_path / "prefix" / "pip.conf").write_text("[global]\ncert = /ca.pem\n")
        environ = {"XDG_CONFIG_HOME": str(config), "PIP_EXTRA_INDEX_URL": "https://b/ https://c/", "PIP_CERT": ""}
        found = installers.pip_settings(environ, str(tmp_path / "prefix"))
        assert found["no-index"] == "true"
        assert found["cert"] == "/ca.pem"
        words = installers.in_uv_words(found)
        assert words["UV_DEFAULT_INDEX"] == "https://ann:secret@example.org/simple"
        assert words["UV_INDEX"] == "https://b/ https://c/"
        assert words["UV_INDEX_STRATEGY"] == "unsafe-best-match"
        assert words["UV_FIND_LINKS"] == "/wheels,/more"
        assert words["SSL_CERT_FILE"] == "/ca.pem"

    def test_a_broken_file_is_left_to_pip(self, tmp_path: Path) -> None:
        (tmp_path / "pip.conf").write_bytes(b"\xff[[[")
        assert "index-url" not in installers.pip_settings({"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")})

    def test_those_of_uv_come_first(self) -> None:
        environ = {
            "UV_INDEX_URL": "https://uv/",
            "PIP_INDEX_URL": "https://pip/",
            "UV_SYSTEM_PYTHON": "1",
            "PIP_USER": "1",
            "FORCE_COLOR": "1",
        }
        found = installers.Installer("/bin/uv", "/bin/python3", environ).environ
        assert found["UV_INDEX_URL"] == "https://uv/"
        assert "UV_DEFAULT_INDEX" not in found
        assert not {"UV_SYSTEM_PYTHON", "PIP_USER", "FORCE_COLOR"} & found.keys()

    def test_no_password_is_in_a_command(self) -> None:
        environ = {"PIP_INDEX_URL": "https://ann:secret@example.org/simple", "PIP_NO_INDEX": "1"}
        tools = installers.Installer("/bin/uv", "/bin/python3", environ)
        commands = [tools.make("/envs/x", True), tools.install("/envs/x/bin/python", "-r", "file")]
        assert "secret" not in str(commands)
        assert all("--no-index" in command for command in commands)
        assert tools.environ["UV_DEFAULT_INDEX"] == "https://ann:secret@example.org/simple"

    def test_urls_are_shown_without_their_passwords(self) -> None:
        assert installers.safe("from https://ann:secret@a/b and git+ssh://git@c") == (
            "from https://***@a/b and git+ssh://***@c"
        )


class TestBuilds:
    @pytest.mark.parametrize(
        ("lines", "host", "steps"),
        [
            (["six"], CPU, []),
            (["torch"], NEW_GPU, []),
            (["torch"], AMD, []),
            (["torch==2.13.0", "six"], CPU, [["--no-deps", "torch==2.13.0+cpu"], ["cpu", "torch==2.13.0"]]),
            (["Torch == 2.13.0"], OLD_GPU, [["--no-deps", "Torch==2.13.0+cu126"], ["cu126", "Torch == 2.13.0"]]),
            (["torch>=2", "torchvision"], CPU, [["cpu", "torch>=2", "torchvision"]]),
            (["torch==2.13.0+cu130"], CPU, [["cpu", "torch==2.13.0+cu130"]]),
            (["lightning"], CPU, [["cpu", "torch"]]),
            (["torch @ https://ann:secret@example.org/torch.whl"], CPU, []),
            (["--extra-index-url https://download.pytorch.org/whl/cu121", "torch"], CPU, []),
        ],
    )
    def test_of_torch(self, lines: list[str], host: dict[str, Any], steps: list[list[str]]) -> None:
        index = ["--no-deps", "--index-url"]
        full = [
            step if step[0] == "--no-deps" else [*index, f"{installers._TORCH_INDEX}{step[0]}", *step[1:]]
            for step in steps
        ]
        assert installers.torch_steps(lines, host, {}) == full
        assert installers.torch_steps(lines, host, {"UV_TORCH_BACKEND": "auto"}) == []

    @pytest.mark.parametrize(
        ("line", "cpu", "gpu"),
        [
            ("tensorflow", "tensorflow-cpu", "tensorflow[and-cuda]"),
            ("TensorFlow-CPU == 2.21", "tensorflow-cpu== 2.21", "tensorflow[and-cuda]== 2.21"),
            ("tensorflow[and-cuda]>=2,<3", "tensorflow-cpu>=2,<3", "tensorflow[and-cuda]>=2,<3"),
            ("tensorflow;os_name!='x'", "tensorflow-cpu;os_name!='x'", "tensorflow[and-cuda];os_name!='x'"),
            ("tensorflow @ https://a/b.whl", "tensorflow @ https://a/b.whl", "tensorflow @ https://a/b.whl"),
            ("tensorflow-datasets", "tensorflow-datasets", "tensorflow-datasets"),
            ("six", "six", "six"),
        ],
    )  # fmt: skip
    def test_of_tensorflow(self, line: str, cpu: str, gpu: str) -> None:
        assert installers.fitting_tensorflow([line], CPU) == [cpu]
        assert installers.fitting_tensorflow([line], NEW_GPU) == [gpu]

    @pytest.mark.parametrize("line", ["--index-url http://evil", "", "six\n--index-url http://evil", "  -e ."])
    def test_only_requirements_are_taken(self, line: str) -> None:
        with pytest.raises(InterpreterUnfit, match="is no requirement"):
            installers.checked(["six", line])

    def test_accelerators_that_get_the_same_builds(self) -> None:
        kinds = [facts.accelerator(host) for host in (CPU, AMD, OLD_GPU, NEW_GPU, {"driver": "450.80.02", "rocm": ""})]
        assert kinds == ["cpu", "rocm", "cuda12", "cuda13", "cuda11"]
