"""Two trunks with branches in a user's file: `python -m dglib run users_hold.py -f my.yaml`."""

from dglib.experiments import Experiment, rate, register, shared
from dglib.experiments.parameters import Count, Fraction, OneState, Upward
from dglib.protocol.spec import Arm, Criterion, ExperimentSpec, Phase, StopEvent


class HoldParameters(OneState):
    collapsed_lambda: Fraction
    """λ of the training from scratch that collapses."""
    hold_lambdas: Upward
    """λ of the branches."""
    hold_epochs: Count
    """Epochs of each branch."""
    threshold: Fraction
    """Error between ordered and collapsed."""
    consecutive: Count
    """Evaluations in a row beyond the threshold."""


class Hold(Experiment):
    name = "Hold"
    title = "How long a state lasts"
    question = "Does a network stay in its state at a constant λ?"
    parameters = HoldParameters

    def spec(self, p):
        lr = rate(p, p.milestones)
        arms = []
        for start, lam, beyond in (("ordered", p.init_lambda, ">="), ("collapsed", p.collapsed_lambda, "<=")):
            trunk = Phase("init", (lam,), p.init_epochs, lr, p.evaluate_every, f"{start}_trajectory")
            arms.append(Arm(start, (trunk,)))
            for level in p.hold_lambdas:
                name = f"{start}_{level:g}"
                fields = (f"{name}_lambda", f"{name}_left", f"{name}_epochs")
                event = StopEvent(Criterion(beyond, p.threshold), p.consecutive, *fields, ends_phase=False)
                hold = Phase("hold", (level,), p.hold_epochs, lr, 1, f"{name}_trajectory", event=event)
                arms.append(Arm(name, (hold,), start=f"{start}/init"))
        return ExperimentSpec(
            name=self.name,
            prefix=self.prefix,
            directory_prefix="exp_Hold",
            experiment_id="Hold-{seed:03d}",
            arms=tuple(arms),
            outcome_without_event="complete",
            **shared(p),
        )


register(Hold())
