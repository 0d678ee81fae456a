"""What to do when memory runs out in a step of an unchanged PyTorch loop. In the kernel.

In forward: the outermost module call is made again, in a way that keeps less (ways.py). In backward: what backward
needs of the first steps, and of each step larger than those before, is kept where it can be let go, with the gradient
of the model's outputs; then the model's part of the step is made again. From then on all steps are made that way.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from ..rerunning import buffers_aside, differentiable
from . import splitting
from .again import Moment, device_of
from .graphs import leaves_of
from .telling import Told, steps
from .ways import Way, Ways

#: Steps of a size after which that size is known to fit: optimizers make their state in the first.
PROVEN = 2


@dataclass
class _Call:
    """A call whose backward is still to come."""

    module: Any
    args: Any
    keywords: Any
    moment: Moment
    outputs: list[Any]
    held: list[list[Any]] = field(default_factory=list)  # each has one tensor that backward needs


class Memory:
    """Of one cell."""

    def __init__(self, told: Told) -> None:
        self._told, self._ways = told, Ways(told)
        self._calls: list[_Call] = []
        self._here = threading.local()
        self._plain_call: Any = None
        self._plain_backward: Any = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Within: outermost module calls and backward are watched over."""
        module, autograd = torch.nn.Module, torch.autograd
        own_call: Any = module.__call__
        own_backward: Any = autograd.backward
        self._plain_call, self._plain_backward = own_call, own_backward

        def call(module: Any, *args: Any, **keywords: Any) -> Any:
            if torch.compiler.is_compiling() or not self._outermost(module):
                return own_call(module, *args, **keywords)
            self._here.inside = True
            try:
                return self._call(module, args, keywords)
            finally:
                self._here.inside = False

        @functools.wraps(own_backward)
        def backward(tensors: Any, *args: Any, **options: Any) -> None:
            calls, self._calls = self._calls, []
            single = isinstance(tensors, torch.Tensor) and not (options.get("inputs") or options.get("create_graph"))
            if torch._C._current_graph_task_id() != -1 or not calls or not single or args[2:3] == (True,):
                own_backward(tensors, *args, **options)
                return
            self._backward(calls, tensors, args, options)

        module.__call__ = call
        autograd.backward = backward
        try:
            yield
        finally:
            module.__call__, autograd.backward = own_call, own_backward
            self._ways.undo()

    def _outermost(self, module: Any) -> bool:
        return (
            torch.is_grad_enabled()
            and not getattr(self._here, "inside", False)
            and torch._C._current_graph_task_id() == -1
            and not isinstance(module, torch.jit.ScriptModule)
            and any(each.requires_grad for each in module.parameters())
            and not (torch.distributed.is_available() and torch.distributed.is_initialized())
        )

    def _call(self, module: Any, args: Any, keywords: Any) -> Any:
        way = self._ways.of(module)
        while True:
            moment, buffers = Moment(device_of(module)), [(b, b.detach().clone()) for b in module.buffers()]
            try:
                return self._attempt(module, args, keywords, way, moment)
            except RuntimeError as error:
                if not splitting.out_of_memory(error):
                    raise
                failed = error.with_traceback(None)
            moment.rewind()
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)
            self._smaller(module, args, keywords, failed)

    def _attempt(self, module: Any, args: Any, keywords: Any, way: Way, moment: Moment) -> Any:
        if way.parts > 1:
            self._told.did("parts", "", lambda count: f"{steps(count, 'made in parts')}, the last in {way.parts}")
            return splitting.call(
                module,
                args,
                keywords,
                lambda: way.parts,
                lambda error: self._smaller(module, args, keywords, error),
            )
        size = _size(args, keywords)
        if size < way.fits or (size == way.fits and way.times >= PROVEN):
            return self._plain_call(module, *args, **keywords)
        call = _Call(module, args, keywords, moment, [])

        def hold(tensor: Any) -> list[Any]:
            call.held.append([tensor.detach()])
            return call.held[-1]

        with torch.autograd.graph.saved_tensors_hooks(hold, lambda cell: cell[0]):
            output = self._plain_call(module, *args, **keywords)
        call.outputs = differentiable(output)
        self._calls.append(call)
        del self._calls[:-8]  # of calls that nobody took gradients of
        return output

    def _backward(self, calls: list[_Call], loss: Any, args: Any, options: Any) -> None:
        outputs = [each for call in calls for each in call.outputs]
        past = leaves_of([loss], frozenset(each.grad_fn for each in outputs if each.grad_fn is not None))
        given = any(each.requires_grad for call in calls for each in splitting.tensors((call.args, call.keywords)))
        if past or given:
            why = "the loss reaches weights or inputs other than through a model's outputs"
            self._plainly(loss, args, options, why)
            return
        start = args[0] if args else options.get("gradient", options.get("grad_tensors"))
        slopes = torch.autograd.grad(loss, outputs, start, retain_graph=True, allow_unused=True)
        leaves = [each for call in calls for each in call.module.parameters() if each.requires_grad]
        before = [(each, None if each.grad is None else each.grad.clone()) for each in dict.fromkeys(leaves)]
        try:
            self._plain_backward(loss, *args, **options)
            failed = None
        except RuntimeError as error:
            if not splitting.out_of_memory(error):
                raise
            failed = error.with_traceback(None)
        if failed is None:
            for call in calls:
                self._fitted(call)
            return
        for call in calls:
            for cell in call.held:
                cell[0] = None  # whoever still has the graph, what it kept is free
        remaining = list(slopes)
        for leaf, gradient in before:
            leaf.grad = gradient
        for call in calls:
            own, remaining = remaining[: len(call.outputs)], remaining[len(call.outputs) :]
            if any(each is not None for each in own):
                self._again(call, own, failed)

    def _plainly(self, loss: Any, args: Any, options: Any, why: str) -> None:
        try:
            self._plain_backward(loss, *args, **options)
        except RuntimeError as error:
            if splitting.out_of_memory(error):
                self._told.say(f"memory ran out in backward, and the step cannot be made again in parts: {why}")
            raise

    def _again(self, call: _Call, slopes: list[Any], failed: Exception) -> None:
        """The model's part of a step once more, in a way that keeps less; its gradients are added."""
        way = self._ways.of(call.module)
        while True:
            self._smaller(call.module, call.args, call.keywords, failed)
            try:
                self._here.inside = True
                with call.moment.again(), buffers_aside(call.module):
                    if way.parts > 1:
                        output = splitting.call(
                            call.module, call.args, call.keywords, lambda: way.parts,
                            lambda error: self._smaller(call.module, call.args, call.keywords, error),
                        )  # fmt: skip
                    else:
                        output = self._plain_call(call.module, *call.args, **call.keywords)
                pairs = [(o, s) for o, s in zip(differentiable(output), slopes, strict=False) if s is not None]
                trained = [each for each in call.module.parameters() if each.requires_grad]
                found = torch.autograd.grad([o for o, _ in pairs], trained, [s for _, s in pairs], allow_unused=True)
            except RuntimeError as error:
                if not splitting.out_of_memory(error):
                    raise
                failed = error.with_traceback(None)
                continue
            finally:
                self._here.inside = False
            for parameter, gradient in zip(trained, found, strict=False):
                if gradient is not None:
                    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
            self._told.did("repeated", "", lambda count: f"{steps(count, 'made again after memory ran out')}")
            return

    def _fitted(self, call: _Call) -> None:
        way, size = self._ways.of(call.module), _size(call.args, call.keywords)
        way.times = way.times + 1 if size == way.fits else 1
        way.fits = max(size, way.fits)

    def _smaller(self, *call: Any) -> None:
        """See `Ways.smaller`, which tries the module: those calls are not outermost ones."""
        self._here.inside, inside = True, getattr(self._here, "inside", False)
        try:
            self._ways.smaller(*call)
        finally:
            self._here.inside = inside


def _size(args: Any, keywords: Any) -> int:
    return sum(each.numel() for each in splitting.tensors((args, keywords)))
