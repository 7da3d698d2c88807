"""The readout in words and tables, for the page; every number also stands in a data attribute's element."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from dglib.analysis import wording
from dglib.explorer.readout import Reading, Readout, SeedReadout
from dglib.explorer.readout_words import sentences
from dglib.explorer.ways import EXPERIMENTS

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
_COLUMNS = {
    "T1": (("T1-up",), ("T1-back",)),
    "T2": (("T2-down", "T2-trapped"),),
    "V3": (("V3-ordered",), ("V3-collapse", "V3-trapped")),
    "Live": (("Live-up",), ("Live-down",)),
}
_HEADS = {
    "T1-up": "error, λ raised",
    "T1-back": "error, swept back",
    "T2-down": "error, λ lowered",
    "V3-ordered": "error, ordered branch",
    "V3-collapse": "error, collapse branch",
    "Live-up": "error, λ rising",
    "Live-down": "error, λ falling",
}
_COLORS = {"ordered": "#0072B2", "between": "#8A8A8A", "collapsed": "#D55E00", "trapped": "#000000"}
_AFTER = {"T1-up": "lambda-up", "T1-back": "lambda-down", "T2-down": "lambda-down"}  # columns to their right


def readout_html(found: Readout, note: str = "") -> str:
    """The readout as HTML: first in sentences, then a table per experiment."""
    lines = [*sentences(found), *([escape(note)] if note else [])]
    names = dict.fromkeys(row.seed.experiment for row in found.seeds)
    tables = "".join(_table(name, [r for r in found.seeds if r.seed.experiment == name]) for name in names)
    text = "".join(f"<p>{line}</p>" for line in lines)
    return f'{_STYLE}<div class="dglib-numbers">{text}<div class="tables">{tables}</div></div>'


def _table(name: str, rows: Sequence[SeedReadout]) -> str:
    caption = f"<caption>{_title(name)}: {EXPERIMENTS[name]}</caption>"
    if name == "Td1":
        head, cells = ["seed", "λ held", "final error", "class"], [_held(row) for row in rows]
    else:
        columns = [c for c in _COLUMNS[name] if name != "T1" or c != ("T1-back",) or _any_back(rows)]
        head = ["seed", *(text for column in columns for text in _head(name, column[0]))]
        cells = [_cells(row, columns) for row in rows]
    top = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join(f"<tr><td>{row.seed.seed}</td>{cell}</tr>" for row, cell in zip(rows, cells, strict=True))
    return f"<table>{caption}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _title(name: str) -> str:
    return "Tδ1" if name == "Td1" else name


def _any_back(rows: Sequence[SeedReadout]) -> bool:
    return any("lambda-down" in row.thresholds for row in rows)


def _head(name: str, key: str) -> list[str]:
    symbol = {"lambda-up": "λ↑ lies", "lambda-down": "λ↓ lies"}
    return [_HEADS[key], *([symbol[_AFTER[key]]] if key in _AFTER else [])]


def _cells(row: SeedReadout, columns: Sequence[tuple[str, ...]]) -> str:
    cells = []
    for keys in columns:
        reading = next((r for r in row.readings if r.way.branch.key in keys), None)
        cells.append(_error(row, keys[0], reading))
        if keys[0] in _AFTER:
            kind = _AFTER[keys[0]]
            found = row.thresholds.get(kind)
            text = found.told if found else "–"
            where = f'data-experiment="{row.seed.experiment}" data-seed="{row.seed.seed}"'
            cells.append(f'<td data-value="{kind}" {where}>{text}</td>')
    return "".join(cells)


def _error(row: SeedReadout, key: str, reading: Reading | None) -> str:
    if reading is None:
        return "<td>–</td>"
    key = reading.way.branch.key
    if reading.error is None:
        return f"<td>{_absent(row, key)}</td>"
    state = reading.state or ""
    dot = f'<i style="background:{_COLORS.get(state, "none")}"></i>'
    return (
        f'<td>{dot}<span data-value="error" data-branch="{key}" data-seed="{row.seed.seed}" '
        f'data-state="{state}">{reading.error:.3f}</span> {state}</td>'
    )


def _absent(row: SeedReadout, key: str) -> str:
    """Why there is no error at λ: the sweep had ended, at its event or not, or had not begun."""
    kind = _AFTER.get(key)
    found = row.thresholds.get(kind) if kind else None
    if found is None or found.level is None:
        return "not here"
    verb = "collapsed" if kind == "lambda-up" else "recovered"
    return f"{verb} at {wording.level(found.level)}"


def _held(row: SeedReadout) -> str:
    last = next((arm[-1] for arm in row.seed.trajectories), None)
    level = wording.level(last.level) if last and last.level is not None else "–"
    error = f"{last.error:.3f}" if last and last.error is not None else "–"
    return (
        f"<td>{level}</td>"
        f'<td><span data-value="final-error" data-seed="{row.seed.seed}">{error}</span></td>'
        f"<td>{escape(row.seed.label)}</td>"
    )
