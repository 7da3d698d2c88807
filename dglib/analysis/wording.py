"""Numbers and counts as text, for tables, answers and pages."""

import math
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

NONE = "–"
OUTCOMES = {"init_failed": "init failed", "unfinished": "not finished"}


def decimal(value: float, decimals: int = 2) -> str:
    """Rounded half up as written (0.2375 is 0.238), with a true minus sign and no negative zero."""
    exact = Decimal(repr(round(float(value), 10)))
    text = f"{abs(exact).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP):f}"
    return f"−{text}" if value < 0 and float(text) else text


def level(value: float) -> str:
    """λ or an error with two decimals, up to four if it has them: 0.70, 0.525."""
    whole, _, digits = decimal(value, 4).partition(".")
    return f"{whole}.{digits.rstrip('0').ljust(2, '0')}"


def p_value(p: float) -> str:
    """Two digits that count: 0.33, 0.017, 0.00054; of less than 0.0001, that."""
    if p < 0.0001:
        return "< 0.0001"
    return decimal(p, 1 - math.floor(math.log10(p))).rstrip("0") if p < 0.1 else decimal(p)


def seeds(count: int) -> str:
    """ "1 seed", "3 seeds"."""
    return f"{count} seed" if count == 1 else f"{count} seeds"


def listing(parts: Sequence[str], last: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    return f" {last} ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def interval(lower: float | None, upper: float | None) -> str:
    """ "0.50 to 0.65"; where an end is open "> 0.70" or "< 0.38", where both are "–"."""
    if lower is None:
        return NONE if upper is None else f"< {level(upper)}"
    if upper is None:
        return f"> {level(lower)}"
    low, high = level(lower), level(upper)
    return low if low == high else f"{low} to {high}"


def centred(lower: float | None, upper: float | None) -> str:
    """ "0.575 [0.55, 0.60]" of a closed cell, else as `interval`."""
    if lower is None or upper is None or lower == upper:
        return interval(lower, upper)
    return f"{decimal((lower + upper) / 2, 3)} [{level(lower)}, {level(upper)}]"


def dwell(settings: Mapping[str, Any], swept: bool = True) -> str:
    """ "Dwell time 4 epochs per level, LR 0.1 (constant)" from `summary.dwell`; unswept, the LR alone."""
    lr = f"LR {rates(settings['lr'], settings['constant_lr'])}"
    epochs = settings["epochs_per_level"]
    return f"Dwell time {per_level(*epochs) if epochs else 'not recorded'}, {lr}" if swept else lr


def per_level(*epochs: int) -> str:
    """ "1 epoch per level", "4 or 8 epochs per level"; 0: unknown."""
    unit = "epoch" if epochs == (1,) else "epochs"
    return f"{listing([str(value or 'unknown') for value in epochs], 'or')} {unit} per level"


def rates(lrs: Sequence[Sequence[float]], constant: bool | None = None) -> str:
    """ "0.1 (constant)", "0.01, then 0.001", "not recorded"."""
    if not lrs:
        return "not recorded"
    schedules = [", then ".join(f"{rate:g}" for rate in schedule) for schedule in lrs]
    single = len(lrs) == 1 and len(lrs[0]) == 1
    return " or ".join(schedules) + (" (constant)" if constant and single else "")


def outcome(name: str, words: Mapping[str, str] | None = None) -> str:
    return (OUTCOMES | dict(words or {})).get(name, name)


def seed(row: Mapping[str, Any]) -> str:
    """The seed; a dash where the record has none."""
    return NONE if row["seed"] < 0 else str(row["seed"])


def error(value: float | None) -> str:
    """An error or a gap with three decimals; a dash without one."""
    return NONE if value is None else decimal(value, 3)
