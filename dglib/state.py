"""Everything that training changes: with the cursor, enough to go on bit for bit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dglib.networks import build_network, key_dropout
from dglib.spec import NetworkSpec, StepSpec


class TrainState:
    """Weights, buffers, momentum, held value gradient, step counter and dropout generator of one network.

    Attributes:
        model: the network, on its device.
        momentum_buffers: SGD's, one tensor per parameter; all None where the momentum is 0.
        g_v: the held value gradient, one tensor per parameter, or None before the first refresh. A half
            precision's constant loss scale is left in it: the mix does not feel it.
        norm_v: the norm of g_v, 0-dim, or None.
        holds: counts the value gradients held so far, so that what was computed of one is known to be stale.
        t: steps taken since the run began. Epoch and place in the epoch follow from it.
        dropout: generator of the dropout masks, keyed anew at each epoch.
        run: which stretch of the protocol this is (arm, phase of the last restart).
        sums: this epoch's [Σ loss_s, n_s, Σ loss_v, n_v, skipped steps, Σ c_sv], float64 (6,), n_s the
            steps, n_v the refreshes.
        step_log: this epoch's logged rows, one float32 tensor (7,) per logged step.
    """

    g_v: list[Tensor] | None
    norm_v: Tensor | None
    holds: int = 0

    def __init__(
        self,
        model: nn.Module,
        step: StepSpec,
        device: torch.device,
        run: tuple[int, int],
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self.model = model.to(device).to(memory_format=memory_format)
        self.params = list(self.model.parameters())
        self.device = device
        self.dropout = torch.Generator(device)
        key_dropout(self.model, self.dropout)
        self.restart(step, run)

    @classmethod
    def create(
        cls,
        network: NetworkSpec,
        step: StepSpec,
        *,
        input_shape: tuple[int, int, int],
        classes: int,
        seed: int,
        device: torch.device,
        run: tuple[int, int],
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> TrainState:
        """A network with the weights that torch draws after `manual_seed(seed)`, the same on every device."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build_network(network.name, input_shape=input_shape, classes=classes, width=network.width)
        return cls(model, step, device, run, memory_format)

    def restart(self, step: StepSpec, run: tuple[int, int]) -> None:
        """No momentum, t = 0, no held g_v; weights and BatchNorm's statistics stay."""
        # From zero the first step's momentum is its gradient, as if there had been no buffer.
        self.momentum_buffers: list[Tensor | None] = [
            torch.zeros_like(p, requires_grad=False) if step.momentum else None for p in self.params
        ]
        self.hold(None)
        self.t = 0
        self.run = run
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Clear what is gathered within one epoch."""
        self.sums = torch.zeros(6, dtype=torch.float64, device=self.device)
        self.step_log: list[tuple[int, Tensor]] = []

    def hold(self, g_v: list[Tensor] | None, *, in_place: bool = False) -> None:
        """Hold a new value gradient; `in_place` keeps the memory of the one held before."""
        self.holds += 1
        norm = None if g_v is None else torch.nn.utils.get_total_norm(g_v)
        if in_place and g_v is not None and norm is not None:
            if self.g_v is not None and self.norm_v is not None:
                torch._foreach_copy_(self.g_v, g_v)
                self.norm_v.copy_(norm)
                return
            g_v, norm = [g.clone() for g in g_v], norm.clone()
        self.g_v, self.norm_v = g_v, norm

    def places(self) -> tuple[int, ...]:
        """Where weights, momentum and held g_v lie in memory."""
        tensors = [*self.params, *self.momentum(), *(self.g_v or [])]
        return tuple(tensor.data_ptr() for tensor in tensors)

    def momentum(self) -> list[Tensor]:
        """The momentum buffers in the parameters' order; empty where the momentum is 0."""
        return [buffer for buffer in self.momentum_buffers if buffer is not None]

    def state_dict(self) -> dict[str, Any]:
        """All of it as tensors, integers and containers of them."""
        return {
            "model": self.model.state_dict(),
            "momentum": self.momentum(),
            "g_v": self.g_v,
            "t": self.t,
            "run": list(self.run),
            "dropout": self.dropout.get_state(),
            "sums": self.sums,
            "step_log": [[step, row] for step, row in self.step_log],
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Take over what `state_dict` gave, from any device."""

        def here(tensors: list[Tensor]) -> list[Tensor]:
            """On this device, and in memory as the parameters: those of another memory format may come."""
            return [torch.empty_like(p).copy_(t) for p, t in zip(self.params, tensors, strict=True)]

        self.model.load_state_dict(saved["model"])
        with torch.no_grad():
            if saved["momentum"]:
                self.momentum_buffers = list(here(saved["momentum"]))
            self.hold(None if saved["g_v"] is None else here(saved["g_v"]))
        self.t = saved["t"]
        self.run = (saved["run"][0], saved["run"][1])
        self.dropout.set_state(saved["dropout"].cpu())
        self.sums = saved["sums"].to(self.device)
        self.step_log = [(step, row.to(self.device)) for step, row in saved["step_log"]]
