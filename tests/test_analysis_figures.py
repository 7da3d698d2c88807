"""What every figure must show, whatever became of the seeds."""

import matplotlib
import numpy as np
import pytest
from analysis_cases import (
    diverged,
    failed_init,
    t1,
    t2,
    td1,
    td1_diverged,
    v3,
    v3_diverged,
    v3_failed,
)
from by_name import draw, draw_hysteresis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from dglib.analysis.fields import mean_by_level
from dglib.analysis.style import MEDIAN, THICK
from dglib.experiments import Experiment
from dglib.experiments.figures import draw_sweeps, save_figure

MIXED = {
    "T1": [t1(0, 0.6), t1(1, 0.65), t1(2, None), failed_init(t1(3)), diverged(t1(4)), {"seed": 5}],
    "T2": [t2(0), t2(1, None), t2(2, None, trapped=True), failed_init(t2(3)), diverged(t2(4)), {"seed": 5}],
    "V3": [v3(0), v3(1, 0.4), v3(2, trapped=True), v3_failed(3), v3_diverged(4), {"seed": 5}],
    "Td1": [td1(0), td1(1, 0.5), td1(2, 0.1), td1_diverged(3), {"seed": 4}],
}
FAILED = {
    "T1": [failed_init(t1(0))],
    "T2": [diverged(t2(0))],
    "V3": [v3_failed(0)],
    "Td1": [td1_diverged(0)],
}
CASES = [
    pytest.param(experiment, records, id=f"{experiment}-{name}")
    for name, cases in {"mixed": MIXED, "failed": FAILED, "empty": {e: [] for e in MIXED}}.items()
    for experiment, records in cases.items()
]


def visible_texts(figure):
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def assert_nothing_cut_off(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = figure.get_tightbbox(canvas.get_renderer())  # inches, over all that is visible
    slack = 0.01
    assert min(drawn.x0, drawn.y0) > -slack
    assert drawn.x1 < figure.get_figwidth() + slack
    assert drawn.y1 < figure.get_figheight() + slack


@pytest.mark.parametrize(("experiment", "records"), CASES)
def test_nothing_is_cut_off_and_every_axis_is_labelled(experiment, records):
    figure = draw(experiment, records)
    assert_nothing_cut_off(figure)
    for axes in figure.axes:
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        assert axes.get_title(loc="left")


@pytest.mark.parametrize("records", [(MIXED["T1"], MIXED["T2"]), ([], []), (FAILED["T1"], FAILED["T2"])])
def test_the_loop_is_drawn_whole_whatever_there_is(records):
    assert_nothing_cut_off(draw_hysteresis(*records))


def drawn_curves(axes):
    """The (x, y) data of all lines with more than two points."""
    return [np.column_stack(line.get_data()) for line in axes.lines if len(line.get_xdata()) > 2]


def contains(curves, points):
    wanted = np.asarray(points, dtype=float)
    return any(curve.shape == wanted.shape and np.allclose(curve, wanted) for curve in curves)


@pytest.mark.parametrize(("experiment", "make"), [("T1", t1), ("T2", t2)])
def test_every_seed_is_drawn_through_the_sweep(experiment, make):
    records = [make(seed) for seed in range(12)]
    panel = next(axes for axes in draw(experiment, records).axes if axes.get_xlabel() == "Epoch")
    curves = drawn_curves(panel)
    for record in records:
        points = [(e["epoch"], e["error"]) for e in record["trajectory"] if e["phase"] == "sweep"]
        assert contains(curves, points)


def test_medians_and_means_leave_trapped_and_diverged_seeds_out():
    apart = [t2(1, None, trapped=True), t2(2, None, trapped=True), diverged(t2(3, None))]
    panel = next(
        axes for axes in draw("T2", [t2(0, None), *apart]).axes if "level" in axes.get_title(loc="left")
    )
    (median,) = (line for line in panel.lines if line.get_linewidth() == MEDIAN["linewidth"])
    alone = mean_by_level(e for e in t2(0, None)["trajectory"] if e["phase"] == "sweep")
    assert dict(zip(*median.get_data(), strict=True)) == alone

    left = draw("V3", [v3(0), v3(1, trapped=True), v3_diverged(2)]).axes[0]
    _, collapse = (line for line in left.lines if line.get_linewidth() == THICK)
    alone = {e["lambda"]: e["error"] for e in v3(0)["collapse_trajectory"]}
    assert dict(zip(*collapse.get_data(), strict=True)) == alone


def test_a_figure_drawn_again_has_the_same_bytes(tmp_path):
    first = save_figure(draw("T1", MIXED["T1"]), tmp_path / "a", "figure")
    with matplotlib.rc_context({"font.size": 20, "axes.grid": True, "xtick.direction": "in"}):
        second = save_figure(draw("T1", MIXED["T1"]), tmp_path / "b", "figure")
    assert [path.name for path in first] == ["figure.png", "figure.pdf"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_the_general_figure_and_answer_of_a_held_experiment_show_no_sweep():
    class Held(Experiment):
        name = "Held"

    record = t1(0)
    figure = draw_sweeps(Held(), [record])
    (axes,) = figure.axes
    (line,) = axes.get_lines()
    assert list(line.get_xdata()) == [entry["epoch"] for entry in record["trajectory"]]
    assert_nothing_cut_off(figure)
    answer = Held().answer([record])
    assert answer.settings.startswith("LR 0.1 (constant)")
    assert (answer.rows[0].quantity, answer.rows[0].texts["value [cell] ± SD"]) == ("final error", "0.532")
