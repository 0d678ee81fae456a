"""Random numbers that are the same each time, and the user's own left where they were.

Runs in the kernel that holds the model: what a notebook draws after a compression is what it would have drawn without.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within: dropout, augmentation and the like draw what `seed` gives, from Python's, numpy's and PyTorch's numbers.

    A framework that is not imported yet draws nothing. Keras' layers draw from a state of their own.
    """
    python, legacy = random.getstate(), np.random.get_state()
    torch = sys.modules.get("torch")
    with ExitStack() as stack:
        if torch is not None:
            devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
            stack.enter_context(torch.random.fork_rng(devices=devices))
            torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % (1 << 32))
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)
