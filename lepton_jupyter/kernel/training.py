"""How a cell shall train, as the flags of its magic say: put around it while it runs. In the remote kernel.

The options are the part ``training`` of its cargo: ``precision``, ``compile``, ``gradients``, ``resume``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from ..errors import CellUnfit


@contextmanager
def trained(options: Mapping[str, Any], tell: Callable[[str], None]) -> Iterator[None]:
    """Within: training goes as `options` say; `tell` shows the user one line. Raises LeptonError before the cell."""
    mode, compiler = options.get("precision") or "fp32", options.get("compile") or "off"
    gradients = options.get("gradients") or "off"
    if (mode, compiler, gradients) != ("fp32", "off", "off") and sys.version_info < (3, 10):
        version = ".".join(map(str, sys.version_info[:2]))
        raise CellUnfit(
            f"--precision, --compile and --gradients need Python 3.10, this host's kernel has {version}",
            hint="Run the cell without them, or give the target another `python`.",
        )
    with _arrivals_aside(), ExitStack() as stack:
        if (mode, compiler) != ("fp32", "off"):
            from ..ml import precision

            stack.enter_context(precision.around(mode, compiler, tell))
        if gradients != "off":
            from ..ml import gradients as looked_after

            stack.enter_context(looked_after.around(gradients, tell))
        yield


@contextmanager
def _arrivals_aside() -> Iterator[None]:
    """After it, nobody waits for frameworks any more that the cell did not import: cells and trials are many."""
    from ..ml.metrics._arrivals import _Arrival

    before = {id(finder) for finder in sys.meta_path}
    try:
        yield
    finally:
        sys.meta_path[:] = [
            finder for finder in sys.meta_path if id(finder) in before or not isinstance(finder, _Arrival)
        ]
