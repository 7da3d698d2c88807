"""The comparison of two runs: both answers, differences with intervals, and what differed."""

import math
import re

import numpy as np
import pytest
from analysis_cases import every_outcome, published, t1, t2, v3
from report_cases import NUMERICS, published_in, run_of

from dglib.analysis.answer import Row
from dglib.analysis.intervals import Bounds
from dglib.analysis.summary import difference_interval, median_interval, paired, quantity, share
from dglib.cli import main
from dglib.report.compare import compare


def test_the_interval_of_a_difference_is_newcombes_of_wilsons_and_open_where_an_end_is():
    # Newcombe (1998), table II (a): 56 of 70 against 48 of 80.
    wilson = Bounds(0.6919, 0.8765), Bounds(0.4904, 0.7003)
    found = difference_interval(Bounds(0.8, 0.8), Bounds(0.6, 0.6), *wilson)
    assert (found.lower, found.upper) == pytest.approx((0.0524, 0.3339), abs=3e-4)
    beyond = Bounds(0.7, math.inf)
    assert difference_interval(beyond, Bounds(0.4, 0.45), beyond, Bounds(0.4, 0.5)).upper == math.inf


def test_the_interval_of_a_difference_of_medians_covers_as_often_as_it_says():
    generator, covered, trials = np.random.default_rng(1), 0, 400
    ends = [-np.inf, *np.arange(0.0, 1.01, 0.1), np.inf]

    def median(shift, n):
        places = np.searchsorted(ends[1:-1], generator.normal(0.4 + shift, 0.2, n))
        cells = [Bounds(ends[place], ends[place + 1]) for place in places]
        return Row.of_median("m", n, quantity(cells)), median_interval(cells)

    for _ in range(trials):
        (a, _), (b, _) = median(0.2, 8), median(0.0, 12)
        found = Bounds.between(*(a.minus(b).ci95 or (None, None)))
        covered += found.lower - 1e-9 <= 0.2 <= found.upper + 1e-9
    assert covered / trials >= 0.95


def test_differences_of_means_and_shares_are_those_of_the_values():
    a, b = Row.of_mean("x", paired([0.2, 0.3, 0.4])), Row.of_mean("x", paired([0.1, 0.2]))
    assert a.minus(b).value == pytest.approx(0.15)
    assert a.minus(a).ci95 == pytest.approx([-end for end in reversed(a.minus(a).ci95)])
    few = Row.of_share("x", share(3, 4)).minus(Row.of_share("x", share(1, 4)))
    assert (few.value, few.n) == (0.5, 4)
    assert few.ci95[0] < 0 < few.ci95[1] <= 1


@pytest.mark.parametrize("experiment", every_outcome())
def test_every_row_of_an_answer_is_compared_and_none_differs_from_itself(experiment, tmp_path):
    path = published_in(tmp_path, experiment, every_outcome()[experiment])
    ((found,), unread) = compare(path, path)
    assert not unread
    assert [cells[0] for cells in found.rows] == [row.quantity for row in found.a.rows if row.n]
    for _, _, a, b, difference, _ in found.rows:
        assert a == b
        assert difference in ("–", "> −0.05") or float(re.sub(r" \[.*", "", difference)) == 0


def test_a_collapsed_group_is_not_compared_with_a_trapped_one(tmp_path):
    collapsed = published_in(tmp_path / "a", "T2", [t2(seed, None) for seed in range(8)])
    trapped = published_in(tmp_path / "b", "T2", [t2(seed, None, trapped=True) for seed in range(8)])
    ((found,), _) = compare(collapsed, trapped)
    assert {cells[1] for cells in found.rows} == {"collapsed", "trapped"}
    assert {cells[4] for cells in found.rows} == {"none: a side without seeds"}


def test_two_runs_are_compared_and_what_differed_and_was_not_read_is_listed(tmp_path, capsys):
    a = run_of(tmp_path / "a", "T1", [t1(0), t1(1)])
    other = NUMERICS | {"device_name": "Other CPU", "precision": "fp16"}
    b = run_of(tmp_path / "b", "T1", [t1(0, 0.65)], "batch_size=32", "sweep_lr=0.01", numerics=other)
    assert main(["compare", str(a), str(b)]) == 0
    out = capsys.readouterr().out
    for line in (
        f"A: {a}\nB: {b}\n",
        "parameters: batch_size = 64 | 32",
        "parameters: sweep_lr = 0.1 | 0.01",
        "numerics: Test CPU (cpu, 1 thread), fp32, torch 2.99 | Other CPU (cpu, 1 thread), fp16",
        "seeds: 0, 1 | 0",
        "of 1 seed on both sides, 0 with the same errors bit for bit",
    ):
        assert line in out
    assert not re.search(r"\bnan\b|\binf\b|None", out)
    (damaged, _) = sorted(a.glob("seeds/*.json"))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert main(["compare", str(a), str(a)]) == 3
    assert damaged.name in capsys.readouterr().out


def test_published_files_are_a_side_and_what_they_lack_is_reported(tmp_path):
    a = run_of(tmp_path / "a", "T1", [t1(0)])
    b = published_in(tmp_path / "exp_T_spinodal_20260117", "T1", [published(t1(s, None)) for s in range(9)])
    ((found,), _) = compare(a, b)
    assert next(cells[3] for cells in found.rows if cells[:2] == ("λ↑", "ordered")) == "> 0.70 (9)"
    words = "\n".join(found.differed)
    assert "B records none; taken to be those of params/paper/T1.yaml" in words
    assert 'parameters: network = "small_cnn" | "resnet18"' in words
    assert "data: scikit-learn's 8×8 digits | not on record" in words
    assert compare(a, b / "T1-spinodal_results.json")[0][0].rows == found.rows


def test_both_sweeps_on_both_sides_give_the_width_as_well(tmp_path):
    for side, down in (("a", 0.35), ("b", 0.30)):
        run_of(tmp_path / side, "T1", [t1(s) for s in range(8)])
        run_of(tmp_path / side, "T2", [t2(s, down) for s in range(8)])
    (*_, width), _ = compare(tmp_path / "a", tmp_path / "b")
    (cells,) = [cells[4:] for cells in width.rows if cells[:2] == ("width λ↑ − λ↓", "collapsed")]
    assert cells == ("−0.050 [−0.15, 0.05]", "−0.15 to 0.05")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path / "none", "no such file or directory"),
        (lambda path: path, "no records there"),
        (lambda path: published_in(path / "p", "V3", [v3(0)]), "to compare: .* holds T1 and .* holds V3"),
        (lambda path: run_of(path / "p", "T1", []), "no records there"),
        (
            lambda path: [run_of(path, "T1", [t1(0)], f"batch_size={size}") for size in (64, 8)].pop().parent,
            "mixed parameters: batch_size = 64",
        ),
    ],
)
def test_a_side_that_cannot_be_compared_is_refused_in_one_line(make, reason, tmp_path, capsys):
    a = run_of(tmp_path / "a", "T1", [t1(0)])
    (tmp_path / "b").mkdir()
    assert main(["compare", str(a), str(make(tmp_path / "b"))]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("dglib: error: ")
    assert re.search(reason, line)
