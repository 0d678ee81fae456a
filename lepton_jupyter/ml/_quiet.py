"""Silence around exporters and compilers, whose prints and warnings about their own insides a notebook can't use.

Runs in the kernel that holds the model.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within: no warnings, no log, nothing printed (PyTorch prints whole graphs). Exceptions come through."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        away = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(away), contextlib.redirect_stderr(away):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
