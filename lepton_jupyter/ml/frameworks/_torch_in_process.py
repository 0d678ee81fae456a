"""A PyTorch model whose arithmetic was compiled for this processor, by PyTorch's compiler for CPUs.

Runs in the kernel that holds the model. Imported when a model is compiled, so torch is there.
"""

from __future__ import annotations

from typing import Any

import torch

from ...errors import ConfigError, MissingDependency
from .._quiet import quiet

#: Examples that are answered at once where the compiler can't make code for any number of them.
PIECE = 32


class InProcess(torch.nn.Module):  # type: ignore[misc]
    """Answers as `graph` does; compiled when it is called first, for batches of one, and for others: of any size, or,
    in `pieces`, of PIECE. It lives in this process alone: it is not trained, copied (a copy is itself) or exported any
    more."""

    stays_in_process = True

    def __init__(self, graph: torch.nn.Module, *, pieces: bool = False) -> None:
        super().__init__()
        self.graph = graph.requires_grad_(False)
        self.pieces = pieces
        # Beside the module's own parts, or the state would hold everything twice.
        self.__dict__["_answer"] = torch.compile(graph, dynamic=not pieces)

    def forward(self, *inputs: torch.Tensor) -> Any:
        """One answer."""
        # Constants are worked out once only if the compiler is told so, wherever it is called to compile.
        with torch._inductor.config.patch(freezing=True), torch.inference_mode(False), torch.no_grad():
            # Tensors made in inference mode are another kind to the compiler, which would compile for them anew.
            inputs = tuple(each.clone() if each.is_inference() else each for each in inputs)
            count = len(inputs[0])
            if not self.pieces or count == 1:
                return self._answer(*inputs)
            places = torch.arange(-(-count // PIECE) * PIECE) % count  # the last piece is filled up
            found = [self._answer(*(each[some] for each in inputs)) for some in places.split(PIECE)]
            return torch.cat(found)[:count]

    def train(self, mode: bool = True) -> InProcess:
        """Nothing: the graph is that of a model that answers."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> InProcess:
        return self

    def __reduce__(self) -> Any:
        raise ConfigError(
            "a model that was compiled for this process does not leave it",
            hint="Compress it there, or use Quantizing: its model is a file.",
        )


def compiler() -> None:
    """Raises MissingDependency if there is no C++ compiler."""
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except (exc.InvalidCxxCompiler, RuntimeError) as error:
        raise MissingDependency(
            f"compiling a model for this processor needs a C++ compiler: {str(error).strip().splitlines()[0]}",
            hint="Install g++, or use Quantizing, which needs none.",
        ) from None


def recurrent(model: torch.nn.Module) -> bool:
    """Whether it has an LSTM, a GRU or a plain recurrent layer."""
    return any(isinstance(module, torch.nn.RNNBase) for module in model.modules())


def converted(model: Any, examples: tuple[Any, ...], batches: list[tuple[Any, ...]]) -> Any:
    """The graph of a model with 8-bit weights and ranges from these batches, without the weights in 32 bits, which
    PT2E leaves beside the others. Raises MissingDependency without torchao."""
    try:
        with quiet():
            from torchao.quantization.pt2e import quantize_pt2e
            from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"PT2E needs the package {error.name!r}, which is not installed here",
            hint='Install it: pip install "lepton-jupyter[compress]"',
        ) from None
    batch = torch.export.Dim("batch", min=1)
    with quiet(), torch.no_grad():
        graph = torch.export.export(model, examples, dynamic_shapes=tuple({0: batch} for _ in examples)).module()
        quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
        prepared = quantize_pt2e.prepare_pt2e(graph, quantizer)
        for each in batches:
            prepared(*each)
        found = quantize_pt2e.convert_pt2e(prepared)
    used = {node.target for node in found.graph.nodes if node.op == "get_attr"}
    for name, _ in list(found.named_parameters()):
        if name not in used:
            owner, _, last = name.rpartition(".")
            delattr(found.get_submodule(owner), last)
    return found
