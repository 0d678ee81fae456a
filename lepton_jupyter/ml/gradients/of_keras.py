"""Looks after the gradients of a cell's Keras models on TensorFlow: `fit`, and GradientTape loops. In the kernel.

Keras' optimizers apply gradients within a compiled step, so what is decided is decided there, in the graph. What was
traced stays traced: the graph asks a variable whether the cell still runs. On PyTorch, `of_torch` sees `backward`
and the memory, but Keras' optimizers make their steps without PyTorch's.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from .clipping import PERCENTILE
from .telling import Told, steps

#: Norms of the last steps that AutoClip looks at here: a graph has no list that grows.
WINDOW = 1000


@contextmanager
def around(told: Told) -> Iterator[None]:
    """Within: steps that are not finite are left out, long gradients clipped, and lacking memory is worked around."""
    if keras.backend.backend() != "tensorflow":
        told.say(f"Keras on {keras.backend.backend()} runs as it is; on TensorFlow its gradients can be looked after")
        yield
        return
    from .fitting import Fits

    care = Care(told)
    with care.installed(), Fits(told).installed():
        try:
            yield
        finally:
            care.end()


class Care:
    """What is done before gradients are applied."""

    def __init__(self, told: Told) -> None:
        import tensorflow as tf

        self._told, self._clip_said = told, False
        with tf.init_scope():
            self._active = tf.Variable(True, trainable=False)
            self._skipped = tf.Variable(0, trainable=False)
            self._clipped = tf.Variable(0, trainable=False)
            self._limit = tf.Variable(0.0, trainable=False)
        self._norms: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Within: gradients are looked at before an optimizer applies them."""
        import tensorflow as tf

        base: Any = next(each for each in keras.optimizers.Optimizer.__mro__ if "apply" in vars(each))
        own = base.apply

        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
        @functools.wraps(own)
        def apply(optimizer: Any, grads: Any, trainable_variables: Any = None) -> Any:
            return self._apply(own, optimizer, list(grads), trainable_variables)

        base.apply = apply
        try:
            yield
        finally:
            base.apply = own

    def end(self) -> None:
        """The cell has ended: what it traced leaves gradients alone from now on."""
        self._active.assign(False)
        skipped, clipped, limit = int(self._skipped), int(self._clipped), float(self._limit)
        self._told.did("skipped", "", lambda count: f"{steps(count, 'left out')}, gradients not finite", skipped)
        last = f", the last to a norm of {limit:.3g}"
        self._told.did("clipped", "", lambda count: steps(count, "clipped") + last, clipped)

    def _apply(self, own: Callable[..., Any], optimizer: Any, grads: list[Any], variables: Any) -> Any:
        import tensorflow as tf

        there = [each for each in grads if each is not None]
        if not there:
            return own(optimizer, grads, variables)
        variables = None if variables is None else list(variables)
        if variables is not None and not optimizer.built:
            with tf.init_scope():  # its variables must not be made in a branch
                optimizer.build(variables)
        known = self._window(optimizer)
        norm = tf.linalg.global_norm([tf.cast(each, tf.float32) if _plain(each) else each for each in there])
        finite = tf.math.is_finite(norm)
        clips = optimizer.clipnorm or optimizer.clipvalue or optimizer.global_clipnorm
        if not clips:
            if not self._clip_said:
                self._clip_said = True
                percentile = f"{PERCENTILE:.0f}th percentile"
                self._told.say(f"gradients are clipped to the {percentile} of their last {WINDOW} norms (AutoClip)")
            factor = tf.cond(tf.logical_and(finite, self._active), lambda: self._factor(known, norm), lambda: 1.0)
            grads = [None if each is None else _times(each, factor) for each in grads]

        def go() -> Any:
            own(optimizer, grads, variables)
            return tf.constant(0)

        def leave_out() -> Any:
            self._skipped.assign_add(1)
            return tf.constant(0)

        tf.cond(tf.logical_or(finite, tf.logical_not(self._active)), go, leave_out)
        return None

    def _window(self, optimizer: Any) -> Any:
        import tensorflow as tf

        if optimizer not in self._norms:
            with tf.init_scope():
                self._norms[optimizer] = (
                    tf.Variable(tf.fill([WINDOW], float("inf")), trainable=False),
                    tf.Variable(0, trainable=False),
                )
        return self._norms[optimizer]

    def _factor(self, known: Any, norm: Any) -> Any:
        """What to multiply with. Between two norms it is interpolated, as in the paper's own code."""
        import tensorflow as tf

        norms, count = known
        at = tf.math.floormod(count, WINDOW)
        norms.assign(tf.where(tf.range(WINDOW) == at, norm, norms))
        count.assign_add(1)
        filled = tf.minimum(count, WINDOW)
        place = PERCENTILE / 100 * tf.cast(filled - 1, tf.float32)
        low = tf.cast(tf.floor(place), tf.int32)
        ordered = tf.sort(norms)  # what is not filled is infinite, and last
        below, above = tf.gather(ordered, low), tf.gather(ordered, tf.minimum(low + 1, filled - 1))
        limit = below + (place - tf.cast(low, tf.float32)) * (above - below)
        longer = norm > limit
        self._clipped.assign_add(tf.cast(longer, tf.int32))
        self._limit.assign(tf.where(longer, limit, self._limit))
        return tf.where(longer, limit / norm, 1.0)


def _plain(gradient: Any) -> bool:
    import tensorflow as tf

    return not isinstance(gradient, tf.IndexedSlices)


def _times(gradient: Any, factor: Any) -> Any:
    import tensorflow as tf

    if _plain(gradient):
        return gradient * tf.cast(factor, gradient.dtype)
    return tf.IndexedSlices(gradient.values * factor, gradient.indices, gradient.dense_shape)
