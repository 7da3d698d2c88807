"""The error on the whole test set, and what tells a trapped network from a diverged one."""

from __future__ import annotations

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from dglib.diagnostics import activity, dead_share
from dglib.evaluation import Evaluation
from dglib.numerics import Numerics
from dglib.state import TrainState
from dglib.trainer import DeviceData

# Fixed: another size may round the logits, and with them the argmax, differently.
CPU_BATCH, CUDA_BATCH = 1000, 2500


@torch.no_grad()
def evaluate(state: TrainState, data: DeviceData, numerics: Numerics) -> Evaluation:
    """Evaluate the network in the precision that it trains in; one transfer from the device, at the end.

    Leaves no trace in the state.
    """
    device, classes = data.y_test.device, data.classes
    size = CUDA_BATCH if device.type == "cuda" else CPU_BATCH
    correct = torch.zeros((), dtype=torch.int64, device=device)
    loss = torch.zeros((), dtype=torch.float64, device=device)
    predicted = torch.zeros(classes, dtype=torch.int64, device=device)
    finite = torch.ones((), dtype=torch.bool, device=device)
    state.model.eval()
    alive: list[Tensor] | None = None
    for start in range(0, len(data.y_test), size):
        labels = data.y_test[start : start + size]
        x = data.inputs(data.x_test[start : start + size])
        # The first batch is enough to tell the dead channels.
        with numerics.autocast(), activity(state.model) if alive is None else nullcontext(alive) as alive:
            logits = state.model(x.contiguous(memory_format=numerics.memory_format)).float()
        guess = logits.argmax(dim=1)
        correct += (guess == labels).sum()
        loss += F.cross_entropy(logits, labels, reduction="sum")
        predicted += (guess.unsqueeze(1) == torch.arange(classes, device=device)).sum(dim=0)
        finite &= logits.isfinite().all()
    state.model.train()
    total = len(data.y_test)
    flags = torch.stack([correct, finite]).double()
    dead = dead_share(alive or [], device)
    numbers = torch.cat([flags, loss.view(1), dead.view(1), predicted.double()]).tolist()
    return Evaluation(
        error=1 - int(numbers[0]) / total,
        loss=numbers[2] / total,
        predicted=tuple(int(n) for n in numbers[4:]),
        finite=bool(numbers[1]),
        dead_channels=numbers[3],
    )
