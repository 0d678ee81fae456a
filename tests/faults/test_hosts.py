"""Hosts on which no cell can run: a clear error that says what to do, the job said to be FAILED, nothing that hangs."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lepton_jupyter.errors import (
    AuthenticationFailed,
    HostKeyChanged,
    HostKeyUnknown,
    HostStorage,
    HostUnreachable,
    InterpreterUnfit,
    LaunchFailed,
    LeptonError,
)
from lepton_jupyter.job import JobState
from tests.fakes.sshd import MakeSshd, Sshd, free_port, keygen
from tests.faults._road import Client, end_kernels, far, finish, text

MakeServer = Callable[..., Sshd]


@pytest.fixture
def make_server(make_sshd: MakeSshd, tmp_path: Path, home: Path) -> Iterator[MakeServer]:
    """A function that starts a server whose commands find only the programs of `path`."""
    servers: list[Sshd] = []

    def make(*path: Path) -> Sshd:
        where = tmp_path / f"sshd{len(servers)}" / "home"
        names = {"HOME": str(where), "LEPTON_TEST_HOME": str(home), "PATH": ":".join(map(str, path))}
        servers.append(make_sshd("SetEnv " + " ".join(f'"{name}={value}"' for name, value in names.items())))
        return servers[-1]

    yield make
    for server in servers:
        end_kernels(server.root)


def program(path: Path, *lines: str) -> Path:
    """A shell script at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
    path.chmod(0o755)
    return path


def bare(folder: Path) -> Path:
    """A folder for PATH with a shell and nothing else."""
    folder.mkdir()
    for name in ("sh", "env"):
        (folder / name).symlink_to(f"/bin/{name}")
    return folder


def old_python(path: Path) -> Path:
    """An interpreter that says of itself that it is 3.8."""
    pretend = "import sys; sys.version_info = (3, 8, 18, 'final', 0)"
    return program(path, f'code="{pretend}', '$2"', "shift 2", f'exec {sys.executable} -c "$code" "$@"')


def refused(client: Client, expected: type[LeptonError], *words: str) -> LeptonError:
    """Run a cell, which must fail so, in the store too."""
    with pytest.raises(expected) as caught:
        client.run("print('never')")
    said = str(caught.value)
    for word in words:
        assert word in said, said
    assert caught.value.hint, "it says what to do"
    (job,) = client.dispatcher.store.list()
    assert job.state is JobState.FAILED
    assert job.cause == caught.value.message.splitlines()[0]
    assert job.ended is not None
    client.close()
    return caught.value


class TestLogin:
    def test_unreachable(self, sshd: Sshd, tmp_path: Path) -> None:
        port = free_port()
        client = Client(tmp_path / "client", {"far": far(sshd, tmp_path / "place", port=port)})
        refused(client, HostUnreachable, f"127.0.0.1:{port}", "refuses connections")

    @pytest.mark.timeout(60)
    def test_a_port_that_takes_connections_and_says_nothing(self, sshd: Sshd, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            options = far(sshd, tmp_path / "place", port=silent.getsockname()[1], extra="  ConnectTimeout 2")
            client = Client(tmp_path / "client", {"far": options})
            refused(client, HostUnreachable, "did not greet as an SSH server")

    def test_unknown_host_key(self, sshd: Sshd, tmp_path: Path) -> None:
        options = far(sshd, tmp_path / "place")
        (tmp_path / "place" / "client" / "known_hosts").write_text("")
        error = refused(Client(tmp_path / "client", {"far": options}), HostKeyUnknown, "SHA256:")
        assert "--accept-host-key" in error.hint

    def test_changed_host_key(self, make_sshd: MakeSshd, tmp_path: Path) -> None:
        server = make_sshd()
        options = far(server, tmp_path / "place")
        server.change_host_keys()
        refused(Client(tmp_path / "client", {"far": options}), HostKeyChanged, "SHA256:")

    def test_wrong_key(self, sshd: Sshd, tmp_path: Path) -> None:
        key = keygen(tmp_path / "other_key")
        options = far(sshd, tmp_path / "place", extra=f'  IdentityFile "{key}"')
        config = Path(options["ssh_config"])
        config.write_text(config.read_text().replace(f'IdentityFile "{sshd.client_key}"', ""))
        refused(Client(tmp_path / "client", {"far": options}), AuthenticationFailed, "other_key")

    def test_wrong_password(self, make_sshd: MakeSshd, tmp_path: Path) -> None:
        server = make_sshd("PasswordAuthentication yes", "PubkeyAuthentication no")
        asked: list[str] = []

        def prompt(question: str, secret: bool) -> str:
            assert secret
            asked.append(question)
            return "not the password"

        client = Client(tmp_path / "client", {"far": far(server, tmp_path / "place")}, prompt)
        refused(client, AuthenticationFailed, "password")
        assert asked
        written = [path for path in tmp_path.rglob("*") if path.is_file() and b"not the password" in path.read_bytes()]
        assert written == []


class TestPython:
    def test_a_host_without_python(self, make_server: MakeServer, tmp_path: Path) -> None:
        server = make_server(bare(tmp_path / "bin"))
        client = Client(tmp_path / "client", {"far": far(server, tmp_path / "place", python="auto")})
        refused(client, InterpreterUnfit, "has no python3", "Install Python 3.9 or newer", "--python")

    def test_a_host_with_an_old_python_only(self, make_server: MakeServer, tmp_path: Path) -> None:
        folder = bare(tmp_path / "bin")
        old_python(folder / "python3")
        client = Client(tmp_path / "client", {"far": far(make_server(folder), tmp_path / "place", python="auto")})
        refused(client, InterpreterUnfit, "has only Python 3.8", "Python 3.9 or newer", "--python")

    def test_an_old_interpreter_that_was_asked_for(self, sshd: Sshd, tmp_path: Path) -> None:
        python = old_python(tmp_path / "bin" / "mine")
        client = Client(tmp_path / "client", {"far": far(sshd, tmp_path / "place", python=str(python))})
        refused(client, InterpreterUnfit, str(python), "too old", "3.9 or newer")

    @pytest.mark.slow
    def test_a_newer_python_further_on_the_path_is_found(self, make_server: MakeServer, tmp_path: Path) -> None:
        folder = bare(tmp_path / "bin")
        old_python(folder / "python3")
        name = f"python3.{sys.version_info[1]}"
        program(tmp_path / "new" / name, f'exec {sys.executable} "$@"')
        server = make_server(folder, tmp_path / "new")
        client = Client(tmp_path / "client", {"far": far(server, tmp_path / "place", python="auto")})
        assert text(client.done("import sys; print(sys.version_info[:2])").outputs) == f"{sys.version_info[:2]}\n"
        client.close()

    def test_an_interpreter_that_does_not_exist(self, sshd: Sshd, tmp_path: Path) -> None:
        client = Client(tmp_path / "client", {"far": far(sshd, tmp_path / "place", python="/no/such/python")})
        refused(client, InterpreterUnfit, "/no/such/python")

    def test_an_interpreter_that_is_none(self, sshd: Sshd, tmp_path: Path) -> None:
        client = Client(tmp_path / "client", {"far": far(sshd, tmp_path / "place", python="/bin/ls")})
        refused(client, LaunchFailed, "ls")

    def test_a_conda_environment_that_does_not_exist(self, make_server: MakeServer, tmp_path: Path) -> None:
        folder = bare(tmp_path / "bin")
        program(folder / "python3", f'exec {sys.executable} "$@"')
        program(folder / "conda", """echo '{"envs": ["/opt/base", "/opt/base/envs/vision"]}'""")
        server = make_server(folder)
        client = Client(tmp_path / "client", {"far": far(server, tmp_path / "place", python="conda:visoin")})
        refused(client, InterpreterUnfit, "no environment 'visoin'", "vision")

    @pytest.mark.slow
    def test_an_interpreter_without_ipykernel_is_not_touched(self, sshd: Sshd, tmp_path: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
        python = tmp_path / "env" / "bin" / "python"
        client = Client(tmp_path / "client", {"far": far(sshd, tmp_path / "place", python=str(python))})
        error = refused(client, InterpreterUnfit, "has no ipykernel")
        assert f"{python} -m pip install ipykernel" in error.hint

    @pytest.mark.slow
    @pytest.mark.parametrize("package", ["ipykernel", "zmq"])
    def test_a_broken_ipykernel(self, package: str, sshd: Sshd, tmp_path: Path) -> None:
        broken = tmp_path / "broken" / package
        broken.mkdir(parents=True)
        (broken / "__init__.py").write_text("raise ImportError('broken on purpose')\n")
        python = program(tmp_path / "python", f"PYTHONPATH={broken.parent} exec {sys.executable} " + '"$@"')
        client = Client(tmp_path / "client", {"far": far(sshd, tmp_path / "place", python=str(python))})
        for _ in range(2):  # the second cell fares no worse than the first
            run, _ = client.run("print('never')")
            finish(run, 60)
            assert isinstance(run.error, LaunchFailed), run.error
            assert "did not start" in run.error.message
            assert "broken on purpose" in run.error.message
            assert client.job(run).state is JobState.FAILED
        client.close()

    @pytest.mark.slow
    @pytest.mark.timeout(300)
    def test_auto_makes_an_environment_once_and_shows_how_it_goes(
        self, make_server: MakeServer, tmp_path: Path
    ) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
        folder = bare(tmp_path / "bin")
        program(folder / "python3", f'exec {tmp_path}/env/bin/python "$@"')
        place = tmp_path / "place"
        options = far(make_server(folder), place, python="auto")
        client = Client(tmp_path / "client", {"far": options})
        view = client.done("import sys; print(sys.prefix)")
        prefix = Path(text(view.outputs).strip())
        assert prefix.parent == Path(options["root"]) / "envs"
        said = "\n".join(view.notices)
        assert "making an environment" in said
        assert "ipykernel" in said
        assert view.notices[-1] == "", "progress goes away"
        assert stat.S_IMODE(prefix.parent.stat().st_mode) == 0o700
        complete = prefix / "complete"
        made = complete.stat().st_mtime_ns
        again = client.done("import sys; print(sys.prefix)", fresh=True)
        assert text(again.outputs).strip() == str(prefix)
        assert complete.stat().st_mtime_ns == made
        assert not any("environment" in notice for notice in again.notices)
        client.close()

    @pytest.mark.slow
    @pytest.mark.timeout(300)
    def test_auto_where_no_environment_can_be_made(self, make_server: MakeServer, tmp_path: Path) -> None:
        """As on Debian without python3-venv."""
        without = tmp_path / "without"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
        without.mkdir()
        (without / "sitecustomize.py").write_text(
            "import importlib.util as u; find = u.find_spec\n"
            "u.find_spec = lambda name, *rest: None if name == 'ensurepip' else find(name, *rest)\n"
        )
        folder = bare(tmp_path / "bin")
        program(folder / "python3", f'PYTHONPATH={without} exec {tmp_path}/env/bin/python "$@"')
        client = Client(tmp_path / "client", {"far": far(make_server(folder), tmp_path / "place", python="auto")})
        refused(client, InterpreterUnfit, "no venv or ensurepip", "apt-get install", "-m pip install")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nobody can write: a mount for root, whom permission bits do not stop."""
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    if os.geteuid() == 0:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(folder)], check=True)
    yield folder
    if os.geteuid() == 0:
        subprocess.run(["umount", str(folder)], check=True)
    folder.chmod(0o700)


def test_a_read_only_home(sshd: Sshd, tmp_path: Path, read_only: Path) -> None:
    options = far(sshd, tmp_path / "place", root=str(read_only / ".lepton"))
    client = Client(tmp_path / "client", {"far": options})
    refused(client, HostStorage, str(read_only), "--root")


def test_a_root_that_belongs_to_somebody_else(sshd: Sshd, tmp_path: Path) -> None:
    foreign = "/proc" if os.geteuid() == 0 else "/usr"
    client = Client(tmp_path / "client", {"far": far(sshd, tmp_path / "place", root=f"{foreign}/.lepton")})
    refused(client, HostStorage, foreign, "--root")
