"""What a comparison of two runs says: both values, differences with intervals, and what differed."""

import re
from pathlib import Path

import numpy as np
import pytest
from analysis_cases import published, t1, t2, td1, v3
from by_name import WIDTH, compared, width
from report_cases import NUMERICS, published_in, run_of

from dglib.analysis.differences import mean_row, median_row, share_row
from dglib.analysis.summary import Bounds
from dglib.cli import main
from dglib.report.compare import compare


def named(found, name):
    (row,) = [row for row in found if row.name == name]
    return row


def differed(a: Path, b: Path) -> str:
    return "\n".join(line for each in compare(a, b) for line in each.differed)


# --- quantities


def test_a_share_is_given_on_both_sides_with_newcombes_interval_for_the_difference():
    row = share_row("collapsed", (56, 70), (48, 80))
    assert (row.a, row.b) == ("56 of 70", "48 of 80")
    assert row.difference == "0.20 (95 % interval 0.05 to 0.33)"  # Newcombe (1998), table II (a)


def test_a_mean_has_the_deviation_of_answers_and_their_count():
    assert mean_row("final error", [0.25, 0.75], [0.5]).a == "0.500 ± 0.250 (2)"


def test_the_medians_interval_holds_with_censoring_and_covers_as_often_as_it_says():
    generator, covered, trials = np.random.default_rng(1), 0, 400
    grid = np.arange(0.0, 1.01, 0.1)

    def cells(shift):
        values = generator.normal(0.4 + shift, 0.2, 8)
        places = np.searchsorted(grid, values)
        ends = [-np.inf, *grid, np.inf]
        return [Bounds(ends[place], ends[place + 1]) for place in places]

    for _ in range(trials):
        words = median_row("m", cells(0.2), cells(0.0)).difference.partition("95 % interval ")[2]
        numbers = [float(x.replace("−", "-")) for x in re.findall(r"−?\d\.\d+", words)]
        low = -np.inf if words.startswith(("<", "–")) else numbers[0]
        high = np.inf if words.startswith((">", "–")) else numbers[-1]
        covered += low - 1e-9 <= 0.2 <= high + 1e-9
    assert covered / trials >= 0.95


def test_events_are_counted_by_the_last_level_that_both_sweeps_have():
    # One sweep ends at 0.70, the other at 0.60, before its seeds could collapse at 0.65.
    short = []
    for seed in range(3):
        record = t1(seed, None)
        record["trajectory"] = [e for e in record["trajectory"] if e["lambda"] <= 0.60]
        record["parameters"]["sweep_lambdas"] = [0.40, 0.45, 0.50, 0.55, 0.60]
        short.append(record | {"final_lambda": 0.60})
    row = compared("T1", [t1(seed, 0.65) for seed in range(3)], short)[0]
    assert (row.name, row.a, row.b) == ("collapsed by λ = 0.60", "0 of 3", "0 of 3")


@pytest.mark.parametrize(
    ("experiment", "records", "names"),
    [
        ("T1", [t1(0, 0.6, 0.35, True), t1(1)], ["median λ↑", "init error", "final error at λ = 0.60"]),
        (
            "T2",
            [t2(0), t2(1, None, trapped=True)],
            ["median λ↓, start collapsed", "median λ↓, start trapped", "trapped at the start", "init failed"],
        ),
        ("V3", [v3(0), v3(1)], ["gap at λ = 0.50, start collapsed", "ordered init error"]),
        ("Td1", [td1(0), td1(1, 0.5)], ["trapped", "mean c_sv, epochs 0 to 10, partial collapse seeds"]),
    ],
)
def test_each_experiment_has_its_quantities_and_none_differs_from_itself(experiment, records, names):
    found = compared(experiment, records, records)
    assert not set(names) - {row.name for row in found}
    for row in found:
        assert row.a == row.b
        assert row.difference.startswith(("0.0", "−0.", "– (no"))


def test_a_collapsed_group_is_not_compared_with_a_trapped_one():
    collapsed, trapped = [t2(seed, None) for seed in range(8)], [t2(s, None, trapped=True) for s in range(8)]
    rows = compared("T2", collapsed, trapped)
    assert named(rows, "trapped at the start").difference.startswith("−1.00 (95 % interval")
    for row in rows:
        if "start" in row.name and row.name != "trapped at the start":
            assert row.difference.startswith("no difference: a side without")
    branches = [v3(seed) for seed in range(3)], [v3(seed, trapped=True) for seed in range(3)]
    gaps = [row for row in compared("V3", *branches) if row.name.startswith(("gap", "collapse"))]
    assert [row.difference for row in gaps] == ["no difference: a side without values"] * 4
    ups = [t1(seed) for seed in range(8)]
    widths = WIDTH.compare(width(ups, collapsed), width(ups, trapped))
    assert all(row.difference.startswith("no difference") for row in widths)


def test_a_difference_of_trapped_shares_makes_none_of_the_errors_within_a_state():
    few = [t2(seed, None, trapped=seed < 2) for seed in range(8)]
    many = [t2(seed, None, trapped=seed >= 2) for seed in range(8)]
    errors = named(compared("T2", few, many), "final error at λ = 0.25, start collapsed")
    assert float(errors.difference.split(" ")[0].replace("−", "-")) == pytest.approx(0, abs=0.03)
    sides = [td1(0, 0.9), td1(1, 0.5), td1(2, 0.5)], [td1(0, 0.9), td1(1, 0.9), td1(2, 0.5)]
    rows = compared("Td1", *sides)
    assert named(rows, "final error, partial collapse seeds").difference.startswith("0.000")
    assert "final error" not in {row.name for row in rows}


def test_of_trapped_seeds_the_share_that_left_is_compared_and_no_error():
    staying = [t2(seed, None, trapped=True) for seed in range(4)]
    leaving = [t2(seed, None, trapped=True, leaves=0.50) for seed in range(4)]
    rows = compared("T2", staying, leaving)
    assert (row := named(rows, "left the trapped state")).a == "0 of 4"
    assert row.b == "4 of 4"
    assert not [row.name for row in rows if "error" in row.name]


def test_final_errors_of_sweeps_that_ended_at_different_levels_have_no_difference():
    sides = [t1(seed, 0.60) for seed in range(3)], [t1(seed, 0.65) for seed in range(3)]
    row = named(compared("T1", *sides), "final error")
    assert row.difference == "no difference: the sweeps ended at different λ, 0.60 to 0.65"
    assert named(compared("T1", sides[0], sides[0]), "final error at λ = 0.60").difference.startswith("0.000")


# --- sides


def several(base: Path) -> Path:
    """A base directory with two runs of T1."""
    for setting in ("batch_size=64", "batch_size=8"):
        run_of(base, "T1", [t1(0)], setting)
    return base


def test_two_runs_are_compared_and_what_differed_is_listed(tmp_path, capsys):
    a = run_of(tmp_path / "a", "T1", [t1(0), t1(1)])
    other = NUMERICS | {"device_name": "Other CPU", "precision": "fp16"}
    b = run_of(tmp_path / "b", "T1", [t1(0, 0.65)], "batch_size=32", "sweep_lr=0.01", numerics=other)
    assert main(["compare", str(a), str(b)]) == 0
    out = capsys.readouterr().out
    assert f"A: {a}\nB: {b}\n" in out
    assert "parameters: batch_size = 64 | 32" in out
    assert "parameters: sweep_lr = 0.1 | 0.01" in out
    assert "numerics: Test CPU (cpu, 1 thread), fp32, torch 2.99 | Other CPU (cpu, 1 thread), fp16" in out
    assert "seeds: 0, 1 | 0" in out
    assert "of 1 seed on both sides, 0 with the same errors bit for bit" in out
    assert not re.search(r"\bnan\b|\binf\b|None", out)


def test_published_files_are_a_side_and_what_they_lack_is_said(tmp_path):
    a = run_of(tmp_path / "a", "T1", [t1(0)])
    b = published_in(
        tmp_path / "exp_T_spinodal_20260117_121637", "T1", [published(t1(s, None)) for s in range(9)]
    )
    (found,) = compare(a, b)
    assert named(found.rows, "median λ↑").b == "> 0.70"
    words = "\n".join(found.differed)
    assert "B records none; taken to be those of params/paper/T1.yaml" in words
    assert 'parameters: network = "small_cnn" | "resnet18"' in words
    assert "data: scikit-learn's 8×8 digits | not on record (CIFAR-10 in the published protocol)" in words
    assert "numerics: Test CPU (cpu, 1 thread), fp32, torch 2.99 | not on record" in words
    assert compare(a, b / "T1-spinodal_results.json")[0].rows == found.rows


def test_both_sweeps_on_both_sides_give_the_width_as_well(tmp_path):
    for side, down in (("a", 0.35), ("b", 0.30)):
        run_of(tmp_path / side, "T1", [t1(s) for s in range(8)])
        run_of(tmp_path / side, "T2", [t2(s, down) for s in range(8)])
    names = [each.name for each in compare(tmp_path / "a", tmp_path / "b")]
    assert names == ["T1", "T2", "Hysteresis width"]
    width = compare(tmp_path / "a", tmp_path / "b")[-1].rows[0]
    assert width.difference == "−0.15 to 0.05 (95 % interval −0.15 to 0.05)"


def test_a_side_whose_sweeps_differ_in_parameters_gives_no_width(tmp_path):
    for side, lr in (("a", "lr=0.1"), ("b", "lr=0.2")):
        run_of(tmp_path / side, "T1", [t1(s) for s in range(2)], "lr=0.1")
        run_of(tmp_path / side, "T2", [t2(s) for s in range(2)], lr)
    width = compare(tmp_path / "a", tmp_path / "b")[-1]
    assert (width.name, width.rows) == ("Hysteresis width", [])
    assert width.differed == ["B: T1 and T2 were run under different parameters: lr = 0.1 | 0.2"]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path / "none", "no such directory"),
        (lambda path: path, "no run there"),
        (
            lambda path: published_in(path / "p", "V3", [v3(0)]),
            "nothing to compare: .* holds T1 and .* holds V3",
        ),
        (lambda path: run_of(path / "p", "T1", []), "no seed has finished there"),
        (
            lambda path: several(path / "p"),
            "holds several runs of T1",
        ),
    ],
)
def test_a_side_that_cannot_be_compared_is_refused_in_one_line(make, says, tmp_path, capsys):
    a = run_of(tmp_path / "a", "T1", [t1(0)])
    (tmp_path / "b").mkdir()
    assert main(["compare", str(a), str(make(tmp_path / "b"))]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("dglib: error: ")
    assert re.search(says, line)
