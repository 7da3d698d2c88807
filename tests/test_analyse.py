"""What is claimed of `python -m dglib analyse`: exact numbers under fixed names, and clear lines."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from analysis_cases import (
    Record,
    diverged,
    failed_init,
    t1,
    t2,
    td1,
    td1_diverged,
    v3,
    v3_diverged,
    v3_failed,
)
from report_cases import published_in, run_of

from dglib.analysis.intervals import Bounds
from dglib.analysis.summary import quantity
from dglib.cli import main
from dglib.errors import UserError
from dglib.report.analyse import analyse

QUICK = Path(__file__).parents[1] / "notebooks" / "assets" / "quick"
QUANTITIES = ("lambda_up", "lambda_down", "width", "gap")
KEYS = {"estimate", "lower", "upper", "ci95", "censored"}
PUBLISHED_UP = [round(0.54 + 0.02 * i, 2) for i in range(9)]
PUBLISHED_DOWN = [round(0.54 - 0.02 * i, 2) for i in range(9)]


def flat(experiment: str, seed: int, levels: list[float], error: float) -> Record:
    """A seed as it was published: 50 epochs of init, then ten at each level, without an event."""
    rising = experiment == "T1"
    field, flag = ("lambda_up", "collapsed") if rising else ("lambda_down", "recovered")
    start = 0.35 if rising else 0.70
    init = [{"phase": "init", "lambda": start, "epoch": e, "error": error} for e in range(10, 51, 10)]
    sweep = [
        {"phase": "sweep", "lambda": level, "epoch": 51 + 10 * i + k, "error": error}
        for i, level in enumerate(levels)
        for k in range(10)
    ]
    return {
        "seed": seed, "init_error": error, "init_success": True, field: None, flag: False,
        "final_lambda": levels[-1], "final_error": error, "trajectory": init + sweep,
        "experiment_id": f"{experiment}-spinodal-{seed:03d}", "eta": 0.4, "time": 861.0,
    }  # fmt: skip


def leaving(record: Record) -> Record:
    """At 0.90 for the last ten epochs of the init and ten of the sweep, then at 0.44."""
    changed = [
        entry | {"error": 0.9 if 40 <= entry["epoch"] <= 60 else 0.44 + 0.001 * (entry["epoch"] % 3)}
        for entry in record["trajectory"]
    ]
    return record | {"trajectory": changed, "final_error": 0.44}


@pytest.fixture
def ten(tmp_path):
    """Ten seeds of T1 and of T2 without an event; T2's first leaves the trap, six more stay in it."""
    directory = tmp_path / "exp_T_spinodal_20260101_000000"
    downs = [flat("T2", seed, PUBLISHED_DOWN, 0.9 if seed < 7 else 0.40) for seed in range(10)]
    downs[0] = leaving(downs[0])
    published_in(directory, "T1", [flat("T1", seed, PUBLISHED_UP, 0.1) for seed in range(10)])
    published_in(directory, "T2", downs)
    return directory


def strict(path: Path) -> dict:
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def refused(capsys, *arguments) -> str:
    assert main(["analyse", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("dglib: error: ")
    assert err.count("\n") == 1
    return err


# --- ten seeds, none of which moved


def test_ten_seeds_without_an_event_bound_both_thresholds_and_the_width(ten):
    found = analyse(ten)
    nothing = {"estimate": None, "lower": None, "upper": None, "ci95": None, "censored": None}
    up = nothing | {"lower": 0.70, "ci95": [0.70, None], "censored": "right"}
    down = nothing | {"upper": 0.38, "ci95": [None, 0.38], "censored": "left"}
    width = nothing | {"lower": 0.32, "ci95": [0.32, None], "censored": "right"}
    assert [found["T1"][name] for name in QUANTITIES] == [up, None, width, None]
    assert [found["T2"][name] for name in QUANTITIES] == [None, down, width, None]
    assert found["hysteresis"]["width"] == width
    assert found["problems"] == []
    high = 1 - 0.025**0.1  # of 0 of 10 by Clopper and Pearson, in closed form
    for name in ("T1", "T2"):
        assert found[name]["event_share"]["ci95"] == pytest.approx([0.0, high], abs=1e-9)


# --- quantities


def test_an_event_gives_the_first_level_that_fires_within_the_cell_before_it(tmp_path):
    ups = [0.55, 0.60, 0.60, 0.60, 0.65, 0.65, None]
    published_in(tmp_path, "T1", [t1(seed, up) for seed, up in enumerate(ups)])
    found = analyse(tmp_path)["T1"]
    assert (found["n"], found["events"], found["outcomes"]["no_event"]) == (7, 6, 1)
    # of seven, the smallest lower and the largest upper end enclose the median at 98 %
    expected = {"estimate": 0.575, "lower": 0.55, "upper": 0.60, "ci95": [0.50, None], "censored": "interval"}
    assert found["lambda_up"] == expected


def test_an_estimate_is_the_middle_of_a_cell_that_holds_the_median_whatever_the_censored_seeds_do():
    generator = np.random.default_rng(3)
    grid = [0.0, 0.1, 0.2, 0.3]
    estimated = 0
    for _ in range(300):
        n = int(generator.integers(1, 8))
        true = generator.uniform(0.0, 0.7, n)
        lasts = generator.choice([0.2, 0.3], n)
        cells = [
            Bounds(last, math.inf)
            if value > last
            else Bounds(*(grid[np.searchsorted(grid, value) - k] for k in (1, 0)))
            for value, last in zip(true, lasts, strict=True)
        ]
        found = quantity(cells)
        if found["estimate"] is not None:
            estimated += 1
            assert found["lower"] <= np.median(true) <= found["upper"]
            assert found["estimate"] == pytest.approx((found["lower"] + found["upper"]) / 2)
    assert estimated > 50


# --- the file


def test_the_json_is_strict_has_every_name_and_is_what_was_computed(tmp_path):
    run = tmp_path / "run"
    published_in(run, "T1", [t1(0), t1(1, None), failed_init(t1(2)), diverged(t1(3))])
    published_in(run, "T2", [t2(0), t2(1, None, trapped=True), diverged(t2(2))])
    published_in(run, "V3", [v3(0), v3_failed(1), v3_diverged(2)])
    published_in(run, "Td1", [td1(0), td1(1, 0.5), td1_diverged(2)])
    target = tmp_path / "analysis.json"
    assert main(["analyse", str(run), "--json", str(target)]) == 0
    found = strict(target)
    assert found == analyse(run)
    assert set(found) == {"schema", "T1", "T2", "V3", "Td1", "hysteresis", "problems"}
    for name in ("T1", "T2", "V3", "Td1"):
        assert {"n", "events", "failed_inits", "diverged", "outcomes", *QUANTITIES} <= set(found[name])
        assert sum(found[name]["outcomes"].values()) == found[name]["n"] == len(found[name]["seeds"])
        for quantity_name in QUANTITIES:
            each = found[name][quantity_name]
            assert each is None or set(each) == KEYS
    assert (found["T1"]["failed_inits"], found["T1"]["diverged"]) == (1, 1)
    assert found["T1"]["event_share"]["of"] == 2


def test_the_command_needs_neither_torch_nor_pandas(ten):
    code = "import sys; from dglib.cli import main; main(['analyse', sys.argv[1]]);"
    code += "print({'torch', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, str(ten)], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")


# --- what is missing, and what does not belong together


def test_seeds_that_all_failed_are_said_to_have(tmp_path, capsys):
    published_in(tmp_path, "T1", [failed_init(t1(seed)) for seed in range(3)])
    assert main(["analyse", str(tmp_path)]) == 0
    assert "all seeds failed (3 of 3 the init): nothing was measured" in capsys.readouterr().out
    found = analyse(tmp_path)["T1"]
    assert [found[name] for name in (*QUANTITIES, "event_share")] == [None] * 5
    published_in(tmp_path / "other", "V3", [v3_failed(0), v3_diverged(1)])
    found = analyse(tmp_path / "other")["V3"]
    assert found["gap"] is None
    assert found["notes"] == ["no seed was measured: 1 failed the init, 1 diverged"]


def test_nothing_there_is_told_in_a_line(tmp_path, capsys):
    assert "no such file or directory" in refused(capsys, tmp_path / "absent")
    assert "no records there" in refused(capsys, tmp_path)
    (tmp_path / "T1-spinodal_results.json").write_text('[{"seed": 0, "traj')
    assert "T1-spinodal_results.json: not read: no JSON" in refused(capsys, tmp_path)


def test_a_record_with_fields_of_other_kinds_is_named_and_left_out(tmp_path):
    published_in(tmp_path, "T1", [t1(0), t1(1) | {"parameters": {"sweep_lambdas": ["low"]}}])
    found = analyse(tmp_path)
    assert found["T1"]["n"] == 1
    assert "seed 1 not read: its fields are not those of a record" in found["problems"][0]


@pytest.mark.parametrize("target", ["missing/a.json", "T1-spinodal_results.json", "seeds/x.json"])
def test_a_target_that_cannot_be_written_is_told_and_nothing_is_left(tmp_path, capsys, target):
    published_in(tmp_path, "T1", [t1(0)])
    (tmp_path / "seeds").mkdir()
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    assert target.partition("/")[0] in refused(capsys, tmp_path, "--json", tmp_path / target)
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_runs_of_differing_parameters_are_refused_with_what_differs_and_where(tmp_path, capsys):
    slow = [record | {"parameters": {**record["parameters"], "lr": 0.2}} for record in (t1(2), t1(3))]
    published_in(tmp_path / "one", "T1", [t1(0), t1(1)])
    published_in(tmp_path / "two", "T1", slow)
    assert "T1 was run under mixed parameters: lr = 0.1 (one) | 0.2 (two);" in refused(capsys, tmp_path)
    assert main(["compare", str(tmp_path), str(tmp_path / "one")]) == 2
    for name in ("one", "two"):
        assert main(["analyse", str(tmp_path / name)]) == 0
    capsys.readouterr()
    published_in(tmp_path / "both", "T1", [t1(0), *slow])
    assert "lr = 0.1 (both seed 0) | 0.2 (both seed 2);" in refused(capsys, tmp_path / "both")


def test_runs_of_one_setting_with_seeds_of_their_own_are_pooled_and_a_seed_twice_is_refused(tmp_path):
    published_in(tmp_path / "one", "T1", [t1(0), t1(1)])
    published_in(tmp_path / "two", "T1", [t1(2)])
    assert [seed["seed"] for seed in analyse(tmp_path)["T1"]["seeds"]] == [0, 1, 2]
    published_in(tmp_path / "three", "T1", [t1(2)])
    with pytest.raises(UserError, match="T1 seed 2 is in three and two: give one of the directories alone"):
        analyse(tmp_path)


def test_runs_on_other_data_are_not_pooled(tmp_path):
    run_of(tmp_path / "a", "T1", [t1(0)], data="d1" * 32)
    run_of(tmp_path / "b", "T1", [t1(1)], data="d2" * 32)
    with pytest.raises(UserError, match=r"data fingerprint = \"d1d1d1d1d1d1\" \(a/exp_\S+\) \|"):
        analyse(tmp_path)
    assert analyse(tmp_path / "a")["T1"]["n"] == 1


def test_widths_that_may_lie_on_either_side_of_zero_count_as_undecided(tmp_path):
    published_in(tmp_path, "T1", [t1(0, 0.60), t1(1, 0.40)])
    published_in(tmp_path, "T2", [t2(0, 0.35), t2(1, 0.35)])
    found = analyse(tmp_path)["hysteresis"]
    assert (found["seeds"][1]["lower"], found["seeds"][1]["upper"]) == (-0.05, 0.05)
    least = 1 - 0.975**0.5  # of 1 of 2, in closed form
    assert found["above_zero"]["estimate"] is None
    assert found["above_zero"]["ci95"] == pytest.approx([least, 1.0], abs=1e-9)


def test_a_width_is_that_of_the_sweeps_in_one_run_directory(tmp_path):
    for name, seeds in (("one", (0, 1)), ("two", (2, 3))):
        published_in(tmp_path / name, "T1", [t1(seed) for seed in seeds])
        published_in(tmp_path / name, "T2", [t2(seed) for seed in seeds])
    published_in(tmp_path / "three", "T1", [t1(4)])
    found = analyse(tmp_path)
    assert (found["T1"]["n"], found["hysteresis"]["n"]) == (5, 4)
    (tmp_path / "apart").mkdir()
    published_in(tmp_path / "apart" / "one", "T1", [t1(0)])
    published_in(tmp_path / "apart" / "two", "T2", [t2(0)])
    assert analyse(tmp_path / "apart")["T1"]["width"] is None
