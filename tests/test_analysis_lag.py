"""What is claimed of width against dwell time and its controls, in numbers and in the figure."""

import json
import math

import dwell_campaign
import numpy as np
import pytest
from analysis_cases import diverged, failed_init, published, t1, t2, td1
from by_name import draw_dwell, lag_answer, summarise
from test_analysis_figures import assert_nothing_cut_off, visible_texts

from dglib.analysis.bounds import Bounds
from dglib.experiments.figures import draw, save_figure
from dglib.experiments.spinodal.lag import (
    DROPPING,
    UNKNOWN_RATE,
    Setting,
    by_setting,
    from_scratch,
    setting_of,
    summarise_lag,
)
from dglib.experiments.spinodal.plot_dwell import series_of


def held(record, epochs, **parameters):
    """The same seed, had it been run at another dwell time or LR."""
    stated = {"epochs_per_level": epochs, **parameters}
    return record | stated | {"parameters": record["parameters"] | stated}


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


def test_settings_are_told_apart_by_dwell_time_and_lr_rule():
    assert setting_of(t1(0)) == Setting("0.1", 4)
    assert setting_of(held(t1(0), 8, sweep_lr=0.01)) == Setting("0.01", 8)
    assert setting_of(held(t1(0), 4, sweep_lr=None, milestones=[])) == Setting("0.1", 4)
    assert setting_of(held(t1(0), 4, sweep_lr=None, milestones=[50, 75])) == Setting(DROPPING, 4)
    assert setting_of(published(t1(0))) == Setting(UNKNOWN_RATE, 4)


def test_widths_are_summed_up_at_each_setting_by_themselves():
    found = {(s["epochs_per_level"], s["lr"]): s for s in summarise_lag(*campaign())["settings"]}
    assert len(found) == 6
    loops = [found[epochs, "0.1"]["loop"]["median"]["lower"] for epochs in (2, 4, 8)]
    assert loops == pytest.approx([0.30, 0.20, 0.10])
    assert found[8, "0.1"]["width"]["upper"] == pytest.approx(0.25)
    assert (found[8, DROPPING]["width"]["lower"], found[8, DROPPING]["width"]["upper"]) == (0.45, None)
    assert found[8, DROPPING]["loop"] is None


def test_a_seed_that_was_run_twice_in_a_setting_counts_once():
    (setting,) = summarise_lag([t1(0, 0.6, 0.35, True)] * 2 + [t1(1, 0.6, 0.35, True)], [])["settings"]
    assert (setting["loop"]["n"], setting["lambda_up"]["n"]) == (2, 2)


def test_the_answer_gives_every_width_with_its_dwell_time_and_lr():
    text = lag_answer(*campaign())
    assert "LR 0.1: 2 epochs per level, loop between 0.30 and 0.40 (3 seeds), T1 to T2 between" in text
    assert "LR dropping: 2 epochs per level, T1 to T2 above 0.45 (3 seeds)" in text
    assert "no sweep" in lag_answer([], [])


def test_other_differences_between_the_runs_are_named():
    t1s, t2s = campaign()
    del t1s[1]["parameters"]["lr"]  # which is not stated is not different
    assert summarise_lag(t1s, t2s)["differing"] == []
    t1s[0], t1s[2] = held(t1s[0], 2, network_width=2), held(t1s[2], 2, network_width=1)
    assert summarise_lag(t1s, t2s)["differing"] == ["network_width"]
    assert "The runs also differ in network_width" in lag_answer(t1s, t2s)


def test_an_error_from_scratch_counts_once_however_often_its_init_was_used():
    records = [held(t1(0), epochs) for epochs in (2, 4)] + [t1(1), failed_init(t1(2)), td1(0, 0.9), {}]
    found = {each.level: len(each.errors) for each in from_scratch(records)}
    assert found == {0.35: 3, 0.6: 1}


@pytest.mark.parametrize(
    "records",
    [
        (*campaign(), [td1(0), td1(1, 0.5)]),
        ([], [], []),
        ([failed_init(t1(0))], [diverged(t2(0))], []),
        ([published(t1(s, None)) for s in range(10)], [published(t2(s, None)) for s in range(10)], []),
        ([t1(s, 0.6, None, True) for s in range(10)], [t2(s, None, trapped=True) for s in range(10)], []),
    ],
)
def test_the_figure_is_whole_whatever_there_is(records):
    figure = draw_dwell(*records)
    assert_nothing_cut_off(figure)
    empty = [text.get_text() for text in visible_texts(figure)]
    for axes, panel in zip(figure.axes, ("width", "errors"), strict=True):
        assert axes.lines or any(text in empty for text in ("no records", "no sweep on record")), panel


def test_every_seeds_width_is_drawn_at_its_dwell_time():
    t1s, t2s = campaign()
    axes = draw_dwell(t1s, t2s).axes[0]
    bars = [line.get_data() for line in axes.lines if len(line.get_xdata()) == 2 and line.get_alpha() == 0.6]
    count = sum(len(bounds) for series in series_of(t1s, t2s) for bounds in series.bounds.values())
    assert len(bars) == count == 27
    for x, _ in bars:
        assert min(abs(math.log2(x[0] / epochs)) for epochs in (2, 4, 8)) < 0.45
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["2", "4", "8"]


def test_runs_of_several_dwell_times_are_read_from_below_one_base(tmp_path, capsys):
    t1s, t2s = campaign()
    for name, prefix, records in (("T1", "T1-spinodal", t1s), ("T2", "T2-spinodal", t2s)):
        for number, group in enumerate(by_setting(records).values()):
            directory = tmp_path / "base" / f"exp_{name}_2026010{number}_000000"
            directory.mkdir(parents=True)
            (directory / f"{prefix}_results.json").write_text(json.dumps(group))
    finding = dwell_campaign.read(tmp_path / "base", tmp_path / "result.json")
    assert finding == lag_answer(t1s, t2s)
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["answer"], result["seeds"]) == (finding, 36)
    assert (tmp_path / "base" / "width_against_dwell.png").exists()
    assert capsys.readouterr().err == ""


def test_a_median_that_is_only_a_bound_is_hollow():
    t1s, t2s = campaign()
    axes = draw_dwell(t1s, t2s).axes[0]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert [line.get_ydata()[0] for line in hollow] == pytest.approx([0.45] * 3)  # under the dropping LR
    assert [text.xy[1] for text in axes.texts] == pytest.approx([0.45] * 3)
    assert all(text.xyann[1] > 0 for text in axes.texts)


def test_no_line_runs_through_a_median_that_is_only_a_bound_and_the_legend_says_what_hollow_means():
    open_at = [held(t1(s, 0.65, None, True), 8) for s in range(3)]
    loops = [held(t1(s, 0.65, 0.35, True), epochs) for epochs in (2, 4, 16) for s in range(3)]
    for t1s, hollow in (([*loops, *open_at], True), (loops, False)):
        figure = draw_dwell(t1s, [])
        (line,) = (line for line in figure.axes[0].lines if line.get_zorder() == 5)
        assert [not math.isnan(y) for y in line.get_ydata()] == [True, True, *([False] * hollow), True]
        named = {text.get_text() for text in figure.legends[0].get_texts()}
        assert ("hollow: median beyond" in named) == hollow


def test_widths_and_errors_from_the_trapped_state_are_kept_apart():
    t1s = [t1(seed, None) for seed in range(3)]
    t2s = [t2(0, 0.35), t2(1, None, trapped=True), t2(2, None, trapped=True)]
    kinds = {series.kind: series.bounds for series in series_of(t1s, t2s)}
    assert {kind: len(bounds[4]) for kind, bounds in kinds.items()} == {"T1 to T2": 1, "T2 trapped": 2}
    text = lag_answer(t1s, t2s)
    assert "T1 to T2 above 0.30 (1 seed), T1 to T2 from trapped above 0.45 (2 seeds)" in text


def test_series_keep_loops_sweeps_and_rules_apart():
    found = {(series.kind, series.rule): series.bounds for series in series_of(*campaign())}
    assert set(found) == {("T1's loop", "0.1"), ("T1 to T2", "0.1"), ("T1 to T2", DROPPING)}
    assert found["T1 to T2", DROPPING] == {epochs: [Bounds(0.45, math.inf)] * 3 for epochs in (2, 4, 8)}


def test_the_steps_of_the_share_are_those_of_the_estimate():
    records = [t1(s, up) for s, up in enumerate((0.50, 0.55, 0.55, None, None))]
    panel = next(axes for axes in draw("T1", records).axes if "Share" in axes.get_title(loc="left"))
    (line,) = (line for line in panel.lines if line.get_drawstyle() == "steps-post")
    expected = [(step["level"], step["share"]) for step in summarise("T1", records)["remaining"]["steps"]]
    assert np.allclose(np.column_stack(line.get_data()), expected)


def test_the_share_is_drawn_apart_for_trapped_and_collapsed_starts():
    records = [t2(0, 0.35), t2(1, None), t2(2, None, trapped=True)]
    panel = next(axes for axes in draw("T2", records).axes if "Share" in axes.get_title(loc="left"))
    assert {text.get_text() for text in panel.texts} == {"collapsed, n = 2", "trapped, n = 1"}


def test_pictures_are_equally_wide_whatever_the_figures_width(tmp_path):
    from matplotlib.image import imread

    for name, figure in {"wide": draw("T1", []), "narrow": draw_dwell([], [])}.items():
        picture = imread(save_figure(figure, tmp_path, name)[0])
        assert picture.shape[1] == 1080
