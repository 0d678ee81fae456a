"""What it costs a training step that its metrics are seen: the same cell with our hooks in place and away, in turns.

Two kernels differ by some per cent even when both run the same: where their memory lies decides. So one kernel of ours
trains with and without, in blocks that alternate, and each pair of blocks gives one ratio. Without the hooks nothing
is read and nothing sent: hooks, thread, messages and what the notebook does with them all count. A new model is made
for each round, elsewhere in memory, and the kernels are new ones now and then. A plain ipykernel stands beside.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable

from ._bed import Bed, Contender
from ._table import Row, Sample

#: In a kernel of ours: `metrics(False)` takes our hooks away, `metrics(True)` puts them back.
_SWITCH = """
def metrics(on, kept={}):
    import torch.optim.optimizer as steps
    places = [(torch.autograd, "backward"), (torch.utils.data.DataLoader, "__iter__")]
    kept.setdefault("hooks", dict(steps._global_optimizer_post_hooks))
    steps._global_optimizer_post_hooks.clear()
    steps._global_optimizer_post_hooks.update(kept["hooks"] if on else {})
    for owner, name in places:
        ours = kept.setdefault(name, getattr(owner, name))
        setattr(owner, name, ours if on else ours.__wrapped__)
"""
_SWITCH_LIGHTNING = _SWITCH.replace(
    "    places = [",
    """    from lightning.pytorch import Trainer
    places = [(Trainer, "fit"), """,
)
_SWITCH_KERAS = """
def metrics(on, kept={}):
    import tensorflow as tf
    from tensorflow.python.eager.polymorphic_function.polymorphic_function import Function
    places = [(tf.GradientTape, "gradient"), (Function, "__call__")]
    for cls, name in ((keras.Model, "fit"), (keras.optimizers.Optimizer, "apply")):
        places.append((next(each for each in cls.__mro__ if name in vars(each)), name))
    for owner, name in places:
        ours = kept.setdefault(name, getattr(owner, name))
        setattr(owner, name, ours if on else ours.__wrapped__)
"""
_TORCH = """
import json, random, time, torch
from torch import nn
torch.set_num_threads(1)
def made():
    x, y = torch.randn({batch}, {width}), torch.randint(0, 10, ({batch},))
    model = nn.Sequential(
        nn.Linear({width}, {width}), nn.ReLU(), nn.Linear({width}, {width}), nn.ReLU(), nn.Linear({width}, 10)
    )
    optimizer = torch.optim.Adam(model.parameters())
    def loop(steps):
        began = time.perf_counter()
        for step in range(steps):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        return (time.perf_counter() - began) / steps
    return loop
"""
_LIGHTNING = """
import json, logging, random, time, torch, warnings
import lightning.pytorch as lightning
from torch.utils.data import DataLoader, TensorDataset
warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
torch.set_num_threads(1)
x = torch.randn(6400, 32)
class Net(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
    def training_step(self, batch, index):
        loss = torch.nn.functional.mse_loss(self.layers(batch[0])[:, 0], batch[1])
        self.log("train_loss", loss)
        return loss
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())
def made():
    model, loader = Net(), DataLoader(TensorDataset(x, x.sum(1)), batch_size=32, shuffle=True)
    unwanted = "logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"
    def loop(epochs):
        trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", **dict.fromkeys(unwanted, False))
        began = time.perf_counter()
        trainer.fit(model, loader)
        return (time.perf_counter() - began) / epochs / 200
    return loop
"""
_KERAS = """
import json, random, time, numpy as np, keras
x = np.random.default_rng(0).normal(size=(6400, 32)).astype("float32")
def made():
    model = keras.Sequential([keras.Input((32,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    def loop(epochs):
        began = time.perf_counter()
        model.fit(x, x.sum(1), batch_size=32, epochs=epochs, verbose=0)
        return (time.perf_counter() - began) / epochs / 200
    return loop
"""
#: One round: pairs of blocks, each pair the other way round than the one before.
_ROUND = """
elsewhere = [bytearray(random.randrange(1, 300_000)) for _ in range(20)]
loop, found = made(), []
for on in {order}:
    {switch}
    if not found: loop(max({steps} // 5, 1))
    before = {seen}
    found.append([on, loop({steps})])
    if ({seen} > before) != on: raise RuntimeError("metrics could not be switched " + ("on" if on else "off"))
{switch_on}
open({file!r}, "w").write(json.dumps(found))
"""
_SEEN = "get_ipython().kernel._metering.meter.steps"
#: Figure -> what a kernel runs once, the switch, and steps or epochs of a block (about a second's half).
_LOOPS = {
    "a tiny torch step": (_TORCH.format(batch=32, width=32), _SWITCH, 600),
    "a mid-size torch step": (_TORCH.format(batch=256, width=512), _SWITCH, 60),
    "a step of Keras `fit`": (_KERAS, _SWITCH_KERAS, 3),
    "a step of Lightning's Trainer": (_LIGHTNING, _SWITCH_LIGHTNING, 2),
}
_PAIRS = [True, False, False, True, True, False, False, True]


def metrics(bed: Bed) -> list[Row]:
    """Overhead of automatic metrics, for each kind of loop."""
    rows = []
    kernels, rounds = (1, 1) if bed.quick else (3, 2)
    for figure, (prepare, switch, steps) in _LOOPS.items():
        ours: list[tuple[float, float]] = []  # seconds of a step with and without, of each pair
        plain: list[float] = []
        for _ in range(kernels):
            contenders = bed.ours("local"), bed.plain()
            run_ours = _rounds(bed, contenders[0], prepare + switch, 2 if bed.quick else steps, switched=True)
            run_plain = _rounds(bed, contenders[1], prepare, 2 if bed.quick else steps, switched=False)
            for _ in range(rounds):
                ours += run_ours()
                plain += [seconds for pair in run_plain() for seconds in pair]
            bed.close()
        on, off = (Sample(values=tuple(each)) for each in zip(*ours, strict=True))
        ratios = sorted(one / other for one, other in ours)
        ratio = statistics.median(ratios)
        low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
        rows.append(
            Row(
                figure=f"metrics without code: {figure}", goal="≤ 1.02 × without",
                ours=str(on), peer=f"the same kernel without {off}; a plain ipykernel {Sample(values=tuple(plain))}",
                ratio=f"{ratio:.3f} ({low:.3f}–{high:.3f}) of {len(ratios)} pairs", met=ratio <= 1.02,
            )
        )  # fmt: skip
    return rows


def _rounds(
    bed: Bed, contender: Contender, prepare: str, steps: int, *, switched: bool
) -> Callable[[], list[tuple[float, float]]]:
    """Runs a round and gives the seconds of a step, with and without, of each pair; by the cell's own clock."""
    file = bed.new_folder() / "seconds"
    contender.cell(prepare)
    code = _ROUND.format(
        order=_PAIRS if switched else _PAIRS[:4], steps=steps, file=str(file),
        switch="metrics(on)" if switched else "pass", switch_on="metrics(True)" if switched else "pass",
        seen=_SEEN if switched else "len(found) * on",  # nothing to look at in a plain kernel
    )  # fmt: skip

    def run() -> list[tuple[float, float]]:
        contender.cell(code)
        found = json.loads(file.read_text())
        pairs = [dict(found[place : place + 2]) for place in range(0, len(found), 2)]
        return [(pair[True], pair[False]) for pair in pairs]

    return run
