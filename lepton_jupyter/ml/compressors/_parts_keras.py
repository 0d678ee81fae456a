"""Parts of Keras models: what a layer gives, and the model without some of its blocks.

Runs in the kernel that holds the model. See `Parts`. A block is a layer (of any kind, also one of your own or a whole
model) that gives what it is given in the same shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from ...errors import ConfigError
from .. import frameworks
from ..frameworks import _keras_copies
from ..frameworks._base import Array
from ..frameworks._keras_steps import given
from ._parts_base import no_blocks, no_layer, repeated, taken


def until(model: Any, layer: str, adapter: tuple[int, int, int] | None = None) -> Any:
    """See `Parts`. Raises ConfigError for a model whose graph Keras does not know."""
    _graph(model)
    names = [each.name for each in model.layers]
    if layer not in names:
        raise no_layer(layer, names)
    found = model.get_layer(layer).output
    if isinstance(found, list | tuple):
        found = found[0]
    if adapter is not None:
        axis, _, width = adapter
        turned = [at for at in range(1, len(found.shape)) if at != axis] + [axis]
        back = [1 + turned.index(at) for at in range(1, len(found.shape))]
        found = keras.layers.Permute(turned)(found)
        found = keras.layers.Permute(back)(keras.layers.Dense(width)(found))
    return keras.Model(model.inputs, found)


def following(teacher: Any) -> Callable[..., Any]:
    """See `Parts`."""

    def loss(model: Any, *batch: Any) -> Any:
        wanted = keras.ops.stop_gradient(teacher(given(teacher, batch[:-1]), training=False))
        return keras.ops.mean(keras.ops.square(model(given(model, batch[:-1])) - wanted))

    return loss


def shallower(model: Any, share: float, inputs: tuple[Array, ...]) -> Any:
    """See `Parts`. Raises ConfigError for a model whose graph Keras does not know."""
    _graph(model)
    run = repeated([_sign(layer) for layer in model.layers])
    if run is None:
        raise no_blocks()
    start, blocks, length = run
    kept = set(taken(blocks, share))
    gone = {
        layer.name
        for at, layer in enumerate(model.layers)
        if start <= at < start + blocks * length and (at - start) // length not in kept
    }
    names = {layer.name for layer in model.layers} - gone

    def call(layer: Any, *args: Any, **options: Any) -> Any:
        return args[0] if layer.name in gone else layer(*args, **options)

    try:
        if isinstance(model, keras.Sequential):
            whole = _keras_copies.copied(model)
            found = keras.Sequential(
                [keras.Input(batch_shape=model.input_shape), *(each for each in whole.layers if each.name in names)]
            )
        else:
            found = keras.models.clone_model(model, call_function=call, clone_function=_again)
            for layer in found.layers:
                if layer.variables:
                    for to, of in zip(layer.variables, model.get_layer(layer.name).variables, strict=True):
                        to.assign(of)
        if frameworks.of(model).predict(found, inputs).shape != frameworks.of(model).predict(model, inputs).shape:
            raise no_blocks()
    except (ValueError, TypeError, AttributeError, KeyError) as error:  # what Keras raises where a graph does not fit
        raise no_blocks() from error
    return found


def _again(layer: Any) -> Any:
    return type(layer).from_config(layer.get_config())


def _sign(layer: Any) -> Any:
    """The kind of a layer and the shapes of its arrays; unlike any other's for one that changes the shape."""
    shapes = [tuple(each.shape) for each in layer.weights]
    try:
        same = tuple(layer.input.shape) == tuple(layer.output.shape)
    except (AttributeError, ValueError):  # several inputs or outputs, or none
        same = False
    if not same:
        return layer.name
    return (type(layer).__name__, shapes) if shapes else None


def _graph(model: Any) -> None:
    if not _keras_copies.graph_of(model):
        raise ConfigError(
            "Keras does not know the graph of this model, so its layers can't be told apart",
            hint="Make it with keras.Model(inputs, outputs) or keras.Sequential; or distil without hints= and depth=.",
        )
