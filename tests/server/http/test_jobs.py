"""`lepton/api/jobs…` of a server in this process: what it answers, and how it says no."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.job import Job, JobState
from lepton_jupyter.server.encoding import encode
from lepton_jupyter.server.parts import Parts
from lepton_jupyter.server.results import Result
from lepton_jupyter.store import JobStore

Add = Callable[..., Job]
Ask = Callable[..., Awaitable[tuple[int, Any]]]

HOSTILE = "<script>alert(1)</script>\n\"'\u202e\x00 ünï"


async def test_jobs_are_listed_newest_first_and_filtered(ask: Ask, add: Add) -> None:
    old = add(JobState.COMPLETED, created=1.0, target="gpu1")
    new = add(JobState.RUNNING, created=2.0, notebook="/elsewhere/a.ipynb")
    status, answer = await ask("jobs")
    assert (status, answer["total"]) == (200, 2)
    assert [job["id"] for job in answer["jobs"]] == [new.job_id, old.job_id]
    for params, found in (
        ({"state": "running"}, [new]),
        ({"state": "completed,failed"}, [old]),
        ({"target": "gpu1"}, [old]),
        ({"notebook": "/elsewhere/a.ipynb"}, [new]),
        ({"notebook": "nowhere.ipynb"}, []),
        ({"limit": "1"}, [new]),
        ({"limit": "0"}, [new, old]),
    ):
        _, answer = await ask("jobs", params=params)
        assert [job["id"] for job in answer["jobs"]] == [job.job_id for job in found], params


async def test_a_job_has_every_key_and_null_for_what_is_unknown(ask: Ask, add: Add, jp_root_dir: Any) -> None:
    job = add(code="# first\nfit()", notebook=f"{jp_root_dir}/deep/a.ipynb", cell_id="c1")
    _, answer = await ask("jobs", job.job_id)
    assert answer == {
        "id": job.job_id, "state": "RUNNING", "name": "first", "notebook": f"{jp_root_dir}/deep/a.ipynb",
        "path": "deep/a.ipynb", "cell_id": "c1", "target": "local", "kernel": "", "created": job.created,
        "started": None, "ended": None, "cause": "", "seq": 0, "telemetry": {}, "cost": None,
        "written": answer["written"], "watched": True, "code": "# first\nfit()",
    }  # fmt: skip


async def test_a_job_of_another_folder_has_no_path(ask: Ask, add: Add) -> None:
    job = add(notebook="/elsewhere/a.ipynb")
    assert (await ask("jobs", job.job_id))[1]["path"] is None


async def test_progress_is_told_as_the_store_has_it(ask: Ask, add: Add, store: JobStore) -> None:
    job, metric = add(), {"name": "loss", "value": None, "points": [[1, 2.0]]}
    store.advance(job.job_id, "tests", telemetry={"metric": metric})
    _, answer = await ask("jobs")
    assert answer["jobs"][0]["telemetry"] == {"metric": metric}


async def test_the_list_has_few_points_of_a_finished_jobs_curve_and_its_page_all(
    ask: Ask, add: Add, store: JobStore
) -> None:
    live, done = add(), add()
    points = [[float(x), None if x == 1 else x / 7] for x in range(60)]
    for job in (live, done):
        told = {"metric": {"name": '"points":[[1,2]]', "value": 1.0, "points": points}, "usage": {"words": "x"}}
        store.advance(job.job_id, "tests", telemetry=told)
    store.advance(done.job_id, "tests", state=JobState.COMPLETED)
    listed = {job["id"]: job["telemetry"] for job in (await ask("jobs"))[1]["jobs"]}
    assert listed[live.job_id] == told
    few = listed[done.job_id]["metric"].pop("points")
    assert (len(few), few[0], few[-1], listed[done.job_id]["metric"]["value"]) == (20, points[0], points[-1], 1.0)
    assert listed[done.job_id]["metric"]["name"] == told["metric"]["name"]
    assert [point for point in points if point in few] == few
    assert (await ask("jobs", done.job_id))[1]["telemetry"] == told


def test_what_is_no_number_in_json_is_null() -> None:
    value = {"a": [math.nan, 1.5, -math.inf], "b": "\ud800<\u2028"}
    assert json.loads(encode(value)) == {"a": [None, 1.5, None], "b": "\ud800<\u2028"}
    assert encode(value).isascii()


async def test_a_target_with_a_price_has_jobs_with_a_cost(ask: Ask, add: Add, store: JobStore, tmp_path: Any) -> None:
    (tmp_path / "lepton.toml").write_text('[targets.gpu1]\nkind = "ssh"\nhost = "x"\nprice_per_hour = 2.0\n')
    job = add(target="gpu1")
    store.advance(job.job_id, "tests", state=JobState.COMPLETED, started=1000.0, ended=1000.0 + 1800)
    assert (await ask("jobs", job.job_id))[1]["cost"] == 1.0


async def test_names_from_elsewhere_stay_text(ask: Ask, add: Add) -> None:
    job = add(code=f"# {HOSTILE}", name=HOSTILE, notebook=f"/x/{HOSTILE}.ipynb", cause=HOSTILE)
    status, answer = await ask("jobs", job.job_id)
    assert status == 200
    assert (answer["name"], answer["cause"]) == (HOSTILE[:60], HOSTILE)


async def test_errors_are_words(ask: Ask, add: Add) -> None:
    add()
    for path, status, word in (
        (("jobs", "nosuchjob2"), 404, "no job"),
        (("jobs", "..%2f..%2fetc"), 400, "no job has such an id"),
        (("jobs", "a'b\"<script>"), 400, "no job has such an id"),
        (("jobs", "nosuchjob2", "outputs"), 404, "no job"),
        (("jobs", "nosuchjob2", "artifacts", "x"), 404, "no job"),
    ):
        code, answer = await ask(*path)
        assert (code, set(answer)) == (status, {"message", "hint"}), path
        assert word in answer["message"]
    code, answer = await ask("jobs", params={"state": "runing"})
    assert (code, "RUNNING" in answer["hint"]) == (400, True)
    code, answer = await ask("jobs", params={"limit": "-1"})
    assert code == 400


async def test_who_has_outputs_is_sent_what_is_new(ask: Ask, add: Add, jp_fetch: Any, parts: Parts) -> None:
    job = add()
    lines = ["one\n", "two\n", " 5 %"]

    async def of(_: Job) -> Result:
        text = {"output_type": "stream", "name": "stdout", "text": "".join(lines)}
        return Result(outputs=[text], seq=len(lines), state=JobState.RUNNING, execution_count=None)

    parts.results.of = of  # type: ignore[method-assign]
    path = ("lepton", "api", "jobs", job.job_id, "logs")
    first = await jp_fetch(*path)
    assert (first.body, first.headers["X-Lepton-After"], first.headers["X-Lepton-Settled"]) == (
        b"one\ntwo\n 5 %",
        "0",
        "8",
    )
    lines[2] = " 10 %"
    known = {"after": first.headers["X-Lepton-Settled"], "digest": first.headers["X-Lepton-Digest"]}
    second = await jp_fetch(*path, params=known)
    assert (second.body, second.headers["X-Lepton-After"]) == (b" 10 %", "8")
    lines[0] = "1\n"
    third = await jp_fetch(*path, params=known)
    assert (third.body, third.headers["X-Lepton-After"]) == (b"1\ntwo\n 10 %", "0")
    assert (await ask(*path[2:], params={"after": "x"}))[0] == 400
    _, answer = await ask("jobs", job.job_id, "outputs", params={"after": "2"})
    assert (answer["seq"], len(answer["outputs"])) == (3, 1)
    _, answer = await ask("jobs", job.job_id, "outputs", params={"after": "3"})
    assert (answer["seq"], answer["outputs"]) == (3, None)


async def test_the_beginning_of_an_id_is_no_id(ask: Ask, add: Add) -> None:
    job = add()
    assert (await ask("jobs", job.job_id[:6]))[0] == 404


@pytest.fixture
def broken(state: Path) -> Path:
    state.mkdir(mode=0o700)
    (state / "jobs.db").write_bytes(b"this is no database, whatever its name says" * 100)
    return state / "jobs.db"


async def test_a_broken_store_is_said_and_heals(broken: Path, ask: Ask, stream: Callable[..., Any]) -> None:
    status, answer = await ask("jobs")
    assert status == 500
    assert "cannot be used" in answer["message"]
    assert "Traceback" not in str(answer)
    page = await stream()
    trouble = await page.of("trouble")
    assert "cannot be used" in trouble["message"]
    for file in broken.parent.glob("jobs.db*"):
        file.unlink()
    assert (await page.of("trouble"))["message"] == ""
    assert await page.snapshot() == []
    assert (await ask("jobs"))[1]["total"] == 0
    page.close()


async def test_what_a_kernel_did_not_start_cannot_be_retried_elsewhere(ask: Ask, add: Add) -> None:
    job = add(JobState.FAILED)
    status, answer = await ask("jobs", job.job_id, "retry", method="POST", body={"target": "nowhere"})
    assert (status, "nowhere" in answer["message"]) == (400, True)
    nameless = add(JobState.FAILED, code="")
    status, answer = await ask("jobs", nameless.job_id, "retry", method="POST")
    assert (status, "code" in answer["message"]) == (409, True)
