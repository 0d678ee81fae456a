"""The stream of a server in this process: snapshot, numbered changes, resume, hidden pages, slow pages."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from lepton_jupyter.job import Job, JobState
from lepton_jupyter.server import stream as stream_module
from lepton_jupyter.server.parts import Parts
from lepton_jupyter.store import JobStore
from tests.server.http._stream import Stream

Add = Callable[..., Job]
Open = Callable[..., Awaitable[Stream]]


async def test_a_page_begins_with_all_jobs_newest_first_in_chunks(
    stream: Open, add: Add, store: JobStore, parts: Parts
) -> None:
    count = stream_module.CHUNK + 20
    ids = [add(JobState.NEW, created=float(number)).job_id for number in range(count)]
    await parts.hub.fresh()
    page = await stream()
    first = await page.of("jobs")
    assert (first["reset"], first["more"], len(first["jobs"])) == (True, True, stream_module.CHUNK)
    second = await page.of("jobs")
    assert (second["reset"], second["more"], second["number"]) == (False, False, store.last_change())
    assert [job["id"] for job in first["jobs"] + second["jobs"]] == ids[::-1]
    page.close()


async def test_a_page_with_no_jobs_hears_that_there_are_none(stream: Open) -> None:
    page = await stream()
    assert await page.snapshot() == []
    page.close()


async def test_changes_come_numbered_and_once(stream: Open, add: Add, store: JobStore) -> None:
    page = await stream()
    await page.snapshot()
    job = add(JobState.NEW)
    change = await page.of("change")
    assert [(told["id"], told["state"]) for told in change["jobs"]] == [(job.job_id, "NEW")]
    store.advance(job.job_id, "tests", state=JobState.RUNNING, started=5.0)
    later = await page.of("change")
    assert later["number"] == store.last_change() > change["number"]
    assert later["jobs"][0]["state"] == "RUNNING"
    assert [heard for heard in await page.silence(1.0) if heard["type"] in ("jobs", "change")] == []
    page.close()


async def test_a_page_that_returns_gets_what_changed_since(
    stream: Open, add: Add, store: JobStore, parts: Parts
) -> None:
    _, moved = add(JobState.COMPLETED), add(JobState.RUNNING)
    await parts.hub.fresh()
    page = await stream()
    await page.snapshot()
    number = page.heard[-1]["number"]
    page.close()
    store.advance(moved.job_id, "tests", state=JobState.COMPLETED)
    new = add(JobState.NEW)
    await parts.hub.fresh()
    again = await stream(after=number)
    change = await again.of("change")
    assert [job["id"] for job in change["jobs"]] == [moved.job_id, new.job_id]
    again.close()


async def test_numbers_of_another_store_begin_anew(stream: Open, add: Add, parts: Parts) -> None:
    job = add()
    await parts.hub.fresh()
    page = await stream(after=10**6)
    first = await page.of("jobs")
    assert (first["reset"], [told["id"] for told in first["jobs"]]) == (True, [job.job_id])
    page.close()


async def test_a_hidden_page_gets_a_summary_and_nothing_else(
    stream: Open, add: Add, store: JobStore, parts: Parts
) -> None:
    job = add(JobState.RUNNING)
    await parts.hub.fresh()
    page = await stream(visible=False)
    summary = await page.next()
    assert summary == {
        "type": "summary", "running": 1, "queued": 0, "failed_since": 0, "eta": None, "busiest": "",
    }  # fmt: skip
    for seq in range(1, 30):
        store.advance(job.job_id, "tests", seq=seq, telemetry={"progress": {"fraction": seq / 30, "eta": 100.0 + seq}})
        await asyncio.sleep(0.03)
    heard = await page.silence(stream_module.SUMMARY_EVERY + 2)
    assert [message["type"] for message in heard] in ([], ["summary"])
    await page.say(type="visible", visible=True, after=None)
    assert [told["id"] for told in await page.snapshot()] == [job.job_id]
    page.close()


async def test_a_hidden_page_hears_at_once_that_a_job_ended(
    stream: Open, add: Add, store: JobStore, parts: Parts, monkeypatch: Any
) -> None:
    monkeypatch.setattr(stream_module, "SUMMARY_EVERY", 600.0)
    job = add(JobState.RUNNING)
    await parts.hub.fresh()
    page = await stream(visible=False)
    assert (await page.of("summary"))["running"] == 1
    store.advance(job.job_id, "tests", state=JobState.COMPLETED)
    assert (await page.of("summary"))["running"] == 0
    page.close()


async def test_a_page_hears_on_how_many_kernels_jobs_run(stream: Open, add: Add, store: JobStore, parts: Parts) -> None:
    page = await stream()
    assert (await page.of("targets"))["targets"][0]["kernels"] == 0
    job = add(JobState.RUNNING)
    assert (await page.of("kernels"))["kernels"] == {"local": 1}
    store.advance(job.job_id, "tests", state=JobState.COMPLETED)
    assert (await page.of("kernels"))["kernels"] == {}
    page.close()


async def test_what_failed_while_a_page_was_hidden_is_counted(
    stream: Open, add: Add, store: JobStore, parts: Parts
) -> None:
    job = add(JobState.RUNNING)
    await parts.hub.fresh()
    page = await stream()
    await page.snapshot()
    await page.say(type="visible", visible=False)
    await asyncio.sleep(0.1)
    store.advance(job.job_id, "tests", state=JobState.FAILED, ended=time.time(), cause="out of memory")
    summary = await page.until(lambda message: message["type"] == "summary" and message["failed_since"])
    assert (summary["failed_since"], summary["running"]) == (1, 0)
    page.close()


async def test_a_page_that_becomes_visible_goes_on_where_it_was(
    stream: Open, add: Add, store: JobStore, parts: Parts
) -> None:
    job = add(JobState.RUNNING)
    await parts.hub.fresh()
    page = await stream()
    await page.snapshot()
    number = page.heard[-1]["number"]
    await page.say(type="visible", visible=False)
    store.advance(job.job_id, "tests", seq=5)
    await asyncio.sleep(0.5)
    await page.say(type="visible", visible=True, after=number)
    change = await page.of("change")
    assert change["jobs"][0]["seq"] == 5
    page.close()


async def test_who_is_followed_is_told_though_it_is_no_change(
    stream: Open, add: Add, store: JobStore, parts: Parts
) -> None:
    parts.supervisor.close()
    for task in parts._tasks[1:2]:  # the supervisor would take the job over
        task.cancel()
    job = add(JobState.RUNNING)
    await parts.hub.fresh()
    page = await stream()
    assert [told["watched"] for told in await page.snapshot()] == [True]
    store.release(job.job_id, "tests")
    change = await page.of("change")
    assert [(told["id"], told["watched"]) for told in change["jobs"]] == [(job.job_id, False)]
    page.close()


async def test_what_makes_no_sense_is_ignored(stream: Open, add: Add) -> None:
    page = await stream()
    await page.snapshot()
    for text in (
        "",
        "[]",
        "null",
        "{}",
        '{"type": 7}',
        '{"type": "_run"}',
        '{"type": "hello", "after": "x"}',
        "[" * 100000,
    ):
        await page._socket.write_message(text)
    for words in (
        {"type": "look", "targets": "gpu1", "jobs": [1, None]},
        {"type": "notebooks", "open": [1, {}, {"path": 3}]},
        {"type": "wrote"},
        {"type": "visible"},
    ):
        await page.say(**words)
    await page.say(type="hello", after=None, visible=True, client="again")
    job = add()
    await page.until(lambda message: any(told["id"] == job.job_id for told in message.get("jobs", ())))
    page.close()


async def test_targets_are_told_and_told_again_when_they_change(stream: Open, tmp_path: Any, parts: Parts) -> None:
    page = await stream()
    first = await page.of("targets")
    assert [(target["name"], target["link"], target["where"]) for target in first["targets"]] == [
        ("local", "unknown", "this machine")
    ]
    await asyncio.sleep(2.5)
    (tmp_path / "lepton.toml").write_text('default = "gpu1"\n[targets.gpu1]\nkind = "ssh"\nhost = "ann@gpu1"\n')
    second = await page.of("targets")
    assert [(target["name"], target["where"], target["is_default"]) for target in second["targets"]] == [
        ("local", "this machine", False), ("gpu1", "ann@gpu1", True),
    ]  # fmt: skip
    (tmp_path / "lepton.toml").write_text("[targets.gpu1\n")
    third = await page.of("targets")
    assert (third["targets"], "line 1" in third["words"]) == ([], True)
    page.close()


async def test_a_page_that_does_not_read_costs_no_memory(parts: Parts, add: Add, store: JobStore) -> None:
    """What is to be said to it is kept as a number, not as messages."""
    job = add(JobState.RUNNING)
    await parts.hub.fresh()
    taken, gate = list[dict[str, Any]](), asyncio.Event()

    class Slow:
        async def write_message(self, message: bytes) -> None:
            await gate.wait()
            taken.append(json.loads(message))

        def close(self, code: int | None = None, reason: str | None = None) -> None:
            raise AssertionError("it was cut off")

    client = stream_module.Client(Slow(), parts.hub, parts.targets, parts.claims, parts.log)
    client.hear('{"type": "hello", "after": null, "visible": true}')
    for seq in range(1, 40):
        store.advance(job.job_id, "tests", seq=seq)
        await parts.hub.fresh()
    assert len(client._outbox) == 0
    gate.set()
    while not any(told["seq"] == 39 for message in taken for told in message.get("jobs", ())):
        await asyncio.sleep(0.05)
    assert len([message for message in taken if message["type"] in ("jobs", "change")]) <= 3
    client.close()
