"""What is claimed of `python -m dglib analyse`: exact numbers under fixed names, and clear lines."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from analysis_cases import every_outcome, failed_init, published, t1, t2, v3_diverged, v3_failed
from report_cases import published_in, run_of

from dglib.analysis.intervals import Bounds
from dglib.analysis.summary import quantity
from dglib.cli import main
from dglib.report.analyse import analyse

QUANTITIES = ("lambda_up", "lambda_down", "width", "gap")
KEYS = {"estimate", "lower", "upper", "ci95", "censored"}


def refused(capsys, *arguments) -> str:
    assert main(["analyse", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("dglib: error: ")
    return err


def test_ten_published_seeds_without_an_event_bound_both_thresholds_and_the_width_without_torch(tmp_path):
    published_in(tmp_path, "T1", [published(t1(seed, None)) for seed in range(10)])
    published_in(tmp_path, "T2", [published(t2(seed, None, trapped=True)) for seed in range(10)])
    code = "import sys; from dglib.cli import main; main(['analyse', *sys.argv[1:]]);"
    code += "print({'torch', 'pandas'} & set(sys.modules))"
    command = [sys.executable, "-c", code, str(tmp_path), "--json", str(tmp_path / "found.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
    found = json.loads((tmp_path / "found.json").read_text())
    nothing = dict.fromkeys(KEYS)
    up = nothing | {"lower": 0.70, "ci95": [0.70, None], "censored": "right"}
    down = nothing | {"upper": 0.25, "ci95": [None, 0.25], "censored": "left"}
    width = nothing | {"lower": 0.45, "ci95": [0.45, None], "censored": "right"}
    assert [found["T1"][name] for name in QUANTITIES] == [up, None, width, None]
    assert [found["T2"][name] for name in QUANTITIES] == [None, down, width, None]
    assert (found["hysteresis"]["width"], found["problems"]) == (width, [])
    high = 1 - 0.025**0.1  # of 0 of 10 by Clopper and Pearson, in closed form
    for name in ("T1", "T2"):
        assert found[name]["event_share"]["ci95"] == pytest.approx([0.0, high], abs=1e-9)


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
        true = generator.uniform(0.0, 0.7, int(generator.integers(1, 8)))
        cells = [
            Bounds(last, math.inf)
            if value > last
            else Bounds(*(grid[np.searchsorted(grid, value) - k] for k in (1, 0)))
            for value, last in zip(true, generator.choice([0.2, 0.3], len(true)), strict=True)
        ]
        found = quantity(cells)
        if found["estimate"] is not None:
            estimated += 1
            assert found["lower"] <= np.median(true) <= found["upper"]
            assert found["estimate"] == pytest.approx((found["lower"] + found["upper"]) / 2)
    assert estimated > 50


def test_the_json_is_strict_has_every_name_and_is_what_was_computed(tmp_path):
    for experiment, records in every_outcome().items():
        published_in(tmp_path / "run", experiment, records)
    target = tmp_path / "analysis.json"
    assert main(["analyse", str(tmp_path / "run"), "--json", str(target)]) == 0
    found = json.loads(target.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found == analyse(tmp_path / "run")
    assert set(found) == {"schema", "T1", "T2", "V3", "Td1", "hysteresis", "problems"}
    for name in every_outcome():
        assert {"n", "events", "failed_inits", "diverged", "outcomes", *QUANTITIES} <= set(found[name])
        assert sum(found[name]["outcomes"].values()) == found[name]["n"] == len(found[name]["seeds"])
        assert all(set(found[name][quantity] or KEYS) == KEYS for quantity in QUANTITIES)
    assert (found["T1"]["failed_inits"], found["T1"]["diverged"]) == (1, 1)
    assert found["T1"]["event_share"]["of"] == 2


def test_seeds_that_all_failed_are_reported_and_measure_nothing(tmp_path, capsys):
    published_in(tmp_path, "T1", [failed_init(t1(seed)) for seed in range(3)])
    published_in(tmp_path, "V3", [v3_failed(0), v3_diverged(1)])
    assert main(["analyse", str(tmp_path)]) == 0
    assert "all seeds failed (3 of 3 the init): nothing was measured" in capsys.readouterr().out
    found = analyse(tmp_path)
    assert [found["T1"][name] for name in (*QUANTITIES, "event_share")] == [None] * 5
    assert found["V3"]["gap"] is None
    assert found["V3"]["notes"] == ["no seed was measured: 1 failed the init, 1 diverged"]


def test_a_record_with_fields_of_other_kinds_is_named_and_left_out(tmp_path):
    published_in(tmp_path, "T1", [t1(0), t1(1) | {"parameters": {"sweep_lambdas": ["low"]}}])
    found = analyse(tmp_path)
    assert found["T1"]["n"] == 1
    assert "seed 1 not read: its fields are not those of a record" in found["problems"][0]


@pytest.mark.parametrize("target", ["missing/a.json", "T1-spinodal_results.json", "seeds/x.json"])
def test_a_target_that_cannot_be_written_is_refused_and_nothing_is_left(tmp_path, capsys, target):
    published_in(tmp_path, "T1", [t1(0)])
    (tmp_path / "seeds").mkdir()
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    assert target.partition("/")[0] in refused(capsys, tmp_path, "--json", tmp_path / target)
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_runs_of_one_setting_are_pooled_and_others_are_refused_with_what_differs_and_where(tmp_path, capsys):
    slow = [record | {"parameters": {**record["parameters"], "lr": 0.2}} for record in (t1(2), t1(3))]
    for name, records in (("a", [t1(0), t1(1)]), ("b", [t1(2)])):
        published_in(tmp_path / "pooled" / name, "T1", records)
        published_in(tmp_path / "apart" / name, "T1", records if name == "a" else slow)
        run_of(tmp_path / "data" / name, "T1", records, data=2 * name * 32)
    published_in(tmp_path / "mixed", "T1", [t1(0), *slow])
    assert [seed["seed"] for seed in analyse(tmp_path / "pooled")["T1"]["seeds"]] == [0, 1, 2]
    published_in(tmp_path / "pooled" / "c", "T1", [t1(2)])
    for name, reason in (
        ("apart", "T1 was run under mixed parameters: lr = 0.1 (a) | 0.2 (b);"),
        ("mixed", "lr = 0.1 (mixed seed 0) | 0.2 (mixed seed 2);"),
        ("data", 'data fingerprint = "aaaaaaaaaaaa" (a/exp_'),
        ("pooled", "T1 seed 2 is in b and c: give one of the directories alone"),
    ):
        assert reason in refused(capsys, tmp_path / name)
    assert [analyse(tmp_path / name)["T1"]["n"] for name in ("apart/a", "apart/b", "data/b")] == [2, 2, 1]


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
