"""The null control: λ that is held and not raised makes no collapse in as many epochs as the sweep takes."""

from dataclasses import replace

import pytest

from dglib.experiments import build_spec
from dglib.experiments.profiles import load_profile
from dglib.protocol import engine
from dglib.runs.seed import run_seed
from dglib.training.data import load_dataset
from dglib.training.numerics import Numerics

HELD = 0.35
SEEDS = range(2)


def null_spec():
    """The quick T1 with λ = 0.35 at every level of its sweep, which never returns."""
    spec = build_spec("T1", load_profile("T1", "quick", ["return_sweep=false", f"init_lambda={HELD}"]))
    (arm,) = spec.arms
    init, sweep = arm.phases
    held = replace(sweep, levels=(HELD,) * len(sweep.levels))
    return replace(spec, arms=(replace(arm, phases=(init, held)),))


def one_seed(seed):
    spec = null_spec()
    return run_seed(
        spec, seed, load_dataset(spec.data.dataset, data_dir="unused"), Numerics.resolve("cpu", 1)
    )


@pytest.mark.slow
def test_lambda_held_at_035_for_as_long_as_the_sweep_makes_no_event():
    records = [one_seed(seed) for seed in SEEDS]

    worst = {r["seed"]: max(p["error"] for p in r["trajectory"] if p["phase"] == "sweep") for r in records}
    print(f"worst error while λ was held at {HELD}: {max(worst.values()):.3f}; by seed {worst}")
    # A failed init would be no answer either: it counts as one that is not ordered.
    assert [r["outcome"] for r in records] == ["no_event"] * len(SEEDS), worst
    spec = null_spec()
    collapsed = spec.arms[0].phases[1].event
    for record in records:
        assert len(record["epoch_log"]) == engine.planned_epochs(spec)
        assert {row["lambda"] for row in record["epoch_log"]} == {HELD}
        # The init counts too: no three evaluations in a row, from the first on, look collapsed.
        met = [collapsed.criterion.holds(point["error"]) for point in record["trajectory"]]
        windows = zip(*(met[k:] for k in range(collapsed.consecutive)), strict=False)
        assert not any(all(window) for window in windows), record["seed"]
