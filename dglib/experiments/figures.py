"""Every experiment's figures by name, the general ones, and files whose bytes depend on the records alone."""

from __future__ import annotations

import io
from collections import defaultdict
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine

from dglib.analysis import style
from dglib.analysis.curves import Curve
from dglib.analysis.fields import Records, entries, is_finite, number
from dglib.analysis.style import PENS, THIN, styled
from dglib.experiments import get
from dglib.files import make_directory, write_atomically
from dglib.protocol.records import EVALUATION_FIELDS
from dglib.training.registry import call

if TYPE_CHECKING:
    from dglib.experiments.base import Experiment

_PNG_WIDTH = 1080  # pixels, of a figure as wide as a column or as two
# No dates and no version: the bytes depend on the records alone.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
}


def draw_all(experiment: str, records: Records) -> dict[str, Figure]:
    """Every figure of an experiment by its file name without suffix, the published one first.

    The last one shows the user's metrics, where any are on record. Of no records, empty panels with a note.

    Raises:
        UserError: an unknown experiment, or a figure of a user's own fails.
    """
    about = get(experiment)
    with styled():
        drawn = {}
        for name, drawing in about.figures().items():
            what = f"experiment {experiment!r}: figure {name!r} fails"
            drawn[name] = call(what, drawing.draw, records) if about.is_own else drawing.draw(records)
        if metrics := _draw_metrics(records):
            drawn[f"{about.prefix}_metrics"] = metrics
        return drawn


def save_figure(figure: Figure, directory: str | Path, name: str) -> list[Path]:
    """Write `name`.png (1080 pixels wide) and `name`.pdf atomically; the directory is made.

    The same figure drawn again has the same bytes. Returns the paths, PNG first.
    """
    make_directory(Path(directory))
    paths = [Path(directory, f"{name}.{suffix}") for suffix in _METADATA]
    for path in paths:
        write_atomically(path, rendered(figure, _PNG_WIDTH / figure.get_figwidth(), path.suffix[1:]))
    return paths


def rendered(figure: Figure, dpi: float, kind: str = "png", **options: Any) -> bytes:
    """The figure as a "png" or "pdf"; the same figure drawn again has the same bytes."""
    picture = io.BytesIO()
    with styled():
        layout = figure.get_layout_engine()
        if layout and not isinstance(layout, PlaceHolderLayoutEngine):  # once for all files, each drawn once
            figure.set_dpi(dpi)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
        figure.savefig(picture, format=kind, dpi=dpi, metadata=_METADATA[kind], **options)
    return picture.getvalue()


def draw_sweeps(experiment: Experiment, records: Records) -> Figure:
    """Two panels: each sweep of every seed with its median, and every evaluation against epoch.

    Of an experiment without sweeps, the second one alone.
    """
    swept = bool(experiment.sweeps)
    figure = style.new_figure(height=3.4, width=style.FULL_WIDTH if swept else style.COLUMN_WIDTH)
    panels = list(figure.subplots(1, 1 + swept, squeeze=False)[0])
    if swept:
        style.panel(panels[0], "a  Mean error at each level of λ", "λ", "Test error")
    style.panel(panels[-1], f"{'b  ' * swept}Error of every seed", "Epoch", "Test error")
    keys = []
    for sweep in experiment.sweeps:
        curves = [curve for record in records if (curve := Curve.of(sweep.evaluations(record))).errors]
        keys += sweep.draw(panels[0], curves)
    pens = {sweep.trajectory: PENS[sweep.pen] for sweep in experiment.sweeps}
    for record in records:
        for field in experiment.trajectories(record):
            finite = [e for e in entries(record, field) if is_finite(e) and number(e, "epoch") is not None]
            line = pens[field].line(THIN, 0.7) if field in pens else {"color": style.LIGHT_GREY}
            panels[-1].plot([e["epoch"] for e in finite], [e["error"] for e in finite], **line)
    for axes in panels:
        style.error_axis(axes)
        if not records:
            style.note(axes, "no records")
    style.legend_below(figure, keys)
    return figure


def _draw_metrics(records: Records) -> Figure | None:
    """Panels of the user's own metrics against epoch, a line per seed and a colour per trajectory."""
    lines: defaultdict[str, defaultdict[tuple[Any, str], list[tuple[float, float]]]]
    lines = defaultdict(lambda: defaultdict(list))
    for record in records:
        for field in record:
            for entry in entries(record, field) if field.endswith("trajectory") else ():
                for name in entry.keys() - EVALUATION_FIELDS:
                    points = lines[name][record.get("seed"), field]
                    epoch, value = number(entry, "epoch"), number(entry, name)
                    if epoch is not None and value is not None:
                        points.append((epoch, value))
    if not lines:
        return None
    fields = sorted({field for seeds in lines.values() for _, field in seeds})
    options = {field: {"color": color} for field, color in zip(fields, cycle(style.PALETTE), strict=False)}
    figure = style.new_figure(height=1.2 + 1.8 * len(lines))
    for axes, name in zip(figure.subplots(len(lines), 1, squeeze=False)[:, 0], sorted(lines), strict=True):
        style.panel(axes, name, "Epoch", name)
        drawn = {key: points for key, points in lines[name].items() if points}
        for (_, field), points in drawn.items():
            axes.plot(*zip(*points, strict=True), **options[field], linewidth=THIN, alpha=0.7)
        if not drawn:
            style.note(axes, "no finite value on record")
    style.legend_below(figure, [(field.replace("_", " "), option) for field, option in options.items()])
    return figure
