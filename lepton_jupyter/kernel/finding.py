"""What `%lepton_tune --find lr|batch` runs where the cell runs: probes of it, and what they found. In the kernel."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from ._quiet_cells import Host, quiet
from .training import trained


def found(
    code: str, what: str, *, space: Sequence[str] = (), seed: int = 0, training: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A learning rate (`what` is "lr") or a batch size ("batch") for the cell `code`, by its name. Shows why.

    The cell trains as `training` says. Raises ConfigError when it does not train in a way that is seen, and what the
    cell raises.
    """
    host = Host.here("finding")
    from IPython.display import display

    from ..ml.tune import batch_size, learning_rate, literals
    from ..ml.tune.trials import Cell

    plain = host.shell.transform_cell(code)
    tree = literals.parsed(plain)
    name, first = literals.batch_name(tree, space) if what == "batch" else (literals.rate_name(tree), 0)
    meter = host.metering.meter
    with tempfile.TemporaryDirectory(prefix="lepton-") as folder:
        cell = Cell(
            code=plain,
            namespace=host.shell.user_ns,
            meter=meter,
            folder=folder,
            filename=host.shell.compile.cache(plain, host.shell.execution_count, raw_code=code),
            seed=seed,
        )

        told: list[str] = []

        def run(values: Mapping[str, Any]) -> None:
            with quiet(host.shell), trained(training or {}, told.append):
                cell.probe(values)

        os.makedirs(folder, exist_ok=True)
        with host.metering.silent(), host.trial(cell.params, folder), cell.ready():
            if what == "batch":
                batch = batch_size.find_batch(lambda size: run({name: size}), meter, first)
            else:
                rate = learning_rate.find_rate(lambda: run({}), meter)
    sys.stdout.writelines(f"lepton: {line}\n" for line in dict.fromkeys(told))
    if what == "batch":
        display({"text/plain": str(batch)}, raw=True)
        return {name: batch.batch}
    display({"text/plain": str(rate), "text/html": rate._repr_html_()}, raw=True)
    return {name: rate.rate}
