"""The bytes beneath an SSH connection: a TCP socket or a ProxyCommand, read ahead. Runs in the notebook's kernel.

paramiko's packet reader asks the socket twice per packet and never notices a dead peer: `Stream` reads ahead, and ends
the connection after a silence that keep-alive questions did not break. paramiko's `ProxyCommand` loses bytes of partial
writes, spins at end of file and cannot use a shell: ours is a socket pair.
"""

from __future__ import annotations

import errno
import socket
import subprocess
import tempfile
import threading
import time
from typing import Any, Protocol

from ..errors import HostUnreachable
from ._ssh_config import HostConfig

USER_TIMEOUT = 10.0  # seconds that sent bytes may stay unacknowledged


class Socket(Protocol):
    """What a connection may run over: a real socket, or a channel through another host."""

    def send(self, data: Any, /) -> int: ...
    def recv(self, size: int, /) -> bytes: ...
    def settimeout(self, timeout: float | None, /) -> None: ...
    def close(self) -> None: ...


class Stream:
    """The socket as paramiko sees it: reads ahead, and knows how long the other end has been silent."""

    def __init__(self, sock: Socket) -> None:
        self._sock = sock
        self._ahead = memoryview(b"")
        self._heard = time.monotonic()
        self._closed = False  # paramiko reads this name
        self.dead_after = 0.0  # seconds of silence that end the connection; 0 = never

    @property
    def silence(self) -> float:
        return time.monotonic() - self._heard

    def recv(self, size: int) -> bytes:
        if not self._ahead:
            try:
                self._ahead = memoryview(self._sock.recv(max(size, 1 << 18)))
            except TimeoutError:
                self._check()
                raise
            self._heard = time.monotonic()
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return bytes(data)

    def send(self, data: bytes) -> int:
        try:
            return self._sock.send(data)
        except TimeoutError:
            self._check()
            raise

    def _check(self) -> None:
        if self.dead_after and self.silence > self.dead_after:
            # Both arguments are needed: paramiko's thread formats them, and would die of their lack.
            raise ConnectionAbortedError(errno.ECONNABORTED, f"no sign of life for {self.silence:.0f} s")

    def settimeout(self, timeout: float | None) -> None:
        self._sock.settimeout(timeout)

    def close(self) -> None:
        self._closed = True
        if isinstance(self._sock, socket.socket):
            try:
                self._sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads
            except OSError:
                pass  # was not connected any more
        self._sock.close()


def connect_tcp(config: HostConfig, timeout: float) -> socket.socket:
    """A connected TCP socket, the first of the host's addresses that answers. Raises HostUnreachable."""
    where = config.where
    try:
        addresses = socket.getaddrinfo(config.hostname, config.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        if getattr(error, "errno", None) == socket.EAI_AGAIN:
            why = f"the name {config.hostname!r} cannot be looked up at the moment"
        else:
            why = f"the name {config.hostname!r} is not known"
        raise HostUnreachable(why, hint="Check its spelling, your network, and whether it needs a VPN.") from error
    failure: OSError = OSError("it has no address")
    for family, kind, protocol, _, address in addresses:
        try:
            return _reach((family, kind, protocol), address, timeout)
        except OSError as error:
            failure = error
    if isinstance(failure, ConnectionRefusedError):
        raise HostUnreachable(
            f"{where} refuses connections", hint="Is an SSH server running there, and is the port right?"
        ) from failure
    if isinstance(failure, TimeoutError):
        raise HostUnreachable(
            f"{where} gave no answer in {timeout:g} s",
            hint="Is the host on? Does it need a VPN, or a jump host (ProxyJump in ~/.ssh/config)?",
        ) from failure
    raise HostUnreachable(f"{where} cannot be reached: {failure.strerror or failure}") from failure


def _reach(address_kind: tuple[int, int, int], address: Any, timeout: float) -> socket.socket:
    """A socket connected to `address`. Raises OSError, TimeoutError after `timeout` seconds.

    The system repeats a first packet that is lost only after 1, 3 and 7 s; several attempts, each twice as long as the
    one before, notice sooner that a network is back.
    """
    deadline, patience = time.monotonic() + timeout, 1.0
    while True:
        sock = socket.socket(*address_kind)
        try:
            _tune(sock)
            sock.settimeout(max(0.05, min(patience, deadline - time.monotonic())))
            sock.connect(address)
        except TimeoutError:
            sock.close()
            if time.monotonic() >= deadline:
                raise
            patience *= 2
        except OSError:
            sock.close()
            raise
        else:
            return sock


def _tune(sock: socket.socket) -> None:
    """Send small frames at once; notice a dead link within seconds instead of the kernel's two hours."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    values = {
        "TCP_USER_TIMEOUT": int(USER_TIMEOUT * 1000),
        "TCP_KEEPIDLE": 5,
        "TCP_KEEPALIVE": 5,  # macOS's name for TCP_KEEPIDLE
        "TCP_KEEPINTVL": 2,
        "TCP_KEEPCNT": 3,
    }
    for name, value in values.items():
        if hasattr(socket, name):  # not every platform has all of them
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class CommandSocket:
    """The stdin and stdout of a ProxyCommand, as one real socket."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._stderr = tempfile.TemporaryFile()
        self._last_words = ""
        self._closing = threading.Lock()
        self._sock, theirs = socket.socketpair()
        # ssh_config(5): the command is for the shell, and "exec" spares one process.
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=self._stderr,
            start_new_session=True,
        )
        theirs.close()
        self.settimeout = self._sock.settimeout
        self.send = self._sock.send
        self.recv = self._sock.recv

    def failure(self) -> HostUnreachable:
        """What to say when no SSH server answered through the command."""
        self.close()
        return HostUnreachable(
            f"the ProxyCommand {self._command!r} reached no SSH server: {self._last_words or 'it said nothing'}",
            hint="Run it by hand: it should print a line that begins with SSH-2.0.",
        )

    def close(self) -> None:
        with self._closing:  # paramiko's thread and ours both close
            self._sock.close()
            if not self._stderr.closed:
                self._end()

    def _end(self) -> None:
        try:
            self._process.wait(0.2)  # it ends by itself when its input does, and may have something to say
        except subprocess.TimeoutExpired:
            self._process.terminate()
            threading.Thread(target=self._process.wait, daemon=True).start()  # no zombie stays behind
        self._stderr.seek(0)
        lines = self._stderr.read(1 << 16).decode(errors="replace").strip().splitlines()
        self._last_words = lines[-1] if lines else ""
        self._stderr.close()
