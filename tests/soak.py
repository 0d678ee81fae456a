"""Random cuts and kills on jobs that count: nothing lost, nothing twice. ``make soak``, or ``python -m tests.soak``.

Several lanes run side by side, each with a link of its own that is cut again and again and a client process that is
killed now and then; its successor attaches to the job. Every client process writes down the number of each event as it
is shown. In the end the events of each job are compared with the journal on the host, and its outputs with those of a
job that nobody disturbed. The same seed draws the same faults; when they strike is up to the machine.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from lepton_jupyter.agent.journal import Journal
from lepton_jupyter.config import Config
from lepton_jupyter.errors import LeptonError
from lepton_jupyter.job import JobSpec
from lepton_jupyter.outputs import View, fold
from lepton_jupyter.remote import Dispatcher
from lepton_jupyter.store import JobStore
from lepton_jupyter.wire import Event
from tests.fakes.proxy import Proxy
from tests.fakes.sshd import Sshd
from tests.faults._road import attaches, counting_cell, end_kernels, far, write_config

ROOT = Path(__file__).parent.parent
TARGET = "far"
#: How often each kind is drawn.
KINDS = {
    "reset": 5, "stall": 5, "half-close": 4, "refuse": 3, "kill connection": 4, "kill attach": 4, "kill client": 3,
}  # fmt: skip


# the client process


def job_file(folder: Path, name: str) -> Path:
    """Where the id of the job is that the client `name` follows, once there was something to see of it."""
    return folder / f"{name.partition('.')[0]}.job"


class Ledger(View):
    """A view that writes down the number of each event at once, for the case that we are killed."""

    def __init__(self, folder: Path, name: str) -> None:
        self.events: list[Event] = []
        self._job = job_file(folder, name)
        self._seen = open(folder / f"{name}.seen", "w", buffering=1)

    def show(self, event: Event) -> None:
        if not self.events:
            self._job.write_text(event.job_id)
        self.events.append(event)
        self._seen.write(f"{event.seq}\n")

    def notice(self, text: str) -> None:
        """Not written down: a notice is no output."""


def client(folder: Path, name: str) -> None:
    """Submit the cell of `folder`, or attach to its job when there is one; leave what it showed in `name`.json."""
    dispatcher = Dispatcher(Config.load(folder / "lepton.toml"), JobStore(folder / "state" / "jobs.db"))
    view, job = Ledger(folder, name), job_file(folder, name)
    spec = JobSpec(code=(folder / "cell.py").read_text(), target=TARGET, kernel="k")
    while True:
        try:
            if job.exists():
                run = dispatcher.attach(job.read_text(), lambda run: view)
            else:
                run = dispatcher.run(spec, lambda run: view)
            break
        except LeptonError as error:  # a first contact that is cut is an error, and the user tries again
            if not error.transient:
                raise
            print(error, file=sys.stderr, flush=True)
    run.wait()
    (folder / f"{name}.json").write_text(json.dumps({"error": str(run.error or ""), "outputs": fold(view.events)}))
    dispatcher.close()


# the soak


@dataclass
class Tally:
    """What was done and what came of it."""

    cuts: collections.Counter[str] = field(default_factory=collections.Counter)
    jobs: int = 0
    clients: int = 0
    expected: int = 0
    lost: int = 0
    twice: int = 0
    reordered: int = 0
    unequal: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.twice or self.reordered or self.unequal or self.failures) and self.jobs > 0

    def report(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.cuts.items()))
        lines = [
            f"cuts and kills   {sum(self.cuts.values())}: {kinds}",
            f"jobs             {self.jobs}, followed by {self.clients} client processes",
            f"events expected  {self.expected:,}",
            f"lost             {self.lost}",
            f"twice            {self.twice}",
            f"reordered        {self.reordered}",
            f"outputs equal    {self.jobs - self.unequal} of {self.jobs}",
            *(f"failed           {failure}" for failure in self.failures),
        ]
        return "\n".join(lines)


class Lane:
    """One job after another over one link, until the soak has had its cuts."""

    def __init__(self, soak: Soak, number: int) -> None:
        self.soak, self.number = soak, number
        self.random = random.Random(f"{soak.seed}-{number}")
        self.folder = soak.folder / f"lane{number}"
        self.proxy = Proxy(soak.sshd.address, soak.sshd.port)
        options = far(soak.sshd, self.folder, port=self.proxy.port)
        write_config(self.folder / "lepton.toml", {TARGET: options})
        (self.folder / "cell.py").write_text(soak.cell)

    def run(self) -> None:
        for number in range(1_000_000):
            if not self.soak.cuts_left and number:
                return
            try:
                self._job(f"job{number}")
            except Exception as error:  # noqa: BLE001 - the report has it, and the soak fails
                self.soak.tally.failures.append(f"lane {self.number}, job {number}: {error!r}")
                return

    def _job(self, job: str) -> None:
        names = [f"{job}.0"]
        process = self._start(names[0])
        deadline = time.monotonic() + 300
        while process.poll() is None:
            if time.monotonic() > deadline:
                process.kill()
                raise TimeoutError("a job hangs")
            time.sleep(self.random.uniform(0.1, 1.8))
            if not (self.folder / f"{job}.job").exists() or not self.soak.take_cut():
                continue
            (kind,) = self.random.choices(list(KINDS), list(KINDS.values()))
            seen = self.folder / f"{names[-1]}.seen"
            if kind != "kill client":
                hit = self._disturb(kind)
            elif hit := seen.exists() and seen.stat().st_size > 0 and process.poll() is None:
                process.kill()
                process.wait()
                names.append(f"{job}.{len(names)}")
                process = self._start(names[-1])
            self.soak.struck(kind if hit else "")
        if process.returncode != 0:
            log = (self.folder / f"{names[-1]}.log").read_text()
            raise RuntimeError(f"the client process failed: {log[-2000:]}")
        self._account(job, names)

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        self.soak.tally.clients += 1
        with open(self.folder / f"{name}.log", "wb") as log:
            command = [sys.executable, "-m", "tests.soak", "--client", str(self.folder), name]
            return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _disturb(self, kind: str) -> bool:
        """Whether there was something to hit."""
        if kind in ("kill connection", "kill attach"):
            try:
                found = {"kill connection": self.soak.connections, "kill attach": self.soak.attaches}[kind]()
                self.random.choice(found).kill()
            except (IndexError, psutil.NoSuchProcess):
                return False
            return True
        if not self.proxy.figures.open:
            return False
        if kind == "reset":
            self.proxy.cut()
        elif kind == "half-close":
            self.proxy.half_close()
        elif kind == "stall":
            self.proxy.stall_for(self.random.uniform(0.2, 6.0))
        else:
            self.proxy.cut_for(self.random.uniform(0.2, 4.0))
        return True

    def _account(self, job: str, names: list[str]) -> None:
        """Compare what each client showed with the journal; only the last one has to have it all."""
        tally = self.soak.tally
        job_id = (self.folder / f"{job}.job").read_text()
        last = Journal(str(self.soak.sshd.root / "jobs" / job_id / "journal"), job_id, threading.Condition()).last
        result = json.loads((self.folder / f"{names[-1]}.json").read_text())
        with self.soak.lock:
            tally.jobs += 1
            for name in names:
                seen = self.folder / f"{name}.seen"  # absent when it was killed before it began
                numbers = [int(line) for line in seen.read_text().split("\n")[:-1]] if seen.exists() else []
                expected = last if name == names[-1] else max(numbers, default=0)
                tally.expected += expected
                tally.lost += expected - len(set(numbers))
                tally.twice += len(numbers) - len(set(numbers))
                tally.reordered += sum(later < earlier for earlier, later in itertools.pairwise(numbers))
            tally.unequal += json.dumps(result["outputs"]) != self.soak.undisturbed
            if result["error"]:
                tally.failures.append(f"lane {self.number}, {job}: {result['error']}")


class Soak:
    """A server, a few lanes and what came of them."""

    def __init__(self, folder: Path, *, cuts: int, seed: int, lanes: int, lines: int, mark: str = "") -> None:
        self.folder, self.seed, self._wanted, self._lines = folder, seed, cuts, lines
        self.lock = threading.Lock()
        self.tally = Tally()
        self.cell = counting_cell(lines, pause=0.002)
        self.undisturbed = ""
        self._under_way = 0
        self.sshd = Sshd(folder / "sshd", home_mark=mark)
        self._lanes = [Lane(self, number) for number in range(lanes)]

    @property
    def cuts_left(self) -> bool:
        return sum(self.tally.cuts.values()) + self._under_way < self._wanted

    def take_cut(self) -> bool:
        """Whether one more is wanted; then `struck` must follow."""
        with self.lock:
            if not self.cuts_left:
                return False
            self._under_way += 1
            return True

    def struck(self, kind: str) -> None:
        """A cut was made, or hit nothing ("") and is not counted."""
        with self.lock:
            self._under_way -= 1
            if kind:
                self.tally.cuts[kind] += 1

    def connections(self) -> list[psutil.Process]:
        return [psutil.Process(pid) for pid in self.sshd.connections()]

    def attaches(self) -> list[psutil.Process]:
        return attaches(self.sshd.root)

    def run(self, say: Callable[[str], None]) -> Tally:
        """Returns when every lane has ended."""
        try:
            say("an undisturbed job first")
            first = self._lanes[0]
            assert first._start("undisturbed").wait(300) == 0, (first.folder / "undisturbed.log").read_text()
            result = json.loads((first.folder / "undisturbed.json").read_text())
            self.undisturbed = json.dumps(result["outputs"])
            assert self.undisturbed.count("line ") == self._lines
            threads = [threading.Thread(target=lane.run, daemon=True) for lane in self._lanes]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                for thread in threads:
                    thread.join(10 / len(threads))
                say(f"{sum(self.tally.cuts.values())} cuts, {self.tally.jobs} jobs, {self.tally.expected:,} events")
            return self.tally
        finally:
            end_kernels(self.sshd.root)
            self.sshd.stop()
            for lane in self._lanes:
                lane.proxy.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Cut and kill at random, and count what is lost.")
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="0 = another one each time")
    parser.add_argument("--lanes", type=int, default=4)
    parser.add_argument("--lines", type=int, default=1500, help="numbered lines of each job")
    parser.add_argument("--client", nargs=2, metavar=("FOLDER", "NAME"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.client:
        return client(Path(asked.client[0]), asked.client[1])
    seed = asked.seed or random.SystemRandom().randrange(1, 1 << 32)
    print(f"seed {seed}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        os.environ.update(HOME=folder, LEPTON_HOME=f"{folder}/lepton")
        soak = Soak(Path(folder), cuts=asked.cuts, seed=seed, lanes=asked.lanes, lines=asked.lines)
        tally = soak.run(lambda text: print(f"{time.monotonic() - began:4.0f} s  {text}", flush=True))
    print(tally.report(), flush=True)
    raise SystemExit(0 if tally.good else 1)


if __name__ == "__main__":
    main()
