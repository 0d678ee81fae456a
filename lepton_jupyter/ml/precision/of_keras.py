"""`--precision` and `--compile` for the Keras part of a cell, on TensorFlow. In the kernel.

On PyTorch, Keras' layers are PyTorch modules, and `of_torch` sees them.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from .policies import Halves

#: What a hand-written loop's loss is scaled by in float16; `fit` has Keras' own scaling, which adapts itself.
SCALE = 2.0**10


@contextmanager
def around(mode: str, compiler: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Within: outermost model calls compute in `mode`, or in what a probe finds; all is taken back at the end."""
    if keras.backend.backend() != "tensorflow":
        if keras.backend.backend() != "torch":
            tell(f"precision: Keras on {keras.backend.backend()} runs as it is; TensorFlow and PyTorch can be changed")
        yield
        return
    asked = mode == "auto" or compiler == "auto"
    if mode == "fp32" and not asked:
        yield
        return
    halves = Halves("fp32" if mode == "auto" else mode)
    models = Models(halves, tell, (mode, compiler) if asked else None)
    with halves.installed(), models.installed():
        yield


class Models:
    """What a cell does with models: `fit` and its kin, whose steps are traced, and tapes."""

    def __init__(self, halves: Halves, tell: Callable[[str], None], asked: tuple[str, str] | None) -> None:
        self.halves, self.tell, self.asked = halves, tell, asked
        self.params: dict[str, Any] = {}  # of the `fit` that goes on: epochs, steps
        self.fitting = 0
        self.by_hand = False
        self.waiting = 0  # steps of the `fit` that no probe paid for yet
        self._measured = False
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()
        self._undo: list[Callable[[], None]] = []

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Within: each model's steps are traced anew, and again when the cell has ended."""
        import tensorflow as tf

        trainer: Any = next(each for each in keras.Model.__mro__ if "make_train_function" in vars(each))
        tape: Any = tf.GradientTape
        kinds = ("make_train_function", "make_test_function", "make_predict_function", "fit")
        saved = [(trainer, name, getattr(trainer, name)) for name in kinds] + [(tape, "gradient", tape.gradient)]
        for owner, name, own in saved:
            wrap = {"fit": self._fit, "gradient": self._gradient, "make_train_function": self._train}.get(
                name, self._make
            )
            setattr(owner, name, wrap(own))
        try:
            yield
        finally:
            for owner, name, own in saved:
                setattr(owner, name, own)
            for model in list(self._seen):
                _forget(model)
            for undo in reversed(self._undo):
                undo()
            if self.waiting and not self._measured:
                self.tell(
                    f"precision: {self.halves.precision} stays: the training ended after {self.waiting} steps, "
                    "before a probe could pay"
                )
            elif self.asked and self.by_hand and not self._measured:
                self.tell(
                    f"precision: {self.halves.precision} stays in the loop written by hand: its GradientTape step "
                    "cannot be run again without running the cell's own lines twice"
                )

    def _see(self, model: Any) -> None:
        if model not in self._seen:
            self._seen.add(model)
            _forget(model)  # what an earlier cell traced, it traced in its own precision

    def _make(self, own: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(own)
        def make(model: Any, *args: Any, **options: Any) -> Any:
            self._see(model)
            return own(model, *args, **options)

        return make

    def _train(self, own: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(own)
        def make(model: Any, force: bool = False) -> Any:
            self._see(model)
            if model.train_function is not None and not force:
                return model.train_function
            if self.halves.precision == "fp16":
                self.scale(model)
            own(model, force=True)
            step = model.train_function
            if self.asked and not self._measured:
                from .probe_keras import Probe

                def remake() -> Any:
                    own(model, force=True)
                    return model.train_function

                step = Probe(self, model, step, remake)

            @functools.wraps(model.train_function)
            def run(iterator: Any) -> Any:
                self.fitting += 1
                try:
                    return step(iterator)
                finally:
                    self.fitting -= 1

            model.train_function = run
            return run

        return make

    def measured(self) -> None:
        """One probe is enough for a cell."""
        self._measured = True

    def scale(self, model: Any) -> None:
        """Have the loss scaled by Keras' own optimizer around the model's, until the cell ends."""
        optimizer = model.optimizer
        if optimizer is None or isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            return
        factor = optimizer.loss_scale_factor
        model.optimizer = keras.optimizers.LossScaleOptimizer(optimizer)

        def undo() -> None:
            model.optimizer = optimizer
            optimizer.loss_scale_factor = factor

        self._undo.append(undo)

    def later(self, undo: Callable[[], None]) -> None:
        """To be done when the cell has ended."""
        self._undo.append(undo)

    def _fit(self, own: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(own)

        models = self

        class Told(keras.callbacks.Callback):  # type: ignore[misc]
            def on_train_begin(self, logs: Any = None) -> None:
                models.params = dict(self.params or {})

        @functools.wraps(own)
        def fit(model: Any, *args: Any, **options: Any) -> Any:
            self.params = {}
            try:
                given = signature.bind(model, *args, **options)
            except TypeError:
                return own(model, *args, **options)  # raises it again, in Keras' own words
            callbacks = given.arguments.get("callbacks")
            if isinstance(callbacks, keras.callbacks.CallbackList):
                return own(model, *args, **options)
            callbacks = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks] if callbacks else []
            given.arguments["callbacks"] = [*callbacks, Told()]
            return own(*given.args, **given.kwargs)

        return fit

    def _gradient(self, own: Callable[..., Any]) -> Callable[..., Any]:
        import tensorflow as tf

        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
        @functools.wraps(own)
        def gradient(tape: Any, target: Any, sources: Any, output_gradients: Any = None, **options: Any) -> Any:
            if not self.fitting:
                self.by_hand = True
            if self.fitting or self.halves.precision != "fp16" or output_gradients is not None:
                return own(tape, target, sources, output_gradients, **options)
            start = tf.nest.map_structure(lambda each: tf.fill(tf.shape(each), tf.cast(SCALE, each.dtype)), target)
            found = own(tape, target, sources, start, **options)
            return tf.nest.map_structure(lambda each: None if each is None else _divided(each), found)

        found: Callable[..., Any] = gradient
        return found


def _divided(gradient: Any) -> Any:
    import tensorflow as tf

    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(gradient.values / SCALE, gradient.indices, gradient.dense_shape)
    return gradient / SCALE


def _forget(model: Any) -> None:
    """What was traced is traced again at its next use."""
    model.train_function = model.test_function = model.predict_function = None
