"""A new experiment of the family is data alone: R1, a loop in λ by one network that no event stops.

λ 0.20 → 0.65 → 0.20, one seed, no stopping: the whole loop as a function of λ, after an unjudged init.
"""

import json
from dataclasses import replace

from small import CPU, digits

from dglib.protocol import engine
from dglib.protocol.records import csv_views
from dglib.protocol.spec import Arm, DataSpec, ExperimentSpec, LearningRate, NetworkSpec, Phase, StepSpec
from dglib.runs import identity
from dglib.runs.experiment import run_experiment
from dglib.runs.store import Store

LEVELS = (0.20, 0.35, 0.50, 0.65)
RATE = LearningRate(0.1)

R1 = ExperimentSpec(
    name="R1",
    prefix="R1",
    directory_prefix="exp_R1_loop",
    experiment_id="R1-{seed:04d}",
    arms=(
        Arm(
            "loop",
            (
                Phase("init", (0.20,), 3, RATE, 2),
                Phase("up", LEVELS, 1, RATE, 1, trajectory="up_trajectory", final="up_"),
                Phase("down", LEVELS[-2::-1], 1, RATE, 1, trajectory="down_trajectory", final="down_"),
            ),
        ),
    ),
    network=NetworkSpec("small_cnn", 0.25),
    data=DataSpec("digits", noise_rate=0.4),
    step=StepSpec(batch_size=64, refresh_period=16),
    outcome_without_event="complete",
    constants={"epochs_per_level": 1, "lr": 0.1},
)


def run_r1(base, spec=R1):
    data = digits()
    described = identity.describe(spec, data.fingerprint, device="cpu", threads=1)
    store, why = Store.open(base, spec, described, identity.describe_shared(spec, data.fingerprint), {})
    return run_experiment(store, [0], data, CPU), store, why


def test_a_loop_in_lambda_runs_from_its_description_alone(tmp_path):
    (record,), store, _ = run_r1(tmp_path)
    assert (record["experiment"], record["experiment_id"]) == ("R1", "R1-0000")
    assert record["outcome"] == "complete"
    assert [point["lambda"] for point in record["up_trajectory"]] == [0.20, 0.35, 0.50, 0.65]
    assert [point["lambda"] for point in record["down_trajectory"]] == [0.50, 0.35, 0.20]
    assert [point["epoch"] for point in record["trajectory"]] == [2, 3]
    assert [point["epoch"] for point in record["up_trajectory"]] == [4, 5, 6, 7]
    assert [point["epoch"] for point in record["down_trajectory"]] == [8, 9, 10]
    assert (record["up_final_lambda"], record["down_final_lambda"]) == (0.65, 0.20)
    assert len(record["epoch_log"]) == engine.planned_epochs(R1) == 10
    points = (*record["trajectory"], *record["up_trajectory"], *record["down_trajectory"])
    assert min(point["error"] for point in points) < 0.5  # it has learned something: chance is 0.9
    assert json.loads((store.directory / "R1_results.json").read_bytes()) == [record]
    (text,) = csv_views(R1, [record]).values()
    assert text.startswith("seed,experiment,experiment_id,eta,outcome,epochs_per_level,lr,")


def test_its_finished_seed_is_found_again_and_other_levels_are_another_run(tmp_path):
    small = replace(R1, arms=(Arm("loop", (Phase("up", (0.2, 0.65), 1, RATE, 1),)),))
    records, store, _ = run_r1(tmp_path, small)
    again, same, why = run_r1(tmp_path, small)
    assert (again, same.directory) == (records, store.directory)
    assert why.startswith("resuming exp_R1_loop_")
    other = replace(small, arms=(Arm("loop", (Phase("up", (0.2, 0.60), 1, RATE, 1),)),))
    _, another, why = run_r1(tmp_path, other)
    assert another.directory != store.directory
    assert why.endswith("spec.arms[0].phases[0].levels[1]: 0.65 → 0.6")
