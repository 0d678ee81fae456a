"""The client against the agent's own half of the protocol, over sockets that break: once each, in order, always."""

from __future__ import annotations

import random
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.agent.connection import Connection, Ledger
from lepton_jupyter.agent.journal import Journal
from lepton_jupyter.agent.pipes import SocketChannel
from lepton_jupyter.client import AgentClient, Link
from lepton_jupyter.errors import AuthenticationFailed, HostUnreachable, LinkLost, UnknownJob, WireError
from lepton_jupyter.wire import Event, Message, pack


class Host:
    """Journals and a ledger, served over a fresh socket pair at each open; counts what it was asked to do."""

    kernel_id = "kernel"

    def __init__(self, folder: Path) -> None:
        self.root = str(folder)
        self.news = threading.Condition()
        self.journals = {"job1": Journal(str(folder / "journal"), "job1", self.news)}
        self.ledger = Ledger()
        self.carried_out: list[dict[str, Any]] = []
        self.refuse: list[Exception] = []
        self.ends: list[socket.socket] = []

    def joined(self, connection: Connection) -> None:
        pass

    def journal(self, job_id: str) -> Journal:
        if job_id not in self.journals:
            raise UnknownJob(f"no job {job_id}")
        return self.journals[job_id]

    def watch(self, connection: Connection, every: float) -> None:
        """As an agent of an earlier release, which had no such request."""
        raise WireError("a request 'watch' that makes no sense: KeyError('job')")

    def carry_out(self, message: Message) -> dict[str, Any]:
        self.carried_out.append(message.fields)
        return {"echo": message.fields.get("word")}

    def open(self) -> SocketChannel:
        if self.refuse:
            raise self.refuse.pop(0)
        near, far = socket.socketpair()
        self.ends.append(far)
        connection = Connection(SocketChannel(far), self, self.ledger)
        threading.Thread(target=connection.run, daemon=True).start()
        return SocketChannel(near)

    def cut(self) -> None:
        for end in self.ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class Seen:
    """What a client hands over."""

    def __init__(self) -> None:
        self.events: list[int] = []
        self.links: list[Link] = []
        self.changed = threading.Condition()

    def event(self, event: Event) -> None:
        with self.changed:
            self.events.append(event.seq)
            self.changed.notify_all()

    def link(self, link: Link, detail: str) -> None:
        with self.changed:
            self.links.append(link)
            self.changed.notify_all()

    def wait(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.events) >= count, 60), (len(self.events), self.links[-5:])


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_every_event_once_and_in_order_over_many_cuts(host: Host) -> None:
    seen, dice, count = Seen(), random.Random(7), 3000
    client = AgentClient(host.open, seen.event, seen.link)
    client.follow("job1").result(10)
    stop = threading.Event()

    def cut() -> None:
        while not stop.wait(dice.uniform(0.0, 0.2)):
            host.cut()

    cutter = threading.Thread(target=cut)
    cutter.start()
    for number in range(count):
        host.journals["job1"].append("iopub", {"number": number}, (b"x" * dice.randrange(2000),))
        if number % 100 == 0:
            time.sleep(0.15)
    stop.set()
    cutter.join()
    seen.wait(count)
    client.close()
    assert seen.events == list(range(1, count + 1))
    assert len(host.ends) > 3, "the link was never cut"


def test_a_request_is_carried_out_once_over_cuts(host: Host) -> None:
    seen = Seen()
    client = AgentClient(host.open, seen.event, seen.link)
    futures = []
    for number in range(200):
        futures.append(client.send("note", word=number))
        if number % 40 == 20:
            host.cut()
    assert [future.result(30)["echo"] for future in futures] == list(range(200))
    client.close()
    assert [fields["word"] for fields in host.carried_out] == list(range(200))


def test_a_job_is_sent_and_followed_by_one_request_over_cuts(host: Host) -> None:
    seen = Seen()
    client = AgentClient(host.open, seen.event, seen.link)
    for number in range(20):
        host.journals["job1"].append("iopub", {"number": number})
        host.cut()
        if number == 10:
            taken = client.execute("job1", b"code")
    taken.result(30)
    seen.wait(20)
    host.cut()
    host.journals["job1"].append("iopub", {"number": 20})
    seen.wait(21)
    client.close()
    assert seen.events == list(range(1, 22))
    assert [fields["job"] for fields in host.carried_out] == ["job1"]


def test_a_job_that_is_not_taken_leaves_the_link_alone(host: Host) -> None:
    seen = Seen()
    client = AgentClient(host.open, seen.event, seen.link)
    taken = client.execute("job9", b"code")  # this host has no journal for it
    host.cut()
    with pytest.raises(UnknownJob):
        taken.result(30)
    client.unfollow("job9")
    assert client.ask("note", timeout=30, word="heard")["echo"] == "heard"
    client.close()
    assert client.error is None or isinstance(client.error, LinkLost)


def test_following_begins_after_what_is_known(host: Host) -> None:
    seen = Seen()
    for number in range(10):
        host.journals["job1"].append("iopub", {"number": number})
    client = AgentClient(host.open, seen.event, seen.link)
    assert client.follow("job1", after=7).result(10)["last"] == 10
    seen.wait(3)
    client.close()
    assert seen.events == [8, 9, 10]


def test_an_unknown_job_is_said(host: Host) -> None:
    client = AgentClient(host.open, Seen().event, Seen().link)
    with pytest.raises(UnknownJob):
        client.follow("other").result(10)
    client.close()


def test_it_tries_again_while_the_host_is_away(host: Host) -> None:
    seen = Seen()
    client = AgentClient(host.open, seen.event, seen.link)
    client.follow("job1").result(10)
    host.refuse = [HostUnreachable("away"), OSError("away"), HostUnreachable("away")]
    host.cut()
    host.journals["job1"].append("iopub", {})
    seen.wait(1)
    client.close()
    assert seen.links.count(Link.RECONNECTING) >= 3
    assert seen.links[-1] is Link.CONNECTED


def test_a_refusal_that_time_does_not_heal_ends_the_link(host: Host) -> None:
    seen = Seen()
    client = AgentClient(host.open, seen.event, seen.link)
    client.ask("note", timeout=10, word=1)
    host.refuse = [AuthenticationFailed("the key was withdrawn")] * 5
    host.cut()
    with seen.changed:
        assert seen.changed.wait_for(lambda: Link.LOST in seen.links, 20)
    with pytest.raises(AuthenticationFailed):
        client.ask("note", word=2)


def test_a_first_contact_that_fails_is_the_callers(host: Host) -> None:
    host.refuse = [HostUnreachable("no route")]
    with pytest.raises(HostUnreachable, match="no route"):
        AgentClient(host.open, Seen().event, Seen().link)


def test_nothing_hangs_after_close(host: Host) -> None:
    client = AgentClient(host.open, Seen().event, Seen().link)
    client.close()
    with pytest.raises(LinkLost, match="closed"):
        client.ask("note", timeout=5)


def test_silence_is_noticed(host: Host) -> None:
    """A cut cable closes nothing: only the missing answer to a ping tells."""
    seen, silent = Seen(), []

    def open_silent_first() -> SocketChannel:
        if silent:
            return host.open()
        near, far = socket.socketpair()
        silent.append(far)
        return SocketChannel(near)

    client = AgentClient(open_silent_first, seen.event, seen.link)
    assert client.ask("note", timeout=30, word="heard")["echo"] == "heard"
    client.close()
    silent[0].close()


def test_a_rogue_host_is_refused_in_words() -> None:
    seen = Seen()
    near, far = socket.socketpair()
    client = AgentClient(lambda: SocketChannel(near), seen.event, seen.link)
    far.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 9999999999\r\n\r\n")
    with pytest.raises(WireError, match="refused"):
        client.ask("note", timeout=20)
    far.close()
    with seen.changed:
        assert seen.changed.wait_for(lambda: Link.LOST in seen.links, 10)


def test_events_out_of_order_are_never_shown(host: Host) -> None:
    """A host that skips an event is asked again from the last good one, and not without a pause."""
    seen, opened = Seen(), []

    def rogue() -> SocketChannel:
        near, far = socket.socketpair()
        opened.append(far)
        for seq in (1, 3):
            far.sendall(pack(Event("job1", seq, "iopub", {}).to_message()))
        return SocketChannel(near)

    client = AgentClient(rogue, seen.event, seen.link)
    client.follow("job1")
    time.sleep(2.0)
    client.close()
    assert set(seen.events) <= {1}
    assert len(opened) < 10
    for far in opened:
        far.close()


# watching the host


class Watched(Host):
    """A host that shows its watchers a sample whenever `show` is called."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.watchers: dict[Connection, float] = {}
        self.asked: list[float] = []

    def watch(self, connection: Connection, every: float) -> None:
        self.asked.append(every)
        self.watchers[connection] = every
        if not every:
            del self.watchers[connection]

    def show(self, load: float) -> None:
        for connection in list(self.watchers):
            connection.show({"load": load})


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_a_watch_goes_on_after_a_cut_and_ends_when_told(tmp_path: Path) -> None:
    host, seen = Watched(tmp_path), Seen()
    client = AgentClient(host.open, seen.event, seen.link)
    samples: list[dict[str, Any]] = []
    stop = client.watch(2.0, samples.append)
    for cuts in range(4):
        wait_until(lambda: list(host.watchers.values()) == [2.0])
        host.show(float(cuts))
        wait_until(lambda cuts=cuts: [sample["load"] for sample in samples] == [*map(float, range(cuts + 1))])
        host.cut()
        wait_until(lambda: not host.watchers or len(host.asked) > 2)
        wait_until(lambda cuts=cuts: len(host.ends) >= cuts + 2)
    wait_until(lambda: list(host.watchers.values()) == [2.0])
    stop()
    stop()
    wait_until(lambda: not host.watchers)
    host.cut()
    client.ask("note", timeout=20, word=1)
    assert host.watchers == {}
    client.close()


def test_the_most_curious_says_how_often(tmp_path: Path) -> None:
    host, seen = Watched(tmp_path), Seen()
    client = AgentClient(host.open, seen.event, seen.link)
    first, second = list[dict[str, Any]](), list[dict[str, Any]]()
    stops = [client.watch(5.0, first.append), client.watch(1.0, second.append)]
    wait_until(lambda: list(host.watchers.values()) == [1.0])
    host.show(7.0)
    wait_until(lambda: first and second)
    stops[1]()
    wait_until(lambda: list(host.watchers.values()) == [5.0])
    stops[0]()
    wait_until(lambda: not host.watchers)
    client.close()


def test_a_sample_tells_the_latency(tmp_path: Path) -> None:
    host, seen = Watched(tmp_path), Seen()
    client = AgentClient(host.open, seen.event, seen.link)
    assert client.latency is None
    samples: list[dict[str, Any]] = []
    client.watch(1.0, samples.append)
    wait_until(lambda: client.latency is not None)
    wait_until(lambda: host.watchers)
    host.show(1.0)
    wait_until(lambda: samples)
    assert 0 < samples[0]["latency"] < 10
    client.close()


def test_a_slow_link_gets_the_newest_sample_and_no_pile(tmp_path: Path) -> None:
    host, seen = Watched(tmp_path), Seen()
    client = AgentClient(host.open, seen.event, seen.link)
    samples: list[dict[str, Any]] = []
    blocked = threading.Event()

    def take(sample: dict[str, Any]) -> None:
        samples.append(sample)
        blocked.wait(20)

    client.watch(1.0, take)
    wait_until(lambda: host.watchers)
    for connection in host.watchers:
        for number in range(20_000):
            connection.show({"load": float(number), "filler": "x" * 2000})
    blocked.set()
    wait_until(lambda: samples[-1]["load"] == 19_999)
    assert len(samples) < 15_000
    client.close()


def test_an_agent_of_an_earlier_release_knows_no_samples(host: Host) -> None:
    """It answers with a fault; the link and its jobs go on, also after a cut."""
    seen = Seen()
    client = AgentClient(host.open, seen.event, seen.link)
    client.watch(1.0, lambda sample: None)
    host.cut()
    assert client.ask("note", timeout=20, word="on")["echo"] == "on"
    assert client.error is None
    assert Link.LOST not in seen.links
    client.close()
