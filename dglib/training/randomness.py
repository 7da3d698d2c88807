"""Randomness by key: every draw is a function of (seed, run, purpose, epoch), never of what was drawn before.

So a resumed run needs no generator states (dropout within an epoch apart), and turning one consumer of
randomness on or off moves no other.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Purpose = Literal["order", "crop", "flip", "dropout"]


@dataclass(frozen=True)
class Streams:
    """The random streams of one run (an arm from a restart on) of one seed."""

    seed: int
    run: str

    def key(self, purpose: Purpose, epoch: int) -> int:
        """A 63-bit generator seed for `purpose` in `epoch` (0-based, since the run began)."""
        return derived_key(self.seed, self.run, purpose, epoch)

    def generator(self, purpose: Purpose, epoch: int) -> torch.Generator:
        """A generator on the CPU, so that every device trains on the same batches."""
        return torch.Generator().manual_seed(self.key(purpose, epoch))

    def order(self, n: int, epoch: int) -> Tensor:
        """The order of the n training samples: int64 (n,)."""
        return torch.randperm(n, generator=self.generator("order", epoch))

    def crop_offsets(self, n: int, padding: int, epoch: int) -> Tensor:
        """Row and column offset of each sample's crop, 0 to 2·padding: int64 (2, n)."""
        return torch.randint(0, 2 * padding + 1, (2, n), generator=self.generator("crop", epoch))

    def flips(self, n: int, epoch: int) -> Tensor:
        """Whether each sample is flipped, with equal chance: bool (n,)."""
        return torch.rand(n, generator=self.generator("flip", epoch)) < 0.5


def derived_key(*parts: object) -> int:
    """A 63-bit generator seed, a function of these parts."""
    text = "|".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1
