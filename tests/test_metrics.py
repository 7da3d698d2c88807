"""A metric of the user's own: computed at each evaluation, in records, tables and a figure."""

import json
from pathlib import Path

import pytest

import dglib

SHORT = "init_epochs=2 init_error_max=1.0 epochs_per_level=1 sweep_lambdas=[0.5] return_sweep=false"


def sharpness(logits, labels):
    return logits.softmax(dim=1).amax(dim=1).mean()


def trained(record):
    """What training decides, without the metric and what stands for it."""
    points = [{k: v for k, v in point.items() if k != "sharpness"} for point in record["trajectory"]]
    return {"trajectory": points, "epoch_log": record["epoch_log"], "outcome": record["outcome"]}


@pytest.mark.slow
def test_a_metric_appears_in_records_tables_and_a_figure_and_changes_nothing_else(tmp_path):
    records = {}
    for name, metrics in {"plain": "[]", "own": "[test_metrics:sharpness]"}.items():
        words = [*SHORT.split(), "network_width=0.25", f"metrics={metrics}", f"base_dir={tmp_path / name}"]
        directory = dglib.run(dglib.load_profile("T1", "quick", ["seeds=0", *words])).directory
        (records[name],) = json.loads(Path(directory, "T1-spinodal_results.json").read_text())
    assert all(0.1 <= point["sharpness"] <= 1 for point in records["own"]["trajectory"])
    table = dglib.load_records(directory).trajectories
    assert list(table["sharpness"]) == [point["sharpness"] for point in records["own"]["trajectory"]]
    assert (directory / "figures" / "T1-spinodal_metrics.png").exists()
    assert trained(records["plain"]) == trained(records["own"])
