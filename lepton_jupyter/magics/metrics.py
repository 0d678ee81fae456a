"""``%lepton_metrics``: a job's metrics, for Python and for the tools that people have. In the notebook's kernel."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any

from IPython.core.magic import Magics, line_magic, magics_class

from ..errors import JobError, MissingDependency
from ..outputs.history import Point, history
from ..widgets.static import sparkline
from ._errors import MagicParser
from ._process import dispatcher
from ._table import Table, terminal_width


class Points(list[Point]):
    """A job's points, oldest first. Where they are shown, it is one line for each metric."""

    def table(self) -> Table:
        """The metrics in the order in which they came."""
        metrics: dict[str, list[float]] = {}
        for point in self:
            metrics.setdefault(point.name, []).append(point.value)
        rows = [
            (name, f"{len(values):,}", *(f"{each:.5g}" for each in (values[0], min(values), max(values), values[-1])),
             sparkline(values))
            for name, values in metrics.items()
        ]  # fmt: skip
        columns = ("metric", "points", "first", "lowest", "highest", "last", "over time")
        return Table(columns=columns, rows=rows, note="A list of points; pandas.DataFrame(points) makes a table of it.")

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(self.table().text(terminal_width()))


@magics_class
class MetricMagics(Magics):
    """The metrics of jobs."""

    @line_magic
    def lepton_metrics(self, line: str) -> Points | None:
        """The metrics that a job's kernel saw and its cell logged: a table to look at, a list of points in Python.

        ::

            %lepton_metrics JOB [--tensorboard FOLDER | --mlflow URI [--experiment NAME]] [--on TARGET]

        JOB may be "last", the newest job of this notebook. Each point has name, step, time (seconds since the epoch)
        and value; pandas.DataFrame(points) takes them. With --tensorboard they become event files in FOLDER/JOB, with
        --mlflow a run of the tracking server at URI (one file: sqlite:///runs.db); then nothing is returned.

        Example::

            points = %lepton_metrics last
            %lepton_metrics k7m3 --tensorboard runs
        """
        parser = MagicParser("%lepton_metrics")
        parser.add_job()
        parser.add_argument("--tensorboard", default="", metavar="FOLDER")
        parser.add_argument("--mlflow", default="", metavar="URI")
        parser.add_argument("--experiment", default="lepton", metavar="NAME")
        asked = parser.parse_job(line, self.shell)
        events = dispatcher().events(asked.job, on=asked.on)
        points, job = history(events), events[0].job_id if events else asked.job
        if not points:
            raise JobError(
                f"no metric of job {job} was seen",
                hint="A training with torch or Keras is seen by itself; lepton.log(name=value) tells your own. "
                f"What was printed is in: %lepton_logs {job}",
            )
        if asked.tensorboard:
            folder = os.path.join(asked.tensorboard, job)
            to_tensorboard(points, folder)
            print(f"{len(points):,} points are in {folder}. To look at them: tensorboard --logdir {asked.tensorboard}")  # noqa: T201
        elif asked.mlflow:
            run = to_mlflow(points, asked.mlflow, asked.experiment, job)
            print(f"{len(points):,} points are in run {run} of {asked.mlflow}.")  # noqa: T201
        else:
            return Points(points)
        return None


def to_tensorboard(points: Sequence[Point], folder: str) -> None:
    """Write the points into an event file in `folder`, as scalars. Raises MissingDependency."""
    writing = _library("tensorboard.summary.writer.event_file_writer", "tensorboard")
    events = _library("tensorboard.compat.proto.event_pb2", "tensorboard")
    summaries = _library("tensorboard.compat.proto.summary_pb2", "tensorboard")
    writer = writing.EventFileWriter(folder)
    for point in points:
        value = summaries.Summary.Value(tag=point.name, simple_value=point.value)
        event = events.Event(wall_time=point.time, step=point.step, summary=summaries.Summary(value=[value]))
        writer.add_event(event)
    writer.close()


def to_mlflow(points: Sequence[Point], uri: str, experiment: str, job: str) -> str:
    """Make a run of the points on the tracking server at `uri`; the run's id. Raises MissingDependency."""
    mlflow = _library("mlflow", "mlflow")
    client = mlflow.MlflowClient(tracking_uri=uri)
    known = client.get_experiment_by_name(experiment)
    number = known.experiment_id if known is not None else client.create_experiment(experiment)
    run: str = client.create_run(number, run_name=job, start_time=int(points[0].time * 1000)).info.run_id
    metrics = [mlflow.entities.Metric(each.name, each.value, int(each.time * 1000), each.step) for each in points]
    for start in range(0, len(metrics), 1000):  # as many as a server takes at once
        client.log_batch(run, metrics=metrics[start : start + 1000])
    client.set_terminated(run, end_time=int(points[-1].time * 1000))
    return run


def _library(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"this needs the package {error.name!r}, which is not installed here",
            hint=f'Install it: pip install "lepton-jupyter[{extra}]"',
        ) from None
