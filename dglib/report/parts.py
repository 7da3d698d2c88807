"""What pages are made of: blocks, figures with their data, tables of seeds, links."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from matplotlib.figure import Figure

from dglib.analysis import wording
from dglib.analysis.answer import Answer
from dglib.analysis.fields import number
from dglib.analysis.style import styled
from dglib.analysis.summary import Summary
from dglib.analysis.wording import NONE
from dglib.experiments.figures import rendered
from dglib.experiments.tables import LONG, evaluation_rows
from dglib.experiments.width import Width
from dglib.files import to_csv
from dglib.protocol.records import Record
from dglib.report.facts import UNRECORDED, data_name
from dglib.runs.progress import duration
from dglib.runs.reading import Source

if TYPE_CHECKING:
    from dglib.report.runs import ExperimentRun

Block = tuple[str, Any]
Section = tuple[str, list[Block]]
Table = tuple[list[str], list[list[str]]]  # column heads, and rows of as many cells
Link = tuple[str, str]  # href and text

ENLARGED = 1.45  # a figure of one column, on the page
DWELL_CAPTION = "Width against dwell time, and the slowest sweep against training from scratch at each λ"
LAG_READING = (
    "A network has a limited time at each λ. Where the width shrinks with longer dwell times, that part of"
    " it was lag. Where it does not, memory, a slower lag and trapped networks look the same: only a hold"
    " decides."
)
_PIXELS_PER_INCH = 125  # on the page, where figures are a little larger than in print
_NOT_DRAWN = ("test_loss", "dead_channels")
_SHARPER = 1.3  # pixels of the image to one of the page, for screens that have them


@dataclass(frozen=True)
class Picture:
    """A figure for the page; `source` and `data` (a CSV) are data URIs, `width` in CSS pixels."""

    name: str
    source: str
    width: int
    caption: str
    alt: str
    data: str


def overview(runs: Sequence[ExperimentRun]) -> str:
    """How many seeds, where, when and on what."""
    seeds = sum(len(item.records) for item in runs)
    directories = len({item.directory for item in runs})
    where = f"{directories} run director{'y' if directories == 1 else 'ies'}"
    begun = sorted(str(item.manifest["created"])[:10] for item in runs if item.manifest)
    when = "" if not begun else f", begun {begun[0]}" + (f" to {begun[-1]}" if begun[-1] != begun[0] else "")
    sets = sorted({data_name(item) for item in runs})
    used = f" Trained on {wording.listing(sets)}." if sets and sets != [UNRECORDED] else ""
    return f"{wording.seeds(seeds)} in {where}{when}.{used}"


def lag_shown(joint: Width, lag: Summary, runs: Sequence[Sequence[ExperimentRun]]) -> tuple[Answer, Picture]:
    """A joint finding at several dwell times, in words and drawn; `runs`: of each of its experiments."""
    answer = joint.lag_answer(lag)
    with styled():
        figure = joint.draw_lag(lag, *([record for run in own for record in run.records] for own in runs))
    data = evaluations_csv([run for own in runs for run in own])
    return answer, picture(f"{joint.key}_dwell", figure, DWELL_CAPTION, answer.line, data, ENLARGED)


def link_to(path: Path, target: Path) -> Link:
    from_page = relpath(path.absolute(), target.absolute().parent)
    return quote(Path(from_page).as_posix()), path.name


def picture(name: str, figure: Figure, caption: str, shows: str, data: str, enlarged: float = 1.0) -> Picture:
    """Draw a figure into a PNG, `enlarged` on the page; the same figure has the same bytes.

    Args:
        name: of the file that `data` is saved as.
        shows: what is to be seen, in words, for those who do not see it.
        data: what was drawn, as a CSV.
    """
    scale = enlarged * _PIXELS_PER_INCH
    # Compressed in half the time, and no larger by much.
    content = rendered(figure, _SHARPER * scale, pil_kwargs={"compress_level": 3})
    source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    link = f"data:text/csv;charset=utf-8,{quote(data, safe=',')}"
    return Picture(name, source, round(figure.get_figwidth() * scale), caption, f"{caption}. {shows}", link)


def evaluations_csv(runs: Sequence[ExperimentRun]) -> str:
    """Error and metrics of one's own at every evaluation, in the columns of `python -m dglib export`."""
    rows = [
        {**row, "run": run.directory.absolute().name}
        for run in runs
        for record in run.records
        for row in evaluation_rows(
            Source(run.directory, run.directory, run.experiment, record.get("seed", -1), record, run.group),
            left_out=_NOT_DRAWN,
        )
    ]
    constant = {name for name in ("run", "group") if len({row[name] for row in rows}) == 1}
    return to_csv(rows, [name for name in LONG if name not in constant])


def seed_table(run: ExperimentRun) -> Table:
    """A row per record, and one for each seed that has begun and not ended."""
    columns = run.about.seed_columns(run.summary)
    texts = {head: [show(seed) for seed in run.summary["seeds"]] for head, show in columns.items()}
    for head, field in {"Skipped steps": "skipped_steps", "Reason": "reason"}.items():
        if any(record.get(field) for record in run.records):  # most runs need neither
            values = [record.get(field) for record in run.records]
            texts[head] = [NONE if value is None else str(value) for value in values]
    times = [number(record, "time") for record in run.records]
    texts["Time"] = [NONE if time is None else duration(time) for time in times]
    texts["Computed on"] = list(map(_machines, run.records))
    bits = {True: "yes", False: "no", None: NONE}
    texts["Bit for bit"] = [bits[record.get("bitwise")] for record in run.records]
    rows = [list(row) for row in zip(*texts.values(), strict=True)]
    for beat in run.heartbeats:
        epochs = f"{beat.get('epochs_done', '?')} of {beat.get('epochs_planned', '?')}"
        known = {"Seed": str(beat.get("seed", NONE)), "Outcome": f"not finished: epoch {epochs}"}
        rows.append([known.get(head, NONE) for head in texts])
    return list(texts), rows


def _machines(record: Record) -> str:
    stretches = record.get("numerics") or ()
    on = (f"{s.get('device_name', s.get('device', '?'))}, {s.get('precision', '?')}" for s in stretches)
    return "; then ".join(dict.fromkeys(on)) or NONE
