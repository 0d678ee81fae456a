"""What to do when memory runs out in Keras' `fit` on TensorFlow: the batch is taken in parts. In the kernel.

A step that failed has changed no weight yet: gradients are applied last. Its batch is kept, and goes through a step
that adds up the gradients of its parts, each weighted with its share of the examples, and applies them once. That is
Keras' gradient accumulation within one step, so callbacks, schedules and metrics see the batches they always saw.
"""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from .telling import Told, steps

#: Steps of a size after which it is known to fit: optimizers make their state in the first.
PROVEN = 2


class Fits:
    """The models of one cell."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._parts: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Within: the steps of `fit` are watched over. Models that were trained are traced anew afterwards."""
        trainer: Any = next(each for each in keras.Model.__mro__ if "make_train_function" in vars(each))
        own = trainer.make_train_function

        @functools.wraps(own)
        def make(model: Any, force: bool = False) -> Any:
            if model not in self._seen:
                self._seen.add(model)
                force = True
            if model.train_function is not None and not force:
                return model.train_function
            own(model, force=True)
            model.train_function = self._watched(model, model.train_function)
            return model.train_function

        trainer.make_train_function = make
        try:
            yield
        finally:
            trainer.make_train_function = own
            for model in list(self._seen):
                model.train_function = None

    def _watched(self, model: Any, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        smaller: dict[int, Callable[[Any], Any]] = {}
        proven: dict[int, int] = {}

        def run(iterator: Any) -> Any:
            if model.steps_per_execution != 1 or isinstance(iterator, tf.distribute.DistributedIterator):
                return step(iterator)
            data = next(iter(iterator))
            size = sum(int(tf.size(each)) for each in keras.tree.flatten(data) if each is not None)
            before = None if proven.get(size, 0) >= PROVEN else _state(model)
            while True:
                parts = self._parts.get(model, 1)
                try:
                    found = step([data]) if parts == 1 else self._step_in_parts(model, smaller, parts, data)
                    proven[size] = proven.get(size, 0) + 1
                    return found
                except tf.errors.ResourceExhaustedError as error:
                    failed = error.with_traceback(None)
                gc.collect()
                if before is None:
                    self._told.say("memory ran out at a size of batch that had fitted before: the step is not repeated")
                    raise failed
                _put_back(model, before)
                self._smaller(model, data, parts, failed)

        return run

    def _step_in_parts(self, model: Any, made: dict[int, Callable[[Any], Any]], parts: int, data: Any) -> Any:
        if parts not in made:
            made[parts] = _in_parts(model, parts)
        found = made[parts](data)
        self._told.did("parts", "", lambda count: f"{steps(count, 'made in parts')}, the last in {parts}")
        return found

    def _smaller(self, model: Any, data: Any, parts: int, failed: Exception) -> None:
        count = int(tf.shape(keras.tree.flatten(data)[0])[0])
        why = _obstacle(model) or ("" if parts < count else "one example alone is too much")
        if why:
            self._told.say(f"memory ran out, and the batch cannot be taken in smaller parts: {why}")
            raise failed
        self._parts[model] = parts = min(parts * 2, count)
        self._told.say(
            f"memory ran out in a batch of {count}: {type(model).__name__} takes it in {parts} parts of "
            f"{-(-count // parts)} from now on; their gradients are added up and applied once"
        )


def _state(model: Any) -> dict[int, Any]:
    """What a step may have changed before it failed: all but weights."""
    return {id(each): tf.identity(each.value) for each in [*model.non_trainable_variables, *model.metrics_variables]}


def _put_back(model: Any, state: dict[int, Any]) -> None:
    for each in [*model.non_trainable_variables, *model.metrics_variables]:
        # A metric that the failed step was the first to use began at nothing.
        each.assign(state[id(each)] if id(each) in state else tf.zeros_like(each.value))


def _obstacle(model: Any) -> str:
    owner = next(each for each in type(model).__mro__ if "train_step" in vars(each))
    if not owner.__module__.startswith("keras."):
        return f"{owner.__name__} has a train_step of its own"
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            return "BatchNormalization takes its statistics from the whole batch"
    return ""


def _in_parts(model: Any, parts: int) -> Callable[[Any], Any]:
    def step(data: Any) -> Any:
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        flat = [each for each in keras.tree.flatten((x, y, weight)) if each is not None]
        count = tf.shape(flat[0])[0]
        size = (count + parts - 1) // parts
        sums: list[Any] = [None] * len(model.trainable_variables)
        answers, total = [], 0.0
        for part in range(parts):
            rows = lambda each, first=part: None if each is None else each[first * size : (first + 1) * size]  # noqa: E731
            some_x, some_y, some_weight = keras.tree.map_structure(rows, (x, y, weight))
            here = tf.shape(keras.tree.flatten(some_x)[0])[0]
            share = tf.cast(here, tf.float32) / tf.cast(count, tf.float32)
            with tf.GradientTape() as tape:
                answer = model(some_x, training=True) if model._call_has_training_arg else model(some_x)
                loss = model._compute_loss(x=some_x, y=some_y, y_pred=answer, sample_weight=some_weight, training=True)
                # A last part without examples has no mean.
                loss = tf.where(here > 0, loss, 0.0) * share
                scaled = model.optimizer.scale_loss(loss)
            found = tape.gradient(scaled, [each.value for each in model.trainable_variables])
            found = [None if each is None else tf.where(here > 0, tf.convert_to_tensor(each), 0.0) for each in found]
            sums = [
                new if old is None else old if new is None else old + new for old, new in zip(sums, found, strict=False)
            ]
            answers.append(answer)
            total += loss
        model._loss_tracker.update_state(total, sample_weight=count)
        model.optimizer.apply_gradients(zip(sums, model.trainable_variables, strict=False))
        whole = keras.tree.map_structure(lambda *each: tf.concat(each, 0), *answers)
        return model.compute_metrics(x, y, whole, sample_weight=weight)

    if model.run_eagerly:
        return step
    return tf.function(step, reduce_retracing=True, autograph=False)  # type: ignore[no-any-return]
