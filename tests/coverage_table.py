"""The table of coverages that `coverage_simulation.py` writes, and what is to be read from it."""

from dataclasses import dataclass

NOT_BELOW = 3.0  # Monte-Carlo errors by which a coverage may lie below nominal and still be said to hold
READING = """
What lies below nominal, and what follows from it:

- The t interval is exact for normal gaps. Of uniform ones it covers a little less at few seeds, of
  skewed ones less, and of two states mixed much less: that is why seeds that began the collapse
  branch trapped are kept apart from those that began it collapsed.
- Newcombe's interval is near nominal on average over shares, and below it for single ones.

What lies above nominal, and why it stays so:

- The interval of a median threshold is never narrower than a cell, which is a step of the sweep
  wide (0.05 here), so it covers more than nominal, with 30 seeds too. Levels that lie closer would
  shorten it; so would an assumption on where in its cell a threshold lies, which is not made.
- With undecided seeds the interval of a share holds whichever way each would have gone. The price
  is its length; to know better which way they went one would have to know why they were cut short.
"""


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        error: the Monte-Carlo standard error of the coverage; None where that is exact.
        length: mean of the intervals that are closed; None where none is.
        open: share of the intervals that are open on a side.
    """

    interval: str
    case: str
    n: int
    nominal: float
    coverage: float
    error: float | None
    length: float | None
    open: float = 0.0

    @property
    def cells(self) -> list[str]:
        """The columns after `nominal`."""
        error = "exact" if self.error is None else f"{self.error:.4f}"
        length = "–" if self.length is None else f"{self.length:.3f}"
        excess = f"{self.coverage - self.nominal:+.4f}"
        return [f"{self.coverage:.4f}", excess, error, length, f"{self.open:.2f}", self.verdict]

    @property
    def verdict(self) -> str:
        return (
            "holds"
            if self.coverage >= self.nominal - NOT_BELOW * (self.error or 0) - 1e-9
            else "**below nominal**"
        )


def text(rows: list[Row], count: int) -> str:
    lines = [
        "# Coverage of the intervals",
        "",
        f"Made by `python tests/coverage_simulation.py`: {count} replicates a row with a Monte-Carlo error",
        "(at the nominal coverage), the others enumerated exactly. Nominal 1: bounds that must always hold.",
        f"A row holds if its coverage is not below nominal by more than {NOT_BELOW:g} Monte-Carlo errors.",
        "Excess: coverage less nominal. Length: mean of the intervals that are closed, in units of the",
        "quantity (λ, a share or an error). Open: share of intervals that censoring leaves open on a side.",
        "",
        "| interval | case | n | nominal | coverage | excess | error | length | open | |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [f"| {' | '.join([r.interval, r.case, str(r.n), f'{r.nominal:g}', *r.cells])} |" for r in rows]
    return "\n".join([*lines, READING])
