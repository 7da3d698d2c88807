"""The four experiments as data. Source: HIDEKI, Dual-Gradient Learning, Paper A
(doi 10.5281/zenodo.18215925), experiments V3, T1, T2 and Tδ1.

Each function turns flat parameters (any object with the attributes named in `parameters`) into an
`ExperimentSpec`. A new experiment of the family is one more function like these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dglib.errors import UserError
from dglib.spec import (
    Arm,
    Criterion,
    DataSpec,
    ExperimentSpec,
    LearningRate,
    NetworkSpec,
    Phase,
    StepSpec,
    StopEvent,
    Success,
)

# Parameters that say how an experiment's records are read; those, and where and for which seeds it runs.
READING = frozenset({"gap_lambda", "gap_error", "compare_epochs", "early_epochs", "early_difference"})
# The numerics stand in the fingerprint beside the specification.
TECHNIQUES = ("precision", "channels_last", "fused", "compiled", "cuda_graphs", "autotune")
NUMERICS = ("device", "threads", "exact", *TECHNIQUES)
MACHINE = frozenset(
    {*NUMERICS, "seeds_at_once", "checkpoint_epochs", "checkpoint_minutes"}
    | {"mirror", "work_dir"}
)
NOT_IDENTITY = READING | {"seeds", "base_dir", "data_dir"} | MACHINE


def build_spec(experiment: str, parameters: Any) -> ExperimentSpec:
    """The specification of `experiment` ("V3", "T1", "T2" or "Td1") under `parameters`."""
    if experiment not in BUILDERS:
        raise UserError(f"experiment = {experiment!r}: must be one of {', '.join(BUILDERS)}")
    return BUILDERS[experiment](parameters)


def requested_numerics(parameters: Any) -> dict[str, Any]:
    """The numerics asked for, as they identify a run; a technique left to "auto" is not among them."""
    asked = {name: getattr(parameters, name) for name in NUMERICS}
    return {name: value for name, value in asked.items() if name not in TECHNIQUES or value != "auto"}


def read_under(parameters: Any, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records with the READING parameters as they are now: none was trained under them."""
    now = reading_of(parameters)
    return [{**record, "parameters": {**record["parameters"], **now}} for record in records]


def reading_of(parameters: Any) -> dict[str, Any]:
    """The READING parameters among an experiment's parameters."""
    return {name: getattr(parameters, name) for name in sorted(READING) if hasattr(parameters, name)}


def _shared(p: Any, **step: Any) -> dict[str, Any]:
    """What all experiments have: network, data, step constants and the parameters for the record."""
    given = p if isinstance(p, dict) else dict(p) if hasattr(p, "__iter__") else dict(vars(p))
    mean, std = p.pixel_mean, p.pixel_std
    rules = {name: getattr(p, name) for name in ("mix", "value") if hasattr(p, name)}
    return {
        "network": NetworkSpec(p.network, p.network_width),
        "data": DataSpec(
            dataset=p.dataset,
            noise_rate=p.noise_rate,
            noise=p.noise,
            augmentation=p.augmentation,
            crop_padding=p.crop_padding,
            pixel_mean=None if mean is None else tuple(mean),
            pixel_std=None if std is None else tuple(std),
        ),
        "step": StepSpec(p.batch_size, p.refresh_period, p.momentum, p.weight_decay, **rules, **step),
        "parameters": {name: value for name, value in given.items() if name not in NOT_IDENTITY},
    }


def _rate(p: Any, milestones: list[int]) -> LearningRate:
    return LearningRate(p.lr, tuple(milestones), p.lr_decay)


def _sweep_rate(p: Any) -> LearningRate:
    """The published schedule running on from the init, or the constant rate that was asked for."""
    return _rate(p, p.milestones) if p.sweep_lr is None else LearningRate(p.sweep_lr)


def _spinodal(p: Any, name: str, success: Success, event: StopEvent, *more: Phase) -> ExperimentSpec:
    """T1 and T2: hold λ until the network has settled, then sweep it until the state gives way."""
    init = Phase(
        "init",
        (p.init_lambda,),
        p.init_epochs,
        _rate(p, p.milestones),
        p.init_evaluate_every,
        success=success,
    )
    sweep = Phase(
        "sweep",
        tuple(p.sweep_lambdas),
        p.epochs_per_level,
        _sweep_rate(p),
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
        **_shared(p),
    )


def t1(p: Any) -> ExperimentSpec:
    """λ↑: an ordered network, λ raised until it collapses; with `return_sweep`, lowered again from there."""
    back = Phase(
        "return",
        tuple(p.return_lambdas),
        p.epochs_per_level,
        _sweep_rate(p),
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


def v3(p: Any) -> ExperimentSpec:
    """Two branches over the same λ: from the ordered network upward, from the collapsed one downward."""
    sweep_rate = LearningRate(p.lr * p.sweep_lr_factor if p.sweep_lr is None else p.sweep_lr)

    def arm(name: str, lam: float, epochs: int, milestones: list[int], test: Criterion, offset: int) -> Arm:
        levels = tuple(p.sweep_lambdas) if name == "ordered" else tuple(reversed(p.sweep_lambdas))
        init = Phase(
            "init",
            (lam,),
            epochs,
            _rate(p, milestones),
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
        **_shared(p),
    )


def td1(p: Any) -> ExperimentSpec:
    """What marks, early, the seeds that end trapped: one phase at one λ, with step logs."""
    train = Phase(
        "init",
        (p.init_lambda,),
        p.init_epochs,
        _rate(p, p.milestones),
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
        **_shared(p, two_pass_statistics=p.two_pass_statistics, log_every=p.log_every),
    )


BUILDERS: dict[str, Callable[[Any], ExperimentSpec]] = {"V3": v3, "T1": t1, "T2": t2, "Td1": td1}
EXPERIMENTS = tuple(BUILDERS)
