"""Trains a state step by step: the batches of an epoch by key, and one call of the step function for each."""

from __future__ import annotations

from dglib.control import Control
from dglib.protocol.spec import StepSpec
from dglib.training import graphs
from dglib.training.batches import DeviceData, crop_flip
from dglib.training.numerics import Numerics
from dglib.training.randomness import Streams
from dglib.training.state import TrainState
from dglib.training.step import Batch, Method, StepFunction, step

CROPPED_AT_ONCE = 5000  # images: bounds the memory of padded copies


class Trainer:
    """Trains one run (a stretch with one step counter) of one seed.

    Args:
        spec: the step's constants.
        data: on the device, with this seed's noise.
        streams: this run's randomness.
        numerics: precision and techniques of the step.
        log: sum up losses and log steps in the state; changes no bits.

    Attributes:
        step: `dglib.training.step.step`, or that function captured as CUDA graphs.
    """

    def __init__(
        self,
        spec: StepSpec,
        data: DeviceData,
        streams: Streams,
        numerics: Numerics,
        *,
        log: bool = True,
    ) -> None:
        self.spec, self.data, self.streams = spec, data, streams
        self.memory_format = numerics.memory_format
        self.method = Method.of(spec, numerics, log=log)
        self.step: StepFunction = step
        if numerics.compiled:
            self.method = graphs.compiled(self.method)
        if numerics.cuda_graphs:
            self.step = graphs.CapturedSteps(step, graphs.CudaRecorder(data.clean.device), data.clean.device)
        self.batch_size = spec.batch_size
        self.steps_per_epoch = -(-len(data.clean) // self.batch_size)  # the last, smaller batch counts
        self._epoch: tuple[int, Batch] | None = None  # its number; its raw images and labels, in order

    def advance(
        self, state: TrainState, lam: float, lr: float, n_steps: int, control: Control | None = None
    ) -> int:
        """Take up to `n_steps` steps at λ = `lam` and learning rate `lr`; fewer on a stop or a pause.

        Returns the number of steps taken. Nothing is fetched from the device, but for a flag at the second
        step of a run: whether the first one's value gradient is finite.
        """
        state.model.train()
        for done in range(n_steps):
            if control is not None:
                if control.paused or control.stopping():
                    return done
                lam = lam if control.lam is None else control.lam
                lr = lr if control.lr is None else control.lr
            epoch, number = divmod(state.t, self.steps_per_epoch)
            if number == 0:
                state.dropout.manual_seed(self.streams.key("dropout", epoch))
                state.begin_epoch()
            self.take_step(state, self.batch(epoch, number), lam, lr)
        return n_steps

    def take_step(self, state: TrainState, batch: Batch, lam: float, lr: float) -> None:
        """One step at λ = `lam`; λ and the learning rate may change between steps at no cost."""
        spec, method, t = self.spec, self.method, state.t
        refresh = t % spec.refresh_period == 0 or state.holds_none()
        logged = method.log and spec.log_every > 0 and t % spec.log_every == 0
        if logged and method.log_dropout is not None:
            method.log_dropout.manual_seed((state.dropout.initial_seed() + t + 1) % 2**63)
        row = self.step(state, batch, lam, lr, method, refresh, logged)
        if row is not None:
            state.step_log.append((t, row.clone()))
        state.t += 1

    @property
    def fallback(self) -> str:
        """Why steps are slower than asked for, or ""."""
        parts = (self.step, self.method.gradient, self.method.mix)
        return "; ".join(dict.fromkeys(filter(None, (getattr(part, "fallback", "") for part in parts))))

    def steps_left(self, state: TrainState) -> int:
        """Steps to the end of the current epoch; a whole epoch at its boundary."""
        return self.steps_per_epoch - state.t % self.steps_per_epoch

    def batch(self, epoch: int, step: int) -> Batch:
        """Batch `step` (0-based) of `epoch`, augmented and normalised; the last one may be smaller."""
        drawn = self._in_order(epoch)
        part = slice(step * self.batch_size, (step + 1) * self.batch_size)
        x = self.data.inputs(drawn.x[part]).contiguous(memory_format=self.memory_format)
        return Batch(x, drawn.noisy[part], drawn.clean[part])

    def _in_order(self, number: int) -> Batch:
        """A whole epoch, cropped and flipped in a few large operations: the pixels of single batches."""
        if self._epoch is None or self._epoch[0] != number:
            self._epoch = None  # its memory serves the next one
            data, device, n = self.data, self.data.clean.device, len(self.data.clean)
            padding = data.spec.crop_padding
            order = self.streams.order(n, number).to(device)
            images = data.x_train[order]
            if data.spec.augmentation == "crop_flip":
                offsets = self.streams.crop_offsets(n, padding, number).to(device)[:, order]
                flips = self.streams.flips(n, number).to(device)[order]
                for start in range(0, n, CROPPED_AT_ONCE):
                    part = slice(start, start + CROPPED_AT_ONCE)
                    dy, dx = offsets[:, part]
                    images[part] = crop_flip(images[part], dy, dx, flips[part], padding)
            images = images.contiguous(memory_format=self.memory_format)  # once, not batch by batch
            self._epoch = number, Batch(images, data.noisy[order], data.clean[order])
        return self._epoch[1]
