"""The readout as HTML: sentences, then a table per experiment; every number has a `data-value` attribute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from dglib.analysis import wording
from dglib.analysis.bounds import Bounds, median_bounds
from dglib.analysis.dwell import dwell
from dglib.analysis.intervals import as_json, median_interval
from dglib.experiments import get, joints, names
from dglib.experiments.joint import EventSweep
from dglib.explorer.readout import Gap, Reading, Readout, SeedReadout, Threshold
from dglib.explorer.runs import branches

_STYLE = """<style>
.dglib-numbers table{border-collapse:collapse;margin:0 0 10px 0;font-size:13px}
.dglib-numbers caption{text-align:left;font-weight:bold;padding:2px 0;white-space:nowrap}
.dglib-numbers th,.dglib-numbers td{text-align:right;padding:1px 10px;white-space:nowrap}
.dglib-numbers th,.dglib-numbers td{border-bottom:1px solid #ddd}
.dglib-numbers th{font-weight:normal;color:#555;vertical-align:bottom}
.dglib-numbers p{margin:3px 0;font-size:14px;line-height:1.4}
.dglib-numbers .tables{display:flex;flex-wrap:wrap;gap:0 32px;margin-top:6px;align-items:flex-start}
.dglib-numbers i{display:inline-block;width:9px;height:9px;border-radius:5px;margin-right:5px}
.dglib-numbers .aside{color:#555}
</style>"""
_COLORS = {"ordered": "#0072B2", "between": "#8A8A8A", "collapsed": "#D55E00", "trapped": "#000000"}
Known = list[tuple[int, Bounds, float | None]]  # seed, bounds, level of the event


def readout_html(readout: Readout, note: str = "") -> str:
    lines = [*_sentences(readout), *([escape(note)] if note else [])]
    shown = dict.fromkeys(row.seed.experiment for row in readout.seeds)
    tables = "".join(_table(name, [r for r in readout.seeds if r.seed.experiment == name]) for name in shown)
    text = "".join(f"<p>{line}</p>" for line in lines)
    return f'{_STYLE}<div class="dglib-numbers">{text}<div class="tables">{tables}</div></div>'


def _table(name: str, rows: Sequence[SeedReadout]) -> str:
    about = get(name)
    caption = f"<caption>{about.symbol}: {about.line}</caption>"
    if about.sweeps:
        columns = _columns(name, rows)
        head = ["seed", *(text for keys in columns for text in _head(keys[0]))]
        cells = ["".join(_cells(row, keys) for keys in columns) for row in rows]
    else:
        head, cells = ["seed", "λ held", "final error", "class"], [_constant(row) for row in rows]
    top = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join(f"<tr><td>{row.seed.seed}</td>{cell}</tr>" for row, cell in zip(rows, cells, strict=True))
    return f"<table>{caption}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _columns(name: str, rows: Sequence[SeedReadout]) -> list[list[str]]:
    """The sweeps of each column: a seed is on one of those with the same trajectory."""
    columns: dict[str, list[str]] = {}
    for sweep in get(name).sweeps:
        columns.setdefault(sweep.trajectory, []).append(sweep.key)
    made = {kind for row in rows for kind in row.thresholds}
    kinds = _threshold_kinds()
    return [keys for keys in columns.values() if keys[0] not in kinds or kinds[keys[0]] in made]


def _threshold_kinds() -> dict[str, str]:
    """By sweep that ends at an event: its threshold, shown to the right of its column."""
    swept = [(name, sweep) for name in names() if get(name).direction for sweep in get(name).sweeps]
    first = {(name, sweep.trajectory): sweep for name, sweep in reversed(swept)}
    return {s.key: "lambda-up" if s.rising else "lambda-down" for s in first.values()}


def _head(key: str) -> list[str]:
    title, kind = branches()[key].title, _threshold_kinds().get(key)
    symbol = {"lambda-up": ["λ↑ lies"], "lambda-down": ["λ↓ lies"]}
    return [f"error, {title.partition(', ')[2] or title}", *symbol.get(kind or "", [])]


def _cells(row: SeedReadout, keys: Sequence[str]) -> str:
    reading = next((r for r in row.readings if r.trace.branch.key in keys), None)
    kind = _threshold_kinds().get(keys[0], "")
    threshold = row.thresholds.get(kind)
    cell = f"<td>{_error(row, reading, threshold)}</td>"
    if kind:
        where = f'data-experiment="{row.seed.experiment}" data-seed="{row.seed.seed}"'
        cell += f'<td data-value="{kind}" {where}>{threshold.text if threshold else "–"}</td>'
    return cell


def _error(row: SeedReadout, reading: Reading | None, threshold: Threshold | None) -> str:
    if reading is None:
        return "–"
    if reading.error is None:  # the sweep had ended, at its event or not, or had not begun
        if threshold is None or threshold.level is None:
            return "not here"
        verb = "collapsed" if reading.trace.branch.rising else "recovered"
        return f"{verb} at {wording.level(threshold.level)}"
    state = reading.state or ""
    return (
        f'<i style="background:{_COLORS.get(state, "none")}"></i>'
        f'<span data-value="error" data-branch="{reading.trace.branch.key}" data-seed="{row.seed.seed}" '
        f'data-state="{state}">{reading.error:.3f}</span> {state}'
    )


def _constant(row: SeedReadout) -> str:
    last = next((arm[-1] for arm in row.seed.trajectories), None)
    level = wording.level(last.level) if last and last.level is not None else "–"
    error = f"{last.error:.3f}" if last and last.error is not None else "–"
    return (
        f"<td>{level}</td>"
        f'<td><span data-value="final-error" data-seed="{row.seed.seed}">{error}</span></td>'
        f"<td>{escape(row.seed.label)}</td>"
    )


def _sentences(readout: Readout) -> Iterator[str]:
    """Lines of HTML, the gap first."""
    lam = readout.selection.lam
    yield f'<b>At λ = <span data-value="lambda">{lam:.2f}</span></b>: {_gap_line(readout)}{_aside(readout)}'
    if events := " ".join(escape(line) for line in _events(readout.seeds, lam)):
        yield events
    if limits := "; ".join(_medians(readout.seeds)):
        yield f"<b>Under these limits</b>: {limits}."
    if times := " ".join(escape(line) for line in _dwell(readout.seeds)):
        yield f'<span class="aside">{times}</span>'


def _gap_line(readout: Readout) -> str:
    if not readout.seeds:
        return "no seed is chosen."
    if not readout.gaps:
        if all(row.seed.look for row in readout.seeds):
            return "λ was held: the cursor moves nothing, and the seeds differ by their start alone."
        errors = [reading.error for row in readout.seeds for reading in row.readings]
        if all(error is None for error in errors):
            return "no chosen seed reached this λ."
        return "only one branch reached this λ, so there is no gap."
    return "; ".join(_gap(gap, index == 0) for index, gap in enumerate(readout.gaps)) + "."


def _aside(readout: Readout) -> str:
    """On which branches the errors are no measurements at this λ."""
    readings = [r for row in readout.seeds for r in row.readings if r.error is not None]
    measured = {reading.trace.branch.title for reading in readings if reading.measured}
    titles = dict.fromkeys(r.trace.branch.title for r in readings if r.trace.branch.title not in measured)
    if not titles:
        return ""
    names = wording.listing([f"“{escape(title)}”" for title in titles])
    return f' <span class="aside">λ was not held here on {names}: errors are interpolated.</span>'


def _gap(gap: Gap, is_first: bool) -> str:
    low, high = (wording.decimal(end, 2) for end in gap.ends)
    above, below = (escape(branches()[key].title) for key in (gap.above, gap.below))
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
    for sweep in (sweep for joint in joints() for sweep in joint.event_sweeps):
        known = _known(rows, sweep)
        if known:
            sign = 1 if sweep.kind == "lambda-up" else -1
            met = [seed for seed, _, level in known if level is not None and sign * (lam - level) > -1e-9]
            listed = f" ({_listed(met)})" if met and len(met) < len(known) else ""
            yield f"{sweep.where} {lam:.2f}: {len(met)} of {wording.seeds(len(known))} {sweep.verb}{listed}."


def _medians(rows: Sequence[SeedReadout]) -> Iterator[str]:
    """Medians of λ↑, λ↓ and the width, as bounds, with the interval where there are six seeds or more."""
    for joint in joints():
        sides = {sweep: _known(rows, sweep) for sweep in joint.event_sweeps}
        for sweep, known in sides.items():
            if known:
                key = f"{sweep.kind}-{sweep.sweep}"
                yield _median(f"median {sweep.symbol}", key, sweep.title, [b for _, b, _ in known])
        up, *downs = sides.items()
        for sweep, known in downs:
            of = {seed: bounds for seed, bounds, _ in known}
            widths = [bounds - of[seed] for seed, bounds, _ in up[1] if seed in of]
            if widths:
                yield _median(f"median {joint.symbol}", f"width-{sweep.key}", sweep.width, widths)


def _median(name: str, key: str, where: str, bounds: Sequence[Bounds]) -> str:
    interval = as_json(median_interval([b.lower for b in bounds], [b.upper for b in bounds]))
    middle = median_bounds(bounds).as_dict()
    text = wording.interval(middle["lower"], middle["upper"])
    sure = f", {wording.confidence_interval(interval)}" if interval else ""
    of = f"{escape(where)}, {wording.seeds(len(bounds))}{sure}"
    return f'{name} <span data-value="median-{key}">{text}</span> ({of})'


def _known(rows: Sequence[SeedReadout], sweep: EventSweep) -> Known:
    """Of the seeds in question whose threshold is known, be it from one side."""
    return [
        (row.seed.seed, threshold.bounds, threshold.level)
        for row in rows
        if row.seed.experiment == sweep.experiment
        and any(w.branch.key == sweep.sweep for w in row.seed.traces)
        if (threshold := row.thresholds.get(sweep.kind)) is not None and threshold.bounds is not None
    ]


def _listed(seeds: Sequence[int]) -> str:
    return ("seed " if len(seeds) == 1 else "seeds ") + wording.listing([str(seed) for seed in seeds])


def _dwell(rows: Sequence[SeedReadout]) -> Iterable[str]:
    for name in dict.fromkeys(row.seed.experiment for row in rows):
        records = [row.seed.record for row in rows if row.seed.experiment == name]
        yield f"{get(name).symbol}: Dwell time: {wording.dwell(dwell(records))}."
