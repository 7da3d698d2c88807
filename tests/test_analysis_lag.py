"""What is claimed of width against dwell time and its controls, in numbers and in the figure."""

import math

import pytest
from analysis_cases import diverged, failed_init, published, t1, t2
from by_name import draw_dwell, lag_answer
from test_analysis_figures import assert_nothing_cut_off, visible_texts

from dglib.analysis.intervals import Bounds
from dglib.analysis.summary import median_bounds
from dglib.experiments.width import DROPPING, lag_of


def held(record, epochs, **parameters):
    """The same seed, had it been run at another dwell time or LR."""
    stated = {"epochs_per_level": epochs, **parameters}
    return record | stated | {"parameters": record["parameters"] | stated}


def median(widths):
    return median_bounds([Bounds.of(width) for width in widths])


def campaign():
    """A loop that closes in on itself as the dwell time grows, beside sweeps under a dropping LR."""
    t1s, t2s = [], []
    for epochs, up, back in ((2, 0.70, 0.30), (4, 0.65, 0.35), (8, 0.60, 0.40)):
        for seed in range(3):
            t1s.append(held(t1(seed, up, back, True), epochs))
            t2s.append(held(t2(seed, back - 0.05), epochs))
            t1s.append(held(t1(seed, None), epochs, sweep_lr=None, milestones=[20, 32]))
            t2s.append(held(t2(seed, None), epochs, sweep_lr=None, milestones=[20, 32]))
    return t1s, t2s


def test_widths_are_summed_up_at_each_setting_by_themselves():
    series = lag_of(*campaign())["series"]
    found = {(s["kind"], s["epochs"], s["rule"]): median(s["widths"]) for s in series}
    assert len(found) == 9  # no loop under the dropping LR
    assert [found["loop", n, "0.1"].lower for n in (2, 4, 8)] == pytest.approx([0.30, 0.20, 0.10])
    assert found["collapsed", 8, "0.1"].upper == pytest.approx(0.25)
    assert found["collapsed", 8, DROPPING] == Bounds(0.45, math.inf)


def test_the_answer_gives_every_width_with_its_dwell_time_and_lr():
    rows = {(row.quantity, row.start): row for row in lag_answer(*campaign()).rows}
    loop = rows["width, T1's loop, 2 epochs per level, LR 0.1", "ordered"]
    assert (loop.n, loop.cell, loop.value) == (3, pytest.approx((0.30, 0.40)), pytest.approx(0.35))
    frozen = rows["width, T1 to T2, 2 epochs per level, LR dropping", "collapsed"]
    assert (frozen.n, frozen.cell, frozen.value) == (3, (0.45, None), None)


def test_other_differences_between_the_runs_are_named():
    t1s, t2s = campaign()
    del t1s[1]["parameters"]["lr"]  # which is not stated is not different
    assert lag_of(t1s, t2s)["differing"] == []
    t1s[0], t1s[2] = held(t1s[0], 2, network_width=2), held(t1s[2], 2, network_width=1)
    assert lag_of(t1s, t2s)["differing"] == ["network_width"]


def test_an_error_from_scratch_counts_once_however_often_its_init_was_used():
    records = [held(t1(0), epochs) for epochs in (2, 4)] + [t1(1), failed_init(t1(2)), {}]
    found = {level: len(errors) for level, errors in lag_of(records, [])["scratch"].items()}
    assert found == {0.35: 3}


@pytest.mark.parametrize(
    "records",
    [
        campaign(),
        ([], []),
        ([failed_init(t1(0))], [diverged(t2(0))]),
        ([published(t1(s, None)) for s in range(10)], [published(t2(s, None)) for s in range(10)]),
        ([t1(s, 0.6, None, True) for s in range(10)], [t2(s, None, trapped=True) for s in range(10)]),
    ],
)
def test_the_figure_is_whole_whatever_there_is(records):
    figure = draw_dwell(*records)
    assert_nothing_cut_off(figure)
    empty = [text.get_text() for text in visible_texts(figure)]
    for axes, panel in zip(figure.axes, ("width", "errors"), strict=True):
        assert axes.lines or any(text in empty for text in ("no records", "no sweep on record")), panel


def test_a_median_that_is_only_a_bound_is_hollow():
    t1s, t2s = campaign()
    axes = draw_dwell(t1s, t2s).axes[0]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert [line.get_ydata()[0] for line in hollow] == pytest.approx([0.45] * 3)  # under the dropping LR
    assert {line.get_marker() for line in hollow} == {"^"}
