"""Every experiment's figures by name, the general one, and files whose bytes depend on the records alone."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from dglib.analysis import style
from dglib.analysis.curves import Curve, median_curve
from dglib.analysis.fields import Records, entries, is_finite, number
from dglib.analysis.plot_metrics import draw_metrics, metric_names
from dglib.analysis.style import LOOKS, THICK, THIN, styled
from dglib.experiments.registry import get
from dglib.files import make_directory, write_atomically

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
        UserError: an unknown experiment.
    """
    about = get(experiment)
    with styled():
        drawn = {name: drawing.draw(records) for name, drawing in about.figures().items()}
        if metric_names(records):
            drawn[f"{about.prefix}_metrics"] = draw_metrics(records)
        return drawn


def save_figure(figure: Figure, directory: str | Path, name: str) -> list[Path]:
    """Write `name`.png (1080 pixels wide) and `name`.pdf atomically; the directory is made.

    The same figure drawn again has the same bytes. Returns the paths, PNG first.
    """
    make_directory(Path(directory))
    paths = []
    with styled():
        dpi = _PNG_WIDTH / figure.get_figwidth()
        # Laid out once, for both: otherwise both files would be laid out and drawn twice.
        figure.set_dpi(dpi)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for suffix, metadata in _METADATA.items():
            picture = io.BytesIO()
            figure.savefig(picture, format=suffix, dpi=dpi, metadata=metadata)
            paths.append(Path(directory, f"{name}.{suffix}"))
            write_atomically(paths[-1], picture.getvalue())
    return paths


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
        style.draw_sweep(
            panels[0],
            [curve.errors for curve in curves],
            median_curve(curves, sweep.rising),
            LOOKS[sweep.look],
        )
        if curves:
            keys.append((f"{sweep.title} ({len(curves)})", LOOKS[sweep.look].line(THICK)))
    looks = {sweep.trajectory: LOOKS[sweep.look] for sweep in experiment.sweeps}
    for record in records:
        for field in experiment.trajectories():
            found = [e for e in entries(record, field) if is_finite(e) and number(e, "epoch") is not None]
            line = looks[field].line(THIN, 0.7) if field in looks else {"color": style.LIGHT_GREY}
            panels[-1].plot([e["epoch"] for e in found], [e["error"] for e in found], **line)
    for axes in panels:
        style.error_axis(axes)
        if not records:
            style.note(axes, "no records")
    style.legend_below(figure, keys)
    return figure
