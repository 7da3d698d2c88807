"""Where and how numbers are computed: resolved once, recorded with every run.

torch's process-wide settings are part of it. A run holds those that its numbers depend on; another run of the
process that needs other values is refused, and the last holder restores what was there before.
"""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch

from dglib.errors import UserError
from dglib.training.convolution import ConvolutionsAsProducts

SWITCHES = ("channels_last", "fused", "compiled", "cuda_graphs", "autotune")
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}

# fp16 ends at 65504 and thins out below 6e-5, and the gradients of a batch's mean loss are 1e-3 and less.
# A constant is enough: `tests/test_precision.py` has the errors at others. Powers of two: exact to divide by.
LOSS_SCALE = {"fp16": 2.0**10}

# Versions of one function that torch may compile in a process. It would stop at 8, without a word to us, and
# one process may train networks, batch sizes and precisions of a whole grid.
RECOMPILE_LIMIT = 64

# A network with fewer parameters gains less than bf16's casts cost on a CPU, and trains for seconds where
# compiling takes a minute (by reasoning, not measured).
LARGE_FROM = 1_000_000


@dataclass(frozen=True)
class Numerics:
    """Device, arithmetic and thread count of a run, settled: no "auto" is left.

    Attributes:
        device: "cpu", "cuda" or "cuda:N".
        threads: CPU threads; they change the order of CPU sums, and with it the results.
        precision: of forward and backward passes: "fp32", "tf32", "bf16" or "fp16". Weights, norms, the mix
            and momentum are float32 in each.
        exact: no resuming with other numerics, no operation without a fixed order.
        channels_last: images and convolutions in NHWC memory order.
        fused: SGD in one kernel that also skips a step on the device.
        compiled: `torch.compile` of the loss, and of mix, tally and descent as one.
        cuda_graphs: the step captured once for each kind and replayed.
        autotune: cuDNN times its algorithms and may take those without a fixed order: other bits each run.
    """

    device: str
    threads: int
    precision: str = "fp32"
    exact: bool = False
    channels_last: bool = False
    fused: bool = False
    compiled: bool = False
    cuda_graphs: bool = False
    autotune: bool = False

    @classmethod
    def resolve(
        cls,
        device: str = "auto",
        threads: int = 1,
        *,
        exact: bool = False,
        precision: str = "auto",
        network_parameters: int | None = None,
        **switches: str,
    ) -> Numerics:
        """Settle what is "auto" on this machine.

        On CUDA: fp16 where the card has matrix units (compute capability 7.0 on), every technique but
        autotuning, and compilation where the network is large and Triton is installed. On a CPU: fp32, or
        bf16 with channels_last where the CPU multiplies bf16 matrices (AMX) and the network is large. `exact`
        leaves out compilation and captured graphs.

        Args:
            device: "auto", "cpu", "cuda" or "cuda:N".
            threads: from 1.
            precision: "auto" or one of `PRECISIONS`.
            network_parameters: how many the network has; None counts as few.
            switches: for each of `SWITCHES` "auto" (as if left out), "on" or "off".

        Raises:
            UserError: an unknown value, CUDA asked for where there is none, or what contradicts `exact`.
        """
        device = _settled_device(device)
        if threads < 1:
            raise UserError(f"threads = {threads}: must be at least 1")
        if precision not in ("auto", *PRECISIONS):
            raise UserError(f"precision = {precision!r}: must be auto, {', '.join(PRECISIONS)}")
        for name, value in switches.items():
            if name not in SWITCHES or value not in ("auto", "on", "off"):
                raise UserError(f"{name} = {value!r}: must be auto, on or off, for {', '.join(SWITCHES)}")
        cuda = device != "cpu"
        large = network_parameters is not None and network_parameters >= LARGE_FROM
        if precision == "auto":
            # fp16 where matrix units run it: its mix lies several times nearer to float64 than that of bf16.
            if cuda and torch.cuda.get_device_capability(torch.device(device)) >= (7, 0):
                precision = "fp16"
            else:
                precision = "bf16" if not cuda and large and has_bf16_matrix_units() else "fp32"
        if precision == "tf32" and not cuda:
            raise UserError("precision = 'tf32': CUDA devices alone have it; use fp32, bf16 or auto on a CPU")
        usual = {
            "channels_last": cuda or precision in HALF,
            "fused": cuda,
            "compiled": cuda and large and not exact and _has_triton(),
            "cuda_graphs": cuda and not exact,
            "autotune": False,
        }
        asked = {name: switches.get(name, "auto") for name in SWITCHES}
        chosen = {n: usual[n] if asked[n] == "auto" else asked[n] == "on" for n in SWITCHES}
        if exact and (chosen["autotune"] or chosen["compiled"] or chosen["cuda_graphs"]):
            raise UserError("exact = true: goes with compiled, cuda_graphs and autotune auto or off")
        if chosen["cuda_graphs"] and not (cuda and chosen["fused"]):
            raise UserError("cuda_graphs = 'on': needs a CUDA device and fused auto or on")
        return cls(device, threads, precision, exact, **chosen)

    @property
    def torch_device(self) -> torch.device:
        return torch.device(self.device)

    @property
    def loss_scale(self) -> float:
        """What the loss is multiplied by before the backward pass; gradients are divided by it after."""
        return LOSS_SCALE.get(self.precision, 1.0)

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """A forward pass in this precision."""
        if self.precision not in HALF:
            yield
            return
        on_cpu = self.device == "cpu" and self.precision == "bf16" and not self.compiled
        products = ConvolutionsAsProducts() if on_cpu and has_bf16_matrix_units() else nullcontext()
        with torch.autocast(self.torch_device.type, dtype=HALF[self.precision]), products:
            yield

    @contextmanager
    def applied(self, holder: str = "a run") -> Iterator[None]:
        """Hold those of torch's process-wide settings that these numerics depend on.

        Args:
            holder: who, for the message to another run of this process.

        Raises:
            UserError: another run in this process holds one of them at another value; nothing is changed.
        """
        wanted = self._settings()
        with _LOCK:
            for other, held in _HELD:
                clash = next((name for name in wanted if held.get(name, wanted[name]) != wanted[name]), None)
                if clash is not None:
                    raise UserError(
                        f"{holder}: needs {clash} = {wanted[clash]} of torch, and {other} holds {held[clash]}"
                        f" in this process; pause {other}, wait until it has ended, or use another process"
                    )
            _HELD.append((holder, wanted))
        try:
            with _LOCK:
                for name, value in wanted.items():
                    _BEFORE.setdefault(name, _read(name))
                    _write(name, value)
            yield
        finally:
            with _LOCK:
                _HELD.remove((holder, wanted))
                for name in wanted.keys() & _BEFORE.keys():
                    if not any(name in held for _, held in _HELD):
                        _write(name, _BEFORE.pop(name))

    def _settings(self) -> dict[str, Any]:
        cuda = self.torch_device.type == "cuda"
        wanted: dict[str, Any] = {"threads": self.threads}
        if self.exact:
            # Some CUDA operations are flagged that meet no collision here, as max-pool's backward at 2×2.
            wanted["deterministic algorithms"] = "warn" if cuda else "on"
        if cuda:
            # Read once, when cuBLAS starts: a later run of this process may be exact.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            # By itself torch computes float32 convolutions in TF32, and matrix products not.
            tf32 = "ieee" if self.precision == "fp32" else "tf32"
            wanted |= {
                # Benchmark mode may choose another algorithm after a resume, and with it other bits.
                "cudnn.deterministic": not self.autotune,
                "cudnn.benchmark": self.autotune,
                "cudnn.conv.fp32_precision": tf32,
                "cuda.matmul.fp32_precision": tf32,
            }
        else:  # torch.set_float32_matmul_precision("medium") would make oneDNN's products bf16
            wanted |= {"mkldnn.conv.fp32_precision": "ieee", "mkldnn.matmul.fp32_precision": "ieee"}
        if self.compiled:
            # Past the limit torch runs uncompiled by default; `dglib.training.graphs` reports the error.
            wanted |= {
                "dynamo.recompile_limit": RECOMPILE_LIMIT,
                "dynamo.fail_on_recompile_limit_hit": True,
                # By itself Inductor times reductions, and two processes may choose differently.
                "inductor.deterministic": not self.autotune,
            }
        return wanted

    def describe(self) -> dict[str, object]:
        """What the numbers are computed on: a run's bits can be expected again where all of this is equal."""
        cuda = self.torch_device.type == "cuda"
        processor = f"{_processor()} {torch.backends.cpu.get_cpu_capability()}"
        return {
            "device": self.torch_device.type,
            "device_name": torch.cuda.get_device_name(self.torch_device) if cuda else processor,
            "threads": self.threads,
            "precision": self.precision,
            **{name: getattr(self, name) for name in SWITCHES},
            "torch": torch.__version__,
            "cuda": torch.version.cuda if cuda else None,
        }


# ── torch's process-wide settings ──

_LOCK = threading.Lock()
_HELD: list[tuple[str, Mapping[str, Any]]] = []  # holders with the settings that they need
_BEFORE: dict[str, Any] = {}  # of each held setting


def _read(name: str) -> Any:
    """A setting: "threads", "deterministic algorithms" (off, warn, on), or an attribute below torch.backends
    or, with "dynamo." or "inductor.", of the compiler's configuration."""
    if name == "threads":
        return torch.get_num_threads()
    if name == "deterministic algorithms":
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        return ("warn" if warn_only else "on") if torch.are_deterministic_algorithms_enabled() else "off"
    owner, attribute = _owner(name)
    return getattr(owner, attribute)


def _write(name: str, value: Any) -> None:
    if _read(name) == value:  # to write "deterministic algorithms" imports the compiler, for seconds
        return
    if name == "threads":
        torch.set_num_threads(value)
    elif name == "deterministic algorithms":
        torch.use_deterministic_algorithms(value != "off", warn_only=value == "warn")
    else:
        setattr(*_owner(name), value)


def _owner(name: str) -> tuple[Any, str]:
    path, _, attribute = name.rpartition(".")
    if path == "dynamo":
        from torch import _dynamo  # takes seconds

        return _dynamo.config, attribute
    if path == "inductor":
        from torch._inductor import config

        return config, attribute
    return attrgetter(path)(torch.backends), attribute


# ── this machine ──


def _settled_device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise UserError(f"device = {device!r}: must be auto, cpu, cuda or cuda:N")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= count:
            have = f"{count} CUDA device(s)" if count else "no CUDA device"
            raise UserError(f"device = {device!r}: torch sees {have} here; use auto or cpu")
    return device


@cache
def has_bf16_matrix_units() -> bool:
    """Whether this CPU multiplies bf16 matrices in hardware (AMX)."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)  # not in every torch
    if capabilities is not None:
        return bool(capabilities().get("amx_bf16", False))
    with suppress(OSError):
        return "amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return False


def _has_triton() -> bool:
    return find_spec("triton") is not None


def _processor() -> str:
    """The CPU's model, if known: libraries choose their kernels, and so the bits, by it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
