"""A grid's parameters, values, ends and medians as figures and pages word them."""

from collections.abc import Mapping, Sequence
from typing import Any

from dglib.analysis import wording
from dglib.analysis.phase_diagram import DIVERGED_WORD, INIT_FAILED, TRAPPED_WORD, Measure

NAMES = {
    "init_lambda": "λ",
    "noise_rate": "η, share of wrong training labels",
    "lr": "Learning rate",
    "refresh_period": "K, steps from one value gradient to the next",
    "epochs_per_level": "Epochs per level",
}
_SHORT = {
    "init_lambda": "λ",
    "noise_rate": "η",
    "lr": "LR",
    "refresh_period": "K",
    "epochs_per_level": "dwell time",
}
_GLYPHS = {**dict.fromkeys(TRAPPED_WORD, "◆"), **dict.fromkeys(DIVERGED_WORD, "✕"), INIT_FAILED: "▽"}
_MILD, _SEVERE = "●", "■"

Summary = Mapping[str, Any]


def parameter_name(name: str) -> str:
    """A crossed parameter on an axis."""
    return NAMES.get(name, name)


def symbol(name: str) -> str:
    """A crossed parameter in a title or a table's head: its sign where it has one."""
    return _SHORT.get(name, name)


def value_text(value: object) -> str:
    """A crossed value on an axis, in a table or in a sentence."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(value_text, value))}]"
    return str(value)


def glyph(measure: Measure, kind: str) -> str:
    """The mark that stands for what became of a seed."""
    mildest = next(iter(measure.kinds))
    return (_GLYPHS | dict(measure.glyphs)).get(kind, _MILD if kind == mildest else _SEVERE)


def median_text(told: Summary) -> str:
    """A cell's median: "0.41", "> 0.70" where it is open, "0.55–0.60" between two levels."""
    lower, upper = told["median"]["lower"], told["median"]["upper"]
    if lower is None and upper is None:
        return "–"
    if lower is None or upper is None:
        return f"< {wording.level(upper)}" if lower is None else f"> {wording.level(lower)}"
    if lower == upper:
        return wording.decimal(lower)
    return f"{wording.level(lower)}–{wording.level(upper)}"


def phases_sentence(symbol: str, measure: Measure, told: Sequence[Summary]) -> str:
    """In how many cells half of the seeds came to which end, or passed it; cells without seeds are named.

    All cells are of one experiment; `symbol` is its name in texts.
    """
    done, named = [each for each in told if each["n"]], measure.kinds
    counts = {kind: sum(each["phase"] == kind for each in done) for kind in named}
    parts = [f"{named[kind]} in {count}" for kind, count in counts.items() if count]
    if not parts:
        return f"{symbol}: no seed of {len(told)} cells has come to an end."
    whole = (
        f"of {len(told)} cells {len(done)} have" if len(done) < len(told) else f"all {len(told)} cells have"
    )
    return (
        f"{symbol}: {whole} finished seeds. The end that at least half of a cell's seeds came to, or passed,"
        f" is {wording.listing(parts)}."
    )
