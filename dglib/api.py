"""An experiment from its parameters to its answer, for notebooks, scripts and commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dglib.control import Control
from dglib.experiments.run import Run, load_data
from dglib.experiments.run import run as run_experiment

if TYPE_CHECKING:
    from dglib.experiments.parameters import Parameters


def run(parameters: Parameters, *, control: Control | None = None, **options: Any) -> Run:
    """Run an experiment's seeds, those already finished excepted, and draw its figures.

    Everything that was given is checked before anything is written. `seeds_at_once` seeds are trained in
    parallel, each in a process of its own.

    Args:
        options: see `dglib.experiments.run.run`.

    Raises:
        UserError: what was given cannot be used.
        Interrupted: a stop was asked for; the same call resumes.
    """
    if parameters.seeds_at_once > 1:
        from dglib.campaign.local import train_in_parallel

        options["in_parallel"] = train_in_parallel
    return run_experiment(parameters, control=control, **options)


__all__ = ["Run", "load_data", "run"]
