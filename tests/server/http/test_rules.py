"""The rules that every address keeps: who may call it, and what other programs hear of jobs."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from jupyter_server.auth import Authorizer
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from tornado.httpclient import HTTPClientError
from tornado.web import RequestHandler
from traitlets.config import Config

from lepton_jupyter.job import Job, JobState
from lepton_jupyter.server.artifacts import artifacts
from lepton_jupyter.server.facts import JOB, WRITTEN
from lepton_jupyter.server.parts import Parts
from lepton_jupyter.server.routes import routes
from lepton_jupyter.store import JobStore

Add = Callable[..., Job]
VERBS = ("get", "post", "put", "delete", "patch", "head")

_CONCRETE = [
    (verb.upper(), pattern.replace(r"([^/]+)", "abcdefgh23"))
    for pattern, handler in routes()
    for verb in VERBS
    if getattr(handler, verb) is not getattr(RequestHandler, verb)
]


def test_the_table_has_all_that_is_promised() -> None:
    assert ("GET", "lepton/api/jobs") in _CONCRETE
    assert ("DELETE", "lepton/api/targets/abcdefgh23") in _CONCRETE
    assert ("GET", "lepton/api/stream") in _CONCRETE
    assert len(_CONCRETE) >= 16


@pytest.mark.parametrize(("verb", "path"), _CONCRETE)
async def test_nobody_unknown_gets_anything(verb: str, path: str, parts: Parts, jp_fetch: Any) -> None:
    with pytest.raises(HTTPClientError) as refused:
        body = None if verb in ("GET", "DELETE") else "{}"
        await jp_fetch(*path.split("/"), method=verb, body=body, headers={"Authorization": ""})
    assert refused.value.code == 403


class _Nobody(Authorizer):
    """Lets nobody do anything, and remembers what was asked."""

    asked: list[tuple[str, str]] = []  # noqa: RUF012

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        self.asked.append((action, resource))
        return False


class TestAuthorization:
    @pytest.fixture
    def jp_server_config(self) -> Config:
        extensions = {"jpserver_extensions": {"lepton_jupyter": True}, "allow_unauthenticated_access": False}
        return Config({"ServerApp": {**extensions, "authorizer_class": _Nobody}})

    async def test_every_verb_asks_the_authorizer_for_lepton(self, parts: Parts, jp_fetch: Any) -> None:
        for verb, path in _CONCRETE:
            _Nobody.asked.clear()
            with pytest.raises(HTTPClientError) as refused:
                body = None if verb in ("GET", "DELETE") else "{}"
                await jp_fetch(*path.split("/"), method=verb, body=body)
            assert refused.value.code == 403, (verb, path)
            assert _Nobody.asked == [("read" if verb == "GET" else "write", "lepton")], (verb, path)


async def test_answers_are_data_that_no_browser_runs(parts: Parts, jp_fetch: Any, add: Add) -> None:
    add()
    answer = await jp_fetch("lepton", "api", "jobs")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; sandbox")


async def test_the_prefix_of_the_server_is_kept(parts: Parts, jp_base_url: str, jp_serverapp: ServerApp) -> None:
    rules = [
        rule.matcher.regex.pattern
        for rule in jp_serverapp.web_app.wildcard_router.rules
        if hasattr(rule.matcher, "regex")
    ]
    for router in jp_serverapp.web_app.default_router.rules:
        rules += [
            rule.matcher.regex.pattern for rule in getattr(router.target, "rules", []) if hasattr(rule.matcher, "regex")
        ]
    ours = [pattern for pattern in rules if "lepton/api" in pattern]
    assert len(ours) == len(routes())
    assert all(pattern.startswith(url_path_join(jp_base_url, "lepton/api")) for pattern in ours)


def test_artifacts_are_named_by_us_and_told_as_bytes_where_a_browser_might_run_them() -> None:
    outputs: list[dict[str, Any]] = [
        {"output_type": "stream", "name": "stdout", "text": "x"},
        {
            "output_type": "display_data",
            "data": {"text/html": "<script>1</script>", "image/png": "AAEC", "text/plain": ["a", "b"]},
        },
        {
            "output_type": "display_data",
            "data": {"image/svg+xml": "<svg onload=1>", "../../etc\n": {"a": 1}, "image/x": 5},
        },
    ]
    found = {file.name: file for file in artifacts(outputs)}
    assert set(found) == {"out-02.html", "out-02.png", "out-02.txt", "out-03.svg", "out-03.bin", "out-03-2.bin"}
    assert found["out-02.png"].data == b"\x00\x01\x02"
    assert found["out-02.txt"].data == b"ab"
    assert found["out-02.html"].content_type == found["out-03.svg"].content_type == "application/octet-stream"
    assert found["out-02.png"].content_type == "image/png"


async def test_other_programs_hear_of_states_and_of_outputs_that_came_home(
    parts: Parts, add: Add, store: JobStore, jp_serverapp: ServerApp, jp_root_dir: Any
) -> None:
    heard = list[tuple[str, dict[str, Any]]]()

    async def listen(logger: Any, schema_id: str, data: dict[str, Any]) -> None:
        heard.append((schema_id, {key: value for key, value in data.items() if not key.startswith("__")}))

    for schema_id in (JOB, WRITTEN):
        jp_serverapp.event_logger.add_listener(schema_id=schema_id, listener=listen)
    await parts.hub.fresh()
    job = add(JobState.NEW, name="<b>", notebook=f"{jp_root_dir}/a.ipynb", cell_id="c1")
    await parts.hub.fresh()
    store.advance(job.job_id, "tests", state=JobState.RUNNING)
    await parts.hub.fresh()
    store.advance(job.job_id, "tests", seq=9)
    await parts.hub.fresh()
    store.note_written(job.job_id, {"seq": 9, "state": "written", "how": "file", "words": "", "time": 1.0})
    await parts.hub.fresh()
    await jp_serverapp.event_logger.gather_listeners()
    about = {"job": job.job_id, "target": "local", "name": "<b>", "path": "a.ipynb", "cell_id": "c1", "cause": ""}
    assert heard == [
        (JOB, {**about, "state": "NEW", "before": None}),
        (JOB, {**about, "state": "RUNNING", "before": "NEW"}),
        (WRITTEN, {"job": job.job_id, "path": "a.ipynb", "state": "written", "how": "file", "seq": 9, "words": ""}),
    ]


async def test_a_body_that_is_no_object_is_refused_in_words(parts: Parts, jp_fetch: Any, add: Add) -> None:
    job = add()
    for body in ("[1]", "{", '"x"', "[" * 50_000):
        with pytest.raises(HTTPClientError) as refused:
            await jp_fetch("lepton", "api", "jobs", job.job_id, "retry", method="POST", body=body)
        assert refused.value.code == 400
        answer = json.loads(refused.value.response.body)
        assert "no JSON object" in answer["message"]


async def test_an_error_that_is_not_ours_tells_nothing(
    parts: Parts, ask: Callable[..., Awaitable[tuple[int, Any]]], add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts.hub, "fresh", None)  # calling it raises a TypeError
    status, answer = await ask("jobs")
    assert (status, answer["message"]) == (500, "something went wrong in the Lepton extension")
    assert "NoneType" not in json.dumps(answer)
