"""An experiment of a user's own: `python run_all.py --experiment-file users_loop.py`."""

from dglib.experiments import Experiment, Sweep, rate, register, sweep_rate
from dglib.experiments.parameters import Downward, OneState, SweepParameters, Upward
from dglib.protocol.spec import Arm, Phase


class R1Parameters(SweepParameters, OneState):
    sweep_lambdas: Upward
    """Levels of λ on the way up."""
    return_lambdas: Downward
    """Levels of λ on the way down."""


class R1(Experiment):
    name = "R1"
    title = "A loop of my own"
    question = "Does the error come back the way it went?"
    parameters = R1Parameters
    sweeps = (
        Sweep("R1-up", "R1, λ raised", "up_trajectory", True, "ordered"),
        Sweep("R1-down", "R1, λ lowered", "down_trajectory", False, "collapsed"),
    )

    def spec(self, p):
        init = Phase("init", (p.init_lambda,), p.init_epochs, rate(p, p.milestones), p.init_evaluate_every)
        sweep = (p.epochs_per_level, sweep_rate(p), p.evaluate_every)
        up = Phase("up", tuple(p.sweep_lambdas), *sweep, trajectory="up_trajectory", final="up_")
        down = Phase("down", tuple(p.return_lambdas), *sweep, trajectory="down_trajectory", final="")
        constants = {"epochs_per_level": p.epochs_per_level, "lr": p.lr}
        arm = Arm("main", (init, up, down))
        return self.protocol(p, arm, outcome_without_event="complete", constants=constants)


register(R1())
