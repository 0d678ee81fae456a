"""One attached client: requests in, events out. Runs on the host, in the agent or in the reader.

Two threads per client. The sender takes events straight from the journals, so a slow client costs no memory and a
client that returns is served by the same lines as one that never left.
"""

from __future__ import annotations

import collections
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import LeptonError, WireError
from ..wire import PROTOCOL, Channel, FrameReader, Message, fault, pack
from .journal import Journal

if TYPE_CHECKING:
    from .blobs import BlobDesk

#: Answers remembered for each client, for requests that are sent again after a cut.
_REMEMBERED = 256
#: Requests that may be carried out twice without harm; the others go through the ledger.
_REPEATABLE = {"attach", "detach", "cancel", "facts", "history", "jobs", "stop", "watch"}
#: Requests about blobs, which the connection's desk carries out beside all else.
_BLOBS = {"have", "put", "get"}
#: Answers with data that wait for the link; then the desk waits.
_BULK = 4


class Service(Protocol):
    """What a connection needs behind it: a living agent, or the files one left."""

    kernel_id: str
    root: str
    news: threading.Condition

    def joined(self, connection: Connection) -> None:
        """A client said who it is; an earlier connection of the same client is dead and may be closed."""

    def journal(self, job_id: str) -> Journal:
        """The journal of a job. Raises UnknownJob."""

    def watch(self, connection: Connection, every: float) -> None:
        """Have the connection show samples of the host every so many seconds from now on; 0 ends it."""

    def carry_out(self, message: Message) -> dict[str, Any]:
        """Do what a request asks; the fields of its answer. Raises LeptonError."""


class Ledger:
    """What each client asked already, so that a request that is sent twice is carried out once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: dict[str, tuple[threading.Lock, collections.OrderedDict[int, Message]]] = {}

    def of(self, client: str) -> tuple[threading.Lock, collections.OrderedDict[int, Message]]:
        with self._lock:
            return self._clients.setdefault(client, (threading.Lock(), collections.OrderedDict()))


class Connection:
    """Serves one client over `channel` until either end leaves."""

    def __init__(self, channel: Channel, service: Service, ledger: Ledger) -> None:
        self._channel, self._service, self._ledger = channel, service, ledger
        self._outbox: collections.deque[Message] = collections.deque()
        self._bulk: collections.deque[Message] = collections.deque()  # answers with data; all else goes first
        self._desk: BlobDesk | None = None
        self._following: dict[str, tuple[Journal, int]] = {}
        self._sample: Message | None = None  # the newest; a link that is slow skips samples
        self._watching = False
        self._open = True
        self.client = ""

    def run(self) -> None:
        """Read requests until the client leaves."""
        sender = threading.Thread(target=self._send, name="sender", daemon=True)
        sender.start()
        reader = FrameReader(self._channel)
        try:
            while (message := reader.read()) is not None:
                self._receive(message)
        except (OSError, EOFError):
            pass  # the link broke: the client comes back by itself
        except WireError as error:
            self._post(fault(error))
        finally:
            self.close()
            sender.join(timeout=5)

    def close(self) -> None:
        """Let the client go, with what is still in the outbox unsent."""
        self._open = False
        if self._watching:
            self._service.watch(self, 0)
        with self._service.news:
            self._service.news.notify_all()
        self._leave()

    def _leave(self) -> None:
        """Close the channel, which may end this process: so what has arrived of blobs is stored first."""
        if self._desk is not None:
            self._desk.close()
        self._channel.close()

    def show(self, sample: dict[str, Any]) -> None:
        """Send a sample of the host as soon as the link takes it, unless a newer one comes before."""
        with self._service.news:
            self._sample = Message("sample", {"sample": sample})
            self._service.news.notify_all()

    def _post(self, message: Message) -> None:
        with self._service.news:
            self._outbox.append(message)
            self._service.news.notify_all()

    def _at_desk(self, message: Message) -> None:
        """Answer a request about blobs; data waits for the link here, so that little of it is in memory."""
        answer = self._answer(message, int(message.fields.get("n", 0)))
        if not answer.buffers:
            self._post(answer)
            return
        with self._service.news:
            while self._open and len(self._bulk) >= _BULK:
                self._service.news.wait()
            self._bulk.append(answer)
            self._service.news.notify_all()

    def _receive(self, message: Message) -> None:
        number = int(message.fields.get("n", 0))
        if message.kind == "ping":
            self._post(Message("pong"))
        elif message.kind == "hello":
            self._post(self._welcome(message))
        elif message.kind in ("cancel", "facts"):  # may take seconds; pings and other requests go on meanwhile
            threading.Thread(target=lambda: self._post(self._answer(message, number)), daemon=True).start()
        elif message.kind in _BLOBS:
            if self._desk is None:
                from .blobs import BlobDesk

                self._desk = BlobDesk(self._service.root, self._at_desk)
            self._desk.ask(message)
        elif message.kind in _REPEATABLE:
            self._post(self._answer(message, number))
        else:
            answer = self._once(message, number)
            if message.fields.get("follow") and answer.kind == "done":
                try:
                    self._follow(str(message.fields["job"]), 0)
                except LeptonError as error:  # it was forgotten since it was asked for
                    answer = fault(error, n=number)
            self._post(answer)

    def _welcome(self, message: Message) -> Message:
        if message.fields.get("protocol") != PROTOCOL:
            words = f"the agent speaks protocol {PROTOCOL}, this client {message.fields.get('protocol')}"
            return fault(WireError(words, hint="Start a new kernel with --fresh."))
        self.client = str(message.fields.get("client", ""))
        self._service.joined(self)
        about = {"protocol": PROTOCOL, "kernel_id": self._service.kernel_id, "pid": os.getpid()}
        return Message("welcome", {**about, "host": socket.gethostname(), "python": sys.version})

    def _once(self, message: Message, number: int) -> Message:
        lock, answers = self._ledger.of(self.client)
        with lock:
            if number not in answers:
                answers[number] = self._answer(message, number)
            while len(answers) > _REMEMBERED:
                answers.popitem(last=False)
            return answers[number]

    def _answer(self, message: Message, number: int) -> Message:
        try:
            if message.kind in _BLOBS and self._desk is not None:
                fields, buffers = self._desk.carry_out(message)
                return Message("done", {"n": number, **fields}, buffers)
            return Message("done", {"n": number, **self._carry_out(message)})
        except LeptonError as error:
            return fault(error, n=number)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            return fault(WireError(f"a request {message.kind!r} that makes no sense: {error!r}"), n=number)

    def _carry_out(self, message: Message) -> dict[str, Any]:
        if message.kind == "attach":
            journal = self._follow(str(message.fields["job"]), int(message.fields["after"]))
            return {"last": journal.last, "torn": journal.torn}
        if message.kind == "detach":
            with self._service.news:
                self._following.pop(str(message.fields["job"]), None)
            return {}
        if message.kind == "watch":
            every = float(message.fields["every"])
            self._service.watch(self, every)
            self._watching = every > 0
            if not self._open:  # it was closed meanwhile
                self._service.watch(self, 0)
            return {}
        return self._service.carry_out(message)

    def _follow(self, job_id: str, after: int) -> Journal:
        """Send the job's events after that one from the next answer on. Raises UnknownJob."""
        journal = self._service.journal(job_id)
        with self._service.news:
            self._following[job_id] = (journal, after)
        return journal

    def _send(self) -> None:
        news = self._service.news
        try:
            while self._open:
                with news:
                    while self._open and not (self._outbox or self._sample or self._bulk or self._behind()):
                        news.wait()
                    posts = [self._outbox.popleft() for _ in range(len(self._outbox))]
                    if self._sample is not None:
                        posts.append(self._sample)
                        self._sample = None
                    bulk = [self._bulk.popleft()] if self._bulk else []
                    if bulk:
                        news.notify_all()
                    behind = self._behind()
                parts = [pack(message) for message in posts]
                parts += [self._events(job_id) for job_id in behind]
                parts += [pack(message) for message in bulk]
                self._channel.write(b"".join(parts))  # one packet where one is enough
        except (OSError, EOFError, ValueError):
            pass  # the link broke, or the journal cannot be read: the client attaches again
        finally:
            self._open = False
            with news:
                news.notify_all()
            self._leave()

    def _behind(self) -> list[str]:
        return [job_id for job_id, (journal, sent) in self._following.items() if journal.last > sent]

    def _events(self, job_id: str) -> bytes:
        """The next events of a followed job, which count as sent from here on: a link that breaks is used no more."""
        with self._service.news:
            journal, sent = self._following.get(job_id, (None, 0))
        if journal is None:
            return b""
        data, last = journal.read(sent)
        with self._service.news:
            if job_id in self._following and self._following[job_id][1] == sent:
                self._following[job_id] = (journal, last)
        return data
