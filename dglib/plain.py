"""A plain SGD step in the place of the dual-gradient one: what the method costs is what it adds to this."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.sgd import sgd

from dglib.compiling import CompiledGradient
from dglib.kernel import Gradient
from dglib.numerics import Numerics
from dglib.pieces import Captured, CudaRecorder, Direct, Pieces
from dglib.spec import StepSpec
from dglib.state import TrainState
from dglib.step import Batch, gradient


class PlainKernel:
    """SGD along the gradient under the noisy labels, with the same techniques as the dual-gradient step.

    No norm, no mix, no second gradient, no look at whether all is finite, no sums for a log. The learning
    rate must stay the same: a captured step has it built in.
    """

    def __init__(self, spec: StepSpec, numerics: Numerics, *, pieces: Pieces | None = None) -> None:
        self.spec, self.numerics = spec, numerics
        device = numerics.torch_device
        if pieces is None:
            pieces = Captured(CudaRecorder(device)) if numerics.cuda_graphs else Direct()
        self.pieces = pieces
        self.gradient_of: Gradient = CompiledGradient() if numerics.compiled else gradient
        self._scale = torch.tensor(numerics.loss_scale, device=device)
        self._places: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def fallback(self) -> str:
        reasons = (getattr(part, "fallback", "") for part in (self.pieces, self.gradient_of))
        return "; ".join(filter(None, reasons))

    def __call__(self, state: TrainState, batch: Batch, lam: float, lr: float) -> None:
        x, labels = batch.x, batch.noisy
        if self.pieces.fixed:
            self.pieces.bind(state)
            place = self._places.setdefault(len(x), (torch.empty_like(x), torch.empty_like(labels)))
            x, labels = place[0].copy_(x), place[1].copy_(labels)

        def step() -> Tensor:
            g, loss = self.gradient_of(state, x, labels, self.numerics)
            self._descend(state, g, lr)
            return loss

        self.pieces.run(("plain", len(x)), step)
        state.t += 1

    @torch.no_grad()
    def _descend(self, state: TrainState, g: list[Tensor], lr: float) -> None:
        fused, scaled = self.numerics.fused, self.numerics.loss_scale != 1
        if scaled and not fused:
            torch._foreach_mul_(g, 1 / self.numerics.loss_scale)
        sgd(
            list(state.params),
            g,
            list(state.momentum_buffers),
            fused=fused,
            grad_scale=self._scale if scaled and fused else None,
            foreach=not fused and state.device.type == "cuda",  # torch.optim.SGD's own choice
            weight_decay=self.spec.weight_decay,
            momentum=self.spec.momentum,
            lr=lr,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
