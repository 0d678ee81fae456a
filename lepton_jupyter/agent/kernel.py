"""One ipykernel: started, fed, listened to, interrupted and ended. Runs in the agent.

All sockets are Unix sockets in the kernel's own 0700 folder: Jupyter's usual TCP ports let every user of the host
read a kernel's outputs. One thread owns them (ZeroMQ sockets belong to one thread); others hand it messages by a
queue. Nothing is parsed but headers; contents pass as the bytes they are.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from .processes import MARKER, end_family

if TYPE_CHECKING:
    import zmq

#: A kernel that has not answered by then is given up.
START_TIMEOUT = 120.0
#: Why a kernel is gone after `exit()`.
ENDED_ITSELF = "it ended itself (exit code 0)"
_PORTS = {"shell": 1, "iopub": 2, "stdin": 3, "control": 4, "hb": 5}


class KernelMessage(NamedTuple):
    """A message from the kernel: where it came from, what it answers, and its parts as they are."""

    channel: str  # shell | iopub | stdin
    msg_type: str
    parent: str  # msg_id it belongs to
    metadata: bytes
    content: bytes
    buffers: tuple[bytes, ...]


class Kernel:
    """A kernel process and its sockets. `on_message` and `on_exit` are called from the kernel's own thread."""

    def __init__(
        self,
        folder: str,
        sockets: str,
        kernel_id: str,
        cwd: str,
        on_message: Callable[[KernelMessage], None],
        on_ready: Callable[[], None],
        on_exit: Callable[[str], None],
    ) -> None:
        self.kernel_id = kernel_id
        self._folder, self._sockets, self._cwd = folder, sockets, cwd
        self._on_message, self._on_ready, self._on_exit = on_message, on_ready, on_exit
        self._key = secrets.token_hex(32)
        self._outbox: collections.deque[tuple[str, str, str, bytes, bytes, tuple[bytes, ...]]] = collections.deque()
        self._wake_read, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self._oom_kills = _oom_kills()
        self.process = self._start()
        threading.Thread(target=self._run, name="kernel", daemon=True).start()

    def send(
        self, channel: str, msg_type: str, msg_id: str, content: bytes, metadata: bytes = b"{}",
        buffers: tuple[bytes, ...] = (),
    ) -> None:  # fmt: skip
        """Queue a message for the kernel; returns at once."""
        self._outbox.append((channel, msg_type, msg_id, metadata, content, buffers))
        with contextlib.suppress(OSError):  # full of wake-ups already, or the kernel has ended
            self._wake.send(b"x")

    def interrupt(self) -> None:
        """SIGINT to the kernel's process group, as a terminal's Ctrl-C does."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)

    def kill(self, grace: float = 2.0) -> int:
        """End the kernel and every process it started; how many there were. On return they are gone."""
        return end_family(self.process.pid, f"{MARKER}={self.kernel_id}", grace)

    def _start(self) -> subprocess.Popen[bytes]:
        connection = os.path.join(self._folder, "connection.json")
        for port in _PORTS.values():
            if os.path.exists(f"{self._sockets}-{port}"):
                os.unlink(f"{self._sockets}-{port}")
        info: dict[str, Any] = {
            "transport": "ipc",
            "ip": self._sockets,
            "key": self._key,
            "signature_scheme": "hmac-sha256",
        }
        info.update({f"{name}_port": port for name, port in _PORTS.items()})
        with open(os.open(connection, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(info, file)
        log = os.open(os.path.join(self._folder, "kernel.log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        # JPY_PARENT_PID: ipykernel ends itself when the agent is gone, so no kernel lives unwatched.
        environ = {**os.environ, MARKER: self.kernel_id, "JPY_PARENT_PID": str(os.getpid())}
        environ.pop("SSH_AUTH_SOCK", None)  # the login's agent ends with the login
        folder, path = os.path.dirname(sys.executable), environ.get("PATH", os.defpath)
        if folder not in path.split(os.pathsep):  # a cell's `!pip` and `!python` are those of its own environment
            environ["PATH"] = folder + os.pathsep + path
        try:
            return subprocess.Popen(
                [sys.executable, sys.argv[0], "kernel", "-f", connection],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._cwd, env=environ, start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(log)

    def _run(self) -> None:
        try:
            import zmq

            context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
            context.setsockopt(zmq.LINGER, 0)  # else what a dead kernel has not read blocks `destroy` for ever
            try:
                reason = self._talk(context)
            finally:
                context.destroy(linger=0)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job must learn that it is over
            reason = f"the agent could not talk to it: {error!r}"
            self.kill(grace=0.5)
        self._wake.close()
        self._wake_read.close()
        self._on_exit(reason)

    def _talk(self, context: zmq.Context[zmq.Socket[bytes]]) -> str:
        """Relay until the kernel process ends; why it ended."""
        import zmq
        from jupyter_client.session import Session

        wire = Session(key=self._key.encode(), signature_scheme="hmac-sha256")
        # The kernel sends a question on stdin to the identity that asked on shell.
        identity = secrets.token_bytes(8)
        kinds = {"shell": zmq.DEALER, "stdin": zmq.DEALER, "iopub": zmq.SUB}
        sockets: dict[str, zmq.Socket[bytes]] = {}
        poller = zmq.Poller()
        for name, kind in kinds.items():
            sockets[name] = end = context.socket(kind)
            end.setsockopt(zmq.RCVHWM, 0)  # an output is never dropped because we are slow
            end.setsockopt(zmq.RECONNECT_IVL, 20)  # ms; the kernel binds while we wait
            if kind == zmq.SUB:
                end.setsockopt(zmq.SUBSCRIBE, b"")
            else:
                end.setsockopt(zmq.IDENTITY, identity)
            end.connect(f"ipc://{self._sockets}-{_PORTS[name]}")
            poller.register(end, zmq.POLLIN)
        poller.register(self._wake_read.fileno(), zmq.POLLIN)

        names = {end: name for name, end in sockets.items()}
        ready, asked, began = False, 0.0, time.monotonic()
        while True:
            if not ready and time.monotonic() - asked > 0.1:
                # The first answer on iopub proves that no output can be missed from here on.
                wire.send(sockets["shell"], "kernel_info_request", {})
                asked = time.monotonic()
                if asked - began > START_TIMEOUT:
                    self.kill()
                    return f"it did not answer within {START_TIMEOUT:.0f} s" + self._log_tail()
            busy = poller.poll(20 if not ready else 200)
            for ready_socket, _ in busy:
                if isinstance(ready_socket, int):
                    self._wake_read.recv(4096)
                    continue
                for message in _drain(ready_socket, names[ready_socket], wire):
                    if message.channel == "iopub" and not ready:
                        ready = True
                        self._on_ready()
                    self._on_message(message)
            while ready and self._outbox:
                channel, msg_type, msg_id, metadata, content, buffers = self._outbox.popleft()
                header = {**wire.msg_header(msg_type), "msg_id": msg_id}
                parts = {"header": header, "parent_header": {}, "metadata": json.loads(metadata), "content": content}
                wire.send(sockets[channel], {**parts, "msg_id": msg_id, "msg_type": msg_type}, buffers=list(buffers))
            if not busy and self.process.poll() is not None:
                return self._why(self.process.returncode)

    def _why(self, code: int) -> str:
        """The end of the kernel process in plain words."""
        if code == -signal.SIGKILL and _oom_kills() > self._oom_kills:
            return "the host ran out of memory and its kernel killed the process (SIGKILL)"
        if code == -signal.SIGKILL:
            return "it was killed (SIGKILL): by someone, or because the host ran out of memory"
        if code < 0:
            words: dict[int, str] = {
                signal.SIGSEGV: "segmentation fault",
                signal.SIGABRT: "aborted",
                signal.SIGBUS: "bus error",
            }
            name = signal.Signals(-code).name
            return f"it crashed: {words.get(-code, 'signal')} ({name})" + self._log_tail()
        if code == 0:
            return ENDED_ITSELF
        return f"it ended itself with exit code {code}" + self._log_tail()

    def _log_tail(self) -> str:
        try:
            with open(os.path.join(self._folder, "kernel.log"), "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 4000))
                text = file.read().decode(errors="replace").strip()
        except OSError:
            return ""
        return f"\nIts last words were:\n{text}" if text else ""


def _drain(end: Any, channel: str, wire: Any) -> list[KernelMessage]:
    """Up to 200 messages that wait at one socket, so that no socket starves the others."""
    import zmq

    found: list[KernelMessage] = []
    for _ in range(200):
        try:
            parts = end.recv_multipart(zmq.NOBLOCK, copy=True)
        except zmq.Again:
            break
        _, (_, header, parent, metadata, content, *buffers) = wire.feed_identities(parts)
        msg_type = json.loads(header)["msg_type"]
        found.append(
            KernelMessage(channel, msg_type, json.loads(parent).get("msg_id", ""), metadata, content, tuple(buffers))
        )
    return found


def _oom_kills() -> int:
    """How many processes this host's out-of-memory killer has ended since it started; 0 where it does not say."""
    try:
        with open("/proc/vmstat") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)
    except OSError:
        return 0
