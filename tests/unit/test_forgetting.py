"""What a launch removes from a host: sockets of killed agents, and nothing that could be anybody else's."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lepton_jupyter.agent.storage import Alive, forget_old, private_folder, write_json

Leave = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path) -> str:
    return private_folder(str(tmp_path / "root"))


@pytest.fixture
def leave(root: str) -> Iterator[Leave]:
    """Leaves a kernel that ended long ago and did not clean up; returns the short folder of its sockets."""
    ends: list[socket.socket] = []

    def leave(kernel: str = "dead1", prefix: str = "lepton-", **about: str) -> Path:
        folder = private_folder(os.path.join(root, "kernels", kernel))
        sockets = Path(tempfile.mkdtemp(prefix=prefix))
        for name in ("agent.sock", "k-1"):
            ends.append(socket.socket(socket.AF_UNIX))
            ends[-1].bind(str(sockets / name))
        write_json(
            os.path.join(folder, "kernel.json"), {"host": socket.gethostname(), "sockets": str(sockets), **about}
        )
        Path(folder, "alive").touch()
        os.utime(Path(folder, "alive"), (0, 0))
        return sockets

    yield leave
    for end in ends:
        end.close()


def test_the_sockets_of_a_killed_agent_are_removed(root: str, leave: Leave) -> None:
    sockets = leave()
    forget_old(root)
    assert not sockets.exists()
    assert Path(root, "kernels", "dead1", "kernel.json").exists(), "its jobs can be looked at for a month"
    forget_old(root)


def test_the_sockets_of_a_living_agent_stay(root: str, leave: Leave) -> None:
    sockets, alive = leave(), Alive(os.path.join(root, "kernels", "dead1"))
    assert alive.take()
    forget_old(root)
    assert sorted(path.name for path in sockets.iterdir()) == ["agent.sock", "k-1"]
    alive.free()


def test_an_agent_that_is_just_starting_keeps_its_sockets(root: str, leave: Leave) -> None:
    for kernel, lock in (("fresh1", True), ("fresh2", False)):
        sockets = leave(kernel)
        alive = Path(root, "kernels", kernel, "alive")
        alive.touch() if lock else alive.unlink()
        forget_old(root)
        assert sockets.exists()


def test_what_is_not_surely_ours_stays(root: str, leave: Leave, tmp_path: Path) -> None:
    foreign_name, other_host = leave("dead2", prefix="other-"), leave("dead3", host="elsewhere")
    with_a_file, open_to_all = leave("dead4"), leave("dead5")
    (with_a_file / "notes.txt").write_text("mine")
    open_to_all.chmod(0o755)
    target, given_away = leave("dead6"), leave("dead7")
    if os.geteuid() == 0:  # nobody else can give a folder away
        os.chown(given_away, 65534, 65534)
    else:
        given_away.chmod(0o750)
    link = tmp_path / "lepton-link"
    link.symlink_to(target)
    write_json(
        os.path.join(root, "kernels", "dead6", "kernel.json"), {"host": socket.gethostname(), "sockets": str(link)}
    )
    forget_old(root)
    for folder in (foreign_name, other_host, with_a_file, open_to_all, target, given_away):
        assert (folder / "agent.sock").exists()
    assert link.is_symlink()


def test_a_folder_that_is_being_made_or_removed_disturbs_nobody(tmp_path: Path) -> None:
    """Agents start side by side, and each looks for what is old."""
    folder, root = tmp_path / "kernels" / "new", str(tmp_path)
    folder.mkdir(parents=True)
    forget_old(root)
    assert folder.is_dir()  # its first file is on its way
    failures, stop = list[Exception](), threading.Event()

    def churn() -> None:
        while not stop.is_set():
            write_json(str(folder / "kernel.json"), {"host": "elsewhere"})
            (folder / "kernel.json").unlink()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(300):
            forget_old(root)
    except OSError as error:
        failures.append(error)
    finally:
        stop.set()
        thread.join()
    assert failures == []
