"""Parts of a page: tables of seeds and of networks at their end, figures and links."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path
from typing import Any
from urllib.parse import quote

from matplotlib.figure import Figure

from dglib.analysis import wording
from dglib.analysis.diagnostics import LATE, summarise_diagnostics
from dglib.analysis.fields import number
from dglib.analysis.style import styled
from dglib.analysis.wording import NONE
from dglib.experiments import get
from dglib.protocol.records import Record
from dglib.report.collect import Found
from dglib.runs.progress import duration

_PIXELS_PER_INCH = 125  # on the page, where figures are a little larger than in print
_SHARPER = 1.3  # pixels of the image to one of the page, for screens that have them
# quantity -> (column head, factor, places, unit)
_ENDS = {
    "dead": ("Dead channels", 100.0, 0, " %"),
    "entropy": ("Entropy of predicted classes", 1.0, 2, ""),
    "weight_norm": ("‖θ‖", 1.0, 1, ""),
    "update_norm": ("‖last update‖", 1.0, 4, ""),
    "c_sv": ("Late c_sv", 1.0, 2, ""),
}
ENDS_READING = (
    "What the networks look like at the end of the sweep, of each branch, or of training: n networks, their"
    " mean, in brackets least and greatest. Dead: channels that no image of the first test batch activated."
    " Entropy: 0 where one class is predicted for everything, 1 where all equally often. Late c_sv: cos(g_s,"
    f" g_v) at refreshes, over the last {LATE} such epochs."
)


@dataclass(frozen=True)
class Table:
    """Column heads and rows of as many cells, all text; the seed comes first."""

    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Picture:
    """A figure for the page; `source` is a data URI, `width` in CSS pixels."""

    source: str
    width: int
    caption: str


@dataclass(frozen=True)
class Link:
    href: str
    text: str


def link_to(path: Path, target: Path) -> Link:
    from_page = relpath(path.absolute(), target.absolute().parent)
    return Link(quote(Path(from_page).as_posix()), path.name)


def picture(figure: Figure, caption: str, enlarged: float = 1.0) -> Picture:
    """Draw a figure into a PNG, `enlarged` on the page; the same figure has the same bytes."""
    content, scale = io.BytesIO(), enlarged * _PIXELS_PER_INCH
    with styled():
        # Laid out here: savefig would draw the whole figure once more for it, to the same pixels.
        figure.set_dpi(_SHARPER * scale)
        if (layout := figure.get_layout_engine()) is not None:
            layout.execute(figure)
            figure.set_layout_engine(None)
        figure.savefig(
            content,
            format="png",
            dpi=_SHARPER * scale,
            metadata={"Software": None},
            pil_kwargs={"compress_level": 3},  # half the time, and no larger by much
        )
    source = f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
    return Picture(source, round(figure.get_figwidth() * scale), caption)


def seed_table(found: Found) -> Table:
    """A row per record, and one for each seed that has begun and not ended."""
    columns = get(found.experiment).seed_columns(found.summary)
    texts = {head: [show(seed) for seed in found.summary["seeds"]] for head, show in columns.items()}
    texts |= _optional(found.records) | _made(found.records)
    rows = [list(row) for row in zip(*texts.values(), strict=True)]
    for beat in found.heartbeats:
        epochs = f"{beat.get('epochs_done', '?')} of {beat.get('epochs_planned', '?')}"
        known = {"Seed": str(beat.get("seed", NONE)), "Outcome": f"not finished: epoch {epochs}"}
        rows.append([known.get(head, NONE) for head in texts])
    return Table(list(texts), rows)


def _optional(records: Sequence[Record]) -> dict[str, list[str]]:
    """Columns that most runs do not need: skipped steps and why a seed diverged, where any seed has them."""
    fields = {"Skipped steps": "skipped_steps", "Reason": "reason"}
    return {
        head: [NONE if record.get(field) is None else str(record[field]) for record in records]
        for head, field in fields.items()
        if any(record.get(field) for record in records)
    }


def _made(records: Sequence[Record]) -> dict[str, list[str]]:
    times, machines = [], []
    for record in records:
        time = number(record, "time")
        times.append(NONE if time is None else duration(time))
        on = [
            f"{s.get('device_name', s.get('device', '?'))}, {s.get('precision', '?')}"
            for s in record.get("numerics") or ()
        ]
        machines.append("; then ".join(dict.fromkeys(on)) or NONE)
    bits = [{True: "yes", False: "no", None: NONE}[record.get("bitwise")] for record in records]
    return {"Time": times, "Computed on": machines, "Bit for bit": bits}


def ends_of(found: Found) -> tuple[Table, Picture | None] | None:
    """The networks at their end by class, and a figure if the experiment has one; None: not on record."""
    experiment = get(found.experiment)
    classes = summarise_diagnostics(found.records, experiment.ends)
    if not classes:
        return None
    shown = [name for name in _ENDS if any(item[name] for item in classes)]
    head = [experiment.end_head, "n", "One class predicted", *(_ENDS[name][0] for name in shown)]
    rows = [
        [
            item["name"],
            str(item["n"]),
            f"{item['constant']} of {item['n_predicted']}" if item["n_predicted"] else NONE,
            *(_spread(name, item[name]) for name in shown),
        ]
        for item in classes
    ]
    with styled():
        drawn = experiment.draw_ends(found.records) if "dead" in shown else None
    return Table(head, rows), drawn and picture(drawn[1], drawn[0])


def _spread(quantity: str, values: Mapping[str, Any] | None) -> str:
    """ "62 % (52 to 66)"; of one network, its value."""
    if values is None:
        return NONE
    _, factor, places, unit = _ENDS[quantity]
    mean, least, most = (wording.decimal(factor * values[end], places) for end in ("mean", "min", "max"))
    return f"{mean}{unit}" if values["n"] == 1 else f"{mean}{unit} ({least} to {most})"
