"""The step kernel: the dual-gradient step in pieces that run directly, compiled, or from captured graphs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.optim.sgd import sgd  # not torch.optim.SGD, whose first use imports torch._dynamo for seconds

from dglib.compiling import Compiled, CompiledGradient
from dglib.numerics import Numerics
from dglib.pieces import Captured, CudaRecorder, Direct, Pieces
from dglib.spec import StepSpec
from dglib.state import TrainState
from dglib.step import (
    EPS,
    Batch,
    Weight,
    cosine,
    gradient,
    no_trace,
    total_norm,
    two_pass_statistics,
    weighted,
)

Gradient = Callable[[TrainState, Tensor, Tensor, Numerics], tuple[list[Tensor], Tensor]]


class DualGradientKernel:
    """The step of one state.

    A step whose mixed gradient is not finite moves no weight and no momentum; it is counted in the state.
    What its forward did to BatchNorm's statistics stays: a network that overflows shows at its evaluation.

    Args:
        spec: refresh period, log cadence and how BatchNorm's statistics move.
        numerics: precision and techniques.
        log: keep the epoch's losses and the step log in the state. Changes no weight, buffer or draw.
        pieces: how the step's pieces are run; by default as `numerics` says.
    """

    def __init__(
        self, spec: StepSpec, numerics: Numerics, *, log: bool = True, pieces: Pieces | None = None
    ) -> None:
        self.spec, self.numerics, self.log = spec, numerics, log
        device = numerics.torch_device
        if pieces is None:
            pieces = Captured(CudaRecorder(device)) if numerics.cuda_graphs else Direct()
        self.pieces = pieces
        self.gradient_of: Gradient = CompiledGradient() if numerics.compiled else gradient
        self.weighted = Compiled(weighted) if numerics.compiled else weighted
        self._scaled: list[Tensor] = []  # λ·g_v/‖g_v‖, the same until λ or g_v changes
        self._scaled_of: tuple[int, float] | None = None
        # Where pieces are captured, what changes from step to step lies in places that do not.
        self._fixed = _FixedPlaces(device) if pieces.fixed else None

    @property
    def fallback(self) -> str:
        reasons = (getattr(part, "fallback", "") for part in (self.pieces, self.gradient_of, self.weighted))
        return "; ".join(dict.fromkeys(filter(None, reasons)))

    def __call__(self, state: TrainState, batch: Batch, lam: float, lr: float) -> None:
        refresh = state.g_v is None or state.t % self.spec.refresh_period == 0
        w_s: Weight = 1 - lam
        w_v: Weight = lam
        rate: Weight = lr
        if self._fixed is not None:
            batch = self._fixed.batch(batch)
            w_s, w_v, rate = self._fixed.numbers(1 - lam, lam, lr)
            self.pieces.bind(state)

        # The second forward of a refresh moves the statistics a second time by itself.
        once_for_two = self.spec.two_pass_statistics and not refresh
        g_s, loss_s = self._gradient("structure", state, batch.x, batch.noisy, once_for_two)
        loss_v = None
        if refresh:
            g_v, loss_v = self._gradient("value", state, batch.x, batch.clean)
            state.hold(g_v, in_place=self._fixed is not None)
        assert state.g_v is not None
        assert state.norm_v is not None
        origin = (len(batch.x), once_for_two)  # g_s lies in another place for each
        n_s = self.pieces.run(("norm", *origin), lambda: total_norm(g_s))
        if self.log:
            self._add_up(state, origin, g_s, n_s, loss_s, loss_v)

        logs = self.log and self.spec.log_every > 0 and state.t % self.spec.log_every == 0
        if logs or self.numerics.compiled:
            n_v, held = state.norm_v, state.g_v
            g = self.pieces.run(("mix", *origin), lambda: self.weighted(g_s, held, w_s, w_v, n_s, n_v))
        else:
            self._scale(state, lam, w_v)
            g = self.pieces.run(("mix in place", *origin), lambda: _added(g_s, w_s, n_s, self._scaled))
        if logs:
            self._log(state, batch, origin, (g_s, n_s, loss_s), g, loss_v)
        finite = torch.isfinite(n_s + state.norm_v)
        state.sums[4] += ~finite
        finite = self._fixed.flag(finite) if self._fixed is not None else finite
        self.pieces.run(("descend", *origin, logs), lambda: self._descend(state, g, finite, rate))
        state.t += 1

    def _scale(self, state: TrainState, lam: float, w_v: Weight) -> None:
        """Bring λ·g_v/‖g_v‖ up to date: fresh memory for it at every step would cost more than the sums."""
        assert state.g_v is not None
        assert state.norm_v is not None
        if self._scaled_of == (state.holds, lam):
            return
        self._scaled = self._scaled or [torch.empty_like(g) for g in state.g_v]
        scaled, held, n_v = self._scaled, state.g_v, state.norm_v

        def scale() -> None:
            torch._foreach_copy_(scaled, held)
            torch._foreach_mul_(scaled, (n_v + EPS).reciprocal() * w_v)

        self.pieces.run(("scale",), scale)
        self._scaled_of = (state.holds, lam)

    def _gradient(
        self, name: str, state: TrainState, x: Tensor, labels: Tensor, once_for_two: bool = False
    ) -> tuple[list[Tensor], Tensor]:
        def found() -> tuple[list[Tensor], Tensor]:
            with two_pass_statistics(state.model) if once_for_two else nullcontext():
                return self.gradient_of(state, x, labels, self.numerics)

        return self.pieces.run((name, len(x), once_for_two), found)

    def _descend(self, state: TrainState, g: list[Tensor], finite: Tensor, lr: Weight) -> None:
        """SGD along `g`, or no move at all if it is not finite."""
        fused = self.numerics.fused
        if not fused and not finite:  # on a CPU asking costs nothing; a fused kernel looks by itself
            return
        with torch.no_grad():
            sgd(
                list(state.params),
                g,
                list(state.momentum_buffers),
                foreach=False,
                fused=fused,
                found_inf=(~finite).float() if fused else None,
                weight_decay=self.spec.weight_decay,
                momentum=self.spec.momentum,
                lr=lr,
                dampening=0.0,
                nesterov=False,
                maximize=False,
            )

    def _add_up(
        self,
        state: TrainState,
        origin: tuple[int, bool],
        g_s: list[Tensor],
        n_s: Tensor,
        loss_s: Tensor,
        loss_v: Tensor | None,
    ) -> None:
        """Add to the epoch's sums; nothing leaves the device."""
        state.sums[0] += loss_s
        state.sums[1] += 1
        if loss_v is not None:  # a refresh
            n_v, held = state.norm_v, state.g_v
            assert n_v is not None
            assert held is not None
            state.sums[2] += loss_v
            state.sums[3] += 1
            state.sums[5] += self.pieces.run(("cosine", *origin), lambda: cosine(g_s, held, n_s, n_v))

    def _log(
        self,
        state: TrainState,
        batch: Batch,
        origin: tuple[int, bool],
        structure: tuple[list[Tensor], Tensor, Tensor],
        g: list[Tensor],
        loss_v: Tensor | None,
    ) -> None:
        """Add a row to the step log; nothing leaves the device."""
        g_s, n_s, loss_s = structure
        g_v, fresh, loss = state.g_v, loss_v is not None, loss_v
        if loss is None:  # a stale g_v is held: the log wants one of this batch
            with no_trace(state):
                g_v, loss = self._gradient("logged value", state, batch.x, batch.clean)

        def row() -> Tensor:
            assert g_v is not None
            assert loss is not None
            n_v, n, scale = total_norm(g_v), total_norm(g), self.numerics.loss_scale
            c_sv, c_mc = cosine(g_s, g_v, n_s, n_v), cosine(g, g_v, n, n_v)
            return torch.stack([c_sv, c_mc, n_s / scale, n_v / scale, n, loss_s, loss])

        found = self.pieces.run(("log", *origin, fresh), row)
        state.step_log.append((state.t, found.clone()))


def _added(g_s: list[Tensor], w_s: Weight, n_s: Tensor, scaled: list[Tensor]) -> list[Tensor]:
    """The mix in g_s's own memory, rounded as `weighted` rounds."""
    torch._foreach_mul_(g_s, (n_s + EPS).reciprocal() * w_s)
    torch._foreach_add_(g_s, scaled)
    return g_s


class _FixedPlaces:
    """Copies of what changes from step to step, each always in the same memory."""

    def __init__(self, device: torch.device) -> None:
        self._batches: dict[int, Batch] = {}
        self._numbers = torch.zeros(3, device=device).unbind()
        self._flag = torch.zeros((), dtype=torch.bool, device=device)
        self._values: tuple[float, ...] = ()

    def batch(self, batch: Batch) -> Batch:
        """One place per batch size."""
        place = self._batches.get(len(batch.x))
        if place is None:
            place = Batch(*(torch.empty_like(t) for t in (batch.x, batch.noisy, batch.clean)))
            self._batches[len(batch.x)] = place
        for ours, given in ((place.x, batch.x), (place.noisy, batch.noisy), (place.clean, batch.clean)):
            ours.copy_(given)
        return place

    def numbers(self, *values: float) -> tuple[Tensor, ...]:
        """1 − λ, λ and the learning rate, 0-dim float32."""
        if values != self._values:
            for ours, value in zip(self._numbers, values, strict=True):
                ours.fill_(value)
            self._values = values
        return self._numbers

    def flag(self, flag: Tensor) -> Tensor:
        """A flag, 0-dim bool."""
        return self._flag.copy_(flag)
