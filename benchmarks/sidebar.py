"""What the sidebar's server side costs Jupyter Server: how long its event loop is held, and what a hidden page gets."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tornado.websocket import websocket_connect

from lepton_jupyter.job import Job, JobSpec, JobState, new_job_id
from lepton_jupyter.store import JobStore
from tests.server._jupyter import JupyterServer

from ._bed import ROOT, Bed, Contender, Failed
from ._table import Row, span

_WHO = "bench"


def server(bed: Bed) -> list[Row]:
    """A page that looks at jobs and a target, among 5,000 jobs, 50 of which live and are followed by the server."""
    live, listed, seconds = (3, 100, 3) if bed.quick else (50, 5000, 30)
    folder = bed.new_folder()
    (folder / "lepton.toml").write_text(f'[targets.local]\nkind = "local"\nroot = "{folder}/host"\n')
    _fill(folder / "state", listed)
    env = {**bed.env, "LEPTON_HOME": str(folder / "state"), "LEPTON_CONFIG": str(folder / "lepton.toml")}
    crowd = Contender(sys.executable, "crowd", env, folder / "crowd.log")
    servers = []
    try:
        crowd.ask("start", timeout=600, folder=str(folder), count=live)
        crowd.ask("leave")
        plain = _serve(folder / "plain", env, ours=False)
        servers.append(plain)
        ours = _serve(folder / "ours", env, ours=True)
        servers.append(ours)
        _await_followed(ours, live)
        lags: dict[str, list[dict[str, float]]] = {"ours": [], "plain": []}
        for _ in range(2 if bed.quick else 4):  # both at once, so that the machine's moods fall on both alike
            _lag(plain), _lag(ours)
            asyncio.run(_look(ours, seconds / 4))
            lags["ours"].append(_lag(ours))
            lags["plain"].append(_lag(plain))
        hidden = asyncio.run(_listen(ours, seconds, visible=False))
        looked = asyncio.run(_listen(ours, seconds, visible=True))
    finally:
        for one in servers:
            one.stop()
        crowd.close()
    mine, theirs = (max(lag["longest"] for lag in lags[who]) for who in ("ours", "plain"))
    p99 = {who: max(lag["p99"] for lag in lags[who]) for who in lags}
    busiest = max(lag["busiest"] for lag in lags["ours"])
    return [
        Row(
            figure=f"event loop of Jupyter Server that follows {live} live jobs of {listed:,}, a page looking",
            goal="never blocked > 20 ms",
            ours=f"longest {span(mine)}, 99 % {span(p99['ours'])}; longest callback {span(busiest)} of CPU",
            peer=f"the same server without us, at the same time: longest {span(theirs)}, 99 % {span(p99['plain'])}",
            ratio=f"{mine / max(theirs, 1e-6):.2f}",
            met=mine <= 0.02,
        ),
        Row(
            figure=f"bytes per second to a hidden page, {live} live jobs",
            goal="the status bar's summary only",
            ours=f"{hidden / seconds:,.0f} B/s",
            peer=f"a page that looks: {looked / seconds:,.0f} B/s",
            ratio=f"{hidden / max(looked, 1):.4f}",
            met=hidden / seconds <= 100,
        ),
    ]  # fmt: skip


def _fill(state: Path, count: int) -> None:
    """Jobs of earlier days, with what the store keeps of them."""
    state.mkdir(mode=0o700)
    store = JobStore(state / "jobs.db")
    points = [[step, round(1 / (1 + step), 4)] for step in range(60)]
    telemetry = {"metric": {"name": "loss", "value": 0.01, "points": points}, "progress": {"fraction": 1.0}}
    for number in range(count):
        spec = JobSpec(code=f"# training {number}\nfit()", target="local", notebook=f"/home/ann/n{number % 50}.ipynb")
        job = Job(job_id=new_job_id(), spec=spec, created=1e9 + number)
        store.add(job)
        store.lease(job.job_id, _WHO)
        state_now = JobState.FAILED if number % 10 == 0 else JobState.COMPLETED
        store.advance(job.job_id, _WHO, state=state_now, ended=1e9 + number, telemetry=telemetry)
    store.close()


def _serve(folder: Path, env: dict[str, str], *, ours: bool) -> JupyterServer:
    extensions = {"_lag": True, "lepton_jupyter": ours}
    path = os.pathsep.join((str(ROOT), str(ROOT / "benchmarks" / "contenders")))
    settings = {**env, "PYTHONPATH": path}
    return JupyterServer(folder, ROOT, env=settings, extensions=extensions)


def _lag(server: JupyterServer) -> dict[str, float]:
    found: dict[str, float] = json.loads(server.ask("GET", "bench/lag")[2])
    return found


def _await_followed(server: JupyterServer, live: int) -> None:
    deadline = time.monotonic() + 120
    while True:
        jobs = server.api("GET", "jobs?state=running,queued&limit=0")["jobs"]
        if sum(job["watched"] for job in jobs) >= live:
            return
        if time.monotonic() > deadline:
            raise Failed(f"the server follows only {sum(job['watched'] for job in jobs)} of {live} jobs")
        time.sleep(1)


async def _page(server: JupyterServer, hello: dict[str, Any], seconds: float, take: Callable[[str], None]) -> None:
    socket = await websocket_connect(
        f"ws://127.0.0.1:{server.port}{server.base}lepton/api/stream?token={server.token}", max_message_size=1 << 30
    )
    await socket.write_message(json.dumps({"type": "hello", "after": None, "client": "bench", **hello}))
    await socket.write_message(json.dumps({"type": "look", "targets": ["local"], "jobs": []}))
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        try:
            text = await asyncio.wait_for(socket.read_message(), left)
        except asyncio.TimeoutError:
            break
        if text is None:
            raise Failed("the server closed the stream")
        take(str(text))
    socket.close()


async def _look(server: JupyterServer, seconds: float) -> None:
    """Connect as a page that looks: its snapshot of all jobs is part of what the loop has to do."""
    await _page(server, {"visible": True}, seconds, lambda text: None)


async def _listen(server: JupyterServer, seconds: float, *, visible: bool) -> int:
    """The bytes that a page gets after it has settled."""
    settled, count = time.monotonic() + 5, 0

    def take(text: str) -> None:
        nonlocal count
        if time.monotonic() > settled:
            count += len(text)

    await _page(server, {"visible": visible}, seconds + 5, take)
    return count
