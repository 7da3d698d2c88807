"""Runs at a glance, and records for other tools."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysis_cases import t1, v3
from report_cases import published_in
from small import CPU, StopAfter, open_store, random_data, small_spec, without_time

import dglib
from dglib.cli import main
from dglib.control import Interrupted
from dglib.experiments.tables import LONG, evaluation_rows
from dglib.export import long_table
from dglib.runs.reading import Source
from dglib.runs.seed import run_experiment
from dglib.runs.tensorboard import tensorboard


@pytest.fixture
def base(tmp_path):
    published_in(tmp_path / "runs" / "exp_T_spinodal_1", "T1", [t1(0), t1(1)])
    published_in(tmp_path / "runs" / "exp_V3_1", "V3", [v3(0)])
    return tmp_path / "runs"


def test_every_run_has_a_row_with_its_seeds_and_outcomes(base, capsys):
    table = dglib.list_runs(base)
    rows = [["exp_T_spinodal_1", "T1", 2], ["exp_V3_1", "V3", 1]]
    assert table[["run", "experiment", "done"]].to_numpy().tolist() == rows
    assert main(["list", "--base-dir", str(base)]) == 0
    assert "exp_V3_1" in capsys.readouterr().out


def test_the_long_table_holds_every_evaluation_and_epoch_of_the_records(base, tmp_path, capsys):
    record = t1(0)
    record["epoch_log"] = [{"arm": "main", "phase": "init", "lambda": 0.35, "epoch": 1, "loss_s": 1.5}]
    published_in(base / "exp_T_spinodal_1", "T1", [record])
    (base / "exp_V3_1" / "V3_results.json").write_text("[{")
    assert main(["export", str(base), str(tmp_path / "runs.csv")]) == 0
    read = pd.read_csv(tmp_path / "runs.csv", converters={"value": float})  # pandas 2 rounds by itself
    assert list(read.columns) == list(LONG)
    mine = read[read["metric"] == "error"]
    assert list(mine["value"]) == [entry["error"] for entry in record["trajectory"]]
    (logged,) = read[read["metric"] == "loss_s"].itertuples()
    assert (logged.arm, logged.epoch, logged.value) == ("main", 1, 1.5)
    written, damaged = capsys.readouterr().out.splitlines()
    assert f"{len(read)} values" in written
    assert "V3_results.json" in damaged


def test_evaluations_of_arms_that_share_a_field_are_of_the_arm_that_was_trained_then():
    held = [{"phase": "hold", "lambda": lam, "epoch": 3} for lam in (0.4, 0.5)]
    record = {
        "ordered_trajectory": [{**where, "error": 0.1} for where in held],
        "collapse_trajectory": [{**held[0], "error": 0.5}],
        "epoch_log": [
            {**where, "arm": f"{start} {where['lambda']}"}
            for start in ("ordered", "collapse")
            for where in held
        ],
    }
    rows = evaluation_rows(Source(Path("run"), Path("file"), "Hold", 0, record))
    found = [(row["arm"], row["lambda"], row["value"]) for row in rows]
    assert found == [("ordered 0.4", 0.4, 0.1), ("ordered 0.5", 0.5, 0.1), ("collapse 0.4", 0.4, 0.5)]


@pytest.fixture
def scalars():
    """Reads the event files of a folder: (step, value) by name."""
    module = "tensorboard.backend.event_processing.event_accumulator"
    accumulator = pytest.importorskip(module, reason="event files need tensorboard")

    def read(folder):
        events = accumulator.EventAccumulator(str(folder))
        events.Reload()
        return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}

    return read


def numbers(entries, name):
    """(epoch, value) of a field of a record's entries, as event files hold them."""
    found = [(entry["epoch"], entry[name]) for entry in entries if entry[name] is not None]
    return pytest.approx(np.array(found), rel=1e-6)


def test_event_files_and_parquet_hold_the_records_numbers_once_however_often_exported(
    base, tmp_path, scalars
):
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    for target in ("runs.parquet", "events", "events"):
        assert main(["export", str(base), str(tmp_path / target)]) == 0
    table, _ = long_table(base)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "runs.parquet"), table, check_dtype=False)
    found = scalars(tmp_path / "events" / "exp_T_spinodal_1" / "T1-000" / "main")
    assert np.array(found["error"]) == numbers(t1(0)["trajectory"], "error")
    assert np.array(found["lambda"]) == numbers(t1(0)["trajectory"], "lambda")


def test_a_seed_that_is_stopped_and_resumed_leaves_every_number_once_and_the_same_record(tmp_path, scalars):
    spec = small_spec("V3", batch_size=8)
    plain, watched = (open_store(tmp_path / name, spec, random_data())[0] for name in ("a", "b"))
    (record,) = run_experiment(plain, [0], random_data(), CPU)
    with pytest.raises(Interrupted):
        run_experiment(watched, [0], random_data(), CPU, sinks_for=[tensorboard], control=StopAfter(13))
    (resumed,) = run_experiment(watched, [0], random_data(), CPU, sinks_for=[tensorboard])
    assert without_time(resumed) == without_time(record)
    for arm in ("ordered", "collapse"):
        found = scalars(watched.directory / "tensorboard" / watched.files(0).record.stem / arm)
        epochs = [entry for entry in record["epoch_log"] if entry["arm"] == arm]
        for name in ("lambda", "lr", "loss_s", "weight_norm", "c_sv"):
            assert np.array(found[name]) == numbers(epochs, name)
        evaluated = [*record[f"{arm}_init_trajectory"], *record[f"{arm}_trajectory"]]
        for name in ("error", "test_loss"):
            assert np.array(found[name]) == numbers(evaluated, name)


@pytest.mark.parametrize(
    "command", [["run", "T1"], ["campaign", "--only", "T1"], ["export", "runs", "events"]], ids=" ".join
)
def test_a_missing_package_is_named_and_nothing_is_written(command, base, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    options = [] if command[0] == "export" else ["--base-dir", "new", "--set", "tensorboard=true"]
    assert main([*command, *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("needs the package tensorboard: pip install .[export]")
    assert set(tmp_path.rglob("*")) == before
