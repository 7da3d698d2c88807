"""The benchmark: a fair baseline, rows that agree with themselves, one-line errors. No time is asserted."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from dglib import benchmark
from dglib.benchmark import QUICK, Case, Experiment, PublishedLoop, cases, random_images
from dglib.errors import UserError
from dglib.protocol.spec import StepSpec
from dglib.training.numerics import SWITCHES, Numerics

CPU = Numerics("cpu", 1)
(SMALL,) = QUICK
STEP = StepSpec(8, 16)
ARGUMENTS = SimpleNamespace(quick=True, only=None, device="cpu", threads=1, json=None)


def ours(images=128, settled=CPU, **kwargs):
    return Experiment(SMALL, random_images(SMALL, images), settled, STEP, **kwargs)


def test_the_published_loop_takes_the_experiments_steps(monkeypatch):
    monkeypatch.setattr(benchmark, "LR", 1e-4)  # at which another rounding of the gradients stays one
    mine, theirs = ours(), PublishedLoop(SMALL, random_images(SMALL, 8), 8, torch.device("cpu"))
    for t in range(20):  # refreshes at 0 and 16
        batch = mine.trainer.batch(*divmod(t, 16))
        mine.trainer.take_step(mine.state, batch, benchmark.LAMBDA, benchmark.LR)
        theirs.step(batch.x, batch.noisy, batch.clean)
        for a, b in zip(mine.state.params, theirs.parameters, strict=True):
            assert (a - b).norm() <= 1e-5 * b.norm(), f"after step {t}"
    for a, b in zip(mine.state.model.buffers(), theirs.model.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_plain_step_is_torchs_sgd_on_the_noisy_labels():
    mine, twin = ours(plain=True), ours().state
    sgd = torch.optim.SGD(twin.params, lr=0.05, momentum=STEP.momentum, weight_decay=STEP.weight_decay)
    for step in range(3):
        batch = mine.trainer.batch(0, step)
        mine.trainer.take_step(mine.state, batch, 0.35, 0.05)
        sgd.zero_grad()
        torch.nn.functional.cross_entropy(twin.model(batch.x), batch.noisy).backward()
        sgd.step()
    assert all(torch.equal(a, b) for a, b in zip(mine.state.params, twin.params, strict=True))


# ── pairs and rows ──


@pytest.mark.parametrize(("until", "n"), [(0.0, benchmark.MIN_PAIRS), (float("inf"), benchmark.MAX_PAIRS)])
def test_sides_alternate_in_order_for_as_many_pairs_as_there_is_time_for(until, n):
    order = []
    sides = [Counted(name, order) for name in "ab"]
    assert len(benchmark.measure_pairs(*sides, until)) == n
    assert "".join(order).startswith("ab" + "abbaab")


class Counted:
    images, fallback = 1, ""

    def __init__(self, name, order):
        self.block = lambda: order.append(name)


def test_both_sides_measure_the_train_case():
    row = benchmark.measure(Case(SMALL, "train"), ARGUMENTS, 1.0)
    assert (row["n"], row["batch"], row["block_images"]) == (benchmark.MIN_PAIRS, 8, 128)
    assert row["ratio"] > 0


def test_the_ratio_is_the_median_over_pairs_inverted_where_the_name_has_over():
    pairs = [(2.0, 1.0), (3.0, 1.0), (9.0, 1.0), (4.0, 2.0), (8.0, 2.0)]
    for kind, expected in (("dual_over_plain", (3.0, 2.0, 9.0)), ("train", (1 / 3, 1 / 9, 0.5))):
        row = benchmark.row(Case(SMALL, kind), CPU, pairs)
        assert (row["ratio"], row["low"], row["high"]) == pytest.approx(expected)
        assert (row["n"], row["seconds"], row["baseline_seconds"]) == (5, 4.0 * 50_000, 50_000)


def test_a_technique_is_changed_alone():
    usual = Numerics("cuda", 1, "fp16", channels_last=True, fused=True, compiled=True, cuda_graphs=True)
    expected = {**dict.fromkeys(SWITCHES, "on"), "autotune": "off", "precision": "fp16"}
    changes = [
        ("switched", "channels_last", {"channels_last": "off"}),
        ("switched", "autotune", {"autotune": "on"}),
        ("switched", "fused", {"fused": "off", "cuda_graphs": "off"}),  # CUDA graphs need fused SGD
        ("precision", "bf16", {"precision": "bf16"}),
    ]
    for kind, option, change in changes:
        assert benchmark.varied(Case(SMALL, kind, option), usual, False) == expected | change
    with pytest.raises(UserError, match="default"):
        benchmark.varied(Case(SMALL, "precision", "fp16"), usual, False)


def test_a_case_that_takes_longer_than_the_minutes_is_interrupted_and_skipped(monkeypatch, capsys):
    def block(self):
        while True:
            torch.zeros(1)

    monkeypatch.setattr(Experiment, "block", block)
    words = ["--quick", "--device", "cpu", "--threads", "1", "--minutes", "0.001"]
    assert benchmark.main(words) == 0
    skipped = [line for line in capsys.readouterr().out.splitlines() if "skipped: no time is left" in line]
    assert len(skipped) == len(cases(QUICK))


# ── the command ──

ALONE = """
import sys
for name in {blocked}:
    sys.modules[name] = None  # importing it raises ImportError
from dglib import benchmark
benchmark.find_spec = lambda name: None
sys.exit(benchmark.main(sys.argv[1:]))
"""


def test_with_torch_and_numpy_alone_it_measures_and_reports_what_it_skips(tmp_path):
    blocked = ["torchvision", "pydantic", "pandas", "scipy", "sklearn", "psutil", "yaml", "PIL"]
    path = tmp_path / "speed.json"
    switched = ["train/switched_fused", "train/switched_autotune"]
    only = ["train", "dual_over_plain", "logging_over_none", *switched]
    words = ["--quick", "--device", "cpu", "--threads", "1", "--json", str(path)]
    script = ALONE.format(blocked=blocked)
    command = [sys.executable, "-c", script, *words, "--only", *(f"small_cnn/{name}" for name in only)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(path.read_bytes())
    assert report["complete"] is True
    assert {"device_name", "cores", "threads", "torch", "date", "load_average"} <= set(report["machine"])
    assert [row["case"] for row in report["rows"]] == [f"small_cnn/{name}" for name in only[1:-1]]
    for row in report["rows"]:
        assert row.keys() >= {"device", "precision", "batch", "published_batch", "against"}
        assert row["n"] >= 1
        assert row["low"] <= row["ratio"] <= row["high"]
        assert row["case"] in done.stdout
    reasons = {row["case"]: row["reason"] for row in report["skipped"]}
    assert "torchvision" in reasons["small_cnn/train"]
    assert reasons["small_cnn/train/switched_autotune"] == "CUDA only"


def test_ctrl_c_leaves_the_rows_measured_until_then(tmp_path, monkeypatch, capsys):
    def measure(case, arguments, seconds):
        if case.kind != "train":
            raise KeyboardInterrupt
        return benchmark.row(case, CPU, [(1.0, 2.0)], batch=1, note="")

    monkeypatch.setattr(benchmark, "measure", measure)
    path = tmp_path / "speed.json"
    assert benchmark.main(["--quick", "--device", "cpu", "--threads", "1", "--json", str(path)]) == 130
    report = json.loads(path.read_bytes())
    assert report["complete"] is False
    assert [row["case"] for row in report["rows"]] == ["small_cnn/train"]
    assert [file.name for file in tmp_path.iterdir()] == ["speed.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "resnet18/trian"], "resnet18/trian: must be of resnet18/train, "),
        (["--threads", "0"], "--threads 0: must be at least 1"),
        (["--minutes", "nan"], "--minutes nan: must be above 0"),
        (["--json", "nowhere/report.json"], "--json nowhere/report.json: must be a file in a directory that"),
        (["--device", "cuda:99"], "cuda:99"),
        (["faster"], "faster"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert benchmark.main(arguments) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert out == ""
    assert message in line
    assert list(tmp_path.iterdir()) == []
