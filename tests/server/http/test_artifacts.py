"""Files that a job left on its host: listed and downloaded by our ids, whatever the host calls them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.config import Config
from lepton_jupyter.job import Job, JobSpec
from lepton_jupyter.remote import Dispatcher, Run
from lepton_jupyter.server.left import Left
from lepton_jupyter.server.parts import Parts
from lepton_jupyter.server.results import Result
from lepton_jupyter.store import JobStore
from lepton_jupyter.wire import Event

Ask = Callable[..., Awaitable[tuple[int, Any]]]

PAGE = "<script>window.pwned=1</script>"
HOSTILE = f"../../deep/\r\n\"'; filename=x; {PAGE}\u202e.html"
#: Leaves a file of three pieces, one that poses as an output, a page under a hostile name, and one twice.
CODE = f"""
import os
open('big', 'wb').write(bytes(range(256)) * 10000)
open('page', 'w').write({PAGE!r})
lepton.artifact('big', 'models/big.bin')
lepton.artifact('page', 'out-01.txt')
lepton.artifact('page', {HOSTILE!r})
lepton.artifact('page', 'x' * 300 + '.txt')
lepton.artifact('page', 'models/big.bin')
lepton.artifact('big', 'models/big.bin')
os.unlink('big')
display('shown')
"""
DATA = bytes(range(256)) * 10000


class Silent:
    """A view of a job at which nobody looks."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def show(self, event: Event) -> None: ...

    def notice(self, text: str) -> None: ...


@pytest.fixture
def notebook(state: Path, tmp_path: Path) -> Iterator[Dispatcher]:
    """A notebook's kernel; cells run in a folder of the test's."""
    (tmp_path / "work").mkdir()
    (tmp_path / "lepton.toml").write_text(f"[targets.here]\nkind = 'local'\ncwd = '{tmp_path / 'work'}'\n")
    store = JobStore.load()
    dispatcher = Dispatcher(Config.load(), store)
    yield dispatcher
    dispatcher.close()
    store.close()


async def ran(notebook: Dispatcher, code: str = CODE) -> str:
    """The id of a job that has run."""

    def run() -> Run:
        run = notebook.run(JobSpec(code=code, target="here"), Silent)
        assert run.wait(60) and run.error is None, run.error
        return run

    return (await asyncio.to_thread(run)).job_id


async def test_what_a_job_left_is_listed_and_downloaded(notebook: Dispatcher, ask: Ask, jp_fetch: Any) -> None:
    job = await ran(notebook)
    status, answer = await ask("jobs", job, "artifacts")
    assert status == 200
    output, *left = answer["artifacts"]
    assert (output["id"], output["name"], output["kind"], output["url"]) == ("out-01.txt", "out-01.txt", "output", "")
    assert [(file["id"], file["kind"], file["size"]) for file in left] == [
        ("file-1", "file", len(DATA)),
        *((f"file-{n}", "file", len(PAGE)) for n in (2, 3, 4)),
    ]
    assert [file["name"] for file in left[:2]] == ["models/big.bin", "out-01.txt"]
    assert left[2]["name"] == f"../../deep/ \"'; filename=x; {PAGE}\\u202e.html"
    assert answer["variables"] == []

    names = {}
    for file in left:
        got = await jp_fetch("lepton", "api", "jobs", job, "artifacts", file["id"])
        assert got.body == (DATA if file["id"] == "file-1" else PAGE.encode())
        assert got.headers["Content-Type"] == "application/octet-stream"
        assert got.headers["X-Content-Type-Options"] == "nosniff"
        assert got.headers["Content-Security-Policy"].startswith("default-src 'none'; sandbox")
        kind, _, names[file["id"]] = got.headers["Content-Disposition"].partition("; filename*=utf-8''")
        assert kind == "attachment"
    assert names == {
        "file-1": "big.bin",
        "file-2": "out-01.txt",
        "file-3": "script__.html",
        "file-4": "x" * 116 + ".txt",
    }
    shown = await jp_fetch("lepton", "api", "jobs", job, "artifacts", "out-01.txt")
    assert shown.body == b"'shown'"  # no file of the host takes its place


async def test_only_our_ids_name_files(notebook: Dispatcher, ask: Ask) -> None:
    job = await ran(notebook, "open('a', 'w').write('a'); lepton.artifact('a')")
    for given in ("a", "file-0", "file-2", "file-01", "..%2fa", "%2e%2e%2f%2e%2e%2fjobs.db", "file-1%00", "x" * 300):
        for method in ("GET", "POST"):
            status, answer = await ask("jobs", job, "artifacts", given, method=method)
            assert (status, answer["message"]) == (404, "this job has no such file"), (method, given)
    assert await ask("jobs", job, "artifacts", "file-1", method="POST") == (200, {})


async def test_what_its_host_does_not_keep_any_more_is_said_in_words(
    notebook: Dispatcher, ask: Ask, state: Path
) -> None:
    job = await ran(notebook, "open('a', 'w').write('a'); lepton.artifact('a', '<b>a</b>')")
    notebook.close()  # its kernel ends with it, so it is the archive that is asked
    digest = hashlib.sha256(b"a").hexdigest()
    there = state / "host" / "blobs" / digest[:2] / digest
    data = there.read_bytes()
    there.unlink()
    for method in ("POST", "GET"):
        status, answer = await ask("jobs", job, "artifacts", "file-1", method=method)
        assert (status, answer["message"]) == (410, "here does not keep <b>a</b> any more")
        assert "Run the cell again" in answer["hint"]
    there.write_bytes(data)
    assert await ask("jobs", job, "artifacts", "file-1", method="POST") == (200, {})


async def test_a_file_that_is_asked_for_twice_comes_once(
    parts: Parts, add: Callable[..., Job], ask: Ask, jp_fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, go, asked = add(), asyncio.Event(), 0
    loop = asyncio.get_running_loop()
    left = Left()
    left.add(told(name="a", size=1, digest=hashlib.sha256(b"a").hexdigest()))

    async def of(_: Job) -> Result:
        return Result(outputs=[], seq=1, state=job.state, execution_count=None, files=left.files())

    def fetch(self: Dispatcher, *_: Any) -> int:
        nonlocal asked
        asked += 1
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result(30)
        self.blobs.put(b"a")
        return 1

    monkeypatch.setattr(parts.results, "of", of)
    monkeypatch.setattr(Dispatcher, "fetch", fetch)
    both = [asyncio.ensure_future(jp_fetch("lepton", "api", "jobs", job.job_id, "artifacts", "file-1")) for _ in "ab"]
    while not asked:
        await asyncio.sleep(0.01)
    assert (await ask("jobs"))[0] == 200  # and nobody waits for it but who asked
    go.set()
    assert [(await one).body for one in both] == [b"a", b"a"]
    assert asked == 1


def told(**fields: Any) -> Event:
    return Event("j", 1, "artifact", fields, ())


def names(name: str) -> str:
    left = Left()
    left.add(told(name=name, size=1, digest="0" * 64))
    return left.files()["file-1"].file_name


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("deep/model v2.bin", "model v2.bin"),
        ("C:\\temp\\größe.tar.gz", "größe.tar.gz"),
        ("..", "file-1"),
        ("a/", "file-1"),
        ("", "file-1"),
        (".bashrc", "bashrc"),
        ("\x00\n\ud800", "file-1"),
        ("con.txt", "_con.txt"),
        ("LPT1", "_LPT1"),
        ("console.log", "console.log"),
        ("ü" * 300 + ".bin", "ü" * 58 + ".bin"),
        ("a." + "b" * 300, "a." + "b" * 118),
        ("%2e%2e%2f", "_2e_2e_2f"),
    ],
)  # fmt: skip
def test_files_are_saved_under_harmless_names(name: str, saved: str) -> None:
    assert names(name) == saved


def test_what_is_not_well_formed_is_passed_over() -> None:
    left, digest = Left(), "ab" * 32
    for fields in (
        {}, {"name": "a", "size": 1}, {"name": 5, "size": 1, "digest": digest},
        {"name": "a", "size": -1, "digest": digest}, {"name": "a", "size": True, "digest": digest},
        {"name": "a", "size": 1.5, "digest": digest}, {"name": "a", "size": 1 << 70, "digest": digest},
        {"name": "a", "size": 1, "digest": "../../etc/passwd"}, {"name": "a", "size": 1, "digest": [digest]},
        {"name": "a", "size": 1, "digest": digest, "url": {}}, {"name": "a" * 5000, "size": 1, "digest": digest},
    ):  # fmt: skip
        left.add(told(**fields))
    assert left.files() == {}
    left.add(told(name="b", size=3, digest=digest, url="s3://bucket/<b>\n"))
    (file,) = left.files().values()
    assert file.as_json() == {
        "id": "file-1", "name": "b", "kind": "file", "mime": "application/octet-stream", "size": 3,
        "url": "s3://bucket/<b>",
    }  # fmt: skip


def test_variables_are_lines_of_text() -> None:
    left = Left()
    reply = {"out": {
        "w": {"words": "ndarray\n(3, 4)", "size": 96, "doc": "x"}, "f": {"error": "no safe format", "hint": "h"},
        "<b>": "nonsense", "n": {"words": ["a"], "size": "5"},
    }}  # fmt: skip
    left.add(Event("j", 1, "reply", {}, (json.dumps({"lepton": reply}).encode(),)))
    assert left.variables() == [
        {"name": "w", "size": 96, "words": "ndarray (3, 4)"},
        {"name": "f", "size": None, "words": "no safe format"},
        {"name": "<b>", "size": None, "words": "the host told nothing sensible of it"},
        {"name": "n", "size": None, "words": ""},
    ]
    left.add(Event("j", 2, "reply", {}, (b'{"lepton": {"out": [1]}}',)))
    assert left.variables() == []


def test_names_beyond_the_most_are_counted_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lepton_jupyter.server.left._MOST", 3)
    left = Left()
    for name in "abcdedcba":
        left.add(told(name=name, size=1, digest="0" * 64))
    assert [file.name for file in left.files().values()] == ["a", "b", "c"]
    assert left.unlisted == 2
