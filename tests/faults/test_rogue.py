"""A host that lies: garbage, giant frames, events out of order, unknown errors. Clear words, and nothing hangs.

The host is a real process behind the local target: a program in the place of its Python, which greets as the first
stage does and then says what it likes.
"""

from __future__ import annotations

import struct
import sys
import tracemalloc
from pathlib import Path

import pytest

from lepton_jupyter.errors import LaunchFailed, LeptonError, LinkLost, WireError
from lepton_jupyter.job import JobSpec, JobState
from lepton_jupyter.outputs import Fold
from lepton_jupyter.wire import Event, Message, pack
from tests.faults._road import Client, Recorder, finish
from tests.faults.test_hosts import program

READY = pack(Message("ready", {"live": True}))
WELCOME = pack(Message("welcome", {"protocol": 1}))

#: Plays an agent: reads requests, and answers each execute with `answer` (JOB stands for the job's id).
_ROGUE = """
import json, os, struct, sys, time
def take(n):
    data = b""
    while len(data) < n:
        part = os.read(0, n - len(data))
        if not part: sys.exit()
        data += part
    return data
def frame():
    header, count = struct.unpack("!II", take(8))
    sizes = struct.unpack(f"!{count}Q", take(8 * count))
    fields = json.loads(take(header))
    for size in sizes: take(size)
    return fields
def say(data):
    while data: data = data[os.write(1, data):]
os.write(1, b"LEPTON ready\\n")
frame()
say(bytes.fromhex(sys.argv[1]))
while True:
    fields = frame()
    if fields["kind"] == "execute":
        answer = bytes.fromhex(sys.argv[2]).replace(b"JOBJOBJOBX", fields["job"].encode())
        say(answer)
    if fields["kind"] in ("execute", "stop"):
        done = json.dumps({"kind": "done", "n": fields["n"]}).encode()
        say(struct.pack("!II", len(done), 0) + done)
"""


def rogue(folder: Path, after_execute: bytes = b"", *, first: bytes = READY + WELCOME) -> Client:
    """A client of a host that answers so."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rogue.py").write_text(_ROGUE)
    words = [first.hex() or "''", after_execute.hex() or "''"]
    python = program(folder / "python", f"exec {sys.executable} {folder}/rogue.py {' '.join(words)}")
    options = {"kind": "local", "python": str(python), "root": str(folder / "root")}
    return Client(folder / "client", {"far": options})


def event(seq: int, kind: str = "state", **fields: object) -> bytes:
    return pack(Event("JOBJOBJOBX", seq, kind, {"state": "QUEUED", "time": 0.0, **fields}).to_message())


class Strict(Recorder):
    """A view that reads what it is shown, as views do."""

    def show(self, event: Event) -> None:
        Fold().add(event)
        super().show(event)


def ended(client: Client) -> tuple[LeptonError | None, Recorder]:
    """Run a cell; how it ended, and what it showed."""
    view = Strict()
    try:
        run = client.dispatcher.run(JobSpec(code="print(1)", target="far", kernel="k"), lambda run: view)
    except LeptonError as raised:
        return raised, view
    finish(run, 60)
    return run.error, view


def lost(client: Client, *words: str) -> Recorder:
    """Run a cell; the link must be given up with these words."""
    error, view = ended(client)
    assert isinstance(error, WireError | LinkLost | LaunchFailed), repr(error)
    for word in words:
        assert word in str(error), str(error)
    client.close()
    return view


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (b"\x00\x00\x00\x05\x00\x00\x00\x00hello", "readable header"),
        (struct.pack("!II", 9, 0) + b'["a","b"]', "readable header"),
        (struct.pack("!II", 2, 0) + b"{}", "readable header"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "refused"),
        (struct.pack("!II", (10 << 30) & 0xFFFFFFFF, 0), "refused"),
        (struct.pack("!II", 0xFFFFFFFF, 0), "refused"),
        (struct.pack("!II", 10, 0xFFFFFFFF), "refused"),
        (struct.pack("!IIQ", 10, 1, 10 << 30), "refused"),
    ],
    ids=range(8),
)
@pytest.mark.parametrize("when", ["at once", "in a job"])
def test_bytes_that_follow_no_rule(said: bytes, word: str, when: str, tmp_path: Path) -> None:
    """Among them a header and a buffer of 10 GB: they are refused before a byte of them is stored."""
    client = rogue(tmp_path, said) if when == "in a job" else rogue(tmp_path, first=said)
    tracemalloc.start()
    try:
        lost(client, word)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_a_fault_of_an_unknown_class_is_an_error_in_words(tmp_path: Path) -> None:
    said = Message("fault", {"error": "os.system", "message": "no such luck", "hint": "none"})
    client = rogue(tmp_path, first=pack(said))
    with pytest.raises(LeptonError, match="no such luck") as caught:
        client.run("print(1)")
    assert type(caught.value) is LeptonError
    client.close()


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "SystemExit", "ImportError", "AuthenticationFailed", 7, None])
def test_only_known_errors_are_made(error: object, tmp_path: Path) -> None:
    client = rogue(tmp_path, event(1) + event(2, state="FAILED", error=error, cause="so it says"))
    run, _ = client.run("print(1)")
    finish(run, 60)
    assert isinstance(run.error, LeptonError)
    assert "so it says" in str(run.error)
    assert client.job(run).state is JobState.FAILED
    client.close()


def test_events_twice_and_of_other_jobs_are_not_shown(tmp_path: Path) -> None:
    stranger = pack(Event("somebodyelse", 1, "state", {"state": "FAILED", "time": 0.0}).to_message())
    said = (
        event(1) + event(1) + stranger + event(2, state="RUNNING") + event(1) + event(3, state="COMPLETED") + event(3)
    )
    client = rogue(tmp_path, said)
    view = client.done("print(1)")
    assert [one.seq for one in view.events] == [1, 2, 3]
    client.close()


def test_an_event_that_is_missing_for_good_is_said_and_later_ones_are_not_shown(tmp_path: Path) -> None:
    view = lost(rogue(tmp_path, event(1) + event(3, state="COMPLETED")), "event 3", "came after 1")
    assert [one.seq for one in view.events] == [1]


@pytest.mark.parametrize(
    "said",
    [
        pack(Message("event", {"job": "JOBJOBJOBX", "seq": "1", "event": "state"})),
        pack(Message("event", {"seq": 1})),
        event(1, state="NONSENSE"),
        pack(Event("JOBJOBJOBX", 1, "state", {}).to_message()),
        pack(Event("JOBJOBJOBX", 1, "iopub", {"msg_type": "stream"}).to_message()),
        pack(Event("JOBJOBJOBX", 1, "iopub", {"msg_type": "stream"}, (b"{", b"{", b"{")).to_message()),
        pack(Event("JOBJOBJOBX", 1, "iopub", {"msg_type": "error"}, (b"{}", b"[]")).to_message()),
        pack(Event("JOBJOBJOBX", 1, "reply", {}, (b"7",)).to_message()),
        pack(Event("JOBJOBJOBX", 1, "stdin", {}).to_message()),
        pack(Message("done", {"n": [1]})),
        pack(Message("fault", {"n": 0, "error": "WireError", "message": "the agent refuses"})),
        pack(Message("welcome", {"protocol": 99})) * 3 + event(1) + event(2, state="NONSENSE"),
    ],
    ids=range(12),
)
def test_events_that_make_no_sense_end_the_job_in_words(said: bytes, tmp_path: Path) -> None:
    client = rogue(tmp_path, said)
    error, _ = ended(client)
    assert isinstance(error, LeptonError), repr(error)
    assert str(error)
    client.close()


def test_a_program_that_leaves_before_it_is_asked(tmp_path: Path) -> None:
    python = program(tmp_path / "python", "exec 0<&-", "echo LEPTON ready", "sleep 1", "echo good bye >&2", "exit 3")
    client = Client(tmp_path / "client", {"far": {"kind": "local", "python": str(python), "root": str(tmp_path / "r")}})
    with pytest.raises(LaunchFailed, match=r"exit status 3.*good bye"):
        client.run("print(1)")
    client.close()


def test_a_host_that_prints_without_end(tmp_path: Path) -> None:
    python = program(tmp_path / "python", "exec yes")
    client = Client(tmp_path / "client", {"far": {"kind": "local", "python": str(python), "root": str(tmp_path / "r")}})
    with pytest.raises(LaunchFailed, match="prints without end"):
        client.run("print(1)")
    client.close()


def test_a_login_shell_that_greets_does_no_harm(tmp_path: Path) -> None:
    python = program(tmp_path / "python", "echo Welcome to the machine", f'exec {sys.executable} "$@"')
    client = Client(tmp_path / "client", {"far": {"kind": "local", "python": str(python), "root": str(tmp_path / "r")}})
    client.done("print(1)")
    client.close()
