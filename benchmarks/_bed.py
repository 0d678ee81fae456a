"""Where the figures are measured: real sshd, proxies, and the contenders. Runs in the benchmark's own process.

All of it lives in one temporary folder with a home of its own, and ends with the `Bed`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from tests.fakes.proxy import Proxy
from tests.fakes.sshd import Sshd

from ._peers import Peers

ROOT = Path(__file__).parent.parent
#: Marks what we start, so that nothing is left behind. The servers of tests/fakes hand it on.
_MARK = "LEPTON_TEST_HOME"
_FOREIGN = ("JUPYTER_", "LEPTON_", "IPYTHON", "SSH_", "JPY_", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "PYTHONPATH")


class Failed(Exception):
    """A contender could not do what was asked; the text says why."""


class Contender:
    """A process of benchmarks/contenders."""

    def __init__(self, python: str, script: str, env: dict[str, str], log: Path) -> None:
        self.name = script
        self.folder = ""  # where it keeps things, once started
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [python, str(Path(__file__).parent / "contenders" / f"{script}.py")],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, env=env, start_new_session=True,
            )  # fmt: skip
        self.pid = self._process.pid
        self.result(120)

    def ask(self, do: str, timeout: float = 180.0, **fields: Any) -> dict[str, Any]:
        """Have something done, and its answer. Raises Failed."""
        self.post(do, **fields)
        return self.result(timeout)

    def post(self, do: str, **fields: Any) -> None:
        """Have something done; `result` waits for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **fields}).encode() + b"\n")
        self._process.stdin.flush()

    def result(self, timeout: float) -> dict[str, Any]:
        """The answer to what was posted. Raises Failed."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            raise Failed(f"{self.name} did not answer within {timeout:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise Failed(f"{self.name} ended: {self._log.read_text(errors='replace').strip()[-300:]}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Failed(f"{self.name}: {answer['error']}")
        return answer

    def post_cell(self, code: str, timeout: float = 170.0) -> None:
        self.post("cell", code=code, timeout=timeout)

    def cell(self, code: str = "pass", timeout: float = 170.0) -> dict[str, Any]:
        """Run a cell; what it showed. Raises Failed."""
        self.post_cell(code, timeout)
        answer = self.result(timeout + 10)
        if answer["failed"]:
            raise Failed(f"{self.name}: the cell failed: {answer['failed']}")
        return answer

    def seconds(self) -> float:
        """What a cell takes that does nothing."""
        return float(self.cell()["seconds"])

    def close(self) -> None:
        """End the kernel and the process."""
        try:
            if self._process.poll() is None:
                with contextlib.suppress(Failed, OSError):
                    self.ask("stop", timeout=20)
        finally:
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class Bed:
    """Use as a context: `with Bed(peers, quick=False) as bed:`."""

    def __init__(self, peers: Peers, *, quick: bool) -> None:
        self.peers, self.quick = peers, quick
        self.folder = Path(tempfile.mkdtemp(prefix="lb-"))
        self._number = 0
        self._sshd: Sshd | None = None
        self._open: list[Contender | Proxy] = []
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        home = self.folder / "home"
        home.mkdir()
        self.env.update({"HOME": str(home), "PYTHONPATH": str(ROOT), _MARK: str(self.folder)})

    @property
    def sshd(self) -> Sshd:
        if self._sshd is None:
            self._sshd = Sshd(
                self.folder / "sshd", options=("Subsystem sftp internal-sftp",), home_mark=str(self.folder)
            )
        return self._sshd

    def new_folder(self) -> Path:
        self._number += 1
        folder = self.folder / f"{self._number:03}"
        folder.mkdir()
        return folder

    def proxy(self, delay: float = 0.0, port: int = 0) -> Proxy:
        """A proxy before sshd, or before another port of this machine; `delay` in milliseconds each way."""
        proxy = Proxy("127.0.0.1", port or self.sshd.port, delay=delay)
        self._open.append(proxy)
        return proxy

    def plain(self, *, start: bool = True) -> Contender:
        """A local ipykernel."""
        contender = self._contender(sys.executable, "plain")
        if start:
            contender.ask("start")
        return contender

    def ours(self, target: str, proxy: Proxy | None = None, *, start: bool = True, script: str = "ours") -> Contender:
        """A kernel of ours on `local` or on `ssh` (through `proxy` when one is given)."""
        folder = self.new_folder()
        host = f'[targets.local]\nkind = "local"\nroot = "{folder}/host"\n'
        if target == "ssh":
            config = self.sshd.config_for(folder, port=proxy.port if proxy else None)
            host += (
                f'[targets.ssh]\nkind = "ssh"\nhost = "{self.sshd.alias}"\nssh_config = "{config}"\n'
                f'python = "{sys.executable}"\nroot = "{folder}/host"\n'
            )
        (folder / "lepton.toml").write_text(host)
        contender = self._contender(sys.executable, script, LEPTON_HOME=str(folder / "state"))
        contender.folder = str(folder)
        if start:
            contender.ask("start", folder=contender.folder, target=target)
        return contender

    def sshpyk(self, proxy: Proxy | None = None, *, watch: float = 0.0) -> Contender:
        """A kernel of sshpyk's; raises Failed when it cannot be installed or started."""
        if why := self.peers.missing("sshpyk"):
            raise Failed(why)
        folder = self.new_folder()
        share = (
            f"ControlMaster auto\nControlPath {folder}/c\nControlPersist 60\nServerAliveInterval 5\nConnectTimeout 5"
        )
        config = self.sshd.config_for(folder, port=proxy.port if proxy else None, extra=f"{share}\nBatchMode yes")
        ssh = folder / "ssh"
        ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F "{config}" "$@"\n')
        ssh.chmod(0o700)
        contender = self._contender(str(self.peers.python), "over_sshpyk")
        options = {"ssh": str(ssh), "host": self.sshd.alias, "python": str(self.peers.python)}
        contender.ask("start", folder=str(folder), watch=watch, options=options)
        return contender

    def sftp(self, proxy: Proxy | None = None) -> Contender:
        """paramiko's SFTP."""
        config = self.sshd.config_for(self.new_folder(), port=proxy.port if proxy else None)
        contender = self._contender(sys.executable, "over_sftp")
        options = {"port": proxy.port if proxy else self.sshd.port, "user": self.sshd.user}
        contender.ask(
            "start", known_hosts=str(config.with_name("known_hosts")), key=str(self.sshd.client_key), **options
        )
        return contender

    def ipyparallel(self, delay: float = 0.0) -> tuple[Contender, list[Proxy]]:
        """A cluster of one engine, its client behind one proxy per port; raises Failed."""
        if why := self.peers.missing("ipyparallel"):
            raise Failed(why)
        contender = self._contender(str(self.peers.python), "over_ipyparallel")
        ports = contender.ask("start", folder=str(self.new_folder()))["ports"]
        proxies = {name: self.proxy(delay, port) for name, port in ports.items()}
        contender.ask("join", ports={name: proxy.port for name, proxy in proxies.items()})
        return contender, list(proxies.values())

    def family(self, contender: Contender) -> dict[str, psutil.Process]:
        """Our own processes of a contender: ``client``, ``attach``, ``agent``, ``kernel``."""
        root = f"{contender.folder}/host"
        found = {"client": psutil.Process(contender.pid)}
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if len(words) > 2 and words[1].startswith(root) and words[1].endswith(".zip"):
                found[{"serve": "agent"}.get(words[2], words[2])] = process
        return found

    def close(self, *things: Contender | Proxy) -> None:
        """End some contenders and proxies, or all."""
        for thing in reversed(things or tuple(self._open)):
            self._open.remove(thing)
            thing.close()

    def __enter__(self) -> Bed:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self.close()
        finally:
            if self._sshd is not None:
                self._sshd.stop()
            for process in psutil.process_iter():  # kernels outlive their clients on purpose
                with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    if process.environ().get(_MARK) == str(self.folder) and process.pid != os.getpid():
                        process.send_signal(signal.SIGKILL)
            shutil.rmtree(self.folder, ignore_errors=True)

    def _contender(self, python: str, script: str, **env: str) -> Contender:
        contender = Contender(python, script, {**self.env, **env}, self.folder / f"{script}.log")
        self._open.append(contender)
        return contender


class Echo:
    """Round trips of a byte through a proxy of the same delay: what the wire alone costs."""

    def __init__(self, bed: Bed, delay: float) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._answer, daemon=True).start()
        self._end = socket.create_connection(("127.0.0.1", bed.proxy(delay, self._server.getsockname()[1]).port))
        self._end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def seconds(self) -> float:
        began = time.perf_counter()
        self._end.sendall(b"x")
        self._end.recv(1)
        return time.perf_counter() - began

    def close(self) -> None:
        self._end.close()
        self._server.close()

    def _answer(self) -> None:
        end, _ = self._server.accept()
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := end.recv(16):
            end.sendall(data)
        end.close()
