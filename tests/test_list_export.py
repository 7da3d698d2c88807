"""Runs at a glance, and records for other tools."""

import json

import pandas as pd
import pytest
from analysis_cases import t1, v3

import dglib
from dglib.cli import main
from dglib.export import WHERE, long_table


@pytest.fixture
def base(tmp_path):
    for name, experiment, records in (
        ("exp_T_spinodal_1", "T1-spinodal", [t1(0), t1(1)]),
        ("exp_V3_1", "V3", [v3(0)]),
    ):
        directory = tmp_path / "runs" / name
        directory.mkdir(parents=True)
        (directory / f"{experiment}_results.json").write_text(json.dumps(records))
    return tmp_path / "runs"


def test_every_run_has_a_row_with_its_seeds_and_outcomes(base, capsys):
    table = dglib.list_runs(base)
    assert list(table["run"]) == ["exp_T_spinodal_1", "exp_V3_1"]
    assert list(table["experiment"]) == ["T1", "V3"]
    assert list(table["done"]) == [2, 1]
    assert main(["list", "--base-dir", str(base)]) == 0
    assert "exp_V3_1" in capsys.readouterr().out


def test_conditions_select_runs_by_parameters_and_their_aliases(base):
    path = base / "exp_V3_1" / "V3_results.json"
    (record,) = json.loads(path.read_text())
    record["parameters"] = {"noise_rate": 0.8, "network": "vgg11_bn"}
    path.write_text(json.dumps([record]))
    assert list(dglib.list_runs(base, ["η=0.8"])["run"]) == ["exp_V3_1"]
    assert len(dglib.list_runs(base, ["noise_rate=0.8", "network=small_cnn"])) == 0


@pytest.mark.parametrize("where", ["noise_rate", "=3", "nois_rate=1", "lr=[1"])
def test_a_condition_that_cannot_hold_is_refused_in_one_line(base, where, capsys):
    assert main(["list", "--base-dir", str(base), "--where", where]) == 2
    error = capsys.readouterr().err
    assert f"--where {where.partition('=')[0]}" in error
    assert error.count("\n") == 1


def test_the_long_table_holds_every_evaluation_and_epoch_of_the_records(base, tmp_path, capsys):
    record = t1(0)
    record["epoch_log"] = [{"arm": "main", "phase": "init", "lambda": 0.35, "epoch": 1, "loss_s": 1.5}]
    (base / "exp_T_spinodal_1" / "T1-spinodal_results.json").write_text(json.dumps([record]))
    assert main(["export", str(base), str(tmp_path / "runs.csv")]) == 0
    read = pd.read_csv(tmp_path / "runs.csv")
    assert list(read.columns) == [*WHERE, "metric", "value"]
    mine = read[(read["experiment"] == "T1") & (read["metric"] == "error")]
    assert list(mine["value"]) == [entry["error"] for entry in record["trajectory"]]
    (logged,) = read[read["metric"] == "loss_s"].itertuples()
    assert (logged.arm, logged.epoch, logged.value) == ("main", 1, 1.5)
    assert f"{len(read)} values" in capsys.readouterr().out


def test_parquet_and_event_files_hold_the_same_values(base, tmp_path):
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="event files need tensorboard"
    )
    for target in ("runs.parquet", "events"):
        assert main(["export", str(base), str(tmp_path / target)]) == 0
    table = long_table(base)
    assert len(pd.read_parquet(tmp_path / "runs.parquet")) == len(table)
    (arm,) = table[table["experiment"] == "T1"]["arm"].unique()
    events = accumulator.EventAccumulator(str(tmp_path / "events" / "exp_T_spinodal_1" / "T1-000" / arm))
    events.Reload()
    found = table[(table["experiment"] == "T1") & (table["seed"] == 0) & (table["metric"] == "error")]
    assert [e.value for e in events.Scalars("error")] == pytest.approx(list(found["value"]), abs=1e-6)


def test_a_missing_package_is_named_and_nothing_is_written(base, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    assert main(["export", str(base), str(tmp_path / "events")]) == 2
    assert "pip install dglib[export]" in capsys.readouterr().err
    assert not (tmp_path / "events").exists()
