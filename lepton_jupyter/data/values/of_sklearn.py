"""Codec for scikit-learn's estimators, by skops' format, which names every type in it. Both ends.

skops makes only types that it trusts or is told to trust. A host may be sent any. On the user's side every name in a
file is looked at before skops sees it: besides skops' own list, only the user's own classes and functions pass.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import TYPE_CHECKING, Any

from ...errors import Malformed, UnknownClass
from . import trees
from .codec import Codec, fields, library, nodes

if TYPE_CHECKING:
    from .packer import Packer
    from .unpacker import Unpacker

#: Packages whose names skops' own list decides about.
_PACKAGES = {"sklearn", "numpy", "scipy", "builtins", "collections", "functools", "operator", "datetime"}
#: What skops leaves to us: ways to split and to score; and trees, whose nodes we check.
_HARMLESS = re.compile(
    r"sklearn\.(model_selection\._split\.\w+|metrics\._\w+\.\w+|tree\._tree\.Tree"
    r"|ensemble\._hist_gradient_boosting\.predictor\.TreePredictor)"
)
_SCHEMA = "schema.json"


class _Estimator(Codec):
    tag = "sklearn.estimator"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, library("sklearn.base").BaseEstimator)

    def encode(self, value: Any, out: Packer) -> list[Any]:
        sio = library("skops.io")
        try:
            data = sio.dumps(value)
        except Exception as error:  # noqa: BLE001 - skops has a class of its own for each reason
            out.refuse(f"skops cannot hold it: {error!s:.300}", "Send its parameters, and fit it in the cell.")
        return [out.leaf(_settled(data))]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        sio = library("skops.io")
        data = src.bytes(fields(body, object)[0])
        with _opened(data) as file:
            for name in file.namelist():
                if name.endswith(".npy"):
                    _check_array(file.read(name))
            names = {
                (node["__module__"], node["__class__"]) for node in nodes(json.loads(file.read(_SCHEMA)), "__module__")
            }
        unknown = sio.get_untrusted_types(data=data)
        if not src.trust.is_host:
            own = {f"{module}.{name}" for module, name in names if self._is_own(module, name, src)}
            strange = [name for name in unknown if name not in own and not _HARMLESS.fullmatch(name)]
            if strange:
                raise UnknownClass(
                    f"an estimator with types that skops does not trust: {', '.join(strange)[:300]}",
                    hint="Bring its parameters or predictions; or, if you trust that host, use --allow-pickle NAME.",
                )
        made = sio.loads(data, trusted=unknown)
        if not src.trust.is_host:
            trees.check(made)
        return made

    def _is_own(self, module: str, name: str, src: Unpacker) -> bool:
        if module.partition(".")[0] in _PACKAGES:
            return False
        found = src.trust.find_reference(module, name)
        return not isinstance(found, type) or src.trust.find_own(module, name) is found

    def describe(self, value: Any) -> str:
        return type(value).__name__

    def nbytes(self, value: Any) -> int:
        return 1 << 10

    def parts(self, value: Any) -> Any:
        return vars(value).values()


CODECS: tuple[Codec, ...] = (_Estimator(),)


def _opened(data: bytes) -> zipfile.ZipFile:
    """The archive, which holds nothing compressed and nothing twice."""
    file = zipfile.ZipFile(io.BytesIO(data))
    entries = file.infolist()
    if sum(entry.file_size for entry in entries) > len(data) or len(set(file.namelist())) != len(entries):
        raise Malformed("a compressed skops file, which may be a bomb")
    return file


def _settled(data: bytes) -> bytes:
    """The same file without what differs each time it is written: dates, and addresses of objects."""
    with _opened(data) as old:
        schema = json.loads(old.read(_SCHEMA))
        ids: dict[Any, int] = {}
        files: dict[str, str] = {}
        for node in nodes(schema, "__module__"):
            if "__id__" in node:
                node["__id__"] = ids.setdefault(node["__id__"], len(ids) + 1)
            if node.get("file") in old.NameToInfo:
                suffix = node["file"].rpartition(".")[2]
                node["file"] = files.setdefault(node["file"], f"{len(files)}.{suffix}")
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w") as new:
            for before, after in files.items():
                new.writestr(zipfile.ZipInfo(after), old.read(before))
            new.writestr(zipfile.ZipInfo(_SCHEMA), json.dumps(schema))
        return sink.getvalue()


def _check_array(data: bytes) -> None:
    """Raise Malformed for an .npy file that holds objects, or less than its header says."""
    form = library("numpy").lib.format
    file = io.BytesIO(data)
    version = form.read_magic(file)
    read = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
    shape, _, dtype = read(file)
    size = dtype.itemsize
    for n in shape:
        size *= n
    if dtype.hasobject or size != len(data) - file.tell():
        raise Malformed("an array of an estimator that is not what its header says")
