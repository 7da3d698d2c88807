"""The protocols of T1 and T2: hold λ until the network has settled, then sweep it until an event."""

from __future__ import annotations

from typing import Any

from dglib.experiments.specs import rate, shared, sweep_rate
from dglib.protocol.spec import Arm, Criterion, ExperimentSpec, Phase, StopEvent, Success


def _spinodal(p: Any, name: str, success: Success, event: StopEvent, *more: Phase) -> ExperimentSpec:
    """T1 and T2: hold λ until the network has settled, then sweep it until the state gives way."""
    init = Phase(
        "init",
        (p.init_lambda,),
        p.init_epochs,
        rate(p, p.milestones),
        p.init_evaluate_every,
        success=success,
    )
    sweep = Phase(
        "sweep",
        tuple(p.sweep_lambdas),
        p.epochs_per_level,
        sweep_rate(p),
        p.evaluate_every,
        final="",
        event=event,
    )
    return ExperimentSpec(
        name=name,
        prefix=f"{name}-spinodal",
        directory_prefix="exp_T_spinodal",
        experiment_id=f"{name}-spinodal-{{seed:03d}}",
        arms=(Arm("main", (init, sweep, *more)),),
        constants={"epochs_per_level": p.epochs_per_level, "lr": p.lr, "sweep_lr": p.sweep_lr},
        **shared(p),
    )


def t1(p: Any) -> ExperimentSpec:
    """λ↑: an ordered network, λ raised until it collapses; with `return_sweep`, lowered again from there."""
    back = Phase(
        "return",
        tuple(p.return_lambdas),
        p.epochs_per_level,
        sweep_rate(p),
        p.evaluate_every,
        trajectory="return_trajectory",
        final="return_",
        event=StopEvent(
            Criterion("<=", p.recovery_error), p.consecutive, "return_lambda_down", "return_recovered"
        ),
        only_after_event="below",
    )
    return _spinodal(
        p,
        "T1",
        Success(Criterion("<=", p.init_error_max), "init_error", "init_success"),
        StopEvent(Criterion(">=", p.collapse_error), p.consecutive, "lambda_up", "collapsed"),
        *([back] if p.return_sweep else []),
    )


def t2(p: Any) -> ExperimentSpec:
    """λ↓: a collapsed (or trapped) network, λ lowered until it recovers."""
    return _spinodal(
        p,
        "T2",
        Success(Criterion(">=", p.init_error_min), "init_error", "init_success"),
        StopEvent(Criterion("<=", p.recovery_error), p.consecutive, "lambda_down", "recovered"),
    )
