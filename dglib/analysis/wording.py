"""Numbers and counts as sentences and tables show them: the text of a summary's values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dglib.analysis.summary import UNMEASURED

NONE = "–"
OUTCOMES = {"init_failed": "init failed", "unfinished": "not finished"}
TRAPPED_MEANS = "one class predicted for everything, and for long"


def level(value: float) -> str:
    """λ or an error with two decimals, more only if it has them: 0.70, 0.525."""
    digits = len(f"{value:.4f}".rstrip("0").partition(".")[2])
    return decimal(value, max(digits, 2))


def decimal(value: float, places: int = 2) -> str:
    """A rounded number with a true minus sign, and never a negative zero."""
    text = f"{abs(value):.{places}f}"
    return f"−{text}" if value < 0 and float(text) else text


def seeds(count: int) -> str:
    """ "1 seed", "3 seeds"."""
    return f"{count} seed" if count == 1 else f"{count} seeds"


def listing(parts: Sequence[str], last: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    return f" {last} ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def spread(values: Mapping[str, Any], places: int = 3) -> str:
    """ "0.633 ± 0.024 (mean ± SD; 0.60 to 0.65)" from `bounds.spread`; of one value, the value."""
    if values["n"] == 1:
        return level(round(values["mean"], places))
    ends = " to ".join(level(round(values[end], places)) for end in ("min", "max"))
    return f"{decimal(values['mean'], places)} ± {decimal(values['std'], places)} (mean ± SD; {ends})"


def interval(lower: float | None, upper: float | None) -> str:
    """ "above 0.32", "below 0.38", "between 0.25 and 0.35", "unbounded", or of equal ends the value."""
    if lower is not None and lower == upper:
        return level(lower)
    if lower is None:
        return "unbounded" if upper is None else f"below {level(upper)}"
    return f"above {level(lower)}" if upper is None else f"between {level(lower)} and {level(upper)}"


def confidence_interval(found: Mapping[str, Any] | None, places: int | None = None) -> str:
    """ "95 % interval 0.50 to 0.65", "95 % interval above 0.70"; without one, that none exists."""
    if found is None:
        return "no 95 % interval below six seeds"
    lower, upper = (
        value if value is None or places is None else round(value, places)
        for value in (found["lower"], found["upper"])
    )
    if lower is None or upper is None:
        return f"95 % interval {interval(lower, upper)}"
    return f"95 % interval {level(lower)} to {level(upper)}"


def median(found: Mapping[str, Any]) -> str:
    """ "between 0.50 and 0.60 (95 % interval 0.45 to 0.65)" from `median_of`."""
    return f"{interval(found['lower'], found['upper'])} ({confidence_interval(found['interval'])})"


@dataclass(frozen=True)
class Words:
    """An answer in sentences.

    Attributes:
        finding: the first sentence.
        dwell: the dwell time and the LR, of `dwell`; without them no number means anything.
        details: sentences that a headline has as well.
        asides: sentences for the experiment's own section alone.
    """

    finding: str
    dwell: str
    details: tuple[str, ...] = ()
    asides: tuple[str, ...] = ()

    @property
    def answer(self) -> str:
        return self._text(*self.asides, *self.details)

    @property
    def headline(self) -> str:
        return self._text(*self.details)

    @property
    def short(self) -> str:
        return self._text()

    def _text(self, *more: str) -> str:
        return " ".join([self.finding, *more, f"{self.dwell}."])


def dwell(found: Mapping[str, Any], swept: bool = True) -> str:
    """ "Dwell time: 4 epochs per level; LR: 0.1 (constant)" from `dwell.dwell`; unswept, the LR alone."""
    lr = f"LR: {rates(found['lr'], found['constant_lr'])}"
    epochs = found["epochs_per_level"]
    return f"Dwell time: {per_level(*epochs) if epochs else 'not recorded'}; {lr}" if swept else lr


def per_level(*epochs: int) -> str:
    """ "1 epoch per level", "4 or 8 epochs per level"; 0: unknown."""
    unit = "epoch" if epochs == (1,) else "epochs"
    return f"{listing([str(value or 'unknown') for value in epochs], 'or')} {unit} per level"


def rates(found: Sequence[Sequence[float]], constant: bool | None = None) -> str:
    """ "0.1 (constant)", "0.01, then 0.001", "not recorded"."""
    if not found:
        return "not recorded"
    schedules = [", then ".join(f"{rate:g}" for rate in schedule) for schedule in found]
    single = len(found) == 1 and len(found[0]) == 1
    return " or ".join(schedules) + (" (constant)" if constant and single else "")


def unmeasured(outcomes: Mapping[str, int]) -> list[str]:
    """The counts of seeds without a finding: "1 failed the init", "2 diverged", "1 not finished"."""
    return [f"{outcomes[kind]} {words}" for kind, words in UNMEASURED.items() if outcomes.get(kind)]


def outcome(name: str, words: Mapping[str, str] | None = None) -> str:
    return (OUTCOMES | dict(words or {})).get(name, name)


def seed(found: Mapping[str, Any]) -> str:
    """The seed; a dash where the record has none."""
    return NONE if found["seed"] < 0 else str(found["seed"])


def error(value: float | None) -> str:
    """An error or a gap with three decimals; a dash without one."""
    return NONE if value is None else decimal(value, 3)


def cell(lower: float | None, upper: float | None) -> str:
    """Where a threshold lies: "0.55 to 0.60", "above 0.70", or a dash where nothing is known."""
    return NONE if lower is None and upper is None else pair([lower, upper])


def is_are(count: int) -> str:
    return "is" if count == 1 else "are"


def pair(ends: Sequence[float | None]) -> str:
    """ "0.50 to 0.65" of the ends of an interval, one of which may be open; of equal ends the value."""
    low, high = ends
    if low is None or high is None or low == high:
        return interval(low, high)
    return f"{level(low)} to {level(high)}"
