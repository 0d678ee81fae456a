"""What it costs a training step that its metrics are seen: the same cell on a kernel of ours and on a plain one."""

from __future__ import annotations

from collections.abc import Callable

from ._bed import Bed, Contender
from ._table import Row, against, in_turn

_TORCH = """
import time, torch
from torch import nn
torch.set_num_threads(1); torch.manual_seed(0)
x, y = torch.randn({batch}, {width}), torch.randint(0, 10, ({batch},))
model = nn.Sequential(
    nn.Linear({width}, {width}), nn.ReLU(), nn.Linear({width}, {width}), nn.ReLU(), nn.Linear({width}, 10)
)
optimizer = torch.optim.Adam(model.parameters())
"""
_STEPS = """
began = time.perf_counter()
for step in range({steps}):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
open({file!r}, "w").write(str((time.perf_counter() - began) / {steps}))
"""
_KERAS = """
import time, numpy as np, keras
x = np.random.default_rng(0).normal(size=(6400, 32)).astype("float32")
model = keras.Sequential([keras.Input((32,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(1)])
model.compile("adam", "mse")
model.fit(x, x.sum(1), batch_size=32, verbose=0)
"""
_FIT = """
began = time.perf_counter()
model.fit(x, x.sum(1), batch_size=32, epochs={steps}, verbose=0)
open({file!r}, "w").write(str((time.perf_counter() - began) / {steps} / 200))
"""
#: Figure -> what a kernel runs once, what it runs each round, and steps or epochs of that.
_LOOPS = {
    "a tiny torch step": (_TORCH.format(batch=32, width=32), _STEPS, 1000),
    "a mid-size torch step": (_TORCH.format(batch=256, width=512), _STEPS, 60),
    "a step of Keras `fit`": (_KERAS, _FIT, 4),
}


def metrics(bed: Bed) -> list[Row]:
    """Overhead of automatic metrics, for each kind of loop."""
    rows = []
    contenders = {"ours": bed.ours("local"), "plain": bed.plain()}
    for figure, (prepare, code, steps) in _LOOPS.items():
        tasks = {
            name: _measured(bed, one, prepare, code, 2 if bed.quick else steps) for name, one in contenders.items()
        }
        took = in_turn(tasks, 1 if bed.quick else 15, warm_up=1)
        ratio = against(took["ours"], took["plain"])
        rows.append(
            Row(
                figure=f"metrics without code: {figure}", goal="≤ 1.02 × without", ours=str(took["ours"]),
                peer=f"a plain ipykernel {took['plain']}", ratio=f"{ratio:.3f}", met=ratio <= 1.02,
            )
        )  # fmt: skip
    bed.close()
    return rows


def _measured(bed: Bed, contender: Contender, prepare: str, code: str, steps: int) -> Callable[[], float]:
    """Runs a round and gives the seconds that one step took, by the cell's own clock."""
    file = bed.new_folder() / "seconds"
    contender.cell(prepare)

    def run() -> float:
        contender.cell(code.format(steps=steps, file=str(file)))
        return float(file.read_text())

    return run
