"""Speed and sameness of training on this machine: a line of JSON for each case.

    python -m dglib.benchmark --device cuda
    python -m dglib.benchmark --device cpu --json speed.json

Takes at most `--minutes`, 8 by default. Each case has a share of them and what earlier cases left; one that
does not finish is skipped with the reason "budget". The images are random, of CIFAR-10's shape. Needs torch
and numpy; torchvision for ResNet-18 and for the published loop's transforms.

`seconds` is the median for 50,000 images (10,000 in an evaluation) over n blocks, `spread` the greatest minus
the least over the median, `share` the operations per second over those of a matrix product in that
precision, timed first. Against another loop, `ratio` is its time over ours: the median of n pairs of blocks
in alternating order, with `low` and `high`.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import io
import json
import multiprocessing
import os
import platform
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from statistics import median
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.benchmark import timer  # waits for CUDA
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from dglib.errors import UserError
from dglib.files import to_json, write_atomically
from dglib.output import Parser, exits_when_unread
from dglib.protocol.spec import DataSpec, NetworkSpec, StepSpec
from dglib.training.batches import DeviceData, crop_flip
from dglib.training.data import CIFAR10_MEAN, CIFAR10_STD, Dataset
from dglib.training.networks import networks
from dglib.training.noise import noises
from dglib.training.numerics import SWITCHES, Numerics, has_bf16_matrix_units
from dglib.training.randomness import Streams
from dglib.training.state import TrainState
from dglib.training.trainer import Trainer

EPOCH, TESTED, CLASSES = 50_000, 10_000, 10  # images
K, LOG_EVERY, LAMBDA = 16, 20, 0.35  # as published
NEVER = 2**31
LR = 1e-3  # small: training on random labels must not overflow
MAX_PAIRS = 15
BAD_INPUT, INTERRUPTED = 2, 130

Row = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Setting:
    """A network with its experiment's batch size; `side`: height and width of the images in pixels."""

    label: str
    network: str
    width: float
    batch: int
    side: int = 32


SMALL = Setting("small_cnn", "small_cnn", 1.0, 64)
RESNET18 = Setting("resnet18", "resnet18", 1.0, 256)
VGG11 = Setting("vgg11", "vgg11_bn", 1.0, 128)
TINY = Setting("tiny", "small_cnn", 0.25, 16, 8)


@dataclass(frozen=True)
class Machine:
    """Where to measure. `quick`: a few small steps of a tiny network in place of each measurement.

    Attributes:
        product: FLOP/s of a matrix product by precision.
    """

    device: str
    threads: int
    quick: bool
    product: dict[str, float]

    def numerics(self, setting: Setting, **given: str) -> Numerics:
        """The defaults for a network, some changed; a CPU that rehearses CUDA's cases changes none."""
        given = {} if self.quick and self.device == "cpu" else given
        size = sum(p.numel() for p in new_network(setting).parameters())
        return Numerics.resolve(self.device, self.threads, network_parameters=size, **given)  # type: ignore[arg-type]

    def images(self, setting: Setting) -> int:
        """In a block: an epoch on CUDA, on a CPU 256, which take seconds."""
        return setting.batch * 2 if self.quick else EPOCH if self.device != "cpu" else 256


@dataclass(frozen=True)
class Case:
    """A line of the output. `budget`: seconds of eight minutes, set-up included."""

    name: str
    budget: float
    measure: Callable[[Machine], Row]


def cases(device: str, quick: bool = False) -> list[Case]:
    """All cases in the order in which they are measured; `quick`: on a tiny network, CUDA's on a CPU too."""
    large = (TINY,) if quick else (RESNET18, VGG11)
    small, vgg = (TINY, TINY) if quick else (SMALL, VGG11)
    result = [Case("machine", 10, describe)]
    if device != "cpu" or quick:
        result += [
            Case("graphs/small_cnn", 15, partial(same_bits, small, 100)),
            Case("graphs/vgg11", 20, partial(same_bits, vgg, 100)),
            Case("syncs", 10, partial(syncs, small)),
            Case("capture_fails/waiting", 25, partial(failed_capture, small, "dglib.benchmark:waiting")),
            Case("capture_fails/memory", 25, partial(failed_capture, small, "dglib.benchmark:too_large")),
            Case("devices", 15, partial(across_devices, small)),
        ]
    fresh = 50 if device == "cpu" else 30
    result.append(Case("processes", fresh, partial(fresh_processes, small, "off")))
    if device != "cpu" or quick:
        result.append(Case("processes/compiled", 50, partial(fresh_processes, small, "on")))
        for setting, budget in zip(large, (10, 8), strict=False):
            techniques: list[tuple[str, float, dict[str, str], bool]] = [
                ("graphs", budget, {"compiled": "off"}, False),
                ("compiled", 40, {"compiled": "on"}, False),
                ("autotune", budget, {"compiled": "off", "autotune": "on"}, False),
                ("nondeterministic", budget, {"compiled": "off"}, True),
                ("bf16", budget, {"compiled": "off", "precision": "bf16"}, False),
            ]
            for name, seconds, switches, free in techniques:
                measure = partial(epochs, setting, switches, free)
                result.append(Case(f"epochs/{setting.label}/{name}", seconds, measure))
    shares = {"published": (30, 20), "rival": (12, 8), "plain": (8, 6)}
    if device == "cpu":
        shares = {"published": (130, 96), "rival": (60, 40), "plain": (30, 20)}
    for kind, budgets in shares.items():
        for setting, budget in zip(large, budgets, strict=False):
            result.append(Case(f"{kind}/{setting.label}", budget, partial(against, kind, setting)))
    for setting in large:
        result.append(Case(f"evaluation/{setting.label}", 8, partial(evaluation, setting)))
    return [*result, Case("two_at_once", 18, partial(two_at_once, large[-1]))]


# ── what is measured ──


class Experiment:
    """Training as in an experiment; `plain`: without value gradients, along the structure gradient."""

    def __init__(
        self,
        setting: Setting,
        numerics: Numerics,
        images: int,
        *,
        step: StepSpec | None = None,
        plain: bool = False,
        free: bool = False,
    ) -> None:
        network = NetworkSpec(setting.network, setting.width)
        random = DataSpec("random", noise_rate=0.4, augmentation="crop_flip")
        data = random_images(setting, images)
        self.data = DeviceData(data, random, 0, numerics.torch_device)
        step = step or StepSpec(setting.batch, NEVER if plain else K)
        self.numerics, self.images, self.free = numerics, images, free
        if numerics.device != "cpu":
            torch.cuda.set_device(numerics.torch_device)  # which `timer` waits for
        self.state = TrainState.create(network, step, data.input_shape, CLASSES, numerics, seed=0)
        self.trainer = Trainer(step, self.data, Streams(0, "benchmark"), numerics)
        if plain:
            self.trainer.method = replace(self.trainer.method, mix=lambda g_s, g_v, lam: list(g_s))

    def advance(self, steps: int) -> None:
        with self.numerics.applied():
            torch.backends.cudnn.deterministic &= not self.free  # `applied` restores it
            self.trainer.advance(self.state, LAMBDA, LR, steps)

    def block(self) -> None:
        self.advance(self.trainer.steps_per_epoch)

    def settled(self) -> Experiment:
        """Itself, once every kind of step is compiled and captured."""
        self.advance(4 * K if self.numerics.device != "cpu" else 1)
        return self

    def digest(self) -> str:
        """Of all bits that training changes."""
        tensors = [*self.state.model.state_dict().values(), *self.state.momentum(), *(self.state.g_v or ())]
        return hashlib.sha256(b"".join(t.cpu().numpy().tobytes() for t in tensors)).hexdigest()[:16]


class Transformed(TorchDataset[tuple[Tensor, int, int]]):
    """Images with noisy and clean labels, transformed by torchvision when they are read."""

    def __init__(self, data: Dataset) -> None:
        from torchvision import transforms as t

        self.images, self.clean = data.x_train.transpose(0, 2, 3, 1), data.y_train.tolist()
        self.noisy = noises.get("symmetric")(data.y_train, 0.4, 0, CLASSES).tolist()
        crop = t.RandomCrop(data.input_shape[1], padding=4)
        last = t.ToTensor(), t.Normalize(CIFAR10_MEAN, CIFAR10_STD)
        self.transform = t.Compose([t.ToPILImage(), crop, t.RandomHorizontalFlip(), *last])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        return self.transform(self.images[index]), self.noisy[index], self.clean[index]


class PublishedLoop:
    """The published loop as one would write it, in torch's default arithmetic.

    A DataLoader with four workers, gradients as flat vectors, a second forward and backward every K steps.
    Source: HIDEKI, Dual-Gradient Learning, Paper A (doi 10.5281/zenodo.18215925).
    """

    def __init__(self, setting: Setting, data: Dataset, batch: int, device: torch.device) -> None:
        if find_spec("torchvision") is None:
            raise UserError("torchvision, whose transforms the published loop uses, is not installed")
        self._start(setting, data, device)
        # Warnings of four workers on fewer cores, and (Python 3.12 on) of their forks: as published.
        warnings.filterwarnings("ignore", "This DataLoader will create 4 worker processes", UserWarning)
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        self.loader: DataLoader[Any] = DataLoader(
            Transformed(data),
            batch_size=batch,
            shuffle=True,
            num_workers=4,
            persistent_workers=True,
            pin_memory=device.type == "cuda",
            generator=torch.Generator().manual_seed(0),
            worker_init_fn=_ignore_interrupts,
        )

    def _start(self, setting: Setting, data: Dataset, device: torch.device) -> None:
        self.device, self.model = device, new_network(setting).to(device)
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.SGD(self.parameters, lr=LR, momentum=0.9, weight_decay=5e-4)
        self.g_v: Tensor | None = None
        self.t, self.images = 0, len(data.x_train)

    def block(self) -> None:
        for items in self.loader:
            self.step(*(part.to(self.device, non_blocking=True) for part in items))

    def step(self, x: Tensor, noisy: Tensor, clean: Tensor) -> None:
        """One step on images (B, 3, H, W) with labels int64 (B,)."""
        g_s = self._flat_gradient(x, noisy)
        if self.g_v is None or self.t % K == 0:
            self.g_v = self._flat_gradient(x, clean)
        mixed = (1 - LAMBDA) * g_s / (g_s.norm() + 1e-12) + LAMBDA * self.g_v / (self.g_v.norm() + 1e-12)
        start = 0
        for parameter in self.parameters:
            assert parameter.grad is not None
            parameter.grad.copy_(mixed[start : start + parameter.numel()].view_as(parameter))
            start += parameter.numel()
        self.optimizer.step()
        self.t += 1

    def _flat_gradient(self, x: Tensor, labels: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(x), labels).backward()  # type: ignore[no-untyped-call]
        return torch.cat([p.grad.reshape(-1) for p in self.parameters if p.grad is not None])


class FairLoop(PublishedLoop):
    """The published loop in half precision and channels_last, with the data on the device."""

    def __init__(self, setting: Setting, data: Dataset, batch: int, device: torch.device) -> None:
        self._start(setting, data, device)
        self.model.to(memory_format=torch.channels_last)
        random = DataSpec("random", noise_rate=0.4, augmentation="crop_flip")
        self.data, self.batch = DeviceData(data, random, 0, device), batch
        self.half = device.type == "cuda" or has_bf16_matrix_units()

    def block(self) -> None:
        for part in torch.split(torch.randperm(self.images, device=self.device), self.batch):
            dy, dx = torch.randint(0, 9, (2, len(part)), device=self.device)
            flips = torch.rand(len(part), device=self.device) < 0.5
            x = self.data.inputs(crop_flip(self.data.x_train[part], dy, dx, flips, 4))
            x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
                self.step(x, self.data.noisy[part], self.data.clean[part])


Loop = Experiment | PublishedLoop  # each trains `images` images in a block


def _ignore_interrupts(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops it


def new_network(setting: Setting) -> nn.Module:
    """The network with torch's own dropout, on the CPU, in train mode."""
    if setting.network.startswith("resnet") and find_spec("torchvision") is None:
        raise UserError("torchvision, which has the ResNets, is not installed")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return networks.get(setting.network)((3, setting.side, setting.side), CLASSES, setting.width).train()


def random_images(setting: Setting, n: int) -> Dataset:
    """uint8 images and labels, the same in every run."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (n, 3, setting.side, setting.side), np.uint8), rng.integers(0, CLASSES, n)
    return Dataset("random", x, y, x[:1], y[:1], CLASSES, 255.0, CIFAR10_MEAN, CIFAR10_STD)


def waiting(input_shape: tuple[int, int, int], classes: int, width: float) -> nn.Module:
    """A network that reads a number from the device, which no graph can hold."""

    def read(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        float(inputs[0].detach().sum())

    model = networks.get("small_cnn")(input_shape, classes, width)
    model.register_forward_pre_hook(read)
    return model


def too_large(input_shape: tuple[int, int, int], classes: int, width: float) -> nn.Module:
    """A network that asks for more memory than there is, in a capture alone."""

    def allocate(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].is_cuda and torch.cuda.is_current_stream_capturing():
            torch.empty(2**45, dtype=torch.uint8, device=inputs[0].device)

    model = networks.get("small_cnn")(input_shape, classes, width)
    model.register_forward_pre_hook(allocate)
    return model


# ── cases: is it right? ──


def describe(machine: Machine) -> Row:
    """Versions, toolchain and the speed of a matrix product."""
    device = torch.device(machine.device)
    row: Row = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cores": cores(),
        "threads": machine.threads,
        "triton": find_spec("triton") is not None,
        "compiler": which("g++") or which("cl") or "",
    }
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        row |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}  # type: ignore[no-untyped-call]
        row |= {"capability": [card.major, card.minor], "memory": card.total_memory}
    for precision in ("fp32", "bf16", "fp16") if device.type == "cuda" else ("fp32", "bf16"):
        machine.product[precision] = _product_speed(device, precision, 256 if machine.quick else 0)
    return row | {"product": dict(machine.product)}


def _product_speed(device: torch.device, precision: str, side: int) -> float:
    side = side or (8192 if device.type == "cuda" else 2048)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    a = torch.ones(side, side, dtype=dtype, device=device)
    times = []
    for _ in range(6):
        start = timer()
        a @ a
        times.append(timer() - start)
    return 2 * side**3 / min(times)  # the first warms up


def trained(
    machine: Machine, setting: Setting, steps: int, given: dict[str, str], resumed_after: int = 0
) -> tuple[str, str]:
    """The digest of a state after so many logged steps with its evaluations, and why they were slower, or "".

    Args:
        resumed_after: so many steps the state is saved, and another trainer resumes it.
    """
    if given.get("compiled") == "on":  # what another process has compiled proves nothing
        os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"
    steps = min(steps, 8) if machine.quick else steps
    spec = StepSpec(setting.batch, K, log_every=LOG_EVERY, two_pass_statistics=True)
    numerics = machine.numerics(setting, **given)
    run = Experiment(setting, numerics, setting.batch * 24 - 3, step=spec)
    if resumed_after:
        run.advance(resumed_after)
        steps -= resumed_after
        saved = _saved(run)
        run = Experiment(setting, numerics, setting.batch * 24 - 3, step=spec)
        run.state.load_state_dict(saved)
    run.advance(steps)
    with numerics.applied():
        evaluations = {str(run.trainer.evaluate(run.state)) for _ in range(5)}  # the last ones captured
    return f"{run.digest()} {sorted(evaluations)}", run.trainer.fallback


def _saved(run: Experiment) -> dict[str, Any]:
    """The state through a file's bytes, on the host."""
    file = io.BytesIO()
    torch.save(run.state.state_dict(), file)
    file.seek(0)
    saved: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return saved


def same_bits(setting: Setting, steps: int, machine: Machine) -> Row:
    """Captured steps against direct ones."""
    on, fallback = trained(machine, setting, steps, {"cuda_graphs": "on", "compiled": "off"})
    off, _ = trained(machine, setting, steps, {"cuda_graphs": "off", "compiled": "off"})
    return {"equal": on == off, "steps": steps, "fallback": fallback}


def syncs(setting: Setting, machine: Machine) -> Row:
    """Where an epoch's steps wait for the device, and how often; the copies that begin an epoch may."""
    run = Experiment(setting, machine.numerics(setting, compiled="off"), setting.batch * 40)
    run.settled()
    cuda = run.numerics.device != "cpu"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if cuda:
            torch.cuda.set_sync_debug_mode("warn")
        try:
            run.block()
        finally:
            if cuda:
                torch.cuda.set_sync_debug_mode("default")
    waits = [f"{Path(w.filename).name}:{w.lineno}" for w in caught if "synchroniz" in str(w.message)]
    return {"steps": run.trainer.steps_per_epoch, "waits": dict(Counter(waits))}


def failed_capture(setting: Setting, network: str, machine: Machine) -> Row:
    """A network that cannot be captured, in a process of its own: does the run end with the right bits?"""
    failing = replace(setting, label="failing", network=network)
    jobs = [(machine, failing, 60, {"cuda_graphs": use, "compiled": "off"}) for use in ("on", "off")]
    (on, fallback), (off, _) = in_processes(trained, jobs)
    return {"equal": on == off, "fallback": fallback}


def across_devices(setting: Setting, machine: Machine) -> Row:
    """From this device to the CPU and back."""
    here, cpu = machine.numerics(setting), Numerics.resolve("cpu", machine.threads)
    runs = [Experiment(setting, numerics, setting.batch * 24) for numerics in (here, cpu, here)]
    unchanged = True
    for before, run in zip([None, *runs], runs, strict=False):
        if before is not None:
            saved = _saved(before)
            run.state.load_state_dict(saved)
            loaded = run.state.model.state_dict()
            unchanged &= all(torch.equal(loaded[name].cpu(), t) for name, t in saved["model"].items())
        run.advance(5)
    finite = all(bool(p.isfinite().all()) for p in runs[-1].state.params)
    return {"weights_kept": unchanged, "steps": runs[-1].state.t, "finite": finite}


def fresh_processes(setting: Setting, compiled: str, machine: Machine) -> Row:
    """Bits of two fresh processes, and of a third that resumes inside an epoch."""
    steps, given = 60, {"compiled": compiled}
    jobs = [(machine, setting, steps, given, resumed) for resumed in (0, 0, 5)]
    (one, fallback), (other, _), (resumed, _) = in_processes(trained, jobs, at_once=3)
    return {"equal": one == other, "resumed_equal": one == resumed, "fallback": fallback}


_barrier: Any = None


def _meet(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


def in_processes(
    function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], at_once: int = 1
) -> list[Any]:
    """A function's results, each from a fresh process."""
    fresh = multiprocessing.get_context("spawn")
    with fresh.Pool(at_once, _meet, [fresh.Barrier(at_once)], maxtasksperchild=1) as pool:  # ends them
        return pool.starmap(function, jobs, chunksize=1)


# ── cases: is it fast? ──


def flops(setting: Setting) -> tuple[float, float]:
    """Of one image's step and of its evaluation: convolutions and linear layers."""
    from torch.utils.flop_counter import FlopCounterMode

    model, x = new_network(setting), torch.zeros(2, 3, setting.side, setting.side)
    with FlopCounterMode(display=False) as step:
        model(x).sum().backward()
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model.eval()(x)
    return step.get_total_flops() / 2 * (1 + 1 / K), forward.get_total_flops() / 2


def timed(machine: Machine, numerics: Numerics, per_image: Sequence[float], operations: float, n: int) -> Row:
    """Of seconds per image and the operations of one; `seconds` are for `n` images."""
    middle = median(per_image)
    product = machine.product.get({"tf32": "fp32"}.get(numerics.precision, numerics.precision))
    return {
        "seconds": middle * n,
        "spread": (max(per_image) - min(per_image)) / middle,
        "n": len(per_image),
        "share": operations / middle / product if product else None,
        "precision": numerics.precision,
        "techniques": [name for name in SWITCHES if getattr(numerics, name)],
    }


def epochs(setting: Setting, given: dict[str, str], free: bool, machine: Machine) -> Row:
    """Three whole epochs after one. `free`: cuDNN may take algorithms without a fixed order."""
    numerics = machine.numerics(setting, **given)
    start = timer()
    run = Experiment(setting, numerics, machine.images(setting), free=free).settled()
    run.block()
    setup = timer() - start
    times = repeated(lambda _: _block_time(run), 3)
    row = timed(machine, numerics, times, flops(setting)[0], EPOCH)
    return row | {"fallback": run.trainer.fallback, "setup": setup}


def _block_time(side: Loop) -> float:
    """Seconds per image."""
    start = timer()
    side.block()
    return (timer() - start) / side.images


def against(kind: str, setting: Setting, machine: Machine) -> Row:
    """Ours and another loop: the published one, the same made faster, or plain SGD."""
    # Compiling would take the case's time; `epochs/…/compiled` has its gain.
    numerics, images = machine.numerics(setting, compiled="off"), machine.images(setting)
    ours = Experiment(setting, numerics, images).settled()
    other: Loop
    if kind == "plain":
        other = Experiment(setting, numerics, images, plain=True).settled()
    else:
        loop = PublishedLoop if kind == "published" else FairLoop
        other = loop(setting, random_images(setting, images), setting.batch, numerics.torch_device)
    pairs = measure_pairs(ours, other, 2 if machine.quick else MAX_PAIRS)
    times, baseline = zip(*pairs, strict=True)
    ratios = [b / a for a, b in pairs]
    row = timed(machine, numerics, times, flops(setting)[0], EPOCH)
    row |= {"against": kind, "batch": setting.batch}
    row |= {"baseline_seconds": median(baseline) * EPOCH, "images": images, "fallback": ours.trainer.fallback}
    return row | {"ratio": median(ratios), "low": min(ratios), "high": max(ratios)}


def measure_pairs(ours: Loop, other: Loop, most: int = MAX_PAIRS) -> list[tuple[float, float]]:
    """Seconds per image of both, in alternating order after one block of each."""
    ours.block()
    other.block()

    def pair(number: int) -> tuple[float, float]:
        sides = (ours, other) if number % 2 == 0 else (other, ours)
        times = {side: _block_time(side) for side in sides}
        return times[ours], times[other]

    return repeated(pair, most)


def repeated(measure: Callable[[int], T], most: int) -> list[T]:
    """Results of up to `most` calls with 0, 1, …; fewer where the case's time ends, but one at least."""
    results: list[T] = []
    try:
        for number in range(most):
            results.append(measure(number))
    except OutOfTime:
        if not results:
            raise
    return results


def evaluation(setting: Setting, machine: Machine) -> Row:
    """Of 10,000 test images; on a CPU of 256."""
    numerics, tested = machine.numerics(setting), min(TESTED, machine.images(setting))
    run = Experiment(setting, numerics, tested)
    run.data.x_test, run.data.y_test = run.data.x_train, run.data.clean

    def seconds(number: int) -> float:
        start = timer()
        run.trainer.evaluate(run.state)
        return (timer() - start) / tested

    with numerics.applied():
        for number in range(4 if numerics.cuda_graphs else 1):  # until captured
            seconds(number)
        times = repeated(seconds, 5)
    return timed(machine, numerics, times, flops(setting)[1], TESTED) | {"images": tested}


def two_at_once(setting: Setting, machine: Machine) -> Row:
    """Two seeds, a process each, against one: how much more is trained. Two share the CPU's threads."""
    (one,) = in_processes(_blocks, [(machine, setting)])
    job = (replace(machine, threads=max(1, machine.threads // 2)), setting)
    two = in_processes(_blocks, [job, job], at_once=2)
    return {"one": one, "two": max(two), "gain": 2 * one / max(two)}


def _blocks(machine: Machine, setting: Setting) -> float:
    """Seconds for two blocks, begun with the other processes."""
    run = Experiment(setting, machine.numerics(setting, compiled="off"), machine.images(setting)).settled()
    _barrier.wait()
    return sum(_block_time(run) for _ in range(2)) * run.images


# ── the run ──


def cores() -> int:
    """The cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


class OutOfTime(BaseException):
    """A case's budget is used up. No Exception: no fallback of compilation or capture may catch it."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise OutOfTime inside the block after so many seconds, on systems with such a timer (not Windows)."""

    def out_of_time(*given: object) -> NoReturn:
        raise OutOfTime

    if sys.platform == "win32":
        yield
    else:
        before = signal.signal(signal.SIGALRM, out_of_time)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def run(machine: Machine, wanted: Sequence[Case], minutes: float, path: Path | None) -> None:
    """Measure cases in series; print each row, and write all to a file, if one is given."""
    torch.set_num_threads(machine.threads)  # of the baselines
    name = Numerics(machine.device, machine.threads).describe()["device_name"]
    scale = 60 * minutes / max(8 * 60, sum(case.budget for case in wanted))
    began, granted = time.monotonic(), 0.0
    rows: list[Row] = []
    for case in wanted:
        gc.collect()  # the graphs of the case before hold their memory in cycles
        granted += case.budget * scale
        start = time.monotonic()
        try:
            if (left := began + granted - start) <= 0:
                raise OutOfTime
            with deadline(left):
                measured = case.measure(machine)
        except OutOfTime:
            measured = {"skipped": "budget"}
        except UserError as error:
            measured = {"skipped": str(error)}
        except Exception as error:  # one case must not cost the others
            measured = {"failed": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None  # not on Windows
        about = {"device": name, "torch": torch.__version__, "load": load, "took": time.monotonic() - start}
        rows.append({"case": case.name, **measured, **about})
        print(json.dumps(rows[-1]), flush=True)
        if path is not None:
            write_atomically(path, to_json({"complete": len(rows) == len(wanted), "rows": rows}, indent=1))


@exits_when_unread
def main(argv: Sequence[str] | None = None) -> int:
    """0: measured; 2: bad input, one line on stderr; 130: interrupted, the rows until then are written."""
    parser = Parser(prog="dglib.benchmark", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    add("--threads", type=int, default=cores(), metavar="N", help="CPU threads; default: all cores")
    add("--only", nargs="+", metavar="CASE", help="these cases; a wrong name is answered with all of them")
    add("--json", type=Path, metavar="FILE", help="write all rows there, after every row")
    add("--minutes", type=float, default=8.0, help="time for all cases (default 8)")
    add("--quick", action="store_true", help="a few steps of a tiny network, also of CUDA's cases on a CPU")
    try:
        arguments = parser.parse_args(argv)
        if not 0 < arguments.minutes <= 1440:
            raise UserError(f"--minutes {arguments.minutes:g}: must be above 0 and at most 1440")
        path: Path | None = arguments.json
        if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK)):
            raise UserError(f"--json {path}: must be a file in a directory that can be written to")
        device = Numerics.resolve(arguments.device, arguments.threads).device
        known = {case.name: case for case in cases(device, arguments.quick)}
        for name in arguments.only or ():
            if name not in known:
                raise UserError(f"--only {name}: must be of {', '.join(known)}")
        wanted = [known[name] for name in arguments.only or known]
        run(Machine(device, arguments.threads, arguments.quick, {}), wanted, arguments.minutes, path)
    except UserError as error:
        print("dglib.benchmark: error:", " ".join(str(error).split()), file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("dglib.benchmark: interrupted; the rows above are all", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
