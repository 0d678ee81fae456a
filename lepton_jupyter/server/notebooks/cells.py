"""Finding a job's cell in a notebook, and telling whether it holds the job's outputs already. Pure functions.

Runs in Jupyter Server. A cell is found by its id, else by the job id in its metadata, and never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...outputs import Output
from ...widgets.static import MARK, WIDGET_VIEW

#: Where a cell's metadata say which job its outputs are of: ``{"lepton": {"job": ID}}``.
KEY = "lepton"
GONE = "cell gone – open result"
RAN_AGAIN = "the cell was run again since – open result"


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """What belongs into a cell: all outputs of one job up to event `seq`."""

    job_id: str
    cell_id: str
    created: float  # when the job was made, in seconds since the epoch
    outputs: Sequence[Output]
    seq: int
    final: bool  # no more will come
    execution_count: int | None  # the number in the cell's brackets, None where unknown
    inert: bool  # nothing in it could run a script, so the cell may keep its trust
    card: Mapping[str, Any] | None = None  # the job's card as it stays; None while its kernel may draw it


def job_of(cell: Mapping[str, Any]) -> str:
    """The job whose outputs a cell says it holds, "" for none."""
    marked = cell.get("metadata", {}).get(KEY, {})
    job = marked.get("job", "") if isinstance(marked, Mapping) else ""
    return job if isinstance(job, str) else ""


def find(cells: Sequence[Mapping[str, Any]], content: Content) -> int | None:
    """The number of the job's cell; None when it is gone, or when several could be meant."""
    code = [number for number, cell in enumerate(cells) if cell.get("cell_type") == "code"]
    by_id = [number for number in code if content.cell_id and cells[number].get("id") == content.cell_id]
    if len(by_id) == 1:
        return by_id[0]
    by_job = [number for number in code if job_of(cells[number]) == content.job_id]
    return by_job[0] if len(by_job) == 1 else None


def holds(cell: Mapping[str, Any], content: Content) -> bool:
    """Whether writing would change nothing that one sees."""
    outputs = cell.get("outputs", ())
    if job_of(cell) != content.job_id or not same(outputs, content.outputs):
        return False
    if any(_is_live(output, content) for output in outputs):
        return False
    return content.execution_count is None or cell.get("execution_count") == content.execution_count


def same(left: Sequence[Mapping[str, Any]], right: Sequence[Mapping[str, Any]]) -> bool:
    """Whether two lists of outputs look the same: however streams are cut, and whatever a result is numbered."""
    return _normal(left) == _normal(right)


def marked(metadata: Mapping[str, Any], content: Content) -> dict[str, Any]:
    """A cell's metadata that also say which job its outputs are of."""
    old = metadata.get(KEY, {})
    return {**metadata, KEY: {**(old if isinstance(old, Mapping) else {}), "job": content.job_id}}


def kept(outputs: Sequence[Mapping[str, Any]], content: Content) -> list[dict[str, Any]]:
    """The outputs of a cell that are this side's own (a job's card) and so stay above those of the job.

    The card of a job that is over is drawn for good: the kernel that kept it up to date may be gone.
    """
    found = [dict(output) for output in outputs if KEY in (output.get("metadata") or {})]
    return [{**output, "data": dict(content.card or {})} if _is_live(output, content) else output for output in found]


def _is_live(output: Mapping[str, Any], content: Content) -> bool:
    """Whether it is the job's card, with widgets, though nothing of it will change any more."""
    ours = (output.get("metadata") or {}).get(KEY)
    card = ours.get(MARK) if isinstance(ours, Mapping) else None
    return content.card is not None and card == content.job_id and WIDGET_VIEW in (output.get("data") or {})


def _normal(outputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for output in outputs:
        if KEY in (output.get("metadata") or {}):
            continue
        kind = output.get("output_type")
        if kind == "stream":
            text = _joined(output.get("text", ""))
            if found and found[-1].get("name") == output.get("name") and found[-1]["output_type"] == kind:
                found[-1]["text"] += text
            else:
                found.append({"output_type": kind, "name": output.get("name"), "text": text})
        elif kind == "error":
            found.append({key: output.get(key) for key in ("output_type", "ename", "evalue", "traceback")})
        else:
            data = {mime: _joined(value) for mime, value in (output.get("data") or {}).items()}
            found.append({"output_type": kind, "data": data, "metadata": dict(output.get("metadata") or {})})
    return found


def _joined(value: Any) -> Any:
    """Text that a file keeps as a list of lines, as one text."""
    lines = isinstance(value, list) and all(isinstance(line, str) for line in value)
    return "".join(value) if lines else value
