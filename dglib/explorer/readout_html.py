"""The readout as HTML: sentences on λ, a table per experiment, answers under the limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from dglib.analysis import wording
from dglib.experiments import Sweep, get
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


def readout_html(readout: Readout, note: str = "") -> str:
    shown = dict.fromkeys(row.seed.experiment for row in readout.seeds)
    tables = "".join(_table(name, [r for r in readout.seeds if r.seed.experiment == name]) for name in shown)
    above = "".join(f"<p>{line}</p>" for line in (*_sentences(readout), escape(note)) if line)
    answers = "".join(f'<p class="aside">{escape(answer)}</p>' for answer in readout.answers)
    below = f"<p><b>Under these limits</b></p>{answers}" if answers else ""
    return f'{_STYLE}<div class="dglib-numbers">{above}<div class="tables">{tables}</div>{below}</div>'


def _sentences(readout: Readout) -> Iterator[str]:
    lam = readout.selection.lam
    yield f'<b>At λ = <span data-value="lambda">{lam:.2f}</span></b>: {_gap_line(readout)}{_aside(readout)}'
    yield " ".join(_events(readout.seeds, lam))


def _gap_line(readout: Readout) -> str:
    if readout.gaps:
        return "; ".join(_gap(gap, index == 0) for index, gap in enumerate(readout.gaps)) + "."
    if not readout.seeds:
        return "no seed is chosen."
    if all(row.seed.look for row in readout.seeds):
        return "λ was held: the cursor moves nothing, and the seeds differ by their start alone."
    if all(reading.error is None for row in readout.seeds for reading in row.readings):
        return "no chosen seed reached this λ."
    return "only one branch reached this λ, so there is no gap."


def _gap(gap: Gap, is_first: bool) -> str:
    low, high = (wording.decimal(end, 2) for end in gap.ends)
    above, below = (escape(branches()[key].title) for key in (gap.above, gap.below))
    name = "gap" if is_first else f"gap-{gap.above}"
    value = f'<span data-value="{name}">{wording.decimal(gap.value, 3)}</span>'
    over = f"difference of the means of {gap.n[0]} and {wording.seeds(gap.n[1])}"
    if gap.paired:
        over = "one seed, on both" if gap.n[0] == 1 else f"mean of {gap.n[0]} seeds, each on both"
    first = f"error {low} ({below}) and " if is_first else ""
    return f"{first}{high} ({above}), <b>gap {value}</b> ({over})"


def _aside(readout: Readout) -> str:
    """On which branches the errors are no measurements at this λ."""
    readings = [r for row in readout.seeds for r in row.readings if r.error is not None]
    measured = {reading.trace.branch.title for reading in readings if reading.measured}
    titles = dict.fromkeys(r.trace.branch.title for r in readings if r.trace.branch.title not in measured)
    if not titles:
        return ""
    listed = wording.listing([f"“{escape(title)}”" for title in titles])
    return f' <span class="aside">λ was not held here on {listed}: errors are interpolated.</span>'


def _events(rows: Sequence[SeedReadout], lam: float) -> Iterator[str]:
    """How many seeds had their event by the cursor, of those of whose threshold anything is known."""
    known: dict[str, list[tuple[int, float | None]]] = {}
    for row in rows:
        for branch in (reading.trace.branch for reading in row.readings):
            found = row.thresholds.get(branch.trajectory)
            if found and found.bounds:
                known.setdefault(branch.key, []).append((row.seed.seed, found.level))
    for key, levels in known.items():
        branch, sign = branches()[key], 1 if branches()[key].rising else -1
        met = [str(seed) for seed, level in levels if level is not None and sign * (lam - level) > -1e-9]
        listed = f" (seed {wording.listing(met)})" if met and len(met) < len(levels) else ""
        verb = "collapsed" if branch.rising else "recovered"
        count = f"{len(met)} of {wording.seeds(len(levels))}"
        yield f"{escape(branch.title)}: {count} {verb} by λ = {lam:.2f}{listed}."


def _table(name: str, rows: Sequence[SeedReadout]) -> str:
    about = get(name)
    groups: dict[str, list[Sweep]] = {}  # a seed is on one of the sweeps with the same trajectory
    for sweep in about.sweeps:
        if not about.direction or any(sweep.trajectory in row.thresholds for row in rows):
            groups.setdefault(sweep.trajectory, []).append(sweep)
    head = ["seed"] if about.sweeps else ["seed", "λ held", "final error", "class"]
    for sweep, *_ in groups.values():
        head.append(f"error, {sweep.title.partition(', ')[2] or sweep.title}")
        head += [("λ↑" if sweep.rising else "λ↓") + " lies"] if about.direction else []
    body = ""
    for row in rows:
        cells = "".join(_cells(row, group) for group in groups.values()) if groups else _constant(row)
        body += f"<tr><td>{row.seed.seed}</td>{cells}</tr>"
    top = "".join(f"<th>{escape(text)}</th>" for text in head)
    caption = f"<caption>{about.symbol}: {about.line}</caption>"
    return f"<table>{caption}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _cells(row: SeedReadout, sweeps: Sequence[Sweep]) -> str:
    """The error on one of the sweeps; with its threshold, if the experiment has any."""
    reading = next((r for r in row.readings if r.trace.branch in sweeps), None)
    threshold = row.thresholds.get(sweeps[0].trajectory)
    cell = f"<td>{_error(reading, threshold)}</td>"
    if get(row.seed.experiment).direction:
        kind = "lambda-up" if sweeps[0].rising else "lambda-down"
        where = f'data-experiment="{row.seed.experiment}" data-seed="{row.seed.seed}"'
        cell += f'<td data-value="{kind}" {where}>{threshold.text if threshold else wording.NONE}</td>'
    return cell


def _error(reading: Reading | None, threshold: Threshold | None) -> str:
    if reading is None:
        return wording.NONE
    if reading.error is None:  # the sweep had ended, at its event or not, or had not begun
        if threshold is None or threshold.level is None:
            return "not here"
        verb = "collapsed" if reading.trace.branch.rising else "recovered"
        return f"{verb} at {wording.level(threshold.level)}"
    return (
        f'<i style="background:{_COLORS[reading.state]}"></i>'
        f'<span data-value="error" data-branch="{reading.trace.branch.key}"'
        f' data-seed="{reading.trace.seed}" data-state="{reading.state}">{reading.error:.3f}</span>'
        f" {reading.state}"
    )


def _constant(row: SeedReadout) -> str:
    last = next((arm[-1] for arm in row.seed.trajectories), None)
    level = wording.NONE if last is None or last.level is None else wording.level(last.level)
    error = wording.error(last.error if last else None)
    final = f'<span data-value="final-error" data-seed="{row.seed.seed}">{error}</span>'
    return f"<td>{level}</td><td>{final}</td><td>{escape(row.seed.label)}</td>"
