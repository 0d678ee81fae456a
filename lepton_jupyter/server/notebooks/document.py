"""Writing into a real-time-collaboration document: what all its pages show, and what its server saves by itself.

Runs in Jupyter Server. Two stacks offer such documents under ``settings["jupyter_server_ydoc"]``: jupyter-collaboration
(documents exist while somebody has them open) and jupyter-server-documents (they are made when asked for).
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from .cells import KEY, Content, find, holds, kept, marked

#: A document that was opened just now may not have its cells yet.
_TRIES, _PAUSE = 8, 0.25


async def open_document(settings: Mapping[str, Any], path: str) -> Any | None:
    """The shared document of notebook `path`, or None when it is not open or no such stack is loaded."""
    stack = settings.get("jupyter_server_ydoc")
    if stack is None or getattr(stack, "disable_rtc", False) or not hasattr(stack, "get_document"):
        return None
    try:
        return await stack.get_document(path=path, content_type="notebook", file_format="json", copy=False)
    except (ValueError, KeyError, RuntimeError):
        return None


def feeds_itself(settings: Mapping[str, Any]) -> bool:
    """Whether the stack runs cells itself and writes their outputs into the document, as jupyter-server-documents does.

    It is told by its older interface: the other one makes no document unless asked to.
    """
    get = getattr(settings.get("jupyter_server_ydoc"), "get_document", None)
    return get is not None and "create" not in inspect.signature(get).parameters


def mark_running(document: Any, job_id: str, code: str) -> None:
    """Note in the cell that runs `code` which job it is; where the stack runs cells, it does not tell us their ids.

    Nothing is noted unless exactly one cell can be meant: its code is that of the job, and it runs.
    """
    found = []
    for ycell in document.ycells:
        magic, _, body = str(ycell.get("source", "")).partition("\n")
        same = magic.startswith("%%lepton_") and body.rstrip("\n") == code.rstrip("\n")
        if ycell.get("cell_type") == "code" and same and ycell.get("execution_state") == "running":
            found.append(ycell)
    if len(found) == 1:
        with _transaction(document):
            found[0]["metadata"][KEY] = {"job": job_id}


async def write_document(document: Any, content: Content, *, only_look: bool = False) -> str:
    """Put `content` into its cell; "written", "there" when it was already, or "gone". With `only_look`, "differs".

    The outputs are replaced whole; nothing is done when they are there already, so that two who
    write the same leave it once. A cell that may not keep its trust is put in anew: pages decide on trust when they
    make a cell, not when its outputs change.
    """
    for attempt in range(_TRIES):
        cells = [_plain(document, number) for number in range(len(document.ycells))]
        number = find(cells, content)
        if number is not None or attempt == _TRIES - 1:
            break
        await asyncio.sleep(_PAUSE)
    if number is None:
        return "gone"
    cell = cells[number]
    if holds(cell, content):
        return "there"
    if only_look:
        return "differs"
    outputs = [*kept(cell.get("outputs", ()), content), *content.outputs]
    metadata = marked(cell.get("metadata", {}), content)
    count = cell.get("execution_count") if content.execution_count is None else content.execution_count
    with _transaction(document):
        ycell = document.ycells[number]
        if not content.inert and metadata.get("trusted"):
            metadata["trusted"] = False
            again = {**cell, "id": ycell["id"], "metadata": metadata, "outputs": outputs, "execution_count": count}
            document.set_ycell(number, document.create_ycell(_floats(again)))
            return "written"
        _clear(ycell)
    with _transaction(document):  # in the same one, pages would add a new stream to the old one, and drop both
        _append(ycell, outputs)
        ycell["metadata"][KEY] = _floats(metadata[KEY])
        if count is not None:
            ycell["execution_count"] = float(count)
        if content.final and ycell.get("execution_state") == "running":
            ycell["execution_state"] = "idle"
    return "written"


def _clear(ycell: Any) -> None:
    pycrdt = importlib.import_module("pycrdt")  # comes with the stack that made the document
    if isinstance(ycell.get("outputs"), pycrdt.Array):
        ycell["outputs"].clear()
    else:
        ycell["outputs"] = pycrdt.Array()


def _append(ycell: Any, outputs: list[dict[str, Any]]) -> None:
    pycrdt = importlib.import_module("pycrdt")
    made = []
    for output in outputs:
        output = _floats(output)
        if output["output_type"] == "stream":
            text = output["text"]
            output["text"] = pycrdt.Text(text if isinstance(text, str) else "".join(text))
        made.append(pycrdt.Map(output))
    ycell["outputs"].extend(made)


def _plain(document: Any, number: int) -> dict[str, Any]:
    cell: dict[str, Any] = document.get_cell(number)
    cell.setdefault("id", document.ycells[number].get("id"))  # left out of formats that have none in the file
    return cell


def _transaction(document: Any) -> contextlib.AbstractContextManager[Any]:
    transaction: contextlib.AbstractContextManager[Any] = document.ydoc.transaction()
    return transaction


def _floats(value: Any) -> Any:
    """A copy whose whole numbers are floats: others become JavaScript's BigInt, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _floats(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_floats(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return copy.copy(value)
