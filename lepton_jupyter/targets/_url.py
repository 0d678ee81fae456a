"""From a target's URL and options to the target: one road for ``%lepton_target add`` and for the sidebar's form.

Runs in the notebook's kernel and the server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from .. import registry
from ..config import LOCAL, nearest
from ..errors import ConfigError
from ._base import Target
from ._options import check_options, typed_options


def kind_of(url: str) -> str:
    """The kind of target that `url` means: its scheme. Raises ConfigError."""
    scheme, mark, _ = url.partition("://")
    kinds = registry.names("targets")
    if not mark and url == LOCAL:
        return LOCAL
    if not mark:
        raise ConfigError(f"{url!r} is no URL of a target", hint=f"For a host behind SSH, write: ssh://{url}")
    if scheme not in kinds:
        raise ConfigError(f"no target is of the kind {scheme!r}", hint=nearest(scheme, kinds))
    return scheme


def new_target(
    name: str, url: str, options: Mapping[str, Any], prompt: Callable[[str, bool], str], where: str
) -> tuple[dict[str, Any], Target]:
    """The options as ``lepton.toml`` keeps them, and the target they make; nothing is saved, and no host is asked.

    Raises ConfigError, begun with `where`, for an option or a value that the kind of target does not know.
    """
    plugin = registry.load("targets", kind_of(url))
    typed = typed_options(plugin.Config, {**plugin.options_from_url(url), **options}, where)
    return typed, cast(Target, plugin(name, check_options(plugin.Config, typed, where), prompt))
