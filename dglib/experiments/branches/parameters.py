"""Parameters of V3."""

from dglib.experiments.parameters import Count, Fraction, Milestones, Positive, Sweep, Upward


class V3Parameters(Sweep):
    """Two branches: an ordered network under rising λ, a collapsed one under falling λ."""

    ordered_lambda: Fraction
    """λ at which the ordered network is trained, 0 to 1."""
    ordered_epochs: Count
    """Epochs at ordered_lambda, from 1."""
    ordered_milestones: Milestones
    """Epochs completed when the ordered network's LR drops by lr_decay, rising, from 1; [] for never."""
    ordered_error_max: Fraction = 0.25
    """The network is ordered below this error, 0 to 1."""
    collapse_lambda: Fraction
    """λ at which the collapsed network is trained, 0 to 1."""
    collapse_epochs: Count
    """Epochs at collapse_lambda, from 1."""
    collapse_milestones: Milestones
    """Epochs completed when the collapsed network's LR drops by lr_decay, rising, from 1; [] for never."""
    collapse_error_min: Fraction = 0.45
    """The network is collapsed at this error or above, 0 to 1."""
    sweep_lambdas: Upward
    """Levels of λ, rising, 0 to 1, at least one; the collapse branch takes them backwards."""
    sweep_lr_factor: Positive = 0.01
    """LR of the sweep as a multiple of lr where sweep_lr is null, above 0."""
    gap_lambda: Fraction = 0.50
    """λ at which the branches are compared, 0 to 1."""
    gap_error: Fraction = 0.10
    """The branches are two if their errors differ by more than this, 0 to 1."""
