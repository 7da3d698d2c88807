import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import functional as tv

from dglib.protocol.spec import DataSpec
from dglib.training.batches import DeviceData, crop_flip
from dglib.training.data import Dataset

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def random_images(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def every_offset(padding: int) -> tuple[Tensor, Tensor, Tensor]:
    """dy, dx, flip over all crops of all sides, mirrored and not."""
    side = torch.arange(2 * padding + 1)
    dy, dx, flip = torch.cartesian_prod(side, side, torch.arange(2)).unbind(1)
    return dy, dx, flip.bool()


def on(device: str, images: Tensor) -> DeviceData:
    x, y = images.numpy(), np.zeros(len(images), np.int64)
    data = Dataset("cifar", x, y, x, y, 10, 255.0, CIFAR_MEAN, CIFAR_STD)
    return DeviceData(data, DataSpec("cifar", noise_rate=0.0), 0, torch.device(device))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (8, 11)])
def test_pixels_are_torchvisions_bit_for_bit_at_every_offset(height, width):
    dy, dx, flip = every_offset(padding=4)
    images = random_images(len(dy), 3, height, width)
    ours = on("cpu", images).inputs(crop_flip(images, dy, dx, flip, 4))

    finish = transforms.Compose([transforms.ToTensor(), transforms.Normalize(CIFAR_MEAN, CIFAR_STD)])
    for index, pixels in enumerate(images):
        image = tv.pad(Image.fromarray(pixels.permute(1, 2, 0).numpy()), 4)  # filled with black
        image = tv.crop(image, int(dy[index]), int(dx[index]), height, width)
        if flip[index]:
            image = tv.hflip(image)
        assert torch.equal(ours[index], finish(image))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_cpus_pixels_without_waiting_for_the_device():
    dy, dx, flip = every_offset(padding=4)
    images = random_images(len(dy), 3, 32, 32)
    data, on_device = on("cuda", images), [tensor.cuda() for tensor in (images, dy, dx, flip)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        cropped = crop_flip(*on_device, 4)
        data.inputs(cropped)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(cropped.cpu(), crop_flip(images, dy, dx, flip, 4))
