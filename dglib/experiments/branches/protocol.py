"""The protocol of V3."""

from __future__ import annotations

from typing import Any

from dglib.experiments.specs import rate, shared
from dglib.protocol.spec import Arm, Criterion, ExperimentSpec, LearningRate, Phase, Success


def v3(p: Any) -> ExperimentSpec:
    """From the ordered network upward, from the collapsed one downward."""
    sweep_rate = LearningRate(p.lr * p.sweep_lr_factor if p.sweep_lr is None else p.sweep_lr)

    def arm(name: str, lam: float, epochs: int, milestones: list[int], test: Criterion, offset: int) -> Arm:
        levels = tuple(p.sweep_lambdas) if name == "ordered" else tuple(reversed(p.sweep_lambdas))
        init = Phase(
            "init",
            (lam,),
            epochs,
            rate(p, milestones),
            p.init_evaluate_every,
            trajectory=f"{name}_init_trajectory",
            seed_offset=offset,
            success=Success(test, f"{name}_init", f"{name}_init_success"),
        )
        sweep = Phase(
            "sweep",
            levels,
            p.epochs_per_level,
            sweep_rate,
            p.epochs_per_level,
            trajectory=f"{name}_trajectory",
            restart=True,
        )
        return Arm(name, (init, sweep))

    ordered = Criterion("<", p.ordered_error_max)
    collapsed = Criterion(">=", p.collapse_error_min)
    return ExperimentSpec(
        name="V3",
        prefix="V3",
        directory_prefix="exp_V3_vgg11",
        experiment_id="V3-s{seed}",
        arms=(
            arm("ordered", p.ordered_lambda, p.ordered_epochs, p.ordered_milestones, ordered, 0),
            arm("collapse", p.collapse_lambda, p.collapse_epochs, p.collapse_milestones, collapsed, 100),
        ),
        outcome_without_event="complete",
        constants={
            "arch": "VGG11-BN" if p.network == "vgg11_bn" else p.network,
            "epochs_per_level": p.epochs_per_level,
            "lr": p.lr,
            "sweep_lr": sweep_rate.base,
        },
        **shared(p),
    )
