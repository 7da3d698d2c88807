"""Where and how numbers are computed: resolved once, recorded with every run."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from dglib.errors import UserError


@dataclass(frozen=True)
class Numerics:
    """Device, arithmetic and thread count of a run.

    The thread count belongs here because it changes the order of CPU sums, and with it the results. `exact`
    forbids to go on with other numerics than a seed began with, and operations without a fixed order.
    """

    device: str
    threads: int
    precision: str = "fp32"
    exact: bool = False

    @classmethod
    def resolve(cls, device: str = "auto", threads: int = 1, *, exact: bool = False) -> Numerics:
        """Settle `device` ("auto", "cpu", "cuda" or "cuda:N") on this machine.

        Raises:
            UserError: an unknown device, or CUDA asked for where there is none.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        kind, _, index = device.partition(":")
        if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and index):
            raise UserError(f"device = {device!r}: must be auto, cpu, cuda or cuda:N")
        if kind == "cuda":
            found = torch.cuda.device_count() if torch.cuda.is_available() else 0
            if int(index or 0) >= found:
                have = f"{found} CUDA device(s)" if found else "no CUDA device"
                raise UserError(f"device = {device!r}: torch sees {have} here; use auto or cpu")
        if threads < 1:
            raise UserError(f"threads = {threads}: must be at least 1")
        return cls(device, threads, exact=exact)

    @property
    def torch_device(self) -> torch.device:
        return torch.device(self.device)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """torch's process-wide switches set for this run, and put back after it."""
        cudnn = torch.backends.cudnn
        before = torch.get_num_threads(), cudnn.deterministic, cudnn.benchmark
        deterministic = torch.are_deterministic_algorithms_enabled()
        torch.set_num_threads(self.threads)
        if self.exact:
            torch.use_deterministic_algorithms(True)
        # Benchmark mode may choose another algorithm after a resume, and with it other bits.
        cudnn.deterministic, cudnn.benchmark = True, False
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(deterministic)
            cudnn.deterministic, cudnn.benchmark = before[1], before[2]

    def describe(self) -> dict[str, object]:
        """What the numbers are computed on: a run's bits can be expected again where all of this is equal."""
        cuda = self.torch_device.type == "cuda"
        processor = f"{_processor()} {torch.backends.cpu.get_cpu_capability()}"
        return {
            "device": self.torch_device.type,
            "device_name": torch.cuda.get_device_name(self.torch_device) if cuda else processor,
            "threads": self.threads,
            "precision": self.precision,
            "torch": torch.__version__,
            "cuda": torch.version.cuda if cuda else None,
        }


def _processor() -> str:
    """The CPU's model where the system tells it: libraries choose their kernels, and so the bits, by it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
