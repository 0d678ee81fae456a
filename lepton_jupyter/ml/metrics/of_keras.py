"""What Keras tells: `fit` by a callback that is added to it, and loops that were written by hand with a GradientTape.

In the kernel's process. A callback that hears of every batch would have Keras read the batch's values off the device
first; so what `fit` calls for a step is wrapped instead, and what it gives is kept for the thread that reads. A step
that TensorFlow compiled runs no Python, so of a loop by hand the call of the compiled function is seen, and its answer:
the first number in it is taken for the loss, as it is in everybody's train_step.
"""

from __future__ import annotations

import functools
import inspect
import sys
import weakref
from typing import Any

import keras

from ._loops import Loop
from .meter import Meter


def install(meter: Meter) -> None:
    """Have Keras tell `meter`. Raises what another version of Keras may raise."""
    owner: Any = next(each for each in keras.Model.__mro__ if "fit" in vars(each))
    fit = owner.fit
    signature = inspect.signature(fit)

    @functools.wraps(fit)
    def told_fit(self: Any, *args: Any, **options: Any) -> Any:
        try:
            given = signature.bind(self, *args, **options)
        except TypeError:
            return fit(self, *args, **options)  # raises it again, in Keras' own words
        callbacks = given.arguments.get("callbacks")
        if callbacks is not None and not isinstance(callbacks, (list, tuple)):
            callbacks = None if isinstance(callbacks, keras.callbacks.CallbackList) else [callbacks]
            if callbacks is None:  # a list that is set up already is the user's own business
                return fit(self, *args, **options)
        own = list(callbacks or ())
        told = _callback(meter)
        given.arguments["callbacks"] = [*own, *(make(own) for make in meter.callbacks), told]
        try:
            return fit(*given.args, **given.kwargs)
        finally:
            told.leave()

    owner.fit = told_fit
    if keras.backend.backend() == "tensorflow":
        _tapes(meter)


def _callback(meter: Meter) -> Any:
    class Told(keras.callbacks.Callback):  # type: ignore[misc]
        """Keeps what Keras knows at the end of a step."""

        async_safe = True  # so that Keras need not wait for us
        _step: Any = None  # what `fit` called for a step
        _counted: Any = None  # and what it calls instead

        def on_train_begin(self, logs: Any = None) -> None:
            self._epoch, self._last = 0, 0
            self._values: dict[str, Any] = {}
            meter.owner = meter.owner or id(self)
            meter.sources["keras"] = self._read

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self._epoch, self._last = epoch, 0
            self._loops(0)
            if keras.backend.backend() != "jax" and self.model.train_function is not self._counted:
                self._count(self.model, self.model.train_function)

        if keras.backend.backend() == "jax":  # its step function has a state, too

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                self._stepped(batch + 1, logs)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self._values.update(logs or {})
            self._epoch = epoch + 1
            self._loops(0)
            meter.epoch()

        def leave(self) -> None:
            """`fit` is over: its model is as it was."""
            if self._step is not None and self.model.train_function is self._counted:
                self.model.train_function = self._step

        def _count(self, model: Any, step: Any) -> None:
            steps: int = self.params.get("steps") or sys.maxsize
            several = model.steps_per_execution
            size = several if isinstance(several, int) else 1

            def counted(*args: Any) -> Any:
                found = step(*args)
                self._stepped(min(self._last + size, max(steps, self._last + 1)), found)
                return found

            self._step, self._counted = step, counted
            model.train_function = counted

        def _stepped(self, batch: int, logs: Any) -> None:
            """So many batches of the epoch are done."""
            self._values.update(logs or {})
            for _ in range(max(batch - self._last, 1)):  # several at once: steps_per_execution
                if meter.step():
                    self._loops(batch)
            self._last = batch

        def _loops(self, batch: int) -> None:
            epochs, steps = self.params.get("epochs"), self.params.get("steps")
            loops = [Loop("epoch", min(self._epoch, epochs), epochs)] if epochs else []
            if steps and epochs and self._epoch < epochs:
                loops.append(Loop("batch", min(batch, steps), steps))
            meter.loops = loops

        def _read(self) -> dict[str, Any]:
            found = dict(self._values)
            optimizer = getattr(self.model, "optimizer", None)
            if optimizer is not None:
                found["learning_rate"] = optimizer.learning_rate
            return found

    return Told()


def _tapes(meter: Meter) -> None:
    import tensorflow as tf
    from tensorflow.python.eager.polymorphic_function import polymorphic_function

    tell = _Tape(meter)
    tape: Any = tf.GradientTape
    base: Any = next(each for each in keras.optimizers.Optimizer.__mro__ if "apply" in vars(each))
    function: Any = polymorphic_function.Function
    gradient, apply, call = tape.gradient, base.apply, function.__call__

    @functools.wraps(gradient)
    def told_gradient(self: Any, target: Any, *args: Any, **options: Any) -> Any:
        found = gradient(self, target, *args, **options)
        tell.gradient(target, tf.executing_eagerly())
        return found

    @functools.wraps(apply)
    def told_apply(self: Any, grads: Any, *args: Any, **options: Any) -> Any:
        found = apply(self, grads, *args, **options)
        tell.applied(self, grads, tf.executing_eagerly())
        return found

    @functools.wraps(call)
    def told_call(self: Any, *args: Any, **options: Any) -> Any:
        if not tf.executing_eagerly():
            return call(self, *args, **options)
        tell.tracing.append(self)
        try:
            found = call(self, *args, **options)
        finally:
            tell.tracing.pop()
        if self in tell.training and "keras" not in meter.sources:  # else `fit` tells it
            tell.called(tf.nest.flatten(found))
        return found

    tape.gradient, base.apply, function.__call__ = told_gradient, told_apply, told_call


class _Tape:
    """A loop written by hand, eager or of a compiled step."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.tracing: list[Any] = []  # compiled functions that run now
        self.training: weakref.WeakSet[Any] = weakref.WeakSet()  # those that train
        self._loss: Any = None
        self._grads: list[Any] = []
        self._optimizer: Any = lambda: None

    def gradient(self, target: Any, eager: bool) -> None:
        """A gradient was taken of `target`."""
        if eager and getattr(target, "shape", None) == ():
            self._loss = target

    def applied(self, optimizer: Any, grads: Any, eager: bool) -> None:
        """Gradients were applied, or that was compiled."""
        if eager:
            self._stepped(optimizer, list(grads))
        elif self.tracing:
            self.training.add(self.tracing[-1])
            self._optimizer = weakref.ref(optimizer)

    def called(self, answer: list[Any]) -> None:
        """A compiled function that trains has answered."""
        numbers = [each for each in answer if getattr(each, "shape", None) == () and each.dtype.is_floating]
        self._loss = numbers[0] if numbers else None
        self._stepped(self._optimizer(), [])

    def _stepped(self, optimizer: Any, grads: list[Any]) -> None:
        meter = self._meter
        if "keras" in meter.sources:
            return  # `fit` tells it
        if meter.owner is None:
            meter.own(id(optimizer))
            self._optimizer = (lambda: None) if optimizer is None else weakref.ref(optimizer)
            meter.sources["tape"] = self._read
        if meter.owner == id(optimizer) and meter.step():
            self._grads = [each for each in grads if hasattr(each, "numpy")]
            meter.find_loops(sys._getframe(3))

    def _read(self) -> dict[str, Any]:
        import tensorflow as tf

        found: dict[str, Any] = {} if self._loss is None else {"loss": self._loss}
        if self._grads:
            found["grad_norm"] = tf.linalg.global_norm(self._grads)
        optimizer = self._optimizer()
        if optimizer is not None:
            found["learning_rate"] = optimizer.learning_rate
        return found
