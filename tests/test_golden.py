"""Golden records: a change of code that moves results is noticed, and must raise RESULTS_VERSION.

`python tests/test_golden.py` writes them anew, with the version and the machine that they belong to. On the
same processor and torch every number must be the same; elsewhere sums run in another order, and the few steps
of these runs agree to `TOLERANCE`.
"""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from small import CPU, digits, small_spec
from test_freeze import machine

from dglib.runs.identity import RESULTS_VERSION
from dglib.runs.seed import run_seed

GOLDEN = Path(__file__).parent / "results" / "golden.json"
IMAGES, BATCH, LR, STEPS = 200, 128, 0.01, 6

# ROUNDING: how far two machines' directions of one step may differ, in norm. N roundings before a
# number move it by about sqrt(N) units of 2^-24 (Higham & Mary 2019, SIAM J. Sci. Comput. 41, A2815). The
# longest sums run over a batch's pixels. VGG11's ten layers with weights have six such sums each: the layer,
# BatchNorm's mean and variance, and the same backward. Twice, for two machines.
UNIT = 2.0**-24
ROUNDING = (2 * BATCH * 8 * 8 * 6 * 10) ** 0.5 * UNIT
# GROWTH, per step: both parts of a mix have norm 1, so a direction that is off by e moves weights of norm W
# by LR·e/W of themselves, and the next gradient by CONDITION times that: ten layers, to each of which its own
# weights, BatchNorm's division and switching ReLUs give a condition of some ten, three times for momentum.
WEIGHT_NORM, CONDITION = 6.0, 300
GROWTH = 1 + LR / WEIGHT_NORM * CONDITION
# An epoch's update is a difference of weights, each rounded at every step; it is a quarter of LR at least.
CANCELLATION = (2 * STEPS) ** 0.5 * UNIT * WEIGHT_NORM / (LR / 4)
TOLERANCE = ROUNDING * sum(GROWTH**step for step in range(STEPS)) + CANCELLATION  # 1.6e-3

COMMON = {"batch_size": BATCH, "lr": LR, "lr_decay": 0.5, "weight_decay": 0.05, "refresh_period": 3}
SPINODAL = {"init_epochs": 1, "init_evaluate_every": 1, "milestones": [1], "epochs_per_level": 1}
V3 = {"ordered_epochs": 1, "ordered_milestones": [], "collapse_epochs": 1, "collapse_milestones": []}
RUNS = {
    "T1": ("T1", {**SPINODAL, "sweep_lambdas": [0.5], "return_lambdas": [0.4], "consecutive": 1}),
    "T2 augmented": (
        "T2",
        {**SPINODAL, "sweep_lambdas": [0.5, 0.3], "augmentation": "crop_flip", "crop_padding": 1},
    ),
    "V3 with dropout": ("V3", {**V3, "sweep_lambdas": [0.3], "network": "vgg11_bn", "network_width": 0.0625}),
    "Td1": ("Td1", {"init_epochs": 3, "evaluate_every": 1, "log_every": 1}),
}
EPOCH = ("lambda", "lr", "steps", "loss_s", "loss_v", "weight_norm", "update_norm", "c_sv")
EVALUATION = ("lambda", "epoch", "test_loss")
DECIDED = ("error", "predicted")  # by an argmax, which a tie of two logits may tip
STEP = ("c_sv", "c_mc", "norm_s", "norm_v", "norm_mix", "loss_s", "loss_v")


def made(name, seed=0, **changes):
    """A few steps' numbers by where they were taken: of each epoch, evaluation and logged step."""
    data = digits()
    few = {part: getattr(data, part)[:IMAGES] for part in ("x_train", "y_train", "x_test", "y_test")}
    experiment, own = RUNS[name]
    record = run_seed(small_spec(experiment, **{**COMMON, **own, **changes}), seed, replace(data, **few), CPU)
    rows = {
        "epochs": (EPOCH, record["epoch_log"]),
        "steps": (STEP, record.get("step_logs", [])),
        **{
            key: (EVALUATION + DECIDED, points)
            for key, points in record.items()
            if key.endswith("trajectory") and points
        },
    }
    return {
        f"{key} {number} {column}": row[column]
        for key, (columns, entries) in rows.items()
        for number, row in enumerate(entries)
        for column in columns
        if column in row
    }


def differences(expected, found, tolerance):
    """What differs by more than `tolerance` of itself, as lines; by anything at all if that is 0."""
    lines = [f"{place} is no longer there" for place in sorted(expected.keys() - found.keys())]
    for place, golden in expected.items():
        if place not in found or (tolerance and place.endswith(DECIDED)):
            continue
        now = found[place]
        if isinstance(golden, float) and isinstance(now, float):
            if not abs(now - golden) <= tolerance * abs(golden):
                lines.append(f"{place} is {now}, was {golden}")
        elif now != golden:
            lines.append(f"{place} is {now}, was {golden}")
    return lines


@pytest.mark.parametrize("name", RUNS)
def test_results_are_those_of_their_results_version(name):
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert golden["results_version"] == RESULTS_VERSION, "write the golden records of the new version"
    tolerance = 0 if golden["machine"] == machine() else TOLERANCE
    lines = differences(golden["records"][name], made(name), tolerance)
    assert not lines, (
        f"{len(lines)} numbers differ from the golden record, by more than {tolerance:.2g} of it:"
        f" {'; '.join(lines[:8])}. Either the code computes something else now: raise RESULTS_VERSION and"
        f" run `python {__file__}`. Or this machine ({machine()}) rounds otherwise than {golden['machine']}"
    )


CROPPED = {"augmentation": "crop_flip", "crop_padding": 1}


@cache
def cropped():
    return made("Td1", **CROPPED)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"lr": LR * 1.02},
        {"lr_decay": 0.6},
        {"momentum": 0.88},
        {"weight_decay": 0.045},
        {"refresh_period": 2},
        {"init_lambda": 0.59},
        {"noise_rate": 0.38},
        {"crop_padding": 0},
    ],
    ids=lambda change: "".join(change),
)
def test_the_tolerance_for_other_machines_lets_no_change_of_the_step_pass(change):
    assert differences(cropped(), made("Td1", **{**CROPPED, **change}), TOLERANCE)


if __name__ == "__main__":
    records = {name: made(name) for name in RUNS}
    golden = {"results_version": RESULTS_VERSION, "machine": machine(), "records": records}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")
