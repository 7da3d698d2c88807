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
        optimizer: SGD; holds the momentum and nothing else that lasts.
        g_v: the held value gradient, one tensor per parameter, or None before the first refresh.
        t: steps taken since the run began. Epoch and place in the epoch follow from it.
        dropout: generator of the dropout masks, keyed anew at each epoch.
        run: which stretch of the protocol this is (arm, phase of the last restart).
        loss_sums: sums and counts of this epoch's losses: [Σ loss_s, n_s, Σ loss_v, n_v], float64 (4,).
        step_log: this epoch's logged rows, one float32 tensor (7,) per logged step.
    """

    def __init__(self, model: nn.Module, step: StepSpec, device: torch.device, run: tuple[int, int]) -> None:
        self.model = model.to(device)
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
    ) -> TrainState:
        """A network with the weights that torch draws after `manual_seed(seed)`, the same on every device."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build_network(network.name, input_shape=input_shape, classes=classes, width=network.width)
        return cls(model, step, device, run)

    def restart(self, step: StepSpec, run: tuple[int, int]) -> None:
        """New optimizer, t = 0, no held g_v; weights and BatchNorm's statistics stay."""
        self.optimizer = torch.optim.SGD(
            self.params, lr=0.0, momentum=step.momentum, weight_decay=step.weight_decay
        )
        self.g_v: list[Tensor] | None = None
        self.t = 0
        self.run = run
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Clear what is gathered within one epoch."""
        self.loss_sums = torch.zeros(4, dtype=torch.float64, device=self.device)
        self.step_log: list[tuple[int, Tensor]] = []

    def momentum(self) -> list[Tensor]:
        """The momentum buffers in the parameters' order; empty before the first step."""
        state = self.optimizer.state
        return [state[p]["momentum_buffer"] for p in self.params if p in state]

    def state_dict(self) -> dict[str, Any]:
        """All of it as tensors, integers and containers of them."""
        return {
            "model": self.model.state_dict(),
            "momentum": self.momentum(),
            "g_v": self.g_v,
            "t": self.t,
            "run": list(self.run),
            "dropout": self.dropout.get_state(),
            "loss_sums": self.loss_sums,
            "step_log": [[step, row] for step, row in self.step_log],
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Take over what `state_dict` gave, from any device."""

        def here(tensors: list[Tensor]) -> list[Tensor]:
            return [tensor.to(self.device) for tensor in tensors]

        self.model.load_state_dict(saved["model"])
        self.optimizer.state.clear()
        for parameter, buffer in zip(self.params, here(saved["momentum"]), strict=False):
            self.optimizer.state[parameter]["momentum_buffer"] = buffer
        self.g_v = None if saved["g_v"] is None else here(saved["g_v"])
        self.t = saved["t"]
        self.run = (saved["run"][0], saved["run"][1])
        self.dropout.set_state(saved["dropout"].cpu())
        self.loss_sums = saved["loss_sums"].to(self.device)
        self.step_log = [(step, row.to(self.device)) for step, row in saved["step_log"]]
