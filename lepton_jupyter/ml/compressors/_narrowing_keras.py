"""Keras' part of structured pruning: the model's graph is made anew with narrower layers.

Runs in the kernel that holds the model. Units that hang together (`_keras_units`) go together, the least first: those
whose slices of all kernels are small, each against its kernel's others.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from ...errors import ConfigError
from ..frameworks._base import Array
from ..frameworks._keras_copies import compiled_like, frozen_like, graph_of, remade, walk
from ._keras_units import Units, Used, use
from ._narrowing_base import stuck


def narrow(
    model: Any, inputs: tuple[Array, ...], *, keep: float, steps: int, multiple: int, fixed: tuple[str, ...]
) -> Iterator[Any]:
    """See `Narrow`. Models within the model, and layers that nobody here knows, keep their width and that of what they
    are given."""
    if not graph_of(model):
        raise ConfigError(
            f"the graph of {type(model).__name__} is not known: only its call() can tell it",
            hint="Make the model with keras.Model(inputs, outputs) or keras.Sequential; or train a narrower one that "
            "you make yourself: Distilling(student=...).",
        )
    unknown = [name for name in fixed if name not in (names := [layer.name for layer in model.layers])]
    if unknown:
        raise ConfigError(
            f"the model has no layer {', '.join(map(repr, unknown))}", hint=f"It has {', '.join(map(repr, names))}."
        )
    widths: dict[frozenset[str], int] = {}
    for step in range(steps):
        share = 1 - (1 - keep) * (step + 1) / steps
        plan = _plan(model, fixed)
        groups = plan.groups()
        widths = widths or {makers: len(roots) for makers, roots in groups.items()}
        gone: set[int] = set()
        for makers, roots in groups.items():
            left = min(multiple * math.ceil(max(round(share * widths[makers]), 1) / multiple), len(roots))
            scores = plan.scores(model, roots)
            gone |= set(sorted(roots, key=lambda root: scores[root])[: len(roots) - left])
        model = _rebuilt(model, plan, gone)
        yield model


@dataclass
class _Plan:
    units: Units
    used: dict[str, Used]

    def groups(self) -> dict[frozenset[str], list[int]]:
        """The units that may go, by the layers that make them: each such group keeps its share."""
        makers: dict[int, set[str]] = defaultdict(set)
        for unit, maker in enumerate(self.units.makers):
            makers[self.units.root(unit)].add(maker)
        found: dict[frozenset[str], list[int]] = defaultdict(list)
        for root in sorted(makers.keys() - self.units.fixed()):
            found[frozenset(makers[root])].append(root)
        return found

    def scores(self, model: Any, roots: list[int]) -> dict[int, float]:
        """How much each unit matters (Fang et al. 2023: over all arrays of the group, each counting the same)."""
        found = dict.fromkeys(roots, 0.0)
        for name, used in self.used.items():
            weights = model.get_layer(name).weights if used.arrays else []
            for place, axes in used.arrays.items():
                array = weights[place]
                if len(array.shape) < 2 and not array.path.endswith("gamma"):
                    continue
                for axis, units in axes.items():
                    of = self.units.roots(units)
                    if not set(of.tolist()) & found.keys():
                        continue
                    others = tuple(each for each in range(len(array.shape)) if each != axis)
                    squares = (array.numpy().astype(np.float64) ** 2).sum(others)
                    squares /= max(float(squares.mean()), np.finfo(float).tiny)
                    for root, square in zip(of.tolist(), squares.tolist(), strict=True):
                        if root in found:
                            found[root] += square
        return found

    def left(self, units: Array, gone: set[int]) -> Array:
        """Which places stay."""
        return np.array([root not in gone for root in self.units.roots(units).tolist()], dtype=bool)


def _plan(model: Any, fixed: tuple[str, ...]) -> _Plan:
    units, used = Units(), {}
    known: dict[int, Array] = {}
    kept: list[Any] = []  # so that no other tensor gets an id that is known
    first: dict[str, Used] = {}

    def of(tensor: Any) -> Array:
        if id(tensor) not in known:  # an input of the model
            kept.append(tensor)
            width = tensor.shape[-1] if len(tensor.shape) > 1 else 0
            known[id(tensor)] = units.fix(units.new(width or 0, "the input"))
        return known[id(tensor)]

    def call(layer: Any, *args: Any, **options: Any) -> Any:
        answer = layer(*args, **options)
        given = keras.tree.flatten((args, options))
        tensors = [each for each in given if isinstance(each, keras.KerasTensor)]
        arrays = sum(hasattr(each, "shape") for each in given) - len(tensors)
        found = use(layer, [(of(each), each.shape) for each in tensors], answer, units, arrays)
        for each in keras.tree.flatten(answer):
            if isinstance(each, keras.KerasTensor):
                kept.append(each)
                known[id(each)] = found.out
        if layer.name in first:  # used again: all that it has is the same
            for place, axes in found.arrays.items():
                for axis, these in axes.items():
                    units.join(these, first[layer.name].arrays[place][axis])
        else:
            first[layer.name] = used[layer.name] = found
        if layer.name in fixed:
            for each in (found.out, *found.options.values()):
                units.fix(each)
        return answer

    try:
        again = walk(model, call)
    except ConfigError:
        raise
    except Exception as error:  # layers may raise anything
        raise stuck(error) from error
    for each in again.outputs:
        units.fix(of(each))
    return _Plan(units, used)


def _rebuilt(model: Any, plan: _Plan, gone: set[int]) -> Any:
    def clone(layer: Any) -> Any:
        if isinstance(layer, keras.Model):
            return remade(layer)
        config = layer.get_config()
        for option, units in plan.used[layer.name].options.items() if layer.name in plan.used else ():
            count = int(plan.left(units, gone).sum())
            _set(config, option.split("."), (count,) if option == "target_shape" else count)
        return type(layer).from_config(config)

    try:
        found = remade(model, clone)
    except ConfigError:
        raise
    except Exception as error:  # layers may raise anything
        raise stuck(error) from error
    for layer in model.layers:
        arrays = plan.used[layer.name].arrays if layer.name in plan.used else {}
        places = {id(weight): place for place, weight in enumerate(layer.weights)}
        for old, new in zip(layer.variables, found.get_layer(layer.name).variables, strict=True):
            value = old.numpy()
            for axis, units in arrays.get(places.get(id(old), -1), {}).items():
                value = np.compress(plan.left(units, gone), value, axis)
            new.assign(value)
    return compiled_like(frozen_like(found, model), model)


def _set(config: dict[str, Any], path: list[str], value: Any) -> None:
    """Where the configuration has it: a Bidirectional may have no layer of its own for the way back."""
    *outer, last = path
    for each in outer:
        if each not in config:
            return
        config = config[each]
    config[last] = value
