"""A grid's cells as a table, a map and a curve: what is counted, and what a reader sees of it."""

import itertools

import by_name
import pytest
from analysis_cases import every_outcome, failed_init, hold, t1, td1
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from test_analysis_figures import assert_nothing_cut_off

from dglib.analysis.grid_figures import draw_grid

OUTCOMES = every_outcome() | {"Hold": [hold(0, {0.5: [0.6] * 10}), {"seed": 1, "outcome": "init_failed"}]}


def td1_cell(*errors, running=0, **values):
    return by_name.cell("Td1", values, [td1(s, e) for s, e in enumerate(errors)], running=running)


def td1_grid(*errors_by_cell):
    """A map of η by λ, each cell with seeds of these final errors."""
    places = itertools.product((0.2, 0.4), (0.4, 0.6, 0.8))
    return [
        td1_cell(*errors, noise_rate=rate, init_lambda=level)
        for (rate, level), errors in zip(places, errors_by_cell, strict=True)
    ]


def texts(figure):
    return {line for text in figure.findobj(Text) for line in text.get_text().splitlines() if line.strip()}


def test_a_cell_counts_its_seeds_by_class_with_exact_intervals_and_their_median():
    found = td1_cell(0.9, 0.5, 0.1, 0.2)
    assert found.counts == {"ordered": 2, "partial_collapse": 1, "trapped_90": 1, "diverged": 0}
    trapped = found.interval("trapped_90")  # Clopper and Pearson, of 1 in 4 and of 0 in 4
    assert (trapped.lower, trapped.upper) == pytest.approx((0.00631, 0.80588), abs=1e-5)
    assert found.interval("diverged").upper == pytest.approx(1 - 0.025 ** (1 / 4))
    assert found.median.pair == pytest.approx((0.35, 0.35))
    censored = by_name.cell("T1", {}, [t1(0, 0.6), t1(1, None), t1(2, None), failed_init(t1(3))])
    assert censored.counts == {"no_event": 2, "collapsed": 1, "diverged": 0, "init_failed": 1}
    assert (censored.median.pair, censored.median_text) == ((0.7, None), "> 0.70")
    branches = by_name.cell("V3", {}, OUTCOMES["V3"]).counts
    expected = {"two_branches": 2, "trapped_90": 1, "diverged": 1, "init_failed": 1}
    assert {kind: count for kind, count in branches.items() if count} == expected


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
    assert td1_cell(*errors).phase == phase


def test_a_map_shows_each_cells_median_and_counts_and_hatches_those_without_data():
    cells = td1_grid([0.1, 0.2], [0.5, 0.1], [], [0.1], [0.6, 0.9], [])
    cells[2] = by_name.cell("Td1", cells[2].values, [], planned=4, running=3)
    figure = draw_grid(cells)
    shown = {"0.15", "0.30", "0.10", "0.75", "2●", "1●  1■", "1■  1◆", "3 under way", "no seed finished"}
    shown |= {"ordered", "partial collapse", "trapped", "λ", "0.4", "0.6", "0.8", "0.2"}
    assert shown <= texts(figure)
    hatched = [p for p in figure.axes[0].patches if isinstance(p, Rectangle) and p.get_hatch()]
    assert sorted(patch.get_xy() for patch in hatched) == [(1.5, -0.5), (1.5, 0.5)]


def test_lines_part_cells_that_ended_otherwise_and_no_others():
    figure = draw_grid(td1_grid([0.1], [0.5], [], [0.1], [0.1], [0.9]))
    lines = [line.get_data() for line in figure.axes[0].lines if line.get_linewidth() == 2.2]
    assert {tuple(zip(*(map(float, ends) for ends in line), strict=True)) for line in lines} == {
        ((0.5, 0.5), (0.5, -0.5)),  # between λ = 0.4 and 0.6 at the lower η
        ((1.5, 0.5), (0.5, 0.5)),  # between the two η at λ = 0.6
        ((1.5, 1.5), (1.5, 0.5)),  # between λ = 0.6 and 0.8 at the upper η; not beside the empty cell
    }


def test_one_parameter_gives_a_curve_with_every_seed_and_cells_without_seeds_named():
    errors = {0.4: [0.1, 0.2], 0.6: [0.5, 0.1, 0.9], 0.8: []}
    cells = [td1_cell(*each, running=int(not each), init_lambda=lam) for lam, each in errors.items()]
    figure = draw_grid(cells)
    marks = [line for line in figure.axes[0].lines if line.get_marker() not in ("None", "")]
    assert sorted(float(line.get_ydata()[0]) for line in marks) == [0.1, 0.1, 0.2, 0.5, 0.9]
    assert not {"lies above", "lies below"} & texts(figure)
    assert {"1 under way", "ordered", "partial collapse", "trapped", "λ"} <= texts(figure)


@pytest.mark.parametrize("experiment", by_name.EXPERIMENTS)
@pytest.mark.parametrize("values", [{"lr": (0.1, 0.2)}, {"noise_rate": (0.2, 0.4), "network": ("a", "b")}])
def test_grids_of_every_experiment_are_drawn_whole_whatever_became_of_their_seeds(experiment, values):
    good, *_, bad = OUTCOMES[experiment]
    contents = itertools.cycle([[good, bad], [bad], []])
    cells = [
        by_name.cell(experiment, dict(zip(values, place, strict=True)), next(contents))
        for place in itertools.product(*values.values())
    ]
    assert_nothing_cut_off(draw_grid(cells))
