"""How Keras models are trained here, and how to be called after each step of anyone's training.

Runs in the kernel that holds the model. All of Keras' ways to train (fit, train_on_batch, a loop of one's own with
GradientTape) end in `Optimizer.apply`; but in a graph that runs only once, when it is traced. So it leaves an operation
in the graph that calls back. That operation is given the model's variables: TensorFlow then runs it after what writes
them before and before what reads them after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from ...errors import ConfigError
from ._base import Array
from ._keras_backend import tf
from ._keras_copies import compiled_like

#: The class in which all optimizers have `apply`.
_BASE: Any = next(kind for kind in reversed(keras.optimizers.Optimizer.__mro__) if "apply" in vars(kind))


@contextmanager
def after_each_step(model: Any, call: Callable[[], None]) -> Iterator[None]:
    """See `Framework`. The model forgets, at the end, what its own optimizer kept."""
    ours = {id(each) for each in model.trainable_variables}
    handles = [each.value.handle for each in model.trainable_variables]
    before = _BASE.apply
    failed: list[BaseException] = []
    within = True

    def called() -> None:
        if within and not failed:
            try:
                call()
            except BaseException as error:  # TensorFlow would make another error of it
                failed.append(error)
                raise

    def apply(self: Any, grads: Any, trainable_variables: Any = None) -> Any:
        found = before(self, grads, trainable_variables)
        trained = self._trainable_variables if trainable_variables is None else trainable_variables
        if any(id(each) in ours for each in trained):
            if tf.executing_eagerly():
                called()
            else:
                tf.py_function(lambda *_: called(), handles, [])
        return found

    could = model.supports_jit
    model.supports_jit = False  # XLA can't call back: jit_compile="auto" then does without it
    _BASE.apply = apply
    try:
        yield
    except tf.errors.OpError as error:
        if failed:
            raise failed[0] from None
        if "EagerPyFunc" in str(error):
            raise ConfigError(
                "a training step that XLA compiles can't be followed", hint="Train with jit_compile=False."
            ) from error
        raise
    finally:
        within = False
        _BASE.apply = before
        model.supports_jit = could
        compiled_like(model, model)


class Training:
    """The model as a loss sees it: called, it answers as in training, and the last answer is kept."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.answer: Any = None

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        self.answer = self._model(*inputs, **({"training": True} | options))
        return self.answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def trainer(model: Any, loss: Callable[..., Any]) -> Callable[[float, Sequence[Array]], float]:
    """See `Framework`. The loss is traced once, for batches of any size; as in fit(), Python's own if and for decide
    then, not in each step."""
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    traced: dict[Any, Any] = {}

    def one(*batch: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(Training(model), *batch)
            if model.losses:
                value += tf.add_n(model.losses)
        optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
        return value

    def step(rate: float, batch: Sequence[Array]) -> float:
        optimizer.learning_rate = rate
        tensors = [tf.convert_to_tensor(part) for part in batch]
        specs = tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in tensors)
        if specs not in traced:
            traced[specs] = tf.function(one, input_signature=specs, autograph=False)
        return float(traced[specs](*tensors))

    return step


def distilled(loss: Callable[..., Any], teacher: Any, temperature: float, alpha: float) -> Callable[..., Any]:
    """See `Framework`."""

    def both(model: Any, *batch: Any) -> Any:
        seen = model if isinstance(model, Training) else Training(model)
        own = loss(seen, *batch)
        if seen.answer is None:
            raise ConfigError("the loss did not call the model", hint="loss(model, *batch) must call model(...).")
        wanted = tf.stop_gradient(teacher(given(teacher, batch[:-1]), training=False))
        theirs, mine = (tf.nn.log_softmax(each / temperature) for each in (wanted, seen.answer))
        soft = tf.reduce_sum(tf.exp(theirs) * (theirs - mine), -1)
        return (1 - alpha) * own + alpha * temperature**2 * tf.reduce_mean(soft)

    return both


def given(model: Any, inputs: Sequence[Any]) -> Any:
    """The inputs as Keras wants them: one alone, or a list of several."""
    return inputs[0] if len(inputs) == 1 else list(inputs)
