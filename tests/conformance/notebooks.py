"""Runs the cases as one notebook by nbclient: on a plain kernel, or each cell under %%lepton_train."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import Any

import nbformat
from nbclient import NotebookClient

from lepton_jupyter.client import AgentClient
from lepton_jupyter.job import Job
from lepton_jupyter.targets._base import READER
from lepton_jupyter.wire import Event, from_json
from tests.conformance.cases import Case
from tests.conformance.places import Place

#: A cell that takes longer hangs.
CELL_TIMEOUT = 120
#: Prints the most memory that a process had, in KiB.
PEAK = """
import os
status = open("/proc/%s/status" % {pid}).read()
print(status.split("VmHWM:")[1].split()[0])
"""
#: A plain kernel drops the 1001st message that waits for a slow client, and what is lost cannot be compared.
UNLIMITED = """
import zmq
io = get_ipython().kernel.iopub_thread
io.schedule(lambda: io.socket.setsockopt(zmq.SNDHWM, 0))
"""


@dataclass(kw_only=True)
class Shown:
    """What one cell left: its outputs, the kernel's reply, and for a job its events."""

    source: str
    outputs: list[dict[str, Any]]
    reply: dict[str, Any]
    count: int | None
    job: Job | None = None
    events: list[Event] = field(default_factory=list)


@dataclass(kw_only=True)
class Ran:
    """A notebook that ran."""

    folder: str
    cells: dict[str, list[Shown]]
    widgets: dict[str, Any]
    peaks: dict[str, int]  # the most memory a process had, in bytes: the notebook's kernel; on a target also the agent
    displays: list[tuple[Shown, dict[str, Any]]] = field(default_factory=list)  # all that have a display id, in order

    def displays_after(self, cell: Shown) -> list[dict[str, Any]]:
        """What later cells showed under display ids."""
        cells = [id(one) for group in self.cells.values() for one in group]
        later = set(cells[cells.index(id(cell)) + 1 :])
        return [content for shown, content in self.displays if id(shown) in later]


def run(cases: list[Case], place: Place) -> Ran:
    """Run all cells of all cases, in order, as one notebook."""
    first = "%load_ext lepton_jupyter" if place.target else UNLIMITED
    sources = [(case.name, place.magic + cell) for case in cases for cell in case.cells]
    if place.target:
        sources.append(("the agent's memory", place.magic + PEAK.format(pid="os.getppid()")))
    everything = [first, *(source for _, source in sources), PEAK.format(pid="'self'")]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in everything])
    replies: dict[int, dict[str, Any]] = {}

    def executed(cell: Any, cell_index: int, execute_reply: dict[str, Any]) -> None:
        replies[cell_index] = execute_reply["content"]

    nudging: list[asyncio.Task[None]] = []

    async def begin(cell: Any, cell_index: int) -> None:
        if not nudging:
            nudging.append(asyncio.create_task(_nudge(client)))

    client = NotebookClient(
        notebook, kernel_name="python3", allow_errors=True, timeout=CELL_TIMEOUT, iopub_timeout=CELL_TIMEOUT,
        resources={"metadata": {"path": str(place.folder)}}, on_cell_start=begin, on_cell_executed=executed,
        on_notebook_complete=lambda notebook: nudging[0].cancel(),
    )  # fmt: skip
    client.execute(env=place.env)
    cells: dict[str, list[Shown]] = {}
    for number, (name, _) in enumerate(sources, 1):
        cell = notebook.cells[number]
        shown = Shown(source=cell.source, outputs=cell.outputs, reply=replies[number], count=cell.execution_count)
        cells.setdefault(name, []).append(shown)
    widgets = notebook.metadata.get("widgets", {})
    peaks = {"notebook": 1024 * int(notebook.cells[-1].outputs[0].text)}
    if place.target:
        peaks["agent"] = 1024 * int(notebook.cells[-2].outputs[0].text)
    return Ran(folder=str(place.folder), cells=cells, widgets=widgets, peaks=peaks)


def _with_display_id(event: Event) -> dict[str, Any]:
    if event.event != "iopub" or not event.fields["msg_type"].endswith("display_data"):
        return {}
    content: dict[str, Any] = from_json(event.buffers[1])
    return content if content.get("transient", {}).get("display_id") else {}


async def _nudge(client: NotebookClient) -> None:
    """Have nbclient look at its shell socket now and then.

    Its Output widget sends on that socket past asyncio's back, after which asyncio may not notice that the reply has
    come: on any kernel, nbclient 0.11 then waits for its timeout.
    """
    while True:
        await client.kc.shell_channel.socket.poll(50)
        await asyncio.sleep(0.1)


def add_events(ran: Ran, place: Place) -> None:
    """Give each cell its job and the events that its host has, read over one link after the kernels have ended."""
    dispatcher = place.dispatcher()
    jobs = sorted(dispatcher.store.list(limit=0), key=lambda job: job.created)
    cells = [cell for group in ran.cells.values() for cell in group]
    assert len(jobs) == len(cells)
    events: dict[str, list[Event]] = {job.job_id: [] for job in jobs}
    news = threading.Condition()

    def keep(event: Event) -> None:
        with news:
            events[event.job_id].append(event)
            news.notify_all()

    client = AgentClient(lambda: dispatcher.target(jobs[0].spec.target).open(READER), keep, lambda link, detail: None)
    for job, cell in zip(jobs, cells, strict=True):
        last = client.follow(job.job_id).result(CELL_TIMEOUT)["last"]
        with news:
            assert news.wait_for(lambda: len(events[job.job_id]) >= last, CELL_TIMEOUT)  # noqa: B023
        client.unfollow(job.job_id)
        cell.job, cell.events = job, events[job.job_id]
        ran.displays += [(cell, content) for event in cell.events if (content := _with_display_id(event))]
    client.close()
    dispatcher.close()
