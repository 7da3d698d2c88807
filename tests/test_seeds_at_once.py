"""Several seeds of one run at once, in worker processes."""

import json
import os
import subprocess
import sys

import psutil
import pytest
from cluster_cases import attempts, is_gone, records, serial, wait_for
from held import held_up

SMALL = [
    "init_epochs=4",
    "init_error_max=1.0",
    "epochs_per_level=2",
    "sweep_lambdas=[0.5,0.7]",
    "return_sweep=false",
    "network_width=0.25",
    "network=held:network",
]


def workers(base):
    """The processes of the last attempts at seeds, once two have completed an epoch."""
    beats = [json.loads(path.read_bytes()) for path in base.glob("exp_*/heartbeats/*.json")]
    pids = {those[-1]["pid"] for those in attempts(base).values()} & {beat["pid"] for beat in beats}
    return [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)] if len(pids) > 1 else []


@pytest.mark.slow
def test_killed_workers_are_replaced_end_with_a_killed_run_and_the_records_are_those_of_a_series(tmp_path):
    hold = tmp_path / "hold"
    hold.touch()
    env = os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"} | held_up(hold)
    words = ["--seeds", "0-2", "--base-dir", str(tmp_path), "--set", *SMALL, "seeds_at_once=2"]
    call = [sys.executable, "-m", "dglib", "run", "T1", *words]
    with subprocess.Popen(call, stdout=subprocess.DEVNULL, env=env) as main:
        first, second = wait_for(lambda: workers(tmp_path), "two workers", main)
        first.kill()
        pair = wait_for(
            lambda: [w for w in workers(tmp_path) if w != first and not is_gone(w)], "new one", main
        )
        main.kill()
    wait_for(lambda: all(map(is_gone, pair)) and is_gone(second), "end of the workers")
    hold.unlink()
    ascii_only = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(call, capture_output=True, env=env | ascii_only)
    assert done.returncode == 0, done.stderr
    assert r"\u03bb" in done.stdout.decode("ascii"), "λ, where the output cannot encode it"
    assert records(tmp_path) == {f"T1-spinodal-00{seed}": serial("T1", seed, SMALL) for seed in range(3)}


def test_seeds_that_no_worker_can_train_are_trained_by_the_run_itself(tmp_path):
    code = f"""
import math, dglib
from torch import nn

@dglib.networks.register("of this cell")
def network(input_shape, classes, width):
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), classes))

settings = {[*SMALL[:-1], "init_epochs=1", "network=of this cell", "seeds_at_once=2", "seeds=0-1"]!r}
parameters = dglib.load_profile("T1", "quick", [*settings, "base_dir={tmp_path}"])
print(len(dglib.run(parameters).records))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "2", done.stderr
    assert "training these seeds here, one at a time" in done.stderr + done.stdout
