"""Outputs come into a notebook that pages have open: one page is asked, at the right time, and no more than needed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tornado.web import HTTPError

from lepton_jupyter.job import JobState
from lepton_jupyter.server.notebooks import Errands, errands
from tests.server._bed import Bed, cell, stream

WROTE = {"state": "written", "words": "", "saved": True}


def dead_to_all(message: dict[str, Any]) -> None:
    """A page that sleeps."""


def writes(message: dict[str, Any]) -> dict[str, Any]:
    """A page that was reloaded: the cell gets nothing from its kernel."""
    return {"state": "idle"} if message["probe"] else WROTE


def lives(message: dict[str, Any]) -> dict[str, Any]:
    """A page whose cell gets the outputs from its kernel."""
    return {"state": "live", "whole": True, "saved": False} if message["probe"] else WROTE


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


def test_the_page_that_has_it_open_is_asked_and_the_file_left_alone(bed: Bed) -> None:
    path = bed.notebook("x")
    page = bed.page(writes)
    page.opens("work.ipynb")
    job = bed.job(path, "a", stream("hello\n"))
    written = bed.write(job)
    assert (written.state, written.how) == ("written", "tab")
    assert page.written == [[stream("hello\n")]]
    message = page.heard[-1]
    assert (message["job"], message["path"], message["cell_id"]) == (job.job_id, "work.ipynb", "a")
    assert (message["seq"], message["final"], message["inert"]) == (1, True, True)
    assert cell(path).outputs == []


def test_a_page_gets_the_card_only_of_a_job_that_is_over(tmp_path: Path) -> None:
    bed = Bed(tmp_path, card=lambda job: {"text/plain": job.state.value})
    path = bed.notebook("x", "y")
    page = bed.page(writes)
    page.opens("work.ipynb")
    bed.write(bed.job(path, "a", stream("1\n"), state=JobState.RUNNING))
    assert page.heard[-1]["card"] is None
    bed.write(bed.job(path, "b", stream("1\n")))
    assert page.heard[-1]["card"] == {"text/plain": "COMPLETED"}


def test_the_page_in_front_is_asked_and_only_that_one(bed: Bed) -> None:
    path = bed.notebook("x")
    behind, front = bed.page(writes), bed.page(writes)
    front.opens("work.ipynb", active=True)
    behind.opens("work.ipynb")
    bed.write(bed.job(path, "a", stream("hello\n")))
    assert (len(front.written), len(behind.written)) == (1, 0)


def test_the_page_whose_cell_is_live_is_asked_before_the_one_in_front(bed: Bed) -> None:
    path = bed.notebook("x")
    cut = {"state": "live", "whole": False, "saved": False}
    live = bed.page(lambda message: cut if message["probe"] else WROTE)
    front = bed.page(writes)
    live.opens("work.ipynb")
    front.opens("work.ipynb", active=True)
    bed.write(bed.job(path, "a", stream("hello\n")))
    assert (len(live.written), len(front.written)) == (1, 0)


def test_the_next_page_is_asked_when_one_does_not_answer(bed: Bed) -> None:
    path = bed.notebook("x")
    asleep, awake = bed.page(dead_to_all), bed.page(writes)
    awake.opens("work.ipynb")
    asleep.opens("work.ipynb", active=True)
    written = bed.write(bed.job(path, "a", stream("hello\n")))
    assert (written.how, len(awake.written)) == ("tab", 1)


def test_the_file_is_written_when_no_page_answers_and_they_are_told(bed: Bed) -> None:
    path = bed.notebook("x")
    asleep = bed.page(dead_to_all)
    asleep.opens("work.ipynb")
    written = bed.write(bed.job(path, "a", stream("hello\n")))
    assert (written.state, written.how) == ("written", "file")
    assert cell(path).outputs == [stream("hello\n")]
    assert asleep.heard[-1]["type"] == "saved"
    assert isinstance(asleep.heard[-1]["hash"], str)


def test_a_page_that_is_gone_is_not_waited_for(bed: Bed) -> None:
    path = bed.notebook("x")

    def leaves(message: dict[str, Any]) -> None:
        asyncio.get_running_loop().call_soon(bed.claims.drop, page)

    page = bed.page(leaves)
    page.opens("work.ipynb")
    assert bed.write(bed.job(path, "a", stream("hello\n"))).how == "file"
    assert bed.claims.of("work.ipynb") == []


def test_nothing_is_fetched_for_a_cell_that_got_it_all_from_its_kernel(bed: Bed) -> None:
    path = bed.notebook("x")
    page = bed.page(lives)
    page.opens("work.ipynb")
    job = bed.job(path, "a", stream("hello\n"))
    written = bed.write(job)
    assert (written.state, written.how, written.saved) == ("written", "tab", False)
    assert (page.written, bed.fetched) == ([], 0)
    assert not bed.record(job)["saved"]


def test_a_live_cell_is_left_alone_while_the_job_runs(bed: Bed) -> None:
    path = bed.notebook("x")
    page = bed.page(lives)
    page.opens("work.ipynb")
    job = bed.job(path, "a", stream("hello\n"), state=JobState.RUNNING)
    assert bed.write(job).state == "live"
    assert (page.written, bed.fetched, bed.record(job)) == ([], 0, {})


def test_a_page_that_finds_no_cell_is_believed(bed: Bed) -> None:
    path = bed.notebook("x")
    page = bed.page(lambda message: {"state": "gone"})
    page.opens("work.ipynb")
    job = bed.job(path, "a", stream("hello\n"))
    assert (bed.write(job).state, bed.record(job)["words"]) == ("gone", "cell gone – open result")
    page.answer = lambda message: {"state": "gone", "why": "again"}
    assert "run again" in bed.write(job).words


def test_a_page_that_saves_what_it_is_asked_to_write_tells_the_others(bed: Bed) -> None:
    path = bed.notebook("x")
    writer = bed.page(lambda message: {**writes(message), "path": "work.ipynb", "hash": "abc"})
    other = bed.page(writes)
    writer.opens("work.ipynb", active=True)
    other.opens("work.ipynb")
    assert bed.write(bed.job(path, "a", stream("hello\n"))).saved
    assert {"type": "saved", "path": "work.ipynb", "hash": "abc"} in other.heard
    assert len(other.written) == 0


@pytest.mark.parametrize(
    "nonsense", [{"path": 3, "hash": "x"}, {"path": "work.ipynb"}, {"path": "other.ipynb", "hash": 1}]
)
def test_a_page_that_does_not_say_what_it_saved_is_not_passed_on(bed: Bed, nonsense: dict[str, Any]) -> None:
    page = bed.page(writes)
    page.opens("work.ipynb")
    bed.claims.wrote(page, {"job": "j", "saved": True, **nonsense})
    assert page.heard == []


@pytest.mark.parametrize("nonsense", [None, 7, "x", {}, {"path": ""}, {"path": 3}, {"path": ["a"]}])
def test_claims_that_make_no_sense_are_left_out(bed: Bed, nonsense: Any) -> None:
    page = bed.page(writes)
    bed.claims.update(page, [nonsense, {"path": "/work.ipynb", "hash": 5, "epoch": "x"}])
    ((_, claim),) = bed.claims.of("work.ipynb")
    assert (claim.hash, claim.epoch, bed.claims.paths()) == (None, 0, {"work.ipynb"})


# when something is due

Scene = Callable[[Errands], Awaitable[None]]


@pytest.fixture
def play(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> Callable[[Scene], None]:
    """Plays a scene with errands that hurry."""
    for name, seconds in {"_LAST_WORDS": 0.02, "_AGAIN": 0.05, "_RELOAD": 0.1}.items():
        monkeypatch.setattr(errands, name, seconds)

    def play(scene: Scene) -> None:
        async def run() -> None:
            made = Errands(bed.notebooks, bed.ask_store, logging.getLogger("test"), every=0.1)
            try:
                await scene(made)
            finally:
                await made.close()

        asyncio.run(run())

    return play


async def until(true: Callable[[], bool]) -> None:
    for _ in range(400):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about")


def test_a_job_that_ends_is_brought_home_once(bed: Bed, play: Callable[[Scene], None]) -> None:
    path = bed.notebook("x")
    job = bed.job(path, "a", stream("hello\n"))

    async def scene(errands: Errands) -> None:
        errands.on_job(replace(job, state=JobState.RUNNING), job)
        errands.on_job(replace(job, state=JobState.RUNNING), job)
        await until(lambda: bed.record(job).get("state") == "written")
        errands.on_job(job, bed.store.get(job.job_id))  # our own note is a change, too
        await asyncio.sleep(0.2)
        assert bed.fetched == 1

    play(scene)
    assert cell(path).outputs == [stream("hello\n")]


def test_a_reloaded_page_is_fed_until_the_end(bed: Bed, play: Callable[[Scene], None]) -> None:
    path = bed.notebook("x")
    job = bed.job(path, "a", stream("1\n"), state=JobState.RUNNING)
    page = bed.page(writes)

    async def scene(errands: Errands) -> None:
        page.opens("work.ipynb")
        await until(lambda: page.written == [[stream("1\n")]])
        for text in ("1\n2\n", "1\n2\n3\n"):
            bed.outputs[job.job_id] = (stream(text),), len(text) // 2
            for _ in range(5):  # news comes faster than it is written
                errands.on_job(job, job)
            await until(lambda text=text: page.written[-1] == [stream(text)])  # type: ignore[misc]
        assert len(page.written) == 3
        bed.outputs[job.job_id] = (stream("1\n2\n3\nend\n"),), 4
        store = bed.store
        assert store.lease(job.job_id, "test")
        done = store.advance(job.job_id, "test", state=JobState.COMPLETED)
        errands.on_job(job, done)
        await until(lambda: bed.record(job).get("final", False))
        assert page.written[-1] == [stream("1\n2\n3\nend\n")]
        assert page.heard[-1]["final"]

    play(scene)


def test_a_live_cell_costs_nothing_until_the_end(bed: Bed, play: Callable[[Scene], None]) -> None:
    path = bed.notebook("x")
    job = bed.job(path, "a", stream("1\n"), state=JobState.RUNNING)
    page = bed.page(lives)

    async def scene(errands: Errands) -> None:
        page.opens("work.ipynb")
        await until(lambda: len(page.heard) == 1)
        errands.on_job(None, job)
        await until(lambda: len(page.heard) == 2)  # asked once that the job is there
        for _ in range(5):
            errands.on_job(job, job)
        await asyncio.sleep(0.2)
        assert (len(page.heard), bed.fetched) == (2, 0)
        page.opens("work.ipynb", epoch=1)  # its kernel was restarted
        await until(lambda: len(page.heard) == 3)

    play(scene)


def test_what_a_page_had_not_saved_when_it_closed_comes_into_the_file(bed: Bed, play: Callable[[Scene], None]) -> None:
    path = bed.notebook("x")
    job = bed.job(path, "a", stream("hello\n"))
    page = bed.page(lives)

    async def scene(errands: Errands) -> None:
        page.opens("work.ipynb")
        errands.write_soon(job.job_id)
        await until(lambda: bed.record(job).get("how") == "tab")
        bed.claims.drop(page)
        await until(lambda: bed.record(job)["how"] == "file")

    play(scene)
    assert cell(path).outputs == [stream("hello\n")]


def test_what_a_page_saved_is_left_alone_when_it_closes(bed: Bed, play: Callable[[Scene], None]) -> None:
    path = bed.notebook("x")
    job = bed.job(path, "a", stream("hello\n"))
    page, other = bed.page(lives), bed.page(writes)

    async def scene(errands: Errands) -> None:
        page.opens("work.ipynb", active=True)
        other.opens("work.ipynb")
        errands.write_soon(job.job_id)
        await until(lambda: bed.record(job).get("how") == "tab")
        bed.claims.wrote(page, {"job": job.job_id, "saved": True, "path": "work.ipynb", "hash": "abc"})
        await until(lambda: bool(bed.record(job)["saved"]))
        await until(lambda: {"type": "saved", "path": "work.ipynb", "hash": "abc"} in other.heard)
        bed.claims.drop(page)
        bed.claims.drop(other)
        await asyncio.sleep(0.3)

    play(scene)
    assert cell(path).outputs == []


def test_what_failed_is_tried_again(bed: Bed, play: Callable[[Scene], None]) -> None:
    path = bed.notebook("x")
    job = bed.job(path, "a", stream("hello\n"))
    bed.contents.pre_save_hook = _refuse

    async def scene(errands: Errands) -> None:
        errands.write_soon(job.job_id)
        await until(lambda: bed.record(job).get("state") == "failed")
        bed.contents.pre_save_hook = None
        await until(lambda: bed.record(job).get("state") == "written")

    play(scene)
    assert cell(path).outputs == [stream("hello\n")]


def test_what_ended_while_no_server_ran_is_brought_home_at_the_next_start(
    bed: Bed, play: Callable[[Scene], None]
) -> None:
    path, other = bed.notebook("x"), bed.notebook("x", name="never-seen.ipynb")
    job = bed.job(path, "a", stream("hello\n"), state=JobState.RUNNING)
    unseen = bed.job(other, "a", stream("cleared by its user\n"))

    async def first(errands: Errands) -> None:
        await errands.catch_up()

    async def second(errands: Errands) -> None:
        await errands.catch_up()
        await until(lambda: bed.record(job)["state"] == "written")

    play(first)
    assert bed.store.lease(job.job_id, "test")
    bed.store.advance(job.job_id, "test", state=JobState.COMPLETED)
    play(second)
    assert cell(path).outputs == [stream("hello\n")]
    assert (cell(other).outputs, bed.record(unseen)) == ([], {})


def _refuse(model: object, **kwargs: object) -> None:
    raise HTTPError(507, "the disk is full")
