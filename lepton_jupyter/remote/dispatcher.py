"""Finds or makes the kernel that a job runs on, and the job that somebody asks for."""

from __future__ import annotations

import collections
import contextlib
import functools
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..config import Config, TargetConfig, state_dir
from ..errors import ConfigError, JobError, KernelDied, LeptonError, UnknownJob, WireError
from ..job import Job, JobId, JobSpec, JobState, NativeId, new_job_id
from ..outputs import View
from ..outputs.words import size
from ..registry import load
from ..store import JobStore, new_holder
from ..targets._base import READER, Notify, Target
from ..targets._options import check_options
from ..wire import Event
from .kernel import RemoteKernel
from .recorder import Recorder
from .run import Run
from .samples import clean_history
from .watch import OnLink, OnSample, Watch

if TYPE_CHECKING:
    from ..blobs import BlobStore

Prompt = Callable[[str, bool], str]
MakeView = Callable[[Run], View]

#: Links kept to kernels whose jobs were looked at: threads of an ended job may print on.
_VISITS = 2


def no_prompt(question: str, secret: bool) -> str:
    """The prompt where nobody can be asked. Raises ConfigError."""
    raise ConfigError(f"this needs an answer, and nobody can be asked here: {question}")


class Dispatcher:
    """Brings jobs to kernels. One per process; everything it needs is handed in."""

    def __init__(self, config: Config, store: JobStore, prompt: Prompt = no_prompt) -> None:
        self._config, self._store, self._prompt = config, store, prompt
        self._holder = new_holder()
        self._recorder = Recorder(store, self._holder)
        self._lock = threading.Lock()
        self._placing: collections.defaultdict[tuple[str, str], threading.Lock] = collections.defaultdict(
            threading.Lock
        )
        self._targets: dict[str, tuple[TargetConfig, Target]] = {}
        self._kernels: dict[tuple[str, str], RemoteKernel] = {}
        self._others: list[RemoteKernel] = []  # kernels of ours that --fresh replaced while they were busy
        self._visited: list[RemoteKernel] = []  # kernels whose jobs we look at; they are not ours to stop

    @property
    def store(self) -> JobStore:
        """The store, up to date with what this process has seen."""
        self._recorder.flush()
        return self._store

    @property
    def config(self) -> Config:
        return self._config

    @functools.cached_property
    def blobs(self) -> BlobStore:
        """What goes to hosts and came from them, on this side."""
        from ..blobs import BlobStore

        return BlobStore(str(state_dir() / "blobs"))

    def target(self, name: str = "") -> Target:
        """The target of that name, or the default one. Raises ConfigError."""
        with self._lock:
            found = self._config.target(name)
            known = self._targets.get(found.name)
            if known is None or known[0] != found:
                plugin = load("targets", found.kind)
                options = check_options(plugin.Config, found.options, self._config.where(found.name))
                known = self._targets[found.name] = (found, plugin(found.name, options, self._prompt))
            return known[1]

    def run(
        self, spec: JobSpec, make_view: MakeView, *, fresh: bool = False, allow_stdin: bool = False,
        execution_count: int | None = None, on_kernel: Callable[[RemoteKernel, Run], None] = lambda kernel, run: None,
        env: dict[str, Any] | None = None, credentials: Mapping[str, Any] | None = None,
    ) -> Run:  # fmt: skip
        """Submit a job; returns as soon as the target has it. Raises ConfigError, TargetError, LinkLost.

        `on_kernel` is told which kernel the job goes to, before anything goes there; what it raises ends the job.
        `env` says which packages a kernel that is started for it shall have (`data.environment.EnvSpec`);
        `credentials` for cloud storage are written nowhere, so a job that is tried again has none.
        """
        target = self.target(spec.target)
        spec = replace(spec, target=target.name)
        key = (target.name, spec.kernel)
        linked = self._kernels.get(key)
        known = linked.native_id if linked is not None else self._store.kernel(*key)
        job = Job(job_id=new_job_id(), spec=spec, native_id=known if known and not fresh else NativeId(""))
        self._store.add(job)
        run = self._new_run(job, make_view)
        try:
            kernel, is_new = self._kernel(target, spec, fresh, run.notice, env)
            if kernel.native_id != job.native_id:
                self._recorder.note(job.job_id, native_id=kernel.native_id)
            try:
                on_kernel(kernel, run)
                kernel.execute(run, spec, allow_stdin, execution_count, self.blobs, credentials)
            except KernelDied:
                if is_new:
                    raise
                # It was idle too long, or its host was rebooted: start another, and say what that means.
                run.note = (
                    f"the kernel on {target.name} was gone (idle too long, or its host was restarted); this cell "
                    "started a new one, without the variables of earlier cells"
                )
                self._forget(key, kernel)
                kernel, _ = self._kernel(target, spec, False, run.notice, env)
                self._recorder.note(job.job_id, native_id=kernel.native_id)
                on_kernel(kernel, run)
                kernel.execute(run, spec, allow_stdin, execution_count, self.blobs, credentials)
        except LeptonError as error:
            cause = error.message.splitlines()[0]
            self._recorder.note(job.job_id, state=JobState.FAILED, cause=cause, ended=time.time())
            run.fail(error)
            raise
        except KeyboardInterrupt:
            if run.client is None:
                cause = "interrupted before it was sent"
                self._recorder.note(job.job_id, state=JobState.CANCELLED, cause=cause, ended=time.time())
                run.notice("")
            raise
        run.notice("")
        return run

    def attach(self, job_id: str, make_view: MakeView, *, on: str = "") -> Run:
        """Follow a job from its first event, wherever it was started. Raises UnknownJob, TargetError, LinkLost."""
        self._leave_old_visits()
        run, kernel = self._attach(job_id, make_view, on, share=True)
        with self._lock:
            if kernel not in self._visited:
                self._visited.append(kernel)
        return run

    def leave(self, run: Run) -> None:
        """Follow a job no longer that `attach` follows; it goes on, and another may become its writer at once."""
        with self._lock:
            kernel = next((kernel for kernel in self._visited if kernel.has(run)), None)
            if kernel is not None and kernel.leave(run):
                self._visited.remove(kernel)
                kernel.close()
        self._recorder.leave(run.job_id)

    def events(self, job_id: str, *, on: str = "") -> list[Event]:
        """All events of a job so far. Raises like `attach`."""
        found: list[Event] = []
        self._look(job_id, on, _Collector(found))
        return found

    def look(self, job_id: str, *, on: str = "") -> Run:
        """A job as it is now: what it left, how it ended. Not followed on. Raises like `attach`."""
        return self._look(job_id, on, _Collector([]))

    def _look(self, job_id: str, on: str, view: View) -> Run:
        run, kernel = self._attach(job_id, lambda run: view, on)
        try:
            run.wait_for(run.last)
        finally:
            kernel.close()
            self._recorder.leave(run.job_id)
        return run

    def fetch_files(self, run: Run, names: Collection[str], to: str, progress: Callable[[int, int], None]) -> str:
        """Have a folder hold files that a job left (`names`: only these), whatever their host calls them; in words.

        The folder is `to`, or else artifacts/JOB. "" when nothing is to be fetched. Raises JobError for a name that the
        job did not leave; like `fetch`; LeptonError when other files are there by these names.
        """
        from ..data import files

        wanted = run.left_files(names)
        if not wanted:
            return ""
        folder = to or f"artifacts/{run.job_id}"
        self.fetch(run.job_id, {artifact.digest: artifact.size for artifact in wanted}, progress)
        tree = {artifact.name: (artifact.digest, artifact.size, files.FILE) for artifact in wanted}
        files.deliver(tree, self.blobs, folder)
        total = size(sum(artifact.size for artifact in wanted))
        return f"{len(wanted):,} file{'s' * (len(wanted) != 1)} ({total}) in {folder}"

    def fetch(self, job_id: str, wanted: Mapping[str, int], progress: Callable[[int, int], None]) -> int:
        """Have `blobs` hold what a job left on its host: digest -> bytes; how many bytes came.

        Goes on where a broken transfer stopped. Raises like `attach`, and BlobMissing for what is not there any more.
        """
        from . import transfer

        job = self._find(job_id, "")
        with self._lock:
            linked = [kernel for kernel in self._kernels.values() if kernel.native_id == job.native_id]
        live = [kernel for kernel in linked if kernel.client.error is None]
        kernel = live[0] if live else RemoteKernel(self.target(job.spec.target), job.native_id or READER)
        try:
            return transfer.fetch(kernel.client, self.blobs, wanted, progress)
        finally:
            if not live:
                kernel.close()

    def cancel(self, job_id: str, *, on: str = "") -> str:
        """Stop a job for good; on return its processes are gone. What was done, in words. Raises like `attach`."""
        job = self._find(job_id, on)
        if job.state.final:
            return f"job {job.job_id} had ended already ({job.state.value.lower()})"
        kernel = RemoteKernel(self.target(job.spec.target), job.native_id or READER)
        try:
            answer = kernel.client.ask("cancel", job=job.job_id)
        finally:
            kernel.close()
        if "state" in answer:
            state = JobState[answer["state"]]
            self._recorder.note(job.job_id, state=state, cause=answer["cause"], ended=time.time())
        return f"job {job.job_id} on {job.spec.target}: {answer['words']}"

    def watch(self, target: str, on_sample: OnSample, on_link: OnLink | None = None, every: float = 1.0) -> Watch:
        """Have samples of the target's host about every so many seconds until the Watch is closed.

        Raises ConfigError, and TargetError when it cannot be reached.
        """
        return Watch(self.target(target), on_sample, on_link, every)

    def history(self, job_id: str) -> dict[str, Any]:
        """How the job used its host: samples and words; both empty when the host knows nothing of it.

        Raises UnknownJob, TargetError, LinkLost.
        """
        job = self._find(job_id, "")
        kernel = RemoteKernel(self.target(job.spec.target), job.native_id or READER)
        try:
            return clean_history(kernel.client.ask("history", job=job.job_id, timeout=60.0))
        except (KernelDied, WireError, JobError):  # nothing is left there, or the agent is of an earlier release
            return clean_history({})
        finally:
            kernel.close()

    def close(self) -> None:
        """Let go of every link. Kernels of this machine that have nothing to do end with us; all others live on."""
        with self._lock:
            kernels, visited = [*self._kernels.values(), *self._others], self._visited
            targets = [target for _, target in self._targets.values()]
            self._kernels, self._others, self._visited, self._targets = {}, [], [], {}
        for kernel in kernels:
            if getattr(kernel.target, "ends_with_notebook", False):
                with contextlib.suppress(LeptonError):
                    kernel.stop_if_unused()
            kernel.close()
        for kernel in visited:
            kernel.close()
        for target in targets:
            target.close()
        self._recorder.close()

    def _leave_old_visits(self) -> None:
        """Close links to kernels whose jobs have ended, but for the newest: a host has few channels (sshd: 10)."""
        with self._lock:
            ended = [kernel for kernel in self._visited if not kernel.busy][:-_VISITS]
            self._visited = [kernel for kernel in self._visited if kernel not in ended]
        for kernel in ended:
            kernel.close()

    def _new_run(self, job: Job, make_view: MakeView) -> Run:
        run = Run(job.job_id, job.spec.target, self._recorder)
        run.view = make_view(run)
        return run

    def _kernel(
        self, target: Target, spec: JobSpec, fresh: bool, notify: Notify, env: dict[str, Any] | None
    ) -> tuple[RemoteKernel, bool]:
        """The kernel for a spec, and whether it was made for it."""
        key = (target.name, spec.kernel)
        with self._placing[key]:
            kernel = self._kernels.get(key)
            if kernel is not None and kernel.client.error is not None:  # its link was given up
                self._kernels.pop(key).close()
                kernel = None
            if kernel is not None and not fresh:
                return kernel, False
            native_id = None if fresh else self._store.kernel(*key)
            if native_id is not None:
                self._kernels[key] = RemoteKernel(target, native_id)
                return self._kernels[key], False
            native_id = target.launch(spec.resources, notify, env)
            self._store.remember_kernel(*key, native_id)
            self._kernels[key] = RemoteKernel(target, native_id)
            if kernel is not None:
                with contextlib.suppress(LeptonError):
                    kernel.stop_if_unused()
                self._others.append(kernel)  # what it still runs is followed to its end
            return self._kernels[key], True

    def _forget(self, key: tuple[str, str], kernel: RemoteKernel) -> None:
        with self._placing[key]:
            if self._kernels.get(key) is kernel:
                self._store.forget_kernel(*key)
                self._kernels.pop(key).close()

    def _attach(self, job_id: str, make_view: MakeView, on: str, share: bool = False) -> tuple[Run, RemoteKernel]:
        """A run that follows the job, and the link it uses: one that others use too if `share` allows it."""
        job = self._find(job_id, on)
        target, native_id = self.target(job.spec.target), job.native_id or READER
        with self._lock:
            fit = [kernel for kernel in self._visited if share and kernel.can_follow(job.job_id, target, native_id)]
        kernel = fit[0] if fit else RemoteKernel(target, native_id)
        run = self._new_run(job, make_view)
        try:
            kernel.attach(run)
        except LeptonError:
            if not fit:
                kernel.close()
            self._recorder.leave(run.job_id)
            raise
        return run, kernel

    def _find(self, job_id: str, on: str) -> Job:
        """The job by id or unique prefix: from the store, else from the host of target `on`. Raises UnknownJob."""
        try:
            job = self.store.get(job_id)
            if job.native_id or job.state.final:
                return job
            on = job.spec.target  # we were killed before we could note which kernel has it
        except UnknownJob:
            if not on:
                raise
        target = self.target(on)
        listed = self._jobs_on(target)
        found = [about for about in listed if str(about["job"]).startswith(job_id)]
        if len(found) != 1:
            named = ", ".join(str(about["job"]) for about in (found or listed)[:10]) or "none"
            raise UnknownJob(f"{len(found)} jobs on {target.name} begin with {job_id!r}", hint=f"Jobs there: {named}.")
        about = found[0]
        spec = JobSpec(code="", target=target.name, name=str(about["name"]))
        native_id, created = NativeId(str(about["kernel"])), float(about["created"])
        job = Job(job_id=JobId(str(about["job"])), spec=spec, native_id=native_id, created=created)
        with contextlib.suppress(JobError):  # it is in the store already, but for the kernel
            self._store.add(job)
        self._recorder.note(job.job_id, native_id=native_id)
        return job

    def _jobs_on(self, target: Target) -> list[dict[str, Any]]:
        """What jobs the target's host has: job, kernel, name, created, alive (of the kernel); newest first."""
        kernel = RemoteKernel(target, READER)
        try:
            return list(kernel.client.ask("jobs")["jobs"])
        finally:
            kernel.close()


class _Collector:
    """A view that keeps the events."""

    def __init__(self, found: list[Event]) -> None:
        self._found = found

    def show(self, event: Event) -> None:
        self._found.append(event)

    def notice(self, text: str) -> None:
        """Nothing is shown, so nothing needs to be said."""
