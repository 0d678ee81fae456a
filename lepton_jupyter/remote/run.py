"""One job as this process follows it: its events go to a view, its state to whoever waits and to the store."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..client import AgentClient, Link
from ..errors import BY_NAME, JobError, KernelDied, LeptonError, LinkLost, RemoteError
from ..job import JobId, JobState
from ..outputs import View
from ..outputs.progress import Progress
from ..outputs.words import size, visible
from ..wire import Event, from_json
from .recorder import Recorder
from .samples import clean_usage

#: A cut shorter than this is not worth a word.
_QUIET = 1.5
#: Seconds between two words about how far a transfer is.
_TELL_EVERY = 0.5


@dataclass(frozen=True)
class Artifact:
    """A file that a job left on its host. The host may call it anything; `data.files.place` writes it safely."""

    name: str
    size: int
    digest: str
    url: str = ""  # where it is kept besides, in a bucket

    @classmethod
    def told(cls, fields: Mapping[str, Any]) -> Artifact | None:
        """From an event of the job; None for one that makes no sense."""
        try:
            found = cls(str(fields["name"]), int(fields["size"]), str(fields["digest"]), str(fields.get("url", "")))
        except (KeyError, TypeError, ValueError):
            return None
        return found if found.name and found.size >= 0 else None


class Run:
    """A job that is followed. Its methods may be called from any thread; events arrive in the client's."""

    def __init__(self, job_id: JobId, where: str, recorder: Recorder) -> None:
        self.job_id = job_id
        self.where = where  # the target's name
        self.view: View | None = None
        self.client: AgentClient | None = None
        self.state = JobState.NEW
        self.seq = 0  # last event shown
        self.last = 0  # newest event there was when it was attached to
        self.error: LeptonError | None = None  # how it ended, when it did not end well
        self.lost: LeptonError | None = None  # why it can be followed no longer
        self.interrupted = False  # the stop button came while it was being sent; whoever waits passes it on
        self.note = ""  # what the user should know that is no output of the cell
        self.question: tuple[int, str, bool] | None = None  # seq of the question, its prompt, whether it is secret
        self.payload: list[dict[str, Any]] = []  # of the execute reply: pages, text for the next cell
        self.left: dict[str, Any] = {}  # variable -> what the host says of it (remote/cargo.py)
        self.artifacts: list[Artifact] = []
        self.notes: list[str] = []  # what the host says of them
        self._changed = threading.Condition()
        self._counted = 0  # how many threads wait for an event by its number
        self._showing = threading.RLock()
        self._recorder = recorder
        self._progress = Progress()
        self._telling = False  # whether the recorder will ask what is new
        self._cut_since: float | None = None
        self._told = time.monotonic()
        self._traceback: list[str] = []
        self._raised: RemoteError | None = None
        recorder.follow(job_id)

    @property
    def over(self) -> bool:
        """Whether nothing more is to be awaited: the job is final, or it can be followed no longer."""
        return self.state.final or self.lost is not None

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the job is over, asks a question, or `timeout` seconds have passed; whether it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self.over or self.question is not None, timeout)
        return self.over

    def wait_for(self, seq: int) -> None:
        """Block until event `seq` has been shown. Raises the error that keeps it from coming."""
        with self._changed:
            self._counted += 1
            self._changed.wait_for(lambda: self.seq >= seq or self.lost is not None)
            self._counted -= 1
        if self.seq < seq and self.lost is not None:
            raise self.lost

    def telemetry(self) -> dict[str, Any]:
        """How far the job is and how well it learns, as its outputs tell: what the store knows, and newer."""
        with self._changed:
            return self._progress.telemetry()

    def left_files(self, names: Collection[str] = ()) -> list[Artifact]:
        """The files that the job left (`names`: only these), the newest of each name. Raises JobError without any."""
        newest = {artifact.name: artifact for artifact in self.artifacts}
        known = [*newest, *self.left]
        hint = f"It left: {', '.join(known)}" if known else ""
        if unknown := [name for name in names if name not in known]:
            raise JobError(f"job {self.job_id} left no {', '.join(unknown)}", hint=hint)
        if not known:
            raise JobError(f"job {self.job_id} left neither files nor variables")
        return [artifact for name, artifact in newest.items() if not names or name in names]

    def interrupt(self) -> None:
        """KeyboardInterrupt in the remote cell, as soon as the link carries it."""
        if self.client is not None:
            self.client.send("interrupt", job=self.job_id)

    def answer(self, text: str) -> None:
        """Answer the question that is open."""
        question, self.question = self.question, None
        if question is not None and self.client is not None:
            self.client.send("input", text.encode(), job=self.job_id, of=question[0])

    def send_comm(self, msg_type: str, msg_id: str, *buffers: bytes) -> None:
        """Send a widget's message: its metadata, content and buffers."""
        if self.client is not None:
            self.client.send("comm", *buffers, job=self.job_id, msg_type=msg_type, msg_id=msg_id)

    def notice(self, text: str) -> None:
        """Show one line about the job that is no output of it; "" takes it away."""
        with self._showing:
            if self.view is not None:
                self.view.notice(f"lepton: {self.where}: {text}" if text else "")

    def say(self, text: str) -> None:
        """Show a line about the job that stays among its outputs, on stderr."""
        content = {"name": "stderr", "text": f"lepton: {text}\n"}
        fields = {"msg_type": "stream", "parent": self.job_id}
        with self._showing:
            if self.view is not None:
                self.view.show(Event(self.job_id, 0, "iopub", fields, (b"{}", json.dumps(content).encode())))

    def stage_in(self) -> None:
        """What the job brings along is on its way."""
        self._recorder.note(self.job_id, state=JobState.STAGING_IN)

    def moved(self, what: str) -> Callable[[int, int], None]:
        """Tells how far a transfer is: `what` is done to so many bytes of so many. For `transfer`."""

        def tell(done: int, total: int) -> None:
            if time.monotonic() - self._told > _TELL_EVERY:
                self._told = time.monotonic()
                self.notice(f"{what} {size(done)} of {size(total)}")

        self._told = time.monotonic()
        return tell

    def on_event(self, event: Event) -> None:
        """Show one event and take note of it."""
        fields = event.fields
        with self._showing:
            if self.view is not None:
                self.view.show(event)
            if event.event == "notice":
                self.notice(visible(str(fields.get("text", ""))))
        with self._changed:
            self.seq = event.seq
            self._progress.add(event)
            if event.event == "iopub" and fields["msg_type"] == "error":
                self._traceback = from_json(event.buffers[1]).get("traceback", [])
            elif event.event == "stdin":
                self.question = (event.seq, str(fields["prompt"]), bool(fields["password"]))
            elif event.event == "answered" and self.question and self.question[0] == fields["of"]:
                self.question = None
            elif event.event == "artifact":
                if (artifact := Artifact.told(fields)) is not None:
                    self.artifacts.append(artifact)
            elif event.event == "reply":
                self._on_reply(from_json(event.buffers[0]))
            elif event.event == "state":
                self._on_state(JobState[fields["state"]], fields)
            if self._counted or self.over or self.question is not None:  # what `wait` and `wait_for` wait for
                self._changed.notify_all()
            tell = event.event != "state" and not self._telling
            self._telling = self._telling or tell
        if tell:
            self._recorder.later(self.job_id, self._news)

    def on_link(self, link: Link, detail: str) -> None:
        """Say how the connection is, once it is worth a word."""
        if link is Link.CONNECTED or self.over:
            self._cut_since = None
            self.notice("")
        elif link is Link.LOST:
            hint = f"The job runs on. To see its outputs: %lepton_attach {self.job_id}"
            self.fail(LinkLost(f"the connection to {self.where} is lost: {detail}", hint=hint))
        elif self._cut_since is None:
            self._cut_since = time.monotonic()
            timer = threading.Timer(_QUIET, self._say_cut, (self._cut_since, detail))
            timer.daemon = True
            timer.start()
        else:
            self._say_cut(self._cut_since, detail)

    def fail(self, error: LeptonError) -> None:
        """It can be followed no longer; whoever waits learns why."""
        self.notice("")
        with self._changed:
            self.lost = error
            self.error = self.error or error
            self._changed.notify_all()

    def _news(self) -> dict[str, Any]:
        """What the store shall know of a job that goes on."""
        with self._changed:
            self._telling = False
            telemetry = self._progress.telemetry()
            return {"seq": self.seq, **({"telemetry": telemetry} if telemetry else {})}

    def _say_cut(self, since: float, detail: str) -> None:
        with self._showing:
            if self._cut_since == since and time.monotonic() - since >= _QUIET:
                self.notice(f"no connection, trying again; the job runs on there. {detail}".strip())

    def _on_reply(self, reply: dict[str, Any]) -> None:
        self.payload = reply.get("payload", [])
        left = reply.get("lepton")
        if isinstance(left, dict):
            self.left = dict(left.get("out") or {})
            self.notes = [visible(str(note)) for note in left.get("notes") or ()]
        if reply.get("status") == "error":
            traceback = self._traceback or [str(line) for line in reply.get("traceback", [])]
            self._raised = RemoteError(str(reply.get("ename")), str(reply.get("evalue")), traceback)

    def _on_state(self, state: JobState, fields: dict[str, Any]) -> None:
        self.state = state
        cause = str(fields.get("cause", ""))
        noted: dict[str, Any] = {"state": state, "cause": cause, "seq": self.seq}
        if state is JobState.RUNNING:
            noted["started"] = fields["time"]
        if state.final:
            noted["ended"] = fields["time"]
            usage = clean_usage(fields.get("usage"))
            if telemetry := self._progress.telemetry() | ({"usage": usage} if usage else {}):
                noted["telemetry"] = telemetry
            self.question = None
            if self.client is not None:
                self.client.at_rest(self.job_id)
        self._recorder.note(self.job_id, **noted)
        if state is JobState.FAILED and fields.get("error") == "RemoteError":
            self.error = self._raised or RemoteError("Error", cause, self._traceback)
        elif state in (JobState.FAILED, JobState.CANCELLED):
            kind = BY_NAME.get(str(fields.get("error")), JobError)
            again = "Run the cell again: it starts a new kernel." if kind is KernelDied else ""
            if state is JobState.CANCELLED:
                cause = f"job {self.job_id} was cancelled" + (f": {cause}" if cause not in ("", "cancelled") else "")
            self.error = kind(cause or f"job {self.job_id} failed", hint=str(fields.get("hint", again)))
