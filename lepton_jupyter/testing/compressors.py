"""What every compressor has to do, as a suite that its author runs. Runs in the author's tests, under pytest.

::

    from lepton_jupyter.testing import CompressorCase, CompressorContract

    class TestMine(CompressorContract):
        @pytest.fixture(params=["mlp", "cnn"])  # each kind of model that it claims
        def case(self, request):
            return CompressorCase(
                compressor=Mine(share=0.5),
                model=trained(request.param),
                task=Task(data=(pictures, digits), loss=loss),
                evaluate=accuracy,
                wrong=[{"share": 0}, {"share": 2}],
            )
"""

from __future__ import annotations

import contextlib
import pickle
import random
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from ..errors import ConfigError
from ..ml import frameworks
from ..ml.compressors import Compressor, Task
from ..ml.frameworks._base import Array
from ..ml.measuring import metric


@dataclass(frozen=True, kw_only=True)
class CompressorCase:
    """A compressor, a trained model of a kind that it claims, and what it promises.

    `wrong` lists options that it must refuse. `evaluate` gives one number or one for each example, higher being better,
    of which at most `drop` may be lost. `needs` says whether it works with neither data nor training. `smaller` says
    what must shrink: the arrays, or all of it deflated; `keeps_zeros`, whether a weight that was zero stays zero.
    """

    compressor: Compressor
    model: Any
    task: Task
    evaluate: Callable[[Any], float | Sequence[float] | Array]
    wrong: Sequence[Mapping[str, Any]]
    drop: float = 0.05
    needs: Literal["data", "nothing"] = "data"
    smaller: Literal["arrays", "deflated"] = "deflated"
    keeps_zeros: bool = False


class CompressorContract:
    """The tests. A subclass named Test… gives the fixture `case`; pytest does the rest."""

    _done: ClassVar[dict[tuple[str, int], tuple[Any, Any, list[str]]]] = {}

    def compressed(self, case: CompressorCase) -> Any:
        """The case's model, compressed once for all tests."""
        return self._once(case)[1]

    def _once(self, case: CompressorCase) -> tuple[Any, Any, list[str]]:
        """The model, what came of it, and what was changed on the way although it should not be."""
        key = (repr(case.compressor), id(case.model))
        if key not in self._done or self._done[key][0] is not case.model:
            with _watched(case.model) as changed:
                found = case.compressor.compress(case.model, case.task)
            self._done[key] = (case.model, found, changed)
        return self._done[key]

    def test_its_options_are_fields_with_defaults(self, case: CompressorCase) -> None:
        kind = type(case.compressor)
        assert is_dataclass(kind), "options are the fields of a dataclass"
        assert kind() == kind(), "every option has a default"
        assert all(hasattr(case.compressor, field.name) for field in fields(kind))

    def test_options_that_make_no_sense_are_refused(self, case: CompressorCase) -> None:
        assert case.wrong, "name some options that it refuses"
        for options in case.wrong:
            with _refused(f"the options {dict(options)}"):
                type(case.compressor)(**options)

    def test_the_model_stays_as_it_was(self, case: CompressorCase) -> None:
        changed = self._once(case)[2]
        assert not changed, f"changed: {', '.join(changed)}"

    def test_it_answers_in_the_same_shape(self, case: CompressorCase) -> None:
        found = self.compressed(case)
        for batch in (1, 128):
            inputs = _inputs(case, batch)
            wanted, given = _answer(case.model, inputs), _answer(found, inputs)
            assert given.shape == wanted.shape
            assert np.isfinite(given).all(), f"not finite at batch {batch}"

    def test_the_same_seed_gives_the_same_answers(self, case: CompressorCase) -> None:
        """Whatever random numbers were drawn before; and those that come afterwards are the user's."""
        first = _answer(self.compressed(case), _inputs(case, 16))
        _stir()
        states = _random_states()
        again = case.compressor.compress(case.model, case.task)
        assert _random_states() == states, "it drew from the random numbers of the user, or seeded them"
        assert np.array_equal(_answer(again, _inputs(case, 16)), first)

    def test_the_metric_stays(self, case: CompressorCase) -> None:
        before, after = metric(case.evaluate, case.model), metric(case.evaluate, self.compressed(case))
        assert after.value >= before.value - case.drop, f"{before} before, {after} after"

    def test_it_is_smaller(self, case: CompressorCase) -> None:
        before, after = (_size(each, case.smaller) for each in (case.model, self.compressed(case)))
        assert after < before, f"{case.smaller}: {before} bytes before, {after} after"

    def test_it_can_be_stored_and_loaded(self, case: CompressorCase) -> None:
        found = self.compressed(case)
        if getattr(found, "stays_in_process", False):  # it can't, and says so
            with _refused("a model that stays in its process"):
                pickle.dumps(found)
            return
        inputs = _inputs(case, 16)
        wanted = _answer(found, inputs)
        framework = frameworks.of(found)
        if isinstance(getattr(found, "data", None), bytes):  # a file that another runtime answers from
            again = type(found)(found.data)
        else:
            again = framework.copy(found)
            for weight in framework.weights(again):
                weight.write(np.zeros(weight.shape, np.float32))
            framework.restore(again, framework.state(found))
        assert np.array_equal(_answer(again, inputs), wanted)

    def test_what_it_needs_is_asked_for(self, case: CompressorCase) -> None:
        if case.needs == "nothing":
            assert case.compressor.compress(case.model, Task()) is not None
        else:
            with _refused("a task without data and training"):
                case.compressor.compress(case.model, Task())

    def test_what_was_zero_stays_zero(self, case: CompressorCase) -> None:
        if not case.keeps_zeros:
            return
        framework = frameworks.of(case.model)
        sparse = framework.copy(case.model)
        zero = {}
        for weight in framework.weights(sparse):
            if len(weight.shape) >= 2:
                zero[weight.name] = np.random.default_rng(0).random(weight.shape) < 0.5
                weight.write(np.where(zero[weight.name], 0, weight.read()))
        found = case.compressor.compress(sparse, case.task)
        for weight in frameworks.of(found).weights(found):
            if weight.name in zero:
                assert weight.shape == zero[weight.name].shape
                assert not weight.read()[zero[weight.name]].any(), weight.name


def _inputs(case: CompressorCase, batch: int) -> list[Array]:
    return [np.resize(part, (batch, *part.shape[1:])) for part in case.task.samples(batch)]


def _size(model: Any, what: str) -> int:
    """In bytes."""
    arrays = frameworks.of(model).state(model).values()
    if what == "arrays":
        return sum(array.nbytes for array in arrays)
    data = getattr(model, "data", None)
    return len(zlib.compress(data if isinstance(data, bytes) else b"".join(array.tobytes() for array in arrays)))


def _answer(model: Any, inputs: Sequence[Array]) -> Array:
    return frameworks.of(model).predict(model, inputs)


@contextlib.contextmanager
def _refused(what: str) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        assert error.message, f"{what}: the error says nothing"
        assert error.hint, f"{what}: the error has no hint what to do"
    else:
        raise AssertionError(f"no ConfigError for {what}")


@contextlib.contextmanager
def _watched(model: Any) -> Iterator[list[str]]:
    """Within: a model whose parts are partly trained, partly frozen. Gives the names of what is not as it was."""
    changed: list[str] = []
    modules = list(model.modules()) if hasattr(model, "modules") else []
    modes = [module.training for module in modules]
    for module in modules[:-1]:
        module.training = True
    for module in modules[-1:]:
        module.training = False
    before = _snapshot(model)
    try:
        yield changed
    finally:
        after = _snapshot(model)
        changed += sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


def _snapshot(model: Any) -> dict[str, object]:
    """Everything of a model that compressing a copy of it must leave alone."""
    state = frameworks.of(model).state(model)
    found: dict[str, object] = {name: (array.shape, array.tobytes()) for name, array in state.items()}
    if hasattr(model, "named_modules"):  # PyTorch
        found |= {f"the mode of {name or 'the model'}": module.training for name, module in model.named_modules()}
        for name, parameter in model.named_parameters():
            gradient = None if parameter.grad is None else parameter.grad.detach().cpu().numpy().tobytes()
            found[f"the gradient of {name}"] = (gradient, parameter.requires_grad, id(parameter))
        found["hooks"] = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    if hasattr(model, "layers"):  # Keras
        found |= {f"whether {layer.name} is trained": layer.trainable for layer in model.layers}
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and hasattr(optimizer, "variables"):
        found["the optimizer"] = (id(optimizer), [np.asarray(each).tobytes() for each in optimizer.variables])
    return found


def _stir() -> None:
    """Move all random numbers that a compressor might draw from on."""
    random.random()  # noqa: S311 - nothing secret
    np.random.random()
    if "torch" in sys.modules:
        sys.modules["torch"].rand(1)


def _random_states() -> tuple[object, ...]:
    torch = sys.modules.get("torch")
    kind, keys, *rest = np.random.get_state(legacy=True)
    return (
        random.getstate(),
        (kind, np.asarray(keys).tobytes(), *rest),
        torch.get_rng_state().numpy().tobytes() if torch else None,
    )
