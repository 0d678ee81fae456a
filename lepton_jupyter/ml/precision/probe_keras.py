"""Measures, on a batch of a `fit`, which way to compute is the fastest that agrees. In the kernel.

A step's loss and gradients are computed on that batch in each way, and nothing is applied; then all that a call of the
model changes (moving averages, random seeds, metrics) is put back, and the batch goes the way it would have gone.
Each way has to be traced and compiled first: what that takes shows in the first batch, and a probe is made when it is
a small share of the training that is left (limits.SHARE).
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from . import limits, processors

SCALE = 2.0**10


class Unfit(Exception):
    """A way that does not agree with float32, in words."""


class Probe:
    """In the place of a model's train function until it has decided."""

    def __init__(self, models: Any, model: Any, step: Callable[[Any], Any], remake: Callable[[], Any]) -> None:
        self._models, self._model, self._step, self._remake = models, model, step, remake
        self._batches, self._look = 0, 3  # batches that were begun; the one at which a probe may be made
        self._times: list[float] = []  # of the first two, the first with tracing
        self._done = False

    def __call__(self, iterator: Any) -> Any:
        self._batches += 1
        if self._done:
            return self._step(iterator)
        self._models.waiting = self._batches
        if self._batches < 3:
            began = time.perf_counter()
            logs = self._step(iterator)
            for each in tf.nest.flatten(logs)[:1]:
                np.asarray(each)  # a GPU is waited for
            self._times.append(time.perf_counter() - began)
            return logs
        if self._batches < self._look:
            return self._step(iterator)
        why = self._unsound(iterator) or self._unpaid()
        if why or self._batches < self._look:
            if why:
                self._end(f"{self._models.halves.precision} stays: {why}")
            return self._step(iterator)
        data = next(iter(iterator))
        self._end(self._decide(data))
        return self._step([data])

    def _end(self, words: str) -> None:
        self._done = True
        self._models.measured()
        self._models.tell(f"precision: {words}")

    def _unsound(self, iterator: Any) -> str:
        model = self._model
        own = next(each for each in type(model).__mro__ if "train_step" in vars(each))
        if not own.__module__.startswith("keras."):
            return f"{own.__name__} has a train_step of its own, which a probe cannot run without its effects"
        if (
            model.run_eagerly
            or model.steps_per_execution != 1
            or isinstance(iterator, tf.distribute.DistributedIterator)
        ):
            return "a probe needs compiled steps of one batch each, on one device"
        return "" if self._ways() else processors.lacking()

    def _unpaid(self) -> str:
        """Why a probe does not pay. Where nobody knows how many batches are left, it is put off until it does."""
        params, ways = self._models.params, len(self._ways())
        traced, once = max(self._times[0] - self._times[1], 0.0), self._times[1]
        cost = (ways + 1) * traced + limits.runs(ways) * once
        needed = math.ceil(cost / limits.SHARE / once)
        if not (params.get("epochs") and params.get("steps")):
            self._look = max(self._look, needed)
            return ""
        left = params["epochs"] * params["steps"] - self._batches + 1
        if left >= needed:
            return ""
        return f"the {left} steps that are left are too few for a probe to pay, which would take about {cost:.2g} s"

    def _ways(self) -> list[tuple[Any, Any]]:
        """(precision, jit) to try, each on top of the best so far; None leaves it as it is."""
        mode, compiler = self._models.asked
        halves = [each for each in ("bf16", "fp16") if mode == "auto" and (_on_gpu() or each in processors.halves())]
        return [*((each, None) for each in halves), *([(None, not self._model.jit_compile)] * (compiler == "auto"))]

    def _decide(self, data: Any) -> str:
        models, model = self._models, self._model
        began = time.perf_counter()
        first = models.halves.precision, bool(model.jit_compile)
        variables = list({id(each): each for each in [*model.variables, *model.metrics_variables]}.values())
        values = [tf.identity(each.value) for each in variables]
        times: dict[tuple[str, bool], float] = {}
        refused = []
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                wanted, run = self._way(data, ("fp32", first[1]), values, variables)
                if first[0] != "fp32":
                    _, run = self._way(data, first, values, variables)
                best, best_run, losses = first, run, {first: 0.0}
                times[first] = min(_timed(run) for _ in range(limits.TURNS))
                for precision, jit in self._ways():
                    way = (precision or best[0], best[1] if jit is None else jit)
                    if precision == "fp16" and best[0] == "bf16":
                        continue  # no faster, and its loss has to be scaled
                    try:
                        found, run = self._way(data, way, values, variables)
                        losses[way] = _agreement(found, wanted)
                    except Exception as error:  # noqa: BLE001 - a way that a model, a device or XLA does not know
                        refused.append(
                            f"{_named(way)}: {(str(error).strip().splitlines() or [type(error).__name__])[0][:120]}"
                        )
                        continue
                    times[way] = math.inf
                    for _ in range(limits.TURNS):
                        times[way] = min(times[way], _timed(run))
                        if times[way] > limits.HOPELESS * times[best]:
                            break
                        times[best] = min(times[best], _timed(best_run))
                    if times[way] < limits.GAIN * times[best]:
                        best, best_run = way, run
        finally:
            for variable, value in zip(variables, values, strict=False):
                variable.assign(value)
            models.halves.precision = first[0]
        if best != first:
            self._take(best, first[1])
        others = ", ".join(
            f"{_named(way)} {time_ * 1e3:.3g} ms" for way, time_ in times.items() if way not in (best, first)
        )
        took = f"{times[best] * 1e3:.3g} ms for a step's forward and backward"
        words = f"{_named(best)} stays, it is the fastest here: {took}"
        if best != first:
            words = (
                f"{_named(best)}: {took}, {_named(first)} "
                f"{times[first] * 1e3:.3g} ms; the loss differs by {losses[best]:.2%}"
            )
        parts = [
            words,
            f"also measured: {others}" if others else "",
            f"not possible: {'; '.join(refused)}" if refused else "",
            processors.lacking() if models.asked[0] == "auto" and not _on_gpu() else "",
            f"the probe took {time.perf_counter() - began:.2g} s",
        ]
        return ". ".join(part for part in parts if part)

    def _take(self, way: tuple[str, bool], jit: bool) -> None:
        model = self._model
        self._models.halves.precision, model.jit_compile = way
        self._models.later(lambda: setattr(model, "jit_compile", jit))
        if way[0] == "fp16":
            self._models.scale(model)
        model.test_function = model.predict_function = None
        outer = model.train_function
        self._step = self._remake()
        model.train_function = outer  # `fit` goes on through the one that holds this probe

    def _way(self, data: Any, way: tuple[str, bool], values: Any, variables: Any) -> tuple[Any, Callable[[], Any]]:
        """Loss and gradients in one way, and what computes them again."""
        self._models.halves.precision = way[0]
        model, scale = self._model, SCALE if way[0] == "fp16" else 1.0

        def step(data: Any, training: bool) -> Any:
            x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
            with tf.GradientTape() as tape:
                answer = model(x, training=training) if model._call_has_training_arg else model(x)
                loss = model._compute_loss(x=x, y=y, y_pred=answer, sample_weight=weight, training=training)
                scaled = loss * scale
            found = tape.gradient(scaled, [each.value for each in model.trainable_variables])
            return loss, [None if each is None else tf.convert_to_tensor(each) / scale for each in found]

        compiled = tf.function(step, jit_compile=way[1] or None, autograph=False)

        def run(training: bool = True) -> Any:
            for variable, value in zip(variables, values, strict=False):
                variable.assign(value)
            loss, gradients = compiled(data, training)
            return float(loss), gradients

        run()  # traced and compiled
        # XLA and half precision draw other random numbers than float32 does: dropout must not be in what is compared.
        return run(training=not any(hasattr(each, "seed_generator") for each in model._flatten_layers())), run


def _on_gpu() -> bool:
    return bool(tf.config.list_logical_devices("GPU"))


def _named(way: tuple[str, bool]) -> str:
    return f"{way[0]} {'with' if way[1] else 'without'} jit_compile"


def _timed(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()  # answers with a number, so it has waited for the device
    return time.perf_counter() - began


def _agreement(found: Any, wanted: Any) -> float:
    """By which share the losses differ. Raises Unfit where they or their gradients do not agree."""
    (loss, gradients), (true_loss, true) = found, wanted
    pairs = [
        (np.asarray(a, "float64"), np.asarray(b, "float64"))
        for a, b in zip(gradients, true, strict=False)
        if a is not None
    ]
    dot = math.fsum(float((a * b).sum()) for a, b in pairs)
    mine, theirs = (math.sqrt(math.fsum(float((pair[i] ** 2).sum()) for pair in pairs)) for i in (0, 1))
    cosine = dot / (mine * theirs) if mine * theirs > 0 else 1.0 if mine == theirs else math.nan
    if not cosine >= limits.COSINE or abs(mine / (theirs or 1.0) - (theirs > 0)) > limits.LENGTH:
        raise Unfit(f"its gradients differ from fp32's (cosine {cosine:.3f})")
    share = abs(loss - true_loss) / abs(true_loss) if true_loss else 0.0
    if not share <= limits.LOSS:
        raise Unfit(f"its loss differs from fp32's by {share:.1%}")
    return share
