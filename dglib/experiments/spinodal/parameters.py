"""Parameters of T1 and T2."""

from dglib.experiments.parameters import Count, Downward, Flag, Fraction, OneState, Sweep, Upward
from dglib.experiments.pydantic import ValidationInfo, field_validator


class Spinodal(Sweep, OneState):
    """A sweep that ends once the error has crossed a threshold and stays beyond it."""

    consecutive: Count = 3
    """Evaluations in a row beyond the threshold that make an event, from 1."""
    recovery_error: Fraction = 0.20
    """A network has recovered at this error or below, 0 to 1."""


class T1Parameters(Spinodal):
    """λ↑: an ordered network under rising λ, and with return_sweep back down again."""

    init_error_max: Fraction
    """The trained network is ordered at this error or below, 0 to 1."""
    sweep_lambdas: Upward
    """Levels of λ, rising, init_lambda to 1, at least one."""
    collapse_error: Fraction = 0.40
    """A network has collapsed at this error or above, 0 to 1."""
    return_sweep: Flag
    """Whether λ is lowered again after a collapse: true or false."""
    return_lambdas: Downward
    """Levels of λ on the way back, falling, 0 to 1, at least one; those below the collapse are used."""

    @field_validator("sweep_lambdas")
    @classmethod
    def _from_the_ordered_side(cls, levels: list[float], info: ValidationInfo) -> list[float]:
        if levels[0] < info.data.get("init_lambda", 0):
            raise ValueError(f"must start at init_lambda = {info.data['init_lambda']} or above")
        return levels


class T2Parameters(Spinodal):
    """λ↓: a collapsed network under falling λ."""

    init_error_min: Fraction
    """The trained network is collapsed at this error or above, 0 to 1."""
    sweep_lambdas: Downward
    """Levels of λ, falling, init_lambda to 0, at least one."""

    @field_validator("sweep_lambdas")
    @classmethod
    def _from_the_collapsed_side(cls, levels: list[float], info: ValidationInfo) -> list[float]:
        if levels[0] > info.data.get("init_lambda", 1):
            raise ValueError(f"must start at init_lambda = {info.data['init_lambda']} or below")
        return levels
