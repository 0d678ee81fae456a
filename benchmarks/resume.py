"""What checkpoints cost: the step that takes one, the whole write, going on from it; against torch.save and load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ._bed import Bed, Failed
from ._table import Row, Sample, against

_BEGIN = """
import json, os, sys, time, torch
from torch import nn
from lepton_jupyter.kernel.checkpoints import Checkpoints, Folder
width, folder, rounds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
torch.manual_seed(0)
model = nn.Sequential(*(nn.Linear(width, width) for _ in range(12)))
optimizer = torch.optim.Adam(model.parameters())
x = torch.randn(16, width)
def step():
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()
def kept(run, resume):
    return Checkpoints(Folder(folder + "/checkpoints", run), resume, {}, lambda text: None)
objects = {"model": model, "optimizer": optimizer}
file = folder + "/torch.pt"
"""
#: Seconds that each kind of checkpoint holds the training up, and until it is on the disk.
_SAVE = (
    _BEGIN
    + """
checkpoints = kept("first", False)
found = {"held": [], "whole": [], "save": [], "synced": []}
for number in range(-2, rounds):
    step()
    began = time.perf_counter()
    checkpoints.checkpoint(objects)
    held = time.perf_counter() - began
    checkpoints.wait()
    whole = time.perf_counter() - began
    step()
    began = time.perf_counter()
    torch.save({name: each.state_dict() for name, each in objects.items()}, file)
    save = time.perf_counter() - began
    with open(file, "rb") as written:
        os.fsync(written.fileno())
    synced = time.perf_counter() - began
    if number >= 0:
        for name, seconds in (("held", held), ("whole", whole), ("save", save), ("synced", synced)):
            found[name].append(seconds)
checkpoints.settle()
print(json.dumps(found))
"""
)
#: Seconds from what would resume to the end of the first new step, in a process of its own.
_OURS = (
    _BEGIN
    + """
began = time.perf_counter()
checkpoints = kept("second", True)
checkpoints.restore(objects)
step()
print(json.dumps(time.perf_counter() - began))
checkpoints.settle()
"""
)
_TORCH = (
    _BEGIN
    + """
began = time.perf_counter()
found = torch.load(file)
for name, each in objects.items():
    each.load_state_dict(found[name])
step()
print(json.dumps(time.perf_counter() - began))
"""
)


def resume(bed: Bed) -> list[Row]:
    """A model of 25 million weights with Adam's two moments: 300 MB."""
    width, rounds = (64, 1) if bed.quick else (1448, 15)
    folder = bed.new_folder()
    size = f"{12 * width * (width + 1) / 1e6:.0f} M weights with Adam"
    saved = {name: Sample(values=tuple(values)) for name, values in _run(_SAVE, width, folder, rounds).items()}
    took: dict[str, list[float]] = {"ours": [], "torch": []}
    for number in range(-1, rounds):
        for name, script in (("ours", _OURS), ("torch", _TORCH)):
            seconds = _run(script, width, folder, rounds)
            if number >= 0:
                took[name].append(seconds)
    ours, peer = (Sample(values=tuple(took[name])) for name in ("ours", "torch"))
    held, gone_on = against(saved["held"], saved["save"]), against(ours, peer)
    return [
        Row(
            figure=f"`lepton.checkpoint`, {size}: the training is held up", goal="≤ 0.5 × torch.save",
            ours=str(saved["held"]), peer=f"torch.save {saved['save']}", ratio=f"{held:.2f}", met=held <= 0.5,
        ),
        Row(
            figure=f"`lepton.checkpoint`, {size}: until it is on the disk", goal="", ours=str(saved["whole"]),
            peer=f"torch.save and fsync {saved['synced']}", ratio=f"{against(saved['whole'], saved['synced']):.2f}",
        ),
        Row(
            figure=f"`--resume`, {size}: to the end of the first new step", goal="≤ 1.5 × torch.load", ours=str(ours),
            peer=f"torch.load by hand {peer}", ratio=f"{gone_on:.2f}", met=gone_on <= 1.5,
        ),
    ]  # fmt: skip


def _run(script: str, width: int, folder: Path, rounds: int) -> Any:
    line = [sys.executable, "-c", script, str(width), str(folder), str(rounds)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise Failed(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)
