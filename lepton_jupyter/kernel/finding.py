"""What `%lepton_tune --find lr|batch` runs where the cell runs: probes of it, and what they found. In the kernel."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from ._quiet_cells import Host, quiet


def found(code: str, what: str, *, space: Sequence[str] = (), seed: int = 0) -> dict[str, Any]:
    """A learning rate (`what` is "lr") or a batch size ("batch") for the cell `code`, by its name. Shows why.

    Raises ConfigError when the cell does not train in a way that is seen, and what the cell raises.
    """
    host = Host.here("finding")
    from IPython.display import display

    from ..ml.tune import finding, literals
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

        def run(values: Mapping[str, Any]) -> None:
            with quiet(host.shell):
                cell.probe(values)

        os.makedirs(folder, exist_ok=True)
        with host.metering.silent(), host.trial(cell.params, folder), cell.ready():
            if what == "batch":
                batch = finding.find_batch(lambda size: run({name: size}), meter, first)
                display({"text/plain": str(batch)}, raw=True)
                return {name: batch.batch}
            rate = finding.find_rate(lambda: run({}), meter)
    display({"text/plain": str(rate), "text/html": rate._repr_html_()}, raw=True)
    return {name: rate.rate}
