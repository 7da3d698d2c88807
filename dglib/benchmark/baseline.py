"""The published loop as one would write it, to compare with: no technique of ours, and none left out.

PIL images through torchvision's transforms in a DataLoader with four workers; gradients as flat vectors; a
second forward and backward every K steps; torch's default arithmetic, which on CUDA computes convolutions in
TF32 and matrix products in float32. Source: HIDEKI, Dual-Gradient Learning, Paper A
(doi 10.5281/zenodo.18215925).
"""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler
from torch.utils.data import Dataset as TorchDataset

from dglib.benchmark.images import CLASSES
from dglib.benchmark.settings import Setting
from dglib.benchmark.timing import now
from dglib.data import CIFAR10_MEAN, CIFAR10_STD
from dglib.dataset import Images
from dglib.networks import networks
from dglib.spec import StepSpec

WORKERS = 4
AHEAD = 2  # batches that each worker has under way, torch's default
PADDING = 4

Item = tuple[Tensor, int, int]
Step = Callable[[Tensor, Tensor, Tensor], object]


class PublishedLoop:
    """Model, optimizer and held gradient of the published loop."""

    def __init__(self, model: nn.Module, spec: StepSpec, lam: float, lr: float) -> None:
        self.model, self.lam, self.period = model, lam, spec.refresh_period
        self.parameters = list(model.parameters())
        self.optimizer = torch.optim.SGD(
            self.parameters, lr=lr, momentum=spec.momentum, weight_decay=spec.weight_decay
        )
        self.g_v: Tensor | None = None
        self.t = 0

    def step(self, x: Tensor, noisy: Tensor, clean: Tensor) -> None:
        """One step on a batch: images (B, 3, H, W), labels int64 (B,)."""
        g_s = self._flat_gradient(x, noisy)
        if self.g_v is None or self.t % self.period == 0:
            self.g_v = self._flat_gradient(x, clean)
        g_s = g_s / (g_s.norm() + 1e-12)
        g_v = self.g_v / (self.g_v.norm() + 1e-12)
        mixed = (1 - self.lam) * g_s + self.lam * g_v
        start = 0
        for parameter in self.parameters:
            count = parameter.numel()
            assert parameter.grad is not None
            parameter.grad.copy_(mixed[start : start + count].view_as(parameter))
            start += count
        self.optimizer.step()
        self.t += 1

    def _flat_gradient(self, x: Tensor, labels: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(x), labels).backward()  # type: ignore[no-untyped-call]
        return torch.cat([p.grad.view(-1) for p in self.parameters if p.grad is not None])


def plain_network(setting: Setting) -> nn.Module:
    """The network as one would build it: with torch's own dropout, on the CPU, in train mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shape = (3, setting.side, setting.side)
        return networks.get(setting.network)(shape, CLASSES, setting.width).train()


class Pictures(TorchDataset[Item]):
    """PIL images with noisy and clean labels, as torchvision's CIFAR10 gives them.

    Args:
        images: uint8 (n, 3, H, W).
        train: crop and flip at random.
    """

    def __init__(self, images: Images, noisy: Sequence[int], clean: Sequence[int], *, train: bool) -> None:
        from torchvision import transforms

        augmentation: list[Any] = []
        if train:
            crop = transforms.RandomCrop(images.shape[-1], padding=PADDING)
            augmentation = [crop, transforms.RandomHorizontalFlip()]
        self.transform = transforms.Compose(
            [*augmentation, transforms.ToTensor(), transforms.Normalize(CIFAR10_MEAN, CIFAR10_STD)]
        )
        self.pixels = np.ascontiguousarray(images.transpose(0, 2, 3, 1), np.uint8)
        self.noisy, self.clean = noisy, clean

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Item:
        from PIL import Image

        return self.transform(Image.fromarray(self.pixels[index])), self.noisy[index], self.clean[index]


def loader_of(
    pictures: Pictures, batch: int, device: torch.device, *, images: int | None = None
) -> DataLoader[Item]:
    """Four workers, kept from one pass to the next; `images` shuffled ones a pass, or all in their order."""
    order = torch.Generator().manual_seed(0)
    sampler = None if images is None else RandomSampler(pictures, num_samples=images, generator=order)
    with _about_workers_said():
        return DataLoader(
            pictures,
            batch_size=batch,
            sampler=sampler,
            num_workers=WORKERS,
            prefetch_factor=AHEAD,
            persistent_workers=True,
            pin_memory=device.type == "cuda",
            generator=torch.Generator().manual_seed(1),
            worker_init_fn=_leave_interrupts_to_the_parent,
        )


def _leave_interrupts_to_the_parent(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class LoaderBlocks:
    """Timed blocks of a loader's batches, as from the midst of an epoch.

    A block's pass over the loader has `lead` batches more at its beginning, trained on but not timed, after
    which the workers are as far ahead as they ever get; and as many more at its end as the workers work
    ahead, thrown away, so that the workers are busy through the whole block and idle after it, while ours
    runs.

    Args:
        steps: batches a block, or None for a whole pass, whose beginning and end are part of it.
    """

    def __init__(
        self,
        pictures: Pictures,
        batch: int,
        device: torch.device,
        step: Step,
        *,
        steps: int | None,
        lead: int = 0,
        shuffle: bool = True,
    ) -> None:
        self.step, self.steps, self.lead, self.device = step, steps, lead, device
        batches = 0 if steps is None else lead + steps + WORKERS * AHEAD
        images = (batches * batch or len(pictures)) if shuffle else None
        self.loader = loader_of(pictures, batch, device, images=images)
        self.images = len(pictures) if steps is None else steps * batch

    def warm_up(self) -> None:
        """A block that is not counted; it also starts the workers."""
        self.block()

    def block(self) -> float:
        """Seconds of a block's batches, each waited for, copied to the device and trained on."""
        began = now(self.device)
        with _about_workers_said():
            batches = iter(self.loader)
        if self.steps is None:
            self._take(batches)
        else:
            self._take(islice(batches, self.lead))
            began = now(self.device)
            self._take(islice(batches, self.steps))
        seconds = now(self.device) - began
        for _ in batches:  # what the workers had begun
            pass
        return seconds

    def _take(self, batches: Iterable[Any]) -> None:
        for batch in batches:
            x, noisy, clean = (part.to(self.device, non_blocking=True) for part in batch)
            self.step(x, noisy, clean)


def evaluating(model: nn.Module) -> Step:
    """A step that counts what the model gets right in eval mode."""
    model.eval()

    @torch.no_grad()
    def step(x: Tensor, noisy: Tensor, clean: Tensor) -> int:
        return int((model(x).argmax(dim=1) == clean).sum().item())

    return step


@contextmanager
def _about_workers_said() -> Iterator[None]:
    """torch warns of four workers on fewer cores, Python (3.12 on) of their forks: the published loop's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create 4 worker processes", UserWarning)
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        yield
