"""What the ways to narrow a model have in common, whatever its framework.

Runs in the kernel that holds the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from ...errors import ConfigError
from ..frameworks._base import Array


class Narrow(Protocol):
    """A framework's part, `narrow` in the module `_narrowing_<framework>`."""

    def __call__(
        self, model: Any, inputs: tuple[Array, ...], *, keep: float, steps: int, multiple: int, fixed: tuple[str, ...]
    ) -> Iterator[Any]:
        """A copy of the model (always the same one, or a new one each time) after each of the steps.

        Who asks for the next one may have trained the last. Raises ConfigError for what can't be narrowed, and says at
        what it failed.
        """


def stuck(error: Exception) -> ConfigError:
    """For what a model's own code raises once its widths have changed."""
    return ConfigError(
        f"the model's layers can't be narrowed together: {type(error).__name__}: {error}",
        hint="Shapes fixed by numbers in the model's code are the usual reason: take them from x.shape; or keep the "
        "layers around the place at their width with fixed=.",
    )
