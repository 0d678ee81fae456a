"""8 bits inside PyTorch: right, or refused with a reason; and nothing in 32 bits is left beside them."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from lepton_jupyter.errors import ConfigError, MissingDependency
from lepton_jupyter.ml import frameworks
from lepton_jupyter.ml.compressors.pt2e import Pt2e
from lepton_jupyter.ml.exporting import export

from .digits import PICTURES, right, task


@pytest.mark.slow
def test_it_answers_here_and_leaves_no_file(mlp: nn.Module, tmp_path: Path) -> None:
    small = Pt2e(samples=64).compress(mlp, task())
    assert right(small).mean() > right(mlp).mean() - 0.02
    state = frameworks.of(small).state(small)
    kernels = [each for each in state.values() if each.ndim > 1]
    assert [each.dtype for each in kernels] == [np.int8] * 3
    assert copy.deepcopy(small) is small
    for file in ("model.pt2", "model.onnx"):
        with pytest.raises(ConfigError, match="compiled for this process"):
            export(small, tmp_path / file, inputs=(PICTURES[:9],))
    with pytest.raises(ConfigError, match="Quantizing"):
        pickle.dumps(small)


@pytest.mark.slow
def test_convolutions_answer_in_pieces(cnn: nn.Module) -> None:
    """For a sum of convolutions the compiler's code is for one size of a batch."""
    small = Pt2e(samples=64).compress(cnn, task())
    assert right(small).mean() > right(cnn).mean() - 0.02
    framework = frameworks.of(small)
    whole = framework.predict(small, (PICTURES[:64],))
    for batch in (1, 5, 33):
        assert np.abs(framework.predict(small, (PICTURES[:batch],)) - whole[:batch]).max() < 1e-4


def test_recurrent_layers_are_refused(lstm: nn.Module) -> None:
    with pytest.raises(ConfigError, match=r"(?s)recurrent.*Quantizing"):
        Pt2e().compress(lstm, task())


def test_without_a_compiler_it_says_so(mlp: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import cpp_builder, exc

    def nothing() -> str:
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", nothing)
    with pytest.raises(MissingDependency, match=r"(?s)C\+\+ compiler.*g\+\+"):
        Pt2e().compress(mlp, task())
