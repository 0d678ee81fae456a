"""Training with rounding: the file answers as the model did that was trained so, and 4 bits lose less."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lepton_jupyter.errors import ConfigError
from lepton_jupyter.ml import frameworks
from lepton_jupyter.ml.compressors import Task
from lepton_jupyter.ml.compressors.pruning import Pruning
from lepton_jupyter.ml.compressors.quantization_aware import QuantizationAware
from lepton_jupyter.ml.frameworks._torch_rounding import Rounding

from .digits import PICTURES, TEST, right, task


@pytest.mark.parametrize("kind", ["cnn", "transformer"])
def test_eight_bits_are_trained_for(kind: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(kind)
    small = QuantizationAware(rounds=1, arithmetic="int8", samples=128).compress(model, task())
    assert right(small).mean() > right(model).mean() - 0.02


def test_the_file_has_the_kernels_that_were_trained_with(lstm: nn.Module) -> None:
    """Also in a recurrent layer, whose kernels lie in a list of its own."""
    small = QuantizationAware(bits=4, rounds=1).compress(lstm, task())
    assert right(small).mean() > right(lstm).mean() - 0.02
    settled = frameworks.of(lstm).copy(lstm)
    rounding = Rounding(7, 64, inputs=False)
    with rounding.within(settled), torch.no_grad():
        rounded = settled(torch.tensor(PICTURES[TEST])).numpy()
    rounding.settle(settled)
    assert np.allclose(frameworks.of(settled).predict(settled, (PICTURES[TEST],)), rounded, atol=1e-4)
    assert len(np.unique(settled.rows.weight_hh_l0.detach().numpy()[0])) <= 15


def test_afterwards_the_layers_are_what_they_were(transformer: nn.Module) -> None:
    before = transformer.state_dict()
    ids = [id(parameter) for parameter in transformer.parameters()]
    answer = frameworks.of(transformer).predict(transformer, (PICTURES[:9],))
    with Rounding(7, None, inputs=True).within(transformer):
        assert not np.array_equal(frameworks.of(transformer).predict(transformer, (PICTURES[:9],)), answer)
        with pytest.raises(RuntimeError):
            transformer(torch.zeros(2, 3))
    assert ids == [id(parameter) for parameter in transformer.parameters()]
    assert list(before) == list(transformer.state_dict())
    assert np.array_equal(frameworks.of(transformer).predict(transformer, (PICTURES[:9],)), answer)


def test_what_was_pruned_stays_so(mlp: nn.Module) -> None:
    sparse = Pruning(density=0.3, rounds=1).compress(mlp, task())
    small = QuantizationAware(bits=4, rounds=1).compress(sparse, task())
    whole = {name: array for name, array in frameworks.of(small).state(small).items() if name.endswith(".whole")}
    kept = sum(np.count_nonzero(each.astype(np.int8)) for each in whole.values())
    assert kept <= sum(np.count_nonzero(each.detach().numpy()) for each in sparse.parameters() if each.ndim > 1)


def test_what_does_not_fit_is_refused(mlp: nn.Module) -> None:
    with pytest.raises(ConfigError, match="8 or 4"):
        QuantizationAware(bits=2)
    with pytest.raises(ConfigError, match="data="):
        QuantizationAware().compress(mlp, Task(train=lambda model: None))
