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
from dglib.state import LOST_AT_MOST, TrainState
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
Found = tuple[list[Tensor], Tensor, Tensor]  # a gradient, its norm and its loss


class DualGradientKernel:
    """The step of one state.

    A step whose structure gradient, or at a refresh value gradient, is not finite is skipped: it moves no
    weight and no momentum, and is counted in the state. What its forwards did to BatchNorm's statistics
    stays: a network that overflows shows at its evaluation. A lost value gradient costs that step alone: the
    last finite one stays held until the next refresh, and where there is none the next step refreshes. After
    more than `LOST_AT_MOST` in a row every step is skipped until one is finite.

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
        self._places = _FixedPlaces(device)

    @property
    def fallback(self) -> str:
        reasons = (getattr(part, "fallback", "") for part in (self.pieces, self.gradient_of, self.weighted))
        return "; ".join(dict.fromkeys(filter(None, reasons)))

    def __call__(self, state: TrainState, batch: Batch, lam: float, lr: float) -> None:
        refresh = state.t % self.spec.refresh_period == 0 or state.holds_none()
        w_s: Weight = 1 - lam
        w_v: Weight = lam
        rate: Weight = lr
        fixed = self.pieces.fixed
        if fixed or self.numerics.compiled:  # a number would be compiled in
            w_s, w_v, as_tensor = self._places.numbers(1 - lam, lam, lr)
        if fixed:
            batch, rate = self._places.batch(batch), as_tensor
            self.pieces.bind(state)

        # The second forward of a refresh moves the statistics a second time by itself.
        once_for_two = self.spec.two_pass_statistics and not refresh
        structure = self._gradient("structure", state, batch.x, batch.noisy, once_for_two)
        value = None
        if refresh:
            value = self._gradient("value", state, batch.x, batch.clean)
            if state.g_v is None:
                state.hold(value[0])
            state.refreshes += 1
        origin = (len(batch.x), once_for_two)  # g_s and its norm lie in another place for each
        self.pieces.run(("tally", *origin, refresh), lambda: self._tally(state, structure, value))

        assert state.g_v is not None
        assert state.norm_v is not None
        g_s, n_s, _ = structure
        logs = self.log and self.spec.log_every > 0 and state.t % self.spec.log_every == 0
        if logs or self.numerics.compiled:
            n_v, held = state.norm_v, state.g_v
            g = self.pieces.run(("mix", *origin), lambda: self.weighted(g_s, held, w_s, w_v, n_s, n_v))
        else:
            self._scale(state, lam, w_v)
            g = self.pieces.run(("mix in place", *origin), lambda: _added(g_s, w_s, n_s, self._scaled))
        if logs:
            self._log(state, batch, origin, structure, g, value)
        self.pieces.run(("descend", *origin, logs), lambda: self._descend(state, g, rate))
        state.t += 1

    def _scale(self, state: TrainState, lam: float, w_v: Weight) -> None:
        """Bring λ·g_v/‖g_v‖ up to date: fresh memory for it at every step would cost more than the sums."""
        assert state.g_v is not None
        assert state.norm_v is not None
        if self._scaled_of == (state.refreshes, lam):
            return
        self._scaled = self._scaled or [torch.empty_like(g) for g in state.g_v]
        scaled, held, n_v = self._scaled, state.g_v, state.norm_v

        def scale() -> None:
            torch._foreach_copy_(scaled, held)
            torch._foreach_mul_(scaled, (n_v + EPS).reciprocal() * w_v)

        self.pieces.run(("scale",), scale)
        self._scaled_of = (state.refreshes, lam)

    def _gradient(
        self, name: str, state: TrainState, x: Tensor, labels: Tensor, once_for_two: bool = False
    ) -> Found:
        def found() -> Found:
            with two_pass_statistics(state.model) if once_for_two else nullcontext():
                g, loss = self.gradient_of(state, x, labels, self.numerics)
            return g, total_norm(g), loss

        return self.pieces.run((name, len(x), once_for_two), found)

    def _tally(self, state: TrainState, structure: Found, value: Found | None) -> None:
        """Renew the held value gradient, judge the step, add to the epoch's sums. Nothing leaves the device.

        Args:
            value: a refresh's, else None.
        """
        g_s, n_s, loss_s = structure
        assert state.norm_v is not None
        n_v = state.norm_v
        if value is not None:
            n_v = value[1]
            state.renew(value[0], n_v)
        finite = self._places.finite.copy_(torch.isfinite(n_s + n_v) & (state.lost <= LOST_AT_MOST))
        sums = state.sums.unbind()
        sums[4].add_(~finite)
        if not self.log:
            return
        sums[0].add_(loss_s.masked_fill(~finite, 0.0))
        sums[1].add_(1)
        if value is not None:
            g_v, _, loss_v = value
            sums[2].add_(loss_v.masked_fill(~finite, 0.0))
            sums[3].add_(finite)
            sums[5].add_(cosine(g_s, g_v, n_s, n_v).masked_fill(~finite, 0.0))

    def _descend(self, state: TrainState, g: list[Tensor], lr: Weight) -> None:
        """SGD along `g`, or no move at all if the step is not finite."""
        fused, finite = self.numerics.fused, self._places.finite
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

    def _log(
        self,
        state: TrainState,
        batch: Batch,
        origin: tuple[int, bool],
        structure: Found,
        g: list[Tensor],
        value: Found | None,
    ) -> None:
        """Add a row to the step log; nothing leaves the device."""
        g_s, n_s, loss_s = structure
        fresh = value is not None
        if value is None:  # a stale g_v is held: the log wants one of this batch
            with no_trace(state):
                value = self._gradient("logged value", state, batch.x, batch.clean)
        g_v, n_v, loss_v = value

        def row() -> Tensor:
            n, scale = total_norm(g), self.numerics.loss_scale
            c_sv, c_mc = cosine(g_s, g_v, n_s, n_v), cosine(g, g_v, n, n_v)
            return torch.stack([c_sv, c_mc, n_s / scale, n_v / scale, n, loss_s, loss_v])

        found = self.pieces.run(("log", *origin, fresh), row)
        state.step_log.append((state.t, found.clone()))


def _added(g_s: list[Tensor], w_s: Weight, n_s: Tensor, scaled: list[Tensor]) -> list[Tensor]:
    """The mix in g_s's own memory, rounded as `weighted` rounds."""
    torch._foreach_mul_(g_s, (n_s + EPS).reciprocal() * w_s)
    torch._foreach_add_(g_s, scaled)
    return g_s


class _FixedPlaces:
    """What changes from step to step, each always in the same memory.

    Attributes:
        finite: whether the step is to be taken, 0-dim bool.
    """

    def __init__(self, device: torch.device) -> None:
        self._batches: dict[int, Batch] = {}
        self._numbers = torch.zeros(3, device=device).unbind()
        self.finite = torch.zeros((), dtype=torch.bool, device=device)
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
