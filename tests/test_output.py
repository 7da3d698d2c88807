"""Output that cannot encode λ: the commands print an escape in its place."""

import json
import os
import subprocess
import sys
from pathlib import Path

from dglib.files import to_json

ROOT = Path(__file__).parents[1]
SMALL = "init_epochs=1 init_evaluate_every=1 init_error_max=1 sweep_lambdas=[0.5] epochs_per_level=1"
SMALL += " collapse_error=0 consecutive=1 return_sweep=false network_width=0.25 device=cpu"
ASCII = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "OMP_NUM_THREADS": "1"}


def test_a_campaign_in_a_c_locale_prints_its_answer_and_its_logs_are_utf_8(tmp_path):
    command = [sys.executable, str(ROOT / "run_all.py"), "--only", "T1", "--seeds", "0", "--base-dir", "runs"]
    words = ["--set", *SMALL.split(" ")]
    env = {**os.environ, **ASCII}
    done = subprocess.run([*command, *words], cwd=tmp_path, env=env, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert r"\u03bb" in done.stdout.decode("ascii")
    logs = list((tmp_path / "runs").rglob("*.log"))
    assert len(logs) == 2
    for log in logs:
        log.read_text(encoding="utf-8")


def test_a_file_name_that_is_no_text_comes_back_from_json_as_it_was_given():
    name = os.fsdecode(b"own\xff.yaml")
    assert json.loads(to_json({"command": [name]})) == {"command": [name]}
