"""The suite that every target passes, on the targets we ship."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lepton_jupyter.config import Config
from lepton_jupyter.registry import load, names
from lepton_jupyter.remote import Dispatcher, no_prompt
from lepton_jupyter.store import JobStore
from lepton_jupyter.targets._base import Target
from lepton_jupyter.testing import TargetContract
from tests.fakes.sshd import Sshd

pytestmark = pytest.mark.slow


class TestLocal(TargetContract):
    """Kernels on this machine."""

    @pytest.fixture
    def make_target(self, tmp_path: Path) -> Callable[[], Target]:
        plugin = load("targets", "local")
        config = plugin.Config(root=str(tmp_path / "root"), cwd=str(tmp_path))
        return lambda: plugin("here", config, no_prompt)


class TestSsh(TargetContract):
    """Kernels behind a real sshd."""

    @pytest.fixture
    def make_target(self, sshd: Sshd) -> Callable[[], Target]:
        plugin = load("targets", "ssh")
        config = plugin.Config(host=sshd.alias, ssh_config=str(sshd.config), python=sys.executable, root=str(sshd.root))
        return lambda: plugin("far", config, no_prompt)


def test_every_target_we_ship_is_held_to_the_contract() -> None:
    assert names("targets") == ["local", "ssh"]


@pytest.mark.parametrize(
    ("kind", "url", "options"),
    [("local", "local://", {}), ("ssh", "ssh://ann@gpu1:2222", {"host": "ann@gpu1:2222"})],
)
def test_a_url_gives_options_that_make_a_target(kind: str, url: str, options: dict[str, str], tmp_path: Path) -> None:
    """Without any connection: that is for the first verb."""
    assert load("targets", kind).options_from_url(url) == options
    config = tmp_path / "lepton.toml"
    lines = "".join(f'{key} = "{value}"\n' for key, value in options.items())
    config.write_text(f'[targets.there]\nkind = "{kind}"\n{lines}')
    dispatcher = Dispatcher(Config.load(config), JobStore(":memory:"))
    assert dispatcher.target("there").name == "there"
    dispatcher.close()
