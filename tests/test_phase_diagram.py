"""A grid's cells as a table, a map and a curve: what is counted, and what a reader sees of it."""

import itertools

import by_name
import pytest
from analysis_cases import diverged, failed_init, t1, t2, td1, td1_diverged, v3, v3_diverged, v3_failed
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from dglib.analysis.grid_figures import draw_grid

RATES, LEVELS = (0.2, 0.4), (0.4, 0.6, 0.8)


def cell(experiment, records, planned=0, running=0, **values):
    return by_name.cell(experiment, values or {"init_lambda": 0.6}, records, planned, running)


def td1_grid(*errors_by_cell, **changes):
    """A map of η by λ, each cell with seeds of these final errors; None: no seed yet."""
    places = itertools.product(RATES, LEVELS)
    return [
        cell("Td1", [td1(s, e) for s, e in enumerate(errors or ())], noise_rate=rate, init_lambda=level)
        for (rate, level), errors in zip(places, errors_by_cell, strict=True)
    ]


def texts(figure):
    return [line for text in figure.findobj(Text) for line in text.get_text().splitlines() if line.strip()]


def hatched(figure):
    return [p for p in figure.axes[0].patches if isinstance(p, Rectangle) and p.get_hatch()]


def boundaries(figure):
    """The thick black lines between cells, each as a pair of points."""
    lines = [line for line in figure.axes[0].lines if line.get_linewidth() == 2.2]
    return {tuple(zip(*(map(float, ends) for ends in line.get_data()), strict=True)) for line in lines}


def test_a_cell_counts_its_seeds_by_class_with_exact_intervals():
    found = cell("Td1", [td1(0, 0.9), td1(1, 0.5), td1(2, 0.1), td1(3, 0.2)])
    assert found.counts == {"ordered": 2, "partial_collapse": 1, "trapped_90": 1, "diverged": 0}
    trapped = found.interval("trapped_90")  # Clopper and Pearson, of 1 in 4 and of 0 in 4
    assert (trapped.lower, trapped.upper) == pytest.approx((0.00631, 0.80588), abs=1e-5)
    assert found.interval("diverged").upper == pytest.approx(1 - 0.025 ** (1 / 4))
    assert found.median.pair == pytest.approx((0.35, 0.35))


@pytest.mark.parametrize(
    ("errors", "phase"),
    [
        ([0.1, 0.1, 0.9], "ordered"),
        ([0.1, 0.9], "trapped_90"),
        ([0.1, 0.5, 0.9, 0.9], "trapped_90"),
        ([0.1, 0.1, 0.5, 0.9], "partial_collapse"),
    ],
)
def test_a_cells_phase_is_the_end_that_half_of_its_seeds_came_to_or_passed(errors, phase):
    assert cell("Td1", [td1(s, e) for s, e in enumerate(errors)]).phase == phase


def test_t1_cells_have_the_median_of_their_thresholds_open_where_most_are_censored():
    found = cell("T1", [t1(0, 0.6), t1(1, None), t1(2, None), failed_init(t1(3))])
    assert found.counts == {"no_event": 2, "collapsed": 1, "diverged": 0, "init_failed": 1}
    assert found.median.pair == (0.7, None)
    assert (found.median_text, found.phase) == ("> 0.70", "no_event")


def test_v3_cells_separate_one_branch_two_branches_and_a_trapped_start():
    records = [v3(0, 0.3), v3(1, 0.02), v3(2, trapped=True), v3_failed(3), v3_diverged(4)]
    found = cell("V3", records)
    expected = {"one_branch": 1, "two_branches": 1, "trapped_90": 1, "diverged": 1, "init_failed": 1}
    assert {kind: count for kind, count in found.counts.items() if count} == expected


def test_a_map_shows_each_cells_median_and_its_counts():
    figure = draw_grid(td1_grid([0.1, 0.2], [0.5, 0.1], [0.9, 0.9], [0.1], [0.6, 0.9], [0.9]))
    found = texts(figure)
    assert {"0.15", "0.30", "0.90", "0.10", "0.75"} <= set(found)
    assert {"2●", "1●  1■", "2◆", "1■  1◆"} <= set(found)
    assert {"ordered", "partial collapse", "trapped"} <= set(found)
    assert {"λ", "0.4", "0.6", "0.8", "0.2"} <= set(found)
    assert not hatched(figure)


def test_cells_without_data_are_hatched_and_running_ones_named():
    cells = td1_grid([0.1], [0.1], None, [0.1], [0.1], None)
    waiting = by_name.cell("Td1", cells[2].values, [], planned=4, running=3)
    figure = draw_grid([*cells[:2], waiting, *cells[3:]])
    assert sorted(patch.get_xy() for patch in hatched(figure)) == [(1.5, -0.5), (1.5, 0.5)]
    assert "3 under way" in texts(figure)
    assert "no seed finished" in texts(figure)


def test_lines_part_cells_that_ended_otherwise_and_no_others():
    figure = draw_grid(td1_grid([0.1], [0.5], None, [0.1], [0.1], [0.9]))
    assert boundaries(figure) == {
        ((0.5, 0.5), (0.5, -0.5)),  # between λ = 0.4 and 0.6 at the lower η
        ((1.5, 0.5), (0.5, 0.5)),  # between the two η at λ = 0.6
        ((1.5, 1.5), (1.5, 0.5)),  # between λ = 0.6 and 0.8 at the upper η; not beside the empty cell
    }


def test_one_parameter_gives_a_curve_with_every_seed_and_cells_without_seeds_named():
    errors = {0.4: [0.1, 0.2], 0.6: [0.5, 0.1, 0.9], 0.8: []}
    cells = [
        cell("Td1", [td1(s, e) for s, e in enumerate(each)], running=0 if each else 1, init_lambda=level)
        for level, each in errors.items()
    ]
    figure = draw_grid(cells)
    marks = [line for line in figure.axes[0].lines if line.get_marker() not in ("None", "")]
    assert not {"lies above", "lies below"} & set(texts(figure))
    assert sorted(float(line.get_ydata()[0]) for line in marks) == [0.1, 0.1, 0.2, 0.5, 0.9]
    assert {"1 under way", "ordered", "partial collapse", "trapped", "λ"} <= set(texts(figure))


def hold(seed):
    """A seed with one branch from each start, which both stay."""
    inits = {"ordered": 0.1, "collapse": 0.5}
    return {"seed": seed, "outcome": "complete", "lr": 0.1} | {
        f"{name}{part}_trajectory": [{"lambda": 0.5, "epoch": epoch, "error": error} for epoch in epochs]
        for name, error in inits.items()
        for part, epochs in (("_init", [10]), ("", range(11, 21)))
    }


@pytest.mark.parametrize("experiment", by_name.EXPERIMENTS)
def test_grids_of_every_experiment_are_drawn_whole_whatever_became_of_their_seeds(experiment):
    made = {"T1": t1, "T2": t2, "V3": v3, "Td1": td1, "Hold": hold}[experiment]
    bad = {"T1": failed_init(t1(1)), "T2": diverged(t2(1)), "V3": v3_failed(1), "Td1": td1_diverged(1)}
    bad["Hold"] = {"seed": 1, "outcome": "init_failed"}
    for values in ({"lr": (0.1, 0.2)}, {"noise_rate": (0.2, 0.4), "network": ("a", "b")}):
        contents = itertools.cycle([[made(0), bad[experiment]], [bad[experiment]], []])
        cells = [
            by_name.cell(experiment, dict(zip(values, place, strict=True)), next(contents))
            for place in itertools.product(*values.values())
        ]
        figure = draw_grid(cells)
        FigureCanvasAgg(figure).draw()
        drawn = figure.get_tightbbox(FigureCanvasAgg(figure).get_renderer())
        width, height = figure.get_size_inches()
        assert min(drawn.x0, drawn.y0, width - drawn.x1, height - drawn.y1) > -0.01  # nothing cut off
