"""Environments that are really built: by uv and by pip, once for all who want them, whole or not at all.

What is installed comes from the configured index (six, tomli, what a kernel needs) and from wheels made here.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.agent import building, environments, facts, interpreter
from lepton_jupyter.agent.storage import Alive, private_folder, write_json
from lepton_jupyter.data.environment import Facts, preflight, wanted
from lepton_jupyter.errors import HostStorage, InterpreterUnfit
from lepton_jupyter.job import Resources
from lepton_jupyter.registry import load
from lepton_jupyter.remote import no_prompt
from lepton_jupyter.testing import PATIENCE, Followed
from tests.fakes.wheels import make_wheel
from tests.faults._road import in_threads, until

pytestmark = pytest.mark.timeout(300)  # pip takes its time


class Builder:
    """A host's part of a launch, up to the interpreter; keeps what it is told."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.said: list[str] = []

    def __call__(self, *requirements: str, **spec: Any) -> str:
        wanted = {"requirements": list(requirements), "source": "the test", **spec}
        return environments.build(wanted, str(self.root), self.said.append)

    def refused(self, *requirements: str, **spec: Any) -> str:
        """Build what can't be built: nothing is left of it."""
        with pytest.raises(InterpreterUnfit) as caught:
            self(*requirements, **spec)
        assert self.made() == []
        return str(caught.value)

    def made(self) -> list[str]:
        return sorted(path.name for path in (self.root / "envs").iterdir() if path.suffix != ".lock")


@pytest.fixture
def build(tmp_path: Path) -> Builder:
    return Builder(tmp_path / "root")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments without what a kernel needs, which takes some seconds."""
    monkeypatch.setattr(building, "KERNEL", ())
    monkeypatch.setattr(environments, "KERNEL", ())


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose wheels this host's pip is configured to find."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", f"{os.environ.get('PIP_FIND_LINKS', '')} {folder}".strip())
    return folder


def put_on_path(monkeypatch: pytest.MonkeyPatch, path: Path, *lines: str) -> None:
    """A shell script that is found before all others of its name."""
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(path.parent), prepend=":")


def only_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no uv, and get none."""
    monkeypatch.setattr(facts, "uv", lambda: "")
    monkeypatch.setattr(building, "own_uv", lambda *about: "")


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """uv that waits before it installs: a file it makes when it is there, and a file it waits for."""
    there, go = tmp_path / "there", tmp_path / "go"
    waits = f'case "$1" in pip) touch "{there}"; while [ ! -e "{go}" ]; do sleep 0.05; done;; esac'
    put_on_path(monkeypatch, tmp_path / "bin" / "uv", waits, f'exec {facts.uv()} "$@"')
    yield there, go
    go.touch()


def says(python: str, code: str) -> str:
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
class TestTools:
    @pytest.mark.parametrize("tool", ["uv", "pip"])
    def test_what_is_wanted_is_there_and_made_once(
        self, build: Builder, tool: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
    ) -> None:
        if tool == "pip":  # what a kernel needs takes it half a minute; tests/faults/test_hosts.py has that
            only_pip(monkeypatch)
            request.getfixturevalue("bare")
        python = build("six==1.16.0", "tomli>=2; python_version > '3'", "idna; python_version < '3'")
        code = "import importlib.util as u, six, tomli; names = 'ipykernel', 'pip', 'idna', 'numpy'"
        found = says(python, f"{code}; print(six.__version__, *(u.find_spec(name) is not None for name in names))")
        assert found == f"1.16.0 {tool == 'uv'} True False False"  # pip is for `%pip`; nothing else of this machine's
        assert build.said[0].startswith("making an environment for the kernel in ")
        assert any("six" in line for line in build.said)
        folder = Path(python).parents[1]
        assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        assert not [*folder.glob("*.txt")]
        made, said = (folder / "complete").stat().st_mtime_ns, len(build.said)
        assert build("six==1.16.0", "tomli>=2; python_version > '3'", "idna; python_version < '3'") == python
        assert (folder / "complete").stat().st_mtime_ns == made
        assert len(build.said) == said, "nothing to tell: it was there"

    @pytest.mark.usefixtures("bare")
    def test_a_host_without_uv_gets_one_once(self, build: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(facts, "uv", lambda: "")
        first, second = build("six==1.16.0"), build("six==1.17.0")
        assert [says(python, "import six; print(six.__version__)") for python in (first, second)] == [
            "1.16.0",
            "1.17.0",
        ]
        assert sum("getting uv" in line for line in build.said) == 1
        (uv,) = (build.root / "envs").glob("*/bin/uv")
        assert not any("can't be had" in line for line in build.said)
        assert not list(uv.parents[1].glob("*/six*"))
        assert stat.S_IMODE(uv.parents[1].stat().st_mode) == 0o700

    @pytest.mark.usefixtures("bare")
    def test_where_no_uv_can_be_had_pip_does_it_with_a_word(
        self, build: Builder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(facts, "uv", lambda: "")
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
        make_wheel(tmp_path, "made-here", "1.0")
        assert says(build("made-here"), "import made_here, pip") == ""
        assert any("uv can't be had here (ERROR: " in line and "pip does it" in line for line in build.said)
        assert len(build.made()) == 1

    def test_a_kernel_runs_in_it_and_tells_its_facts(self, tmp_path: Path) -> None:
        plugin = load("targets", "local")
        target = plugin("here", plugin.Config(root=str(tmp_path / "root"), cwd=str(tmp_path)), no_prompt)
        (tmp_path / "requirements.txt").write_text("six==1.16.0\n")
        spec = wanted(tmp_path / "train.ipynb", env="requirements.txt")
        assert spec is not None
        said: list[str] = []
        kernel = target.launch(Resources(), said.append, spec.to_json())
        try:
            far = Followed(target, kernel)
            outputs = far.outputs(far.run("import sys, six; print(sys.prefix); print(six.__version__)"))
            prefix, version = outputs[0]["text"].split()
            assert (str(Path(prefix).parent), version) == (str(tmp_path / "root" / "envs"), "1.16.0")
            answer = far.client.send("facts", modules=["six", "numpy"]).result(PATIENCE)
            there = Facts.parse(answer)
            assert there.modules == {"six": True, "numpy": False}
            (missing,) = [r for r in preflight(Facts.here(["numpy"]), there, ["numpy"]) if r.fatal]
            assert f"{prefix}/bin/python -m pip install numpy==" in missing.cure
            far.client.close()
        finally:
            target.stop(kernel)
            target.close()
        assert any("making an environment" in line for line in said)
        stored = (tmp_path / "root" / "kernels" / kernel / "kernel.json").read_text()
        assert "requirements" not in stored

    def test_what_the_host_has_already_is_not_made(self, build: Builder) -> None:
        spec = {"requirements": ["numpy"], "python": ">=3.9"}
        assert interpreter.find("auto", str(build.root), build.said.append, spec) == sys.executable
        assert interpreter.find(sys.executable, str(build.root), build.said.append, spec) == sys.executable
        assert build.said == []
        with pytest.raises(InterpreterUnfit, match="pyproject.toml wants Python >=3.99, but .* is 3"):
            wrong = {"python": ">=3.99", "source": "pyproject.toml"}
            interpreter.find(sys.executable, str(build.root), build.said.append, wrong)


@pytest.mark.usefixtures("bare")
class TestBuilds:
    """Of PyTorch and TensorFlow, for the accelerator that is there; here as wheels of that name."""

    def test_one_that_fits_from_where_pip_is_told_to_look(
        self, build: Builder, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for version in ("0.0.7", "0.0.7+cpu", "0.0.8"):
            make_wheel(wheels, "torch", version)
        make_wheel(wheels, "tensorflow-cpu", "0.0.7")
        make_wheel(wheels, "tensorflow", "0.0.7", "cuda-made-here; extra == 'and-cuda'")
        make_wheel(wheels, "cuda-made-here", "1.0")
        names = "torch", "tensorflow", "tensorflow-cpu", "cuda-made-here"
        code = f"import importlib.metadata as m; print(*(d.version for n in {names} for d in m.distributions(name=n)))"
        assert says(build("torch==0.0.7", "tensorflow==0.0.7"), code) == "0.0.7+cpu 0.0.7"
        put_on_path(monkeypatch, tmp_path / "gpu" / "nvidia-smi", "echo '580.65.06, NVIDIA H100'")
        assert says(build("torch==0.0.8", "tensorflow==0.0.7"), code) == "0.0.8 0.0.7 1.0"
        assert len(build.made()) == 2

    def test_where_none_that_fits_can_be_had_the_usual_one_is_taken(
        self, build: Builder, wheels: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_wheel(wheels, "torch", "0.0.7")
        monkeypatch.setattr("lepton_jupyter.agent.installers._TORCH_INDEX", "http://127.0.0.1:9/")
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        assert says(build("torch==0.0.7"), "import torch; print(torch.__version__)") == "0.0.7"
        assert "no build of PyTorch for just this accelerator can be had: taking the usual, larger one" in build.said


@pytest.mark.usefixtures("bare")
class TestFailures:
    @pytest.mark.parametrize("tool", ["uv", "pip"])
    def test_what_cannot_be_resolved(self, build: Builder, tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
        if tool == "pip":
            only_pip(monkeypatch)
        said = build.refused("six==1.99")
        assert "the environment of the test cannot be made" in said
        assert "six==1.99" in said
        assert "Change the test, or say what to install" in said

    def test_hashes_are_kept(self, build: Builder, wheels: Path) -> None:
        wheel = make_wheel(wheels, "made-here", "1.0")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        assert says(build(f"made-here==1.0 --hash=sha256:{digest}"), "import made_here") == ""
        with pytest.raises(InterpreterUnfit, match="[Hh]ash"):
            build(f"made-here==1.0 --hash=sha256:{'0' * 64}")
        assert len(build.made()) == 1

    def test_an_index_out_of_reach(self, build: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PIP_INDEX_URL", "http://ann:geheim@127.0.0.1:9/simple")
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        said = build.refused("no-such-thing-anywhere", options=["--extra-index-url http://bob:geheim@127.0.0.1:9/x"])
        assert "does not reach its package index" in said
        assert "geheim" not in said + "".join(build.said)
        kept = [path for path in build.root.rglob("*") if path.is_file() and b"geheim" in path.read_bytes()]
        assert kept == []

    def test_a_full_disk(self, build: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        full = "case $1 in pip) echo 'error: failed to write: No space left on device (os error 28)'; exit 2;; esac"
        put_on_path(monkeypatch, tmp_path / "bin" / "uv", full, 'mkdir -p "$(eval echo \\${$#})/bin"')
        with pytest.raises(HostStorage, match="the disk of the host is full: .* GiB are free") as caught:
            build("six")
        assert "root" in caught.value.hint
        assert build.made() == []

    def test_a_list_that_is_none_starts_nothing(self, build: Builder) -> None:
        assert "is no requirement" in build.refused("six\n--index-url http://evil")
        assert build.said == []

    def test_without_uv_and_venv(self, build: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(facts, "uv", lambda: "")
        put_on_path(
            monkeypatch, tmp_path / "bin" / "python", 'case "$*" in *ensurepip*) echo False;; *) echo 3.9.2;; esac'
        )
        with pytest.raises(InterpreterUnfit, match="no venv or ensurepip") as caught:
            environments.build({}, str(build.root), build.said.append, str(tmp_path / "bin" / "python"))
        assert "sudo apt-get install python3.9-venv" in caught.value.hint


@pytest.mark.usefixtures("bare")
class TestSharing:
    def test_two_launches_at_once_build_once(self, build: Builder, gate: tuple[Path, Path]) -> None:
        there, go = gate

        def second() -> str:
            until(there.exists, "the first one installs")
            return build("six")

        def opens() -> None:
            until(lambda: any("waiting for another" in line for line in build.said), "the second one waits")
            go.touch()

        first, other, _ = in_threads(lambda: build("six"), second, opens)
        assert first == other
        assert sum(line.startswith("making an environment") for line in build.said) == 1
        assert says(first, "import six") == ""

    def test_other_wishes_make_another(self, build: Builder) -> None:
        assert len({build("six"), build("six", site=True), build("six==1.17.0"), build("six", options=["--pre"])}) == 4
        assert build("six", source="another file", left_out=["x"]) == build("six")

    def test_a_launch_that_is_killed_leaves_nothing_half_made(
        self, build: Builder, gate: tuple[Path, Path], tmp_path: Path
    ) -> None:
        there, go = gate
        code = "import sys; from lepton_jupyter.agent import building, environments as e; "
        code += "building.KERNEL = e.KERNEL = (); e.build({'requirements': ['six']}, sys.argv[1], print)"
        killed = subprocess.Popen([sys.executable, "-c", code, str(build.root)], stdout=subprocess.DEVNULL)
        until(there.exists, "it installs")
        killed.kill()
        killed.wait()
        (half,) = build.made()
        assert not (build.root / "envs" / half / "complete").exists()
        (build.root / "envs" / half / "left-by-the-killed").touch()

        def opens() -> None:  # its uv lives on, and holds the lock
            until(lambda: any("waiting for another" in line for line in build.said), "the next one waits")
            go.touch()

        python, _ = in_threads(lambda: build("six"), opens)
        assert says(python, "import six") == ""
        assert not (build.root / "envs" / half / "left-by-the-killed").exists()

    def test_a_launch_that_is_given_up_ends_its_tools(self, build: Builder, gate: tuple[Path, Path]) -> None:
        there, _ = gate

        def gone(line: str) -> None:
            build.said.append(line)
            if there.exists() or not line.startswith("making"):
                raise BrokenPipeError

        with pytest.raises(BrokenPipeError):
            environments.build({"requirements": ["six"]}, str(build.root), gone)
        assert build.made() == []


@pytest.mark.usefixtures("bare")
class TestForgetting:
    def old(self, build: Builder, *names: str) -> list[Path]:
        """Environments that were used long ago."""
        folders = [private_folder(str(build.root / "envs")) and build.root / "envs" / name for name in names]
        past = time.time() - environments.KEEP - 60
        for folder in folders:
            (folder / "bin").mkdir(parents=True)
            for name in ("complete", "used"):
                (folder / name).touch()
                os.utime(folder / name, (past, past))
        return folders

    def living(self, build: Builder, kernel: str, env: Path, host: str = "") -> Alive:
        """A kernel that says it runs in `env`; it lives when its lock is taken."""
        private_folder(str(build.root / "kernels"))
        folder = private_folder(str(build.root / "kernels" / kernel))
        write_json(f"{folder}/kernel.json", {"python": f"{env}/bin/python", "host": host or socket.gethostname()})
        return Alive(folder)

    def test_those_unused_for_long_go_those_in_use_stay(self, build: Builder) -> None:
        _, used, elsewhere, dead = self.old(build, "unused", "used", "elsewhere", "dead")
        lock = self.living(build, "kernel1", used)
        assert lock.take()
        self.living(build, "kernel2", elsewhere, "another-host")
        self.living(build, "kernel3", dead)
        (build.root / "envs" / "removed.old").mkdir()
        environments.forget_unused(str(build.root))
        assert build.made() == ["elsewhere", "used"]
        lock.free()
        environments.forget_unused(str(build.root))
        assert "used" in build.made(), "its time begins when its last kernel ends"

    def test_using_one_makes_it_young(self, build: Builder) -> None:
        folder = Path(build()).parents[1]
        past = time.time() - environments.KEEP - 60
        os.utime(folder / "used", (past, past))
        build()
        environments.forget_unused(str(build.root))
        assert build.made() == [folder.name]

    def test_one_that_is_being_made_is_left_alone(self, build: Builder) -> None:
        (folder,) = self.old(build, "making")
        lock = Alive(private_folder(f"{folder}.lock"))
        assert lock.take()
        environments.forget_unused(str(build.root))
        assert build.made() == ["making"]
        lock.free()

    def test_where_there_are_none(self, build: Builder) -> None:
        environments.forget_unused(str(build.root))
