"""A finding on the records of several experiments, such as the width between two thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dglib.analysis.differences import Row
    from dglib.analysis.fields import Records


@dataclass(frozen=True)
class EventSweep:
    """A sweep that an event ends, as a cursor on λ is worded.

    Attributes:
        experiment, kind: whose threshold, "lambda-up" or "lambda-down".
        sweep: key of the sweep that the seeds in question made.
        key: of the sweep itself, and `title`, `symbol` of its threshold.
        where, verb: "T1, λ raised to" … "have collapsed".
        width: where the difference to the first threshold is taken; empty for the first.
    """

    experiment: str
    kind: str
    sweep: str
    key: str
    title: str
    symbol: str
    where: str
    verb: str
    width: str = ""


class Joint:
    """A finding on the records of several experiments in one run directory, such as a width.

    Attributes:
        key: of its figure's file and of its part in JSON files.
        title: of its part of a page; `caption` explains the figure.
        experiments: those whose records it takes, in order.
        quantity, symbol: the name of the value that each of them has from it.
        limitation: what it cannot show; empty for none.
        event_sweeps: those between whose thresholds it lies, the first one first.
    """

    key: str
    title: str
    caption: str
    experiments: tuple[str, ...]
    quantity: str
    symbol: str
    limitation: str = ""
    event_sweeps: tuple[EventSweep, ...] = ()

    def answer(self, *records: Records) -> str:
        """The finding in sentences."""
        raise NotImplementedError

    def summarise(self, *records: Records) -> dict[str, Any]:
        """The finding as plain values."""
        raise NotImplementedError

    def draw(self, *records: Records) -> Figure:
        """The figure; some of the experiments may have no records."""
        raise NotImplementedError

    def values(self, *records: Records) -> dict[str, Any]:
        """The finding for machines: `measured`, `quantity`, `notes`, `left_out`, `seeds` and others."""
        raise NotImplementedError

    def nothing(self) -> dict[str, Any]:
        """The quantities of `values`, each None: for records that cannot be taken together."""
        return {self.quantity: None}

    def compare(self, a: Sequence[Records], b: Sequence[Records]) -> list[Row]:
        """The quantities on two sides."""
        raise NotImplementedError

    def lag_differs(self, *records: Records) -> list[str] | None:
        """Parameters besides dwell time and LR in which runs differ; None where all had one of these."""
        return None

    def lag_answer(self, *records: Records, others: Records = ()) -> str:
        """The finding at each dwell time, in sentences; `others` were trained from scratch at one λ."""
        raise NotImplementedError

    def draw_lag(self, *records: Records, others: Records = ()) -> Figure:
        """The finding against dwell time."""
        raise NotImplementedError
