"""What an earlier release wrote stays: records bit for bit, its directories and names.

Everything goes through commands, so that these tests outlive any rearrangement of the code. Hashes belong to
a processor and a torch; `python tests/test_freeze.py` prints those of this machine, to be added to
`results/freeze.json`. Fields that a release did not have are left out before a comparison.
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from itertools import groupby
from pathlib import Path

import pytest
import torch

RESULTS = Path(__file__).parent / "results"
FREEZE = RESULTS / "freeze.json"
RELEASE = RESULTS / "release_0.1.0"  # a run directory: T1's seed 0 finished, its seed 1 in the sweep
SHARED = "dataset=digits network=small_cnn network_width=0.25 batch_size=128 refresh_period=4 threads=1"
# Short, and with limits that every network passes or none, so that each phase has one length anywhere.
SWEEP = "init_epochs=3 init_evaluate_every=2 epochs_per_level=2 sweep_lr=null milestones=[2]"
SETTINGS = {
    "T1": f"{SWEEP} init_error_max=1.0 sweep_lambdas=[0.5,0.7] collapse_error=0.0"
    " return_lambdas=[0.6,0.4,0.2] recovery_error=1.0",
    "T2": f"{SWEEP} init_lambda=0.7 init_error_min=0.0 sweep_lambdas=[0.5,0.3] recovery_error=0.0",
    "V3": "network=vgg11_bn network_width=0.0625 ordered_epochs=2 ordered_milestones=[1]"
    " ordered_error_max=1.0 collapse_epochs=2 collapse_milestones=[1] collapse_error_min=0.0"
    " init_evaluate_every=1 sweep_lambdas=[0.3,0.5] epochs_per_level=1",
    "Td1": "init_epochs=4 evaluate_every=2 milestones=[2] log_every=3",
}
PLACES = {
    "T1": ("exp_T_spinodal_*", "T1-spinodal", "T1-spinodal-{:03d}.json", "T1-spinodal_analysis.png"),
    "T2": ("exp_T_spinodal_*", "T2-spinodal", "T2-spinodal-{:03d}.json", "T2-spinodal_analysis.png"),
    "V3": ("exp_V3_vgg11_*", "V3", "V3-s{}.json", "V3_hysteresis.png"),
    "Td1": ("exp_Td1_90_analysis_*", "Td1", "Td1-seed{:02d}.json", "Td1_analysis.png"),
}


def words(experiment, *more):
    return ["run", experiment, "--set", *SHARED.split(), *SETTINGS[experiment].split(), *more]


def dglib(*words, cwd):
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    command = [sys.executable, "-m", "dglib", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def machine():
    """Processor and torch, with what the environment takes away from them."""
    info = Path("/proc/cpuinfo").read_text().split("\n\n")[0] if Path("/proc/cpuinfo").exists() else ""
    fields = dict(tuple(map(str.strip, line.split(":", 1))) for line in info.splitlines() if ":" in line)
    flags = hashlib.sha256(" ".join(sorted(fields.get("flags", "").split())).encode()).hexdigest()[:8]
    limits = [
        f"{n}={os.environ[n]}" for n in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA") if n in os.environ
    ]
    name = fields.get("model name", platform.processor() or platform.machine())
    model = [fields.get(key, "?") for key in ("cpu family", "model", "stepping")]
    return ", ".join([name, "-".join(model), f"flags {flags}", f"torch {torch.__version__}", *limits])


def fields(value):
    """The names in a record, at every depth, with the types under them."""
    if isinstance(value, dict):
        return {name: fields(each) for name, each in value.items() if name not in ("time", "provenance")}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [{name: fields(value[0][name]) for name in value[0]}]
    return type(value).__name__


def cut(value, known):
    """A record with the `known` fields alone."""
    if isinstance(value, dict) and isinstance(known, dict):
        return {name: cut(value[name], known[name]) for name in known}
    if isinstance(value, list) and isinstance(known, list):
        return [cut(each, known[0]) for each in value]
    return value


def shape(record, known):
    """Names, types, and of each list its length, or its runs of phase and λ."""
    shaped = {name: fields(value) for name, value in cut(record, known).items()}
    for name, value in record.items():
        if isinstance(known.get(name), list) and name != "numerics":  # more stretches where it was resumed
            runs = groupby((entry.get("phase"), entry.get("lambda")) for entry in value)
            shaped[name] = [shaped[name], [[*where, len(list(run))] for where, run in runs]]
    return shaped


def digest(record, known):
    text = json.dumps(cut(record, known), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read(directory, experiment, seed):
    """A seed's record, from the results' file, which is the published one."""
    records = json.loads((directory / f"{PLACES[experiment][1]}_results.json").read_bytes())
    return next(record for record in records if record["seed"] == seed)


def check(record, experiment, kind="records"):
    """The record is the release's: bit for bit where its machine is this one, else in shape."""
    frozen = json.loads(FREEZE.read_text())
    known = frozen["fields"][experiment]
    assert shape(record, known) == frozen["shapes"][experiment]
    hashes = frozen["hashes"].get(machine(), {})
    if kind not in hashes:
        pytest.skip(f"shape as released; bits not compared: no {kind} of {machine()} in {FREEZE.name}")
    assert digest(record, known) == hashes[kind][f"{experiment} {record['seed']}"], (
        "not the release's bits: either the code has changed the results (then RESULTS_VERSION must rise), or"
        f" the libraries under torch differ from those that made the hashes of {machine()}"
    )


@pytest.mark.parametrize("experiment", SETTINGS)
def test_an_experiment_gives_the_released_records_under_the_released_names(experiment, tmp_path):
    dglib(*words(experiment, "seeds=0-1", "base_dir=runs"), cwd=tmp_path)
    pattern, prefix, sealed, figure = PLACES[experiment]
    (directory,) = (tmp_path / "runs").glob(pattern)
    files = [f"{prefix}_manifest.json", f"{prefix}_results.csv", f"figures/{figure}"]
    files += [f"seeds/{sealed.format(seed)}" for seed in (0, 1)]
    assert [name for name in files if not (directory / name).is_file()] == []
    for seed in (0, 1):
        check(read(directory, experiment, seed), experiment)


def test_a_run_directory_of_the_release_is_read_and_resumed(tmp_path):
    shutil.copytree(RELEASE, tmp_path / "runs")
    (directory,) = (tmp_path / "runs").iterdir()
    finished = read(directory, "T1", 0)
    dglib("verify", "runs", cwd=tmp_path)
    dglib("analyse", "runs", "--json", "analysis.json", cwd=tmp_path)
    assert json.loads((tmp_path / "analysis.json").read_text())["T1"]["outcomes"]["collapsed"] == 1
    done = dglib(*words("T1", "seeds=0-1", "base_dir=runs"), cwd=tmp_path)
    assert f"resuming {directory.name}" in done.stdout
    assert [path for path in (tmp_path / "runs").iterdir() if path.is_dir()] == [directory]
    assert read(directory, "T1", 0) == finished
    check(read(directory, "T1", 1), "T1", "records resumed from release_0.1.0")


if __name__ == "__main__":
    here = {}
    with tempfile.TemporaryDirectory() as base:
        for name in SETTINGS:
            dglib(*words(name, "seeds=0-1", "base_dir=runs"), cwd=base)
            (run,) = Path(base, "runs").glob(f"*/{PLACES[name][1]}_manifest.json")
            known = json.loads(FREEZE.read_text())["fields"][name]
            here |= {f"{name} {seed}": digest(read(run.parent, name, seed), known) for seed in (0, 1)}
    print(json.dumps({machine(): {"records": here}}, indent=1))
