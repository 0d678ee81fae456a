"""Distillation: a smaller student learns from the answers of its teacher, not only from the targets.

Runs in the kernel that holds the model. Hinton et al. 2015: the student's logits, softened by a temperature, shall be
the teacher's; `alpha` of the loss is that, the rest is the task's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ...errors import ConfigError
from .. import frameworks
from ._base import Task, keep_zeros, train
from .structured import Structured


@dataclass(frozen=True, kw_only=True)
class Distilling:
    """Trains a student for so many `rounds`; without one, the model with the share `keep` of its widths.

    Needs the task's data and loss, since it changes the loss. Zeros that the student has stay zero.
    """

    student: Any = None
    keep: float = 0.5
    rounds: int = 10
    temperature: float = 3.0
    alpha: float = 0.5

    def __post_init__(self) -> None:
        if self.temperature <= 0 or not 0 <= self.alpha <= 1 or self.rounds < 1:
            raise ConfigError(
                f"can't distil with temperature {self.temperature} and alpha {self.alpha}",
                hint="temperature is above 0, alpha from 0 (the targets alone) to 1 (the teacher alone).",
            )

    def compress(self, model: Any, task: Task) -> Any:
        """See `Compressor`: the student, trained. Raises ConfigError if it answers in another shape than the model."""
        if task.data is None or task.loss is None:
            raise ConfigError("distillation changes the loss, so it must know it", hint="Give data= and loss=.")
        framework = frameworks.of(model)
        if self.student is None:
            student = Structured(keep=self.keep, rounds=0).compress(model, task)
        else:
            student = framework.copy(self.student)
        inputs = task.samples(2)
        wanted, given = (framework.predict(each, inputs).shape for each in (model, student))
        if wanted != given:
            raise ConfigError(
                f"the student answers in the shape {given}, the model in {wanted}",
                hint="The student's last layer must be as wide as the model's.",
            )
        task = replace(task, train=None, teacher=model, temperature=self.temperature, alpha=self.alpha)
        hold = keep_zeros(framework.weights(student))
        train(framework, student, task, self.rounds, lambda _: hold())
        return student


PLUGIN = Distilling
