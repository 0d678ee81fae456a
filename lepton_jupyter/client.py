"""The near end of a link: requests down, numbered events up, over any channel, through any number of cuts.

Runs in the notebook's kernel, the server and the command line. A client keeps one promise: what was asked is carried
out once, and every event of a followed job is handed over once and in order, or the client says why it cannot. To
keep it, it opens a new channel when one breaks, sends again what was not answered, and follows each job from the last
event it has handed over.
"""

from __future__ import annotations

import collections
import contextlib
import enum
import itertools
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

from .errors import LeptonError, LinkLost, WireError
from .wire import PROTOCOL, Channel, Event, FrameReader, Message, pack, to_error

#: What a cut fails instead of sending it again, and what waits for everything else that is to be sent.
_BULK = {"put"}

#: Seconds between pings, and of silence after which a link counts as broken: while something is awaited, and at rest.
_ALERT = (1.0, 4.0)
_CALM = (15.0, 60.0)
#: Requests that wait are sent together, up to this many bytes.
_GATHER = 1 << 16
#: Seconds between attempts to reconnect: quick at first, then this long by the time that has passed.
_BACKOFF = ((60.0, 0.4), (600.0, 5.0), (float("inf"), 15.0))
#: A channel that breaks sooner than this after it was opened is followed by a pause as long.
_BRIEF = 0.5


#: So often a missing event is asked for again; more means that the host does not have it.
_GAPS = 2


OnSample = Callable[[dict[str, Any]], None]


class Answer(dict[str, Any]):
    """The fields of an answer, and its buffers."""

    buffers: tuple[bytes, ...] = ()


class Cut(LinkLost):
    """The connection broke while data was sent over it."""


class Link(enum.Enum):
    """How the connection is. Never a job's state: the job runs on whatever the link does."""

    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    LOST = "lost"


class AgentClient:
    """Talks to one agent. `on_event` and `on_link` are called from the client's own thread, one at a time."""

    def __init__(
        self,
        open_channel: Callable[[], Channel],
        on_event: Callable[[Event], None],
        on_link: Callable[[Link, str], None],
    ) -> None:
        self._open_channel, self._on_event, self._on_link = open_channel, on_event, on_link
        self.name = secrets.token_hex(8)  # by which the agent knows us over all reconnects
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._pending: dict[int, tuple[Message, Future[Answer]]] = {}
        #: What `remote.transfer` keeps: the blobs that are there with their sizes, and how much may be under way.
        self.known: dict[str, int] = {}
        self.window = 0
        self._followed: dict[str, int] = {}  # job -> last event handed over
        self._active: set[str] = set()  # followed jobs that are not known to have ended
        self._samplers: dict[int, tuple[float, OnSample]] = {}  # who watches the host, and how often
        self._pings: collections.deque[float] = collections.deque()  # when those without an answer were sent
        self._trips: collections.deque[float] = collections.deque(maxlen=5)  # seconds of the last round trips
        self._outbox = _Outbox()
        self._channel: Channel | None = None
        self._heard = time.monotonic()
        self._gaps = 0  # how often in a row an event was missing
        self._closed = threading.Event()
        self._nudge = threading.Event()
        self.error: LeptonError | None = None  # why the link was given up
        self.about: dict[str, Any] = {}
        channel = open_channel()
        threading.Thread(target=self._live, args=(channel,), name="lepton link", daemon=True).start()
        threading.Thread(target=self._watch, name="lepton heartbeat", daemon=True).start()

    def ask(self, kind: str, *buffers: bytes, timeout: float | None = None, **fields: Any) -> Answer:
        """Send a request and wait for its answer, through reconnects.

        Raises the error the agent answers with, LinkLost when the link is given up or `timeout` seconds have passed.
        """
        future = self.send(kind, *buffers, **fields)
        if not wait([future], timeout).done:
            raise LinkLost(f"no answer to {kind!r} within {timeout} s")
        return future.result()

    def send(self, kind: str, *buffers: bytes, **fields: Any) -> Future[Answer]:
        """Send a request; the future holds its answer. A `put` that was under way fails with Cut."""
        number = next(self._numbers)
        message = Message(kind, {**fields, "n": number}, buffers)
        future: Future[Answer] = Future()
        with self._lock:
            if self.error is not None or self._closed.is_set():
                future.set_exception(self.error or LinkLost("this link was closed"))
                return future
            self._pending[number] = (message, future)
            self._outbox.put(message)
        return future

    def execute(self, job_id: str, *buffers: bytes, **fields: Any) -> Future[Answer]:
        """Have a job queued, and its events handed over from the first one on until `unfollow`: one request for both.

        The future holds an answer once the job is queued, or why it is not: then it is to be unfollowed.
        """
        with self._lock:
            self._followed[job_id] = 0
            self._active.add(job_id)
        return self.send("execute", *buffers, job=job_id, follow=True, **fields)

    def follow(self, job_id: str, after: int = 0) -> Future[Answer]:
        """Have the events of a job with seq > `after` handed over, from now until `unfollow`.

        The future holds `last`, the newest event's number, or UnknownJob.
        """
        with self._lock:
            self._followed[job_id] = after
            self._active.add(job_id)
        return self.send("attach", job=job_id, after=after)

    def at_rest(self, job_id: str) -> None:
        """Nothing is awaited from this job any more; late events are still handed over."""
        self._active.discard(job_id)

    def unfollow(self, job_id: str) -> None:
        with self._lock:
            self._active.discard(job_id)
            if self._followed.pop(job_id, None) is None:
                return
        self.send("detach", job=job_id)

    @property
    def latency(self) -> float | None:
        """Seconds of a round trip to the agent, of late; None while that is not known."""
        trips = list(self._trips)
        return min(trips) if trips else None

    def watch(self, every: float, on_sample: OnSample) -> Callable[[], None]:
        """Have a sample of the host handed over about every so many seconds, also after a cut; what ends it.

        `on_sample` is called like `on_event`. An agent of an earlier release knows no samples, and then none come.
        """
        number = next(self._numbers)
        with self._lock:
            self._samplers[number] = (every, on_sample)
        self.send("watch", every=self._every())

        def stop() -> None:
            with self._lock:
                if self._samplers.pop(number, None) is None:
                    return
            self.send("watch", every=self._every())

        return stop

    def _every(self) -> float:
        """How often the agent shall send samples: as often as the most curious wants; 0 = never."""
        return min((every for every, _ in list(self._samplers.values())), default=0.0)

    def close(self) -> None:
        """Let go of the link; the agent and its jobs live on."""
        self._closed.set()
        self._nudge.set()
        self._give_up(LinkLost("this link was closed"))
        self._break()

    def _live(self, channel: Channel) -> None:
        """Serve one channel after another until closed or given up."""
        while True:
            began = time.monotonic()
            self._serve(channel)
            if time.monotonic() - began < _BRIEF:
                self._nudge.wait(_BRIEF)  # a host that takes us in and throws us out is not asked without end
            if self._closed.is_set():
                return
            self._on_link(Link.RECONNECTING, "")
            again = self._reconnect()
            if again is None:
                return
            channel = again

    def _reconnect(self) -> Channel | None:
        began = time.monotonic()
        while not self._closed.is_set():
            try:
                return self._open_channel()
            except (LeptonError, OSError, EOFError) as error:
                if isinstance(error, LeptonError) and not error.transient:
                    self._give_up(error)
                    self._on_link(Link.LOST, str(error))
                    return None
                passed = time.monotonic() - began
                self._on_link(Link.RECONNECTING, error.message if isinstance(error, LeptonError) else str(error))
                self._nudge.wait(next(pause for limit, pause in _BACKOFF if passed < limit))
                self._nudge.clear()
        return None

    def _serve(self, channel: Channel) -> None:
        """Use `channel` until it breaks."""
        hello = Message("hello", {"protocol": PROTOCOL, "client": self.name})
        self._fail_bulk()
        with self._lock:
            self._heard = time.monotonic()
            self._channel = channel
            self._pings.clear()
            self._trips.clear()
            outbox = self._outbox = _Outbox()
            repeated = [message for message, _ in self._pending.values() if message.kind not in ("attach", "watch")]
            number = {message.fields["job"]: n for n, (message, _) in self._pending.items() if message.kind == "attach"}
            following = {message.fields["job"] for message in repeated if message.fields.get("follow")}
            for job_id in self._followed.keys() - following:
                fields = {"job": job_id, "after": self._followed[job_id], "n": number.get(job_id, 0)}
                repeated.append(Message("attach", fields))
            watches = [n for n, (message, _) in self._pending.items() if message.kind == "watch"]
            if self._samplers or watches:  # the newest word counts, and answers those before
                for n in watches[:-1]:
                    self._pending.pop(n)[1].set_result(Answer())
                fields = {"every": self._every(), "n": watches[-1] if watches else next(self._numbers)}
                repeated.append(Message("watch", fields))
            for message in [hello, *sorted(repeated, key=lambda message: message.fields["n"] or 1 << 62)]:
                outbox.put(message)
        writer = threading.Thread(target=self._write, args=(channel, outbox), name="lepton writer", daemon=True)
        writer.start()
        reader = FrameReader(_Heard(channel, self))
        try:
            while (message_in := reader.read()) is not None:
                self._receive(message_in)
        except (OSError, EOFError):
            pass
        except (WireError, KeyError, TypeError, ValueError) as error:
            if not isinstance(error, WireError):
                error = WireError(f"the host sent a message that makes no sense: {error!r}")
            self._give_up(error)
            self._on_link(Link.LOST, str(error))
            self._closed.set()
        finally:
            outbox.put(None)
            channel.close()
            self._fail_bulk()

    def _fail_bulk(self) -> None:
        """Whether the host has what was on its way is not known: who sent it asks, and goes on from there."""
        with self._lock:
            numbers = [number for number, (message, _) in self._pending.items() if message.kind in _BULK]
            futures = [self._pending.pop(number)[1] for number in numbers]
        for future in futures:
            future.set_exception(Cut())

    def _write(self, channel: Channel, outbox: _Outbox) -> None:
        with contextlib.suppress(OSError, EOFError):
            while (message := outbox.get()) is not None:
                self._note_ping(message)
                data = pack(message)
                while len(data) < _GATHER and not outbox.empty() and (message := outbox.get()) is not None:
                    self._note_ping(message)
                    data += pack(message)
                channel.write(data)
                if message is None:
                    break
            return
        channel.close()  # the reader notices and reconnects

    def _note_ping(self, message: Message) -> None:
        if message.kind == "ping":
            self._pings.append(time.monotonic())

    def _receive(self, message: Message) -> None:
        fields = message.fields
        if message.kind == "event":
            self._hand_over(Event.from_message(message))
        elif message.kind in ("done", "fault"):
            with self._lock:
                _, future = self._pending.pop(fields.get("n", 0), (None, None))
            if future is not None and not future.done():
                answer = Answer(fields)
                answer.buffers = message.buffers
                future.set_exception(to_error(message)) if message.kind == "fault" else future.set_result(answer)
            elif message.kind == "fault" and not fields.get("n"):  # not an answer: the link itself is refused
                raise WireError(str(to_error(message)))
        elif message.kind == "pong":
            if self._pings:
                self._trips.append(time.monotonic() - self._pings.popleft())
        elif message.kind == "sample":
            sample = fields["sample"]
            for _, on_sample in list(self._samplers.values()):
                on_sample({**sample, "latency": self.latency})
        elif message.kind == "welcome":
            self.about = fields
            self._on_link(Link.CONNECTED, "")

    def _hand_over(self, event: Event) -> None:
        with self._lock:
            last = self._followed.get(event.job_id)
        if last is None or event.seq <= last:
            return  # not followed any more, or seen before the cut
        if event.seq != last + 1:
            words, self._gaps = f"event {event.seq} of job {event.job_id} came after {last}", self._gaps + 1
            if self._gaps > _GAPS:
                raise WireError(words, hint="Its journal on the host may be damaged.")
            raise EOFError(words)  # attach again, from `last`
        self._gaps = 0
        self._on_event(event)
        with self._lock:
            if event.job_id in self._followed:
                self._followed[event.job_id] = event.seq

    def _watch(self) -> None:
        """Ping, and break a link that has gone silent: a cut cable closes nothing by itself."""
        sent, unanswered = 0.0, None
        while not self._closed.wait(0.25):
            now = time.monotonic()
            interval, limit = _ALERT if self._pending or self._active or self._samplers else _CALM
            if self._channel is None or (unanswered is not None and self._heard >= unanswered):
                unanswered = None
            elif unanswered is not None and now - unanswered > limit:
                self._break()
            if self._channel is not None and now - sent >= interval:
                sent = now
                unanswered = unanswered or now
                self._outbox.put(Message("ping"))

    def _break(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _give_up(self, error: LeptonError) -> None:
        with self._lock:
            self.error = self.error or error
            pending, self._pending = list(self._pending.values()), {}
        for _, future in pending:
            if not future.done():
                future.set_exception(self.error)


class _Outbox:
    """What is to be sent, in order; bulk data waits for all else, None ends it."""

    def __init__(self) -> None:
        self._ready = threading.Condition()
        self._first: collections.deque[Message | None] = collections.deque()
        self._bulk: collections.deque[Message] = collections.deque()

    def put(self, message: Message | None) -> None:
        with self._ready:
            if message is not None and message.kind in _BULK:
                self._bulk.append(message)
            else:
                self._first.append(message)
            self._ready.notify()

    def get(self) -> Message | None:
        """The next message, as soon as there is one."""
        with self._ready:
            while not (self._first or self._bulk):
                self._ready.wait()
            return self._first.popleft() if self._first else self._bulk.popleft()

    def empty(self) -> bool:
        return not (self._first or self._bulk)


class _Heard:
    """A channel that notes when bytes arrive: bytes of a long output are as good as a pong."""

    def __init__(self, channel: Channel, client: AgentClient) -> None:
        self._channel, self._client = channel, client

    def read(self, n: int) -> bytes:
        data = self._channel.read(n)
        self._client._heard = time.monotonic()
        return data

    def write(self, data: bytes) -> None:
        self._channel.write(data)

    def close(self) -> None:
        self._channel.close()
