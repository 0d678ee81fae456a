"""Writing through a page that has the notebook open: its model is the notebook, the file only its last saving.

Runs in Jupyter Server; labextension/src/notebooks does what is asked here. One page is asked at a time.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

from .cells import Content
from .claims import Claims, Client

#: Seconds that a page has to answer; then the next one is asked.
PATIENCE = 8.0


async def write_by_tab(
    claims: Claims, path: str, content: Content, patience: float = PATIENCE
) -> Mapping[str, Any] | None:
    """Have the first page that answers put `content` into its cell. None when no page did.

    The answer's `state` is "written" (also when it was there already), "gone" (`why` says "again" when the cell was
    run again) or "failed"; `saved` says whether the page has saved it.
    """
    live = await find_live(claims, path, content) if len(claims.of(path)) > 1 else None
    pages = [client for client, _ in claims.of(path)]
    for client in sorted(pages, key=lambda client: live is None or client is not live[0]):
        answer = await _ask(claims, client, path, content, patience)
        if answer is not None and answer.get("state") in ("written", "gone", "failed"):
            return answer
    return None


async def find_live(
    claims: Claims, path: str, content: Content, patience: float = PATIENCE / 4
) -> tuple[Client, Mapping[str, Any]] | None:
    """The page in which the cell gets the job's outputs from its kernel, and its answer; None when there is none.

    `whole` in its answer says that it has got all of them: its connection to the kernel was never cut meanwhile.
    """
    for client, _ in claims.of(path):
        answer = await _ask(claims, client, path, content, patience, probe=True)
        if answer is not None and answer.get("state") == "live":
            return client, answer
    return None


async def _ask(
    claims: Claims, client: Any, path: str, content: Content, patience: float, probe: bool = False
) -> Mapping[str, Any] | None:
    fields = {name: value for name, value in _fields(content).items() if name != "job_id"}
    outputs = [] if probe else list(content.outputs)
    message = {"type": "write", "job": content.job_id, "path": path, **fields, "outputs": outputs, "probe": probe}
    return await claims.ask(client, {**message, "now": time.time()}, patience)


def _fields(content: Content) -> dict[str, Any]:
    return {field.name: getattr(content, field.name) for field in dataclasses.fields(content)}
