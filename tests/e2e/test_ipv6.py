"""A host that has an IPv6 address: by a URL with brackets, by that address, and by its alias in ~/.ssh/config."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lepton_jupyter.targets.ssh import SSHTarget
from tests.fakes.notebook import LiveNotebook
from tests.fakes.sshd import MakeSshd, Sshd, free_port
from tests.faults._road import end_kernels


def _loopback() -> str:
    with socket.socket(socket.AF_INET6) if socket.has_ipv6 else socket.socket() as end:
        try:
            end.bind(("::1", 0))
        except (OSError, TypeError):
            return "127.0.0.1"
    return "::1"


#: A machine without IPv6 has the rest tested, and the test's name says so.
LOOPBACK = _loopback()


@pytest.fixture(params=[LOOPBACK])
def server(request: pytest.FixtureRequest, make_sshd: MakeSshd) -> Iterator[Sshd]:
    server = make_sshd(address=request.param)
    yield server
    end_kernels(server.root)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_cells_run_on_a_host_with_an_ipv6_address(server: Sshd, notebook: LiveNotebook, tmp_path: Path) -> None:
    # An address that is typed in finds its key and its known_hosts file in a block of ssh_config, like an alias.
    by_address = server.config_block(tmp_path / "known_hosts", alias=server.address)
    by_alias = server.config_block(tmp_path / "known_hosts")
    (tmp_path / "known_hosts").write_text(server.known_hosts_lines())
    (tmp_path / "ssh_config").write_text(f"{by_address}\n{by_alias}")
    options = f"--ssh-config {tmp_path / 'ssh_config'} --python {sys.executable} --root {server.root}"
    names = {"url": server.url, "alias": f"ssh://{server.alias}"}
    for name, url in names.items():
        assert notebook.text(f"%lepton_target add {name} {url} {options}").startswith(f"Added {name}")
    assert f"host = {server.url.removeprefix('ssh://')}" in notebook.text("%lepton_target list")
    cell = "import os\nprint(os.environ['SSH_CONNECTION'].split()[2:])"
    for name in names:
        assert notebook.text(f"%%lepton_train --on {name}\n{cell}") == f"['{server.address}', '{server.port}']\n"
    assert "round trip" in notebook.text("%lepton_target test url")
    gone = server.url.replace(str(server.port), str(free_port()))
    notebook.run(f"%lepton_target add gone {gone} {options}")
    place = gone.rpartition("@")[2]
    assert f"{place} refuses connections" in notebook.failure("%%lepton_train --on gone\n1")


@pytest.mark.parametrize(
    "url", ["ssh://ann@[::1]:2222", "ssh://[2001:db8::7]", "ssh://ann@[fe80::1%25eth0]:22", "ssh://[::1]:2222/"]
)
def test_brackets_around_an_address_are_kept(url: str) -> None:
    host = url.removeprefix("ssh://").rstrip("/").replace("%25", "%")
    assert SSHTarget.options_from_url(url) == {"host": host}
