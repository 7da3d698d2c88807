"""Several seeds of one run at once, in worker processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from cluster_cases import attempts, is_gone, records, wait_for
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


def command(base: Path, *settings: str) -> list[str]:
    given = ["--seeds", "0-2", "--base-dir", str(base), "--set", *SMALL, *settings]
    return [sys.executable, "-m", "dglib", "run", "T1", *given]


def environment(base: Path) -> dict[str, str]:
    return os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"} | held_up(base / "hold")


def workers(base: Path) -> list[psutil.Process]:
    """The processes of the last attempts at seeds, once two have completed an epoch."""
    beats = [json.loads(path.read_bytes()) for path in base.glob("exp_*/heartbeats/*.json")]
    pids = {those[-1]["pid"] for those in attempts(base).values()} & {beat["pid"] for beat in beats}
    return [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)] if len(pids) > 1 else []


@pytest.mark.slow
def test_killed_workers_are_replaced_end_with_a_killed_run_and_the_records_are_those_of_a_series(
    tmp_path: Path,
) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    call, env = command(tmp_path, "seeds_at_once=2"), environment(tmp_path)
    with subprocess.Popen(call, stdout=subprocess.DEVNULL, env=env) as main:
        first, second = wait_for(lambda: workers(tmp_path), "two workers", main)
        first.kill()
        pair = wait_for(
            lambda: [w for w in workers(tmp_path) if w != first and not is_gone(w)], "new one", main
        )
        main.kill()
    wait_for(lambda: all(map(is_gone, pair)) and is_gone(second), "end of the workers")
    hold.unlink()
    assert subprocess.run(call, stdout=subprocess.DEVNULL, env=env).returncode == 0
    series = tmp_path / "series"
    subprocess.run(command(series), check=True, stdout=subprocess.DEVNULL, env=env)
    assert records(tmp_path) == records(series)
    assert len(records(series)) == 3


def test_seeds_that_no_worker_can_train_are_trained_by_the_run_itself(tmp_path: Path) -> None:
    code = f"""
import math, dglib
from torch import nn

@dglib.networks.register("of this cell")
def network(input_shape, classes, width):
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), classes))

settings = {[*SMALL, "init_epochs=1", "network=of this cell", "seeds_at_once=2", "seeds=0-1"]!r}
parameters = dglib.load_profile("T1", "quick", [*settings, "base_dir={tmp_path}"])
print(len(dglib.run(parameters).records))
"""
    call, env = [sys.executable, "-c", code], environment(tmp_path)
    done = subprocess.run(call, capture_output=True, text=True, env=env)
    assert done.stdout.splitlines()[-1] == "2", done.stderr
    assert "training these seeds here, one at a time" in done.stderr + done.stdout
