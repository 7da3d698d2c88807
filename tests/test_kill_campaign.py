"""A small kill campaign, as `python tests/kill_campaign.py` runs it at length."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).with_name("kill_campaign.py")


@pytest.mark.slow
def test_runs_killed_at_random_instants_end_in_the_records_of_undisturbed_ones(tmp_path):
    file = tmp_path / "found.json"
    command = [sys.executable, CAMPAIGN, "--kills", "12", "--size", "sample", "--json", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(file.read_bytes())
    assert found["broken"] == []
    assert found["records_identical_apart_from_time"] is True
    assert found["kills"] == 12
    assert sum(found["went_on"].values()) == 12
    assert "lost" not in found["went_on"]
    assert found["went_on"]["inside"] >= 6
    assert found["steps_trained_over_needed"] < 1.5  # of short seeds, much is one epoch
    assert all(part["kills"] == 3 for part in found["experiments"].values())
