"""Parameters that only say how records are read: everything that shows a number uses the same ones."""

import json
from pathlib import Path

from analysis_cases import t1, td1, v3
from report_cases import run_of
from report_page import Page

import dglib
from dglib.cli import main
from dglib.report.analyse import analyse
from dglib.report.page import write_report

V3 = ["network=small_cnn", "network_width=0.25", "sweep_lambdas=[0.3,0.5]", "epochs_per_level=1"]
V3 += ["ordered_epochs=1", "ordered_error_max=1", "ordered_milestones=[]"]
V3 += ["collapse_epochs=1", "collapse_error_min=0", "collapse_milestones=[]"]


def report(base: Path) -> Page:
    return Page(write_report(base).read_text())


def test_answer_page_analysis_and_tables_use_the_last_reading_and_all_seeds(tmp_path, capsys):
    def answer(seeds, *reading):
        words = ["run", "V3", "--base-dir", str(tmp_path), "--seeds", seeds, "--set", *V3, *reading]
        assert main(words) == 0
        return capsys.readouterr().out

    first = answer("0-1")
    assert "gap at λ = 0.50" in first
    assert "gap error 0.10" in first
    assert "the command asked for" not in first
    last = answer("1", "gap_lambda=0.3", "gap_error=0.95")
    (row,) = (line.split() for line in last.splitlines() if "gap at λ = 0.30 " in line)
    assert "gap error 0.95" in last
    assert len(list(tmp_path.glob("exp_V3_*"))) == 1
    assert "! This covers the 2 seeds (0-1) in the run directory; the command asked for 1." in last
    assert next(r for r in report(tmp_path).tables[0] if r[0] == "gap at λ = 0.30")[4] == " ".join(row[8:11])
    found = analyse(tmp_path)["V3"]
    gap = found["gap"]["estimate"]
    assert found["gap_lambda"] == 0.3
    assert abs(float(row[8]) - gap) < 0.0006
    assert abs(dglib.load_records(tmp_path).seeds["gap"].mean() - gap) < 1e-9
    assert main(["verify", str(tmp_path)]) == 0


def test_a_comparison_takes_both_gaps_at_the_level_of_its_first_side(tmp_path, capsys):
    for name, level in (("a", 0.35), ("b", 0.5)):
        directory = run_of(tmp_path / name, "V3", [v3(0)])
        (directory / "V3_reading.json").write_text(json.dumps({"gap_lambda": level}))
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    (row,) = [row for row in rows if row[:4] == ["gap", "at", "λ", "="]]
    assert row[4:6] == ["0.35", "collapsed"]
    assert row[6] == row[8]


def test_a_damaged_reading_is_reported_and_the_defaults_are_taken(tmp_path, capsys):
    directory = run_of(tmp_path, "V3", [v3(0)])
    (directory / "V3_reading.json").write_text("{")
    found = analyse(tmp_path)
    assert found["V3"]["gap_lambda"] == 0.5
    assert "V3_reading.json: not read: no JSON" in " ".join(found["problems"])
    assert main(["verify", str(tmp_path)]) == 1
    assert f"wrong: {directory / 'V3_reading.json'}: " in capsys.readouterr().out


def test_the_return_level_of_t1_is_that_of_the_first_evaluation_of_its_run(tmp_path):
    record = t1(0, returns=True, back=0.35)
    index = next(i for i, e in enumerate(record["return_trajectory"]) if e["lambda"] == 0.35)
    record["return_trajectory"][index - 1]["error"] = 0.15  # the last evaluation at 0.40
    del record["return_trajectory"][index + 2 :]
    cut_short = t1(1, returns=True)
    cut_short["return_trajectory"][-1]["error"] = 0.15  # a run had begun at the last level
    levels = list(dict.fromkeys(entry["lambda"] for entry in cut_short["return_trajectory"]))
    run_of(tmp_path, "T1", [record, cut_short])
    head, *rows = report(tmp_path).seeds[0]
    column = head.index("λ↓ of the return")
    assert [row[column] for row in rows] == ["0.40 to 0.45", f"< {levels[-2]:.2f}"]
    assert dglib.load_records(tmp_path).seeds["return_level"].to_list()[0] == 0.40


def test_comparisons_of_td1_use_the_reading_of_the_directory(tmp_path):
    directory = run_of(tmp_path, "Td1", [td1(0), td1(1, 0.5)])
    (directory / "Td1_reading.json").write_text(json.dumps({"early_epochs": 3, "compare_epochs": [0, 2]}))
    assert "c_sv, epochs 0 to 3" in report(tmp_path).text
    _, *tests = analyse(tmp_path)["Td1"]["signs"]["tests"]
    assert sorted({test["last_epoch"] for test in tests}) == [0, 2]
