"""The benchmark: an honest baseline, rows that agree with themselves, and nothing lost at Ctrl-C.

No time is asserted: what is measured here is too small to mean anything.
"""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from replaying import Replaying

from dglib.benchmark import cli, timing
from dglib.benchmark.baseline import LoaderBlocks, Pictures, PublishedLoop, plain_network
from dglib.benchmark.budget import Budget, Rate, fitting_batches
from dglib.benchmark.images import first, random_images
from dglib.benchmark.machine import flop_per_image
from dglib.benchmark.measuring import EPOCH, Bench
from dglib.benchmark.plain import PlainKernel
from dglib.benchmark.session import Session
from dglib.benchmark.settings import FULL, QUICK, TECHNIQUES, Case, cases
from dglib.benchmark.sides import Evaluating, Training, Work, new_state
from dglib.errors import UserError
from dglib.numerics import SWITCHES, Numerics
from dglib.pieces import Captured
from dglib.spec import StepSpec
from dglib.trainer import DeviceData

CPU = Numerics("cpu", 1)
SMALL = QUICK.settings[0]
PATIENCE = 120  # seconds, on a loaded machine
FIELDS = {"case", "device", "precision", "seconds", "baseline_seconds", "ratio", "share_of_peak", "n"}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A quick benchmark of all that one process can measure, as its JSON has it."""
    path = tmp_path_factory.mktemp("benchmark") / "report.json"
    names = [case.name for case in cases(QUICK) if case.kind != "at_once"]
    unlikely = {f"small_cnn/train/{name}" for name in ("with_compiled", "precision_bf16")}  # these take long
    only = [name for name in names if name not in unlikely]
    assert (
        cli.main(["--quick", "--device", "cpu", "--threads", "1", "--json", str(path), "--only", *only]) == 0
    )
    return json.loads(path.read_bytes())


# The baseline is what it says


def test_the_baseline_takes_the_same_weights_step_for_step_as_the_experiments():
    work = Work(SMALL, batch=8)
    data = first(random_images(QUICK, SMALL), 128, 1)
    ours = Training(work, data, CPU)
    theirs = PublishedLoop(plain_network(SMALL), work.step_spec(), lam=0.35, lr=0.05)
    for t in range(20):  # refreshes at 0 and 16
        batch = ours.trainer.batch(*divmod(t, 16))
        ours.trainer.kernel(ours.state, batch, 0.35, 0.05)
        theirs.step(batch.x, batch.noisy, batch.clean)
        for a, b in zip(ours.state.params, theirs.parameters, strict=True):
            assert (a - b).norm() <= 1e-5 * b.norm(), f"after step {t}"
    for a, b in zip(ours.state.model.buffers(), theirs.model.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_the_baselines_images_are_the_experiments_where_nothing_is_drawn():
    data = random_images(QUICK, SMALL)
    placed = DeviceData.place(data, Work(SMALL, 8).spec().data, 0, torch.device("cpu"))
    pictures = Pictures(data.x_test, data.y_test.tolist(), data.y_test.tolist(), train=False)
    for index in (0, 7):
        image, noisy, clean = pictures[index]
        assert torch.equal(image, placed.inputs(placed.x_test[index : index + 1])[0])
        assert noisy == clean == data.y_test[index]


def test_a_timed_block_takes_its_batches_and_no_worker_is_left_with_work():
    seen = []
    data = random_images(QUICK, SMALL)
    labels = data.y_train.tolist()
    pictures = Pictures(data.x_train, labels, labels, train=True)
    side = LoaderBlocks(
        pictures,
        4,
        torch.device("cpu"),
        lambda x, noisy, clean: seen.append(tuple(x.shape)),
        steps=3,
        lead=2,
    )
    for _ in range(2):
        seen.clear()
        assert side.block() > 0
        assert seen == [(4, 3, 8, 8)] * 5
    assert side.images == 12


def test_a_block_of_ours_is_sixteen_steps_on_an_epoch_of_its_own_images():
    side = Training(Work(SMALL, batch=8), first(random_images(QUICK, SMALL), 128, 1), CPU)
    side.warm_up()
    assert (side.images, side.state.t % 16) == (128, 0)
    before = side.state.t
    side.block()
    assert side.state.t == before + 16


@pytest.mark.parametrize(("steps", "passes"), [(16, 1 + 1 / 16 + 1 / 16), (80, 1 + 1 / 16 + 3 / 80)])
def test_the_passes_of_a_logging_step_are_those_that_run(steps, passes, monkeypatch):
    work = Work(SMALL, batch=8, logs=True, steps=steps)
    side = Training(work, first(random_images(QUICK, SMALL), 128, 1), CPU)
    side.warm_up()
    forwards = []
    side.state.model.register_forward_hook(lambda *_: forwards.append(1))
    side.block()
    assert len(forwards) == passes * steps
    assert work.passes_per_step == passes


def test_a_plain_step_is_torchs_sgd_on_the_noisy_labels():
    work = Work(SMALL, batch=8, plain=True)
    side = Training(work, first(random_images(QUICK, SMALL), 128, 1), CPU)
    twin = new_state(work, CPU)
    spec: StepSpec = work.step_spec()
    sgd = torch.optim.SGD(twin.params, lr=0.05, momentum=spec.momentum, weight_decay=spec.weight_decay)
    for step in range(3):
        batch = side.trainer.batch(0, step)
        side.trainer.kernel(side.state, batch, 0.35, 0.05)
        sgd.zero_grad()
        torch.nn.functional.cross_entropy(twin.model(batch.x), batch.noisy).backward()
        sgd.step()
    assert all(torch.equal(a, b) for a, b in zip(side.state.params, twin.params, strict=True))


def test_a_plain_step_captured_and_replayed_gives_the_same_bits():
    work = Work(SMALL, batch=8, plain=True)
    data = first(random_images(QUICK, SMALL), 8 * 9 + 5, 1)  # a last batch of another size
    direct, captured = (Training(work, data, CPU) for _ in range(2))
    recorder = Replaying()
    captured.trainer.kernel = PlainKernel(work.step_spec(), CPU, pieces=Captured(recorder))
    for side in (direct, captured):
        side.trainer.advance(side.state, 0.35, 0.05, 60)
    assert recorder.captures == 2
    assert captured.fallback == ""
    pairs = zip(captured.state.params, direct.state.params, strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("fused", [False, True])
def test_a_plain_step_in_fp16_takes_the_loss_scale_back(fused):
    moved = []
    for numerics in (CPU, Numerics("cpu", 1, "fp16", fused=fused)):
        work = Work(SMALL, batch=8, plain=True)
        side = Training(work, first(random_images(QUICK, SMALL), 128, 1), numerics)
        before = [p.detach().clone() for p in side.state.params]
        side.trainer.kernel(side.state, side.trainer.batch(0, 0), 0.35, 0.05)
        pairs = zip(side.state.params, before, strict=True)
        moved.append(torch.cat([(p.detach() - b).flatten() for p, b in pairs]))
    assert (moved[0] - moved[1]).norm() < 0.05 * moved[0].norm()


def test_an_evaluation_of_ours_covers_the_whole_test_set():
    side = Evaluating(Work(SMALL, batch=8), first(random_images(QUICK, SMALL), 8, 50), CPU)
    side.warm_up()
    assert side.block() > 0
    assert side.images == 50


# What rows say


def test_rows_have_the_fields_that_readers_of_the_json_expect(report):
    assert report["complete"] is True
    assert report["machine"].keys() >= {
        "processor",
        "cores",
        "threads",
        "gpu",
        "torch",
        "cuda",
        "python",
        "date",
    }
    assert report["machine"]["peak_tflops"]["fp32"] > 0
    found = {row["case"] for row in report["rows"]}
    assert found >= {
        "small_cnn/train",
        "small_cnn/dual_over_plain",
        "small_cnn/logging_over_none",
        "small_cnn/evaluation",
        "small_cnn/epoch",
        "small_cnn/train/with_channels_last",
    }
    for row in report["rows"]:
        assert row.keys() >= FIELDS
        assert (row["device"], row["precision"], row["n"]) == ("cpu", "fp32", 3)
        assert 0 < row["share_of_peak"] < 1


def test_a_ratio_is_that_of_its_rows_own_seconds_and_lies_in_its_interval(report):
    for row in report["rows"]:
        ours, other = row["seconds"], row["baseline_seconds"]
        over = row["case"].endswith(("dual_over_plain", "logging_over_none"))
        assert row["ratio"] == pytest.approx(ours / other if over else other / ours, rel=1e-12)
        assert row["low"] <= row["ratio"] <= row["high"]
        assert row["seconds_low"] <= ours <= row["seconds_high"]
        if row["s_per_epoch"] is not None:
            assert row["s_per_epoch"] == ours
            assert row["images_per_s"] * ours == pytest.approx(EPOCH)


def test_what_does_not_apply_here_is_told_with_the_reason(report):
    reasons = {entry["case"]: entry["reason"] for entry in report["skipped"]}
    assert "default" in reasons["small_cnn/train/precision_fp32"]
    assert "CUDA" in reasons["small_cnn/train/with_cuda_graphs"]
    assert "CUDA" in reasons["small_cnn/train/with_autotune"]


def test_the_median_pair_is_one_of_the_pairs_and_the_interval_needs_six():
    pairs = timing.Pairs((2.0, 3.0, 9.0, 4.0), (1.0, 1.0, 1.0, 2.0))  # 2, 3, 9, 2
    assert pairs.median_pair() == (2.0, 1.0)
    assert pairs.medians() == (3.5, 1.0)
    assert timing.interval([3.0, 1.0, 2.0]) == (1.0, 3.0, "min..max")
    low, high, kind = timing.interval([float(n) for n in range(1, 10)])
    assert (low, high) == (2.0, 8.0)
    assert kind.startswith("96.1%")


def test_a_cost_beside_the_passes_weighs_less_at_the_published_batch():
    bench = Bench(FULL, {}, {}, {}, {})
    case = Case("", FULL.settings[0], "dual")
    work = Work(case.setting, batch=16)
    per_image = 0.01
    fixed = 0.03 / 16  # of a step
    note = bench._at_published_batch(case, work, per_image * 17 / 16 + fixed, per_image)
    assert f"about {17 / 16 + 0.03 / 2.56:.3f} at the published batch of 256" in note


class Clockless:
    """A side whose blocks take no time, and that notes when it ran."""

    images = 1

    def __init__(self, name, order):
        self.name, self.order = name, order

    def warm_up(self):
        pass

    def block(self):
        self.order.append(self.name)
        return 1.0


def test_the_sides_take_turns_and_each_begins_every_second_pair():
    order = []
    allowance = timing.Allowance(share=float("inf"), deadline=float("inf"), most_pairs=4)
    pairs = timing.take_turns(Clockless("a", order), Clockless("b", order), allowance)
    assert "".join(order) == "abbaabba"
    assert pairs.n == 4


def test_when_the_time_is_over_one_pair_is_measured_all_the_same():
    order = []
    pairs = timing.take_turns(Clockless("a", order), Clockless("b", order), timing.Allowance(0.0, 0.0, 9))
    assert (pairs.n, order) == (1, ["a", "b"])


# What is measured


def test_the_case_names_that_others_look_for_are_there():
    names = [case.name for case in cases(FULL)]
    assert len(set(names)) == len(names)
    for name in ("resnet18/train", "vgg11/train", "resnet18/dual_over_plain", "resnet18/logging_over_none"):
        assert name in names
    assert {"vgg11/seeds_at_once_2", "vgg11/seeds_at_once_4", "resnet18/train/without_fused"} <= set(names)
    assert set(TECHNIQUES) == set(SWITCHES)


def test_each_technique_of_a_gpu_is_switched_off_alone(monkeypatch):
    usual = Numerics("cuda", 1, "bf16", channels_last=True, fused=True, compiled=True, cuda_graphs=True)
    session = Session(QUICK, [], "cuda", 1, 60.0, False, print)
    asked = {}
    monkeypatch.setattr(session, "_resolved", lambda setting, **given: asked.update(given))
    expected = dict.fromkeys(("channels_last", "fused", "compiled", "cuda_graphs"), "on") | {
        "autotune": "off"
    }
    for name in ("channels_last", "compiled", "cuda_graphs"):
        session._varied(Case("", SMALL, "technique", f"without {name}"), usual)
        assert asked == {**expected, name: "off", "precision": "bf16"}
    _, note = session._varied(Case("", SMALL, "technique", "without fused"), usual)
    assert asked == {**expected, "fused": "off", "cuda_graphs": "off", "precision": "bf16"}
    assert "CUDA graphs" in note
    session._varied(Case("", SMALL, "precision", "fp32"), usual)
    assert asked == {**expected, "precision": "fp32"}
    with pytest.raises(UserError, match="default"):
        session._varied(Case("", SMALL, "technique", "with fused"), usual)


def test_a_convolution_counts_two_operations_a_weight_and_pixel():
    _, forward = flop_per_image(SMALL)
    widths = (4, 8, 16)  # a quarter of 16, 32 and 64
    by_hand = 2 * 9 * (64 * 3 * widths[0] + 64 * widths[0] * widths[1] + 16 * widths[1] * widths[2])
    assert forward == by_hand + 2 * widths[2] * 10
    both, _ = flop_per_image(SMALL)
    first_convolution = 2 * 9 * 64 * 3 * widths[0]
    assert both == 3 * forward - first_convolution  # nobody asks for the images' own gradient


def test_a_slower_machine_gets_smaller_batches_and_a_fast_one_the_published():
    wanted = cases(FULL)
    labels = ("resnet18", "vgg11")
    fast = fitting_batches(wanted, dict.fromkeys(labels, Rate(1e-5, 1e-5)), 570)
    slow = fitting_batches(wanted, {"resnet18": Rate(0.07, 0.07), "vgg11": Rate(0.02, 0.02)}, 570)
    slowest = fitting_batches(wanted, dict.fromkeys(labels, Rate(9.0, 9.0)), 570)
    assert fast == {case.name: case.setting.batch for case in wanted}
    assert set(slowest.values()) == {4}
    required = [case for case in wanted if case.required]
    budget = Budget(570, "cpu", {"resnet18": Rate(0.07, 0.07), "vgg11": Rate(0.02, 0.02)}, slow, 50_000, 31)
    assert 200 < sum(budget.expected(case) for case in required) < 500
    assert all(slow[case.name] >= 8 for case in required)
    named = [case for case in wanted if case.kind in ("evaluation", "precision")]
    fitted = fitting_batches(named, budget.rates, 100, equally=True)
    budget = Budget(100, "cpu", budget.rates, fitted, 50_000, 31)
    assert sum(budget.expected(case) for case in named) < 100


def test_the_images_are_the_same_in_every_run():
    assert random_images(QUICK, SMALL).fingerprint == random_images(QUICK, SMALL).fingerprint
    assert np.unique(random_images(QUICK, SMALL).y_train).size == 10


@pytest.fixture
def budget(monkeypatch):
    """Makes budgets of so many seconds, of which none goes by."""
    monkeypatch.setattr("dglib.benchmark.budget.time", SimpleNamespace(monotonic=lambda: 0.0))
    rates = dict.fromkeys(("resnet18", "vgg11"), Rate(0.01, 0.01))
    batches = {case.name: 8 for case in cases(FULL)}
    return lambda seconds: Budget(
        seconds, "cpu", rates, batches, epoch_images=50_000, most_pairs=31, began=0.0
    )


def test_where_time_is_short_the_required_cases_come_first(budget):
    train, dual, *_ = (case for case in cases(FULL) if case.required)
    evaluation = next(case for case in cases(FULL) if case.kind == "evaluation")
    enough = budget(0).expected(evaluation) + 1
    assert budget(enough).refusal(evaluation, []) == ""
    assert "no time: 3 pairs" in budget(enough).refusal(evaluation, [train, dual])
    assert budget(enough).refusal(train, [dual]) == ""
    assert "no time: a pair" in budget(1).refusal(train, [])


def test_a_case_gets_the_time_that_those_after_it_can_do_without(budget):
    train, dual, *_ = (case for case in cases(FULL) if case.required)
    epoch = next(case for case in cases(FULL) if case.kind == "epoch")  # takes far more than there is
    some = budget(300)
    share = some.allowance(train, [dual, epoch]).share
    mine, other = some.expected(train), some.expected(dual)
    assert share == pytest.approx(300 * mine / (mine + other))


# The command line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only", "resnet18/trian"], "resnet18/trian: must be of resnet18/train, "),
        (["--quick", "--only", "resnet18/train"], "must be of small_cnn/train, "),
        (["--threads", "0"], "--threads 0: must be at least 1"),
        (["--threads", "many"], "--threads"),
        (["--minutes", "0"], "--minutes 0: must be above 0"),
        (["--minutes", "nan"], "--minutes nan: must be above 0"),
        (["--json", "nowhere/report.json"], "nowhere/report.json: there is no directory nowhere"),
        (["--json", "."], "is a directory"),
        (["--device", "cuda:99"], "cuda:99"),
        (["--device", "tpu"], "tpu"),
        (["faster"], "faster"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert out == ""
    assert says in line
    assert list(tmp_path.iterdir()) == []


CTRL_C_AFTER_THE_FIRST_ROW = """
import os, signal, sys, threading
from dglib.benchmark import cli

class Terminal:  # where all processes of the command get the signal
    def write(self, text):
        if text.startswith("small_cnn/train "):
            threading.Timer(0.1, os.killpg, (0, signal.SIGINT)).start()
        return sys.__stdout__.write(text)
    def flush(self):
        sys.__stdout__.flush()

sys.stdout = Terminal()
sys.exit(cli.main(sys.argv[1:]))
"""


def test_ctrl_c_leaves_the_rows_measured_until_then(tmp_path):
    path = tmp_path / "report.json"
    arguments = ["--quick", "--device", "cpu", "--threads", "1", "--json", str(path)]
    process = subprocess.Popen(
        [sys.executable, "-c", CTRL_C_AFTER_THE_FIRST_ROW, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        _, err = process.communicate(timeout=2 * PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, err
    assert "stopped after" in err.splitlines()[-1]
    report = json.loads(path.read_bytes())
    assert report["complete"] is False
    assert report["rows"][0]["case"] == "small_cnn/train"
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.slow
def test_seeds_at_once_are_compared_with_one_alone_or_left_out_for_want_of_cores(tmp_path):
    path = tmp_path / "report.json"
    name = "small_cnn/seeds_at_once_2"
    arguments = ["--quick", "--device", "cpu", "--threads", "1", "--json", str(path), "--only", name]
    assert cli.main(arguments) == 0
    report = json.loads(path.read_bytes())
    if report["machine"]["cores"] < 2:
        assert [entry["case"] for entry in report["skipped"]] == [name]
    else:
        (row,) = report["rows"]
        assert (row["case"], row["against"], row["n"]) == (name, "one process", 3)
        assert row["ratio"] == pytest.approx(row["baseline_seconds"] / row["seconds"])
