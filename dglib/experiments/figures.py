"""Each experiment's figure by name, and files of it that are the same byte for byte when drawn again."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dglib.analysis.fields import Records
from dglib.analysis.phase_diagram import CellRecords
from dglib.analysis.plot_grid_curve import draw_curve
from dglib.analysis.plot_phase_diagram import draw_maps
from dglib.analysis.style import styled
from dglib.experiments.registry import get, joints
from dglib.files import make_directory, write_atomically

_PNG_WIDTH = 1080  # pixels, of a figure as wide as a column or as two
# No dates and no version: the bytes depend on the records alone.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
}


def draw_all(experiment: str, records: Records) -> dict[str, Figure]:
    """Every figure of an experiment by its file name without suffix, the published one first.

    Of no records, empty panels that say so.

    Raises:
        UserError: an unknown experiment.
    """
    with styled():
        return {name: drawing.draw(records) for name, drawing in get(experiment).figures().items()}


def draw(experiment: str, records: Records) -> Figure:
    """The published figure of an experiment, with every seed in it."""
    with styled():
        return next(iter(get(experiment).figures().values())).draw(records)


def draw_jointly(key: str, *records: Records) -> Figure:
    """The figure of a finding on several experiments ("hysteresis"); some of them may have no records."""
    with styled():
        return next(joint for joint in joints() if joint.key == key).draw(*records)


def draw_lag(key: str, *records: Records, others: Records = ()) -> Figure:
    """The figure of such a finding against dwell time; `others` were trained from scratch at one λ."""
    with styled():
        return next(joint for joint in joints() if joint.key == key).draw_lag(*records, others=others)


def draw_grid(cells: Sequence[CellRecords]) -> Figure | None:
    """Where the seeds of a grid's cells ended: a curve over one crossed parameter, maps over two or more.

    All cells are of one experiment. None where there would be more maps than a page can hold.
    """
    with styled():
        return draw_curve(cells) if len(cells[0].values) == 1 else draw_maps(cells)


def figure_name(experiment: str) -> str:
    """The published file name of an experiment's figure, without suffix."""
    return next(iter(get(experiment).figures()))


def save_figure(figure: Figure, directory: str | Path, name: str) -> list[Path]:
    """Write `name`.png (1080 pixels wide) and `name`.pdf; a reader sees the old file or the new, no half.

    The same figure drawn again has the same bytes. Returns the paths, PNG first; `directory` is made.
    """
    make_directory(Path(directory))
    paths = []
    with styled():
        dpi = _PNG_WIDTH / figure.get_figwidth()
        # Laid out once, for both: otherwise each file lays out and draws everything twice.
        figure.set_dpi(dpi)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for suffix, metadata in _METADATA.items():
            picture = io.BytesIO()
            figure.savefig(picture, format=suffix, dpi=dpi, metadata=metadata)
            paths.append(Path(directory, f"{name}.{suffix}"))
            write_atomically(paths[-1], picture.getvalue())
    return paths
