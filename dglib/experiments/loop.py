"""A loop in λ by one network that no event stops: up level by level, and down again."""

from typing import Any

from dglib.analysis.answer import Row
from dglib.analysis.curves import area_of, differences_at, mean_difference
from dglib.analysis.fields import Records
from dglib.analysis.summary import Summary, exact, paired, quantity
from dglib.experiments import register
from dglib.experiments.base import Experiment, Sweep, rate, sweep_rate
from dglib.experiments.parameters import Downward, Fraction, OneState, SweepParameters, Upward
from dglib.protocol.spec import Arm, Criterion, ExperimentSpec, Phase, Success


class LoopParameters(SweepParameters, OneState):
    """An ordered network under λ that rises and falls again."""

    init_error_max: Fraction = 0.30
    """The trained network is ordered at this error or below, 0 to 1."""
    sweep_lambdas: Upward
    """Levels of λ, rising, 0 to 1, at least one."""
    return_lambdas: Downward
    """Levels of λ on the return, falling, 0 to 1, at least one."""


class Loop(Experiment):
    name = "loop"
    title = "Whether a network that is led up and down in λ draws a loop"
    question = (
        "Is the error at one λ higher in the falling sweep than in the rising one, where nothing stops them?"
    )
    counts = "The error of the falling sweep less that of the rising one at the same λ, by seed."
    parameters = LoopParameters
    quantities = ("memory",)
    sweeps = (
        Sweep("loop-up", "loop, λ raised", "up_trajectory", True, "ordered"),
        Sweep("loop-down", "loop, λ lowered", "down_trajectory", False, "collapsed"),
    )

    def spec(self, p: Any) -> ExperimentSpec:
        success = Success(Criterion("<=", p.init_error_max), "init_error", "init_success")
        sweep = (p.epochs_per_level, sweep_rate(p), p.evaluate_every)
        init = rate(p, p.milestones)
        phases = (
            Phase("init", (p.init_lambda,), p.init_epochs, init, p.init_evaluate_every, success=success),
            Phase("up", tuple(p.sweep_lambdas), *sweep, trajectory="up_trajectory", final="up_"),
            Phase("down", tuple(p.return_lambdas), *sweep, trajectory="down_trajectory", final=""),
        )
        constants = {"epochs_per_level": p.epochs_per_level, "lr": p.lr, "sweep_lr": p.sweep_lr}
        return self.protocol(p, Arm("main", phases), outcome_without_event="complete", constants=constants)

    def summarise(self, records: Records) -> dict[str, Any]:
        summary = super().summarise(records)
        for seed, record in zip(summary["seeds"], records, strict=True):
            apart = differences_at(*(sweep.evaluations(record) for sweep in self.sweeps))
            seed |= {"memory": mean_difference(apart), "area": area_of(apart)}
        for name in ("memory", "area"):
            summary[name] = paired([seed[name] for seed in summary["seeds"] if seed[name] is not None])
        known = exact([seed["memory"] for seed in summary["seeds"] if seed["memory"] is not None])
        return summary | {"estimates": {"memory": quantity(known)}}

    def rows(self, summary: Summary) -> list[Row]:
        return [
            Row.of_mean("falling − rising error, same λ", summary["memory"]),
            Row.of_mean("loop area, signed", summary["area"]),
            *super().rows(summary),
        ]


register(Loop())
