"""What a benchmark ran on, and the most that this machine could do: its own matrix products."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from datetime import UTC, datetime

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from dglib.benchmark.baseline import plain_network
from dglib.benchmark.settings import Setting
from dglib.benchmark.timing import now
from dglib.numerics import HALF, Numerics, has_bf16_matrix_units

PEAK_SIDES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
PEAK_PRODUCTS = {"cpu": 1, "cuda": 10}  # between two looks at the clock
PEAK_REPEATS = 5


def cores() -> int:
    """The cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def describe_machine(numerics: Numerics) -> dict[str, object]:
    """Names, counts and versions; `busy` tells whether it had other work before."""
    cuda = numerics.torch_device.type == "cuda"
    processor = Numerics("cpu", numerics.threads).describe()["device_name"]
    load = None
    with suppress(AttributeError, OSError):
        load = [round(value, 2) for value in os.getloadavg()]
    return {
        "processor": processor,
        "cores": cores(),
        "threads": numerics.threads,
        "gpu": torch.cuda.get_device_name(numerics.torch_device) if cuda else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,  # type: ignore[no-untyped-call]
        "python": platform.python_version(),
        "system": platform.platform(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_average": load,
        "busy": load is not None and load[0] > cores() / 2,
        "images": "random ones of CIFAR-10's shape",
    }


def peaks(numerics: Numerics, *, quick: bool) -> dict[str, float]:
    """The best measured rate of square matrix products by precision, in FLOP/s."""
    kind = numerics.torch_device.type
    precisions = ["fp32"]
    if kind == "cuda":
        precisions += ["tf32", "bf16", "fp16"]
    elif has_bf16_matrix_units() or numerics.precision == "bf16":
        precisions.append("bf16")
    sides = PEAK_SIDES[kind][: 1 if quick else None]
    return {p: max(_product_rate(numerics, p, side) for side in sides) for p in precisions}


def _product_rate(numerics: Numerics, precision: str, side: int) -> float:
    device, dtype = numerics.torch_device, HALF.get(precision, torch.float32)
    products = PEAK_PRODUCTS[device.type]
    with Numerics(numerics.device, numerics.threads, precision).applied():
        generator = torch.Generator().manual_seed(0)
        a, b = (torch.randn(side, side, generator=generator).to(device, dtype) for _ in range(2))
        best = float("inf")
        for _ in range(PEAK_REPEATS):
            began = now(device)
            for _ in range(products):
                torch.mm(a, b)
            best = min(best, now(device) - began)
    return products * 2.0 * side**3 / best


def flop_per_image(setting: Setting) -> tuple[float, float]:
    """Of a forward and backward pass, and of the forward alone; a multiplication with its addition is two."""
    model, images = plain_network(setting), 2
    x = torch.zeros(images, 3, setting.side, setting.side)
    with FlopCounterMode(display=False) as forward:
        loss = F.cross_entropy(model(x), torch.zeros(images, dtype=torch.int64))
    with FlopCounterMode(display=False) as backward:
        loss.backward()  # type: ignore[no-untyped-call]
    once = forward.get_total_flops() / images
    return once + backward.get_total_flops() / images, once


def parameter_count(setting: Setting) -> int:
    """How many numbers the network learns."""
    return sum(parameter.numel() for parameter in plain_network(setting).parameters())
