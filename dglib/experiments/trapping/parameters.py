"""Parameters of Tδ1."""

from typing import Annotated

from dglib.experiments.parameters import Count, CountOrZero, Epochs, Flag, Fraction, Number, OneState
from dglib.experiments.pydantic import Field


class Td1Parameters(OneState):
    """Tδ1: one λ held, the two gradients logged on the way to each seed's end."""

    log_every: Count
    """Steps from one log of the gradients to the next, from 1."""
    two_pass_statistics: Flag
    """Whether BatchNorm's running statistics move as by two passes on every step: true or false."""
    trapped_error: Fraction = 0.85
    """A seed is trapped at this final error or above, 0 to 1."""
    partial_error: Fraction = 0.40
    """Below that, a seed is a partial collapse at this final error or above, 0 to 1."""
    compare_epochs: Epochs = Field([5, 10, 20])
    """Epochs, counted from 0, rising, at which the classes are compared, at least one."""
    early_epochs: CountOrZero = 10
    """Last epoch, counted from 0, of the early comparison."""
    early_difference: Annotated[Number, Field(ge=0)] = 0.05
    """The classes diverge early if their mean c_sv up to there differs by more than this, from 0."""
