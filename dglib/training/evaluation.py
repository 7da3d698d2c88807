"""The error on the whole test set, and every other number of an evaluation.

Your own metric is a function of logits (N, C), float32, and labels (N,), int64, of the whole test set:

    @metrics.register("confidence")
    def confidence(logits, labels):
        return logits.softmax(dim=1).amax(dim=1).mean()

It gives one number, as a float or a 0-dim tensor. With the parameter `metrics: [confidence]` it is computed
at each evaluation, and appears in records and tables under its name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dglib.errors import UserError
from dglib.protocol.engine import EpochStats
from dglib.protocol.events import Evaluation
from dglib.protocol.records import EVALUATION_FIELDS
from dglib.training.batches import DeviceData, index_from
from dglib.training.numerics import Numerics
from dglib.training.registry import Registry, call
from dglib.training.state import TrainState
from dglib.training.step import BatchFunction, Number, total_norm

# Fixed for images of one size: another batch may round the logits, and with them the argmax, differently.
# On a CPU a layer of more than 32 MiB takes new memory from the system, which costs more than its arithmetic.
CPU_BATCH, CPU_PIXELS, CUDA_BATCH = 1000, 2**17, 2500

Metric = Callable[[Tensor, Tensor], Tensor | float]
metrics: Registry[Metric] = Registry("metric")


def check_metrics(names: Sequence[str], classes: int) -> None:
    """Try metrics out on random logits. Raises UserError for one that is unknown or gives no number."""
    logits = torch.randn(8, classes, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(8) % classes
    for name in names:
        if metric_field(name) in EVALUATION_FIELDS:
            raise UserError(f"metrics = {name!r}: is the name of another field of an evaluation")
        given = logits.clone(), labels.clone()
        _measure(name, *given)
        if not all(map(torch.equal, given, (logits, labels))):
            raise UserError(f"metric {name!r} changes the logits or labels that it is given: must leave them")


def metric_field(name: str) -> str:
    """The field of a record that holds a metric: its name, without the module where one was given."""
    return re.sub(r"^.*:", "", name)


def _measure(name: str, logits: Tensor, labels: Tensor) -> float:
    value = call(f"metric {name!r} fails", metrics.get(name), logits, labels)
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        shape = getattr(value, "shape", None)
        what = type(value).__name__ if shape is None else f"a tensor of shape {tuple(shape)}"
        raise UserError(f"metric {name!r} gives {what}: must be one number") from None


class Evaluator:
    """Evaluates networks on the test images, in the precision that they train in, without a trace.

    Attributes:
        score: adds a batch to the totals, directly or captured as a CUDA graph; returns its logits.
    """

    def __init__(self, data: DeviceData, numerics: Numerics) -> None:
        self.data, self.numerics = data, numerics
        pixels = data.input_shape[1] * data.input_shape[2]
        on_cuda = data.y_test.device.type == "cuda"
        self._size = CUDA_BATCH if on_cuda else min(CPU_BATCH, max(1, CPU_PIXELS // pixels))
        # Correct guesses, batches that are not finite, loss, share of dead channels, guesses of each class.
        self._totals = torch.zeros(4 + data.classes, dtype=torch.float64, device=data.y_test.device)
        self.score: BatchFunction = self._score

    @torch.no_grad()
    def __call__(self, state: TrainState, extra: Sequence[str] = ()) -> Evaluation:
        """One transfer from the device, at the end.

        Args:
            extra: names of registered metrics; each takes a transfer of its own.
        """
        total = len(self.data.y_test)
        self._totals.zero_()
        all_logits: list[Tensor] = []
        state.model.eval()
        for start in range(0, total, self._size):
            size = min(self._size, total - start)
            logits = self.score(state, start, size, (), (start == 0,))
            if extra and logits is not None:
                all_logits.append(logits.clone())  # the next batch overwrites captured ones
        state.model.train()
        correct, infinite, loss, dead, *predicted = self._totals.tolist()
        by_name = {"test_loss": math.nan if infinite else loss / total, "dead_channels": dead}
        for name in extra:
            given = torch.cat(all_logits), self.data.y_test.clone()
            by_name[metric_field(name)] = math.nan if infinite else _measure(name, *given)
        return Evaluation(
            error=1 - int(correct) / total,
            predicted=tuple(map(int, predicted)),
            finite=not infinite,
            metrics=by_name,
        )

    def _score(
        self, state: TrainState, start: Number, size: int, numbers: Sequence[Number], kind: tuple[bool, ...]
    ) -> Tensor | None:
        data, numerics = self.data, self.numerics
        (first,) = kind  # enough for the dead channels
        labels = data.y_test[index_from(start, size)]
        x = data.inputs(data.x_test[index_from(start, size)]).contiguous(memory_format=numerics.memory_format)
        hooks: AbstractContextManager[list[Tensor]] = activity(state.model) if first else nullcontext([])
        with numerics.autocast(), hooks as alive:
            logits: Tensor = state.model(x).float()
        guess = logits.argmax(dim=1)
        loss = F.cross_entropy(logits, labels, reduction="sum")
        flags = torch.stack([(guess == labels).sum(), ~logits.isfinite().all()])
        predicted = (guess.unsqueeze(1) == torch.arange(data.classes, device=x.device)).sum(dim=0)
        dead = dead_share(alive, x.device) if first else torch.zeros_like(loss)
        self._totals.add_(torch.cat([flags, torch.stack([loss, dead]), predicted]))
        return logits


@contextmanager
def activity(model: nn.Module) -> Iterator[list[Tensor]]:
    """A list that each ReLU's forward adds to: per channel, bool (C,), whether any image activated it."""
    alive: list[Tensor] = []

    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        alive.append((output > 0).transpose(0, 1).flatten(1).any(dim=1))  # (B, C, …) to (C,)

    handles = [m.register_forward_hook(record) for m in model.modules() if isinstance(m, nn.ReLU)]
    try:
        yield alive
    finally:
        for handle in handles:
            handle.remove()


def dead_share(alive: Sequence[Tensor], device: torch.device) -> Tensor:
    """Dead channels over all, 0-dim float64 on `device`; NaN for a network without ReLU modules."""
    if not alive:
        return torch.full((), float("nan"), dtype=torch.float64, device=device)
    return 1 - torch.cat(list(alive)).double().mean()


def epoch_stats(state: TrainState, lr: float) -> EpochStats:
    """Fetch it once the epoch's last step is taken, in one transfer from the device per kind.

    Args:
        lr: the learning rate of that step.
    """
    loss_s, n_s, loss_v, n_v, skipped, c_sv = state.sums.tolist()
    counted = n_s - skipped
    rows = torch.stack([row for _, row in state.step_log]).tolist() if state.step_log else []
    momentum = state.momentum()  # empty without momentum, where the update is held nowhere
    return EpochStats(
        loss_s=loss_s / counted if counted else float("nan"),
        loss_v=loss_v / n_v if n_v else float("nan"),
        weight_norm=float(total_norm(state.params).detach()),
        update_norm=float(total_norm(momentum)) * lr if momentum else float("nan"),
        steps=tuple((float(step), *row) for (step, _), row in zip(state.step_log, rows, strict=True)),
        taken=int(n_s),
        skipped=int(skipped),
        c_sv=c_sv / n_v if n_v else float("nan"),
    )
