"""What may be tuned: ranges and choices, as the user writes them.

::

    lr=log:1e-5..1e-1      on a logarithmic scale
    dropout=0..0.5         a number; between whole numbers, a whole one
    layers=1..8/2          in steps: 1, 3, 5, 7
    batch=32|64|128        one of these: numbers, True, None, or texts as they stand

Pure; runs in the notebook's kernel, where mistakes are told at once, and where the trials run.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError

HINT = "Write NAME=LOW..HIGH, NAME=log:LOW..HIGH, NAME=LOW..HIGH/STEP or NAME=A|B|C, as in lr=log:1e-5..1e-1."

Value = bool | int | float | str | None


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones if both are ints. `step` only without `log`."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def whole(self) -> bool:
        return all(type(each) is int for each in (self.low, self.high, self.step or 0))

    def suggest(self, trial: Any, name: str) -> Value:
        """A value for an Optuna trial."""
        suggest = trial.suggest_int if self.whole else trial.suggest_float
        options = {} if self.step is None else {"step": self.step}
        value: Value = suggest(name, self.low, self.high, log=self.log, **options)
        return value

    def has(self, value: Any) -> bool:
        """Whether a trial may have this value."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        if not self.low <= value <= self.high:
            return False
        return self.step is None or math.isclose((value - self.low) / self.step % 1.0, 0.0, abs_tol=1e-9)

    def grid(self, points: int) -> list[Value]:
        """At most `points` values, evenly over the range."""
        if self.step is not None:
            count = int((self.high - self.low) / self.step + 1e-9) + 1
            return [self.low + number * self.step for number in range(count)]
        count = min(points, int(self.high - self.low) + 1) if self.whole else points
        shares = [number / max(count - 1, 1) for number in range(count)]
        if self.log:
            found = [self.low * (self.high / self.low) ** share for share in shares]
        else:
            found = [self.low + (self.high - self.low) * share for share in shares]
        found[-1] = self.high
        return list(dict.fromkeys(round(each) if self.whole else float(f"{each:.12g}") for each in found))

    def __str__(self) -> str:
        step = "" if self.step is None else f"/{self.step:g}"
        return f"{'log:' * self.log}{_number(self.low)}..{_number(self.high)}{step}"


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Value, ...]

    def suggest(self, trial: Any, name: str) -> Value:
        value: Value = trial.suggest_categorical(name, list(self.values))
        return value

    def has(self, value: Any) -> bool:
        return any(type(each) is type(value) and each == value for each in self.values)

    def grid(self, points: int) -> list[Value]:
        return list(self.values)

    def __str__(self) -> str:
        return "|".join(each if isinstance(each, str) else repr(each) for each in self.values)


Domain = Range | Choice
Space = Mapping[str, Domain]


def parse(texts: Sequence[str]) -> dict[str, Domain]:
    """What ``--space`` was given. Raises ConfigError, which quotes what cannot be understood."""
    found: dict[str, Domain] = {}
    for text in texts:
        name, equals, what = (part.strip() for part in text.partition("="))
        if not equals or not what or not name.isidentifier():
            raise ConfigError(f"--space {text}: a name, = and values are needed", hint=HINT)
        if name in found:
            raise ConfigError(f"--space has {name} twice: {found[name]} and {what}")
        found[name] = _domain(what, f"--space {text}")
    return found


def words(space: Space) -> str:
    """ "lr=log:1e-05..0.1  hidden=log:32..512": what `parse` understands."""
    return "  ".join(f"{name}={domain}" for name, domain in space.items())


def _domain(what: str, where: str) -> Domain:
    if "|" in what:
        values = tuple(dict.fromkeys(_literal(each.strip()) for each in what.split("|") if each.strip()))
        if len(values) < 2:
            raise ConfigError(f"{where}: that is one value, which leaves nothing to choose", hint=HINT)
        return Choice(values)
    log = what.startswith("log:")
    span, slash, width = what.removeprefix("log:").partition("/")
    low, dots, high = span.partition("..")
    if not dots:
        if isinstance(_literal(span), str):
            raise ConfigError(f"{where}: {what!r} is neither a range nor a choice", hint=HINT)
        raise ConfigError(f"{where}: that is one value; write it into the cell instead", hint=HINT)
    found = Range(_bound(low, where), _bound(high, where), log, _bound(width, where) if slash else None)
    if found.low >= found.high:
        raise ConfigError(f"{where}: {low.strip()} is not below {high.strip()}", hint=HINT)
    if log and found.low <= 0:
        raise ConfigError(f"{where}: a logarithmic range begins above 0", hint="As in log:1e-6..1e-2.")
    if log and found.step is not None:
        raise ConfigError(f"{where}: a logarithmic range has no steps", hint=HINT)
    if found.step is not None and not 0 < found.step <= found.high - found.low:
        raise ConfigError(f"{where}: the step {width.strip()} does not fit between the ends", hint=HINT)
    return found


def _bound(text: str, where: str) -> float:
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        value = None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{where}: {text.strip()!r} is no number", hint=HINT)
    return value


def _literal(text: str) -> Value:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if value is None or isinstance(value, bool | int | float | str) else text


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"
