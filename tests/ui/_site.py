"""A real Jupyter server and a real browser before it, for tests of what people see. In the test process."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import psutil
import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from tests.fakes.sshd import free_port
from tests.ui._page import PATIENCE, NotebookPage

#: Debian's name, Ubuntu's, Google's.
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# No sandbox since tests may run as root; no traffic of the browser's own.
_OPTIONS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)
#: What a server of each application is started with, and where it shows a notebook.
_LAB = (
    "jupyterlab",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)
_APPLICATIONS = {"lab": (_LAB, "lab/tree/{}?reset&"), "notebook": (("notebook",), "notebooks/{}?")}


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser of this machine, without a window. Fails the test when there is none."""
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        pytest.fail("no browser for the tests of tests/ui: apt-get install chromium (or put google-chrome on the PATH)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*_OPTIONS])
        yield browser
        browser.close()


class Server:
    """A Jupyter server that can be killed and started again, with what it serves as before."""

    def __init__(
        self, application: str, folder: Path, repository: Path, python: str, environ: dict[str, str], base: str
    ) -> None:
        self.port, self.token, self.base = free_port(), secrets.token_hex(8), base
        self.notebooks, self.settings, self._log = folder / "notebooks", folder / "settings", folder / "server.log"
        self.choose("@jupyterlab/apputils-extension/notification", fetchNews="false")  # asks a question otherwise
        self._process: subprocess.Popen[bytes] | None = None
        self._environ = {
            **os.environ,
            "LEPTON_HOME": str(folder / "state"),
            "LEPTON_CONFIG": str(folder / "lepton.toml"),
            "PYTHONPATH": str(repository),
            "JUPYTERLAB_SETTINGS_DIR": str(self.settings),
            "JUPYTER_TOKEN": self.token,
            **environ,
        }
        self._command = [
            *(python, "-m", *_APPLICATIONS[application][0]),
            *("--allow-root", "--no-browser", "--expose-app-in-browser", f"--ServerApp.root_dir={self.notebooks}"),
            *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={self.port}", "--ServerApp.port_retries=0"),
            f"--ServerApp.base_url={base}",
        ]

    def choose(self, plugin: str, **settings: object) -> None:
        """What the user set, in the place of all that they set of this plugin before; for pages opened from now on."""
        path = self.settings / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))

    def start(self) -> None:
        """Start it; on return it answers."""
        self.notebooks.mkdir(exist_ok=True)
        with self._log.open("a") as stream:
            self._process = subprocess.Popen(
                self._command, cwd=self.notebooks, env=self._environ, stdin=subprocess.DEVNULL, stdout=stream,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        _wait_for(self._process, f"http://127.0.0.1:{self.port}{self.base}api", self._log)

    def kill(self) -> None:
        """Kill it and its kernels at once; jobs on this machine live on, as those far away do."""
        process, self._process = self._process, None
        if process is None:
            return
        kernels = psutil.Process(process.pid).children() if process.poll() is None else []
        for kernel in kernels:  # at once, so that the server need not ask each of them
            kernel.kill()
        process.send_signal(signal.SIGKILL)
        process.wait()


class Site:
    """A server with its folder of notebooks, as one person's browser has it open; `port` is where the browser goes."""

    def __init__(self, application: str, server: Server, context: BrowserContext, port: int = 0) -> None:
        self.folder, self.server = server.notebooks, server
        self._pages = (
            f"http://127.0.0.1:{port or server.port}{server.base}{_APPLICATIONS[application][1]}token={server.token}"
        )
        self._context = context

    def prepare(self, script: str) -> None:
        """Have every tab run `script` before anything else, from now on."""
        self._context.add_init_script(script)

    def open(self, name: str, *cells: str, title: str = "") -> NotebookPage:
        """A new notebook in a tab of its own, its kernel ready: `title` in Markdown, a cell that loads us, `cells`."""
        path = self.folder / f"{name}.ipynb"
        sources = ("%load_ext lepton_jupyter", *cells)
        above = [nbformat.v4.new_markdown_cell(title)] if title else []
        code = [nbformat.v4.new_code_cell(source) for source in sources]
        notebook = nbformat.v4.new_notebook(cells=[*above, *code])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, path)
        return NotebookPage(self._context.new_page(), self._pages.format(path.name), path)

    def reopen(self, path: Path) -> NotebookPage:
        """A notebook that is there, in a tab of its own; its kernel may be busy."""
        return NotebookPage(self._context.new_page(), self._pages.format(path.name), path, busy=True)


@contextmanager
def serve(
    application: str, browser: Browser, folder: Path, repository: Path, *, python: str = sys.executable,
    environ: dict[str, str] | None = None, via: Callable[[int], int] | None = None, base: str = "/",
) -> Iterator[Site]:  # fmt: skip
    """Serve `folder`/notebooks by "lab" or "notebook"; kernels keep their state and their lepton.toml in `folder`.

    `python` and `environ` choose another environment; `via` gets the server's port and says where the browser goes;
    `base` is the server's prefix, as JupyterHub gives one.
    """
    server = Server(application, folder, repository, python, environ or {}, base)
    try:
        server.start()
        expect.set_options(timeout=PATIENCE * 1000)
        context = browser.new_context(viewport={"width": 1200, "height": 1600})
        context.set_default_timeout(PATIENCE * 1000)
        yield Site(application, server, context, via(server.port) if via else 0)
        context.close()
    finally:
        server.kill()


def _wait_for(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the Jupyter server did not start:\n{log.read_text()}")
            time.sleep(0.1)
