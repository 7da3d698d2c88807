"""Trains a state step by step: the batches of an epoch by key, and one call of the step function for each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dglib.control import Control
from dglib.protocol.spec import StepSpec
from dglib.training import graphs
from dglib.training.batches import DeviceData, crop_flip, index_from
from dglib.training.evaluation import Evaluator
from dglib.training.numerics import Numerics
from dglib.training.randomness import Streams
from dglib.training.rules import naming
from dglib.training.state import TrainState
from dglib.training.step import Batch, BatchFunction, Method, Number, step

CROPPED_AT_ONCE = 5000  # images: bounds the memory of padded copies


class Trainer:
    """Trains one run (a stretch with one step counter) of one seed.

    Args:
        spec: the step's constants.
        data: on the device, with this seed's noise.
        streams: this run's randomness.
        numerics: precision and techniques of the step.

    Attributes:
        evaluate: evaluates the state on the test images.
        step: takes a step on a batch of the current epoch, directly or captured as CUDA graphs.
    """

    def __init__(
        self,
        spec: StepSpec,
        data: DeviceData,
        streams: Streams,
        numerics: Numerics,
    ) -> None:
        self.spec, self.data, self.streams = spec, data, streams
        self.memory_format = numerics.memory_format
        self.batch_size = spec.batch_size
        self.steps_per_epoch = -(-len(data.clean) // self.batch_size)  # the last, smaller batch counts
        # The current epoch in its order, in memory that stays: captured steps read it.
        self._epoch: int | None = None
        self._images = torch.empty_like(data.x_train, memory_format=self.memory_format)
        self._noisy, self._clean = torch.empty_like(data.noisy), torch.empty_like(data.clean)

        self.method = Method.of(spec, numerics)
        if numerics.compiled:
            self.method = graphs.compiled(self.method)
        self.evaluate = Evaluator(data, numerics)
        self.step: BatchFunction = self._step
        if numerics.cuda_graphs:
            self.capture(graphs.CudaRecorder(data.clean.device))

    def capture(self, recorder: graphs.Recorder) -> None:
        """Have steps and evaluations captured from now on."""
        device = self.data.clean.device
        self.step = graphs.Captured(self._step, recorder, device, (torch.float64, torch.float32))
        self.evaluate.score = graphs.Captured(self.evaluate.score, recorder, device)

    def advance(
        self, state: TrainState, lam: float, lr: float, n_steps: int, control: Control | None = None
    ) -> int:
        """Take up to `n_steps` steps at λ = `lam` and learning rate `lr`; fewer on a stop.

        Returns the number of steps taken. Nothing is fetched from the device, but for a flag at the second
        step of a run: whether the first one's value gradient is finite.
        """
        state.model.train()
        with naming(self.spec):
            for done in range(n_steps):
                if control is not None and control.stopping():
                    return done
                self.take_step(state, lam, lr)
        return n_steps

    def take_step(self, state: TrainState, lam: float, lr: float) -> None:
        """One step on the batch that is next; λ and the learning rate may change between steps at no cost."""
        spec, t = self.spec, state.t
        epoch, number = divmod(t, self.steps_per_epoch)
        if number == 0:
            state.dropout.manual_seed(self.streams.key("dropout", epoch))
            state.begin_epoch()
        start, size = self._locate(epoch, number)
        refresh = t % spec.refresh_period == 0 or state.holds_none()
        logged = spec.log_every > 0 and t % spec.log_every == 0
        if logged and state.log_dropout is not None:
            state.log_dropout.manual_seed((state.dropout.initial_seed() + t + 1) % 2**63)
        row = self.step(state, start, size, (lam, lr), (refresh, logged))
        if row is not None:
            state.step_log.append((t, row.clone()))
        state.t += 1

    @property
    def fallback(self) -> str:
        """Why steps or evaluations are slower than asked for, or ""."""
        parts = (self.step, self.evaluate.score, self.method.gradient, self.method.update)
        return "; ".join(dict.fromkeys(filter(None, (getattr(part, "fallback", "") for part in parts))))

    def steps_left(self, state: TrainState) -> int:
        """Steps to the end of the current epoch; a whole epoch at its boundary."""
        return self.steps_per_epoch - state.t % self.steps_per_epoch

    def batch(self, epoch: int, number: int) -> Batch:
        """Batch `number` (0-based) of `epoch`, augmented and normalised; the last one may be smaller."""
        return self._batch(*self._locate(epoch, number))

    def _locate(self, epoch: int, number: int) -> tuple[int, int]:
        """Where a batch begins in its epoch, which is drawn if it is not the current one, and its size."""
        if epoch != self._epoch:
            self._draw(epoch)
        start = number * self.batch_size
        return start, min(self.batch_size, len(self._clean) - start)

    def _draw(self, epoch: int) -> None:
        """Put an epoch in its order, its images cropped and flipped in a few large operations."""
        data, device, n = self.data, self.data.clean.device, len(self.data.clean)
        padding, crops = data.spec.crop_padding, data.spec.augmentation == "crop_flip"
        order = self.streams.order(n, epoch).to(device)
        if crops:
            offsets = self.streams.crop_offsets(n, padding, epoch).to(device)
            flips = self.streams.flips(n, epoch).to(device)
        self._epoch = None  # until all of it is there
        for start in range(0, n, CROPPED_AT_ONCE):
            part = slice(start, start + CROPPED_AT_ONCE)
            chosen = order[part]
            images = data.x_train[chosen]
            if crops:
                dy, dx = offsets[:, chosen]
                images = crop_flip(images, dy, dx, flips[chosen], padding)
            self._images[part] = images
        self._noisy.copy_(data.noisy[order])
        self._clean.copy_(data.clean[order])
        self._epoch = epoch

    def _batch(self, start: Number, size: int) -> Batch:
        """Of the current epoch, from `start` on."""
        at = index_from(start, size)
        x = self.data.inputs(self._images[at]).contiguous(memory_format=self.memory_format)
        return Batch(x, self._noisy[at], self._clean[at])

    def _step(
        self,
        state: TrainState,
        start: Number,
        size: int,
        numbers: Sequence[Number],
        kind: tuple[bool, ...],
    ) -> Tensor | None:
        (lam, lr), (refresh, logged) = numbers, kind
        return step(state, self._batch(start, size), lam, lr, self.method, refresh, logged)
