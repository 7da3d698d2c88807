"""What an epoch gathered in the state, as numbers for the protocol."""

from __future__ import annotations

from dglib.protocol import EpochStats
from dglib.state import TrainState
from dglib.training.step import total_norm


def epoch_stats(state: TrainState, lr: float) -> EpochStats:
    """Fetch it once the epoch's last step is taken, in one transfer from the device per kind.

    Args:
        lr: the learning rate of that step.
    """
    loss_s, n_s, loss_v, n_v, skipped, c_sv = state.sums.tolist()
    taken = n_s - skipped
    momentum = state.momentum()  # empty without momentum, where the update is held nowhere
    return EpochStats(
        loss_s=loss_s / taken if taken else float("nan"),
        loss_v=loss_v / n_v if n_v else float("nan"),
        weight_norm=float(total_norm(state.params).detach()),
        update_norm=float(total_norm(momentum)) * lr if momentum else float("nan"),
        steps=tuple((float(step), *row.tolist()) for step, row in state.step_log),
        taken=int(n_s),
        skipped=int(skipped),
        c_sv=c_sv / n_v if n_v else float("nan"),
    )
