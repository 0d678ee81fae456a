"""A job's card as HTML with an SVG chart, and as plain text: what stays in the notebook when nothing is live.

Runs in the notebook's kernel and wherever a card is brought up to date; needs no ipywidgets. Pure functions of `Facts`.
Everything from a job or a host is text here and is escaped; the HTML has no script, no id, no link. Colours are those
of the front end's theme, with others to fall back on where there is none, as in nbconvert.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..job import Job, JobState
from ..outputs.words import clock, duration, escaped, size, visible

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
#: What marks an output as a card, in its metadata: {"lepton": {"card": JOB}}.
MARK = "card"

ICONS = {
    JobState.NEW: "◌",
    JobState.QUEUED: "◌",
    JobState.STAGING_IN: "↑",
    JobState.RUNNING: "▶",
    JobState.STAGING_OUT: "↓",
    JobState.COMPLETED: "✓",
    JobState.FAILED: "✗",
    JobState.CANCELLED: "■",
}
_TINTS = {
    JobState.RUNNING: "var(--jp-brand-color1, #1976d2)",
    JobState.COMPLETED: "var(--jp-success-color1, #2e7d32)",
    JobState.FAILED: "var(--jp-error-color1, #c62828)",
    JobState.CANCELLED: "var(--jp-warn-color1, #b26a00)",
}
_LINE = "var(--jp-brand-color1, #1976d2)"
_FAINT = "var(--jp-border-color2, #bdbdbd)"
_STRIPES = "▁▂▃▄▅▆▇█"
_BAR = 20  # characters of the plain text's progress bar
_WIDTH, _HEIGHT, _EDGE = 480, 64, 3  # of the chart, in its own units
_MOST_POINTS, _MOST_DEVICES, _LONGEST_WORDS = 120, 16, 600


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """All that a card shows. `telemetry` and `sample` are as the store and the host give them, checked here."""

    job_id: str
    title: str
    target: str
    state: JobState = JobState.NEW
    note: str = ""  # why it failed, or what the person should know at present
    started: float | None = None
    ended: float | None = None
    now: float = field(default_factory=time.time)
    price: float = 0.0  # per hour
    telemetry: Mapping[str, Any] = field(default_factory=dict)
    sample: Mapping[str, Any] = field(default_factory=dict)  # what the host does at this moment

    @property
    def cost(self) -> float | None:
        """What it has cost by now; None when it costs nothing or has not begun."""
        if self.started is None or not self.price > 0:
            return None
        return max(0.0, (self.ended or self.now) - self.started) / 3600 * self.price


def facts_of(job: Job, price: float) -> Facts:
    """What a card shows of a job that nobody here follows any more; `price` is per hour."""
    return Facts(
        job_id=job.job_id, title=job.spec.title, target=job.spec.target, state=job.state, note=job.cause,
        started=job.started, ended=job.ended, price=price, telemetry=job.telemetry,
    )  # fmt: skip


def bundle(facts: Facts, model_id: str = "") -> dict[str, Any]:
    """The card as a mime bundle; with the id of a widget's model, front ends that can will show that instead."""
    live = {WIDGET_VIEW: {"version_major": 2, "version_minor": 0, "model_id": model_id}} if model_id else {}
    return {**live, "text/html": html(facts), "text/plain": text(facts)}


def metadata(job_id: str) -> dict[str, Any]:
    """The metadata of a card's output: whoever writes a job's outputs into a notebook leaves its card in place."""
    return {"lepton": {MARK: job_id}}


def html(facts: Facts) -> str:
    """The whole card."""
    rest = "" if facts.state.final else _row(f"as of {clock(facts.now)}; to see it live: %lepton_card {facts.job_id}")
    return (
        '<div class="lepton-card" style="max-width:44em;line-height:1.5">'
        f"{head(facts)}{progress(facts)}{chart(facts)}{resources(facts)}{rest}</div>"
    )


def text(facts: Facts) -> str:
    """The whole card in a few lines."""
    done, metric, points = _fraction(facts), _metric(facts), _points(facts)
    bar = ""
    if done is not None:
        full = round(done * _BAR)
        bar = "█" * full + "░" * (_BAR - full) + " "
    lines = [
        f"{ICONS[facts.state]} {_word(facts.state)}: {visible(facts.title)}   {_place(facts)}",
        visible(facts.note),
        bar + ", ".join(_pace(facts)),
        f"{metric}  {sparkline([value for _, value in points])}".strip(),
        _left_out(facts),
        _training(facts),
        _used(facts),
    ]
    return "\n".join(line for line in lines if line)


def head(facts: Facts) -> str:
    """State in icon and word, name, place, and why it is so."""
    tint = _TINTS.get(facts.state, "inherit")
    note = _row(facts.note) if facts.note else ""
    return (
        f'<div><span style="color:{tint};font-weight:600"><span aria-hidden="true">{ICONS[facts.state]}</span> '
        f"{_word(facts.state)}</span> <strong>{escaped(facts.title)}</strong> "
        f'<span style="opacity:.7">{escaped(_place(facts))}</span></div>{note}'
    )


def progress(facts: Facts) -> str:
    """A bar when it is known how far the job is; how long it took, will take, and what it costs."""
    done, words = _fraction(facts), _row(", ".join(_pace(facts)))
    if done is None:
        return words
    percent, tint = round(done * 100), _TINTS.get(facts.state, _LINE)
    return (
        f'<div role="progressbar" aria-label="progress" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent}"'
        f' style="height:6px;margin:4px 0;border-radius:3px;background:{_FAINT};overflow:hidden">'
        f'<div style="height:6px;width:{percent}%;background:{tint}"></div></div>{words}'
    )


def chart(facts: Facts) -> str:
    """The main metric over time, its value alone while there is one point; below, how the training goes."""
    points, metric = _points(facts), escaped(_metric(facts))
    rest = _row(_left_out(facts)) + _row(_training(facts))
    if len(points) < 2:
        return (f"<div>{metric}</div>" if metric else "") + rest
    low, high = min(value for _, value in points), max(value for _, value in points)
    first, last = points[0][0], points[-1][0]
    across = (_WIDTH - 2 * _EDGE) / ((last - first) or 1)
    up = (_HEIGHT - 2 * _EDGE) / ((high - low) or 1)
    line = " ".join(f"{_EDGE + (x - first) * across:.1f},{_HEIGHT - _EDGE - (y - low) * up:.1f}" for x, y in points)
    return (
        f'<div style="display:flex;gap:1em;align-items:center"><svg role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        f' preserveAspectRatio="none" aria-label="{metric}, between {low:.4g} and {high:.4g}"'
        f' style="width:24em;max-width:70%;height:4em;border-left:1px solid {_FAINT};border-bottom:1px solid {_FAINT}">'
        f'<polyline fill="none" stroke="{_LINE}" stroke-width="2" vector-effect="non-scaling-stroke" points="{line}"/>'
        f'</svg><span>{metric}<br><span style="opacity:.7">{low:.4g} … {high:.4g}</span></span></div>{rest}'
    )


def resources(facts: Facts) -> str:
    """What the job uses now; what it used, when it has ended."""
    return _row(_used(facts))


def _row(words: str) -> str:
    return f'<div style="opacity:.8">{escaped(words)}</div>' if words else ""


def _word(state: JobState) -> str:
    return state.value.capitalize().replace("_", " ")


def _place(facts: Facts) -> str:
    return f"on {visible(facts.target)}, job {facts.job_id}"


def _pace(facts: Facts) -> list[str]:
    """How far, how long, how much: what is known of it."""
    about, words = _part(facts, "progress"), []
    done, steps, total = _fraction(facts), _number(about.get("done")), _number(about.get("total"))
    if done is not None:
        words.append(f"{math.floor(done * 100)} %")
    if steps is not None and total is not None and (done is not None or facts.state is not JobState.COMPLETED):
        words.append(f"{steps:g}/{total:g} {visible(str(about.get('unit') or ''))}".strip())
    if facts.started is not None:
        spent = duration((facts.ended or facts.now) - facts.started)
        words.append(f"took {spent}" if facts.state.final else f"running for {spent}")
    left = _number(about.get("eta"))
    if left is not None and facts.state is JobState.RUNNING:
        left -= max(0.0, facts.now - (_number(about.get("time")) or facts.now))
        if left >= 1:  # what is overdue is not foretold any more
            words.append(f"about {duration(left)} left")
    if facts.cost is not None:
        cost = f"{facts.cost:,.2f}" if facts.cost >= 0.01 else "less than 0.01"
        words.append(f"cost {cost}" if facts.state.final else f"cost so far {cost}")
    return words


def _used(facts: Facts) -> str:
    if facts.state.final or not facts.sample:
        usage = _part(facts, "usage")
        known = [
            ("GPU {:.0f} %", _number(usage.get("gpu"))),
            ("CPU {:.0f} %", _number(usage.get("cpu"))),
        ]
        words = [form.format(value) for form, value in known if value is not None]
        for name, key in (("memory", "memory"), ("GPU memory", "gpu_memory")):
            count = _number(usage.get(key))
            if count:
                words.append(f"{name} up to {size(count)}")
        return " · ".join([*words, *filter(None, [visible(str(usage.get("words") or ""))])])
    return " · ".join(_sampled(facts))


def _sampled(facts: Facts) -> list[str]:
    """What the job's kernel uses, or its whole host where the kernel is not told."""
    sample, words = facts.sample, []
    devices = sample.get("devices")
    for device in devices[:_MOST_DEVICES] if isinstance(devices, Sequence) else ():
        if not isinstance(device, Mapping):
            continue
        name = f"{visible(str(device.get('kind', ''))).upper()} {visible(str(device.get('index', '')))}".strip()
        util, used = _number(device.get("util")), _number(device.get("memory_used"))
        values = [f"{util:.0f} %" if util is not None else "–"]
        if used is not None:
            total = _number(device.get("memory_total"))
            values.append(size(used) + (f" of {size(total)}" if total else ""))
        words.append(f"{name} {' '.join(values)}")
    kernel, cpu, memory = sample.get("kernel"), sample.get("cpu"), sample.get("memory")
    if isinstance(kernel, Mapping):
        percent, used = _number(kernel.get("cpu")), _number(kernel.get("memory"))
    else:
        percent = _number(cpu.get("percent")) if isinstance(cpu, Mapping) else None
        used = _number(memory.get("used")) if isinstance(memory, Mapping) else None
    if percent is not None:
        words.append(f"CPU {percent:.0f} %")
    if used is not None:
        words.append(f"memory {size(used)}")
    return words


def _metric(facts: Facts) -> str:
    about = _part(facts, "metric")
    value = _number(about.get("value"))
    return "" if value is None else f"{visible(str(about.get('name') or 'metric'))[:40]} {value:.4g}"


def _left_out(facts: Facts) -> str:
    """What the curve does not show, and where that is: "60 of 1,200 values drawn; 40 other metrics: …"."""
    about = _part(facts, "metric")
    drawn, count, others = len(_points(facts)), _number(about.get("count")), _number(about.get("others"))
    words = [f"{drawn} of {count:,.0f} values drawn"] if count is not None and count > drawn else []
    if others is not None and others > 0:
        words.append(f"{others:,.0f} other metric{'s' if others > 1 else ''}")
    where = "%lepton_metrics" if about.get("recorded") else "%lepton_logs"
    return f"{'; '.join(words)}: {where} {facts.job_id}" if words else ""


def _training(facts: Facts) -> str:
    """How the training goes."""
    words = visible(str(_part(facts, "training").get("words") or ""))
    return words if len(words) <= _LONGEST_WORDS else words[:_LONGEST_WORDS] + "…"


def _points(facts: Facts) -> list[tuple[float, float]]:
    """The metric's points that can be drawn, in the order of x."""
    points = _part(facts, "metric").get("points")
    found = []
    for point in points[-_MOST_POINTS:] if isinstance(points, Sequence) and not isinstance(points, str) else ():
        if isinstance(point, Sequence) and len(point) == 2:
            x, y = _number(point[0]), _number(point[1])
            if x is not None and y is not None:
                found.append((x, y))
    return sorted(found, key=lambda point: point[0])  # those of one moment stay as they came


def sparkline(values: Sequence[float]) -> str:
    """The values as a line of block characters; nothing for fewer than two."""
    if len(values) < 2:
        return ""
    chosen = [values[round(n * (len(values) - 1) / (min(len(values), 30) - 1))] for n in range(min(len(values), 30))]
    low, span = min(chosen), (max(chosen) - min(chosen)) or 1
    return "".join(_STRIPES[round((value - low) / span * (len(_STRIPES) - 1))] for value in chosen)


def _fraction(facts: Facts) -> float | None:
    """How far it is. What is complete is not partly done, even if it ended before its bar or its loop did."""
    value = _number(_part(facts, "progress").get("fraction"))
    if value is None or (value < 1 and facts.state is JobState.COMPLETED):
        return None
    return min(1.0, max(0.0, value))


def _part(facts: Facts, name: str) -> Mapping[str, Any]:
    part = facts.telemetry.get(name)
    return part if isinstance(part, Mapping) else {}


def _number(value: Any) -> float | None:
    """`value` as a number that can be drawn; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and abs(number) < 1e100 else None
