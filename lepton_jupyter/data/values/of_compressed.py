"""Codecs for what compressing a model gives back: models that ONNX Runtime or LiteRT run, and the report. Both ends.

Such a model is a file; it travels as its bytes. On the user's side that file was written by a host, so before a runtime
opens it, it is looked at: it may not say that part of it lies in other files of this machine.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError, Malformed, UnknownClass
from .codec import Codec, fields, library
from .objects import _DataClass

if TYPE_CHECKING:
    from .packer import Packer
    from .unpacker import Unpacker

_ML = "lepton_jupyter.ml."


class _FileModel(Codec):
    """A model of ours that is a file in memory: `data`."""

    module = name = words = ""

    def accepts(self, value: Any) -> bool:
        return type(value).__name__ == self.name and type(value).__module__ == self.module

    def encode(self, value: Any, out: Packer) -> list[Any]:
        return [out.leaf(value.data)]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        (leaf,) = fields(body, object)
        data = src.bytes(leaf)
        if not src.trust.is_host:
            self.check(data)
        try:
            return getattr(library(self.module), self.name)(data)
        except ConfigError as error:
            raise Malformed(error.message) from error

    def check(self, data: bytes) -> None:
        """Raise Malformed for a file that must not be opened."""

    def describe(self, value: Any) -> str:
        return f"{self.words} model"

    def nbytes(self, value: Any) -> int:
        return len(value.data)

    def preview(self, value: Any) -> str:
        return f"{self.words} model of {len(value.data):,} bytes"


class _Onnx(_FileModel):
    tag = "lepton_jupyter.onnx"
    module, name, words = f"{_ML}frameworks.onnx", "OnnxModel", "ONNX"

    def check(self, data: bytes) -> None:
        onnx = library("onnx")
        for part in _messages(onnx.load_from_string(data)):
            if isinstance(part, onnx.TensorProto) and (part.external_data or part.data_location):
                raise Malformed("an ONNX model whose weights lie in other files; it was not opened")


class _LiteRt(_FileModel):
    tag = "lepton_jupyter.litert"
    module, name, words = f"{_ML}frameworks.litert", "LiteRtModel", "LiteRT"


class _Figures(_DataClass):
    """The report and the figures in it: dataclasses of ours, which the user's kernel may not have imported yet."""

    tag = "lepton_jupyter.ml"

    def accepts(self, value: Any) -> bool:
        return type(value).__module__.startswith(_ML) and super().accepts(value)

    def _class(self, src: Unpacker, module: str, name: str) -> Any:
        if not module.startswith(_ML) or ".." in module:
            raise UnknownClass(f"{module}.{name} is not one of ours")
        try:
            importlib.import_module(module)
        except ImportError as error:
            hint = "Do both ends run the same version of lepton? pip install numpy brings what it needs."
            raise UnknownClass(f"{module}.{name} cannot be had here: {error}", hint=hint) from None
        return super()._class(src, module, name)


CODECS: tuple[Codec, ...] = (_Onnx(), _LiteRt(), _Figures())


def _messages(message: Any) -> Iterator[Any]:
    """A protobuf message and all within."""
    waiting = [message]
    while waiting:
        part = waiting.pop()
        yield part
        for field, value in part.ListFields():
            if field.type == field.TYPE_MESSAGE:
                waiting.extend(value if hasattr(value, "__len__") and not hasattr(value, "ListFields") else [value])
