"""A metric of the user's own: computed at each evaluation, in records, tables and a figure."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dglib

SHARPNESS = """
import dglib

@dglib.metrics.register("sharpness")
def sharpness(logits, labels):
    return logits.softmax(dim=1).amax(dim=1).mean()

def fails(logits, labels):
    return logits.no_such_thing

def vector(logits, labels):
    return logits.mean(dim=1)

def in_place(logits, labels):
    return logits.zero_().mean()
"""
SHORT = "init_epochs=2 init_error_max=1.0 epochs_per_level=1 sweep_lambdas=[0.5] return_sweep=false"


def run(base: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    (base / "my_metrics.py").write_text(SHARPNESS)
    paths = os.pathsep.join([str(base), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "dglib", "run", "T1", "--seeds", "0", "--base-dir", str(base / "runs")]
    given = [*SHORT.split(), "network_width=0.25", *settings]
    env = os.environ | {"PYTHONPATH": paths, "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run([*command, "--set", *given], capture_output=True, text=True, env=env)


def trained(record: dict) -> dict:
    """What training decides, without the metric and what stands for it."""
    points = [{k: v for k, v in point.items() if k != "sharpness"} for point in record["trajectory"]]
    return {"trajectory": points, "epoch_log": record["epoch_log"], "outcome": record["outcome"]}


@pytest.mark.slow
def test_a_metric_appears_in_records_tables_and_a_figure_and_changes_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    assert run(tmp_path / "plain").returncode == 0
    done = run(tmp_path, "metrics=[my_metrics:sharpness]")
    assert done.returncode == 0, done.stderr
    (directory,) = (tmp_path / "runs").glob("exp_*")
    (record,) = json.loads((directory / "T1-spinodal_results.json").read_text())
    assert all(0.1 <= point["sharpness"] <= 1 for point in record["trajectory"])
    table = dglib.load_records(directory).trajectories
    assert list(table["sharpness"]) == [point["sharpness"] for point in record["trajectory"]]
    assert (directory / "figures" / "T1-spinodal_metrics.png").exists()
    (plain,) = (tmp_path / "plain" / "runs").glob("exp_*")
    (without,) = json.loads((plain / "T1-spinodal_results.json").read_text())
    assert trained(record) == trained(without)
