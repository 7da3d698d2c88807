"""A live run as an experiment: the sweep's levels are those that the hand chose."""

from __future__ import annotations

from collections.abc import Sequence

from dglib.explorer.live_settings import Settings, Start
from dglib.spec import Arm, DataSpec, ExperimentSpec, LearningRate, NetworkSpec, Phase, StepSpec

NETWORK = NetworkSpec("small_cnn", 0.5)
BATCH_SIZE = 64


def live_spec(
    dataset: str, start: Start, settings: Settings, levels: Sequence[float], dwell: int
) -> ExperimentSpec:
    """The preparation, then the `levels` of λ, each held for `dwell` epochs and evaluated after each.

    Args:
        settings: learning rate, K and η throughout; what was changed on the way a record's script has.
    """
    rate = LearningRate(settings.lr)
    init = Phase("init", (start.lam,), start.epochs, rate, 1, final="")
    sweep = [Phase("sweep", tuple(levels), dwell, rate, 1, final="")] if levels else []
    data = DataSpec(dataset, settings.noise_rate)
    step = StepSpec(BATCH_SIZE, settings.refresh_period)
    parameters = {
        "dataset": data.dataset, "noise": data.noise, "noise_rate": data.noise_rate,
        "augmentation": data.augmentation, "network": NETWORK.name, "network_width": NETWORK.width,
        "batch_size": step.batch_size, "lr": settings.lr, "momentum": step.momentum,
        "weight_decay": step.weight_decay, "refresh_period": step.refresh_period,
        "start": start.name, "init_lambda": start.lam, "init_epochs": start.epochs,
    }  # fmt: skip
    return ExperimentSpec(
        name="Live",
        prefix="Live",
        directory_prefix="exp_Live",
        experiment_id="Live-{seed:03d}",
        arms=(Arm("main", (init, *sweep)),),
        network=NETWORK,
        data=data,
        step=step,
        constants={"start": start.name},
        parameters=parameters,
    )
