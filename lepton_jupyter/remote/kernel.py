"""One kernel on one target: the link to it, and the runs that follow jobs on it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from ..client import AgentClient, Link
from ..errors import CargoMissing, CellUnfit, LeptonError
from ..job import JobSpec, NativeId
from ..targets._base import Target
from ..wire import Event
from .run import Run

if TYPE_CHECKING:
    from ..blobs import BlobStore


class RemoteKernel:
    """A kernel that `target` knows as `native_id`. Raises TargetError when it cannot be reached."""

    def __init__(self, target: Target, native_id: NativeId) -> None:
        self.target, self.native_id = target, native_id
        self._runs: dict[str, Run] = {}
        self.variables: dict[str, str] = {}  # variable -> digest of what it was last set from
        self._looked: set[str] = set()  # modules that were found there
        self.client = AgentClient(lambda: target.open(native_id), self._on_event, self._on_link)

    @property
    def busy(self) -> bool:
        """Whether a job that is followed here goes on."""
        return any(not run.over for run in list(self._runs.values()))

    def execute(
        self, run: Run, spec: JobSpec, allow_stdin: bool, execution_count: int | None, blobs: BlobStore,
        credentials: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Bring what the cell needs from `blobs`, queue the cell on the kernel and follow it.

        `credentials` for cloud storage go to the kernel's memory and nowhere else.
        Raises KernelDied when the kernel is gone, HostStorage, LinkLost.
        """
        self._runs[run.job_id] = run
        buffers = [spec.code.encode(), *([json.dumps(dict(credentials)).encode()] if credentials else [])]
        fields: dict[str, Any] = {"name": spec.title, "allow_stdin": allow_stdin, "execution_count": execution_count}
        if spec.cargo:
            fields["cargo"] = spec.cargo
        try:
            try:
                self._execute(run, spec, fields, buffers, blobs)
            except CargoMissing:  # the host made room, or was wiped, since it was sent there
                self.client.known.clear()
                self._execute(run, spec, fields, buffers, blobs)
        except LeptonError:
            self._forget(run)
            raise

    def _execute(self, run: Run, spec: JobSpec, fields: dict[str, Any], buffers: list[bytes], blobs: BlobStore) -> None:
        variables = self._send(run, spec.cargo, blobs) if spec.cargo else {}
        asked = self.client.execute(run.job_id, *buffers, **fields)
        run.client = self.client
        try:
            asked.result()
        except CargoMissing:
            self.client.unfollow(run.job_id)
            raise
        self.variables |= variables

    def _send(self, run: Run, cargo: str, blobs: BlobStore) -> dict[str, str]:
        """Have the host hold the cargo; the variables it sets."""
        from . import transfer
        from .cargo import brought

        with open(blobs.path(cargo), "rb") as file:
            document = json.load(file)
        run.stage_in()
        if transfer.send(self.client, blobs, [*document["blobs"], cargo], run.moved("sending")):
            blobs.evict()
        return brought(document)

    def look(self, imports: Collection[str], code: str, gpus: int) -> str:
        """Whether the host has what a cell needs that was not looked at before; what the user should know, in a line.

        Raises CellUnfit when the cell would fail there, LinkLost.
        """
        from ..data.environment import Facts, asked, in_one_line, preflight

        modules = [module for module in asked(imports) if module not in self._looked]
        if not modules:
            return ""
        here = Facts.here(modules)
        there = Facts.parse(self.client.ask("facts", modules=modules, timeout=60.0))
        remarks = preflight(here, there, modules, code=code, gpus=gpus, host=self.target.name)
        if fatal := [remark for remark in remarks if remark.fatal]:
            words = "; ".join(remark.words for remark in fatal)
            raise CellUnfit(words, hint="\n".join(remark.cure for remark in fatal if remark.cure))
        self._looked.update(modules)
        return in_one_line(remarks)

    def attach(self, run: Run) -> int:
        """Follow a job that is there already, from its first event; the number of its newest one.

        Raises UnknownJob, LinkLost.
        """
        self._runs[run.job_id] = run
        run.client = self.client
        try:
            run.last = int(self.client.follow(run.job_id).result()["last"])
            return run.last
        except LeptonError:
            self._forget(run)
            raise

    def can_follow(self, job_id: str, target: Target, native_id: NativeId) -> bool:
        """Whether this is that kernel, its link lives, and nobody follows the job over it yet."""
        same = self.target is target and self.native_id == native_id
        return same and self.client.error is None and job_id not in self._runs

    def has(self, run: Run) -> bool:
        """Whether `run` follows its job over this link."""
        return self._runs.get(run.job_id) is run

    def leave(self, run: Run) -> bool:
        """Follow the job no longer; whether nothing is followed here any more."""
        self._forget(run)
        return not self._runs

    def stop_if_unused(self) -> None:
        """End the kernel, unless a job runs on it or another client is there. Raises LinkLost after 3 s."""
        self.client.ask("stop", timeout=3.0, unless_used_beside=self.client.name)

    def close(self) -> None:
        """Let go of the link; the kernel lives on."""
        self.client.close()

    def _forget(self, run: Run) -> None:
        self._runs.pop(run.job_id, None)
        self.client.unfollow(run.job_id)

    def _on_event(self, event: Event) -> None:
        run = self._runs.get(event.job_id)
        if run is None:
            return
        try:
            run.on_event(event)
        except Exception as error:  # noqa: BLE001 - a view that fails must not end the link of all jobs
            self._forget(run)
            run.fail(LeptonError(f"an output of job {run.job_id} could not be shown: {error!r}"))

    def _on_link(self, link: Link, detail: str) -> None:
        for run in list(self._runs.values()):
            run.on_link(link, detail)
