"""The jobs of one kernel: queued, run one after another, written down. Runs in the agent.

Everything here is decided under one lock, on requests from above and messages from the kernel below; nothing blocks.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

from ..errors import UnknownJob
from ..wire import from_json
from .cargo import held
from .host_job import HostJob, Spare, full_hint, new_journal, stored_journal
from .journal import Journal
from .kernel import ENDED_ITSELF, Kernel, KernelMessage
from .processes import MARKER, family_of, gpu_memory
from .storage import job_folder, read_json

if TYPE_CHECKING:
    from .sampling import Running

#: Messages that say how the kernel does, not what the cell shows.
_SILENT = {"status", "execute_input", "iopub_welcome", "shutdown_reply"}
#: Our own messages from the kernel (kernel/), and the events they become.
_OURS = {
    "lepton_state": "state",
    "lepton_artifact": "artifact",
    "lepton_notice": "notice",
    "lepton_metrics": "metrics",
}
#: How many comm messages are remembered with the job they belong to.
_COMMS = 10_000
#: Seconds that a kernel has to go by itself after exit().
_EXIT_TIMEOUT = 5.0


class JobQueue:
    """Jobs in order on one kernel, which is started when the first one needs it and again after it died."""

    def __init__(self, root: str, folder: str, kernel_id: str, sockets: str, cwd: str, news: threading.Condition):
        self.root, self.folder, self.kernel_id = root, folder, kernel_id
        self.last_activity = time.monotonic()
        self._sockets, self._cwd, self._news = sockets, cwd, news
        about = read_json(os.path.join(folder, "kernel.json")) or {}
        self._artifacts = str(about.get("artifacts", ""))  # the bucket to which the target's artifacts go besides
        self._spare = Spare(folder)
        self._lock = threading.RLock()
        self._jobs: dict[str, HostJob] = {}
        self._waiting: collections.deque[HostJob] = collections.deque()
        self._running: HostJob | None = None
        self._owners: collections.OrderedDict[str, HostJob] = collections.OrderedDict()  # comm msg_id -> job
        self._cancelling = ""
        self._kernel: Kernel | None = None
        self._ready = False
        self._leaving = False  # a cell said exit(), and its kernel is about to go

    def start_kernel(self) -> None:
        """Start the kernel if none lives; jobs wait until it answers."""
        with self._lock:
            if self._kernel is None:
                self._ready = False
                self._kernel = Kernel(
                    self.folder,
                    self._sockets,
                    self.kernel_id,
                    self._cwd,
                    self._on_message,
                    self._on_ready,
                    self._on_exit,
                )

    @property
    def busy(self) -> bool:
        return self._running is not None or bool(self._waiting)

    def running(self) -> Running | None:
        """The job that the kernel works on. For the sampling thread: a short job is over before it asks."""
        from .history import History
        from .sampling import Running

        with self._lock:
            job = self._running
            if job is None or job.final:
                return None
            if job.history is None:
                job.history = History(job_folder(self.root, job.job_id))
            return Running(job.job_id, str(job.request.get("name", "")), job.began, job.history)

    def kernel_pid(self) -> int:
        """The kernel's process, 0 while there is none."""
        with self._lock:
            return self._kernel.process.pid if self._kernel is not None else 0

    def listing(self) -> list[dict[str, Any]]:
        """The jobs that run or wait here: job, name, state."""
        with self._lock:
            jobs = [(job, "QUEUED") for job in self._waiting]
            if self._running is not None:
                jobs.insert(0, (self._running, "RUNNING"))
            return [{"job": job.job_id, "name": str(job.request.get("name", "")), "state": state}
                    for job, state in jobs]  # fmt: skip

    def submit(self, job_id: str, request: dict[str, Any], code: bytes, credentials: bytes = b"") -> None:
        """Queue a job. `credentials` (JSON) are for its kernel alone: they are never written.

        Raises HostStorage when its journal cannot be begun, IllegalMove when the id is taken, CargoMissing.
        """
        with contextlib.ExitStack() as failed:
            cargo = failed.enter_context(held(self.root, job_id, str(request.get("cargo", ""))))
            self._submit(job_id, request, code, cargo, credentials)
            failed.pop_all()

    def _submit(
        self, job_id: str, request: dict[str, Any], code: bytes, cargo: contextlib.ExitStack, credentials: bytes
    ) -> None:
        with self._lock:
            about = {"kernel": self.kernel_id, "name": str(request.get("name", ""))}
            journal = new_journal(self.root, job_id, self._news, about, self._spare)
            job = self._jobs[job_id] = HostJob(job_id, journal, request, code)
            job.cargo, job.credentials = cargo, credentials
            self._waiting.append(job)
            self.start_kernel()
            self._next(followed=False)

    def journal(self, job_id: str) -> Journal:
        """The journal of a job, also of one that another kernel or an earlier agent ran. Raises UnknownJob."""
        with self._lock:
            if job_id in self._jobs:
                return self._jobs[job_id].journal
            return stored_journal(self.root, job_id, self._news)

    def interrupt(self, job_id: str) -> None:
        """KeyboardInterrupt in the running job; a waiting one is cancelled; one that ended is left alone."""
        with self._lock:
            if self._running is not None and self._running.job_id == job_id and self._kernel is not None:
                self._kernel.interrupt()
            else:
                self._drop(job_id)

    def cancel(self, job_id: str) -> dict[str, str]:
        """Stop a job for good; what was done, in words, and its final state.

        Blocks until the processes of a running job are gone.
        """
        with self._lock:
            if self._drop(job_id):
                return {"words": "taken out of the queue before it ran", "state": "CANCELLED", "cause": "cancelled"}
            running, kernel = self._running, self._kernel
            if running is None or running.job_id != job_id or kernel is None:
                return {"words": "it had ended already"}
            self._cancelling = job_id
            family = family_of(kernel.process.pid, f"{MARKER}={self.kernel_id}")
        memory = gpu_memory(family)
        count = kernel.kill()
        freed = f", {memory - gpu_memory(family):,} MiB of GPU memory freed" if memory else ""
        words = f"stopped: {count} process{'es' * (count != 1)} ended{freed}; the kernel's variables are gone"
        deadline = time.monotonic() + 10
        while not running.final and time.monotonic() < deadline:
            with self._news:
                self._news.wait(0.1)
        return {"words": words, "state": "CANCELLED", "cause": "cancelled"}

    def answer(self, job_id: str, of: int, value: str) -> None:
        """Answer question `of` of the job, once; a second answer is left unheard."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or job is not self._running or self._kernel is None or job.request.get("asked") != of:
                return
            job.request["asked"] = None
            self._record(job, "answered", {"of": of})
            self._kernel.send("stdin", "input_reply", f"{job_id}-{of}", json.dumps({"value": value}).encode())

    def comm(self, job_id: str, msg_type: str, msg_id: str, buffers: tuple[bytes, ...]) -> None:
        """Hand a widget's message to the kernel; what it causes is written to the job's journal."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or self._kernel is None:
                raise UnknownJob(f"the kernel that had job {job_id!r}'s widgets is gone")
            self._owners[msg_id] = job
            while len(self._owners) > _COMMS:
                self._owners.popitem(last=False)
            self.last_activity = time.monotonic()
            self._kernel.send("shell", msg_type, msg_id, buffers[1], buffers[0], buffers[2:])

    def sync(self) -> None:
        """Have the disk hold every job; called about once a second."""
        with self._lock:
            jobs = [job for job in self._jobs.values() if job.journal.open]
        for job in jobs:
            job.sync()

    def stop(self) -> None:
        """End the kernel; unfinished jobs are cancelled and say so."""
        with self._lock:
            for job in [*([self._running] if self._running else []), *self._waiting]:
                job.settle("CANCELLED", cause="the kernel was stopped")
            self._waiting.clear()
            kernel = self._kernel
        if kernel is not None:
            kernel.kill()

    def _drop(self, job_id: str) -> bool:
        for job in self._waiting:
            if job.job_id == job_id:
                self._waiting.remove(job)
                job.settle("CANCELLED", cause="cancelled before it ran")
                return True
        return False

    def _next(self, followed: bool = True) -> None:
        if self._running is not None or not self._waiting or not self._ready or self._kernel is None:
            return
        job = self._running = self._waiting.popleft()
        self.last_activity = time.monotonic()
        request = job.request
        cargo = str(request.get("cargo", ""))  # a kernel that has to put it in place says itself when the cell runs
        if not cargo and not self._record(job, "state", {"state": "RUNNING", "time": time.time()}, tell=False):
            return
        job.began = time.monotonic()
        content = {
            "code": job.code.decode(), "silent": False, "store_history": True, "user_expressions": {},
            "allow_stdin": bool(request.get("allow_stdin")), "stop_on_error": False,
        }  # fmt: skip
        about = {
            "root": self.root, "job": job.job_id, "kernel": self.kernel_id, "cargo": cargo,
            "artifacts": self._artifacts, "credentials": json.loads(job.credentials or b"null"),
        }  # fmt: skip
        metadata = {"execution_count": request.get("execution_count"), "lepton": about}
        packed, meta = json.dumps(content).encode(), json.dumps(metadata).encode()
        self._kernel.send("shell", "execute_request", job.job_id, packed, meta)
        # Of a new job readers learn with the answer to its request; until then the kernel's thread has its turn.
        if followed:
            job.journal.tell()

    def _on_ready(self) -> None:
        with self._lock:
            self._ready = True
            self._next()
        self._spare.make()

    def _on_message(self, message: KernelMessage) -> None:
        with self._lock:
            running = self._running
            job = self._jobs.get(message.parent) or self._owners.get(message.parent)
            if job is None:
                return
            if message.channel == "stdin" and message.msg_type == "input_request":
                content = from_json(message.content)
                fields = {"prompt": content.get("prompt", ""), "password": bool(content.get("password"))}
                if self._record(job, "stdin", fields):
                    job.request["asked"] = job.journal.last
            elif message.channel == "shell" and message.msg_type == "execute_reply":
                # It shows nothing: it may travel with the end of the job, which follows at once.
                self._record(job, "reply", {}, (message.content,), tell=False)
                job.reply = from_json(message.content)
            elif message.channel == "iopub" and message.msg_type in _OURS:
                self._record(job, _OURS[message.msg_type], from_json(message.content))
            elif message.channel == "iopub" and message.msg_type not in _SILENT:
                fields = {"msg_type": message.msg_type, "parent": message.parent}
                self._record(job, "iopub", fields, (message.metadata, message.content, *message.buffers))
            elif message.msg_type == "status" and message.parent == job.job_id:
                job.begun = True
                job.idle = job.idle or from_json(message.content).get("execution_state") == "idle"
            if job is running and job.idle and job.reply is not None:
                self._finish(job, job.reply)
        if job.final:
            self._spare.make()

    def _finish(self, job: HostJob, reply: dict[str, Any]) -> None:
        if reply.get("status") == "ok":
            job.settle("COMPLETED")
        elif reply.get("status") == "error":
            job.settle("FAILED", cause=f"{reply.get('ename')}: {reply.get('evalue')}"[:500], error="RemoteError")
        else:
            job.settle("CANCELLED", cause="the kernel aborted it")
        if any(part.get("source") == "ask_exit" and not part.get("keepkernel") for part in reply.get("payload", [])):
            self._leave()
        self._release()

    def _leave(self) -> None:
        """A cell said exit(): this kernel gets no more jobs. It goes by itself, or is made to."""
        kernel, self._ready, self._leaving = self._kernel, False, True

        def see_off() -> None:
            assert kernel is not None
            try:
                kernel.process.wait(_EXIT_TIMEOUT)
            except subprocess.TimeoutExpired:
                kernel.kill()

        if kernel is not None:
            threading.Thread(target=see_off, name="see off", daemon=True).start()

    def _release(self) -> None:
        """Let the next job run."""
        if self._running is not None:
            self._running.code = self._running.credentials = b""
        self._running = None
        self.last_activity = time.monotonic()
        self._next()

    def _on_exit(self, reason: str) -> None:
        with self._lock:
            self._kernel, self._ready = None, False
            expected, self._leaving = self._leaving or reason == ENDED_ITSELF, False
            job = self._running
            if job is not None:
                if self._cancelling == job.job_id:
                    job.settle("CANCELLED", cause="cancelled")
                elif job.reply is not None:  # exit(): it answered, then left
                    self._finish(job, job.reply)
                elif not job.begun and expected:  # an earlier cell's exit() took effect only now
                    self._waiting.appendleft(job)
                else:
                    job.settle("FAILED", cause=f"the remote kernel is gone: {reason}", error="KernelDied")
                self._cancelling = ""
                self._running = None
            elif self._waiting and not expected:
                # It died before any cell ran: trying again would die again.
                while self._waiting:
                    words = f"the remote kernel did not start: {reason}"
                    self._waiting.popleft().settle("FAILED", cause=words, error="LaunchFailed")
            if self._waiting:
                self.start_kernel()

    def _record(
        self, job: HostJob, event: str, fields: dict[str, Any], buffers: tuple[bytes, ...] = (), tell: bool = True
    ) -> bool:
        """Write an event; a disk that is full fails the job with that word, and stops it."""
        if job.full:
            return False
        try:
            job.journal.append(event, {**fields, "time": time.time()}, buffers, tell)
        except OSError as error:
            job.full = True
            cause = f"the journal of the job cannot be written: {error}; outputs from here on were not kept"
            job.settle("FAILED", cause=cause, error="HostStorage", hint=full_hint(error))
            if job is self._running:
                if self._kernel is not None:
                    self._kernel.interrupt()
                if event == "state":  # it never ran
                    self._release()
            return False
        return True
