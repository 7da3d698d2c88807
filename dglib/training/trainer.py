"""Moves a state by steps: batches by key, the step kernel, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from dglib.control import Control
from dglib.protocol.spec import DataSpec, ExperimentSpec
from dglib.training.data import Dataset
from dglib.training.graphs import StepRunner
from dglib.training.noise import NoisyLabels, make_noise
from dglib.training.numerics import Numerics
from dglib.training.randomness import Streams
from dglib.training.state import TrainState
from dglib.training.step import Batch


def crop_flip(images: Tensor, dy: Tensor, dx: Tensor, flip: Tensor, padding: int) -> Tensor:
    """Pad with black, crop each image at its own offset, then mirror the chosen ones left to right.

    images: (B, C, H, W) raw pixels of any dtype, in which 0 is black. dy, dx: (B,) int64, the crop's top
    left corner in the padded image, 0..2·padding. flip: (B,) bool. padding: pixels on each side, >= 0.
    Returns (B, C, H, W) of the same dtype. All tensors lie on one device; nothing is fetched from it, so
    offsets are not checked: one that leaves the padded image is an indexing error of the device.
    """
    batch, channels, height, width = images.shape
    device = images.device
    padded = F.pad(images, (padding, padding, padding, padding))
    rows = dy[:, None] + torch.arange(height, device=device)
    across = torch.arange(width, device=device)
    columns = dx[:, None] + torch.where(flip[:, None], across.flip(0), across)
    return padded[
        torch.arange(batch, device=device)[:, None, None, None],
        torch.arange(channels, device=device)[:, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]


def normalise(images: Tensor, scale: float, mean: Tensor, std: Tensor) -> Tensor:
    """(pixel / scale - mean) / std per channel, in the order of torchvision's ToTensor and Normalize.

    images: (B, C, H, W), any dtype, left unchanged. scale: the raw value that stands for 1.0.
    mean, std: float32, (C, 1, 1), on the images' device. Returns float32 (B, C, H, W).
    """
    return images.float().div(scale).sub_(mean).div_(std)


CROPPED_AT_ONCE = 5000  # images: bounds the memory of padded copies


@dataclass(frozen=True, eq=False)
class DeviceData:
    """A whole data set on the device: raw images (n, C, H, W), labels int64 (n,)."""

    x_train: Tensor
    clean: Tensor
    noisy: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: int
    scale: float
    mean: Tensor
    std: Tensor
    noise: NoisyLabels

    @classmethod
    def place(cls, data: Dataset, spec: DataSpec, seed: int, device: torch.device) -> Self:
        """Copy `data` to `device`, with the label noise of `seed`."""
        noise = make_noise(spec.noise, data.y_train, spec.noise_rate, seed, data.classes)

        def here(array: object, dtype: torch.dtype | None = None) -> Tensor:
            return torch.tensor(array, dtype=dtype, device=device)  # a copy, on a CPU as well

        return cls(
            x_train=here(data.x_train),
            clean=here(data.y_train),
            noisy=here(noise.labels),
            x_test=here(data.x_test),
            y_test=here(data.y_test),
            classes=data.classes,
            scale=data.scale,
            mean=here(data.mean, torch.float32).view(-1, 1, 1),
            std=here(data.std, torch.float32).view(-1, 1, 1),
            noise=noise,
        )

    def inputs(self, images: Tensor) -> Tensor:
        """Network inputs, float32, of raw images."""
        return normalise(images, self.scale, self.mean, self.std)


@dataclass(frozen=True, eq=False)
class Epoch:
    """One epoch in its order, on the device: raw images (n, C, H, W), cropped and flipped; labels (n,)."""

    number: int
    images: Tensor
    noisy: Tensor
    clean: Tensor


class Trainer:
    """Trains one run (a stretch with one step counter) of one seed.

    Args:
        spec: the experiment.
        data: on the device, with this seed's noise.
        streams: this run's randomness.
        numerics: precision and techniques of the step.
        log: gather losses and step logs in the state; the same bits either way.
    """

    def __init__(
        self,
        spec: ExperimentSpec,
        data: DeviceData,
        streams: Streams,
        numerics: Numerics,
        *,
        log: bool = True,
    ) -> None:
        self.data = data
        self.memory_format = numerics.memory_format
        self.streams = streams
        self.batch_size = spec.step.batch_size
        self.augmentation = spec.data.augmentation
        self.padding = spec.data.crop_padding
        self.take_step = StepRunner(spec.step, numerics, log=log)
        self.steps_per_epoch = -(-len(data.clean) // self.batch_size)  # the last, smaller batch counts
        self._epoch: Epoch | None = None

    def advance(
        self, state: TrainState, lam: float, lr: float, n_steps: int, control: Control | None = None
    ) -> int:
        """Take up to `n_steps` steps at λ = `lam` and learning rate `lr`; a stop or a pause ends them early.

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
            epoch, step = divmod(state.t, self.steps_per_epoch)
            if step == 0:
                state.dropout.manual_seed(self.streams.key("dropout", epoch))
                state.begin_epoch()
            self.take_step(state, self.batch(epoch, step), lam, lr)
        return n_steps

    def steps_left(self, state: TrainState) -> int:
        """Steps to the end of the current epoch; a whole epoch at its boundary."""
        return self.steps_per_epoch - state.t % self.steps_per_epoch

    def batch(self, epoch: int, step: int) -> Batch:
        """Batch `step` (0-based) of `epoch`, augmented and normalised; the last one may be smaller."""
        drawn = self._drawn(epoch)
        part = slice(step * self.batch_size, (step + 1) * self.batch_size)
        x = self.data.inputs(drawn.images[part]).contiguous(memory_format=self.memory_format)
        return Batch(x, drawn.noisy[part], drawn.clean[part])

    def _drawn(self, number: int) -> Epoch:
        """A whole epoch at once: the same pixels as batch by batch, in a few large operations."""
        if self._epoch is None or self._epoch.number != number:
            self._epoch = None  # its memory serves the next one
            data, device, n = self.data, self.data.clean.device, len(self.data.clean)
            order = self.streams.order(n, number).to(device)
            images = data.x_train[order]
            if self.augmentation == "crop_flip":
                offsets = self.streams.crop_offsets(n, self.padding, number).to(device)[:, order]
                flips = self.streams.flips(n, number).to(device)[order]
                for start in range(0, n, CROPPED_AT_ONCE):
                    part = slice(start, start + CROPPED_AT_ONCE)
                    dy, dx = offsets[:, part]
                    images[part] = crop_flip(images[part], dy, dx, flips[part], self.padding)
            images = images.contiguous(memory_format=self.memory_format)  # once, not batch by batch
            self._epoch = Epoch(number, images, data.noisy[order], data.clean[order])
        return self._epoch
