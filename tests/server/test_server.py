"""A real Jupyter server, real kernels, killed processes: who gets in, who takes over, what survives a restart."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from lepton_jupyter.job import Job, JobSpec, JobState, new_job_id
from lepton_jupyter.store import JobStore
from tests.server._jupyter import JupyterServer

MakeServer = Callable[..., JupyterServer]
#: Prints a line every tenth of a second until the file `go` is there.
WAITING = """import os, time
n = 0
while not os.path.exists({go!r}):
    n += 1
    print('line', n)
    time.sleep(0.1)
print('end')
"""


class Notebook:
    """A process that follows the jobs it starts, until it is killed."""

    def __init__(self, server: JupyterServer) -> None:
        script = Path(__file__).with_name("_notebook.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script)], env=server.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, **spec: Any) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"target": "local", **spec}) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def make_server(tmp_path: Path, repository: Path) -> Iterator[Callable[..., JupyterServer]]:
    """Starts servers; they end with the test."""
    servers: list[JupyterServer] = []

    def make(*options: str) -> JupyterServer:
        server = JupyterServer(tmp_path / f"jupyter{len(servers)}", repository, *options)
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.stop(signal.SIGKILL)


@pytest.fixture
def server(make_server: MakeServer) -> JupyterServer:
    return make_server()


@pytest.fixture
def notebook(server: JupyterServer) -> Iterator[Notebook]:
    notebook = Notebook(server)
    yield notebook
    notebook.kill()


def until(fits: Callable[[], Any], patience: float = 60.0) -> Any:
    """What `fits` says when it first says something true."""
    deadline = time.monotonic() + patience
    while not (found := fits()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)
    return found


def connect(server: JupyterServer, query: str = "", **headers: str) -> None:
    """Open the stream and close it. Raises HTTPClientError when the server refuses."""

    async def open_stream() -> None:
        url = f"ws://127.0.0.1:{server.port}{server.base}lepton/api/stream{query}"
        await ended(await websocket_connect(HTTPRequest(url, headers=headers)))

    asyncio.run(open_stream())


async def ended(socket: WebSocketClientConnection) -> None:
    """Close the stream and wait until it is closed."""
    socket.close()
    while await socket.read_message() is not None:
        pass


def refusal(server: JupyterServer, query: str = "", **headers: str) -> int:
    with pytest.raises(HTTPClientError) as refused:
        connect(server, query, **headers)
    return refused.value.code


def talk(
    server: JupyterServer, hello: dict[str, Any], enough: Callable[[dict[str, Any]], bool]
) -> list[dict[str, Any]]:
    """Say hello with the token; what the server says until it is `enough`."""

    async def speak() -> list[dict[str, Any]]:
        url = f"ws://127.0.0.1:{server.port}{server.base}lepton/api/stream?token={server.token}"
        socket = await websocket_connect(url)
        await socket.write_message(json.dumps({"type": "hello", "visible": True, "client": "t", **hello}))
        heard = []
        while not heard or not enough(heard[-1]):
            text = await asyncio.wait_for(socket.read_message(), 30)
            assert text is not None
            heard.append(json.loads(text))
        await ended(socket)
        return heard

    return asyncio.run(speak())


def test_only_who_is_known_and_comes_from_our_pages_gets_in(server: JupyterServer) -> None:
    foreign = "http://evil.example"
    cookies = server.cookies()
    xsrf = cookies["_xsrf"]
    page = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    own = {"Origin": f"http://127.0.0.1:{server.port}", "Referer": f"http://127.0.0.1:{server.port}{server.base}lab"}

    def post(headers: dict[str, str]) -> int:
        return server.ask("POST", "lepton/api/jobs/abcdefgh23/cancel", {}, headers)[0]

    assert server.ask("GET", "lepton/api/jobs", headers={})[0] == 403
    assert server.ask("GET", "lepton/api/jobs", headers={"Authorization": "token wrong"})[0] == 403
    assert server.ask("GET", "lepton/api/jobs")[0] == 200
    assert server.ask("GET", "lepton/api/jobs", headers={**page, **own})[0] == 200
    assert server.ask("GET", "lepton/api/jobs", headers={**page, "Referer": foreign, "Origin": foreign})[0] in (
        403,
        404,
    )
    assert post({}) == 403
    assert post({**page, **own}) == 403  # a cookie alone may be another site's doing
    assert post({**page, **own, "X-XSRFToken": "wrong"}) == 403
    assert post({**page, "Origin": foreign, "X-XSRFToken": xsrf}) in (403, 404)
    assert json.loads(
        server.ask("POST", "lepton/api/jobs/abcdefgh23/cancel", {}, {**page, **own, "X-XSRFToken": xsrf})[2]
    )["message"].startswith("there is no job")
    assert refusal(server) == 403
    assert refusal(server, "?token=wrong") == 403
    assert refusal(server, **page, Origin=foreign) == 403
    connect(server, **page, Origin=own["Origin"])
    connect(server, f"?token={server.token}")


def test_a_job_whose_notebook_was_killed_goes_on_in_the_store(
    server: JupyterServer, notebook: Notebook, tmp_path: Path
) -> None:
    path = server.notebooks / "a.ipynb"
    cell = nbformat.v4.new_code_cell("%%lepton_train\n…", id="cell-one")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    go = tmp_path / "go"
    job = notebook.run(code=WAITING.format(go=str(go)), notebook=str(path), cell_id="cell-one")
    until(lambda: server.api("GET", f"jobs/{job}")["state"] == "RUNNING")
    assert server.api("GET", f"jobs/{job}")["watched"]
    queued = notebook.run(code="print(n > 0)", notebook=str(path))  # on the same kernel, after the first
    notebook.kill()
    before = server.api("GET", f"jobs/{job}")["seq"]
    until(lambda: server.api("GET", f"jobs/{job}")["seq"] > before)  # the server has it …
    until(lambda: server.api("GET", f"jobs/{job}")["watched"])  # … and says so
    assert "line 1\nline 2\n" in server.ask("GET", f"lepton/api/jobs/{job}/logs")[2].decode()
    go.touch()
    until(lambda: server.api("GET", f"jobs/{job}")["state"] == "COMPLETED")
    until(lambda: server.api("GET", f"jobs/{job}")["written"].get("state") == "written")
    until(lambda: server.api("GET", f"jobs/{queued}")["state"] == "COMPLETED")
    assert server.ask("GET", f"lepton/api/jobs/{queued}/logs")[2] == b"True\n"
    outputs = nbformat.read(path, 4).cells[0].outputs
    assert outputs[0]["text"].endswith("\nend\n")
    assert server.api("GET", f"jobs/{job}/outputs")["outputs"] == outputs


def test_a_page_that_has_the_notebook_open_is_asked_to_write(server: JupyterServer, notebook: Notebook) -> None:
    path = server.notebooks / "a.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("…", id="cell-one")]), path)

    async def page(run: Callable[[], str]) -> tuple[str, dict[str, Any]]:
        url = f"ws://127.0.0.1:{server.port}{server.base}lepton/api/stream?token={server.token}"
        socket = await websocket_connect(url)
        await socket.write_message(json.dumps({"type": "hello", "after": None, "visible": False, "client": "t"}))
        opened = [{"path": "a.ipynb", "dirty": True, "hash": None, "active": True}]
        await socket.write_message(json.dumps({"type": "notebooks", "open": opened}))
        job = await asyncio.to_thread(run)
        while True:
            text = await asyncio.wait_for(socket.read_message(), 60)
            assert text is not None
            message = json.loads(text)
            if message["type"] != "write":
                continue
            asked = bool(message["probe"])
            answer = {"job": job, "seq": message["seq"], "state": "idle" if asked else "written", "saved": False}
            await socket.write_message(json.dumps({"type": "wrote", "words": "", **answer}))
            if not asked and message["final"]:
                until_home = lambda: server.api("GET", f"jobs/{job}")["written"].get("final")  # noqa: E731
                await asyncio.to_thread(until, until_home)
                await ended(socket)
                return job, message

    job, message = asyncio.run(page(lambda: notebook.run(code="print('home')", notebook=str(path), cell_id="cell-one")))
    assert (message["job"], message["path"], message["cell_id"]) == (job, "a.ipynb", "cell-one")
    assert message["outputs"] == [{"output_type": "stream", "name": "stdout", "text": "home\n"}]
    written = server.api("GET", f"jobs/{job}")["written"]
    assert (written["state"], written["how"], written["saved"]) == ("written", "tab", False)
    assert nbformat.read(path, 4).cells[0].outputs == []  # the page is the writer, and has not saved yet


def test_a_job_is_retried_logged_and_stopped_from_here(server: JupyterServer, notebook: Notebook) -> None:
    where = server.notebooks / "a.ipynb"
    failed = notebook.run(code="print('\\x1b[31mred\\x1b[0m')\n1 / 0", notebook=str(where), kernel="k")
    until(lambda: server.api("GET", f"jobs/{failed}")["state"] == "FAILED")
    assert "ZeroDivisionError" in server.api("GET", f"jobs/{failed}")["cause"]
    assert b"\x1b[31mred" in server.ask("GET", f"lepton/api/jobs/{failed}/logs")[2]
    _, headers, text = server.ask("GET", f"lepton/api/jobs/{failed}/logs?download=1")
    assert (b"\x1b" in text, headers["Content-Disposition"]) == (False, f"attachment; filename*=utf-8''{failed}.log")
    again = server.api("POST", f"jobs/{failed}/retry")["id"]
    assert again != failed
    until(lambda: server.api("GET", f"jobs/{again}")["state"] == "FAILED")
    long = notebook.run(code="import time\nprint('there')\ntime.sleep(600)", kernel="k")
    until(lambda: server.api("GET", f"jobs/{long}")["state"] == "RUNNING")
    assert "stopped" in server.api("POST", f"jobs/{long}/cancel")["words"]
    until(lambda: server.api("GET", f"jobs/{long}")["state"] == "CANCELLED")
    history = server.api("GET", f"jobs/{failed}/history")
    assert set(history) == {"samples", "words"}


def test_a_new_kernel_on_this_machine_starts_in_the_notebooks_folder(server: JupyterServer) -> None:
    where = server.notebooks / "deep" / "a.ipynb"
    where.parent.mkdir()
    store = JobStore(Path(server.env["LEPTON_HOME"]) / "jobs.db")
    spec = JobSpec(code="import os\nprint(os.getcwd())", target="local", notebook=str(where), kernel="none yet")
    old = Job(job_id=new_job_id(), spec=spec)
    store.add(old)
    assert store.lease(old.job_id, "me")
    store.advance(old.job_id, "me", state=JobState.CANCELLED)
    store.close()
    again = server.api("POST", f"jobs/{old.job_id}/retry")["id"]
    until(lambda: server.api("GET", f"jobs/{again}")["state"] == "COMPLETED")
    assert server.ask("GET", f"lepton/api/jobs/{again}/logs")[2].decode() == f"{where.parent}\n"


def test_what_a_job_displayed_is_taken_away_as_files_that_no_browser_runs(
    server: JupyterServer, notebook: Notebook
) -> None:
    code = "from IPython.display import HTML, display\ndisplay(HTML('<script>alert(1)</script>'))"
    job = notebook.run(code=code)
    until(lambda: server.api("GET", f"jobs/{job}")["state"] == "COMPLETED")
    found = {file["name"]: file for file in server.api("GET", f"jobs/{job}/artifacts")["artifacts"]}
    about = {"id": "out-01.html", "name": "out-01.html", "kind": "output", "mime": "text/html", "size": 25, "url": ""}
    assert found["out-01.html"] == about
    _, headers, data = server.ask("GET", f"lepton/api/jobs/{job}/artifacts/out-01.html")
    assert data == b"<script>alert(1)</script>"
    assert headers["Content-Disposition"] == "attachment; filename*=utf-8''out-01.html"
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; sandbox")
    assert server.ask("GET", f"lepton/api/jobs/{job}/artifacts/..%2f..%2fjobs.db")[0] == 404


def test_a_page_goes_on_by_number_over_a_restart_of_the_server(server: JupyterServer) -> None:
    store = JobStore(Path(server.env["LEPTON_HOME"]) / "jobs.db")
    jobs = [Job(job_id=new_job_id(), spec=JobSpec(code="pass", target="local")) for _ in range(3)]
    for job in jobs:
        store.add(job)
        assert store.lease(job.job_id, "me", 600)
    snapshot = talk(server, {"after": None}, lambda message: message.get("number") == store.last_change())
    number = snapshot[-1]["number"]
    server.stop(signal.SIGKILL)
    store.advance(jobs[1].job_id, "me", state=JobState.RUNNING)
    server.start()
    heard = talk(server, {"after": number}, lambda message: message["type"] == "change")
    assert [message["type"] for message in heard if message["type"] in ("jobs", "change")] == ["change"]
    assert [(job["id"], job["state"]) for job in heard[-1]["jobs"]] == [(jobs[1].job_id, "RUNNING")]
    store.close()


def test_the_server_ends_at_once_and_its_jobs_live_on(
    server: JupyterServer, notebook: Notebook, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    first = notebook.run(code=WAITING.format(go=str(go)), kernel="k")
    until(lambda: server.api("GET", f"jobs/{first}")["state"] == "RUNNING")
    assert server.api("GET", f"jobs/{first}/outputs")["state"] == "RUNNING"  # the server has a link of its own now
    began = time.monotonic()
    server.stop(signal.SIGTERM)
    assert time.monotonic() - began < 8
    assert notebook.process.poll() is None
    server.start()
    go.touch()
    until(lambda: server.api("GET", f"jobs/{first}")["state"] == "COMPLETED")


def test_a_job_that_never_reached_its_target_is_ended_in_words(server: JupyterServer) -> None:
    store = JobStore(Path(server.env["LEPTON_HOME"]) / "jobs.db")
    lost = Job(job_id=new_job_id(), spec=JobSpec(code="pass", target="local"), created=time.time() - 3600)
    store.add(lost)
    until(lambda: store.get(lost.job_id).state is JobState.FAILED)
    assert "never reached its target" in store.get(lost.job_id).cause
    store.close()


def test_a_broken_lepton_toml_stops_neither_the_server_nor_the_list_of_jobs(make_server: MakeServer) -> None:
    server = make_server()
    store = JobStore(Path(server.env["LEPTON_HOME"]) / "jobs.db")
    store.add(Job(job_id=new_job_id(), spec=JobSpec(code="pass", target="local")))
    (server.folder / "lepton.toml").write_text("[targets.x\n")
    server.stop()
    server.start()
    assert server.api("GET", "jobs")["total"] == 1
    status, _, data = server.ask("GET", "lepton/api/targets")
    assert (status, "line 1" in json.loads(data)["message"]) == (400, True)
    (server.folder / "lepton.toml").write_text("")
    assert [target["name"] for target in server.api("GET", "targets")["targets"]] == ["local"]
    assert psutil.pid_exists(server.pid)
    store.close()
