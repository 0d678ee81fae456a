"""The agent: owns one kernel, outlives everybody else. Runs on the host, in the interpreter that runs the kernel."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from ..errors import JobError, LaunchFailed
from ..wire import Message
from .archive import list_jobs
from .connection import Connection, Ledger
from .jobs import JobQueue
from .journal import Journal
from .pipes import channel_of
from .storage import Alive, kernel_folder, read_json

if TYPE_CHECKING:
    from .sampling import Sampling

#: Seconds after which a kernel that no client ever joined is stopped: who launched it was interrupted.
_UNCLAIMED = 300.0
_log = logging.getLogger(__name__)


class Daemon:
    """Accepts clients on the kernel's Unix socket and serves them until told to stop or idle too long."""

    def __init__(self, root: str, kernel_id: str) -> None:
        self.kernel_id = kernel_id
        self.news = threading.Condition()
        self.root = root
        self._folder = kernel_folder(root, kernel_id)
        self._alive = Alive(self._folder)
        if not self._alive.take():
            raise LaunchFailed(f"an agent serves kernel {kernel_id} already")
        options = read_json(os.path.join(self._folder, "kernel.json"))
        self._idle_stop: float | None = options["idle_stop"]
        self._socket_path = os.path.join(options["sockets"], "agent.sock")
        cwd = os.path.expanduser(options["cwd"] or "~")
        self._queue = JobQueue(root, self._folder, kernel_id, os.path.join(options["sockets"], "k"), cwd, self.news)
        self._sampling: Sampling | None = None
        self._lock = threading.Lock()
        self._ledger = Ledger()
        self._connections: list[Connection] = []
        self._stopping = threading.Event()
        self._ever_joined = False

    def serve(self) -> None:
        """Serve until stopped; on return the kernel and its processes are gone."""
        self._queue.start_kernel()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._socket_path)
        server = socket.socket(socket.AF_UNIX)
        former = os.umask(0o177)
        server.bind(self._socket_path)  # the folder is 0700 and the socket is born 0600
        os.umask(former)
        server.listen(16)
        threading.Thread(target=self._accept, args=(server,), name="accept", daemon=True).start()
        began = time.monotonic()
        while not self._stopping.wait(1.0):
            self._sync()
            if self._queue.busy:
                self._look().wake()
            idle = time.monotonic() - self._queue.last_activity
            if not self._ever_joined and time.monotonic() - began > _UNCLAIMED:
                _log.info("nobody came for this kernel: stopping")
                break
            if self._idle_stop is not None and not self._queue.busy and idle > self._idle_stop:
                _log.info("idle for %.0f s: stopping", idle)
                break
        self._queue.stop()
        self._sync()
        os.unlink(self._socket_path)
        if os.path.dirname(self._socket_path) != self._folder:  # with the sockets that a killed kernel leaves
            shutil.rmtree(os.path.dirname(self._socket_path), ignore_errors=True)
        time.sleep(0.1)  # the last words reach who listens

    def _sync(self) -> None:
        try:
            self._queue.sync()
        except OSError as error:  # a disk that is full or gone fails the job that writes there, not the agent
            _log.warning("journals could not be synced: %s", error)

    def joined(self, connection: Connection) -> None:
        """A client that comes back proves that its earlier connection is a dead one."""
        self._ever_joined = True
        for other in list(self._connections):
            if other is not connection and other.client == connection.client:
                other.close()

    def journal(self, job_id: str) -> Journal:
        return self._queue.journal(job_id)

    def watch(self, connection: Connection, every: float) -> None:
        self._look().watch(connection, every)

    def _look(self) -> Sampling:
        """Who looks at the host; made when it is first needed, so that no start waits for it."""
        from .sampling import Sampling

        with self._lock:
            if self._sampling is None:
                queue = self._queue
                self._sampling = Sampling(self.root, self.kernel_id, queue.running, queue.listing, queue.kernel_pid)
            return self._sampling

    def carry_out(self, message: Message) -> dict[str, Any]:
        fields = message.fields
        if message.kind == "jobs":
            return {"jobs": list_jobs(self.root)}
        if message.kind == "history":
            from .history import answer

            return answer(self.root, str(fields["job"]))
        if message.kind == "facts":
            from .facts import facts

            return facts(root=self.root, modules=map(str, fields["modules"]))
        if message.kind == "stop":
            others = {connection.client for connection in self._connections} - {fields.get("unless_used_beside")}
            if "unless_used_beside" not in fields or not (others or self._queue.busy):
                self._stopping.set()
            return {}
        job_id = str(fields["job"])
        if message.kind == "execute":
            self._queue.submit(job_id, dict(fields), *message.buffers[:2])
        elif message.kind == "interrupt":
            self._queue.interrupt(job_id)
        elif message.kind == "cancel":
            return dict(self._queue.cancel(job_id))
        elif message.kind == "input":
            self._queue.answer(job_id, int(fields["of"]), message.buffers[0].decode())
        elif message.kind == "comm":
            self._queue.comm(job_id, str(fields["msg_type"]), str(fields["msg_id"]), message.buffers)
        else:
            raise JobError(f"this agent does not know the request {message.kind!r}")
        return {}

    def _accept(self, server: socket.socket) -> None:
        while True:
            end, _ = server.accept()
            if not _same_user(end):
                end.close()
                continue
            threading.Thread(target=self._serve_one, args=(end,), name="client", daemon=True).start()

    def _serve_one(self, end: socket.socket) -> None:
        try:
            channel = channel_of(end)
        except OSError:
            end.close()
            return
        connection = Connection(channel, self, self._ledger)
        self._connections.append(connection)
        try:
            connection.run()
        finally:
            self._connections.remove(connection)


def _same_user(end: socket.socket) -> bool:
    """Whether the process at the other end is ours. The 0700 folder says so already; this is the second lock."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    _, uid, _ = struct.unpack("3i", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return bool(uid == os.geteuid())


def main(root: str, kernel_id: str) -> None:
    """Entry of `serve`: detach from the starter's folder, then serve."""
    os.chdir("/")
    os.umask(0o077)
    threading.current_thread().name = "agent"
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    _log.info("agent %s on Python %s, pid %d", kernel_id, sys.version.split()[0], os.getpid())
    Daemon(root, kernel_id).serve()
