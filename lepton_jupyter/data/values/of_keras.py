"""Codec for Keras models, in the `.keras` format and Keras' safe mode. Both ends.

The format is an archive of a configuration and weights. Safe mode alone has let configurations name any function
(CVE-2025-1550 and others), so on the user's side the configuration is read by ourselves first: it may name Keras' own
layers and what the user has defined, nothing that holds code or reads files. Its parts are blobs of their own.
"""

from __future__ import annotations

import io
import json
import os
import re
import tempfile
import types
import zipfile
from typing import TYPE_CHECKING, Any

from ...errors import Malformed, UnknownClass
from .codec import Codec, fields, library, nodes

if TYPE_CHECKING:
    from .packer import Packer
    from .unpacker import Unpacker

_MEMBER = re.compile(r"(metadata\.json|config\.json|model\.weights\.h5|assets/[\w./-]+)")
#: Objects of Keras that hold code, or that read files or addresses of their own.
_REFUSED = {"Lambda", "__lambda__", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TFSMLayer", "__typespec__"}
#: Data in a configuration.
_DATA = {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__complex__"}
#: Settings that may be the name of a file.
_FILES = ("vocabulary", "idf_weights", "filepath", "file_path")


class _Model(Codec):
    tag = "keras.Model"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, library("keras").Model)

    def encode(self, value: Any, out: Packer) -> list[Any]:
        with tempfile.TemporaryDirectory(prefix="lepton-") as folder:
            path = os.path.join(folder, "model.keras")
            value.save(path)
            with zipfile.ZipFile(path) as file:
                members = {name: file.read(name) for name in file.namelist() if not name.endswith("/")}
        about = json.loads(members["metadata.json"])
        about["date_saved"] = ""  # so that an unchanged model is the same document
        members["metadata.json"] = json.dumps(about).encode()
        config = json.loads(members["config.json"])
        own = _own(config, value)
        code = sorted({node["class_name"] for node in nodes(config, "class_name") if node["class_name"] in _REFUSED})
        if code:
            out.refuse(f"it holds code: {', '.join(code)}", "Use a layer of your own instead: class L(keras.Layer).")
        parts = [list(members), [out.leaf(data) for data in members.values()]]
        return [*parts, list(own), [out.child(found, ".", name) for name, found in own.items()]]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        names, leaves, mine, items = fields(body, list, list, list, list)
        if len(names) != len(leaves) or not all(_is_member(name) for name in names):
            raise Malformed("a Keras model with a part that is none")
        members = dict(zip(names, map(src.bytes, leaves)))
        own = dict(zip(map(str, mine), src.children(items)))
        if not src.trust.is_host:
            _check_config(json.loads(members["config.json"]), own)
            _check_weights(members["model.weights.h5"])
        with tempfile.TemporaryDirectory(prefix="lepton-") as folder:
            path = os.path.join(folder, "model.keras")
            with zipfile.ZipFile(path, "w") as file:
                for name, data in members.items():
                    file.writestr(name, data)
            keras = library("keras")
            return keras.saving.load_model(path, custom_objects=own, safe_mode=True)

    def describe(self, value: Any) -> str:
        return f"{type(value).__name__} model of {value.count_params():,} parameters"

    def nbytes(self, value: Any) -> int:
        return sum(int(library("numpy").prod(v.shape)) * 4 for v in value.variables)

    def preview(self, value: Any) -> str:
        lines: list[str] = []
        value.summary(print_fn=lambda line, **_: lines.append(line), line_length=90)
        return "\n".join(lines)


CODECS: tuple[Codec, ...] = (_Model(),)


def _is_member(name: Any) -> bool:
    return isinstance(name, str) and bool(_MEMBER.fullmatch(name)) and ".." not in name.split("/")


def _own(config: Any, model: Any) -> dict[str, Any]:
    """The user's classes and functions that a configuration names, by the names Keras asks for."""
    known: dict[str, Any] = {}
    for part in [model, *model._flatten_layers(), getattr(model, "optimizer", None), getattr(model, "loss", None)]:
        for thing in (part, type(part), *(vars(part).values() if hasattr(part, "__dict__") else ())):
            if isinstance(thing, (type, types.FunctionType)) and not thing.__module__.startswith("keras."):
                known[thing.__name__] = thing
    found: dict[str, Any] = {}
    for node in nodes(config, "class_name"):
        name = str(node.get("config") if node["class_name"] == "function" else node["class_name"])
        if name in known:
            key = name if node["class_name"] == "function" else node.get("registered_name") or name
            found[key] = known[name]
    return found


def _check_config(config: Any, own: dict[str, Any]) -> None:
    """Raise UnknownClass for a configuration that names anything but plain Keras and the user's `own`."""
    if not all(isinstance(thing, (type, types.FunctionType)) for thing in own.values()):
        raise Malformed("a Keras model with a class that is none")
    for node in nodes(config, "class_name"):
        kind, module, inner = node["class_name"], node.get("module"), node.get("config")
        name = inner if kind == "function" else kind
        plain = isinstance(module, str) and module.split(".")[0] == "keras"
        by_name = kind == "function" and module in ("builtins", None)  # Keras looks among its own
        known = name in own or node.get("registered_name") in own or kind in _DATA
        if not isinstance(name, str) or name in _REFUSED or not (plain or by_name or known):
            raise UnknownClass(
                f"a Keras model with {name!r:.60}, which is not plain Keras and not known here; it was not opened",
                hint="Define it here first; or bring the weights: model.get_weights().",
            )
        if isinstance(inner, dict) and any(isinstance(inner.get(key), str) for key in _FILES):
            raise UnknownClass("a Keras model that reads a file of this machine; it was not opened")


def _check_weights(data: bytes) -> None:
    """Raise Malformed for weights that HDF5 would read from other files."""
    h5py = library("h5py")

    def check(name: str, link: Any) -> None:
        if isinstance(link, (h5py.ExternalLink, h5py.SoftLink)):
            raise Malformed("a Keras model whose weights lie in other files")

    with h5py.File(io.BytesIO(data), "r") as file:
        waiting = [file]
        while waiting:
            group = waiting.pop()
            for name in group:
                check(name, group.get(name, getlink=True))
                part = group[name]
                if isinstance(part, h5py.Group):
                    waiting.append(part)
                elif part.external or part.is_virtual or part.nbytes > 1000 * len(data):
                    raise Malformed("a Keras model whose weights are not in its file")
