"""What an agent serves a client over: the pipes of its `attach`, which end together with it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lepton_jupyter.agent.pipes import PassedPipes, SocketChannel, channel_of, pass_pipes


@dataclass
class Login:
    """An `attach` with pipes to a login, and what the agent made of them."""

    down: int  # what the login writes requests to
    up: int  # what it reads answers from
    attach: socket.socket
    thread: threading.Thread
    channel: PassedPipes


@pytest.fixture
def login() -> Iterator[Login]:
    near, far = socket.socketpair()
    stdin, down = os.pipe()
    up, stdout = os.pipe()

    def attach() -> None:
        pass_pipes(near, (stdin, stdout))
        os.close(stdin)
        os.close(stdout)

    thread = threading.Thread(target=attach)
    thread.start()
    channel = channel_of(far)
    assert isinstance(channel, PassedPipes)
    found = Login(down, up, near, thread, channel)
    yield found
    channel.close()
    thread.join(10)
    for pipe in (down, up):
        os.close(pipe)
    near.close()


def test_bytes_go_both_ways_and_attach_goes_when_the_agent_lets_go(login: Login) -> None:
    os.write(login.down, b"ping")
    assert login.channel.read(100) == b"ping"
    login.channel.write(b"pong")
    assert os.read(login.up, 100) == b"pong"
    login.channel.close()
    login.thread.join(10)
    assert os.read(login.up, 100) == b"", "nobody has the pipe any more"
    assert login.channel.read(100) == b""
    with pytest.raises(BrokenPipeError):
        login.channel.write(b"late")


def test_an_attach_that_is_killed_ends_the_channel(login: Login) -> None:
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(login.channel.read(100)))
    reader.start()
    login.attach.shutdown(socket.SHUT_RDWR)
    reader.join(10)
    assert read == [b""]


def test_a_writer_that_waits_for_a_login_that_hangs_is_freed_by_closing(login: Login) -> None:
    failed = threading.Event()

    def write() -> None:
        with pytest.raises(BrokenPipeError):
            login.channel.write(b"x" * (4 << 20))  # more than a pipe holds
        failed.set()

    threading.Thread(target=write, daemon=True).start()
    assert os.read(login.up, 1) == b"x"  # it has begun
    assert not failed.wait(0.2)
    login.channel.close()
    assert failed.wait(10)


def test_what_comes_without_pipes_is_served_over_the_socket_with_its_first_byte() -> None:
    near, far = socket.socketpair()
    near.sendall(b"\0\0frame")
    channel = channel_of(far)
    assert isinstance(channel, SocketChannel)
    assert channel.read(1) + channel.read(100) == b"\0\0frame"
    channel.close()
    near.close()
