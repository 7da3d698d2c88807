"""What every figure must show, whatever became of the seeds."""

import matplotlib
import pytest
from analysis_cases import Record, diverged, every_outcome, t1, t2, v3, v3_diverged
from by_name import draw, draw_hysteresis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from dglib.analysis.fields import mean_by_level
from dglib.analysis.style import MEDIAN, THICK
from dglib.experiments import Experiment
from dglib.experiments.figures import draw_sweeps, save_figure

MIXED = {experiment: [*group, {"seed": 9}] for experiment, group in every_outcome().items()}
FAILED = {experiment: group[-1:] for experiment, group in every_outcome().items()}
EMPTY: dict[str, list[Record]] = {experiment: [] for experiment in MIXED}


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


@pytest.mark.parametrize("experiment", MIXED)
@pytest.mark.parametrize("groups", [MIXED, FAILED, EMPTY], ids=["mixed", "failed", "empty"])
def test_nothing_is_cut_off_and_every_axis_is_labelled(experiment, groups):
    figure = draw(experiment, groups[experiment])
    assert_nothing_cut_off(figure)
    for axes in figure.axes:
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        assert axes.get_title(loc="left")


@pytest.mark.parametrize("groups", [MIXED, FAILED, EMPTY], ids=["mixed", "failed", "empty"])
def test_the_loop_is_drawn_whole_whatever_there_is(groups):
    assert_nothing_cut_off(draw_hysteresis(groups["T1"], groups["T2"]))


@pytest.mark.parametrize(("experiment", "make"), [("T1", t1), ("T2", t2)])
def test_every_seed_is_drawn_through_the_sweep(experiment, make):
    records = [make(seed) for seed in range(12)]
    panel = next(axes for axes in draw(experiment, records).axes if axes.get_xlabel() == "Epoch")
    curves = {tuple(zip(*line.get_data(), strict=True)) for line in panel.lines}
    for record in records:
        assert (
            tuple((e["epoch"], e["error"]) for e in record["trajectory"] if e["phase"] == "sweep") in curves
        )


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
