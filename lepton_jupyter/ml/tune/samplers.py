"""What proposes the values of trials, and what ends those that are not worth it: by the names the user knows.

Runs in the kernel that runs the trials; Optuna is imported at use.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...errors import ConfigError, MissingDependency
from .space import Range, Space, Value

SAMPLERS = ("tpe", "cmaes", "random", "grid")
PRUNERS = ("asha", "hyperband", "median")
#: Values of a range in a grid, and points of a grid at most.
_GRID, _LARGEST = 5, 1000


def sampler(name: str, space: Space, trials: int, seed: int) -> Any:
    """Of a study of about so many trials. Raises ConfigError, MissingDependency."""
    samplers = optuna().samplers
    if name == "tpe":
        few = max(4, min(10, trials // 3))
        return samplers.TPESampler(multivariate=True, constant_liar=True, n_startup_trials=few, seed=seed)
    if name == "cmaes":
        if not any(isinstance(domain, Range) for domain in space.values()):
            raise ConfigError(
                "--sampler cmaes needs a range in the space, not choices alone", hint="tpe takes choices."
            )
        if importlib.util.find_spec("cmaes") is None:
            raise MissingDependency(
                "--sampler cmaes needs the package cmaes", hint="Install it where the cell runs: pip install cmaes"
            )
        return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    return samplers.RandomSampler(seed=seed)  # of a grid, all is enqueued


def pruner(name: str) -> Any:
    """For "", one that prunes nothing. ASHA: Li et al. 2020; Hyperband: Li et al. 2018."""
    pruners = optuna().pruners
    if name == "asha":
        return pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    if name == "hyperband":
        return pruners.HyperbandPruner(min_resource=1, reduction_factor=3)
    return pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1) if name == "median" else pruners.NopPruner()


def grid(space: Space) -> list[dict[str, Value]]:
    """All points of the grid. Raises ConfigError for one that nobody would want."""
    axes = [domain.grid(_GRID) for domain in space.values()]
    if math.prod(map(len, axes)) > _LARGEST:
        raise ConfigError(f"--sampler grid: that are {math.prod(map(len, axes)):,} points", hint="Tune fewer names.")
    return [dict(zip(space, point, strict=True)) for point in itertools.product(*axes)]


_INSTALL = 'Install it where the cell runs: pip install "lepton-jupyter[tune]", or bring it: --env auto'


def optuna() -> Any:
    try:
        import optuna as package
    except ImportError:
        raise MissingDependency("tuning needs Optuna, which this kernel does not have", hint=_INSTALL) from None
    return package


@contextmanager
def quiet() -> Iterator[None]:
    """Within, Optuna does not tell of each trial on stderr; we do."""
    logging = optuna().logging
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
