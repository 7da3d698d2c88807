"""This machine's GPUs, one for each worker."""

from __future__ import annotations

import os
from pathlib import Path


def visible() -> list[str]:
    """The GPUs that torch would use here, as CUDA_VISIBLE_DEVICES names them."""
    if not has_driver():  # torch takes seconds to import
        return []
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = None if given is None else [name.strip() for name in given.split(",")]
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [str(number) if names is None else names[number] for number in range(count)]


def has_driver() -> bool:
    """Whether a driver for NVIDIA's GPUs is loaded; the second path is that of Windows' own Linux."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()


def environment(name: str) -> dict[str, str]:
    """The variables of a process that sees one GPU alone."""
    # In the order of nvidia-smi, from which people read the numbers; names of an environment are kept.
    order = {} if "CUDA_VISIBLE_DEVICES" in os.environ else {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return {"CUDA_VISIBLE_DEVICES": name, **order}
