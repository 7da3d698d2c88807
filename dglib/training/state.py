"""The training state. Together with the protocol's cursor it resumes a run bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dglib.protocol.spec import InputShape, NetworkSpec, StepSpec
from dglib.training.networks import build_network, key_dropout
from dglib.training.numerics import Numerics
from dglib.training.randomness import derived_key

LOST_AT_MOST = 3  # refreshes in a row: a value gradient from before more of them is too old to train with


class Gradient(list[Tensor]):
    """A gradient, one tensor per parameter.

    Attributes:
        norm: over all parameters, 0-dim.
        loss: where it is a network's: the mean cross-entropy that it is the gradient of, 0-dim float32.
    """

    loss: Tensor

    def __init__(self, tensors: Sequence[Tensor], norm: Tensor | None = None) -> None:
        super().__init__(tensors)
        self.norm = torch.nn.utils.get_total_norm(tensors) if norm is None else norm


class TrainState:
    """Weights, buffers, momentum, held value gradient, step counter and dropout generator of one network.

    Attributes:
        model: the network, on its device.
        momentum_buffers: SGD's, one tensor per parameter; all None where the momentum is 0.
        g_v: the held value gradient, or None before the first refresh: the last one that was finite, once
            there is one.
        lost: refreshes in a row whose value gradient was not finite, 0-dim int64; g_v is older by so many
            periods.
        moves: counts how often tensors were replaced, for what reads them by their memory.
        t: steps taken since the run began. Epoch and place in the epoch follow from it.
        dropout: generator of the dropout masks, keyed anew at each epoch.
        log_dropout: that of a log's own pass on a GPU, whose `dropout` cannot be set back in a capture; keyed
            anew at each logged step. None on a CPU.
        run: which stretch of the protocol this is (arm, phase of the last restart).
        sums: this epoch's [Σ loss_s, n_s, Σ loss_v, n_v, skipped steps, Σ c_sv], float64 (6,), n_s the
            steps, n_v the refreshes that were not skipped. Skipped steps are in none of the Σ.
        step_log: this epoch's logged rows, one float32 tensor (7,) per logged step.
    """

    g_v: Gradient | None
    moves: int = 0

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
        self.log_dropout = None if device.type == "cpu" else torch.Generator(device)
        key_dropout(self.model, self.dropout)
        self.lost = torch.zeros((), dtype=torch.int64, device=device)
        self.sums = torch.zeros(6, dtype=torch.float64, device=device)
        self.restart(step, run)

    @classmethod
    def create(
        cls,
        network: NetworkSpec,
        step: StepSpec,
        input_shape: InputShape,
        classes: int,
        numerics: Numerics,
        *,
        seed: int,
        run: tuple[int, int] = (0, 0),
    ) -> TrainState:
        """A network with the weights that torch draws after `manual_seed(seed)`, the same on every device."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build_network(network.name, input_shape=input_shape, classes=classes, width=network.width)
        return cls(model, step, numerics.torch_device, run, numerics.memory_format)

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
        self.sums.zero_()
        self.step_log: list[tuple[int, Tensor]] = []

    def hold(self, g_v: list[Tensor] | None) -> None:
        """Hold these values, in memory of their own, or none."""
        self.moves += 1
        self._is_finite = False  # as far as is known
        self.lost.zero_()
        self.g_v = None if g_v is None else Gradient([g.clone() for g in g_v])

    def renew(self, g_v: Gradient) -> None:
        """Write a value gradient and its norm over those held, unless it is not finite: it is lost then.

        Nothing leaves the device.
        """
        assert self.g_v is not None
        fresh = torch.isfinite(g_v.norm)
        for held, new in zip([*self.g_v, self.g_v.norm], [*g_v, g_v.norm], strict=True):
            torch.where(fresh, new, held, out=held)
        self.lost.add_(1).masked_fill_(fresh, 0)

    def holds_none(self) -> bool:
        """Whether no finite value gradient is held. Fetches a flag from the device until one is."""
        if self.g_v is None:
            return True
        self._is_finite = self._is_finite or bool(self.g_v.norm.isfinite())
        return not self._is_finite

    def momentum(self) -> list[Tensor]:
        """The momentum buffers in the parameters' order; empty where the momentum is 0."""
        return [buffer for buffer in self.momentum_buffers if buffer is not None]

    def state_dict(self) -> dict[str, Any]:
        """All of it as tensors, integers and containers of them."""
        return {
            "model": self.model.state_dict(),
            "momentum": self.momentum(),
            "g_v": None if self.g_v is None else list(self.g_v),
            "lost": self.lost,
            "t": self.t,
            "run": list(self.run),
            "dropout": self.dropout.get_state(),
            "sums": self.sums,
            "step_log": [[step, row] for step, row in self.step_log],
        }

    def takes_dropout_of(self, saved: dict[str, Any]) -> bool:
        """Whether the saved state of the dropout generator can be restored on this kind of device."""
        try:
            torch.Generator(self.device).set_state(saved["dropout"].cpu())
        except RuntimeError:  # 5,056 bytes of a CPU's generator, 16 of a CUDA device's
            return False
        return True

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Load what `state_dict` returned, from any device.

        The state of a dropout generator of another kind of device cannot be restored. It is keyed anew then,
        by that generator's key and t, so that no mask repeats.
        """

        def here(tensors: list[Tensor]) -> list[Tensor]:
            """On this device, in the memory format of the parameters."""
            return [torch.empty_like(p).copy_(t) for p, t in zip(self.params, tensors, strict=True)]

        self.model.load_state_dict(saved["model"])
        with torch.no_grad():
            if saved["momentum"]:
                self.momentum_buffers = list(here(saved["momentum"]))
            self.hold(None if saved["g_v"] is None else here(saved["g_v"]))
            self.lost.copy_(saved.get("lost", self.lost))  # absent in states of dglib 0.1
        self.t = saved["t"]
        self.run = (saved["run"][0], saved["run"][1])
        if self.takes_dropout_of(saved):
            self.dropout.set_state(saved["dropout"].cpu())
        else:
            self.dropout.manual_seed(derived_key(_key_of(saved["dropout"]), f"step {self.t}"))
        self.sums.copy_(saved["sums"])
        self.step_log = [(step, row.to(self.device)) for step, row in saved["step_log"]]


def _key_of(generator_state: Tensor) -> int:
    """The seed that a generator was keyed with: the first eight bytes of its state, on a CPU and on CUDA."""
    return int.from_bytes(bytes(generator_state[:8].tolist()), "little")
