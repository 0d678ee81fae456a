"""Outputs come into a notebook that nobody has open: only they change, and nothing is guessed."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from pathlib import Path

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tornado.web import HTTPError

from lepton_jupyter.job import JobState
from lepton_jupyter.server.notebooks import cells
from lepton_jupyter.widgets import static
from tests.server._bed import Bed, cell, shown, stream


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


def test_outputs_come_into_the_cell_of_that_id(bed: Bed) -> None:
    path = bed.notebook("1", "2")
    job = bed.job(path, "b", stream("hello\n"), shown("image/png", "iVBORw0KGgo="))
    written = bed.write(job)
    assert (written.state, written.how, written.final) == ("written", "file", True)
    assert cell(path, 1).outputs == [stream("hello\n"), shown("image/png", "iVBORw0KGgo=")]
    assert cell(path, 1).metadata == {"lepton": {"job": job.job_id}}
    assert cell(path, 0).outputs == []
    record = bed.record(job)
    assert (record["state"], record["how"], record["seq"], record["saved"]) == ("written", "file", 2, True)


def test_everything_else_stays_byte_for_byte(bed: Bed) -> None:
    path = bed.notebook("print('ü')\n", "2", metadata={"kernelspec": {"name": "x", "display_name": "X"}, "mine": [1]})
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].metadata = {"tags": ["keep"], "collapsed": False}
    html = {**shown("text/html", "<b>\nö</b>"), "metadata": {"isolated": True}}
    notebook.cells[1].outputs = [nbformat.from_dict(html)]
    nbformat.write(notebook, path)
    before = path.read_text()
    job = bed.job(path, "a", stream("one\ntwo\n"))
    bed.write(job)
    after = path.read_text()
    changed = json.loads(after)
    assert changed["cells"][0].pop("outputs") == [{**stream(""), "text": ["one\n", "two\n"]}]
    assert changed["cells"][0]["metadata"].pop("lepton") == {"job": job.job_id}
    changed["cells"][0]["outputs"] = []
    assert json.dumps(changed, indent=1, sort_keys=True, ensure_ascii=False) + "\n" == before


def test_a_card_whose_kernel_is_gone_is_drawn_for_good(tmp_path: Path) -> None:
    drawn = {"text/html": "<div>done</div>", "text/plain": "done"}
    bed = Bed(tmp_path, card=lambda job: drawn)
    path = bed.notebook("1", "2")
    job = bed.job(path, "a", stream("hello\n"))
    view = {static.WIDGET_VIEW: {"version_major": 2, "version_minor": 0, "model_id": "x"}, "text/plain": "runs"}
    mine, other = (
        nbformat.v4.new_output("display_data", data=view, metadata=static.metadata(name)) for name in (job.job_id, "x")
    )
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].outputs = [mine, other, nbformat.from_dict(stream("hello\n"))]
    notebook.cells[0].metadata = {"lepton": {"job": job.job_id}}
    nbformat.write(notebook, path)
    bed.write(job)
    assert cell(path).outputs == [{**mine, "data": drawn}, other, stream("hello\n")]
    before = path.stat().st_mtime_ns
    bed.write(job)
    assert path.stat().st_mtime_ns == before


def test_writing_again_does_not_touch_the_file(bed: Bed) -> None:
    path = bed.notebook("1")
    job = bed.job(path, "a", stream("hello\n"), shown("text/html", "<p>one</p>\n<p>two</p>"))
    bed.write(job)
    stamp, text = path.stat().st_mtime_ns, path.read_text()
    assert bed.write(job).state == "written"
    assert (path.stat().st_mtime_ns, path.read_text()) == (stamp, text)


def test_a_notebook_of_an_old_format_is_found_by_the_job_id(bed: Bed) -> None:
    path = bed.notebook("1", "2")
    job = bed.job(path, "made-up-by-the-page", stream("hello\n"))
    notebook = json.loads(path.read_text())
    for entry in notebook["cells"]:
        del entry["id"]
    notebook["nbformat_minor"] = 4
    notebook["cells"][1]["metadata"] = {"lepton": {"job": job.job_id}}
    path.write_text(json.dumps(notebook))
    assert bed.write(job).state == "written"
    assert cell(path, 1).outputs == [stream("hello\n")]
    assert json.loads(path.read_text())["nbformat_minor"] == 4
    assert "id" not in cell(path, 1)


def test_a_deleted_cell_is_said_and_nothing_guessed(bed: Bed) -> None:
    path = bed.notebook("x", "x")
    job = bed.job(path, "gone", stream("hello\n"))
    before = path.read_text()
    written = bed.write(job)
    assert (written.state, written.words) == ("gone", "cell gone – open result")
    assert path.read_text() == before
    assert bed.record(job)["words"] == "cell gone – open result"


def test_copies_that_both_name_the_job_are_not_guessed_between(bed: Bed) -> None:
    path = bed.notebook("x", "x")
    job = bed.job(path, "gone", stream("hello\n"))
    notebook = nbformat.read(path, as_version=4)
    for entry in notebook.cells:
        entry.metadata["lepton"] = {"job": job.job_id}
    nbformat.write(notebook, path)
    assert bed.write(job).state == "gone"


def test_a_cell_that_became_markdown_is_gone(bed: Bed) -> None:
    path = bed.notebook("x")
    job = bed.job(path, "a", stream("hello\n"))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("x", id="a")])
    nbformat.write(notebook, path)
    assert bed.write(job).state == "gone"


def test_a_deleted_notebook_is_said(bed: Bed) -> None:
    path = bed.notebook("x")
    job = bed.job(path, "a", stream("hello\n"))
    path.unlink()
    written = bed.write(job)
    assert (written.state, written.words) == ("gone", "notebook gone – open result")


def test_a_newer_run_of_the_cell_keeps_its_place(bed: Bed) -> None:
    path = bed.notebook("x")
    older = bed.job(path, "a", stream("older\n"), created=1000.0)
    newer = bed.job(path, "a", stream("newer\n"), created=2000.0)
    assert bed.write(newer).state == "written"
    written = bed.write(older)
    assert (written.state, written.words) == ("gone", "the cell was run again since – open result")
    assert cell(path).outputs == [stream("newer\n")]
    assert bed.record(older)["final"]


def test_a_job_that_runs_is_not_written_into_a_closed_notebook(bed: Bed) -> None:
    path = bed.notebook("x")
    job = bed.job(path, "a", stream("so far\n"), state=JobState.RUNNING)
    assert bed.write(job).state == "waiting"
    assert cell(path).outputs == []
    assert bed.fetched == 0


def test_a_notebook_outside_the_server_is_left_alone(bed: Bed, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", id="a")]), path)
    job = bed.job(path, "a", stream("hello\n"))
    written = bed.write(job)
    assert (written.state, written.words) == ("waiting", "the notebook is outside this server's folder")
    assert cell(path).outputs == []


def test_a_file_that_cannot_be_written_is_said_and_may_be_tried_again(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bed.notebook("x")
    job = bed.job(path, "a", stream("hello\n"))
    bed.contents.pre_save_hook = _refuse
    written = bed.write(job)
    assert written.state == "failed"
    assert "the disk is full" in written.words
    bed.contents.pre_save_hook = None
    assert bed.write(job).state == "written"


def test_what_somebody_else_saves_meanwhile_is_kept(bed: Bed) -> None:
    path = bed.notebook("old source")
    job = bed.job(path, "a", stream("hello\n"))
    get, calls = bed.contents.get, []

    async def slow_get(*args: object, **kwargs: object) -> object:
        model = await get(*args, **kwargs)
        calls.append(kwargs.get("content"))
        if len(calls) == 1:  # between our reading and our writing
            notebook = nbformat.read(path, as_version=4)
            notebook.cells[0].source = "new source"
            nbformat.write(notebook, path)
        return model

    slow_get.__signature__ = inspect.signature(get)  # type: ignore[attr-defined]
    bed.contents.get = slow_get
    assert bed.write(job).state == "written"
    assert (cell(path).source, cell(path).outputs) == ("new source", [stream("hello\n")])


def test_a_front_end_that_we_do_not_know_is_not_written_under(tmp_path: Path) -> None:
    async def attached(path: str) -> int | None:
        return 1 if path == "work.ipynb" else None

    bed = Bed(tmp_path, attached=attached)
    path = bed.notebook("x")
    job = bed.job(path, "a", stream("hello\n"))
    written = bed.write(job)
    assert (written.state, written.words) == ("waiting", "open in a page without the Lepton extension")
    assert cell(path).outputs == []


def test_the_card_above_the_outputs_stays(bed: Bed) -> None:
    path = bed.notebook("x")
    job = bed.job(path, "a", stream("hello\n"))
    card = {**shown("text/html", "<b>card</b>"), "metadata": {"lepton": {"card": job.job_id}}}
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].outputs = [nbformat.from_dict(card), nbformat.from_dict(stream("hel"))]
    nbformat.write(notebook, path)
    bed.write(job)
    assert cell(path).outputs == [card, stream("hello\n")]


@pytest.mark.parametrize(("alive", "orphan"), [(True, False), (True, True), (False, False)])
def test_a_widget_whose_kernel_is_gone_leaves_its_text(tmp_path: Path, alive: bool, orphan: bool) -> None:
    async def attached(path: str) -> int | None:
        return 0 if alive else None

    bed = Bed(tmp_path, attached=attached, orphaned=lambda job_id: orphan)
    path = bed.notebook("x")
    view = shown("application/vnd.jupyter.widget-view+json", {"model_id": "x"})
    bare = {**view, "data": {mime: data for mime, data in view["data"].items() if mime != "text/plain"}}
    bed.write(bed.job(path, "a", view, bare))
    first, second = (dict(output.data) for output in cell(path).outputs)
    if alive and not orphan:
        assert (first, second) == (view["data"], bare["data"])
    else:
        assert (first, list(second)) == ({"text/plain": "<it>"}, ["text/plain"])


def test_a_widget_of_a_kernel_that_was_restarted_leaves_its_text(bed: Bed) -> None:
    path = bed.notebook("x")
    view = shown("application/vnd.jupyter.widget-view+json", {"model_id": "x"})
    job = bed.job(path, "a", view, created=time.time() - 10)
    page = bed.page(lambda message: {"state": "idle"} if message["probe"] else {"state": "written"})
    page.opens("work.ipynb", epoch=1)
    bed.write(job)
    page.opens("work.ipynb", epoch=2)
    bed.write(job)
    before, after = page.written
    assert (before, after[0]["data"]) == ([view], {"text/plain": "<it>"})


def test_a_renamed_folder_takes_its_jobs_along(bed: Bed) -> None:
    path = bed.notebook("x", name="old/work.ipynb")
    job = bed.job(path, "a", stream("hello\n"))
    other = bed.job(bed.notebook("x", name="older.ipynb"), "a", stream("other\n"))

    async def rename() -> None:
        await bed.contents.rename("old", "new")
        await bed.notebooks.moved("old", "new")

    asyncio.run(rename())
    moved = bed.root / "new" / "work.ipynb"
    assert bed.store.get(job.job_id).spec.notebook == str(moved)
    assert [found.job_id for found in bed.store.list(notebook=str(moved))] == [job.job_id]
    assert bed.store.get(other.job_id).spec.notebook == str(bed.root / "older.ipynb")
    assert bed.write(job).state == "written"
    assert cell(moved).outputs == [stream("hello\n")]


def test_a_kernel_that_knows_the_old_name_still_finds_its_notebook(bed: Bed) -> None:
    first = bed.notebook("x")

    async def rename() -> None:
        for old, new in (("work.ipynb", "second.ipynb"), ("second.ipynb", "third.ipynb")):
            await bed.contents.rename(old, new)
            await bed.notebooks.moved(old, new)

    asyncio.run(rename())
    job = bed.job(first, "a", stream("hello\n"))  # run after the renaming
    assert bed.write(job).state == "written"
    assert cell(bed.root / "third.ipynb").outputs == [stream("hello\n")]
    assert bed.store.get(job.job_id).spec.notebook == str(bed.root / "third.ipynb")


def test_another_notebook_of_the_old_name_is_not_mistaken_for_it(bed: Bed) -> None:
    first = bed.notebook("x")
    asyncio.run(_renamed(bed, "work.ipynb", "second.ipynb"))
    job = bed.job(first, "a", stream("hello\n"))
    new = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", id="z")])
    nbformat.write(new, first)
    assert bed.write(job).state == "written"
    assert cell(bed.root / "second.ipynb").outputs == [stream("hello\n")]
    assert cell(first).outputs == []


# trust


def test_harmless_outputs_keep_the_notebook_trusted(bed: Bed) -> None:
    path = bed.notebook("x", "y")
    bed.trust(path)
    job = bed.job(path, "a", stream("hello\n"), shown("text/html", "<table><tr><td>1</td></tr></table>"))
    assert bed.write(job).words == ""
    assert bed.trusted(path)


@pytest.mark.parametrize("html", ["<script>1</script>", "<img src=x onerror=alert(1)>"])
def test_outputs_that_could_run_scripts_take_the_trust_and_say_so(bed: Bed, html: str) -> None:
    path = bed.notebook("x")
    bed.trust(path)
    job = bed.job(path, "a", shown("text/html", html))
    assert "not trusted" in bed.write(job).words
    assert not bed.trusted(path)
    assert cell(path).outputs[0].data["text/html"] == html


def test_an_untrusted_notebook_is_not_trusted_by_our_writing(bed: Bed) -> None:
    path = bed.notebook("x", "y")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].outputs = [nbformat.from_dict(shown("text/html", "<script>1</script>"))]
    nbformat.write(notebook, path)
    bed.write(bed.job(path, "a", stream("hello\n")))
    assert not bed.trusted(path)


# what is the same

_TEXT = st.text(alphabet="ab\n", max_size=4)
_OUTPUTS = st.lists(
    st.one_of(
        st.builds(stream, _TEXT, st.sampled_from(["stdout", "stderr"])),
        st.builds(shown, st.sampled_from(["text/html", "image/png"]), _TEXT),
    ),
    max_size=5,
)


@settings(max_examples=30, deadline=None)
@given(first=_OUTPUTS, second=_OUTPUTS)
def test_a_file_says_the_same_as_what_was_written(
    first: list[dict[str, object]], second: list[dict[str, object]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    bed = Bed(tmp_path_factory.mktemp("bed"))
    path = bed.notebook("x")
    job = bed.job(path, "a", *first)
    bed.write(job)
    text = path.read_text()
    bed.write(job)
    assert path.read_text() == text
    bed.outputs[job.job_id] = second, len(first) + 1
    bed.write(job)
    assert cells.same(cell(path).outputs, second)
    if cells.same(first, second):
        assert path.read_text() == text
    bed.store.close()


@given(_OUTPUTS, st.data())
def test_streams_may_be_cut_anywhere(outputs: list[dict[str, str]], data: st.DataObject) -> None:
    cut: list[dict[str, str]] = []
    for output in outputs:
        if output["output_type"] == "stream":
            at = data.draw(st.integers(0, len(output["text"])))
            cut += [{**output, "text": output["text"][:at]}, {**output, "text": output["text"][at:]}]
        else:
            cut.append(output)
    assert cells.same(outputs, cut)


def _refuse(model: object, **kwargs: object) -> None:
    raise HTTPError(507, "the disk is full")


async def _renamed(bed: Bed, old: str, new: str) -> None:
    await bed.contents.rename(old, new)
    await bed.notebooks.moved(old, new)
