"""Run a notebook cell on another machine as if it ran here.

Imported wherever a part of the product runs, also on hosts: standard library only, Python 3.9, and nothing at import
time. A public name is fetched when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

#: Public name -> the module that defines it.
_HOME = {
    "Job": "job",
    "JobState": "job",
    "LeptonError": "errors",
    "RemoteError": "errors",
}

__all__ = ["Job", "JobState", "LeptonError", "RemoteError", "__version__", "load_ipython_extension"]


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """IPython's hook for ``%load_ext lepton_jupyter``: make the magics known to this shell."""
    importlib.import_module("lepton_jupyter.magics").register(ipython)


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Jupyter Server's hook: where the extension is."""
    app = importlib.import_module("lepton_jupyter.server.app")
    return [{"module": "lepton_jupyter.server.app", "app": app.LeptonServer}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """JupyterLab's hook: where the built browser side lies, and by which name it is known."""
    return [{"src": "labextension", "dest": "lepton-jupyter"}]


def __getattr__(name: str) -> Any:
    """Fetch a public name at first use (PEP 562) and keep it."""
    if name == "__version__":
        metadata = importlib.import_module("importlib.metadata")
        value: Any = metadata.version("lepton-jupyter")
    elif name in _HOME:
        value = getattr(importlib.import_module(f"lepton_jupyter.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
