"""An answer: a table with a row for each quantity and start state, the same in a terminal and on a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from itertools import groupby
from typing import Any, Protocol

from dglib.analysis import wording
from dglib.analysis.intervals import Bounds
from dglib.analysis.summary import FEWEST_FOR_MEDIANS, Summary, difference_interval
from dglib.analysis.wording import NONE

MOST_FLAGS = 3
_VALUE = "value [cell] ± SD"
_HEADS = ("quantity", "start", "n", "events", _VALUE, "95 % interval")
_NUMERIC = frozenset({"n", "events"})


Interval = Sequence[float | None]  # two: of a cell or an interval, null where open


@dataclass(frozen=True)
class Row:
    """One quantity from one start state.

    Attributes:
        n: seeds that count.
        start: the state in which they began; empty where there is one only.
        events: those of the `n` in which what is asked for happened; None where nothing can.
        value: the middle of the cell, a mean or a share; None where it is open.
        cell: of a threshold or width, the bounds of the median over seeds.
        std: of a mean, over seeds (ddof 0).
        ci95: None where there is none.
        fewest: seeds below which no interval exists.
        places: decimals of value and interval.
        more: columns of its own: a number, text, or the ends of a cell.
        table: the heading of the table that the row is in; empty for the first one.
    """

    quantity: str
    n: int
    start: str = ""
    events: int | None = None
    value: float | None = None
    cell: Interval | None = None
    std: float | None = None
    ci95: Interval | None = None
    fewest: int = 2
    decimals: int = 3
    more: Mapping[str, float | str | Interval | None] = field(default_factory=dict)
    table: str = ""

    @classmethod
    def of_median(cls, quantity: str, n: int, median: Summary | None, **others: Any) -> Row:
        """From `summary.quantity`."""
        median = median or {"estimate": None, "lower": None, "upper": None, "ci95": None}
        cell = (median["lower"], median["upper"])
        known = {"value": median["estimate"], "cell": cell, "ci95": median["ci95"]}
        return cls(quantity, n, fewest=FEWEST_FOR_MEDIANS, **known, **others)

    @classmethod
    def of_mean(cls, quantity: str, mean: Summary | None, p: bool = True, **others: Any) -> Row:
        """From `summary.paired`, or `mean_error`; `p`: whether the mean is compared with 0."""
        if mean is None:
            return cls(quantity, 0, **others)
        known = {"value": mean["mean"], "std": mean["std"], "ci95": mean["ci95"]}
        more = {**({"p": _p(mean)} if p else {}), **others.pop("more", {})}
        return cls(quantity, mean["n"], **known, more=more, **others)

    @classmethod
    def of_share(cls, quantity: str, share: Summary | None, **others: Any) -> Row:
        """From `summary.share`."""
        share = share or {"of": 0, "count": None, "estimate": None, "ci95": None}
        known = {"events": share["count"], "value": share["estimate"], "ci95": share["ci95"]}
        return cls(quantity, share["of"], **known, fewest=1, **others)

    @classmethod
    def of_fit(cls, quantity: str, n: int, fit: Summary, **others: Any) -> Row:
        """From a parameter of `dglib.analysis.fits`; an end that nothing bounds is open."""
        return cls(quantity, n, value=fit["estimate"], ci95=fit["ci95"], **others)

    @property
    def texts(self) -> dict[str, str]:
        """The text of each column."""
        known = {"quantity": self.quantity, "start": self.start, "n": str(self.n)}
        known |= {"events": "" if self.events is None else str(self.events)}
        known |= {_VALUE: self.value_text, "95 % interval": self.interval_text}
        return known | {head: _text(head, value) for head, value in self.more.items()}

    @property
    def value_text(self) -> str:
        if self.cell is not None:
            return wording.centred(*self.cell)
        if self.value is None:
            return NONE
        return wording.decimal(self.value, self.decimals) + (
            f" ± {wording.decimal(self.std, self.decimals)}" if self.std is not None and self.n > 1 else ""
        )

    @property
    def interval_text(self) -> str:
        if self.ci95 is not None:
            if self.cell is not None:
                return wording.interval(*self.ci95)
            texts = (NONE if end is None else wording.decimal(end, self.decimals) for end in self.ci95)
            return " to ".join(texts)
        return f"none (n < {self.fewest})" if self.n < self.fewest else NONE

    def minus(self, other: Row) -> Row:
        """The difference of the same quantity in independent seeds."""
        both = (self, other)
        one, two = (Bounds.between(*(row.cell or (row.value, row.value))) for row in both)
        difference, ci95 = one - two, None
        if self.ci95 and other.ci95:
            intervals = (Bounds.between(*pair) for pair in (self.ci95, other.ci95))
            pair = difference_interval(one, two, *intervals).pair
            ci95 = None if pair == (None, None) else pair
        return replace(
            self,
            n=min(row.n for row in both),
            value=difference.lower if difference.is_closed else None,
            cell=None if self.cell is None else difference.pair,
            std=None,
            ci95=ci95,
        )


class Answering(Protocol):
    """What an answer is made from, besides a summary: an experiment."""

    symbol: str

    def outcomes_text(self, summary: Summary) -> str: ...
    def dwell_text(self, summary: Summary) -> str: ...
    def rows(self, summary: Summary) -> list[Row]: ...


@dataclass(frozen=True, repr=False)
class Answer:
    """What was found. `print` shows plain text, a notebook's cell a table.

    Attributes:
        title: the experiment and where its seeds ended.
        settings: dwell time, LR, noise and limits, without which no number means anything.
        flags: what the reader must know besides; three are shown.
    """

    title: str
    settings: str = ""
    rows: tuple[Row, ...] = ()
    flags: tuple[str, ...] = ()

    @classmethod
    def of(cls, about: Answering, summary: Summary) -> Answer:
        if not summary["n"]:
            return cls(f"{about.symbol}: no seed has finished")
        return cls(
            f"{about.symbol}, {wording.seeds(summary['n'])}: {about.outcomes_text(summary)}",
            settings(about.dwell_text(summary), summary),
            tuple(about.rows(summary)),
            (*summary.get("flags", ()), *summary["notes"]),
        )

    def with_flags(self, *flags: str) -> Answer:
        """With more flags first, empty ones left out."""
        return replace(self, flags=(*filter(None, flags), *self.flags))

    @property
    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Of each table its heading, its columns' heads and its rows; empty columns are left out."""
        tables = []
        for heading, members in groupby(self.rows, key=lambda row: row.table):
            rows = [row.texts for row in members]
            known = dict.fromkeys([*_HEADS, *(head for row in rows for head in row)])
            heads = [head for head in known if any(row.get(head) for row in rows)]
            heads.sort(key="p".__eq__)  # last
            tables.append((heading, heads, [[row.get(head, "") for head in heads] for row in rows]))
        return tables

    @property
    def line(self) -> str:
        """The title with the first quantity's value of each start state."""
        first = self.rows[0].quantity if self.rows else ""
        shown = [row for row in self.rows if row.quantity == first and row.n]
        values = (
            f"{row.quantity}{f' ({row.start})' if row.start else ''} {row.texts[_VALUE]}" for row in shown
        )
        return "; ".join([self.title, *values])

    @property
    def shown_flags(self) -> list[str]:
        rest = len(self.flags) - MOST_FLAGS
        if rest <= 0:
            return list(self.flags)
        return [*self.flags[: MOST_FLAGS - 1], f"{self.flags[MOST_FLAGS - 1]} (and {rest} more)"]

    def text(self) -> str:
        lines = [line for line in (self.title, self.settings) if line]
        for heading, heads, rows in self.tables:
            lines += [""] * bool(heading) + [heading] * bool(heading)
            lines += aligned([heads, *rows])
        return "\n".join([*lines, *(f"! {flag}" for flag in self.shown_flags)])

    def html(self, whole: bool = True) -> str:
        """A `<div>`; `whole`: with all tables, else the first."""
        parts = [f"<p><strong>{escape(self.title)}</strong></p>", f"<p>{escape(self.settings)}</p>"]
        for heading, heads, rows in self.tables if whole else self.tables[:1]:
            parts.append(f"<p>{escape(heading)}</p>" if heading else "")
            head, *body = (_line(heads, row, tag) for tag, row in [("th", heads), *(("td", r) for r in rows)])
            parts.append(f"<table><thead>{head}</thead><tbody>{''.join(body)}</tbody></table>")
        parts += [f"<p>⚠ {escape(flag)}</p>" for flag in self.shown_flags]
        return f'<div class="answer">{"".join(parts)}</div>'

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.html()


def _line(heads: Sequence[str], row: Sequence[str], tag: str) -> str:
    """A table's row; counts stand right. On a narrow page a cell shows its label in front."""
    sides = ("right" if head in _NUMERIC else "left" for head in heads)
    texts = (
        f'<{tag} data-label="{escape(head)}" style="text-align: {side}">{escape(text)}</{tag}>'
        for head, side, text in zip(heads, sides, row, strict=True)
    )
    return f"<tr>{''.join(texts)}</tr>"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line for each row of a table for a terminal, the heads first."""
    columns = [
        [text.rjust(size) if column[0] in _NUMERIC else text.ljust(size) for text in column]
        for column in zip(*rows, strict=True)
        for size in [max(map(len, column))]
    ]
    return [f"  {'  '.join(row)}".rstrip() for row in zip(*columns, strict=True)]


def interval_of(quantity: Summary | None) -> Interval | None:
    """The ends of a cell or `summary.quantity`."""
    return None if quantity is None else (quantity["lower"], quantity["upper"])


def settings(dwell: str, summary: Summary) -> str:
    """The line of dwell time, LR, noise and limits."""
    noise = [f"η {wording.listing([f'{eta:g}' for eta in summary['eta']])}"] if summary["eta"] else []
    limits = [f"{name.replace('_', ' ')} {wording.level(value)}" for name, value in summary["limits"].items()]
    return ", ".join([dwell, *noise, *limits])


def _p(mean: Summary) -> float | str | None:
    """The p of `summary.paired`, with a word where so few seeds allow none below 0.05."""
    p: float | None = mean["p"]
    least: float = mean["least_p"]
    if p is None or least <= 0.05:
        return p
    return f"{wording.p_value(p)} (≥ {wording.p_value(least)})"


def _text(head: str, value: float | str | Interval | None) -> str:
    if value is None:
        return NONE
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return wording.p_value(value) if head == "p" else wording.decimal(value, 3)
    return wording.centred(*value)
