"""What most fault tests begin with: a host of their own, and clients whose cells run there. In the test process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.sshd import MakeSshd, Sshd
from tests.faults._road import Client, end_kernels, far

OpenClient = Callable[..., Client]


@pytest.fixture
def server(make_sshd: MakeSshd) -> Iterator[Sshd]:
    """A server of the test's own, whose kernels end with the test."""
    server = make_sshd()
    yield server
    end_kernels(server.root)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder on the host in which cells run."""
    return tmp_path / "place"


@pytest.fixture
def open_client(tmp_path: Path, place: Path) -> Iterator[OpenClient]:
    """A function that opens a client of a host, which it knows as the target `on`; all are closed with the test."""
    clients: list[Client] = []

    def open_client(sshd: Sshd, name: str = "client", *, on: str = "far", **options: Any) -> Client:
        clients.append(Client(tmp_path / name, {on: far(sshd, options.pop("folder", place), **options)}))
        return clients[-1]

    yield open_client
    for client in clients:
        client.close()
