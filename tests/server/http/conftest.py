"""A Jupyter server in the test process, with our extension, over a store and a lepton.toml of the test's own."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_server.serverapp import ServerApp
from pytest_jupyter.jupyter_core import (  # noqa: F401 - fixtures, and what runs asynchronous tests
    echo_kernel_spec,
    jp_asyncio_loop,
    jp_config_dir,
    jp_data_dir,
    jp_env_config_path,
    jp_env_jupyter_path,
    jp_environ,
    jp_home_dir,
    jp_kernel_dir,
    jp_runtime_dir,
    jp_system_config_path,
    jp_system_jupyter_path,
    pytest_pycollect_makeitem,
    pytest_pyfunc_call,
)
from pytest_jupyter.jupyter_server import (  # noqa: F401
    jp_argv,
    jp_auth_header,
    jp_base_url,
    jp_configurable_serverapp,
    jp_fetch,
    jp_http_port,
    jp_logging_stream,
    jp_nbconvert_templates,
    jp_root_dir,
    jp_server_cleanup,
    jp_serverapp,
    jp_web_app,
    jp_ws_fetch,
)
from pytest_jupyter.pytest_tornasync import http_server, http_server_client, http_server_port, io_loop  # noqa: F401
from tornado.httpclient import HTTPClientError, HTTPResponse
from traitlets.config import Config

from lepton_jupyter.job import Job, JobSpec, JobState, new_job_id
from lepton_jupyter.server.handlers import SETTING
from lepton_jupyter.server.parts import Parts
from lepton_jupyter.store import JobStore
from tests.server.http._stream import Stream

ME = "tests"


@pytest.fixture
def jp_server_config() -> Config:
    """As the wheel's jupyter-config enables it."""
    return Config({"ServerApp": {"jpserver_extensions": {"lepton_jupyter": True}}})


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this test's own store; its lepton.toml lies beside it."""
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LEPTON_CONFIG", str(tmp_path / "lepton.toml"))
    return tmp_path / "state"


@pytest.fixture
def store(state: Path) -> Iterator[JobStore]:
    """What a notebook's kernel writes, and the server reads."""
    store = JobStore.load()
    yield store
    store.close()


@pytest.fixture
def add(store: JobStore) -> Callable[..., Job]:
    """Puts a job into the store; this test is its one writer."""

    def add(state: JobState = JobState.RUNNING, *, code: str = "pass", target: str = "local", **fields: Any) -> Job:
        spec = {name: fields.pop(name) for name in ("name", "notebook", "cell_id", "kernel") if name in fields}
        job = Job(job_id=new_job_id(), spec=JobSpec(code=code, target=target, **spec), **fields)
        store.add(job)
        assert store.lease(job.job_id, ME, 600)
        return store.advance(job.job_id, ME, state=state) if state is not JobState.NEW else job

    return add


@pytest.fixture
def parts(jp_serverapp: ServerApp, jp_asyncio_loop: Any) -> Parts:  # noqa: F811
    """Our extension at work."""
    jp_asyncio_loop.run_until_complete(jp_serverapp.extension_manager.start_all_extensions())
    parts: Parts = jp_serverapp.web_app.settings[SETTING]
    return parts


@pytest.fixture
def ask(parts: Parts, jp_fetch: Any) -> Callable[..., Awaitable[tuple[int, Any]]]:  # noqa: F811
    """Asks our routes; the status and the JSON that is answered."""

    async def ask(*path: str, method: str = "GET", body: Any = None, **options: Any) -> tuple[int, Any]:
        data = None if method in ("GET", "DELETE") else json.dumps({} if body is None else body)
        try:
            answer: HTTPResponse = await jp_fetch("lepton", "api", *path, method=method, body=data, **options)
        except HTTPClientError as error:
            assert error.response is not None
            answer = error.response
        return answer.code, json.loads(answer.body) if answer.body else None

    return ask


@pytest.fixture
def stream(parts: Parts, jp_ws_fetch: Any) -> Callable[..., Awaitable[Stream]]:  # noqa: F811
    """Opens the stream as a page does."""

    async def open_stream(after: int | None = None, *, visible: bool = True) -> Stream:
        opened = Stream(await jp_ws_fetch("lepton", "api", "stream"))
        await opened.say(type="hello", after=after, visible=visible, client="tests")
        return opened

    return open_stream
