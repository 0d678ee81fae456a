"""How much a job may put into a notebook, and the words that stand where something was left out.

Runs in Jupyter Server; a pure function. A notebook of hundreds of megabytes can be opened by nobody, so there is an
end; the whole of it stays with the job.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ...outputs import Output

#: Characters of one stream; the beginning and the end are kept.
TEXT = 2_000_000
_HEAD = TEXT // 4
#: Characters (as JSON) of one other output, and of all of a cell's.
ONE, ALL = 16_000_000, 48_000_000
#: Outputs of one cell; the beginning and the end are kept.
COUNT = 2_000
_WIDGET = "application/vnd.jupyter.widget-view+json"


def within_limits(outputs: Sequence[Output], job_id: str, *, widgets: bool = True) -> list[Output]:
    """`outputs` as a notebook may hold them; what is left out is said where it was.

    Without `widgets` their kernel is gone: what they show as text takes the place of a view that would never load.
    """
    whole = f"all of it: %lepton_logs {job_id}, or open the result in the sidebar"
    found = [_one(output if widgets else _static(output), whole) for output in outputs]
    if len(found) > COUNT:
        head, tail = COUNT // 4, COUNT - COUNT // 4
        words = f"[lepton: {len(found) - COUNT:,} outputs are left out here; {whole}]\n"
        found = [*found[:head], _say(words), *found[-tail:]]
    total = 0
    for number, output in enumerate(found):
        total += _size(output)
        if total > ALL:
            words = f"[lepton: the last {len(found) - number:,} outputs are left out, the cell has too much; {whole}]\n"
            return [*found[:number], _say(words)]
    return found


def _one(output: Output, whole: str) -> Output:
    if output["output_type"] == "stream":
        text = output["text"] if isinstance(output["text"], str) else "".join(output["text"])
        if len(text) <= TEXT:
            return output
        words = f"\n[lepton: {len(text) - TEXT:,} characters are left out here; {whole}]\n"
        return {**output, "text": text[:_HEAD] + words + text[-(TEXT - _HEAD) :]}
    size = _size(output)
    if size <= ONE:
        return output
    if output["output_type"] == "error":
        return {**output, "traceback": [f"[lepton: {size:,} characters of traceback are left out; {whole}]"]}
    kinds = ", ".join(output.get("data", {}))
    words = f"[lepton: an output of {size:,} characters ({kinds}) is left out here; {whole}]"
    return {**output, "data": {"text/plain": words}, "metadata": {}}


def _static(output: Output) -> Output:
    data = output.get("data", {})
    if _WIDGET not in data:
        return output
    rest = {mime: value for mime, value in data.items() if mime != _WIDGET}
    return {**output, "data": rest or {"text/plain": "[lepton: a widget, whose kernel has ended]"}}


def _say(words: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stderr", "text": words}


def _size(output: Output) -> int:
    if output["output_type"] == "stream":
        return len(output["text"])
    return len(json.dumps(output, ensure_ascii=False))
