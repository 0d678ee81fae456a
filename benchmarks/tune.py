"""What a trial costs beside the trial: a study of ours against Optuna and Ray Tune on the same function, in turn."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from ._bed import ROOT, Bed, Failed
from ._environment import install
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
#: Ray Tune with Optuna's sampler of the same seed, in the peers' environment; on this machine alone, nothing listens
#: but on loopback. As many trials at once as there are cores: that is how it is meant to be used.
_RAY = """
import json, math, os, sys, time
trials, folder, seed = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch
from optuna.samplers import TPESampler
body = compile(sys.argv[4], "<function>", "exec")
def objective(names):
    names = {"math": math, **names}
    exec(body, names)
    tune.report({"value": names["value"]})
space = {"a": tune.uniform(0, 1), "b": tune.loguniform(1e-5, 1e-1), "c": tune.lograndint(16, 513),
         "d": tune.choice([8, 16, 32, 64])}
search = OptunaSearch(metric="value", mode="min", sampler=TPESampler(seed=seed, multivariate=True))
ray.init(num_cpus=os.cpu_count(), include_dashboard=False, object_store_memory=80 << 20, _node_ip_address="127.0.0.2",
         _temp_dir=folder, log_to_driver=False, configure_logging=False)
began = time.perf_counter()
found = tune.Tuner(
    objective, param_space=space,
    tune_config=tune.TuneConfig(search_alg=search, num_samples=trials, reuse_actors=True),
    run_config=tune.RunConfig(storage_path=folder + "/results", verbose=0),
).fit()
took = time.perf_counter() - began
print(json.dumps([took, found.get_best_result("value", "min").metrics["value"]]))
ray.shutdown()
"""
_FUNCTION = "value = (a - 0.3) ** 2 + (math.log10(b) + 3) ** 2 / 4 + (math.log2(c) - 7) ** 2 / 16 + (d != 32) / 8"


#: The environment of Ray alone: it pins what other peers need otherwise.
_FOLDER = ROOT / "build" / "peers-tune"
_PACKAGES = ("ray[tune]", "optuna")
#: Nothing is reported to anybody, nothing is open without a token.
_RAY_ENV = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}


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
    ray, ray_ratio = _ray(bed, trials, median["ours"])
    return [
        Row(
            figure=f"a trial of a cell that does nothing, {trials} trials (tpe)",
            goal="≤ 50 ms a trial",
            ours=_said(median["ours"], value["ours"]),
            peer=f"Optuna in memory {_said(median['memory'], value['memory'])}; "
            f"in a file {_said(median['file'], value['file'])}; {ray}",
            ratio=f"{median['ours'] / median['file']:.2f} of Optuna in a file; {span(max(beside, 0.0))} beside memory"
            + ray_ratio,
            met=median["ours"] <= 0.05,
        )
    ]


def _said(seconds: float, value: float) -> str:
    return f"{span(seconds)} ({3600 / seconds:,.0f} trials an hour), best {value:.3g}"


def _ray(bed: Bed, trials: int, ours: float) -> tuple[str, str]:
    """Ray Tune's words, and the ratio; once, since it takes a minute."""
    python = _FOLDER / "bin" / "python"
    no_peers = bed.peers.missing("ipyparallel") == "not measured"  # none were asked for
    if why := "not measured" if no_peers else install(["ray.tune", "optuna"], _PACKAGES, python=python):
        return f"Ray Tune: {why}", ""
    env = {**bed.env, **_RAY_ENV, "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    folder = Path(tempfile.mkdtemp(prefix="lr"))  # short: the paths of its sockets may have 107 characters
    try:
        seconds, value = _run(_RAY, trials, folder, 0, "", python=python, env=env)
    except (Failed, subprocess.TimeoutExpired) as error:
        return f"Ray Tune failed: {error}", ""
    finally:
        _end_ray(folder)
    return f"Ray Tune {_said(seconds / trials, value)}", f"; {ours * trials / seconds:.3f} of Ray Tune"


def _end_ray(folder: Path) -> None:
    """What Ray started and left, also when its driver was killed: it carries the folder in its command line."""
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in word for word in process.info["cmdline"] or ()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    shutil.rmtree(folder, ignore_errors=True)


def _run(
    script: str, trials: int, folder: Path, seed: int, storage: str, python: Path | str = sys.executable,
    env: dict[str, str] | None = None,
) -> tuple[float, float]:  # fmt: skip
    line = [str(python), "-c", script, str(trials), str(folder), str(seed), _FUNCTION, storage]
    done = subprocess.run(line, capture_output=True, text=True, timeout=600, env=env)
    if done.returncode:
        raise Failed((done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1])
    seconds, value = json.loads(done.stdout.splitlines()[-1])
    return float(seconds), float(value)
