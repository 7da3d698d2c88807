"""The readout in sentences: gaps, who has met its event by here, and what the limits in force make of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from dglib.analysis import wording
from dglib.analysis.bounds import Bounds, median_bounds
from dglib.analysis.dwell import dwell
from dglib.analysis.intervals import as_json, median_interval
from dglib.explorer.readout import Gap, Readout, SeedReadout
from dglib.explorer.ways import BRANCHES

# Experiment, threshold, branches, its symbol, where, and what seeds have done beyond it.
_SWEEPS = (
    ("T1", "lambda-up", ("T1-up",), "λ↑", "T1, λ raised to", "have collapsed"),
    ("T1", "lambda-down", ("T1-up",), "λ↓", "T1, swept back to", "have recovered"),
    ("T2", "lambda-down", ("T2-down",), "λ↓", "T2, λ lowered to", "have recovered"),
    ("T2", "lambda-down", ("T2-trapped",), "λ↓", "T2, began trapped, λ lowered to", "have recovered"),
)
Known = list[tuple[int, Bounds, float | None]]  # seed, bounds, level of the event


def sentences(found: Readout) -> Iterator[str]:
    """Lines of HTML, the gap first."""
    lam = found.selection.lam
    yield f'<b>At λ = <span data-value="lambda">{lam:.2f}</span></b>: {_gap_line(found)}{_between(found)}'
    if events := " ".join(escape(line) for line in _events(found.seeds, lam)):
        yield events
    if limits := "; ".join(_medians(found.seeds)):
        yield f"<b>Under these limits</b>: {limits}."
    if times := " ".join(escape(line) for line in _dwell(found.seeds)):
        yield f'<span class="aside">{times}</span>'


def _gap_line(found: Readout) -> str:
    if not found.seeds:
        return "no seed is chosen."
    if not found.gaps:
        if all(row.seed.experiment == "Td1" for row in found.seeds):
            return "the cursor moves nothing here: λ was held, and the seeds differ by their start alone."
        errors = [reading.error for row in found.seeds for reading in row.readings]
        if all(error is None for error in errors):
            return "no chosen seed got here."
        return "only one branch got here, so there is no gap."
    return "; ".join(_gap(gap, index == 0) for index, gap in enumerate(found.gaps)) + "."


def _between(found: Readout) -> str:
    """Of which branches the errors are no measurements at this λ."""
    readings = [r for row in found.seeds for r in row.readings if r.error is not None and r.way.curve]
    held = {reading.way.branch.title for reading in readings if reading.held}
    titles = dict.fromkeys(r.way.branch.title for r in readings if r.way.branch.title not in held)
    if not titles:
        return ""
    names = wording.listing([f"“{escape(title)}”" for title in titles])
    return f' <span class="aside">λ was not held here on {names}: errors are read off the lines.</span>'


def _gap(gap: Gap, is_first: bool) -> str:
    low, high = (wording.decimal(end, 2) for end in gap.ends)
    above, below = (escape(BRANCHES[key].title) for key in (gap.above, gap.below))
    value = (
        f'<span data-value="gap{"" if is_first else "-" + gap.above}">{wording.decimal(gap.value, 3)}</span>'
    )
    over = (
        ("one seed, on both" if gap.n[0] == 1 else f"mean of {gap.n[0]} seeds, each on both")
        if gap.paired
        else f"difference of the means of {gap.n[0]} and {wording.seeds(gap.n[1])}"
    )
    first = f"error {low} ({below}) and" if is_first else ""
    return f"{first} {high} ({above}), <b>gap {value}</b> ({over})".strip()


def _events(rows: Sequence[SeedReadout], lam: float) -> Iterator[str]:
    for sweep in _SWEEPS:
        _, kind, _, _, where, verb = sweep
        known = _known(rows, *sweep[:3])
        if known:
            sign = 1 if kind == "lambda-up" else -1
            met = [seed for seed, _, level in known if level is not None and sign * (lam - level) > -1e-9]
            listed = f" ({_listed(met)})" if met and len(met) < len(known) else ""
            yield f"{where} {lam:.2f}: {len(met)} of {wording.seeds(len(known))} {verb}{listed}."


def _medians(rows: Sequence[SeedReadout]) -> Iterator[str]:
    """Medians of λ↑, λ↓ and the width, as bounds, with the interval where there are six seeds or more."""
    sides: dict[str, Known] = {}
    for sweep in _SWEEPS:
        experiment, kind, branches, symbol, _, _ = sweep
        known = sides[f"{experiment} {kind} {branches[0]}"] = _known(rows, experiment, kind, branches)
        if known:
            way_back = (experiment, kind) == ("T1", "lambda-down")
            title = "T1, swept back" if way_back else BRANCHES[branches[0]].title
            yield _median(f"median {symbol}", f"{kind}-{branches[0]}", title, [b for _, b, _ in known])
    up, back, *others = sides.values()
    pairs = (
        ("T1-back", "T1’s own way back", back),
        ("T2-down", "T1 and T2, by seed", others[0]),
        ("T2-trapped", "T1 and T2 where it began trapped, by seed", others[1]),
    )
    for key, where, down in pairs:
        of = {seed: bounds for seed, bounds, _ in down}
        widths = [bounds - of[seed] for seed, bounds, _ in up if seed in of]
        if widths:
            yield _median("median width λ↑ − λ↓", f"width-{key}", where, widths)


def _median(name: str, key: str, where: str, bounds: Sequence[Bounds]) -> str:
    interval = as_json(median_interval([b.lower for b in bounds], [b.upper for b in bounds]))
    middle = median_bounds(bounds).as_dict()
    sure = f", {wording.confidence_interval(interval)}" if interval else ""
    told = wording.interval(middle["lower"], middle["upper"])
    of = f"{escape(where)}, {wording.seeds(len(bounds))}{sure}"
    return f'{name} <span data-value="median-{key}">{told}</span> ({of})'


def _known(rows: Sequence[SeedReadout], experiment: str, kind: str, branches: tuple[str, ...]) -> Known:
    """Of the seeds on one of these branches whose threshold is known, be it from one side."""
    return [
        (row.seed.seed, found.bounds, found.level)
        for row in rows
        if row.seed.experiment == experiment and any(w.branch.key in branches for w in row.seed.ways)
        if (found := row.thresholds.get(kind)) is not None and found.bounds is not None
    ]


def _listed(seeds: Sequence[int]) -> str:
    return ("seed " if len(seeds) == 1 else "seeds ") + wording.listing([str(seed) for seed in seeds])


def _dwell(rows: Sequence[SeedReadout]) -> Iterable[str]:
    for name in dict.fromkeys(row.seed.experiment for row in rows):
        if name != "Live":
            records = [row.seed.record for row in rows if row.seed.experiment == name]
            yield f"{'Tδ1' if name == 'Td1' else name}: {wording.dwell(dwell(records))}"
