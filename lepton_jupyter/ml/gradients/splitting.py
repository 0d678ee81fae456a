"""One module call in several parts of its batch, with the whole batch's gradients. In the kernel.

The parts' outputs are put together without keeping what a backward needs; the user's loss sees the whole batch, so it
may be any loss, a contrastive one too. When backward comes to the outputs, each part runs forward again and backward
with its own piece of their gradient (Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory
Limited Setup", arXiv:2101.06983). Only one part's activations are there at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..rerunning import buffers_aside, near, still
from .again import Moment, device_of


def batch_of(args: Any, keywords: Any) -> int:
    """The size that all tensors among the arguments have in front; 0 if they have none in common."""
    sizes = {each.shape[0] if each.dim() else 0 for each in tensors(args) + tensors(keywords)}
    return int(sizes.pop()) if len(sizes) == 1 else 0


def obstacle(module: Any, args: Any, keywords: Any) -> str:
    """Why a call cannot be made in parts; '' if it can. Tries it on the first two examples."""
    count = batch_of(args, keywords)
    if count < 2:
        return "there is no batch in front of all its arguments, or one of a single example"
    for part in module.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm) and part.training:
            return f"{type(part).__name__} takes its statistics from the whole batch"
    moment = Moment(device_of(module))
    try:
        with torch.no_grad(), still([module]), buffers_aside(module):
            whole, one, two = (
                tensors(module(*cut(args, rows), **cut(keywords, rows)))
                for rows in (slice(0, 2), slice(0, 1), slice(1, 2))
            )
        if not all(
            near(both, torch.cat([first, second])) for both, first, second in zip(whole, one, two, strict=False)
        ):
            return "its answer for one example depends on the others"
    except (RuntimeError, TypeError, IndexError) as error:
        return f"it does not take a part of its batch ({(str(error) or type(error).__name__).splitlines()[0][:80]})"
    finally:
        moment.rewind()
    return ""


def call(module: Any, args: Any, keywords: Any, parts: Callable[[], int], smaller: Callable[[Exception], None]) -> Any:
    """The output of `module`, made in `parts()` parts; when memory runs out in backward, `smaller` makes it more.

    Raises what the module raises, and what `smaller` does.
    """
    count = batch_of(args, keywords)
    moments: list[tuple[slice, Moment]] = []
    pieces = []
    with torch.no_grad():
        for rows in slices(count, parts()):
            moments.append((rows, Moment(device_of(module))))
            pieces.append(module(*cut(args, rows), **cut(keywords, rows)))
    outputs = [torch.cat(same) for same in zip(*map(tensors, pieces), strict=False)]
    trained = [each for each in module.parameters() if each.requires_grad]
    given = [each for each in tensors(args) + tensors(keywords) if each.requires_grad]
    work = _Work(module, args, keywords, moments, trained, given, parts, smaller)
    made = iter(_Split.apply(work, len(trained) + len(given), *trained, *given, *outputs))
    return filled(pieces[0], made)


class _Work:
    """What the backward of a call in parts needs."""

    def __init__(self, *known: Any) -> None:
        self.module, self.args, self.keywords, self.moments, self.trained, self.given, self.parts, self.smaller = known

    def gradients(self, slopes: Any) -> list[Any]:
        """For trained parameters and given tensors. Nothing is changed if memory runs out."""
        while True:
            try:
                return self._gradients(slopes)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                failed = error.with_traceback(None)
            self.smaller(failed)

    def _gradients(self, slopes: Any) -> list[Any]:
        sums: list[Any] = [None] * len(self.trained)
        of_given: list[list[Any]] = [[] for _ in self.given]
        count = batch_of(self.args, self.keywords)
        moments = self.moments
        if len(moments) < self.parts():  # in smaller parts than forward was: random numbers begin with those of a part
            moments = [(rows, _containing(self.moments, rows)) for rows in slices(count, self.parts())]
        for rows, moment in moments:
            with moment.again(), buffers_aside(self.module):
                args, fresh = _leaves(cut(self.args, rows))
                keywords, more = _leaves(cut(self.keywords, rows))
                outputs = tensors(self.module(*args, **keywords))
                pairs = [
                    (o, s[rows]) for o, s in zip(outputs, slopes, strict=False) if s is not None and o.requires_grad
                ]
                found = torch.autograd.grad(
                    [o for o, _ in pairs], [*self.trained, *fresh, *more], [s for _, s in pairs], allow_unused=True
                )
            for place, each in enumerate(found[: len(sums)]):
                if each is not None:
                    sums[place] = each if sums[place] is None else sums[place] + each
            for place, each in enumerate(found[len(sums) :]):
                of_given[place].append(each)
        return sums + [None if any(each is None for each in one) else torch.cat(one) for one in of_given]


class _Split(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, work: _Work, sources: int, *values: Any) -> Any:
        ctx.work, ctx.sources = work, sources
        ctx.set_materialize_grads(False)
        outputs = values[sources:]
        ctx.mark_non_differentiable(*(each for each in outputs if not each.is_floating_point()))
        return tuple(each.view_as(each) for each in outputs)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *slopes: Any) -> Any:
        found = ctx.work.gradients(slopes)
        return (None, None, *found, *[None] * len(slopes))


def slices(count: int, parts: int) -> list[slice]:
    """Rows of `parts` parts, equal but for the last."""
    size = -(-count // parts)
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]


def tensors(value: Any) -> list[Any]:
    """All tensors in an argument or an output, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return [each for part in value.values() for each in tensors(part)]
    return [each for part in value for each in tensors(part)] if isinstance(value, (list, tuple)) else []


def cut(value: Any, rows: slice) -> Any:
    """The same with some rows of each tensor."""
    return filled(value, iter([each[rows] for each in tensors(value)]))


def filled(value: Any, made: Any) -> Any:
    """The same with other tensors, in order."""
    if isinstance(value, torch.Tensor):
        return next(made)
    if isinstance(value, dict):
        return type(value)(**{name: filled(each, made) for name, each in value.items()})
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(filled(each, made) for each in value))
    return type(value)(filled(each, made) for each in value) if isinstance(value, (list, tuple)) else value


def out_of_memory(error: BaseException) -> bool:
    """Whether that is what an error says: a GPU's, or the CPU's allocator's."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def _leaves(value: Any) -> tuple[Any, list[Any]]:
    """The same cut off from what made it, and those tensors in it that gradients are wanted of."""
    fresh = [
        each.detach().requires_grad_(each.requires_grad) if each.requires_grad else each for each in tensors(value)
    ]
    return filled(value, iter(fresh)), [each for each in fresh if each.requires_grad]


def _containing(moments: list[tuple[slice, Moment]], rows: slice) -> Moment:
    return next(moment for of, moment in moments if of.start <= rows.start < of.stop)
