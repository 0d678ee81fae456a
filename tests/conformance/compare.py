"""When two runs of a cell count as showing the same: the one normalisation, and JupyterLab's rule for `\\r` and `\\b`.

What is replaced differs between two runs of the same cell on two plain kernels: addresses, process ids, random ids,
clock readings, the names of ipykernel's temporary files (their folder is named by the kernel's pid), and the folder
that the run was given. Nothing that says which road the cell took is in this list.
"""

from __future__ import annotations

import re
from typing import Any

#: Texts longer than this are compared as they are.
LONG = 1 << 20

_RULES = [
    (r"0x[0-9a-f]{6,16}\b", "0xADDRESS"),
    (r"ipykernel_\d+/", "ipykernel_PID/"),
    (r"(?<=Process-)\d+(:\d+)?|(?<=ForkPoolWorker-)\d+|(?<=SpawnPoolWorker-)\d+|(?<=Thread-)\d+|(?<=Task-)\d+", "N"),
    # %%time, %timeit, tqdm: what a clock said
    (r"(CPU times|Wall time|user|sys|total): [^\n]*", r"\1: TIME"),
    (r"[\d.]+ (ns|μs|us|ms|s) ± [^\n]*", "TIME"),
    (r"\[\d\d:\d\d(<|&lt;)(\d\d:\d\d|\?),\s+[\d.?]+\s?(it/s|s/it)\] *", "[TIME]"),
    (r"in [\d.]+ seconds", "in TIME seconds"),
]
_RULES_COMPILED = [(re.compile(pattern), word) for pattern, word in _RULES]
_HEX = "[0-9a-f]"
_RANDOM_ID = re.compile(rf"(?<!{_HEX})(?:{_HEX}{{32}}|{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}})(?!{_HEX})")


class Normal:
    """Normalises the outputs of one run. Random ids become numbers in the order in which they are met."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._ids: dict[str, str] = {}

    def outputs(self, outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The outputs of a cell, merged."""
        found: list[dict[str, Any]] = self.value(outputs)
        return found

    def value(self, value: Any) -> Any:
        """Any JSON value."""
        if isinstance(value, str):
            return self.text(value) if len(value) < LONG else value
        if isinstance(value, list):
            if value and all(isinstance(item, dict) and "output_type" in item for item in value):
                value = merged(value)  # a cell's, or those that an Output widget took
            items = [self.value(item) for item in value]
            # A recursion's frames: how many there are depends on those that lead to the cell.
            return [item for n, item in enumerate(items) if n == 0 or item != items[n - 1] or "----> " not in item]
        if isinstance(value, dict):
            return {self.value(key): self.value(item) for key, item in value.items()}
        return value

    def text(self, text: str) -> str:
        text = text.replace(self._folder, "FOLDER")
        text = _RANDOM_ID.sub(lambda found: self._ids.setdefault(found[0], f"ID-{len(self._ids)}"), text)
        for pattern, word in _RULES_COMPILED:
            text = pattern.sub(word, text)
        return text


def merged(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Outputs with neighbouring streams of one name made one, as front ends do, and `\\r` and `\\b` carried out."""
    found: list[dict[str, Any]] = []
    for output in map(dict, outputs):
        if output["output_type"] == "stream" and found and found[-1].get("name") == output["name"]:
            found[-1]["text"] += output["text"]
        else:
            found.append(output)
    for output in found:
        if output["output_type"] == "stream":
            output["text"] = terminal(output["text"])
    return found


def terminal(text: str) -> str:
    """`text` as JupyterLab shows it: `\\r` goes to the start of the line, `\\b` one back; what follows overwrites."""
    return "\n".join(_line(line) if "\r" in line or "\b" in line else line for line in text.split("\n"))


def _line(line: str) -> str:
    cells: list[str] = []
    cursor = 0
    for char in line:
        if char == "\r":
            cursor = 0
        elif char == "\b":
            cursor = max(0, cursor - 1)
        else:
            cells[cursor : cursor + 1] = [char]
            cursor += 1
    return "".join(cells)
