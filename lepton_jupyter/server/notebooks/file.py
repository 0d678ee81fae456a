"""Writing into a notebook that nobody has open, through the server's ContentsManager. Runs in Jupyter Server.

The manager is the one that Jupyter itself saves with: its hooks run, its checkpoints and the notebook's signature are
kept, and it may keep notebooks elsewhere than in files. Only the one cell changes.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from tornado.web import HTTPError

from .cells import Content, find, holds, kept, marked

_TRIES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Filed:
    """What became of it: "written", "there" (nothing to do), "gone" (no such cell), "missing" (no such notebook)."""

    state: str
    hash: str | None = None  # of the file now, where the manager tells


async def write_file(contents: Any, path: str, content: Content) -> Filed:
    """Put `content` into its cell of the closed notebook `path`.

    Raises tornado's HTTPError for what the manager cannot do (no permission, disk full, no notebook).
    """
    for _ in range(_TRIES):
        try:
            model = await _get(contents, path, content=True)
        except HTTPError as error:
            if error.status_code == 404:
                return Filed(state="missing")
            raise
        notebook = model["content"]
        number = find(notebook["cells"], content)
        if number is None:
            return Filed(state="gone")
        cell = notebook["cells"][number]
        if holds(cell, content):
            return Filed(state="there", hash=model.get("hash"))
        _change(cell, content)
        now = await _get(contents, path, content=False)
        if _stamp(now) != _stamp(model):
            continue  # somebody saved it meanwhile: theirs is to be changed
        await _awaited(contents.save({"type": "notebook", "format": "json", "content": notebook}, path))
        return Filed(state="written", hash=(await _get(contents, path, content=False)).get("hash"))
    raise HTTPError(409, f"{path} is being written by somebody else all the time")


def _change(cell: Any, content: Content) -> None:
    cell["outputs"] = [*kept(cell["outputs"], content), *content.outputs]
    if content.execution_count is not None:
        cell["execution_count"] = content.execution_count
    trusted = cell["metadata"].get("trusted", False) and content.inert  # the manager signs by it, and keeps it nowhere
    cell["metadata"] = {**marked(cell["metadata"], content), "trusted": trusted}


def _stamp(model: dict[str, Any]) -> Any:
    return model.get("hash") or model.get("last_modified")


async def _get(contents: Any, path: str, *, content: bool) -> dict[str, Any]:
    known = inspect.signature(contents.get).parameters
    extra = {"require_hash": True} if "require_hash" in known else {}
    model: dict[str, Any] = await _awaited(contents.get(path, content=content, type="notebook", **extra))
    return model


async def _awaited(value: Any) -> Any:
    """Managers are of two kinds: those that answer, and those that answer later."""
    return await value if inspect.isawaitable(value) else value
