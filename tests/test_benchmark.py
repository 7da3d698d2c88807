"""The benchmark: a fair baseline, rows that agree with themselves, one-line errors. No time is asserted."""

import json
import subprocess
import sys

import pytest
import torch

from dglib import benchmark
from dglib.benchmark import TINY, Case, Experiment, Machine, PublishedLoop, cases, random_images
from dglib.protocol.spec import StepSpec
from dglib.training.numerics import Numerics

CPU = Numerics("cpu", 1)
STEP = StepSpec(8, 16)
HOURS = 18_000  # seconds: a case that no machine is too slow for
MACHINE = Machine("cpu", 1, True, {})
QUICK = ["--quick", "--device", "cpu", "--threads", "1"]


def ours(images=128, **options):
    return Experiment(TINY, CPU, images, step=STEP, **options)


def test_the_published_loop_takes_the_experiments_steps(monkeypatch):
    monkeypatch.setattr(benchmark, "LR", 1e-4)  # at which another rounding of the gradients stays one
    mine, theirs = ours(), PublishedLoop(TINY, random_images(TINY, 8), 8, torch.device("cpu"))
    for t in range(20):  # refreshes at 0 and 16
        batch = mine.trainer.batch(*divmod(t, 16))
        mine.trainer.take_step(mine.state, benchmark.LAMBDA, benchmark.LR)
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
        mine.trainer.take_step(mine.state, 0.35, 0.05)
        sgd.zero_grad()
        torch.nn.functional.cross_entropy(twin.model(batch.x), batch.noisy).backward()
        sgd.step()
    assert all(torch.equal(a, b) for a, b in zip(mine.state.params, twin.params, strict=True))


class Counted:
    images = 1

    def __init__(self, name, order, most):
        self.name, self.order, self.most = name, order, most

    def block(self):
        self.order.append(self.name)
        if len(self.order) > self.most:
            raise benchmark.OutOfTime


def test_sides_alternate_in_order_and_where_the_time_ends_whole_pairs_count_if_there_is_one():
    def measured(most):
        order = []
        return len(benchmark.measure_pairs(*(Counted(name, order, most) for name in "ab"))), "".join(order)

    number, order = measured(1000)
    assert number == benchmark.MAX_PAIRS
    assert order.startswith("ab" + "abbaab")
    assert measured(7)[0] == 2
    with pytest.raises(benchmark.OutOfTime):
        measured(3)


def test_the_ratio_is_the_median_over_pairs_of_the_others_time_over_ours(monkeypatch):
    pairs = [(2.0, 1.0), (3.0, 1.0), (9.0, 1.0), (4.0, 2.0), (8.0, 2.0)]
    monkeypatch.setattr(benchmark, "measure_pairs", lambda *_: pairs)
    row = benchmark.against("plain", TINY, MACHINE)
    assert (row["ratio"], row["low"], row["high"]) == pytest.approx((1 / 3, 1 / 9, 0.5))
    assert (row["n"], row["seconds"], row["baseline_seconds"]) == (5, 4.0 * 50_000, 50_000)


def test_a_run_resumed_inside_an_epoch_has_the_bits_of_one_that_is_not(monkeypatch):
    assert benchmark.trained(MACHINE, TINY, 8, {}) == benchmark.trained(MACHINE, TINY, 8, {}, 3)
    monkeypatch.setattr(benchmark.TrainState, "load_state_dict", lambda *_: None)
    assert benchmark.trained(MACHINE, TINY, 8, {}) != benchmark.trained(MACHINE, TINY, 8, {}, 3)


def test_the_budgets_of_each_device_fit_into_eight_minutes():
    for device in ("cpu", "cuda"):
        assert sum(case.budget for case in cases(device)) <= 8 * 60 - 10  # imports take seconds, too


def test_a_case_that_takes_longer_than_its_budget_is_interrupted_and_skipped(monkeypatch, capsys):
    def block(self):
        while True:
            torch.zeros(1)

    monkeypatch.setattr(Experiment, "block", block)
    words = [*QUICK, "--minutes", "0.001", "--only", "plain/tiny", "syncs"]
    assert benchmark.main(words) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["skipped"] for row in rows] == ["budget", "budget"]


ALONE = """
import sys
for name in ["torchvision", "pydantic", "pandas", "scipy", "matplotlib", "sklearn", "psutil", "yaml", "PIL"]:
    sys.modules[name] = None  # importing it raises ImportError
from dglib import benchmark
benchmark.find_spec = lambda name: None
sys.exit(benchmark.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_with_torch_and_numpy_alone_every_case_of_either_device_runs_on_a_cpu(tmp_path):
    path = tmp_path / "speed.json"
    command = [sys.executable, "-c", ALONE, *QUICK, "--json", str(path), "--minutes", "600"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(path.read_bytes())
    assert report["complete"] is True
    assert [json.loads(line) for line in done.stdout.splitlines()] == report["rows"]
    rows = {row["case"]: row for row in report["rows"]}
    assert rows.keys() == {case.name for device in ("cpu", "cuda") for case in cases(device, quick=True)}
    assert [name for name, row in rows.items() if "skipped" in row] == ["published/tiny"]
    assert "torchvision" in rows["published/tiny"]["skipped"]
    assert [name for name, row in rows.items() if "failed" in row] == []
    for name in ("graphs/small_cnn", "capture_fails/memory", "processes", "processes/compiled"):
        assert rows[name]["equal"], name
    assert rows["processes"]["resumed_equal"]
    assert rows["devices"]["weights_kept"]
    plain, measured = rows["plain/tiny"], {"seconds", "spread", "share", "n", "precision", "device", "torch"}
    assert plain.keys() >= measured | {"load"}
    assert plain["low"] <= plain["ratio"] <= plain["high"]


def test_a_case_that_fails_costs_no_other_and_ctrl_c_leaves_the_rows_measured_until_then(
    tmp_path, monkeypatch, capsys
):
    def failing(machine):
        raise RuntimeError("CUDA error: no\nand more")

    def interrupted(machine):
        raise KeyboardInterrupt

    runs = {"one": failing, "two": lambda machine: {"fine": True}, "three": interrupted}
    monkeypatch.setattr(benchmark, "cases", lambda *_: [Case(name, HOURS, run) for name, run in runs.items()])
    path = tmp_path / "speed.json"
    assert benchmark.main([*QUICK, "--minutes", "600", "--json", str(path)]) == 130
    report = json.loads(path.read_bytes())
    one, two = report["rows"]
    assert one["failed"] == "RuntimeError: CUDA error: no and more"
    assert (two["case"], two["fine"], report["complete"]) == ("two", True, False)
    assert [file.name for file in tmp_path.iterdir()] == ["speed.json"]
