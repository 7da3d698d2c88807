"""A data set on the device, with the label noise of a seed; and the images of a batch made from it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dglib.protocol.spec import DataSpec, InputShape
from dglib.training.data import Dataset
from dglib.training.noise import make_noise


def index_from(start: float | Tensor, size: int) -> slice | Tensor:
    """An index of `size` images from `start` on: on the device, where a captured graph is to read `start`."""
    if isinstance(start, Tensor):
        return start + torch.arange(size, device=start.device)
    return slice(int(start), int(start) + size)


class DeviceData:
    """A whole data set on a device: raw images (n, C, H, W) and labels int64 (n,), all copies.

    Attributes:
        spec: the data set, its noise and its augmentation.
        noisy: the training labels under the label noise of the seed, see `noise`.
        clean: the training labels as they are in the data set.
    """

    def __init__(self, data: Dataset, spec: DataSpec, seed: int, device: torch.device) -> None:
        def here(array: object, dtype: torch.dtype | None = None) -> Tensor:
            return torch.tensor(array, dtype=dtype, device=device)  # a copy, on a CPU as well

        self.spec = spec
        self.noise = make_noise(spec.noise, data.y_train, spec.noise_rate, seed, data.classes)
        self.x_train, self.clean, self.noisy = here(data.x_train), here(data.y_train), here(self.noise.labels)
        self.x_test, self.y_test = here(data.x_test), here(data.y_test)
        self.classes, self.scale = data.classes, data.scale
        self.mean, self.std = (here(v, torch.float32).view(-1, 1, 1) for v in (data.mean, data.std))

    @property
    def input_shape(self) -> InputShape:
        channels, height, width = self.x_train.shape[1:]
        return channels, height, width

    def inputs(self, images: Tensor) -> Tensor:
        """Network inputs, float32, of raw images: (pixel / scale - mean) / std, in torchvision's order."""
        return images.float().div(self.scale).sub_(self.mean).div_(self.std)


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
