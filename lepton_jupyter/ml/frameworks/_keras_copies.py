"""Copies of Keras models, with all that they learned and were told, but without what an optimizer keeps of them.

Runs in the kernel that holds the model. An optimizer's slots are twice as large as the model they belong to: they
travel with no copy, and a model gives them up once it has been trained by us.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from ...errors import ConfigError


def copied(model: Any) -> Any:
    """The same model again, compiled alike, sharing no variable with it. Raises ConfigError if Keras can't do that."""
    again = remade(model)
    return compiled_like(filled(again, model), model)


def remade(model: Any, clone: Callable[[Any], Any] | None = None) -> Any:
    """A model of the same graph with layers of its own, made by `clone(layer)`, or from their configuration."""
    with _undrawn():
        if not graph_of(model):
            return _of_a_class(model)
        try:
            if isinstance(model, keras.Sequential):
                layers = [(clone or _again)(layer) for layer in model.layers]
                found = keras.Sequential([*_entry(model), *layers], name=model.name)
                found.build(model.input_shape)
            else:
                found = keras.models.clone_model(model, input_tensors=_inputs(model), clone_function=clone or _again)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise _not_copied(model, error) from error
        found.trainable = model.trainable
        return found


@contextmanager
def _undrawn() -> Iterator[None]:
    """Within: new layers draw their seeds and first values from Python's random numbers. After: these are as before."""
    state = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(state)


def walk(model: Any, call: Callable[..., Any]) -> Any:
    """Have `call(layer or operation, its arguments…)` make the whole graph anew; returns that model."""
    graph = keras.Model(model.inputs, model.outputs) if isinstance(model, keras.Sequential) else model
    with _undrawn():
        return keras.models.clone_model(graph, clone_function=_again, call_function=call)


def graph_of(model: Any) -> bool:
    """Whether Keras knows the model's graph: made by keras.Model(inputs, outputs), or a Sequential that was built."""
    if isinstance(model, keras.Sequential):
        return bool(model.built)
    return isinstance(model, keras.Model) and hasattr(model, "operations") and type(model) is not keras.Model


def filled(model: Any, source: Any) -> Any:
    """The model, all its variables set to those of `source`: weights, moving means, states of random numbers."""
    mine, theirs = model.variables, source.variables
    if [tuple(each.shape) for each in mine] != [tuple(each.shape) for each in theirs]:
        raise _not_copied(source, ValueError("the copy has other variables"))
    for to, of in zip(mine, theirs, strict=True):
        to.assign(of)
    return frozen_like(model, source)


def frozen_like(model: Any, source: Any) -> Any:
    """The model, whose layers are trained or not as those of `source` are."""
    for to, of in zip(_all_layers(model), _all_layers(source), strict=True):
        to.trainable = of.trainable
    return model


def compiled_like(model: Any, source: Any) -> Any:
    """The model, compiled as `source` is, with an optimizer and metrics of its own that have seen nothing."""
    given = getattr(source, "_compile_config", None)
    if not source.compiled or given is None:
        return model
    options = dict(given.config)
    for name in ("optimizer", "metrics", "weighted_metrics"):
        options[name] = keras.tree.map_structure(_fresh, options.get(name))
    model.compile(**options)
    return model


def _fresh(part: Any) -> Any:
    if isinstance(part, keras.optimizers.Optimizer | keras.metrics.Metric):
        return type(part).from_config(part.get_config())
    return part


def _again(layer: Any) -> Any:
    if isinstance(layer, keras.Model):
        return remade(layer)
    if not isinstance(layer, keras.layers.Layer):
        return layer  # an operation, which has no variables
    return type(layer).from_config(layer.get_config())


def _inputs(model: Any) -> Any:
    """Of the same names: data may be given by them."""
    names = {id(each.output): each.name for each in model.layers if isinstance(each, keras.layers.InputLayer)}
    return keras.tree.map_structure(
        lambda each: keras.Input(batch_shape=each.shape, dtype=each.dtype, name=names.get(id(each))), model.input
    )


def _entry(model: Any) -> list[Any]:
    given = model.inputs[0]
    return [keras.Input(batch_shape=given.shape, dtype=given.dtype, name=given.name)]


def _of_a_class(model: Any) -> Any:
    if not model.built:
        raise ConfigError(
            "the Keras model has not been built: nobody knows the shapes of its weights yet",
            hint="Call it once with some examples.",
        )
    try:
        config, takes = model.get_config(), inspect.signature(type(model)).parameters
        if not any(each.kind is each.VAR_KEYWORD for each in takes.values()):
            config = {name: value for name, value in config.items() if name in takes}  # Keras' own ones are for others
        found = type(model).from_config(config)
        shapes = model.get_build_config()
        found.build_from_config(shapes)
        if not found.built:  # it says nothing where its way of guessing fails
            found(keras.ops.zeros(shapes["input_shape"]))
    except Exception as error:  # the user's own class
        raise _not_copied(model, error) from error
    return found


def _all_layers(model: Any) -> list[Any]:
    return [layer for layer in model._flatten_layers() if not isinstance(layer, keras.layers.InputLayer)]


def _not_copied(model: Any, error: Exception) -> ConfigError:
    return ConfigError(
        f"the model {type(model).__name__} can't be copied: {type(error).__name__}: {error}",
        hint="Its class (or that of a layer in it) needs get_config() and from_config(); or make the model with "
        "keras.Model(inputs, outputs).",
    )
