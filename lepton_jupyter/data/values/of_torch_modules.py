"""Codecs for PyTorch's modules, data sets and exported programs. Both ends.

A module is the name of its class and the attributes it would be copied with; its weights are tensors like all others.
Its class comes by import, or with the notebook's source. Where the class cannot be had, `torch.export` makes a program
that needs none; but PyTorch opens those with pickle and `sympify`, so only a host takes them, or a user who says so.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any

from ...errors import Malformed, UnknownClass, Untransferable
from .codec import Codec, fields, library
from .objects import name_of

if TYPE_CHECKING:
    from .packer import Packer
    from .unpacker import Unpacker

#: Parts of PyTorch whose modules are safe to be made from what a host says: no others hold code.
_PLAIN = ("torch.nn.", "torch.ao.nn.")
_DATA = {
    "DataLoader", "TensorDataset", "Subset", "ConcatDataset", "StackDataset",
    "RandomSampler", "SequentialSampler", "BatchSampler", "SubsetRandomSampler", "WeightedRandomSampler",
}  # fmt: skip


class _Module(Codec):
    tag = "torch.nn.Module"

    def accepts(self, value: Any) -> bool:
        torch = library("torch")
        return isinstance(value, torch.nn.Module) and not isinstance(value, torch.jit.ScriptModule)

    def encode(self, value: Any, out: Packer) -> list[Any]:
        cls = type(value)
        if hasattr(value, "_orig_mod"):
            out.refuse("it is compiled", "Send what torch.compile was given: model._orig_mod.")
        if cls.__name__ in ("DataParallel", "DistributedDataParallel"):
            out.refuse("it is bound to devices", "Send the module within: model.module.")
        if any(base.__module__.startswith("torch.fx.") for base in cls.__mro__):
            out.refuse("its code is its own", "Send torch.export.export(model, inputs), or model.state_dict().")
        state = value.__getstate__()
        step = [out.child(name) for name in state]
        return [*name_of(cls, out), step, [out.child(part, *_step(name)) for name, part in state.items()]]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        torch = library("torch")
        module, name, names, values = fields(body, str, str, list, list)
        if not src.trust.is_host and module.startswith("torch.") and not module.startswith(_PLAIN):
            raise UnknownClass(f"{module}.{name} is not taken from a host")
        try:
            cls = src.trust.find_class(module, name, torch.nn.Module)
        except UnknownClass as error:
            error.hint += (
                " Or bring its weights: --out with model.state_dict(); or what needs no class: "
                "torch.export.export(model, inputs)."
            )
            raise
        state = dict(zip(map(src.text, names), src.children(values)))
        for part, kind in (("_modules", torch.nn.Module), ("_parameters", torch.Tensor), ("_buffers", torch.Tensor)):
            found = state.get(part)
            if not isinstance(found, dict) or not all(isinstance(x, (kind, type(None))) for x in found.values()):
                raise Malformed(f"a module whose {part} are something else")
        made = object.__new__(cls)
        made.__setstate__(state)
        return made

    def describe(self, value: Any) -> str:
        count = sum(parameter.numel() for parameter in value.parameters())
        return f"{type(value).__name__} of {count:,} parameters"

    def parts(self, value: Any) -> Any:
        return [*value.parameters(), *value.buffers()]

    def preview(self, value: Any) -> str:
        return str(value)


class _Data(Codec):
    """DataLoader, TensorDataset and their kin: their attributes."""

    tag = "torch.utils.data"

    def accepts(self, value: Any) -> bool:
        cls = type(value)
        return cls.__module__.startswith("torch.utils.data.") and cls.__name__ in _DATA

    def encode(self, value: Any, out: Packer) -> list[Any]:
        state = {name: part for name, part in vars(value).items() if name != "_iterator"}
        if getattr(value, "worker_init_fn", None) or getattr(value, "_DataLoader__multiprocessing_context", None):
            out.refuse("it has workers of its own kind", "Send the data set, and make the DataLoader in the cell.")
        return [type(value).__name__, out.child(state)]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        name, item = fields(body, str, list)
        state = src.child(item)
        if name not in _DATA or type(state) is not dict:
            raise Malformed("an unknown data set")
        made = object.__new__(getattr(library("torch.utils.data"), name))
        vars(made).update(state)
        if name == "DataLoader":
            vars(made)["_iterator"] = None
        return made

    def describe(self, value: Any) -> str:
        return f"{type(value).__name__} of {len(value):,}"

    def parts(self, value: Any) -> Any:
        return vars(value).values()


class _Program(Codec):
    """A program of torch.export, or one of TorchScript: a file that PyTorch itself reads and writes."""

    tag = "torch.program"

    def accepts(self, value: Any) -> bool:
        return type(value).__name__ == "ExportedProgram" or isinstance(value, library("torch").jit.ScriptModule)

    def encode(self, value: Any, out: Packer) -> list[Any]:
        torch = library("torch")
        kind = "pt2" if type(value).__name__ == "ExportedProgram" else "jit"
        with tempfile.TemporaryDirectory(prefix="lepton-") as folder:
            path = os.path.join(folder, f"program.{kind}")
            if kind == "pt2":
                library("torch.export").save(value, path)
            else:
                torch.jit.save(value, path)
            return [kind, out.file(path, os.path.getsize(path))]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        torch = library("torch")
        kind, leaf = fields(body, str, list)
        path = src.path(leaf)
        if not (src.trust.is_host or src.allow_pickle):
            raise Untransferable(
                "a program of PyTorch arrived; PyTorch opens it with pickle, which runs any code, so it was not opened",
                hint="Bring model.state_dict() instead; or, if you trust that host, use --allow-pickle NAME.",
            )
        with open(path, "rb") as file:
            return torch.jit.load(file) if kind == "jit" else library("torch.export").load(file)

    def describe(self, value: Any) -> str:
        return f"{type(value).__name__}"


CODECS: tuple[Codec, ...] = (_Module(), _Data(), _Program())


def _step(name: str) -> tuple[str, str]:
    """How one writes a part of a module: its containers of parts are never written."""
    return ("", "") if name in ("_modules", "_parameters", "_buffers") else (".", name)
