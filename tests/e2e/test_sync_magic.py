"""``%lepton_sync`` asks the Jupyter Server of the notebook to bring outputs home; without one it says what to do."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from lepton_jupyter.errors import LeptonError
from lepton_jupyter.job import Job, JobSpec, JobState, new_job_id
from lepton_jupyter.magics.sync import ask_server, finished, server_of
from tests.fakes.notebook import LiveNotebook


def test_outside_a_notebook_it_says_so(notebook: LiveNotebook) -> None:
    said = notebook.failure("%lepton_sync")
    assert "it is not known which notebook this is" in said
    assert "%lepton_attach" in said


def test_without_a_server_it_says_what_to_do(notebook: LiveNotebook, tmp_path: Path) -> None:
    path = tmp_path / "work.ipynb"
    notebook.run(f"import os\nos.environ['JPY_SESSION_NAME'] = {str(path)!r}")
    assert "no job of this notebook has ended" in notebook.text("%lepton_sync")
    notebook.run("%%lepton_train\nprint('hello')")
    said = notebook.failure("%lepton_sync")
    assert "no Jupyter Server that shows this notebook runs on this machine" in said
    assert "Open the notebook in JupyterLab" in said


def test_the_newest_run_of_each_cell_is_brought_home_if_it_has_ended() -> None:
    def job(cell: str, created: float, state: JobState, notebook: str = "/a.ipynb", kernel: str = "k") -> Job:
        spec = JobSpec(code="x", target="local", notebook=notebook, cell_id=cell, kernel=kernel)
        return Job(job_id=new_job_id(), spec=spec, state=state, created=created)

    older, newer = job("1", 1, JobState.COMPLETED), job("1", 2, JobState.FAILED)
    before, runs = job("2", 3, JobState.COMPLETED), job("2", 4, JobState.RUNNING)
    elsewhere = job("1", 5, JobState.COMPLETED, "/b.ipynb", "other")
    renamed = job("3", 6, JobState.COMPLETED, "/b.ipynb", "notebook:/a.ipynb")
    jobs = [renamed, elsewhere, runs, before, newer, older]
    assert finished(jobs, "/a.ipynb", "notebook:/a.ipynb") == [newer, renamed]


class _Server:
    """Answers every POST with `status` and `body`, and keeps what it heard."""

    def __init__(self) -> None:
        self.status, self.body = 200, b"{}"
        self.heard: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.heard.append((self.path, self.headers["Authorization"]))
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(outer.status)
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *args: Any) -> None:
                """Nothing is printed."""

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.http.serve_forever)
        self.thread.start()
        self.info = {"url": f"http://127.0.0.1:{self.http.server_port}/hub/ann/", "token": "s3cret"}


@pytest.fixture
def server() -> Iterator[_Server]:
    server = _Server()
    yield server
    server.http.shutdown()
    server.thread.join()
    server.http.server_close()


def test_the_server_is_asked_with_its_token_under_its_prefix(server: _Server) -> None:
    server.body = json.dumps({"state": "written"}).encode()
    assert ask_server(server.info, "job1") == {"state": "written"}
    assert server.heard == [("/hub/ann/lepton/api/jobs/job1/write", "token s3cret")]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, b"", "does not have the Lepton extension"),
        (403, b"", "wants a password"),
        (500, b"<html>", "answered 500"),
        (409, b'{"message": "the host is down", "hint": "Try again."}', "the host is down"),
        (200, b"<html>", "did not answer"),
    ],
)
def test_what_the_server_refuses_is_said_with_what_to_do(server: _Server, status: int, body: bytes, said: str) -> None:
    server.status, server.body = status, body
    with pytest.raises(LeptonError) as raised:
        ask_server(server.info, "job1")
    assert said in raised.value.message
    assert raised.value.hint


def test_the_server_that_shows_the_notebook_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(runtime))
    for number, root in enumerate((tmp_path, tmp_path / "deep", tmp_path / "other")):
        info = {"pid": os.getpid(), "root_dir": str(root), "url": f"http://127.0.0.1:{number}/"}
        (runtime / f"jpserver-{number}.json").write_text(json.dumps(info))
    assert server_of(str(tmp_path / "deep" / "work.ipynb"))["root_dir"] == str(tmp_path / "deep")
    assert server_of(str(tmp_path / "work.ipynb"))["root_dir"] == str(tmp_path)
    with pytest.raises(LeptonError, match="no Jupyter Server that shows this notebook"):
        server_of("/elsewhere/work.ipynb")
