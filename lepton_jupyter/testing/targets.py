"""What every target has to do, as a suite that its author runs. Runs in the author's tests, under pytest.

::

    from lepton_jupyter.testing import TargetContract

    class TestMyTarget(TargetContract):
        @pytest.fixture
        def make_target(self, tmp_path):
            def make():  # each call: a new object for the same place, as another process would make it
                return MyTarget("mine", MyConfig(root=str(tmp_path), python=sys.executable), no_prompt)
            return make

The kernels there need IPython and ipykernel, nothing else. Kernels that a test launches are stopped when it ends.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ..client import AgentClient
from ..errors import KernelDied, LeptonError, UnknownJob
from ..job import JobId, NativeId, Resources, new_job_id
from ..outputs import Output, fold
from ..targets._base import READER, Target, TargetStatus
from ..wire import Event

#: Longer than anything here takes; on its way out a test fails in words rather than hang.
PATIENCE = 120.0
MakeTarget = Callable[[], Target]
_FINAL = ("COMPLETED", "FAILED", "CANCELLED")


class Followed:
    """A client of one kernel that keeps the events of the jobs it follows."""

    def __init__(self, target: Target, native_id: NativeId) -> None:
        self._events: dict[str, list[Event]] = {}
        self._news = threading.Condition()
        self.client = AgentClient(lambda: target.open(native_id), self._keep, lambda link, detail: None)

    def run(self, code: str) -> JobId:
        """Queue a cell and follow it."""
        job_id = new_job_id()
        self._events[job_id] = []
        self.client.send("execute", code.encode(), job=job_id, name="", allow_stdin=False).result(PATIENCE)
        self.follow(job_id)
        return job_id

    def follow(self, job_id: JobId) -> int:
        """Have all events of a job from the first; the number of the newest. Raises UnknownJob."""
        self._events.setdefault(job_id, [])
        return int(self.client.follow(job_id).result(PATIENCE)["last"])

    def outputs(self, job_id: JobId) -> list[Output]:
        """What the cell shows once it has ended."""
        return fold(self.events(job_id))

    def events(self, job_id: JobId) -> list[Event]:
        """All events of a job that has ended or ends now, numbered from 1 without gaps."""
        self.until(job_id, lambda events: _state(events) in _FINAL)
        events = list(self._events[job_id])
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        return events

    def state(self, job_id: JobId) -> str:
        """How the job ended."""
        return _state(self.events(job_id))

    def until(self, job_id: JobId, condition: Callable[[list[Event]], bool]) -> None:
        """Wait until the job's events fulfil a condition."""
        with self._news:
            came = self._news.wait_for(lambda: condition(self._events[job_id]), PATIENCE)
        assert came, f"waited {PATIENCE:.0f} s in vain; the job's events: {self._events[job_id]}"

    def _keep(self, event: Event) -> None:
        with self._news:
            self._events.setdefault(event.job_id, []).append(event)
            self._news.notify_all()


class TargetContract:
    """The tests. A subclass named Test… gives the fixture `make_target`; pytest does the rest."""

    def launched(self, target: Target) -> contextlib.AbstractContextManager[NativeId]:
        """A kernel on `target` that is gone afterwards."""
        return _launched(target)

    def test_a_cell_runs_and_its_outputs_come_back(self, make_target: MakeTarget) -> None:
        target = make_target()
        with self.launched(target) as native_id, _following(target, native_id) as far:
            job = far.run("import sys\nprint('out ü')\nprint('err', file=sys.stderr)\nvalue = 6")
            assert _texts(far.outputs(job)) == {"stdout": "out ü\n", "stderr": "err\n"}
            assert far.state(job) == "COMPLETED"
            (output,) = far.outputs(far.run("value * 7"))  # the same kernel, the same variables
            assert output["output_type"] == "execute_result"
            assert output["data"] == {"text/plain": "42"}
        target.close()

    def test_a_kernel_has_the_packages_that_were_asked_for(self, make_target: MakeTarget) -> None:
        target = make_target()
        env = {"requirements": ["ipython"], "python": ">=3.9", "source": "the contract"}  # is there: nothing is made
        with _launched(target, env) as native_id, _following(target, native_id) as far:
            assert far.state(far.run("import IPython")) == "COMPLETED"
            facts = far.client.send("facts", modules=["IPython", "no_such_module"]).result(PATIENCE)
            assert facts["modules"] == {"IPython": True, "no_such_module": False}
            assert facts["packages"]["ipython"]
        target.close()

    def test_a_cell_that_fails_shows_its_traceback(self, make_target: MakeTarget) -> None:
        target = make_target()
        with self.launched(target) as native_id, _following(target, native_id) as far:
            job = far.run("print('before')\n1 / 0")
            first, error = far.outputs(job)
            assert first["text"] == "before\n"
            assert error["ename"] == "ZeroDivisionError"
            assert far.state(job) == "FAILED"
            assert far.state(far.run("print('goes on')")) == "COMPLETED"
        target.close()

    def test_large_and_many_outputs_come_whole(self, make_target: MakeTarget) -> None:
        target = make_target()
        with self.launched(target) as native_id, _following(target, native_id) as far:
            big = far.run("print('0123456789' * 1_000_000)")
            assert _texts(far.outputs(big)) == {"stdout": "0123456789" * 1_000_000 + "\n"}
            many = far.run("for n in range(2000):\n    display({'text/plain': str(n)}, raw=True)")
            assert [output["data"]["text/plain"] for output in far.outputs(many)] == [str(n) for n in range(2000)]
        target.close()

    def test_a_job_outlives_its_clients(self, make_target: MakeTarget) -> None:
        """Every client of every process sees all events of a job from the first, once each."""
        target, other = make_target(), make_target()
        with self.launched(target) as native_id:
            code = "import time\nfor n in range(20):\n    print(n, flush=True)\n    time.sleep(0.1)"
            with _following(target, native_id) as far:
                job = far.run(code)
                far.until(job, lambda events: any(event.event == "iopub" for event in events))
            target.close()  # whoever started it has gone
            with _following(other, native_id) as again, _following(other, native_id) as third:
                again.follow(job)
                third.follow(job)
                assert _texts(again.outputs(job)) == {"stdout": "".join(f"{n}\n" for n in range(20))}
                assert third.events(job) == again.events(job)
        other.close()

    def test_an_interrupt_reaches_the_cell(self, make_target: MakeTarget) -> None:
        target = make_target()
        with self.launched(target) as native_id, _following(target, native_id) as far:
            job = far.run("import time\nprint('sleeps', flush=True)\ntime.sleep(1000)")
            far.until(job, lambda events: bool(fold(events)))
            far.client.send("interrupt", job=job).result(PATIENCE)
            assert far.outputs(job)[-1]["ename"] == "KeyboardInterrupt"
            assert far.state(job) == "FAILED"
        target.close()

    def test_a_cancelled_job_is_gone(self, make_target: MakeTarget) -> None:
        target = make_target()
        with self.launched(target) as native_id, _following(target, native_id) as far:
            job = far.run("import time\nprint('sleeps', flush=True)\ntime.sleep(1000)")
            far.until(job, lambda events: bool(fold(events)))
            answer = far.client.send("cancel", job=job).result(PATIENCE)
            assert "stopped" in answer["words"]
            assert far.state(job) == "CANCELLED"
            assert far.state(far.run("print('on a new kernel')")) == "COMPLETED"
        target.close()

    def test_a_stopped_kernel_is_gone_and_its_outputs_stay(self, make_target: MakeTarget) -> None:
        target = make_target()
        with self.launched(target) as native_id:
            with _following(target, native_id) as far:
                job = far.run("print('kept')")
                assert far.state(job) == "COMPLETED"
            assert target.poll([native_id]) == {native_id: TargetStatus.ALIVE}
            target.stop(native_id)
            assert target.poll([native_id]) == {native_id: TargetStatus.GONE}
            target.stop(native_id)  # gone already is fine
            for where in (native_id, READER):  # an agent that is gone is read from the files it left
                with _following(target, where) as reader:
                    reader.follow(job)
                    assert _texts(reader.outputs(job)) == {"stdout": "kept\n"}
            with _following(target, native_id) as late, _raises(KernelDied):
                late.run("print('too late')")
        target.close()

    def test_who_watches_learns_how_the_host_is(self, make_target: MakeTarget) -> None:
        target = make_target()
        with self.launched(target) as native_id:
            for where in (native_id, READER):  # also where no kernel runs
                samples: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
                with _following(target, where) as far:
                    stop = far.client.watch(0.5, samples.put)
                    first, second = samples.get(timeout=PATIENCE), samples.get(timeout=PATIENCE)
                    stop()
                assert second["time"] > first["time"]
                assert {"host", "cpu", "memory", "disk", "load", "devices", "kernel", "queue"} <= second.keys()
                assert (second["kernel"] is None) == (where == READER)
        target.close()

    def test_several_kernels_are_asked_for_by_one_query(self, make_target: MakeTarget) -> None:
        target = make_target()
        with self.launched(target) as first, self.launched(target) as second:
            assert first != second
            nobody = NativeId("".join(reversed(first)))
            found = target.poll([first, second, nobody])
            assert found == {first: TargetStatus.ALIVE, second: TargetStatus.ALIVE, nobody: TargetStatus.GONE}
            assert target.poll([]) == {}
        target.close()

    def test_a_job_that_nobody_knows_is_an_error_in_words(self, make_target: MakeTarget) -> None:
        target = make_target()
        with self.launched(target) as native_id:
            for where in (native_id, READER):
                with _following(target, where) as far, _raises(UnknownJob):
                    far.follow(new_job_id())
        target.close()

    def test_closing_lets_kernels_live(self, make_target: MakeTarget) -> None:
        target, other = make_target(), make_target()
        with self.launched(other) as native_id:
            assert target.poll([native_id]) == {native_id: TargetStatus.ALIVE}
            target.close()
            target.close()  # twice is harmless
            assert other.poll([native_id]) == {native_id: TargetStatus.ALIVE}
        other.close()

    def test_a_probe_finds_the_place_well(self, make_target: MakeTarget) -> None:
        target = make_target()
        findings = target.probe()
        assert {"reachable", "Python", "storage"} <= {finding.subject for finding in findings}
        bad = [finding for finding in findings if finding.ok is False]
        assert not bad, "what is missing has to be there for these tests"
        target.close()


@contextlib.contextmanager
def _launched(target: Target, env: dict[str, Any] | None = None) -> Iterator[NativeId]:
    said: list[str] = []
    native_id = target.launch(Resources(), said.append, env)
    try:
        assert all(line and "\n" not in line for line in said)  # progress is short lines
        yield native_id
    finally:
        target.stop(native_id)


@contextlib.contextmanager
def _following(target: Target, native_id: NativeId) -> Iterator[Followed]:
    far = Followed(target, native_id)
    try:
        yield far
    finally:
        far.client.close()


@contextlib.contextmanager
def _raises(kind: type[LeptonError]) -> Iterator[None]:
    try:
        yield
    except kind as error:
        assert error.message
    else:
        raise AssertionError(f"no {kind.__name__} was raised")


def _state(events: list[Event]) -> str:
    return next((str(event.fields["state"]) for event in reversed(events) if event.event == "state"), "")


def _texts(outputs: list[Output]) -> dict[str, Any]:
    return {output["name"]: output["text"] for output in outputs if output["output_type"] == "stream"}
