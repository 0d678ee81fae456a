"""A folder of notebooks as Jupyter Server keeps it, and a store of jobs, for tests of the write-back.

Runs in the test process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

from lepton_jupyter.job import Job, JobId, JobSpec, JobState, new_job_id
from lepton_jupyter.server.notebooks import Claims, Notebooks
from lepton_jupyter.store import JobStore

Output = dict[str, Any]


def stream(text: str, name: str = "stdout") -> Output:
    return {"output_type": "stream", "name": name, "text": text}


def shown(mime: str, data: Any, **more: Any) -> Output:
    return {"output_type": "display_data", "data": {mime: data, "text/plain": "<it>", **more}, "metadata": {}}


class Page:
    """A page as the server knows it: it answers what it is asked at once, by `answers`, or not at all."""

    def __init__(self, claims: Claims, answer: Callable[[dict[str, Any]], Mapping[str, Any] | None]) -> None:
        self.claims, self.answer = claims, answer
        self.heard: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        self.heard.append(message)
        answer = self.answer(message) if message["type"] == "write" else None
        if answer is not None:
            said = {"type": "wrote", "job": message["job"], "seq": message["seq"], **answer}
            asyncio.get_running_loop().call_soon(self.claims.wrote, self, said)

    def opens(self, *paths: str, **more: Any) -> None:
        self.claims.update(self, [{"path": path, **more} for path in paths])

    @property
    def written(self) -> list[list[Output]]:
        """The outputs that it was asked to write."""
        return [message["outputs"] for message in self.heard if message["type"] == "write" and not message["probe"]]


class Bed:
    """`root` is the server's folder; `outputs` are what each job has."""

    def __init__(self, folder: Path, settings: Mapping[str, Any] | None = None, **options: Any) -> None:
        self.root = folder / "notebooks"
        self.root.mkdir(parents=True)
        self.contents = AsyncLargeFileManager(root_dir=str(self.root))
        self.contents.notary.data_dir = str(folder)
        self.store = JobStore(folder / "state" / "jobs.db")
        self.claims = Claims()
        self.outputs: dict[str, tuple[Sequence[Output], int]] = {}
        self.fetched = 0
        self.notebooks = Notebooks(
            contents=self.contents, settings=settings or {}, root=str(self.root), claims=self.claims, fold=self._fold,
            store=self.ask_store, log=logging.getLogger("test"), patience=0.3, **options,
        )  # fmt: skip

    async def ask_store(self, use: Callable[[JobStore], Any], /) -> Any:
        return await asyncio.to_thread(use, self.store)

    def page(self, answer: Callable[[dict[str, Any]], Mapping[str, Any] | None]) -> Page:
        return Page(self.claims, answer)

    def notebook(self, *sources: str, name: str = "work.ipynb", **fields: Any) -> Path:
        """A notebook whose code cells have the ids a, b, c…"""
        cells = [nbformat.v4.new_code_cell(source, id="abcdefgh"[n]) for n, source in enumerate(sources)]
        notebook = nbformat.v4.new_notebook(cells=cells, **fields)
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, path)
        return path

    def trust(self, path: Path) -> None:
        self.contents.notary.sign(nbformat.read(path, as_version=4))

    def trusted(self, path: Path) -> bool:
        return bool(self.contents.notary.check_signature(nbformat.read(path, as_version=4)))

    def job(
        self, notebook: Path, cell_id: str = "a", *outputs: Output, state: JobState = JobState.COMPLETED,
        created: float | None = None,
    ) -> Job:  # fmt: skip
        spec = JobSpec(code="x", target="local", notebook=str(notebook), cell_id=cell_id)
        job = Job(job_id=new_job_id(), spec=spec, state=state, created=created or time.time())
        self.store.add(job)
        self.outputs[job.job_id] = outputs, len(outputs)
        return job

    def write(self, job: Job) -> Any:
        return asyncio.run(self.notebooks.write(self.store.get(job.job_id)))

    def record(self, job: Job | JobId) -> Mapping[str, Any]:
        return self.store.get(job.job_id if isinstance(job, Job) else job).written

    async def _fold(self, job: Job) -> tuple[Sequence[Output], int]:
        self.fetched += 1
        return self.outputs[job.job_id]


def cell(path: Path, number: int = 0) -> Any:
    return nbformat.read(path, as_version=4).cells[number]
