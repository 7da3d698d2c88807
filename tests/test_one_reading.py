"""Answer, page, `analyse`, `compare` and tables give the same numbers from the same parameters."""

import json
from pathlib import Path

from analysis_cases import t1, td1, v3
from report_cases import run_of
from report_page import Page
from test_api import TD1, V3

from dglib import api, load_records
from dglib.cli import main
from dglib.experiments.profiles import load_profile
from dglib.report import write_report
from dglib.report.analyse import analyse


def command(base: Path, experiment: str, settings: list[str], seeds: str) -> int:
    words = ["run", experiment, "--base-dir", str(base), "--seeds", seeds]
    return main([*words, "--set", *(each for each in settings if not each.startswith("seeds="))])


def report(base: Path) -> Page:
    return Page(write_report(base).read_text())


def test_page_analysis_tables_and_comparison_follow_the_last_reading_of_the_gap(tmp_path, capsys):
    for level, limit in ((0.3, 0.95), (0.5, 0.10)):
        reading = [f"gap_lambda={level}", f"gap_error={limit}"]
        assert command(tmp_path, "V3", [*V3, *reading], "0") == 0
        answer = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("V3: the gap"))
        assert f"at λ = {level:.2f} " in answer
        assert report(tmp_path).answers[0].strip() == answer
        found = analyse(tmp_path)["V3"]
        gap = found["gap"]["estimate"]
        assert found["gap_lambda"] == level
        assert f"is {gap:.3f} " in answer
        assert load_records(tmp_path).seeds["gap"].tolist() == [gap]
        assert main(["verify", str(tmp_path)]) == 0
        assert "all is well\n" in capsys.readouterr().out


def test_the_page_compares_classes_over_the_epochs_that_the_command_named(tmp_path):
    reading = ["early_epochs=1", "early_difference=0.2", "compare_epochs=[0,2]"]
    run = api.run(load_profile("Td1", "quick", [*TD1, *reading, f"base_dir={tmp_path}"]))
    page = report(tmp_path)
    assert run.answer() in page.text
    assert "Mean c_sv, epochs 0 to 1" in page.seeds[0][0]


def test_a_comparison_takes_both_gaps_at_the_level_of_its_first_side(tmp_path, capsys):
    for name, level in (("a", 0.35), ("b", 0.5)):
        directory = run_of(tmp_path / name, "V3", [v3(0)])
        (directory / "V3_reading.json").write_text(json.dumps({"gap_lambda": level}))
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    (row,) = [row for row in rows if row[:4] == ["gap", "at", "λ", "="]]
    assert row[4] == "0.35"
    assert row[5] == row[6]


def test_a_damaged_reading_is_reported_and_the_defaults_are_taken(tmp_path, capsys):
    directory = run_of(tmp_path, "V3", [v3(0)])
    (directory / "V3_reading.json").write_text("{")
    assert analyse(tmp_path)["V3"]["gap_lambda"] == 0.5
    assert "V3_reading.json: not read: no JSON" in " ".join(analyse(tmp_path)["problems"])
    assert main(["verify", str(tmp_path)]) == 1
    assert f"wrong: {directory / 'V3_reading.json'}: " in capsys.readouterr().out


def test_the_way_back_of_t1_is_told_by_the_first_evaluation_of_its_run_as_in_the_answer(tmp_path):
    record = t1(0, returns=True, back=0.35)
    index = next(i for i, e in enumerate(record["return_trajectory"]) if e["lambda"] == 0.35)
    record["return_trajectory"][index - 1]["error"] = 0.15  # the last evaluation at 0.40
    del record["return_trajectory"][index + 2 :]
    run_of(tmp_path, "T1", [record])
    page = report(tmp_path)
    head, row = page.seeds[0]
    assert "recovered first at λ = 0.40," in page.text
    assert row[head.index("λ↓ on the way back")] == "0.40"
    assert load_records(tmp_path).seeds["return_level"].tolist() == [0.40]


def test_a_way_back_cut_short_in_a_recovery_lies_below_the_last_level_that_was_passed(tmp_path):
    record = t1(0, returns=True)
    last = record["return_trajectory"][-1]
    last["error"] = 0.15  # a run had begun at the last level
    levels = list(dict.fromkeys(entry["lambda"] for entry in record["return_trajectory"]))
    run_of(tmp_path, "T1", [record])
    head, row = report(tmp_path).seeds[0]
    assert row[head.index("λ↓ on the way back")] == f"below {levels[-2]:.2f}"


def test_an_answer_that_covers_more_seeds_than_asked_for_says_so_and_figures_show_the_same(tmp_path, capsys):
    assert command(tmp_path, "V3", V3, "0-1") == 0
    both = capsys.readouterr().out
    assert "the command asked for" not in both
    (figure,) = tmp_path.glob("exp_*/figures/V3_hysteresis.png")
    drawn = figure.read_bytes()
    assert command(tmp_path, "V3", V3, "1") == 0
    answer = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("V3: the gap"))
    assert answer.endswith("This covers the 2 seeds (0-1) in the run directory; the command asked for 1.")
    assert answer.startswith(next(line for line in both.splitlines() if line.startswith("V3: the gap")))
    assert figure.read_bytes() == drawn


def test_an_early_comparison_uses_the_reading_of_the_directory(tmp_path):
    directory = run_of(tmp_path, "Td1", [td1(0), td1(1, 0.5)])
    (directory / "Td1_reading.json").write_text(json.dumps({"early_epochs": 3}))
    assert "Over epochs 0 to 3 the mean c_sv" in report(tmp_path).text
