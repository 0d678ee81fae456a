"""What browsers may know about jobs, ready to be sent. Runs in the Jupyter server, on its event loop.

Every job is kept as the JSON text that goes over the socket, made once per change in a worker thread: a browser that
connects costs a join of texts, neither a query nor an encoding. The store's change numbers are kept too, so a browser
that was away, even over a restart of the server, gets what changed since.
"""

from __future__ import annotations

import dataclasses
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..job import Job, JobState
from ..store import Change, Stored
from .encoding import encode

#: Finished jobs beyond the newest so many are left out; live ones never are.
MOST = 5_000
#: Points of a finished job's curve: what a line of a list can show. All of them come with the job's own page.
_SPARKLINE = 20
_POINTS = re.compile(r'"points":\[\[([^"{}]*?)\]\]')
_QUEUED = (JobState.NEW, JobState.QUEUED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One job: what goes to browsers, and the little that the server itself reads."""

    number: int  # of the job's last change in the store
    job: Job  # without its telemetry, and without its code once it is final
    text: str  # JSON without the closing brace: `watched` changes by itself
    eta: float | None

    def json(self, watched: bool) -> str:
        return f'{self.text},"watched":{"true" if watched else "false"}}}'


def entry(change: Change, root: str, prices: Mapping[str, float], *, whole: bool = False) -> Entry:
    """For threads: a change of the store as browsers see it. `root`: the folder that the server shows.

    The curve of a finished job has but a few points, unless it shall be `whole`.
    """
    job = change.job
    told, telemetry = encode(_view(job, root, prices))[:-1], _text(job.telemetry)
    if job.state.final and not whole:
        telemetry = _POINTS.sub(_thinned, telemetry)
    return Entry(
        number=change.number,
        job=_light(job),
        text=f'{told},"telemetry":{telemetry},"written":{_text(job.written)}',
        eta=None if job.state.final else _eta(job.telemetry),
    )


def _text(value: Mapping[str, Any]) -> str:
    """JSON in ASCII; what the store has as text is not taken apart."""
    return value.text if isinstance(value, Stored) and value.text.isascii() else encode(dict(value))


def _thinned(found: re.Match[str]) -> str:
    """Of the points in JSON only so many, the first and the last among them."""
    points = found[1].split("],[")
    if len(points) <= _SPARKLINE:
        return found[0]
    step = (len(points) - 1) / (_SPARKLINE - 1)
    chosen = [points[round(number * step)] for number in range(_SPARKLINE)]
    return f'"points":[[{"],[".join(chosen)}]]'


def _eta(telemetry: Mapping[str, Any]) -> float | None:
    eta = (telemetry.get("progress") or {}).get("eta")
    return float(eta) if isinstance(eta, (int, float)) and math.isfinite(eta) else None


def _light(job: Job) -> Job:
    """A job without what the server does not read: thousands of small objects make every garbage collection long."""
    spec = dataclasses.replace(job.spec, code="", name=job.spec.title) if job.state.final else job.spec
    return dataclasses.replace(job, spec=spec, telemetry={})


def _view(job: Job, root: str, prices: Mapping[str, float]) -> dict[str, Any]:
    """What browsers are told beside `telemetry`, `written` and `watched`; null where nothing is known."""
    return {
        "id": job.job_id,
        "state": job.state.value,
        "name": job.spec.title,
        "notebook": job.spec.notebook or None,
        "path": contents_path(job.spec.notebook, root),
        "cell_id": job.spec.cell_id or None,
        "target": job.spec.target,
        "kernel": job.spec.kernel,
        "created": job.created,
        "started": job.started,
        "ended": job.ended,
        "cause": job.cause,
        "seq": job.seq,
        "cost": _cost(job, prices.get(job.spec.target, 0.0)),
    }


def contents_path(notebook: str, root: str) -> str | None:
    """The notebook's path for Jupyter's contents API; None when it lies outside the server's folder `root`."""
    if not notebook or not root:
        return None
    folder = root.rstrip("/") + "/"
    inside = [part for part in notebook[len(folder) :].split("/") if part not in ("", ".")]
    return "/".join(inside) if notebook.startswith(folder) and inside and ".." not in inside else None


def _cost(job: Job, price_per_hour: float) -> float | None:
    if not price_per_hour or job.started is None:
        return None
    end = job.ended if job.ended is not None else time.time()
    return round(max(0.0, end - job.started) / 3600 * price_per_hour, 4)


class Board:
    """All jobs by id, in the order of their last changes."""

    def __init__(self) -> None:
        self.number = 0  # of the last change taken in
        self.loaded = False
        self._entries: dict[str, Entry] = {}
        self._live: dict[str, Entry] = {}
        self._failed: dict[str, float] = {}  # job -> when it ended
        self._unwatched: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, job_id: str) -> Entry | None:
        return self._entries.get(job_id)

    @property
    def live(self) -> Iterable[Entry]:
        """The jobs that are not final."""
        return self._live.values()

    @property
    def unwatched(self) -> frozenset[str]:
        """The live jobs that nobody follows."""
        return self._unwatched

    def take(self, entries: Iterable[Entry]) -> None:
        """Keep what changed, in the order of the numbers."""
        for new in entries:
            self._entries.pop(new.job.job_id, None)
            self._entries[new.job.job_id] = new  # it is last now
            self.number = max(self.number, new.number)
            if new.job.state.final:
                self._live.pop(new.job.job_id, None)
            else:
                self._live[new.job.job_id] = new
            if new.job.state is JobState.FAILED:
                self._failed[new.job.job_id] = new.job.ended or 0.0
        if len(self._entries) > MOST * 1.1:
            self._forget_old()

    def set_unwatched(self, jobs: Iterable[str]) -> list[Entry]:
        """Who is followed changed; the entries that look different now."""
        new = frozenset(jobs)
        changed = new ^ self._unwatched
        self._unwatched = new
        return [self._entries[job_id] for job_id in changed if job_id in self._entries]

    def newest_first(self, wanted: Callable[[Job], bool] = lambda job: True) -> list[Entry]:
        found = [entry for entry in self._entries.values() if wanted(entry.job)]
        return sorted(found, key=lambda entry: entry.job.created, reverse=True)

    def since(self, number: int) -> list[Entry]:
        """What changed after change `number`, oldest change first."""
        found = []
        for entry in reversed(self._entries.values()):
            if entry.number <= number:
                break
            found.append(entry)
        return found[::-1]

    def jobs_json(self, entries: Iterable[Entry]) -> str:
        """The entries as a JSON list."""
        return f"[{','.join(entry.json(entry.job.job_id not in self._unwatched) for entry in entries)}]"

    def summary(self, failed_since: float) -> dict[str, Any]:
        """How many run and wait, how many failed since that moment, and when all that run will have ended."""
        queued = sum(entry.job.state in _QUEUED for entry in self._live.values())
        etas = [entry.eta for entry in self._live.values() if entry.eta is not None]
        return {
            "running": len(self._live) - queued,
            "queued": queued,
            "failed_since": sum(ended > failed_since for ended in self._failed.values()),
            "eta": _rounded(max(etas)) if etas else None,
        }

    def _forget_old(self) -> None:
        final = [entry for entry in self.newest_first() if entry.job.state.final]
        for old in final[MOST:]:
            del self._entries[old.job.job_id]
            self._failed.pop(old.job.job_id, None)


def _rounded(seconds: float) -> float:
    """So coarse that a summary changes seldom: a hidden page is told of changes only."""
    step = 10 if seconds < 120 else 60 if seconds < 3600 else 600
    return float(max(step, round(seconds / step) * step))
