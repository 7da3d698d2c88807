"""The core works where only torch, numpy and filelock are: the machines that train often have no more."""

import subprocess
import sys

BLOCKED = ["pandas", "papermill", "pydantic", "ipywidgets", "matplotlib", "torchvision", "sklearn"]

SCRIPT = f"""
import sys
BLOCKED = {BLOCKED}
for name in BLOCKED:
    sys.modules[name] = None  # importing it raises ImportError

import dglib
assert "torch" not in sys.modules, "import dglib loads torch"
from types import SimpleNamespace
import numpy as np
from dglib.training.data import Dataset
from dglib.training.numerics import Numerics

rng = np.random.default_rng(0)
data = Dataset(
    name="random", x_train=rng.integers(0, 256, (12, 1, 8, 8), dtype=np.uint8),
    y_train=rng.integers(0, 10, 12), x_test=rng.integers(0, 256, (6, 1, 8, 8), dtype=np.uint8),
    y_test=rng.integers(0, 10, 6),
    classes=10, scale=255.0, mean=(0.5,), std=(0.25,),
)
parameters = SimpleNamespace(
    dataset="random", noise="symmetric", noise_rate=0.4, pixel_mean=None, pixel_std=None,
    augmentation="crop_flip", crop_padding=1, network="small_cnn", network_width=0.25, batch_size=4, lr=0.1,
    lr_decay=0.1, momentum=0.9, weight_decay=5e-4, refresh_period=4, init_lambda=0.6, init_epochs=2,
    evaluate_every=1, milestones=[1], log_every=2, two_pass_statistics=True, trapped_error=0.85,
    partial_error=0.4,
)
spec = dglib.build_spec("Td1", parameters)
record = dglib.run_seed(spec, 0, data, Numerics.resolve("cpu", 1))
assert record["outcome"] in ("trapped_90", "partial_collapse", "ordered"), record["outcome"]
assert len(record["error_trajectory"]) == 2
assert len(record["step_logs"]) == 3

import dglib.runs.store, dglib.runs.identity, dglib.runs.checkpoint, dglib.control  # the rest of the core
from pathlib import Path
import tempfile
with tempfile.TemporaryDirectory() as base:
    described = dglib.runs.identity.describe(spec, data.fingerprint, device="cpu", threads=1)
    store, _ = dglib.runs.store.Store.open(Path(base), spec, described, {{}})
    from dglib.runs.seed import run_experiment
    again = run_experiment(store, [0], data, Numerics.resolve("cpu", 1))
    assert [{{**r, "time": 0}} for r in again] == [{{**record, "time": 0}}]

assert [name for name in BLOCKED if sys.modules.get(name) is not None] == []
print("done")
"""


def test_the_core_trains_and_stores_a_seed_without_the_rest_of_the_suite(tmp_path):
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_blocking_a_package_as_above_does_block_it():
    script = "import sys; sys.modules['pydantic'] = None; import dglib; dglib.load_profile('T1')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pydantic" in done.stderr
