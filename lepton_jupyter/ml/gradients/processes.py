"""Whether the processes that train together have the same gradients, so that each may judge them by itself.

DistributedDataParallel gives all of them the mean. Of sharded weights (FSDP, DTensor, ZeroRedundancyOptimizer) each
process sees a part, and would cut it to another length than its neighbours. In the kernel.
"""

from __future__ import annotations

import gc
from typing import Any

from torch import distributed


def alike(optimizer: Any) -> bool:
    """Whether all processes make the same step of `optimizer`. Looks through all objects where there are several."""
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() < 2:
        return True
    from torch.nn.parallel import DistributedDataParallel

    shared: set[int] = set()
    for each in gc.get_objects():
        kind = type(each)
        if issubclass(kind, DistributedDataParallel):
            shared |= {id(parameter) for parameter in each.parameters()}
        elif kind.__name__ == "ZeroRedundancyOptimizer" and getattr(each, "optim", None) is optimizer:
            return False
    trained = [each for group in optimizer.param_groups for each in group["params"]]
    return all(id(each) in shared for each in trained)
