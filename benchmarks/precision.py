"""Time to the same loss with `--precision auto --compile auto` against plain float32, through the magic's own path.

The same cell runs on fresh kernels, with the flags and without. The loss of a held-out batch is noted on the way, with
the cell's own clock, which begins before torch is imported: the time in which a loss is reached has the probe in it, a
compiler if one is tried, and what came after. Whether 16 bits are faster on a GPU has to be measured on one.
"""

from __future__ import annotations

import json

from ._bed import Bed
from ._table import Row, span

#: About what a job takes without flags: as long as a user would wait for.
_SECONDS = 60.0

_CNN = """
def picture(labels):
    return torch.randn(len(labels), 1, 16, 16) + patterns[labels]
torch.manual_seed(1); patterns = torch.randn(10, 1, 16, 16) * 0.12
def batch(count):
    labels = torch.randint(0, 10, (count,))
    return picture(labels), labels
model = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
    nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 64, 10),
)
"""
_TRANSFORMER = """
def batch(count):  # which word is the most frequent?
    words = torch.randint(0, 10, (count, 32))
    return words, nn.functional.one_hot(words, 10).sum(1).argmax(1)
class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(10, 64), nn.Parameter(torch.randn(32, 64) * 0.1)
        layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
        self.layers, self.out = nn.TransformerEncoder(layer, 2), nn.Linear(64, 10)
    def forward(self, words):
        return self.out(self.layers(self.words(words) + self.places).mean(1))
torch.manual_seed(1); model = Reader()
"""
#: Now and then the loss of a held-out batch is noted, with the time since the cell began.
_JOB = """
import io, json, sys, time
began = time.perf_counter()
shown, sys.stderr = sys.stderr, io.StringIO()  # where the user is told
import torch
from torch import nn
{model}
held_out, labels_out = batch(512)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
noted, took = [], []
for step in range({steps}):
    then = time.perf_counter()
    inputs, labels = batch(64)
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(inputs), labels)
    loss.backward()
    optimizer.step()
    took.append(time.perf_counter() - then)
    if (step + 1) % max({steps} // 40, 1) == 0:
        with torch.no_grad():
            noted.append([time.perf_counter() - began, nn.functional.cross_entropy(model(held_out), labels_out).item()])
heard, sys.stderr = sys.stderr.getvalue(), shown
open({file!r}, "w").write(json.dumps([noted, sorted(took[len(took) // 2:])[len(took) // 4], heard]))
"""
_FLAGS = " --precision auto --compile auto"
_MODELS = {"a small CNN": _CNN, "a small Transformer": _TRANSFORMER}


def precision(bed: Bed) -> list[Row]:
    """Seconds to the same loss, and of a step in the second half, with the flags and without."""
    rows = []
    for figure, model in _MODELS.items():
        steps = 20
        if not bed.quick:  # a job of about a minute, on any machine
            _, step, _ = _job(bed, "", model, 60)
            steps = round(_SECONDS / step)
        plain, flagged = _job(bed, "", model, steps), _job(bed, _FLAGS, model, steps)
        loss = max(min(each[1] for each in noted) for noted, _, _ in (plain, flagged))  # that both have reached
        seconds = [next(at for at, found in noted if found <= loss) for noted, _, _ in (flagged, plain)]
        ratio = seconds[0] / seconds[1]
        rows.append(
            Row(
                figure=f"`--precision auto --compile auto`: {figure} to a loss of {loss:.3g}, on the CPU",
                goal="≤ 1.05 × plain fp32, says what it chose",
                ours=f"{span(seconds[0])}, {span(flagged[1])} a step at last: {flagged[2]}",
                peer=f"plain fp32 {span(seconds[1])}, {span(plain[1])} a step",
                ratio=f"{ratio:.2f}; a step {flagged[1] / plain[1]:.2f}", met=ratio <= 1.05 and bool(flagged[2]),
            )
        )  # fmt: skip
    return rows


def _job(bed: Bed, flags: str, model: str, steps: int) -> tuple[list[list[float]], float, str]:
    """What was noted, the seconds of a step in the second half, and what was said, on kernels of its own."""
    file = bed.new_folder() / "noted"
    notebook = bed.plain()
    notebook.cell("%load_ext lepton_jupyter")
    code = _JOB.format(model=model, steps=steps, file=str(file))
    notebook.cell(f"%%lepton_train --on local{flags}\n{code}", timeout=600.0)
    bed.close()
    noted, step, heard = json.loads(file.read_text())
    lines = [line.partition("precision: ")[2].strip() for line in heard.splitlines()]
    return noted, step, ". ".join(line for line in lines if line)
