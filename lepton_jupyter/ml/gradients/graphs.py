"""What lies behind a loss, as PyTorch's graph says."""

from __future__ import annotations

from typing import Any


def leaves_of(tensors: Any, stop: frozenset[Any] = frozenset()) -> set[Any]:
    """The leaf tensors that backward from `tensors` would give gradients to; graph nodes in `stop` are not passed."""
    leaves = {each for each in tensors if each.grad_fn is None and each.requires_grad}
    waiting, seen = [each.grad_fn for each in tensors if each.grad_fn is not None], set(stop)
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves.add(node.variable)
        waiting += [each for each, _ in node.next_functions if each is not None]
    return leaves
