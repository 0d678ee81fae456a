"""A login that ends, where systemd would end our processes with it. systemd's programs are played by small scripts.

They write down what they were asked and, like the real ones, run what they were given; all else is real.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lepton_jupyter.job import JobState
from tests.fakes.sshd import MakeSshd
from tests.faults._road import Client, agents, end_kernels, far, finish, text, until
from tests.faults.test_hosts import program

SCOPE = "systemd-run --user --scope --quiet --collect "
WARNING = "ends your processes when you log out"
Login = Callable[..., tuple[Client, Callable[[], list[str]]]]


@pytest.fixture
def login(make_sshd: MakeSshd, tmp_path: Path, home: Path) -> Iterator[Login]:
    """A function that makes a client of a host whose systemd is as told, and one that tells what it was asked."""
    roots: list[Path] = []

    def make(*, kills: str, linger: int = 0, manager: int = 0) -> tuple[Client, Callable[[], list[str]]]:
        bin_folder, asked = tmp_path / "bin", tmp_path / "asked"
        note = f'echo "$(basename $0) $*" >> {asked}'
        program(bin_folder / "busctl", note, f"echo {kills}")
        program(bin_folder / "loginctl", note, f"exit {linger}")
        program(bin_folder / "systemd-run", note, f"[ {manager} = 0 ] || exit {manager}", "shift 4", 'exec "$@"')
        names = {"HOME": tmp_path / "sshd0" / "home", "LEPTON_TEST_HOME": home}
        names["PATH"] = f"{bin_folder}:{os.environ['PATH']}"  # type: ignore[assignment]
        server = make_sshd("SetEnv " + " ".join(f'"{name}={value}"' for name, value in names.items()))
        roots.append(server.root)
        client = Client(tmp_path / "client", {"far": far(server, tmp_path / "place")})
        return client, lambda: asked.read_text().splitlines()

    yield make
    for root in roots:
        end_kernels(root)


@pytest.mark.slow
def test_the_agent_runs_under_the_users_manager_where_a_logout_would_end_it(login: Login) -> None:
    client, asked = login(kills="b true")
    view = client.done("print('here')")
    assert text(view.outputs) == "here\n"
    assert asked()[0].startswith("busctl get-property org.freedesktop.login1")
    assert asked()[1:3] == ["loginctl enable-linger", SCOPE + "true"]
    assert asked()[3].startswith(SCOPE)
    assert " serve " in asked()[3]
    assert not any(WARNING in notice for notice in view.notices)
    client.close()


@pytest.mark.slow
@pytest.mark.parametrize("refusal", [{"linger": 1}, {"manager": 1}], ids=["linger not allowed", "no service manager"])
def test_where_that_cannot_be_had_it_is_said_and_the_cell_runs(refusal: dict[str, int], login: Login) -> None:
    client, asked = login(kills="b true", **refusal)
    view = client.done("print('here')")
    assert text(view.outputs) == "here\n"
    assert any(WARNING in notice and "loginctl enable-linger" in notice for notice in view.notices)
    assert not any(" serve " in line for line in asked())
    client.close()


@pytest.mark.slow
def test_elsewhere_systemd_is_left_alone_and_a_logout_ends_nothing(login: Login, tmp_path: Path) -> None:
    client, asked = login(kills="b false")
    run, _ = client.run("import os, time\nwhile not os.path.exists('go'): time.sleep(0.05)\nprint('outlived it')")
    assert [line.split()[0] for line in asked()] == ["busctl"]
    client.close()
    root = tmp_path / "sshd0" / "home" / "lepton-root"
    (agent,) = agents(root)
    assert os.getsid(agent.pid) == agent.pid, "a session of its own"
    again = Client(tmp_path / "client", {"far": far_again(client)})
    attached, view = again.attach(run.job_id)
    (tmp_path / "place" / "go").touch()
    finish(attached)
    assert text(view.outputs) == "outlived it\n"
    until(lambda: again.job(attached).state is JobState.COMPLETED, "the store knows", 60)
    again.close()


def far_again(client: Client) -> dict[str, object]:
    """The options of the target of a client that is closed."""
    return dict(client.dispatcher.config.target("far").options, kind="ssh")
