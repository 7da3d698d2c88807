"""What a hand may set in a live run, and the two states that it may begin from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from dglib.errors import UserError


@dataclass(frozen=True)
class Settings:
    """What is in force at a step.

    Attributes:
        lam: λ, 0 to 1.
        lr: learning rate, above 0, at most 1.
        refresh_period: K, steps from one value gradient to the next, from 1.
        noise_rate: η, the share of training labels made wrong, 0 to 0.9.
    """

    lam: float = 0.35
    lr: float = 0.1
    refresh_period: int = 32
    noise_rate: float = 0.4

    def changed(self, **values: object) -> Settings:
        """These settings with some of them changed.

        Raises:
            UserError: an unknown name, or a value out of its range; one line.
        """
        for name, value in values.items():
            if name not in _LIMITS:
                raise UserError(f"{name} = {value!r}: a live run has {', '.join(_LIMITS)}")
            whole = name == "refresh_period"
            kind, told = (int, "a whole number") if whole else (int | float, "a number")
            if not isinstance(value, kind) or isinstance(value, bool) or not math.isfinite(value):
                raise UserError(f"{name} = {value!r}: must be {told}")
            low, high, rule = _LIMITS[name]
            if not low <= value <= high or (name == "lr" and value == 0):
                raise UserError(f"{name} = {value!r}: must be {rule}")
        given: dict[str, Any] = dict(values)
        return replace(self, **given)

    def as_row(self, step: int) -> dict[str, Any]:
        """As a record's script has it: in force from this step on."""
        return {"step": step, **{_SCRIPT[name]: value for name, value in asdict(self).items()}}

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Settings:
        """What `as_row` gave."""
        return cls().changed(**{field.name: row[_SCRIPT[field.name]] for field in fields(cls)})


_LIMITS = {
    "lam": (0.0, 1.0, "from 0 to 1"),
    "lr": (0.0, 1.0, "above 0 and at most 1"),
    "refresh_period": (1, 10_000, "from 1 to 10000"),
    "noise_rate": (0.0, 0.9, "from 0 to 0.9"),
}
_SCRIPT = {"lam": "lambda", "lr": "lr", "refresh_period": "refresh_period", "noise_rate": "noise_rate"}


@dataclass(frozen=True)
class Start:
    """A state to begin from: a new network trained at one λ for some epochs."""

    name: str
    lam: float
    epochs: int


# As the quick profiles of T1 and T2 prepare theirs. From higher λ a new network ends up trapped, one class
# predicted for everything, and comes back from there at no λ.
STARTS = {start.name: start for start in (Start("ordered", 0.35, 20), Start("collapsed", 0.55, 15))}
