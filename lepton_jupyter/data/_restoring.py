"""Definitions of the notebook are made again: the far end of `source`. In the remote kernel."""

from __future__ import annotations
import __future__

import importlib
import linecache
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from ..errors import LeptonError

#: Where a namespace keeps what came to it: name -> (what was made, its digest, what it was made from).
_KNOWN = "__lepton_definitions__"
_MISSING = object()

#: Packages whose name differs from that of the module they bring.
_PACKAGES = {
    "attr": "attrs", "bs4": "beautifulsoup4", "cv2": "opencv-python-headless", "dateutil": "python-dateutil",
    "dotenv": "python-dotenv", "faiss": "faiss-cpu", "fitz": "PyMuPDF", "google.protobuf": "protobuf",
    "PIL": "pillow", "skimage": "scikit-image", "sklearn": "scikit-learn", "yaml": "PyYAML",
}  # fmt: skip


def restore(
    doc: Mapping[str, Any], namespace: MutableMapping[str, Any], want: Callable[[str], object] = lambda name: None
) -> list[str]:
    """Import the modules and run the definitions of `doc` in `namespace`; the names that were made or made anew.

    A definition that is there by the same digest, from the same parts, is left alone, so its instances stay its
    instances. `want(name)` is called before a definition that may need the value `name` at once, and may set it.
    Raises LeptonError that names every missing module and what to install, before anything is run.
    """
    _import_all(doc, namespace)
    known = namespace.setdefault(_KNOWN, {})
    made = []
    for entry in doc.get("definitions", ()):
        for name in [*entry["values"], *entry["soon"]]:
            want(name)
        parts = {name: namespace.get(name, _MISSING) for name in [*entry["needs"], *entry["values"]]}
        if not _is_there(entry, parts, known, namespace):
            _run(entry, namespace)
            known[entry["name"]] = (namespace[entry["name"]], entry["digest"], parts)
            made.append(entry["name"])
    return made


def _is_there(
    entry: Mapping[str, Any], parts: Mapping[str, Any], known: Mapping[str, Any], namespace: Mapping[str, Any]
) -> bool:
    name = entry["name"]
    if name not in known or name not in namespace:
        return False
    _, digest, before = known[name]
    return digest == entry["digest"] and all(before.get(part) is value for part, value in parts.items())


def _run(entry: Mapping[str, Any], namespace: MutableMapping[str, Any]) -> None:
    name, made, text = entry["name"], entry["made"], entry["text"]
    where = f"cell {entry['cell']}" if entry["cell"] else "the notebook"
    file = f"<{name} of {where}, {entry['digest'][:8]}>"
    source = "\n" * (entry["line"] - 1) + text  # tracebacks count lines as the notebook's cell does
    linecache.cache[file] = (len(source), None, [line + "\n" for line in source.split("\n")], file)
    before = namespace.get(made, _MISSING)
    flags = __future__.annotations.compiler_flag if entry["future"] else 0
    try:
        exec(compile(source, file, "exec", flags=flags, dont_inherit=True), namespace)  # type: ignore[arg-type] # noqa: S102 - the user's code
    except Exception as error:
        raise LeptonError(
            f"{name}, from {where}, cannot be defined on this host: {type(error).__name__}: {error}",
            hint="What its decorators, defaults and bases need has to work here too.",
        ) from error
    if made != name:
        namespace[name] = namespace[made]
        if before is _MISSING:
            del namespace[made]
        else:
            namespace[made] = before


def _import_all(doc: Mapping[str, Any], namespace: MutableMapping[str, Any]) -> None:
    missing = {}
    for module in dict.fromkeys(
        [*doc.get("modules", ()), *(ref.partition(":")[0] for ref in doc.get("names", {}).values())]
    ):
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            missing[str(error.name or module)] = module
        except Exception as error:
            raise LeptonError(
                f"the module {module} is on this host and cannot be imported: {type(error).__name__}: {error}",
                hint="The cell was not run. Its packages may need other versions or system libraries here.",
            ) from error
    if missing:
        packages = dict.fromkeys(
            _PACKAGES.get(name, _PACKAGES.get(top, top)) for name in missing for top in [name.split(".")[0]]
        )
        raise LeptonError(
            f"this host has no module {', '.join(sorted(missing))}; the cell was not run",
            hint=f"Let --env auto bring it, or install it there: pip install {' '.join(packages)}",
        )
    for name, ref in doc.get("names", {}).items():
        namespace[name] = _object(ref)


def _object(ref: str) -> Any:
    module, _, path = ref.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split(".") if path else ():
        found = getattr(found, part, _MISSING)
        if found is _MISSING:
            version = getattr(importlib.import_module(module.partition(".")[0]), "__version__", "unknown")
            raise LeptonError(
                f"{module} on this host has no {path} (its version is {version}); the cell was not run",
                hint="The notebook has another version of it: let --env auto bring the same one.",
            )
    return found
