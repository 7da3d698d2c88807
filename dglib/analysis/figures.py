"""Each experiment's figure by name, and files of it that are the same byte for byte when drawn again."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dglib.analysis.phase_diagram import CellRecords
from dglib.analysis.plot_grid_curve import draw_curve
from dglib.analysis.plot_phase_diagram import draw_maps
from dglib.analysis.reading import Records
from dglib.analysis.style import styled
from dglib.analysis.thresholds import DIRECTIONS
from dglib.experiments.branches.plot import draw_branches
from dglib.experiments.findings import check_experiment
from dglib.experiments.spinodal.plot import draw_spinodal
from dglib.experiments.spinodal.plot_dwell import draw_lag
from dglib.experiments.spinodal.plot_loop import draw_loop
from dglib.experiments.trapping.plot import draw_trapping
from dglib.experiments.trapping.plot_signs import draw_signs
from dglib.files import make_directory, write_atomically

_NAMES = {
    "V3": "V3_hysteresis",
    "T1": "T1-spinodal_analysis",
    "T2": "T2-spinodal_analysis",
    "Td1": "Td1_analysis",
}
_PNG_WIDTH = 1080  # pixels, of a figure as wide as a column or as two
# No dates and no version: the bytes depend on the records alone.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
}


def draw(experiment: str, records: Records) -> Figure:
    """The published figure of an experiment, with every seed in it; of no records, empty panels that say so.

    T1, T2: threshold histogram, error against λ and against epoch. V3: both branches, and the gap. Td1: error
    and step logs by class. Raises UserError for an unknown experiment.
    """
    check_experiment(experiment)
    with styled():
        if experiment in DIRECTIONS:
            return draw_spinodal(DIRECTIONS[experiment], records)
        return draw_branches(records) if experiment == "V3" else draw_trapping(records)


def draw_all(experiment: str, records: Records) -> dict[str, Figure]:
    """Every figure of an experiment by its file name without suffix, the published one first."""
    figures = {figure_name(experiment): draw(experiment, records)}
    if experiment == "Td1":
        with styled():
            figures["Td1_early_signs"] = draw_signs(records)
    return figures


def draw_hysteresis(t1_records: Records, t2_records: Records) -> Figure:
    """The loop in the plane of λ and error: ordered branch up, the way back, and T2's way down."""
    with styled():
        return draw_loop(t1_records, t2_records)


def draw_dwell(t1_records: Records, t2_records: Records, others: Records = ()) -> Figure:
    """Hysteresis width against dwell time, of records of several dwell times and LR rules, with controls.

    `others` are records with an error from scratch at one λ, such as Tδ1's.
    """
    with styled():
        return draw_lag(t1_records, t2_records, others)


def draw_grid(cells: Sequence[CellRecords]) -> Figure | None:
    """Where the seeds of a grid's cells ended: a curve over one crossed parameter, maps over two or more.

    All cells are of one experiment. None where there would be more maps than a page can hold.
    """
    with styled():
        return draw_curve(cells) if len(cells[0].values) == 1 else draw_maps(cells)


def figure_name(experiment: str) -> str:
    """The published file name of an experiment's figure, without suffix."""
    check_experiment(experiment)
    return _NAMES[experiment]


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
