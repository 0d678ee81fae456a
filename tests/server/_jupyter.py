"""A real Jupyter server in a process of its own, as people run it: with a token, XSRF checks and our extension.

Runs in the test process.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.sshd import free_port

PATIENCE = 60.0


class JupyterServer:
    """Started at once. It may be stopped, killed and started again, with the same state."""

    def __init__(
        self,
        folder: Path,
        repository: Path,
        *options: str,
        env: Mapping[str, str] | None = None,
        extensions: Mapping[str, bool] | None = None,
    ) -> None:
        self.folder, self.notebooks = folder, folder / "notebooks"
        self.notebooks.mkdir(parents=True, exist_ok=True)
        self.port, self.token = free_port(), secrets.token_hex(8)
        self.base = "/hub/ann%40home/"  # as JupyterHub prefixes
        self.log = folder / "server.log"
        config = folder / "etc" / "jupyter_server_config.d"
        config.mkdir(parents=True, exist_ok=True)
        enabled = repository / "jupyter-config" / "server-config" / "lepton_jupyter.json"
        (config / enabled.name).write_text(enabled.read_text())
        if extensions is not None:
            more = {"ServerApp": {"jpserver_extensions": dict(extensions)}}
            (config / "z-more.json").write_text(json.dumps(more))
        self.env = {
            **os.environ,
            "LEPTON_HOME": str(folder / "state"),
            "LEPTON_CONFIG": str(folder / "lepton.toml"),
            "JUPYTER_CONFIG_PATH": str(folder / "etc"),
            "PYTHONPATH": str(repository),
            "JUPYTER_TOKEN": self.token,
            **(env or {}),
        }
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        command = [
            *(sys.executable, "-m", "jupyter_server", "--allow-root", "--no-browser", "--ServerApp.ip=127.0.0.1"),
            *(f"--ServerApp.port={self.port}", "--ServerApp.port_retries=0", f"--ServerApp.base_url={self.base}"),
            *(f"--ServerApp.root_dir={self.notebooks}", *self._options),
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self.env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.ask("GET", "api/status")
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"the Jupyter server did not start:\n{self.log.read_text()}")
                time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGTERM, patience: float = 20.0) -> None:
        """End it; fails the test when it does not end in time."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(how)
        self._process.wait(patience)

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask by plain HTTP; with the token, unless `headers` are given. Raises OSError when nobody answers."""
        sent = {"Authorization": f"token {self.token}"} if headers is None else dict(headers)
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{self.base}{path}", data=data, method=method, headers=sent
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """What `lepton/api/PATH` answers, as JSON; fails the test on an error."""
        status, _, data = self.ask(method, f"lepton/api/{path}", body)
        assert status < 400, (status, data)
        return json.loads(data) if data else None

    def cookies(self) -> dict[str, str]:
        """The cookies of a page that logged in, `_xsrf` among them."""
        found = {}
        for query in ("", f"?token={self.token}"):  # the form brings the token against forgery, the login the user
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            connection.request("GET", f"{self.base}login{query}")
            with connection.getresponse() as answer:
                for name, value in answer.getheaders():
                    if name.lower() == "set-cookie":
                        key, _, rest = value.partition("=")
                        found[key] = rest.partition(";")[0]
            connection.close()
        assert found, "no cookie was set"
        return found
