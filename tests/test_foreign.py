"""Records of other programs of the family: recognised by their fields, read as what they are."""

import json
from pathlib import Path

import pytest
from analysis_cases import Record, published, t1
from report_cases import published_in

from dglib.cli import main
from dglib.errors import UserError
from dglib.experiments.tables import load_records
from dglib.explorer.runs import load
from dglib.report.analyse import analyse
from dglib.report.compare import compare
from dglib.report.page import collect, write_report
from dglib.runs.directories import is_run
from dglib.runs.verify import verify

UP = [round(0.40 + 0.02 * i, 2) for i in range(16)]
DOWN = [round(0.60 - 0.02 * i, 2) for i in range(21)]


def r1(seed: int, gap: float = 0.1, eta: float = 0.4, hold: int = 1) -> Record:
    """One loop whose falling errors lie `gap` above the rising ones."""
    up, down = [0.2, 0.3, 0.4, 0.5], [0.4, 0.3, 0.2]
    steps = [("up", level, level) for level in up] + [("down", level, level + gap) for level in down]
    loop = [
        {
            "step_idx": i, "direction": direction, "lambda": level, "test_error": error,
            "test_acc": 1 - error, "avg_cos": 0.0, "global_epoch": hold * (i + 1),
        }
        for i, (direction, level, error) in enumerate(steps)
    ]  # fmt: skip
    return {
        "experiment_id": f"R1a-{seed:03d}", "experiment": "hysteresis loop", "notebook_id": "R1a",
        "noise_rate": eta, "sweep_type": "fast", "hold_epochs": hold, "seed": seed, "time_seconds": 1.0,
        "loop_data": loop, "up_branch": [], "down_branch": [],
    }  # fmt: skip


def r3(seed: int, at: float | None, up: bool = True, eta: float = 0.4, hold: int = 1, **more) -> Record:
    """A sweep whose first level beyond the limit is `at`: it ends two levels later, or runs to its end."""
    levels, beyond, near = (UP, 0.55, 0.1) if up else (DOWN, 0.1, 0.6)
    end = len(levels) if at is None else levels.index(at) + 3
    passed = len(levels) if at is None else levels.index(at)
    history = [
        {"lambda": level, "test_error": near if i < passed else beyond, "global_epoch": 30 + hold * (i + 1)}
        for i, level in enumerate(levels[:end])
    ]
    return {
        "experiment_id": f"R3{'a' if up else 'b'}-{seed:03d}", "experiment": "spinodal",
        "notebook_id": f"R3{'a' if up else 'b'}", "direction": "up" if up else "down", "noise_rate": eta,
        "hold_type": "short", "hold_epochs": hold, "seed": seed, "spinodal_lambda": levels[end - 1],
        "init_error": near, "time_seconds": 1.0, "history": history, **more,
    }  # fmt: skip


def t1a(seed: int, lifetime: int | None, longest: int = 150, target: float = 0.46) -> Record:
    """An ordered network that collapses in epoch `lifetime` after the jump, and is watched to the fifth."""
    last = longest if lifetime is None else lifetime + 4
    error = {e: (0.1 if lifetime is None or e < lifetime else 0.45) + 0.02 * (e % 2) for e in range(last + 1)}
    return {
        "seed": seed, "init_error": 0.1, "init_success": True, "lifetime": lifetime or longest,
        "censored": lifetime is None, "final_error": error[last],
        "init_trajectory": [{"epoch": e, "error": 0.1} for e in range(10, 51, 10)],
        "observe_trajectory": [{"epoch": e, "error": error[e]} for e in error],
        "experiment_id": f"T1a-{seed:03d}", "target_lambda": target, "eta": 0.4, "time": 1.0,
    }  # fmt: skip


def resnet34(seed: int, gap: float = 0.3) -> Record:
    levels = [0.4, 0.5, 0.6]
    return {
        "seed": seed, "architecture": "ResNet34", "ordered_init_error": 0.1, "collapse_init_error": 0.5,
        "ordered_trajectory": [{"lambda": x, "error": 0.1 + x / 10} for x in levels],
        "collapse_trajectory": [{"lambda": x, "error": 0.1 + x / 10 + gap} for x in reversed(levels)],
        "time_seconds": 1.0, "experiment_id": f"V3_v3-seed{seed:02d}",
    }  # fmt: skip


def w2(seed: int) -> Record:
    """Ordered networks stay ordered, and collapsed ones collapsed, moving a little."""

    def side(source: str, level: float, error: float) -> Record:
        path = [{"epoch": e, "error": error + 0.004 * (e % 10)} for e in range(0, 31, 5)]
        return {
            "source": source, "target_lambda": level, "init_error": error,
            "final_error": path[-1]["error"], "trajectory": path,
        }  # fmt: skip

    jumps = [
        {"target_lambda": x, "ordered": side("o", x, 0.1), "collapse": side("c", x, 0.5), "final_gap": 0.4}
        for x in (0.4, 0.5, 0.55)
    ]
    return {
        "seed": seed, "interventions": jumps, "ordered_init_error": 0.1, "collapse_init_error": 0.5,
        "time_seconds": 1.0, "experiment_id": f"W2-seed{seed:02d}",
    }  # fmt: skip


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def test_a_threshold_that_is_the_end_of_the_sweep_is_censored_and_flagged(tmp_path, capsys):
    write(tmp_path / "R3a_results.json", [r3(0, 0.50), r3(1, 0.54), r3(2, None), r3(3, None), r3(4, None)])
    assert main(["analyse", str(tmp_path)]) == 0
    assert "3 of 5 records: the recorded λ↑ is the sweep's end" in capsys.readouterr().out
    found = analyse(tmp_path)["groups"]["R3 eta=0.4 hold=1"]["T1"]
    assert (found["events"], found["outcomes"]["no_event"]) == (2, 3)
    assert found["lambda_up"]["lower"] == 0.70
    assert (found["lambda_up"]["upper"], found["lambda_up"]["censored"]) == (None, "right")
    assert [(s["lower"], s["upper"]) for s in found["seeds"]][:3] == [(0.48, 0.5), (0.52, 0.54), (0.7, None)]


def test_an_init_beyond_the_limit_leaves_the_threshold_open_on_that_side(tmp_path):
    write(tmp_path / "x.json", [r3(0, 0.40, init_error=0.5), r3(1, 0.40)])
    found = analyse(tmp_path)["groups"]["R3 eta=0.4 hold=1"]["T1"]
    assert [(seed["lower"], seed["upper"]) for seed in found["seeds"]] == [(None, 0.4), (0.35, 0.4)]
    assert found["flags"] == ["1 of 2 records: the init error is beyond the limit of a collapse already"]


def test_noise_dwell_time_and_direction_are_kept_apart_and_directions_make_a_width(tmp_path):
    ups = [r3(seed, 0.5, eta=eta, hold=hold) for eta in (0.4, 0.8) for hold in (1, 3) for seed in range(2)]
    downs = [r3(seed, 0.4, up=False, hold=3) for seed in range(2)]
    write(tmp_path / "exp_R3_spinodal_1" / "R3a_results.json", ups)
    write(tmp_path / "exp_R3_spinodal_1" / "R3b_results.json", downs)
    found = analyse(tmp_path)
    assert set(found) == {"schema", "groups", "problems"}
    groups = found["groups"]
    assert list(groups) == [f"R3 eta={eta} hold={hold}" for eta in (0.4, 0.8) for hold in (1, 3)]
    assert [group["T1"]["n"] for group in groups.values()] == [2] * 4
    both = groups["R3 eta=0.4 hold=3"]
    assert set(both) == {"T1", "T2", "hysteresis"}
    assert (both["T2"]["lambda_down"]["lower"], both["T2"]["lambda_down"]["upper"]) == (0.40, 0.42)
    assert (both["T1"]["width"]["lower"], both["T1"]["width"]["upper"]) == (0.06, 0.1)
    assert both["T1"]["dwell"] == {"epochs_per_level": [3], "lr": [[0.1]], "constant_lr": True}


@pytest.mark.parametrize("error", [0.40, 0.4001])
def test_a_limit_that_must_be_exceeded_is_not_met_by_itself(tmp_path, error):
    record = r3(0, 0.5)
    record["history"] = [h | {"test_error": min(h["test_error"], error)} for h in record["history"]]
    write(tmp_path / "x.json", [record])
    found = analyse(tmp_path)["groups"]["R3 eta=0.4 hold=1"]["T1"]
    assert found["events"] == (error > 0.40)


@pytest.mark.parametrize(
    "config",
    [
        {"COLLAPSE_THRESHOLD": 0.6},
        {"criteria": {"collapse_error": 0.6}, "lr": 0.05},
        {"collapse_error": {"collapse_threshold": 0.6, "recovery_threshold": 0.2}},  # a section of that name
    ],
)
def test_limits_are_those_of_the_configuration(tmp_path, config):
    write(tmp_path / "any_name.json", [r3(0, 0.50)])
    write(tmp_path / "R3a_config.json", config)
    for other in ("config.json", "R3_config.json", "R3b_config.json"):
        write(tmp_path / other, {"collapse_threshold": 0.2})
    found = analyse(tmp_path)["groups"]["R3 eta=0.4 hold=1"]["T1"]
    assert found["limits"]["collapse_error"] == pytest.approx(0.6)
    assert found["events"] == 0
    assert found["dwell"]["lr"] == [[config.get("lr", 0.1)]]


def test_a_loop_has_its_error_at_equal_lambda(tmp_path):
    write(tmp_path / "R1a_results.json", [r1(seed) for seed in range(3)] + [r1(0, 0.0, eta=0.8, hold=5)])
    groups = analyse(tmp_path)["groups"]
    assert groups["R1/R2 eta=0.4 hold=1"]["loop"]["memory"]["estimate"] == pytest.approx(0.1)
    assert groups["R1/R2 eta=0.8 hold=5"]["loop"]["memory"]["estimate"] == pytest.approx(0.0)


def test_a_failed_init_is_no_instant_collapse_and_a_survivor_is_censored(tmp_path):
    failed = t1a(5, None) | {
        "init_success": False, "lifetime": 0, "censored": False, "init_error": 0.5, "observe_trajectory": [],
    }  # fmt: skip
    lived = [t1a(0, 10), t1a(1, 40), t1a(2, None), failed]
    write(tmp_path / "T1a_results.json", lived)
    write(tmp_path / "T13_results.json", [t1a(0, None, 300, 0.54)])
    groups = analyse(tmp_path)["groups"]
    assert set(groups) == {"T1a/T13 eta=0.4 lambda=0.46", "T1a/T13 eta=0.4 lambda=0.54"}
    found = groups["T1a/T13 eta=0.4 lambda=0.46"]["Hold"]
    assert (found["n"], found["failed_inits"], found["measured"]) == (4, 1, 3)
    (level,) = found["levels"]
    survival = level["starts"]["ordered"]["survival"]
    assert [(step["epochs"], step["share"]) for step in survival] == [
        (14, pytest.approx(2 / 3)),
        (44, pytest.approx(1 / 3)),
    ]
    assert (level["held"], level["verdict"]) == (150, "undecided: one start alone")
    states = level["starts"]["ordered"]["states"]
    assert {state: item["count"] for state, item in states.items() if item["count"]} == {
        "collapsed": 2,
        "ordered": 1,
    }
    assert found["notes"] == []
    assert found["flags"] == ["1 of 4 records: the init failed, so the recorded lifetime is none"]


def test_another_network_and_other_noise_have_their_branches_gap(tmp_path):
    asymmetric = resnet34(0, 0.2) | {"noise_type": "asymmetric", "noise_rate": 0.4}
    del asymmetric["architecture"]
    write(tmp_path / "a" / "V3_v3_results.json", [resnet34(0), resnet34(1)])
    write(tmp_path / "b" / "V1_results.json", [asymmetric])
    groups = analyse(tmp_path)["groups"]
    assert groups["V3 arch=ResNet34"]["V3"]["gap"]["estimate"] == pytest.approx(0.3)
    assert groups["V1 noise=asymmetric"]["V3"]["gap"]["estimate"] == pytest.approx(0.2)


def test_branches_after_a_jump_are_held_from_both_starts(tmp_path):
    write(tmp_path / "W2_results.json", [w2(seed) for seed in range(8)])
    found = analyse(tmp_path)["groups"]["W2"]["Hold"]
    assert [level["lambda"] for level in found["levels"]] == [0.4, 0.5, 0.55]
    assert all(level["verdict"] == "bistable for at least 30 epochs" for level in found["levels"])
    assert found["gap"]["estimate"] == pytest.approx(0.4)


def test_what_is_not_understood_is_counted_first_and_the_status_is_three(tmp_path, capsys):
    path = write(tmp_path / "mixed.json", [r3(0, 0.5), {"seed": 1}, {"seed": 2, "final_error": 0.1}, 7])
    write(tmp_path / "S1a_results.json", [{"seed": 0, "lambda": 0.5, "final_error": 0.1}])
    (tmp_path / "notes.json").write_text("[1, 2]")
    assert main(["analyse", str(tmp_path)]) == 3
    first, *_ = capsys.readouterr().out.splitlines()
    assert first == f"{tmp_path}: 4 records or files were not read, listed below"
    problems = analyse(tmp_path)["problems"]
    assert [line.partition(" not read: ")[0] for line in problems[1:]] == [
        f"{path}: record {index}" for index in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    "damage",
    [
        {"direction": "sideways"},
        {"history": []},
        {"history": [{"lambda": "x"}]},
    ],
)
def test_a_damaged_record_is_named_and_the_others_are_read(tmp_path, capsys, damage):
    path = write(tmp_path / "R3a_results.json", [r3(0, 0.5), r3(1, 0.5) | damage])
    assert main(["analyse", str(tmp_path)]) == 3
    assert str(path) in capsys.readouterr().out.partition("Problems")[2]
    (group,) = analyse(tmp_path)["groups"].values()
    assert group["T1"]["n"] == 1


def test_every_reader_takes_such_a_directory_and_keeps_its_groups_apart(tmp_path):
    run = tmp_path / "base" / "exp_R3_spinodal_20260101_000000"
    path = write(run / "anything.json", [r3(seed, 0.5, hold=hold) for hold in (1, 3) for seed in range(2)])
    published_in(tmp_path / "base" / "exp_T", "T1", [published(t1(0))])
    assert is_run(run)
    tables = load_records(run)
    assert tables.seeds["group"].to_list() == ["R3 eta=0.4 hold=1"] * 2 + ["R3 eta=0.4 hold=3"] * 2
    assert tables.seeds["upper"].to_list() == [0.5] * 4
    found = collect(tmp_path / "base").runs
    assert [(item.group, len(item.records)) for item in found] == [
        ("R3 eta=0.4 hold=1", 2),
        ("R3 eta=0.4 hold=3", 2),
        ("", 1),
    ]
    page = write_report(tmp_path / "base").read_text()
    assert "exp_R3_spinodal_20260101_000000, R3 eta=0.4 hold=3" in page
    for side in (run, path):
        names = [item.name for item in compare(run, side)[0]]
        assert names == ["T1 (R3 eta=0.4 hold=1)", "T1 (R3 eta=0.4 hold=3)"]
    assert [finding.severity for finding in verify(run)] == ["note"]
    shown = load(run)  # in the explorer
    assert (list(shown.seeds), len(shown.problems)) == ([], 2)


def test_the_only_group_of_one_side_is_compared_with_that_of_the_other(tmp_path):
    ours = published_in(tmp_path / "ours", "T1", [published(t1(0))])
    alone, several = (
        write(tmp_path / name / "R3a_results.json", [r3(0, 0.5, hold=hold) for hold in holds]).parent
        for name, holds in (("alone", [1]), ("several", [1, 3]))
    )
    assert [item.name for item in compare(ours, alone)[0]] == ["T1 (R3 eta=0.4 hold=1)"]
    with pytest.raises(UserError, match=r"holds T1 and .* holds T1 of R3 eta=0\.4 hold=1 and T1 of R3"):
        compare(ours, several)


def test_directories_that_are_left_aside_are_named(tmp_path, capsys):
    published_in(tmp_path / "run", "T1", [published(t1(0))])
    published_in(tmp_path / "more" / "nested", "T1", [published(t1(1))])
    write(tmp_path / "jobs" / "1.json", {"seed": 0})
    write(tmp_path / "others" / "S1a_results.json", [{"seed": 0, "lambda": 0.5, "final_error": 0.1}])
    assert main(["compare", str(tmp_path), str(tmp_path / "run")]) == 3
    printed = capsys.readouterr().out
    page = write_report(tmp_path).read_text()
    for name in ("more", "others"):
        assert f"{tmp_path / name}: not read" in page
    assert "jobs: not read" not in printed + page


def test_one_seed_twice_in_a_group_is_refused(tmp_path):
    for name in ("one", "two"):
        write(tmp_path / name / "R3a_results.json", [r3(0, 0.5)])
    with pytest.raises(UserError, match=r"T1 of R3 eta=0\.4 hold=1 seed 0 is in one and two"):
        analyse(tmp_path)
