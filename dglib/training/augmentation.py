"""Augmentation and normalisation of a batch on its device, pixel for pixel as torchvision's transforms."""

import torch
import torch.nn.functional as F
from torch import Tensor


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
