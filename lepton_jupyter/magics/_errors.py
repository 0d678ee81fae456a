"""Reading the line of a magic: quoted as in a shell, its mistakes as words. Runs in the notebook's kernel."""

from __future__ import annotations

import argparse
import shlex
from typing import NoReturn

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from ._process import job_named


class MagicParser(argparse.ArgumentParser):
    """argparse for the line of a magic: a mistake is a UsageError, and nothing exits the kernel."""

    def __init__(self, magic: str) -> None:
        super().__init__(prog=magic, add_help=False, allow_abbrev=False)

    def add_job(self) -> None:
        """The arguments that name a job, for `parse_job`."""
        self.add_argument("job", metavar="JOB")
        self.add_argument("--on", default="", metavar="TARGET")

    def parse_job(self, line: str, shell: InteractiveShell | None) -> argparse.Namespace:
        """The arguments in `line`, where "last" has become the notebook's newest job. Raises UsageError, UnknownJob."""
        asked = self.parse_line(line)
        assert shell is not None
        asked.job = job_named(asked.job, shell)
        return asked

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(f"{message}\n{self.format_usage().strip()}    ({self.prog}? shows its help)")

    def parse_line(self, line: str) -> argparse.Namespace:
        """The arguments in `line`. Raises UsageError."""
        return self.parse_args(split(line))


def split(line: str) -> list[str]:
    """The words of a magic's line. Raises UsageError for a quote that never ends."""
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{error} in: {line}") from None
