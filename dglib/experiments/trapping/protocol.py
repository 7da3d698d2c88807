"""The protocol of Tδ1."""

from __future__ import annotations

from typing import Any

from dglib.experiments.specs import rate, shared
from dglib.protocol.spec import Arm, ExperimentSpec, Phase


def td1(p: Any) -> ExperimentSpec:
    """What marks, early, the seeds that end trapped: one phase at one λ, with step logs."""
    train = Phase(
        "init",
        (p.init_lambda,),
        p.init_epochs,
        rate(p, p.milestones),
        p.evaluate_every,
        trajectory="error_trajectory",
        final="",
    )
    return ExperimentSpec(
        name="Td1",
        prefix="Td1",
        directory_prefix="exp_Td1_90_analysis",
        experiment_id="Td1-seed{seed:02d}",
        arms=(Arm("main", (train,)),),
        final_classes=(
            ("trapped_90", p.trapped_error),
            ("partial_collapse", p.partial_error),
            ("ordered", 0.0),
        ),
        constants={
            "lambda": p.init_lambda,
            "epochs_per_level": p.init_epochs,
            "lr": p.lr,
            "sweep_lr": None,
        },
        **shared(p, two_pass_statistics=p.two_pass_statistics, log_every=p.log_every),
    )
