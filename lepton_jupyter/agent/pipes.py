"""A client's channel in the agent: the very pipes of its `attach`, or a socket. Runs in the agent.

`attach` passes its stdin and stdout over the agent's socket and then only waits (`pass_pipes`). A process between the
login and the agent that carried each message would wake up for it: 0.1 ms each way, and a tenth of the relay's CPU.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading

#: What the pipes travel with, since they cannot travel alone. No frame begins so: its header would be too large.
_MARK = b"\xff"


def pass_pipes(agent: socket.socket, pipes: tuple[int, int]) -> None:
    """Let the agent read and write these; return when it has let go of them."""
    socket.send_fds(agent, [_MARK], pipes)
    while agent.recv(1):
        pass


class SocketChannel:
    """A connected socket as a channel; `ahead` was read from it already."""

    def __init__(self, end: socket.socket, ahead: bytes = b"") -> None:
        self._end, self._ahead = end, ahead

    def read(self, n: int) -> bytes:
        ahead, self._ahead = self._ahead, b""
        return ahead or self._end.recv(n)

    def write(self, data: bytes) -> None:
        self._end.sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)
        self._end.close()


class PassedPipes:
    """The pipes of the `attach` at the other end of `end`; they end with that process, and it with them."""

    def __init__(self, end: socket.socket, pipes: tuple[int, int]) -> None:
        self._end, self._pipes = end, pipes
        for pipe in pipes:
            os.set_inheritable(pipe, False)
            os.set_blocking(pipe, False)
        self._closed = False
        # A number must not be closed while a thread uses it: the next file that is opened gets the same.
        self._reading, self._writing, self._state = threading.Lock(), threading.Lock(), threading.Lock()

    def read(self, n: int) -> bytes:
        with self._reading:
            while self._ready(self._pipes[0], select.POLLIN):
                with contextlib.suppress(BlockingIOError):
                    return os.read(self._pipes[0], n)
        return b""

    def write(self, data: bytes) -> None:
        with self._writing, memoryview(data) as view:
            sent = 0
            while sent < len(view):
                if self._closed:
                    raise BrokenPipeError("the channel is closed")
                try:
                    sent += os.write(self._pipes[1], view[sent:])
                except BlockingIOError:
                    if not self._ready(self._pipes[1], select.POLLOUT):
                        raise BrokenPipeError("the client is gone") from None

    def close(self) -> None:
        with self._state:
            if self._closed:
                return
            self._closed = True
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)  # wakes the threads in `_ready`
        with self._reading, self._writing:
            for pipe in self._pipes:
                os.close(pipe)
            self._end.close()

    def _ready(self, pipe: int, event: int) -> bool:
        """Wait until the pipe can move or has ended; False when `attach` is gone or the channel is closed."""
        if self._closed:
            return False
        poll = select.poll()
        poll.register(pipe, event)
        poll.register(self._end, select.POLLIN)  # `attach` sends nothing more: it can only go
        return all(fd == pipe for fd, _ in poll.poll())


def channel_of(end: socket.socket) -> SocketChannel | PassedPipes:
    """What a client that has connected is to be served over. Raises OSError when it is gone again."""
    first, pipes, _, _ = socket.recv_fds(end, 1, 2)
    if first == _MARK and len(pipes) == 2:
        return PassedPipes(end, (pipes[0], pipes[1]))
    for pipe in pipes:
        os.close(pipe)
    return SocketChannel(end, first)
