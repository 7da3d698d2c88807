"""A measured row, and how rows are printed and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dglib.files import to_json, write_atomically

WIDTHS = (42, 5, 5, 10, 10, 12, 10, 7, 17, 8, 3)
TITLES = (
    "case",
    "batch",
    "prec.",
    "s/epoch",
    "images/s",
    "against",
    "s/epoch",
    "ratio",
    "[low, high]",
    "of peak",
    "n",
)


@dataclass(frozen=True)
class Row:
    """One case's outcome.

    Attributes:
        seconds, baseline_seconds: ours and the other side's, for `unit`, at the rate of the measured blocks.
        ratio: baseline over ours, above 1 where ours is faster; for `…_over_…` ours over the other.
        low, high, interval: of the pairs' ratios, and of what kind.
        share_of_peak: of training (or evaluation): its FLOP/s over those of the best matrix product.
        n: pairs of blocks.
        against: what the other side is.
        batch: images a step; on a CPU smaller than the published one where that does not fit the time. A
            step's fixed costs (SGD, norms, the mix) then weigh more, on both sides.
        steps: a block's; 0 for evaluation.
        images_per_s: ours.
        seconds_low, seconds_high: the extremes of ours.
        note: what else one must know to read the row.
    """

    case: str
    device: str
    precision: str
    seconds: float
    baseline_seconds: float
    ratio: float
    share_of_peak: float | None
    n: int
    low: float
    high: float
    interval: str
    against: str
    unit: str
    batch: int
    published_batch: int
    steps: int
    images_per_s: float
    s_per_epoch: float | None
    seconds_low: float
    seconds_high: float
    note: str = ""

    def line(self) -> str:
        """The row under `header`."""
        share = "–" if self.share_of_peak is None else f"{self.share_of_peak:.1%}"
        cells = (
            self.case,
            str(self.batch),
            self.precision,
            f"{self.seconds:.4g}",
            f"{self.images_per_s:.4g}",
            self.against,
            f"{self.baseline_seconds:.4g}",
            f"{self.ratio:.3f}",
            f"[{self.low:.3f}, {self.high:.3f}]",
            share,
            str(self.n),
        )
        return _aligned(cells) + (f"  {self.note}" if self.note else "")


def header() -> str:
    return _aligned(TITLES)


def _aligned(cells: Sequence[str]) -> str:
    name, *numbers = cells
    return " ".join([name.ljust(WIDTHS[0]), *(n.rjust(w) for n, w in zip(numbers, WIDTHS[1:], strict=True))])


def write_report(
    path: Path,
    machine: Mapping[str, object],
    rows: Sequence[Row],
    skipped: Sequence[tuple[str, str]],
    *,
    complete: bool,
) -> None:
    """Write what has been measured so far as JSON, whole or not at all."""
    report = {
        "machine": dict(machine),
        "complete": complete,
        "rows": [asdict(row) for row in rows],
        "skipped": [{"case": case, "reason": reason} for case, reason in skipped],
    }
    write_atomically(path, to_json(report, indent=1))
