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
    command = [sys.executable, CAMPAIGN, "--kills", "8", "--json", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(file.read_bytes())
    assert (found["broken"], found["kills"]) == ([], 8)
    assert sum(found["resumed"].values()) == 8
    assert found["resumed"]["inside"] >= 3
    assert all(part["steps_trained_over_needed"] < 1.5 for part in found["parts"].values())
