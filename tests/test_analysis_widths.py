"""Hysteresis widths: of one seed's loop, between the sweeps of T1 and T2, and against dwell time."""

import math

import pytest
from analysis_cases import diverged, evaluation, failed_init, published, t1, t2
from by_name import draw_dwell, lag_answer, summarise, width
from test_analysis_figures import assert_nothing_cut_off, visible_texts

from dglib.analysis.intervals import Bounds
from dglib.analysis.summary import median_bounds
from dglib.experiments.width import DROPPING, lag_of


def test_bounds_are_those_of_each_seeds_own_pair_and_overlapping_cells_prove_no_width():
    found = width([t1(0, 0.60), t1(1, 0.70)], [t2(1, 0.35), t2(0, 0.30)])
    bounds = {seed["seed"]: (seed["lower"], seed["upper"]) for seed in found["seeds"]}
    assert bounds == {0: (0.20, 0.30), 1: (0.25, 0.35)}
    median = found["estimates"]["width"]
    assert (median["lower"], median["upper"]) == pytest.approx((0.225, 0.325))
    for up, proven in ((0.40, 0), (0.45, 1)):  # (0.35, 0.40] or (0.40, 0.45] against [0.35, 0.40)
        assert width([t1(0, up)], [t2(0, 0.35)])["estimates"]["above_zero"]["count"] == proven


def test_a_loop_is_closed_open_or_diverged_and_has_the_bounds_of_both_cells():
    bad = t1(3, 0.60, None, True)
    for entry in bad["return_trajectory"]:
        entry |= evaluation("return", entry["lambda"], entry["epoch"], None, constant=True)
    records = [t1(0, 0.60, 0.35, True), t1(1, 0.65, 0.30, True), t1(2, 0.65, None, True), bad]
    loop = summarise("T1", records)["loop"]
    assert loop["outcomes"] == {"closed": 2, "open": 1, "diverged": 1}
    closed, _, unclosed, _ = loop["seeds"]
    assert (closed["outcome"], closed["lambda_up"], closed["lambda_down"]) == ("closed", 0.6, 0.35)
    assert [closed[name] for name in ("lower", "width", "upper")] == pytest.approx([0.15, 0.2, 0.25])
    assert (unclosed["lower"], unclosed["upper"]) == pytest.approx((0.30, None))
    assert (loop["seeds"][3]["trapped"], loop["seeds"][3]["lower"]) == (False, None)
    found = loop["estimates"]["width"]
    assert (found["lower"], found["upper"]) == pytest.approx((0.25, 0.35))
    assert summarise("T1", records[2:3])["loop"]["estimates"]["width"]["censored"] == "right"


def held(record, epochs, **parameters):
    """The same seed, had it been run at another dwell time or LR."""
    stated = {"epochs_per_level": epochs, **parameters}
    return record | stated | {"parameters": record["parameters"] | stated}


def campaign():
    """A loop that closes in on itself as the dwell time grows, beside sweeps under a dropping LR."""
    dropping = {"sweep_lr": None, "milestones": [20, 32]}
    t1s, t2s = [], []
    for epochs, up, back in ((2, 0.70, 0.30), (4, 0.65, 0.35), (8, 0.60, 0.40)):
        for seed in range(3):
            t1s += [held(t1(seed, up, back, True), epochs), held(t1(seed, None), epochs, **dropping)]
            t2s += [held(t2(seed, back - 0.05), epochs), held(t2(seed, None), epochs, **dropping)]
    return t1s, t2s


def test_widths_are_summed_up_at_each_setting_by_themselves_in_summary_answer_and_figure():
    t1s, t2s = campaign()
    series = lag_of(t1s, t2s)["series"]
    found = {
        (s["kind"], s["epochs"], s["rule"]): median_bounds([Bounds.of(width) for width in s["widths"]])
        for s in series
    }
    assert len(found) == 9  # no loop under the dropping LR
    assert [found["loop", n, "0.1"].lower for n in (2, 4, 8)] == pytest.approx([0.30, 0.20, 0.10])
    assert found["collapsed", 8, "0.1"].upper == pytest.approx(0.25)
    assert found["collapsed", 8, DROPPING] == Bounds(0.45, math.inf)
    rows = {(row.quantity, row.start): row for row in lag_answer(t1s, t2s).rows}
    loop = rows["width, T1's loop, 2 epochs per level, LR 0.1", "ordered"]
    assert (loop.n, loop.cell, loop.value) == (3, pytest.approx((0.30, 0.40)), pytest.approx(0.35))
    frozen = rows["width, T1 to T2, 2 epochs per level, LR dropping", "collapsed"]
    assert (frozen.n, frozen.cell, frozen.value) == (3, (0.45, None), None)
    lines = draw_dwell(t1s, t2s).axes[0].lines
    hollow = [line for line in lines if line.get_markerfacecolor() == "white"]  # a bound alone
    assert [line.get_ydata()[0] for line in hollow] == pytest.approx([0.45] * 3)
    assert {line.get_marker() for line in hollow} == {"^"}


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
def test_the_figure_of_width_against_dwell_time_is_whole_whatever_there_is(records):
    figure = draw_dwell(*records)
    assert_nothing_cut_off(figure)
    empty = [text.get_text() for text in visible_texts(figure)]
    for axes in figure.axes:
        assert axes.lines or any(text in empty for text in ("no records", "no sweep on record"))
