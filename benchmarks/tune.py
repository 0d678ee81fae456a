"""What a trial costs beside the trial: a study of ours against plain Optuna on the same function, in turn."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

from ._bed import Bed, Failed
from ._table import Row, span

#: Both are given the same function, space and sampler; seconds and the best value come out.
_OURS = """
import json, sys, time
from lepton_jupyter.ml.metrics import Meter
from lepton_jupyter.ml.tune.runner import InTurn
from lepton_jupyter.ml.tune.space import parse
from lepton_jupyter.ml.tune.study import Plan, Study
from lepton_jupyter.ml.tune.trials import Cell
trials, folder, seed = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
space = parse(["a=0.0..1.0", "b=log:1e-5..1e-1", "c=log:16..512", "d=8|16|32|64"])
code = "a, b, c, d = 0.5, 1e-3, 64, 32\\nimport math\\n" + sys.argv[4]
study = Study(folder, "study", Plan(space=space, trials=trials, seed=seed))
cell = Cell(code=code, namespace={"__name__": "__main__"}, meter=Meter(), folder=folder + "/trials", metric="value")
began = time.perf_counter()
study.begin("run")
with cell.ready():
    InTurn().run(study, cell.run, lambda each: cell.discard(each.number))
print(json.dumps([time.perf_counter() - began, study.best().value]))
"""
_OPTUNA = """
import json, math, sys, time, optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
trials, folder, seed = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
body = compile(sys.argv[4], "<function>", "exec")
def objective(trial):
    names = {"math": math, "a": trial.suggest_float("a", 0, 1), "b": trial.suggest_float("b", 1e-5, 1e-1, log=True),
             "c": trial.suggest_int("c", 16, 512, log=True), "d": trial.suggest_categorical("d", [8, 16, 32, 64])}
    exec(body, names)
    return names["value"]
storage = None
if sys.argv[5] == "file":
    from optuna.storages.journal import JournalFileBackend
    storage = optuna.storages.JournalStorage(JournalFileBackend(folder + "/journal"))
study = optuna.create_study(storage=storage, sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True))
began = time.perf_counter()
study.optimize(objective, n_trials=trials)
print(json.dumps([time.perf_counter() - began, study.best_value]))
"""
_FUNCTION = "value = (a - 0.3) ** 2 + (math.log10(b) + 3) ** 2 / 4 + (math.log2(c) - 7) ** 2 / 16 + (d != 32) / 8"


def tune(bed: Bed) -> list[Row]:
    """Milliseconds a trial, and the best value after as many trials."""
    trials, rounds = (6, 1) if bed.quick else (100, 5)
    contenders = {"ours": (_OURS, ""), "memory": (_OPTUNA, "memory"), "file": (_OPTUNA, "file")}
    took: dict[str, list[float]] = {name: [] for name in contenders}
    best: dict[str, list[float]] = {name: [] for name in contenders}
    for seed in range(rounds):
        for name, (script, storage) in contenders.items():
            seconds, value = _run(script, trials, bed.new_folder(), seed, storage)
            took[name].append(seconds / trials)
            best[name].append(value)
    median = {name: statistics.median(values) for name, values in took.items()}
    value = {name: statistics.median(values) for name, values in best.items()}
    beside = median["ours"] - median["memory"]
    return [
        Row(
            figure=f"a trial of a cell that does nothing, {trials} trials (tpe)",
            goal="≤ 50 ms a trial",
            ours=f"{span(median['ours'])} ({3600 / median['ours']:,.0f} trials an hour), best {value['ours']:.3g}",
            peer=f"Optuna in memory {span(median['memory'])}, best {value['memory']:.3g}; "
            f"in a file {span(median['file'])}, best {value['file']:.3g}",
            ratio=f"{median['ours'] / median['file']:.2f} of Optuna in a file; {span(max(beside, 0.0))} beside memory",
            met=median["ours"] <= 0.05,
        )
    ]


def _run(script: str, trials: int, folder: Path, seed: int, storage: str) -> tuple[float, float]:
    line = [sys.executable, "-c", script, str(trials), str(folder), str(seed), _FUNCTION, storage]
    done = subprocess.run(line, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise Failed(done.stderr.strip().splitlines()[-1])
    seconds, value = json.loads(done.stdout)
    return float(seconds), float(value)
