"""This machine, as if it were a remote one: the same agent, the same wire, only the connection is a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..config import state_dir
from ..errors import ConfigError
from ._agent import AgentConfig, AgentTarget
from ._host import LocalHost


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalConfig(AgentConfig):
    """`root` is in the state folder and `cwd` is the notebook's folder unless they are given."""

    root: str = ""


class LocalTarget(AgentTarget):
    """Kernels on this machine, with the notebook's own Python unless `python` names another."""

    Config = LocalConfig
    #: A kernel on this machine that is idle when its notebook's kernel ends is stopped with it.
    ends_with_notebook = True

    def __init__(self, name: str, config: LocalConfig, prompt: Callable[[str, bool], str]) -> None:
        root = config.root or str(state_dir() / "host")
        settled = replace(config, root=root, cwd=config.cwd or os.getcwd())
        super().__init__(name, settled, LocalHost(), interpreter=sys.executable)

    @classmethod
    def options_from_url(cls, url: str) -> dict[str, Any]:
        """`local://` has no options in its URL. Raises ConfigError when there is something behind it."""
        if url.rstrip("/") not in ("local:", "local"):
            raise ConfigError(f"{url!r} is no URL of this machine", hint="Write local://")
        return {}


PLUGIN = LocalTarget
