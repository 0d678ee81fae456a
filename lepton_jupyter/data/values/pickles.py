"""The last resort, and only when asked for: pickle. Both ends.

A pickle may run any code when it is opened. So it is written only under ``--allow-pickle NAME``, and opened only by a
receiver who was told the same; it holds the smallest part of a value that has no typed form, not the whole.
"""

from __future__ import annotations

import importlib
import pickle
from typing import TYPE_CHECKING, Any

from ...errors import Untransferable
from .codec import Codec, fields

if TYPE_CHECKING:
    from .packer import Packer
    from .unpacker import Unpacker

_CHOICES = (
    "Send what it is made of (its data, its settings) and make it again in the cell; or write it to a file and use "
    "--files; or, if you trust the other end with running any code here, name the variable with --allow-pickle."
)
#: Better choices, by the top-level package of a class and a word in the names of the class and its bases.
_ADVICE = {
    ("builtins", "generator"): "Send a list of what it yields, or make it in the cell.",
    ("builtins", "module"): "Import it in the cell.",
    ("_io", "IOBase"): "Send its path or its contents, or use --files.",
    ("torch", "Optimizer"): "Send optimizer.state_dict(), and make the optimizer in the cell.",
    ("torch", "LRScheduler"): "Send scheduler.state_dict(), and make the scheduler in the cell.",
    ("torch", "GradScaler"): "Send scaler.state_dict(), and make the scaler in the cell.",
    ("matplotlib", "Axes"): "Send the figure (as a picture), or the data, and draw it in the cell.",
    ("polars", "LazyFrame"): "Send what .collect() gives.",
    ("pandas", "GroupBy"): "Send the DataFrame, and group it in the cell.",
    ("sqlite3", "Connection"): "Send the database's path, or use --files.",
    ("xgboost", ""): "Write it with save_model(path), and use --files or lepton.artifact(path).",
    ("lightgbm", ""): "Write it with save_model(path), and use --files or lepton.artifact(path).",
    ("transformers", ""): "Write it with save_pretrained(folder), and use --files or lepton.artifact(folder).",
}


class _Pickle(Codec):
    tag = "pickle"

    def accepts(self, value: Any) -> bool:
        return True  # asked last

    def encode(self, value: Any, out: Packer) -> list[Any]:
        if not out.allow_pickle:
            cls = type(value)
            out.refuse(f"{cls.__module__}.{cls.__qualname__} has no safe form", _advice(cls))
        return [out.leaf(_dumps(value, out))]

    def decode(self, body: list[Any], src: Unpacker) -> Any:
        data = src.bytes(fields(body, object)[0])
        if not src.allow_pickle:
            raise Untransferable(
                "a pickle arrived, which would run any code its sender likes; it was not opened",
                hint="If you trust that host with this machine, name the variable with --allow-pickle and run again.",
            )
        return pickle.loads(data)  # noqa: S301 - asked for, by name


CODECS: tuple[Codec, ...] = (_Pickle(),)


def _dumps(value: Any, out: Packer) -> bytes:
    """Plain pickle, which names classes and functions; cloudpickle for what has no name, where it is installed."""
    try:
        return pickle.dumps(value, protocol=5)
    except Exception as error:  # noqa: BLE001 - any class may raise anything here
        try:
            return bytes(importlib.import_module("cloudpickle").dumps(value, protocol=5))
        except ImportError:
            out.refuse(f"pickle cannot hold it: {error}", "Perhaps cloudpickle can: pip install cloudpickle")
        except Exception as second:  # noqa: BLE001
            out.refuse(f"neither pickle nor cloudpickle can hold it: {second}", _CHOICES)


def _advice(cls: type) -> str:
    for base in cls.__mro__:
        package = base.__module__.partition(".")[0]
        for (known, word), advice in _ADVICE.items():
            if package == known and word in base.__qualname__:
                return advice
    return _CHOICES
