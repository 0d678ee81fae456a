"""What the tests of wishes ask. Runs in the test process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lepton_jupyter.data.environment import EnvSpec, wanted
from lepton_jupyter.errors import ConfigError

#: Writes a notebook with these code cells.
MakeNotebook = Callable[..., Path]
#: Puts a shell script of this name and text on the PATH.
Program = Callable[[str, str], Path]


def spec(*args: object, **options: object) -> EnvSpec:
    found = wanted(*args, **options)  # type: ignore[arg-type]
    assert found is not None
    return found


def refused(*args: object, **options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        wanted(*args, **options)  # type: ignore[arg-type]
    return str(caught.value)
