"""A connection that is cut while it logs in: never taken for a login that was refused, which nobody would try again."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lepton_jupyter.errors import HostUnreachable
from lepton_jupyter.targets._base import Process
from lepton_jupyter.targets._ssh import SSHHost
from tests.fakes.hosts import Asked, output
from tests.fakes.sshd import Sshd


class Scissors:
    """Relays to a server and cuts each of the first `cuts` connections after `limit` bytes from the client."""

    def __init__(self, server: Sshd, limit: int, cuts: int) -> None:
        self._server, self._limit, self._cuts = server, limit, cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.used = 0
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                limit = self._limit if self.used < self._cuts else 1 << 60
                self.used += 1
                self._threads.append(threading.Thread(target=self._serve, args=(client, limit)))
                self._threads[-1].start()

    def _serve(self, client: socket.socket, limit: int) -> None:
        with client, socket.create_connection((self._server.address, self._server.port)) as server:
            back = threading.Thread(target=self._relay, args=(server, client, 1 << 60))
            back.start()
            self._relay(client, server, limit)
            back.join()

    def _relay(self, source: socket.socket, sink: socket.socket, limit: int) -> None:
        with contextlib.suppress(OSError):
            while limit and (data := source.recv(min(1 << 16, limit))):
                sink.sendall(data)
                limit -= len(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()


def started(sshd: Sshd, scissors: Scissors, folder: Path) -> Iterator[Process]:
    config = sshd.config_for(folder, port=scissors.port)
    host = SSHHost(sshd.alias, prompt=Asked(), known_hosts=folder / "own", config_file=config)
    try:
        yield host.start(["echo", "it works"])
    finally:
        host.close()
        scissors.close()


@pytest.mark.slow
@pytest.mark.parametrize("cuts", [1, 2, 1000])
def test_a_cut_in_the_login_is_no_refusal(cuts: int, sshd: Sshd, tmp_path: Path) -> None:
    """Cut after every so many bytes: in the greeting, the key exchange, the login, and at the first command."""
    reached = []
    for limit in range(200, 3400, 200):
        scissors = Scissors(sshd, limit, cuts)
        try:
            for process in started(sshd, scissors, tmp_path / f"{limit}"):
                assert output(process) == "it works\n"
                reached.append(limit)
        except HostUnreachable as error:
            assert error.transient
    if cuts == 1:
        assert reached, "a single cut in the login is mended at once"
