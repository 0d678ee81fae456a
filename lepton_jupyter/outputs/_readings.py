"""What one printed line tells: how far something is, and the metrics in it. Pure; no state.

Knows tqdm's bars, those of Keras 2 and 3, lines such as ``Epoch 3/20``, bars of other tools with a percentage, HTML
``<progress>`` with a table of results below it as transformers shows one, and metrics written as ``loss: 0.41``,
``val_loss=0.41``, ``'loss': 0.41`` or ``Test Accuracy: 91 %``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_NUMBER = r"\d+(?:\.\d+)?[kKMGT]?"
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_TQDM = re.compile(rf"(?P<done>{_NUMBER})/(?P<total>{_NUMBER})\s*\[[\d:.]+<[\d:.?]+(?:,\s*(?P<rate>[^,\]]*))?")
_EPOCHS = re.compile(r"\s*epochs?\s*:", re.IGNORECASE)
_KERAS = re.compile(r"\s*(?P<done>\d+)/(?P<total>\d+)\s+(?:━|\[[=>.]+\]|-\s)")
_COUNTER = re.compile(
    r"(?<![a-z])(?P<word>epoch|step|iter|iteration|batch|round|trial|fold|episode|generation)s?"
    r"[\s:#=\[(]*(?P<done>\d+)\s*(?:/|of)\s*(?P<total>\d+)",
    re.IGNORECASE,
)
_PERCENT = re.compile(r"(?<![\d.])(?P<done>\d{1,3}(?:\.\d+)?)\s?%")
_BAR = re.compile("[━█▉-▏#=]{2,}")
_BRACKET = re.compile(r"\[\s*(?P<done>\d+)/(?P<total>\d+)\b")
_HTML_BAR = re.compile(r"""<progress\s[^>]*?value=['"](?P<done>[\d.]+)['"]\s[^>]*?max=['"](?P<total>[\d.]+)['"]""")

_CELL = re.compile("<t[hd]>([^<]{1,80})<")

_PREFIX = r"(?:(?:val|valid|validation|test|eval|train|training|avg|average|mean|running|total)[\s_/-]){0,2}"
_METRIC = re.compile(
    rf"(?<![a-z])(?P<name>{_PREFIX}(?:loss|accuracy|acc|auc|f1|mae|mse|rmse|perplexity|ppl|reward|score|dice|iou|map|bleu"
    r"|wer|error))['\"]?\s*(?:[:=]\s*|\s)(?P<value>[-+]?(?:(?:\d*\.\d+|\d+(?!\.))(?:e[-+]?\d+)?|nan|inf))(?![\w/])",
    re.IGNORECASE,
)
_SAME = {"valid": "val", "validation": "val", "training": "train", "acc": "accuracy"}
_IDLE = {"avg", "average", "mean", "running", "total"}
#: The end of a line that is looked at.
_WIDEST = 600
_SCALE = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """How far something is: `done` of `total` units are behind."""

    key: str  # tells one bar from another
    done: float
    total: float
    unit: str = ""
    nested: bool = True  # may be the inner part of another; False for a bar on the terminal's own line


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One line: at most one step, and metrics by their common names (a value that is no number is None)."""

    step: Step | None
    metrics: dict[str, float | None]


def read_line(line: str) -> Reading:
    """What a line of text tells."""
    plain = _ANSI.sub("", line[-_WIDEST:])
    metrics = {_common(found["name"]): _value(found["value"]) for found in _METRIC.finditer(plain)}
    return Reading(step=_step(plain, line, bool(metrics)), metrics=metrics)


def read_html(text: str) -> Step | None:
    """The first progress bar in HTML."""
    found = _HTML_BAR.search(text)
    return _made("html", found, "") if found else None


def read_table(text: str) -> list[str]:
    """The rows of the table below a progress bar in HTML, each as a line that names its columns."""
    before, _, table = text.partition("<table")
    if "<progress" not in before:
        return []  # somebody's data
    columns, *rows = [_CELL.findall(row) for row in table.partition("</table")[0].split("<tr")[1:]] or [[]]
    return [", ".join(f"{name}: {value}" for name, value in zip(columns, row, strict=False)) for row in rows]


def lines_of(text: str) -> list[str]:
    """The lines as they were once to be seen: a bar is drawn over with ``\\r`` or ``\\b``."""
    return [line for line in re.split("[\r\n]|\b+", text) if line.strip()]


def _step(plain: str, line: str, has_metrics: bool) -> Step | None:
    if "/" not in plain and "%" not in plain and " of " not in plain:
        return None
    if "<" in plain and (found := _TQDM.search(plain)):
        before = plain[: found.start()].partition("%|")[0]
        what = re.sub(r"[\d:,.=\s]+", " ", before).strip()
        unit = "epoch" if _EPOCHS.match(before) else _unit(found["rate"] or "")
        return _made(f"tqdm {what}", found, unit, nested="\x1b[A" in line)
    if found := _KERAS.match(plain):
        return _made("keras", found, "step")
    if found := _COUNTER.search(plain):
        word = found["word"].lower()
        # A line with results was written at the end of its epoch; one without, at its beginning.
        return _made(word, found, word, begun=0 if has_metrics else 1)
    if (found := _BRACKET.search(plain)) and has_metrics:
        return _made("bracket", found, "")
    if (bar := _BAR.search(plain)) and (found := _PERCENT.search(plain)):
        what = re.sub(r"[\d.:%\s]+", " ", plain[: min(bar.start(), found.start())]).strip()
        return _made(f"percent {what}", found, "%")
    return None


def _made(key: str, found: re.Match[str], unit: str, *, nested: bool = True, begun: int = 0) -> Step | None:
    done = _scaled(found["done"]) - begun
    total = _scaled(found["total"]) if "total" in found.re.groupindex else 100.0
    if total <= 1 or done > total:
        return None
    return Step(key=f"{key} {total:g}", done=max(0.0, done), total=total, unit=unit, nested=nested)


def _scaled(text: str) -> float:
    return float(text[:-1]) * _SCALE[text[-1]] if text[-1] in _SCALE else float(text)


def _unit(rate: str) -> str:
    """tqdm says its unit in the rate: ``2.3it/s`` or ``1.2s/it``."""
    ahead, _, behind = rate.strip().partition("/")
    unit = (ahead if behind == "s" else behind).strip().lstrip("0123456789.?kKMGT")
    return unit or "it"


def _common(name: str) -> str:
    words = [_SAME.get(word, word) for word in re.split(r"[\s_/-]+", name.lower())]
    return "_".join(word for word in words if word not in _IDLE)


def _value(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None
