"""Names that nobody should use, and that must harm nobody: of jobs, of kernels, of folders on the host."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lepton_jupyter.errors import UnknownJob
from tests.fakes.sshd import Sshd
from tests.faults._road import agents, finish, text
from tests.faults.conftest import OpenClient

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

HOSTILE = [
    "it's \"quoted\"", "-rf", "--help", "a b  c", "two\nlines\r\n", "$(touch owned)`touch owned`;touch owned",
    "ünï ✓ 🦜", "../../../etc", "\u202egnp.exe", "%s{0}", "*", "",
]  # fmt: skip


def test_names_of_jobs_and_kernels_are_text_only(server: Sshd, tmp_path: Path, open_client: OpenClient) -> None:
    client = open_client(server)
    runs = []
    for name in HOSTILE:
        run, view = client.run(f"print({name!r})", name=name, kernel="k")
        runs.append((name, run, view))
    for name, run, view in runs:
        finish(run)
        assert run.error is None
        assert text(view.outputs) == name.replace("\r\n", "\n") + "\n" or "\r" in name
        assert client.job(run).spec.name == name
    elsewhere = open_client(server, "elsewhere", folder=tmp_path / "other")
    for name, run, view in runs:
        again, seen = elsewhere.attach(run.job_id, on="far")
        finish(again)
        assert seen.events == view.events
        if name:
            assert elsewhere.job(again).spec.name == name[:60]
    assert not list(tmp_path.rglob("owned"))


def test_each_kernel_name_is_one_kernel(server: Sshd, open_client: OpenClient) -> None:
    client = open_client(server)
    names = ["it's", "its", "-rf", "a\nb"]
    for name in names:
        client.done(f"mine = {name!r}", kernel=name)
    for name in names:
        assert text(client.done("print(repr(mine))", kernel=name).outputs) == f"{name!r}\n"
    assert len(agents(server.root)) == len(names)


@pytest.mark.parametrize("folder", ['it\'s "$(touch owned)`touch owned`"', "-rf", "ü✓🦜 b\nc", "l" * 150])
def test_a_root_folder_of_any_name(folder: str, server: Sshd, tmp_path: Path, open_client: OpenClient) -> None:
    root = tmp_path / "roots" / folder / ".lepton"
    client = open_client(server, root=str(root))
    run, view = client.run("print('here')")
    finish(run)
    assert run.error is None
    assert text(view.outputs) == "here\n"
    assert list(root.glob("jobs/*/journal"))
    (about,) = root.glob("kernels/*/kernel.json")
    sockets = Path(json.loads(about.read_text())["sockets"])
    assert len(os.fsencode(sockets / "agent.sock")) < 104, "a longer path is none for a socket"
    again, seen = client.attach(run.job_id)
    finish(again)
    assert seen.events == view.events
    target = client.dispatcher.target("far")
    target.stop(client.job(run).native_id)
    assert sockets == about.parent or not sockets.exists(), "the short folder goes with the kernel"
    assert not list(tmp_path.rglob("owned"))


@pytest.mark.parametrize("job_id", ["../../etc/passwd", "-rf", "", "a b", "x" * 500, "zzzz\nzzzz"])
def test_an_id_that_cannot_be_one(job_id: str, sshd: Sshd, open_client: OpenClient) -> None:
    client = open_client(sshd)
    client.done("1")
    with pytest.raises(UnknownJob):
        client.attach(job_id + "!", on="far")
