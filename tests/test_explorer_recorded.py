"""Recorded runs under a cursor: which runs are shown, and the values at λ."""

import io
import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from analysis_cases import Record, every_outcome, failed_init, hold, published, t1, t2, v3
from matplotlib.figure import Figure
from PIL import Image
from report_cases import published_in

import dglib.explorer
from dglib.analysis import wording
from dglib.errors import UserError
from dglib.experiments import get
from dglib.experiments.tables import load_records
from dglib.explorer.panel import Canvas
from dglib.explorer.readout import Analysis, Limits, Readout
from dglib.explorer.recorded_panel import RecordedPanel
from dglib.explorer.runs import choices, label, notebook_source, seeds_of

LOOP = {"T1": [t1(0, 0.60, 0.40, True), t1(1, 0.65, 0.45, True)], "T2": [t2(0), t2(1, 0.30)]}


def shown(records: dict[str, list[Record]], lam: float, limits: Limits | None = None):
    seeds = seeds_of(records)
    return seeds, Readout(Analysis(seeds, limits or Limits.of(seeds)), lam)


def panel_on(path: Path) -> RecordedPanel:
    return dglib.explorer.recorded({"base_dir": None, "runs": str(path)})


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


# ── which runs there are ──


def test_the_newest_run_directory_is_listed_first_and_the_quick_run_last(tmp_path):
    for name in ("exp_T_spinodal_20260101_000000", "exp_V3_vgg11_20260301_000000"):
        published_in(tmp_path / name, "T1", [t1(0)])
    published_in(tmp_path / "copied", "T1", [t1(0)])
    os.utime(tmp_path / "copied", (0, 0))
    (tmp_path / "executed").mkdir()
    found = choices(*notebook_source({"base_dir": str(tmp_path)}))
    names = ["exp_V3_vgg11_20260301_000000", "exp_T_spinodal_20260101_000000", "copied", "quick"]
    assert [path.name for path in found] == names
    assert label(found[0]) == "exp_V3_vgg11_20260301_000000 · quick + 1 · T1: 1 seed, collapsed 1"
    assert label(found[-1]).startswith("the recorded quick run · quick")


def test_the_newest_run_that_can_be_read_is_shown(tmp_path):
    published_in(tmp_path / "exp_T_spinodal_20260101_000000", "T2", [t2(0)])
    newest = published_in(tmp_path / "exp_V3_vgg11_20260301_000000", "V3", [v3(0)])
    torn = tmp_path / "exp_T_spinodal_20260401_000000"
    torn.mkdir()
    (torn / "T1-spinodal_results.json").write_text("{")
    (newest / "T2-spinodal_results.json").write_text("{")
    panel = dglib.explorer.recorded({"base_dir": str(tmp_path), "runs": None})
    assert panel.runs.value == newest
    assert "T2-spinodal_results.json: not read" in panel.numbers.value
    assert panel.experiments.value == ("V3",)


# ── values at λ ──


def test_the_error_is_the_mean_at_a_level_lies_on_the_line_between_two_and_is_none_beyond_the_end():
    _, at = shown(LOOP, 0.50)
    held = [e["error"] for e in LOOP["T1"][0]["trajectory"] if e["lambda"] == 0.50]
    assert (at.readings[0].error, at.readings[0].measured) == (pytest.approx(np.mean(held)), True)
    seeds, between = shown({"T1": [t1(0)]}, 0.475)
    (trace,) = seeds[0].traces
    middle = (trace.error_at(0.45) + trace.error_at(0.50)) / 2
    assert (between.readings[0].error, between.readings[0].measured) == (pytest.approx(middle), False)
    assert ("≈" in shown({"T1": [t1(0)]}, 0.50)[1].html(), "≈" in between.html()) == (False, True)
    _, beyond = shown(LOOP, 0.62)
    rising = {r.trace.seed: r.error for r in beyond.readings if r.trace.branch.key == "T1-up"}
    assert (rising[0], rising[1] is None) == (None, False)
    assert '<td data-column="λ↑ lies" data-experiment="T1" data-seed="0">0.55 to 0.60</td>' in beyond.html()


def test_gaps_are_between_the_sweeps_of_one_seed_and_between_t2_and_t1():
    _, at = shown(LOOP | {"V3": [v3(0)]}, 0.50)
    pairs = [(gap.above, gap.below, gap.paired, gap.n) for gap in at.gaps]
    assert pairs == [
        ("T1-back", "T1-up", True, (2, 2)),
        ("T2-down", "T1-up", False, (2, 2)),
        ("V3-collapse", "V3-ordered", True, (1, 1)),
    ]


def test_states_follow_the_limits_in_force_and_trapped_ones_stay_trapped():
    records = {"T1": [t1(0)], "T2": [t2(0, None, trapped=True)]}
    for limits, state in ((Limits(), "ordered"), (Limits(0.05, 0.01), "collapsed")):
        _, found = shown(records, 0.50, limits)
        assert [reading.state for reading in found.readings] == [state, "trapped"]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"base_dr": "x"}, "base_dr = 'x': the explorer has no such parameter, only base_dir and runs"),
        ({"runs": "nowhere"}, "runs = 'nowhere': no such file or directory"),
        ({"runs": "."}, "no run there"),
    ],
)
def test_bad_parameters_are_one_line(given, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"^.*{line}.*\Z"):
        dglib.explorer.recorded(given)


# ── thresholds ──


def test_limit_sliders_move_both_thresholds_and_buttons_restore_limits_and_seeds(tmp_path):
    panel = panel_on(published_in(tmp_path, "T1", LOOP["T1"]))

    def texts() -> list[str]:
        found = panel.readout.analysis.thresholds.items()
        return [wording.interval(*cell.pair) for (_, seed, _), cell in found if seed == 0]

    before, marks = texts(), panel.marks.value
    assert before == ["0.55 to 0.60", "0.40 to 0.45"]
    assert before[0] in panel.still()
    panel.recovery_error.value = 0.60
    assert texts() == ["0.55 to 0.60", "0.55 to 0.60"]
    panel.collapse_error.value = 0.90
    assert texts() == ["> 0.60"]  # without a collapse there is no return from one
    panel.as_run.click()
    assert (texts(), panel.marks.value) == (before, marks)
    panel.seeds.value = (1,)
    assert [reading.trace.seed for reading in panel.readout.readings] == [1, 1]
    panel.all_seeds.click()
    assert (panel.seeds.value, panel.marks.value) == ((0, 1), marks)


@pytest.mark.parametrize("limits", [Limits(), Limits(0.05, 0.45, 4)])
def test_thresholds_are_those_that_the_report_reads_under_the_same_limits(limits, tmp_path):
    records = {"T1": every_outcome()["T1"], "T2": [t2(0), published(t2(1))]}
    for name, members in records.items():
        published_in(tmp_path, name, members)
    rows = load_records(tmp_path, **vars(limits)).seeds.set_index(["experiment", "seed"])
    found = Analysis(seeds_of(records), limits).thresholds
    for (experiment, seed), row in rows.iterrows():
        bounds = found[experiment, seed, "trajectory"]
        ends = (np.nan, np.nan) if bounds is None else (bounds.lower, bounds.upper)
        np.testing.assert_array_equal(ends, (row["lower"], row["upper"]))


# ── the panel, for whatever records there are ──

KINDS = {
    "T1 and V3": {name: every_outcome()[name] for name in ("T1", "V3")},
    "Td1 alone": {"Td1": every_outcome()["Td1"]},
    "V3 without epochs": {"V3": [{"seed": 0, "ordered_trajectory": [{"lambda": 0.5, "error": 0.2}]}]},
    "failed inits alone": {"T1": [failed_init(t1(0))], "T2": [failed_init(t2(0))]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_panel_shows_any_records(kind, tmp_path):
    for name, records in KINDS[kind].items():
        published_in(tmp_path, name, records)
    panel = panel_on(tmp_path)
    panel.experiments.value = tuple(KINDS[kind])
    for lam in (panel.lam.min, panel.lam.max):
        panel.lam.value = lam
        assert pixels(panel.canvas.png()).shape[1] == 1075
        assert ElementTree.fromstring(panel.marks.value).tag == "svg"
    rows = {(seed.experiment, seed.seed) for seed in panel.readout.analysis.seeds}
    assert rows == {(name, record["seed"]) for name, records in KINDS[kind].items() for record in records}
    assert "nan" not in panel.numbers.value.lower().replace("nano", "")
    panel.close()


def test_moving_lambda_moves_cursor_and_numbers_back_too_and_draws_nothing(tmp_path, monkeypatch):
    published_in(tmp_path, "T1", [t1(seed, 0.60, 0.40, True) for seed in range(3)])
    published_in(tmp_path, "T2", [t2(seed) for seed in range(3)])
    panel = panel_on(tmp_path)
    panel.lam.value = 0.50
    picture, before = panel.canvas.png(), (panel.marks.value, panel.numbers.value)
    sent: list[str] = []
    for control in (panel.picture, panel.marks, panel.numbers):
        control.observe(lambda change: sent.append(change["new"]), "value")
    with monkeypatch.context() as drawing:
        drawing.setattr(Canvas, "freeze", lambda _: pytest.fail("the background is drawn anew"))
        drawing.setattr(Figure, "savefig", lambda *_, **__: pytest.fail("matplotlib draws"))
        panel.lam.value = 0.55
    assert (sent, len("".join(sent)) < 60_000) == ([panel.marks.value, panel.numbers.value], True)
    assert '<span data-value="lambda">0.55</span>' in panel.numbers.value
    changed = np.any(pixels(panel.canvas.png()) != pixels(picture), axis=2)
    assert 0 < changed.mean() < 0.1
    panel.lam.value = 0.50
    assert (panel.marks.value, panel.numbers.value) == before


HELD = [hold(seed, {0.3: [0.6] * 9 + [0.1] * 11, 0.5: [0.6] * 20}) for seed in range(8)]


def test_where_lambda_was_held_both_starts_and_the_verdict_are_shown(tmp_path):
    panel = panel_on(published_in(tmp_path, "Hold", HELD))
    verdicts = {level["lambda"]: level["verdict"] for level in get("Hold").summarise(HELD)["levels"]}
    assert verdicts == {0.3: "lag: merged within 12 epochs", 0.5: "bistable for at least 20 epochs"}
    for lam, gap in ((0.30, 0.02), (0.50, 0.50)):
        panel.lam.value = lam
        (found,) = panel.readout.gaps
        assert (found.value, found.n, found.paired) == (pytest.approx(gap), (8, 8), True)
        assert f'<b data-value="verdict">{verdicts[lam]}</b>' in panel.numbers.value
        assert verdicts[lam] in panel.marks.value
    panel.lam.value = 0.42  # nearer to 0.5: nothing lies between two networks
    assert panel.readout.gaps == [found]


def test_another_run_brings_its_own_levels_seeds_and_limits(tmp_path):
    published_in(tmp_path / "a_20260101_000000", "T1", [t1(0)])
    published_in(tmp_path / "b_20260102_000000", "V3", [v3(4), v3(5)])
    panel = panel_on(tmp_path)
    by_name = {path.name[0]: path for _, path in panel.runs.options}
    panel.runs.value = by_name["b"]
    assert (panel.seeds.options, panel.lam.max) == ((4, 5), 0.70)
    panel.collapse_error.value = 0.77
    panel.runs.value = by_name["a"]
    assert panel.seeds.options == (0,)
    assert (panel.lam.min, panel.lam.max) == (0.35, 0.60)
    assert panel.collapse_error.value == 0.40
    assert panel.experiments.value == ("T1",)
