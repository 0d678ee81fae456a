"""Hosts under test, and short ways to use them. Runs in the test process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lepton_jupyter.errors import LeptonError
from lepton_jupyter.targets._base import Process
from lepton_jupyter.targets._ssh import SSHHost


class Asked:
    """Answers questions from a list and remembers what was asked; with none left, nobody is there to ask."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.questions: list[str] = []

    def __call__(self, question: str, secret: bool) -> str:
        assert secret
        if not self.answers:
            raise LeptonError("nobody can be asked here")
        self.questions.append(question)
        return self.answers.pop(0)


MakeHost = Callable[..., SSHHost]


@pytest.fixture
def make_host(tmp_path: Path) -> Iterator[MakeHost]:
    """A function that makes hosts; they are closed with the test."""
    hosts: list[SSHHost] = []

    def make(address: str, config: Path | None, asked: Asked | None = None, **options: object) -> SSHHost:
        own = tmp_path / "lepton" / "known_hosts"
        host = SSHHost(address, prompt=asked or Asked(), known_hosts=own, config_file=config, **options)  # type: ignore[arg-type]
        hosts.append(host)
        return host

    yield make
    for host in hosts:
        host.close()


def output(process: Process) -> str:
    data = bytearray()
    while part := process.read(1 << 16):
        data += part
    process.wait(10)  # closing first would leave the status unknown
    process.close()
    return data.decode()


def works(host: SSHHost) -> bool:
    return output(host.start(["echo", "it works"])) == "it works\n"


def echo_back(host: SSHHost, data: bytes) -> None:
    process = host.start(["cat"])
    writer = threading.Thread(target=process.write, args=(data,))
    writer.start()
    got = bytearray()
    while len(got) < len(data):
        part = process.read(1 << 16)
        assert part, "the channel ended early"
        got += part
    writer.join()
    assert got == data
    process.close()
