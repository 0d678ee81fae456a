"""The command ``lepton``: the same jobs and targets as in a notebook, from a terminal.

Runs in a process of its own. Exit status: 0 well, 1 an error that was said on stderr (also: a finding that is not well,
a job that failed), 2 a command that is not understood, 130 interrupted. Starting it imports nothing but the standard
library; a command imports what it needs.
"""

from __future__ import annotations

import argparse
import getpass
import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .errors import ConfigError, LeptonError, RemoteError

if TYPE_CHECKING:
    from .job import Job
    from .remote import Dispatcher

_SHOWN = 20
#: Hints speak of magics; these have a command of the same name.
_MAGIC = re.compile(r"%lepton_(?=(?:jobs|attach|logs|cancel|fetch)\b)")


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command line; the exit status. Errors of ours are said, never shown as tracebacks."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words[:1] == ["demo"]:
            from . import demo

            return demo.main(words[1:])
        asked = _parser().parse_args(words)
        return int(asked.command(asked))
    except LeptonError as error:
        print(f"lepton: {_MAGIC.sub('lepton ', str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `lepton jobs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what Python writes while it ends has a place to go
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lepton", description="Jobs and targets of lepton_jupyter.", allow_abbrev=False
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and end")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    doctor = verbs.add_parser(
        "doctor", allow_abbrev=False, help="look at this installation, or at a target, and say what is missing"
    )
    doctor.add_argument("target", nargs="?", metavar="TARGET")
    doctor.set_defaults(command=_doctor)

    jobs = verbs.add_parser("jobs", allow_abbrev=False, help="list jobs, newest first")
    jobs.add_argument("--all", action="store_true", help=f"all of them, not the newest {_SHOWN}")
    jobs.add_argument("--on", default="", metavar="TARGET", help="those of one target")
    jobs.add_argument("--state", default="", metavar="STATE", help="those in a state, or in several: running,new")
    jobs.add_argument("--json", action="store_true", help="as JSON, for programs")
    jobs.set_defaults(command=_jobs)

    for name, words, command in (
        ("attach", "show a job's outputs from the first and follow it; Ctrl-C leaves, the job goes on", _attach),
        ("logs", "print the outputs a job has so far", _logs),
        ("cancel", "stop a job for good", _cancel),
        ("fetch", "bring the files that a job left", _fetch),
    ):
        verb = verbs.add_parser(name, allow_abbrev=False, help=words)
        verb.add_argument("job", metavar="JOB", help="a job's id, or its first letters")
        verb.add_argument("--on", default="", metavar="TARGET", help="where it runs, when it was started elsewhere")
        verb.set_defaults(command=command)
    verb.add_argument("names", nargs="*", metavar="FILE", help="only these files")
    verb.add_argument("--to", default="", metavar="FOLDER", help="where to; artifacts/JOB if not given")

    verbs.add_parser("demo", help="run the quickstart notebook on this machine", add_help=False)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib import metadata

        try:
            print(f"lepton {metadata.version('lepton-jupyter')}")
        except metadata.PackageNotFoundError:
            print("lepton, run from its source")
        parser.exit()


def _doctor(asked: argparse.Namespace) -> int:
    from .doctor import examine
    from .magics._table import findings_table

    if asked.target is None:
        findings = examine()
    else:
        dispatcher = _dispatcher()
        try:
            findings = dispatcher.target(asked.target).probe()
        finally:
            dispatcher.close()
    print(findings_table(findings))
    return int(any(found.ok is False for found in findings))


def _jobs(asked: argparse.Namespace) -> int:
    from .magics._table import jobs_table, states_named
    from .store import JobStore

    states = states_named(asked.state)
    store = JobStore.load()
    jobs = store.list(target=asked.on, states=states, limit=0 if asked.all else _SHOWN)
    if asked.json:
        import json

        print(json.dumps([_plain(job) for job in jobs], indent=2))
    else:
        total = store.count(target=asked.on, states=states)
        print(jobs_table(jobs, total=total, unwatched=store.unwatched()))
    return 0


def _plain(job: Job) -> dict[str, object]:
    spec = job.spec
    return {
        "job": job.job_id, "state": job.state.value, "title": spec.title, "target": spec.target,
        "kernel": spec.kernel, "notebook": spec.notebook, "created": job.created, "started": job.started,
        "ended": job.ended, "seq": job.seq, "cause": job.cause,
    }  # fmt: skip


def _attach(asked: argparse.Namespace) -> int:
    from .outputs import TerminalView

    dispatcher, view = _dispatcher(), TerminalView(asked.job)
    try:
        run = dispatcher.attach(asked.job, lambda _: view, on=asked.on)
        while not run.wait(1.0):
            if (question := run.question) is not None:  # another client may answer it meanwhile
                run.answer(_prompt(question[1], question[2]))
        if run.error is not None and not isinstance(run.error, RemoteError):  # its traceback is among the outputs
            raise run.error
        return int(run.error is not None)
    except KeyboardInterrupt:
        view.close()
        print(f"\nThe job goes on. Again: lepton attach {asked.job}   Stop it: lepton cancel {asked.job}")
        return 130
    finally:
        dispatcher.close()
        view.close()


def _logs(asked: argparse.Namespace) -> int:
    from .outputs import fold, outputs_text

    dispatcher = _dispatcher()
    try:
        events = dispatcher.events(asked.job, on=asked.on)
    finally:
        dispatcher.close()
    sys.stdout.write(outputs_text(fold(events), colour=sys.stdout.isatty()))
    return 0


def _cancel(asked: argparse.Namespace) -> int:
    dispatcher = _dispatcher()
    try:
        print(dispatcher.cancel(asked.job, on=asked.on))
    finally:
        dispatcher.close()
    return 0


def _fetch(asked: argparse.Namespace) -> int:
    dispatcher = _dispatcher()
    try:
        run = dispatcher.look(asked.job, on=asked.on)
        words = dispatcher.fetch_files(run, asked.names, asked.to, _show_progress)
    finally:
        dispatcher.close()
    print(words or f"job {run.job_id} left variables, which a notebook can bring: %lepton_fetch {run.job_id}")
    return 0


def _show_progress(done: int, total: int) -> None:
    from .outputs.words import size

    if sys.stderr.isatty():
        print(f"\r{size(done)} of {size(total)} ", end="\n" * (done >= total), file=sys.stderr, flush=True)


def _dispatcher() -> Dispatcher:
    from .config import Config
    from .remote import Dispatcher
    from .store import JobStore

    return Dispatcher(Config.load(), JobStore.load(), _prompt)


def _prompt(question: str, secret: bool) -> str:
    """Ask the person at the terminal. Raises ConfigError where there is none."""
    if not sys.stdin.isatty():
        raise ConfigError(
            f"this needs an answer, and there is no terminal to ask at: {question}",
            hint="Run the command in a terminal, or let an SSH agent hold the key.",
        )
    if secret:
        return getpass.getpass(question)
    print(question, end="", file=sys.stderr, flush=True)  # stdout is for what was asked for
    return input()


if __name__ == "__main__":
    sys.exit(main())
