"""Distillation: a smaller student learns from the answers of its teacher, not only from the targets.

Runs in the kernel that holds the model. Hinton et al. 2015: the student's logits, softened by a temperature, shall be
the teacher's; `alpha` of the loss is that, the rest is the task's own. Before that, hints (FitNets: Romero et al.
2015): the student's layers learn to give what layers of the teacher give, through a linear adapter where their widths
differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...errors import ConfigError
from .. import frameworks
from ..frameworks import Framework
from ..frameworks._base import Array
from ._base import Task, keep_zeros, train
from ._parts_base import parts
from ._seeding import seeded
from .structured import Structured


@dataclass(frozen=True, kw_only=True)
class Distilling:
    """Trains a `student` for so many `rounds`. Needs the task's data and loss, since it changes the loss.

    Without a student it is the model with the share `depth` of its blocks that repeat, and `keep` of its widths.
    `hints` are pairs of names, (the teacher's layer, the student's), each learned for `hint_rounds` beforehand, in this
    order. Zeros that the student has stay zero.
    """

    student: Any = None
    keep: float = 0.5
    depth: float = 1.0
    rounds: int = 10
    temperature: float = 3.0
    alpha: float = 0.5
    hints: tuple[tuple[str, str], ...] = ()
    hint_rounds: int = 3

    def __post_init__(self) -> None:
        if self.temperature <= 0 or not 0 <= self.alpha <= 1 or self.rounds < 1 or self.hint_rounds < 1:
            raise ConfigError(
                f"can't distil for {self.rounds} rounds, with temperature {self.temperature} and alpha {self.alpha}",
                hint="temperature is above 0, alpha from 0 (the targets alone) to 1 (the teacher alone), rounds and "
                "hint_rounds are at least 1.",
            )
        if not 0 < self.keep <= 1 or not 0 < self.depth <= 1:
            raise ConfigError(
                f"can't make a student of {self.keep} of the widths and {self.depth} of the blocks",
                hint="keep and depth are above 0 and at most 1.",
            )
        if any(not isinstance(pair, tuple) or len(pair) != 2 for pair in self.hints):
            raise ConfigError("hints are pairs of names", hint='hints=(("teacher\'s layer", "student\'s layer"),)')

    def compress(self, model: Any, task: Task) -> Any:
        """See `Compressor`: the student, trained. Raises ConfigError if it answers in another shape than the model."""
        if task.data is None or task.loss is None:
            raise ConfigError("distillation changes the loss, so it must know it", hint="Give data= and loss=.")
        framework = frameworks.of(model)
        inputs = task.samples(2)
        student = self._student(model, task, framework, inputs)
        fits(student, model, inputs)
        task = replace(task, train=None)
        hold = keep_zeros(framework.weights(student))
        for pair in self.hints:
            self._hint(model, student, pair, task, framework, inputs)
        taught = replace(task, teacher=model, temperature=self.temperature, alpha=self.alpha)
        train(framework, student, taught, self.rounds, lambda _: hold())
        return student

    def _student(self, model: Any, task: Task, framework: Framework, inputs: tuple[Array, ...]) -> Any:
        if self.student is not None:
            return framework.copy(self.student)
        student = parts(framework).shallower(model, self.depth, inputs) if self.depth < 1 else model
        if self.keep < 1:
            return Structured(keep=self.keep, rounds=0).compress(student, task)
        return student if self.depth < 1 else framework.copy(model)

    def _hint(
        self, teacher: Any, student: Any, pair: tuple[str, str], task: Task, framework: Framework, inputs: Any
    ) -> None:
        known = parts(framework)
        wanted = known.until(teacher, pair[0])
        to = framework.predict(wanted, inputs).shape
        of = framework.predict(known.until(student, pair[1]), inputs).shape
        differ = [axis for axis, (a, b) in enumerate(zip(of, to, strict=False)) if a != b]
        if len(of) != len(to) or len(differ) > 1:
            raise ConfigError(
                f"the student's {pair[1]!r} gives the shape {of}, the teacher's {pair[0]!r} {to}",
                hint="A linear adapter changes the width alone: name layers that differ in no other axis.",
            )
        with seeded(task.seed):  # for the adapter's first weights
            part = known.until(student, pair[1], (differ[0], of[differ[0]], to[differ[0]]) if differ else None)
        hold = keep_zeros(framework.weights(student))
        train(framework, part, replace(task, loss=known.following(wanted)), self.hint_rounds, lambda _: hold())


def fits(student: Any, model: Any, inputs: Sequence[Array]) -> None:
    """Raise ConfigError for a student that can't learn from the model: of another framework, or with other answers."""
    framework = frameworks.of(model)
    if (other := frameworks.of(student).name) != framework.name:
        raise ConfigError(
            f"the student is a model of {other}, the model one of {framework.name}", hint="Write both in one framework."
        )
    wanted, given = (framework.predict(each, inputs).shape for each in (model, student))
    if wanted != given:
        raise ConfigError(
            f"the student answers in the shape {given}, the model in {wanted}",
            hint="The student's last layer must be as wide as the model's.",
        )


PLUGIN = Distilling
