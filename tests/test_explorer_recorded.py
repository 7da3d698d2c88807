"""Recorded runs under a cursor: which runs are shown, and the values at λ."""

import io
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from analysis_cases import (
    diverged,
    failed_init,
    published,
    t1,
    t2,
    td1,
    td1_diverged,
    v3,
    v3_diverged,
    v3_failed,
)
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

Record = dict[str, Any]
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


def test_the_error_at_a_level_is_its_mean_and_between_levels_lies_on_the_line():
    seeds, found = shown({"T1": [t1(0)]}, 0.50)
    (trace,) = seeds[0].traces
    held = [e["error"] for e in t1(0)["trajectory"] if e["lambda"] == 0.50]
    assert found.readings[0].error == pytest.approx(np.mean(held))
    assert found.readings[0].measured
    middle = trace.error_at(0.475)
    assert middle == pytest.approx((trace.error_at(0.45) + trace.error_at(0.50)) / 2)
    _, between = shown({"T1": [t1(0)]}, 0.475)
    assert not between.readings[0].measured
    assert ("≈" in found.html(), "≈" in between.html()) == (False, True)


def test_beyond_the_end_of_a_sweep_there_is_no_error_but_its_threshold():
    _, found = shown(LOOP, 0.62)
    rising = {r.trace.seed: r.error for r in found.readings if r.trace.branch.key == "T1-up"}
    assert rising[0] is None
    assert rising[1] is not None
    assert '<td data-column="λ↑ lies" data-experiment="T1" data-seed="0">0.55 to 0.60</td>' in found.html()


def test_states_follow_the_limits_in_force_and_trapped_ones_stay_trapped():
    records = {"T1": [t1(0)], "T2": [t2(0, None, trapped=True)]}

    def states(**limits: float) -> list[str | None]:
        _, found = shown(records, 0.50, Limits(**limits))
        return [reading.state for reading in found.readings]

    assert states() == ["ordered", "trapped"]
    assert states(recovery_error=0.01, collapse_error=0.05) == ["collapsed", "trapped"]


@pytest.mark.parametrize(
    ("globals_", "line"),
    [
        ({"base_dr": "x"}, "base_dr = 'x': the explorer has no such parameter, only base_dir and runs"),
        ({"runs": "nowhere"}, "runs = 'nowhere': no such file or directory"),
        ({"runs": "."}, "no run there"),
    ],
)
def test_bad_parameters_are_one_line(globals_, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        dglib.explorer.recorded(globals_)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


# ── thresholds ──


def test_a_limit_slider_moves_both_thresholds_and_the_button_restores_them(tmp_path):
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


@pytest.mark.parametrize("limits", [Limits(), Limits(0.05, 0.45, 4)])
def test_thresholds_are_those_that_the_report_reads_under_the_same_limits(limits, tmp_path):
    records = {
        "T1": [t1(0), t1(1, None), failed_init(t1(2)), diverged(t1(3))],
        "T2": [t2(0), published(t2(1))],
    }
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
    "T1 and V3": {
        "T1": [t1(0), diverged(t1(2))],
        "V3": [v3(0), v3(1, trapped=True), v3_failed(2), v3_diverged(3)],
    },
    "Td1 alone": {"Td1": [td1(0), td1(1, 0.5), td1_diverged(2)]},
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


def test_moving_lambda_moves_cursor_and_numbers_and_moving_it_back_restores_every_pixel(tmp_path):
    panel = panel_on(published_in(tmp_path, "T1", LOOP["T1"]))
    panel.lam.value = 0.50
    picture, marks, numbers = panel.canvas.png(), panel.marks.value, panel.numbers.value
    panel.lam.value = 0.55
    assert '<span data-value="lambda">0.55</span>' in panel.numbers.value
    changed = np.any(pixels(panel.canvas.png()) != pixels(picture), axis=2)
    assert 0 < changed.mean() < 0.1
    panel.lam.value = 0.50
    assert (panel.marks.value, panel.numbers.value) == (marks, numbers)


def test_a_drag_of_lambda_sends_the_marks_and_numbers_alone_and_draws_nothing(tmp_path, monkeypatch):
    published_in(tmp_path, "T1", [t1(seed, 0.60, 0.40, True) for seed in range(3)])
    published_in(tmp_path, "T2", [t2(seed) for seed in range(3)])
    panel = panel_on(tmp_path)
    sent: dict[str, int] = {}

    def count(widget: Any, state: dict[str, Any], *_: Any, **__: Any) -> None:
        sent[type(widget).__name__] = sent.get(type(widget).__name__, 0) + len(str(state))

    monkeypatch.setattr(Canvas, "freeze", lambda _: pytest.fail("the background is drawn anew"))
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: pytest.fail("matplotlib draws"))
    for control in (panel.picture, panel.marks, panel.numbers):
        control.observe(lambda change: count(change["owner"], change["new"]), "value")
    levels = [0.40, 0.45, 0.47, 0.50, 0.55]
    for lam in levels:
        panel.lam.value = lam
    assert sent.keys() == {"HTML"}
    assert sent["HTML"] / len(levels) < 60_000  # bytes


HELD = [
    {
        "seed": seed,
        "outcome": "complete",
        "ordered_init": 0.05,
        "collapse_init": 0.6,
        "ordered_init_trajectory": [{"epoch": 10, "lambda": 0.2, "error": 0.05}],
        "collapse_init_trajectory": [{"epoch": 10, "lambda": 0.6, "error": 0.6}],
        "ordered_trajectory": [
            {"epoch": 10 + epoch, "lambda": lam, "error": 0.05 + lam / 10}
            for lam in (0.3, 0.5)
            for epoch in range(1, 21)
        ],
        "collapse_trajectory": [
            {"epoch": 10 + epoch, "lambda": lam, "error": 0.6 if lam == 0.5 or epoch < 10 else 0.1}
            for lam in (0.3, 0.5)
            for epoch in range(1, 21)
        ],
    }
    for seed in range(8)
]


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
