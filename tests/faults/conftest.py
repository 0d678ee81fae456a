"""What most fault tests begin with: a host of their own, and clients whose cells run there. In the test process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lepton_jupyter.blobs import BlobStore
from lepton_jupyter.client import AgentClient
from lepton_jupyter.job import Resources
from lepton_jupyter.targets._base import READER
from tests.fakes.sshd import MakeSshd, Sshd
from tests.faults._data import OpenLink
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


@pytest.fixture
def open_link(tmp_path: Path) -> Iterator[OpenLink]:
    """A function that opens a link to the files on a host, or to a new `kernel` there; all end with the test."""
    clients: list[Client] = []
    links: list[AgentClient] = []

    def open_link(sshd: Sshd | None = None, *, kernel: bool = False, **options: Any) -> AgentClient:
        here = {"kind": "local", "python": sys.executable, "root": str(tmp_path / "host"), **options}
        target = here if sshd is None else far(sshd, tmp_path / "place", **options)
        clients.append(Client(tmp_path / f"client{len(clients)}", {"far": target}))
        place = clients[-1].dispatcher.target("far")
        native_id = place.launch(Resources(), lambda words: None) if kernel else READER
        links.append(AgentClient(lambda: place.open(native_id), lambda event: None, lambda link, words: None))
        return links[-1]

    yield open_link
    end_kernels(tmp_path / "host")
    for link in links:
        link.close()
    for client in clients:
        client.close()


@pytest.fixture
def mine(tmp_path: Path) -> BlobStore:
    return BlobStore(str(tmp_path / "mine"))


@pytest.fixture
def host(tmp_path: Path) -> BlobStore:
    """The store of the host on this machine, as `open_link()` reaches it."""
    return BlobStore(str(tmp_path / "host" / "blobs"))
