"""Structured pruning: whole channels and neurons go, so that tensors get smaller and the model faster everywhere.

Runs in the kernel that holds the model. Which layers hang together is found by Torch-Pruning, which traces the model; a
group of channels goes when all its weights together are small. The answer keeps its shape: that is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError, MissingDependency
from .. import frameworks
from .._quiet import quiet
from ._base import Task, train


@dataclass(frozen=True, kw_only=True)
class Structured:
    """Leaves the share `keep` of each layer's channels or neurons, in `steps` with `rounds` of training in all.

    Widths are rounded up to a multiple of `multiple`. `fixed` names modules that keep their width; the last layer
    always does, since its width is that of the answer, and so do recurrent layers.
    """

    keep: float = 0.5
    rounds: int = 4
    steps: int = 1
    multiple: int = 1
    fixed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1 or self.rounds < 0 or self.steps < 1 or self.multiple < 1:
            raise ConfigError(
                f"can't keep {self.keep} of each layer in {self.steps} steps",
                hint="keep is above 0 and at most 1, steps and multiple are at least 1.",
            )

    def compress(self, model: Any, task: Task) -> Any:
        """See `Compressor`. Raises ConfigError for a model that can't be traced, and says at what it failed."""
        framework = frameworks.of(model)
        if framework.name != "torch":
            raise ConfigError("structured pruning knows PyTorch models only", hint="Prune with Pruning instead.")
        pruning = _torch_pruning()
        training = model.training
        model = framework.copy(model).eval()  # tracing must not move the means of batch normalisation
        inputs = task.samples(2)
        before = framework.predict(model, inputs).shape
        was = _size(model)
        pruner = self._pruner(pruning, model, framework.tensors(model, inputs))
        for step in range(self.steps):
            try:
                with quiet():
                    pruner.step()
                after = framework.predict(model, inputs).shape
            except Exception as error:  # a model's own code may raise anything once its widths have changed
                raise _untraceable(error) from error
            if after != before:
                raise ConfigError(
                    f"the model's answer would change its shape from {before} to {after}",
                    hint="Name the layer that gives the answer in fixed=.",
                )
            rounds = self.rounds * (step + 1) // self.steps - self.rounds * step // self.steps
            if rounds:
                train(framework, model, task, rounds)
        if self.keep < 1 and _size(model) == was:
            raise ConfigError(
                "there is nothing to narrow: recurrent layers, the last layer and those in fixed= keep their width",
                hint="Train a narrower student instead: Distilling(student=...).",
            )
        model.train(training)
        return model

    def _pruner(self, pruning: Any, model: Any, inputs: tuple[Any, ...]) -> Any:
        from torch import nn

        modules = dict(model.named_modules())
        unknown = [name for name in self.fixed if name not in modules]
        if unknown:
            raise ConfigError(
                f"the model has no module {', '.join(map(repr, unknown))}",
                hint=f"It has {', '.join(repr(name) for name in modules if name)}.",
            )
        kept = [module for module in modules.values() if isinstance(module, nn.RNNBase)]
        try:
            with quiet():
                return pruning.BasePruner(
                    model,
                    inputs,
                    importance=pruning.importance.GroupMagnitudeImportance(p=2),
                    pruning_ratio=1 - self.keep,
                    iterative_steps=self.steps,
                    ignored_layers=[_last(model, inputs), *kept, *(modules[name] for name in self.fixed)],
                    num_heads={each: each.num_heads for each in modules.values() if hasattr(each, "num_heads")},
                    round_to=self.multiple,
                )
        except Exception as error:  # Torch-Pruning runs the model, and raises what it meets there
            raise _untraceable(error) from error


def _size(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _last(model: Any, inputs: tuple[Any, ...]) -> Any:
    """The layer with weights that is used last."""
    import torch

    used: list[Any] = []
    hooks = [
        module.register_forward_hook(lambda module, *_: used.append(module))
        for module in model.modules()
        if not list(module.children()) and list(module.parameters(recurse=False))
    ]
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if not used:
        raise ConfigError("the model has no layers with weights of their own", hint="Is it made of modules?")
    return used[-1]


def _untraceable(error: Exception) -> ConfigError:
    return ConfigError(
        f"the model's layers can't be narrowed together: {type(error).__name__}: {error}",
        hint="Shapes fixed by numbers in forward() are the usual reason: take them from x.shape; or keep the modules "
        "around the place at their width with fixed=.",
    )


def _torch_pruning() -> Any:
    try:
        import torch_pruning
    except ModuleNotFoundError:
        raise MissingDependency(
            "structured pruning needs the package 'torch-pruning', which is not installed here",
            hint='Install it: pip install "lepton-jupyter[compress]"',
        ) from None
    return torch_pruning


PLUGIN = Structured
