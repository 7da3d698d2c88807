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
    steps = [("up", x, x) for x in (0.2, 0.3, 0.4, 0.5)] + [("down", x, x + gap) for x in (0.4, 0.3, 0.2)]
    loop = [
        {"direction": direction, "lambda": level, "test_error": error, "global_epoch": hold * (i + 1)}
        for i, (direction, level, error) in enumerate(steps)
    ]
    return {
        "experiment_id": f"R1a-{seed:03d}", "notebook_id": "R1a", "noise_rate": eta, "hold_epochs": hold,
        "seed": seed, "loop_data": loop, "up_branch": [], "down_branch": [],
    }  # fmt: skip


def r3(seed: int, at: float | None, up: bool = True, eta: float = 0.4, hold: int = 1, **more) -> Record:
    """A sweep whose first level beyond the limit is `at`: it ends two levels later, or runs to its end."""
    levels, beyond, near = (UP, 0.55, 0.1) if up else (DOWN, 0.1, 0.6)
    passed = len(levels) if at is None else levels.index(at)
    history = [
        {"lambda": level, "test_error": near if i < passed else beyond, "global_epoch": 30 + hold * (i + 1)}
        for i, level in enumerate(levels[: passed + 3])
    ]
    return {
        "experiment_id": f"R3{'a' if up else 'b'}-{seed:03d}", "direction": "up" if up else "down",
        "noise_rate": eta, "hold_epochs": hold, "seed": seed, "spinodal_lambda": history[-1]["lambda"],
        "init_error": near, "history": history, **more,
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
        "experiment_id": f"T1a-{seed:03d}", "target_lambda": target, "eta": 0.4,
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

    def side(level: float, error: float) -> Record:
        path = [{"epoch": e, "error": error + 0.004 * (e % 10)} for e in range(0, 31, 5)]
        return {"target_lambda": level, "final_error": path[-1]["error"], "trajectory": path}

    jumps = [
        {"target_lambda": x, "ordered": side(x, 0.1), "collapse": side(x, 0.5)} for x in (0.4, 0.5, 0.55)
    ]
    return {
        "seed": seed, "interventions": jumps, "ordered_init_error": 0.1, "collapse_init_error": 0.5,
        "experiment_id": f"W2-seed{seed:02d}",
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
    median = [found["lambda_up"][name] for name in ("lower", "upper", "censored")]
    assert median == [0.70, None, "right"]
    assert [(s["lower"], s["upper"]) for s in found["seeds"]][:3] == [(0.48, 0.5), (0.52, 0.54), (0.7, None)]


def test_a_limit_must_be_exceeded_and_an_init_beyond_it_leaves_the_threshold_open_on_that_side(tmp_path):
    records = [r3(0, 0.40, init_error=0.5), r3(1, 0.40), r3(2, 0.50), r3(3, 0.50)]
    for record, error in zip(records[2:], (0.40, 0.4001), strict=True):
        for level in record["history"]:
            level["test_error"] = min(level["test_error"], error)
    write(tmp_path / "x.json", records)
    found = analyse(tmp_path)["groups"]["R3 eta=0.4 hold=1"]["T1"]
    cells = [(seed["lower"], seed["upper"]) for seed in found["seeds"]]
    assert cells == [(None, 0.4), (0.35, 0.4), (0.54, None), (0.48, 0.50)]
    assert found["flags"][0] == "1 of 4 records: the init error is beyond the limit of a collapse already"


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
    ordered = level["starts"]["ordered"]
    assert [step["epochs"] for step in ordered["survival"]] == [14, 44]
    assert [step["share"] for step in ordered["survival"]] == pytest.approx([2 / 3, 1 / 3])
    assert (level["held"], level["verdict"]) == (150, "undecided: one start alone")
    assert (ordered["states"]["collapsed"]["count"], ordered["states"]["ordered"]["count"]) == (2, 1)
    assert found["notes"] == []
    assert found["flags"] == ["1 of 4 records: the init failed, so the recorded lifetime is none"]


def test_loops_branches_and_jumps_have_their_gaps_by_network_and_noise(tmp_path):
    asymmetric = resnet34(0, 0.2) | {"noise_type": "asymmetric", "noise_rate": 0.4}
    del asymmetric["architecture"]
    write(tmp_path / "R1a_results.json", [r1(seed) for seed in range(3)] + [r1(0, 0.0, eta=0.8, hold=5)])
    write(tmp_path / "V3_v3_results.json", [resnet34(0), resnet34(1)])
    write(tmp_path / "V1_results.json", [asymmetric])
    write(tmp_path / "W2_results.json", [w2(seed) for seed in range(8)])
    groups = analyse(tmp_path)["groups"]
    for group, part, name, gap in (
        ("R1/R2 eta=0.4 hold=1", "loop", "memory", 0.1),
        ("R1/R2 eta=0.8 hold=5", "loop", "memory", 0.0),
        ("V3 arch=ResNet34", "V3", "gap", 0.3),
        ("V1 noise=asymmetric", "V3", "gap", 0.2),
        ("W2", "Hold", "gap", 0.4),
    ):
        assert groups[group][part][name]["estimate"] == pytest.approx(gap)
    levels = groups["W2"]["Hold"]["levels"]
    assert [level["lambda"] for level in levels] == [0.4, 0.5, 0.55]
    assert all(level["verdict"] == "bistable for at least 30 epochs" for level in levels)


def test_what_is_not_understood_is_counted_first_and_the_status_is_three(tmp_path, capsys):
    damaged = ({"direction": "sideways"}, {"history": []}, {"history": [{"lambda": "x"}]})
    unread = [{"seed": 1}, {"seed": 2, "final_error": 0.1}, 7, *(r3(1, 0.5) | each for each in damaged)]
    path = write(tmp_path / "mixed.json", [r3(0, 0.5), *unread])
    write(tmp_path / "S1a_results.json", [{"seed": 0, "lambda": 0.5, "final_error": 0.1}])
    (tmp_path / "notes.json").write_text("[1, 2]")
    assert main(["analyse", str(tmp_path)]) == 3
    first, *_ = capsys.readouterr().out.splitlines()
    assert first == f"{tmp_path}: 7 records or files were not read, listed below"
    found = analyse(tmp_path)
    named = {line.partition(" not read: ")[0] for line in found["problems"]}
    assert {f"{path}: record {index}" for index in range(1, 7)} <= named
    assert [group["T1"]["n"] for group in found["groups"].values()] == [1]


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
    with pytest.raises(UserError, match=r"T1 of R3 eta=0\.4 hold=1 seed 0 is in alone and several"):
        analyse(tmp_path)


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
