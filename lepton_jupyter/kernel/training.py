"""How a cell shall train, as the flags of its magic say: put around it while it runs. In the remote kernel.

The options are the part ``training`` of its cargo: ``precision``, ``compile``, ``gradients``, ``resume``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any


@contextmanager
def trained(options: Mapping[str, Any], tell: Callable[[str], None]) -> Iterator[None]:
    """Within: training goes as `options` say; `tell` shows the user one line. Raises LeptonError before the cell."""
    with ExitStack() as stack:
        if options.get("precision") or options.get("compile"):
            from ..ml import precision

            mode, compiler = options.get("precision") or "fp32", options.get("compile") or "off"
            stack.enter_context(precision.around(mode, compiler, tell))
        if options.get("gradients", "off") != "off":
            from ..ml import gradients

            stack.enter_context(gradients.around(options["gradients"], tell))
        yield
