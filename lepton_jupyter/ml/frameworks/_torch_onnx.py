"""A PyTorch model as an ONNX file.

Runs in the kernel that holds the model. The exporter notes in each node which line of which file of the user's it came
from: that is up to half of a small model's file, and nobody else's business, so it is taken out.
"""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path
from typing import Any

from ...errors import ConfigError, MissingDependency
from .._quiet import quiet

#: The first version of ONNX that knows 4-bit numbers (ONNX Runtime 1.20).
OPSET = 21


def to_onnx(model: Any, inputs: tuple[Any, ...]) -> bytes:
    """A torch model that is in the mode in which it answers, for batches of any size; `inputs` are two examples.

    Raises ConfigError, naming what can't be exported, MissingDependency without onnx and onnxscript.
    """
    import torch

    for package in ("onnx", "onnxscript"):
        try:
            __import__(package)
        except ModuleNotFoundError:
            raise MissingDependency(
                f"exporting needs the package {package!r}, which is not installed here",
                hint='Install it: pip install "lepton-jupyter[compress]"',
            ) from None
    batch = torch.export.Dim("batch", min=1)
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                model,
                inputs,
                dynamo=True,
                dynamic_shapes=tuple({0: batch} for _ in inputs),
                opset_version=OPSET,
                verbose=False,
            )
    except Exception as error:  # torch.export runs the model's own code
        raise ConfigError(
            f"the model can't be exported to ONNX: {at_line(error)}",
            hint="An if or a loop over values (write it with torch.where), or an operation ONNX has not, is the usual "
            "reason. What stays in PyTorch needs no file: structured, prune, share, distill.",
        ) from error
    assert program is not None
    data: bytes = plain(program.model_proto).SerializeToString()
    return data


def plain(proto: Any) -> Any:
    """The same ONNX model without what its tools noted for themselves."""
    graph = proto.graph
    for each in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del each.metadata_props[:]
        each.doc_string = ""
    for each in (proto, graph):
        del each.metadata_props[:]
        each.doc_string = ""
    del graph.value_info[:]
    return proto


def first_line(error: BaseException) -> str:
    """What went wrong at the bottom of it, in one line."""
    error = _bottom(error)
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no words'])[0]}"


def at_line(error: BaseException) -> str:
    """The same, and which line of the user's code did it, if one did."""
    library, ours = sysconfig.get_path("stdlib"), str(Path(__file__).parents[2])
    frames = [
        each
        for each in traceback.extract_tb(_bottom(error).__traceback__)
        if "site-packages" not in each.filename and not each.filename.startswith((library, ours)) and each.line
    ]
    place = f", at line {frames[-1].lineno} of {frames[-1].name}: {frames[-1].line}" if frames else ""
    return first_line(error) + place


def _bottom(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
