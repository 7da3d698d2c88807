"""A finding on the records of several experiments, such as the width between two thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dglib.analysis.answer import Answer
    from dglib.analysis.differences import Difference
    from dglib.analysis.fields import Records
    from dglib.analysis.summary import Summary


class Joint:
    """A finding on the records of several experiments in one run directory, such as a width.

    Attributes:
        key: of its figure's file and of its part of `analyse --json`.
        title: of its part of a page; `caption` explains the figure.
        experiments: those whose records it takes, in order.
        quantity, symbol: the name of the estimate that each of them has from it; its part of `summary.json`.
        limitation: what it cannot show; empty for none.
    """

    key: str
    title: str
    caption: str
    experiments: tuple[str, ...]
    quantity: str
    symbol: str
    limitation: str = ""

    def summarise(self, *records: Records) -> dict[str, Any]:
        """The finding as plain values: `n`, `measured`, `estimates`, `notes`, `left_out`, `seeds`."""
        raise NotImplementedError

    def answer(self, *records: Records) -> Answer:
        return self.answer_of(self.summarise(*records))

    def answer_of(self, summary: Summary) -> Answer:
        """What was found, as a table."""
        raise NotImplementedError

    def draw(self, *records: Records) -> Figure:
        """The figure; some of the experiments may have no records."""
        raise NotImplementedError

    def compare(self, a: Summary, b: Summary) -> list[Difference]:
        raise NotImplementedError

    def lag(self, *records: Records, others: Records = ()) -> Summary | None:
        """The finding at each dwell time and LR; None where all records had one of these.

        Args:
            others: records of training from scratch at one λ.
        """
        return None

    def lag_answer(self, lag: Summary) -> Answer:
        raise NotImplementedError

    def draw_lag(self, *records: Records, others: Records = ()) -> Figure:
        raise NotImplementedError

    @property
    def nothing(self) -> Sequence[str]:
        """Names that are null where records cannot be taken together."""
        return (self.quantity,)
