"""What `%lepton_compress` runs where the model lives: it tells how far it is, shows the report and keeps the files.

In the remote kernel. All that is done to the model is in `ml`, which needs Python 3.10.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..errors import ConfigError, LeptonError

#: The report as JSON; `outputs` reads its part ``summary`` off it.
MIME = "application/vnd.lepton.compression+json"
_BAR, _EVERY = 24, 0.2  # columns, seconds
#: Examples that an exported model is tried with.
_TRIED = 32

Keep = Callable[[str, str], None]


def compressed(
    given: Callable[[], dict[str, Any]], name: str, *, keep: Keep, export: Collection[str] = (), **options: Any
) -> tuple[Any, Any]:
    """The compressed model, and the report without it. `given` looks up what the user named when it is called.

    Shows the report, and keeps with the job the model's own file, its packed file, those of `export` and the report as
    JSON, all called `name`. Raises ConfigError for what there is not, and what `ml.compress` raises.
    """
    if sys.version_info < (3, 10):
        here = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise ConfigError(
            f"compressing needs Python 3.10 or newer, and this kernel has {here} ({sys.executable})",
            hint="Name a newer one there: %lepton_target add NAME URL --python /path/to/python3, or bring one: --env.",
        )
    from .. import ml

    _check(export)
    values = _looked_up(given)
    bar = _Bar()
    try:
        report = ml.compress(values.pop("model"), **values, **options, progress=bar)
    finally:
        bar.close()
    with tempfile.TemporaryDirectory(prefix="lepton-") as folder:
        notes = _write(report.model, folder, name, export, values.get("data"))
        report = dataclasses.replace(report, notes=[*report.notes, *notes])
        files = sorted(os.listdir(folder))
        summary = _summary(report, name, {file: os.path.getsize(os.path.join(folder, file)) for file in files})
        shown = {"summary": summary, **report.to_json()}
        told = f"{name}.compression.json"
        with open(os.path.join(folder, told), "w", encoding="utf-8") as out:
            json.dump(shown, out, indent=1)
        for file in [*files, told]:
            keep(os.path.join(folder, file), file)
    _show({"text/plain": str(report), "text/html": report._repr_html_(), MIME: shown})
    return report.model, dataclasses.replace(report, model=None)


def _check(formats: Collection[str]) -> None:
    """Raise ConfigError for a format that nothing can be exported to: now, not after minutes of work."""
    if formats:
        from ..ml.exporting import ENDINGS

        if wrong := [form for form in formats if form not in ENDINGS]:
            raise ConfigError(f"nothing is exported to {', '.join(wrong)}", hint=f"Formats: {', '.join(ENDINGS)}.")


def _looked_up(given: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the user named. Raises ConfigError for a name that neither the notebook nor this kernel has."""
    try:
        return given()
    except NameError as error:
        wanted = str(getattr(error, "name", "") or error)
        known = [name for name in given.__globals__ if not name.startswith("_")]
        close = difflib.get_close_matches(wanted, known, n=3)
        guess = f"Did you mean {' or '.join(close)}? " if close else ""
        raise ConfigError(
            f"there is no {wanted!r}: neither in the notebook nor in this kernel",
            hint=f"{guess}A model lives where its cell ran: --on and --kernel name that place.",
        ) from None


def _write(model: Any, folder: str, name: str, formats: Collection[str], data: Any) -> list[str]:
    """Write the model's own file or its packed file, and its exports; what became of those, in words."""
    from ..ml import frameworks, packed

    notes = []
    if isinstance(getattr(model, "data", None), bytes):  # it is a file already, of another runtime
        model.save(os.path.join(folder, f"{name}.{'onnx' if type(model).__name__ == 'OnnxModel' else 'tflite'}"))
    else:
        try:
            packed.save(os.path.join(folder, f"{name}.lepton"), frameworks.of(model).state(model))
        except LeptonError as error:
            notes.append(f"No packed file: {error.message}. {error.hint}".rstrip())
    for form in formats:  # one that cannot be must not cost the others, nor what took so long
        from ..ml import exporting

        try:
            path = os.path.join(folder, name + exporting.ENDINGS[form])
            for made in exporting.export(model, path, inputs=_examples(data)):
                notes.append(
                    f"{os.path.basename(path)}: {made.bytes:,} B, loaded again it answers the same but for "
                    f"{made.agrees:.2g}, in {made.latency.median:.3g} ms at batch {made.latency.batch}."
                )
        except LeptonError as error:
            notes.append(f"Not exported to {form}: {error.message}. {error.hint}".rstrip())
    return notes


def _examples(data: Any) -> list[Any]:
    """Inputs to try an exported model with; none without data."""
    from ..ml.examples import arrays

    return [] if data is None else [part[:_TRIED] for part in arrays(data)[:-1]]


def _summary(report: Any, name: str, files: Mapping[str, int]) -> dict[str, Any]:
    """What a list of models shows of this one; None where nothing was measured."""

    def of(row: Any) -> dict[str, Any]:
        return {
            "bytes": row.sizes.disk if row.sizes else None,
            "zipped": row.sizes.zipped if row.sizes else None,
            "memory": row.sizes.memory if row.sizes else None,
            "metric": row.metric.value if row.metric else None,
            "ms": row.latencies[0].median if row.latencies else None,
        }

    kind = type(report.model)
    return {
        "name": name,
        "kind": f"{kind.__module__.partition('.')[0]}.{kind.__name__}",
        "steps": list(report.steps),
        "judged": report.judged,
        "before": of(report.before),
        "after": of(report.after),
        "files": [{"name": file, "size": size} for file, size in files.items()],
    }


def _show(bundle: dict[str, Any]) -> None:
    from IPython.display import display

    display(bundle, raw=True)


class _Bar:
    """How far it is, in one line that is drawn over; on the host's stderr, so what follows the job reads it."""

    def __init__(self) -> None:
        self._drawn, self._width = 0.0, 0

    def __call__(self, fraction: float, words: str = "") -> None:
        """`fraction` of the whole is behind, 0 to 1."""
        now = time.monotonic()
        if now - self._drawn < _EVERY and fraction < 1:
            return
        self._drawn = now
        done = round(_BAR * min(max(fraction, 0.0), 1.0))
        line = f"compress {'━' * done}{'─' * (_BAR - done)} {100 * fraction:3.0f} %  {words}"[:160]
        sys.stderr.write(f"\r{line.ljust(self._width)}")
        sys.stderr.flush()
        self._width = len(line)

    def close(self) -> None:
        """Let the next output begin on a line of its own."""
        if self._width:
            sys.stderr.write("\n")
            sys.stderr.flush()
