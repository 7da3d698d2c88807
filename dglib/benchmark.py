"""Speed of training on this machine, in pairs of blocks against a baseline.

    python -m dglib.benchmark --json speed.json
    python -m dglib.benchmark --device cuda --only resnet18/train resnet18/dual_over_plain

A block is an epoch of 50,000 images on CUDA; on a CPU it is 16 batches (80 with a log), smaller than the
published ones. Both sides of a pair run in one process, in alternating order, with their own data pipelines.
The images are random, of CIFAR-10's shape. Needs torch and numpy; torchvision for ResNet-18 and for the
published loop's transforms. Cases that cannot be measured here are skipped, with the reason.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, NoReturn, Union

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
from dglib.training.batches import DeviceData
from dglib.training.data import CIFAR10_MEAN, CIFAR10_STD, Dataset
from dglib.training.networks import networks
from dglib.training.noise import noises
from dglib.training.numerics import SWITCHES, Numerics, has_bf16_matrix_units
from dglib.training.randomness import Streams
from dglib.training.state import TrainState
from dglib.training.trainer import Trainer

EPOCH, CLASSES = 50_000, 10
K, LOG_EVERY, LAMBDA = 16, 20, 0.35  # as published
NEVER = 2**31
LR = 1e-3  # small: training on random labels must not overflow
CPU_BATCH = 8
MIN_PAIRS, MAX_PAIRS = 3, 31
BAD_INPUT, INTERRUPTED = 2, 130
BASELINES = {"train": "published loop", "dual_over_plain": "plain SGD", "logging_over_none": "no log"}
LEGEND = """\
s: median, for 50,000 images; of dglib, then of the baseline. ratio: median of n pairs, baseline over dglib
(…_over_…: dglib over baseline), with minimum and maximum. A batch smaller than the published one gives more
weight to norms, mix and SGD."""

Pairs = list[tuple[float, float]]  # seconds per image of dglib and of the baseline


@dataclass(frozen=True)
class Setting:
    """A network with its experiment's batch size; `side`: height and width of the images in pixels."""

    label: str
    network: str
    width: float
    batch: int
    side: int


FULL = (Setting("resnet18", "resnet18", 1.0, 256, 32), Setting("vgg11", "vgg11_bn", 1.0, 128, 32))
QUICK = (Setting("small_cnn", "small_cnn", 0.25, 16, 8),)


@dataclass(frozen=True)
class Case:
    """A row of the table; `option`: the switch that is changed, or the precision."""

    setting: Setting
    kind: str
    option: str = ""

    @property
    def name(self) -> str:
        group = "" if self.kind in BASELINES else "train/"
        return f"{self.setting.label}/{group}{self.kind}" + (f"_{self.option}" if self.option else "")


def cases(settings: Sequence[Setting]) -> list[Case]:
    """All cases in the order in which they are measured."""
    result = [Case(setting, kind) for setting in settings for kind in BASELINES]
    result += [Case(settings[0], "switched", switch) for switch in SWITCHES]
    return result + [Case(settings[0], "precision", precision) for precision in ("fp32", "bf16")]


# ── what is measured ──


Side = Union["Experiment", "PublishedLoop"]  # trains `images` images in a block; see `fallback`


class Experiment:
    """Training as in an experiment; `plain`: without value gradients, along the structure gradient.

    Attributes:
        fallback: why it is slower than asked to be, or "".
    """

    def __init__(
        self, setting: Setting, data: Dataset, numerics: Numerics, step: StepSpec, *, plain: bool = False
    ) -> None:
        network = NetworkSpec(setting.network, setting.width)
        random = DataSpec("random", noise_rate=0.4, augmentation="crop_flip")
        placed = DeviceData(data, random, 0, numerics.torch_device)
        step = replace(step, refresh_period=NEVER) if plain else step
        self.numerics = numerics
        self.state = TrainState.create(network, step, data.input_shape, CLASSES, numerics, seed=0)
        self.trainer = Trainer(step, placed, Streams(0, "benchmark"), numerics)
        if plain:
            self.trainer.method = replace(self.trainer.method, mix=lambda g_s, g_v, lam: list(g_s))
        self.images, self.fallback = len(data.x_train), ""
        if numerics.device != "cpu":  # until every kind of step is compiled and captured
            self._advance(4 * math.lcm(K, step.log_every or 1))

    def _advance(self, steps: int) -> None:
        with self.numerics.applied():
            self.trainer.advance(self.state, LAMBDA, LR, steps)

    def block(self) -> None:
        self._advance(self.trainer.steps_per_epoch)
        self.fallback = self.trainer.fallback


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

    fallback = ""

    def __init__(self, setting: Setting, data: Dataset, batch: int, device: torch.device) -> None:
        if find_spec("torchvision") is None:
            raise UserError("torchvision, whose transforms the published loop uses, is not installed")
        self.device, self.model = device, new_network(setting).to(device)
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.SGD(self.parameters, lr=LR, momentum=0.9, weight_decay=5e-4)
        self.g_v: Tensor | None = None
        self.t, self.images = 0, len(data.x_train)
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
        return torch.cat([p.grad.view(-1) for p in self.parameters if p.grad is not None])


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


# ── pairs and rows ──


class OutOfTime(BaseException):
    """--minutes are over. No Exception: the fallbacks of compilation and capture must not catch it."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise OutOfTime inside the block after so many seconds, on systems with such a timer (not Windows)."""

    def out_of_time(*given: object) -> NoReturn:
        raise OutOfTime

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, out_of_time)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def measure_pairs(ours: Side, other: Side, until: float) -> Pairs:
    """Blocks of the two sides in alternating order, after one of each to warm up.

    At least `MIN_PAIRS`, at most `MAX_PAIRS`, otherwise while the next pair fits before `until`, a reading of
    `time.monotonic`.
    """
    ours.block()
    other.block()
    pairs: Pairs = []
    began = time.monotonic()
    while len(pairs) < MAX_PAIRS:
        now = time.monotonic()
        if len(pairs) >= MIN_PAIRS and now + (now - began) / len(pairs) > until:
            break
        seconds = {}
        for side in (ours, other) if len(pairs) % 2 == 0 else (other, ours):
            start = timer()
            side.block()
            seconds[side] = (timer() - start) / side.images
        pairs.append((seconds[ours], seconds[other]))
    return pairs


def row(case: Case, numerics: Numerics, pairs: Pairs, **more: object) -> dict[str, Any]:
    """A case's result under the names of the JSON."""
    ours, other = (median(side) for side in zip(*pairs, strict=True))
    ratios = [mine / theirs if "_over_" in case.kind else theirs / mine for mine, theirs in pairs]
    return {
        "case": case.name,
        "device": numerics.torch_device.type,
        "precision": numerics.precision,
        "seconds": ours * EPOCH,
        "baseline_seconds": other * EPOCH,
        "ratio": median(ratios),
        "low": min(ratios),
        "high": max(ratios),
        "n": len(pairs),
        "against": BASELINES.get(case.kind, "defaults"),
        "published_batch": case.setting.batch,
        **more,
    }


def cores() -> int:
    """The cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def describe_machine(numerics: Numerics) -> dict[str, Any]:
    """The default numerics, device and versions, and the load by all processes."""
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None  # not on Windows
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return numerics.describe() | {"cores": cores(), "date": date, "load_average": load}


def text_of(row: dict[str, Any]) -> str:
    return (
        f"{row['case']}: {row['seconds']:.4g} s, {row['against']} {row['baseline_seconds']:.4g} s,"
        f" ratio {row['ratio']:.3f} [{row['low']:.3f}, {row['high']:.3f}], n {row['n']},"
        f" batch {row['batch']}, {row['precision']}  {row['note']}"
    ).rstrip()


def numerics_of(arguments: argparse.Namespace, setting: Setting | None = None, **given: str) -> Numerics:
    """This machine's defaults for a network, with some changed."""
    size = None if setting is None else sum(p.numel() for p in new_network(setting).parameters())
    device, threads = arguments.device, arguments.threads
    return Numerics.resolve(device, threads, network_parameters=size, **given)  # type: ignore[arg-type]


def varied(case: Case, usual: Numerics, only: bool) -> dict[str, str]:
    """The defaults with one switch, or the precision, changed.

    Raises:
        UserError: that is no change, or not for a CPU; or slow there and not asked for by `only`.
    """
    option = case.option
    given = {name: "on" if getattr(usual, name) else "off" for name in SWITCHES} | {
        "precision": usual.precision
    }
    if option == usual.precision:
        raise UserError(f"that is the default for {case.setting.label} here")
    if usual.device == "cpu":
        if option in ("autotune", "cuda_graphs"):
            raise UserError("CUDA only")
        if option == "compiled" and not only:
            raise UserError("compiling takes minutes on a CPU; --only measures it")
        if option == "bf16" and not (only or has_bf16_matrix_units()):
            raise UserError("this CPU has no matrix units for bf16; --only measures it")
    if option == "fused":  # CUDA graphs need it
        given["cuda_graphs"] = "off"
    if case.kind == "precision":
        return given | {"precision": option}
    return given | {option: "off" if getattr(usual, option) else "on"}


def measure(case: Case, arguments: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """A case's row, in about so many seconds."""
    setting, kind = case.setting, case.kind
    usual = numerics = numerics_of(arguments, setting)
    if kind not in BASELINES:
        numerics = numerics_of(arguments, setting, **varied(case, usual, bool(arguments.only)))
    logs = LOG_EVERY if kind == "logging_over_none" else 0
    on_cpu = numerics.device == "cpu"
    batch = min(setting.batch, CPU_BATCH) if on_cpu else setting.batch
    images = batch * math.lcm(K, logs or 1) if on_cpu else EPOCH
    until = 0.0 if arguments.quick else time.monotonic() + seconds
    silent = StepSpec(batch, K, two_pass_statistics=bool(logs))
    data = random_images(setting, images)
    ours = Experiment(setting, data, numerics, replace(silent, log_every=logs))
    other: Side = (
        PublishedLoop(setting, data, batch, usual.torch_device)
        if kind == "train"
        else Experiment(setting, data, usual, silent, plain=kind == "dual_over_plain")
    )
    pairs = measure_pairs(ours, other, until)
    note = "; ".join(dict.fromkeys(filter(None, (ours.fallback, other.fallback))))
    return row(case, numerics, pairs, batch=batch, block_images=images, note=note)


def run(arguments: argparse.Namespace, wanted: Sequence[Case]) -> None:
    """Measure cases in series; write machine and rows after each, if a file is given."""
    finish = time.monotonic() + 60 * arguments.minutes
    torch.set_num_threads(arguments.threads)  # of the baseline
    machine = describe_machine(numerics_of(arguments))
    print("; ".join(f"{name} {value}" for name, value in machine.items()))
    print(LEGEND, flush=True)
    rows: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    for number, case in enumerate(wanted):
        left = finish - time.monotonic()
        try:
            if left <= 0:
                raise OutOfTime
            with deadline(left):
                rows.append(measure(case, arguments, left / (len(wanted) - number)))
            print(text_of(rows[-1]), flush=True)
        except (UserError, OutOfTime) as error:
            reason = str(error) or f"no time is left of --minutes {arguments.minutes:g}"
            skipped.append({"case": case.name, "reason": reason})
            print(f"{case.name}: skipped: {reason}", flush=True)
        if arguments.json is not None:
            head = {"machine": machine, "complete": number + 1 == len(wanted)}
            write_atomically(arguments.json, to_json(head | {"rows": rows, "skipped": skipped}, indent=1))


# ── the command line ──


@exits_when_unread
def main(argv: Sequence[str] | None = None) -> int:
    """0: measured; 2: bad input, one line on stderr; 130: interrupted, the rows until then are written."""
    parser = Parser(prog="dglib.benchmark", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    add("--threads", type=int, default=cores(), metavar="N", help="CPU threads; default: all cores")
    add("--only", nargs="+", metavar="CASE", help="these cases; a wrong name is answered with all of them")
    add("--json", type=Path, metavar="FILE", help="write machine and rows there, after every row")
    add("--minutes", type=float, default=9.5, help="time for all cases (default 9.5)")
    add("--quick", action="store_true", help="a tiny network and few steps: shows that everything runs")
    try:
        arguments = parser.parse_args(argv)
        known = {case.name: case for case in cases(QUICK if arguments.quick else FULL)}
        for name in arguments.only or ():
            if name not in known:
                raise UserError(f"--only {name}: must be of {', '.join(known)}")
        if arguments.threads < 1:
            raise UserError(f"--threads {arguments.threads}: must be at least 1")
        if not 0 < arguments.minutes <= 1440:
            raise UserError(f"--minutes {arguments.minutes:g}: must be above 0 and at most 1440")
        path: Path | None = arguments.json
        if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK)):
            raise UserError(f"--json {path}: must be a file in a directory that can be written to")
        run(arguments, [known[name] for name in arguments.only or known])
    except UserError as error:
        print("dglib.benchmark: error:", " ".join(str(error).split()), file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("dglib.benchmark: interrupted; the rows above are all", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
