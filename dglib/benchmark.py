"""Speed of training on this machine, each case in pairs against another side.

    python -m dglib.benchmark --json speed.json
    python -m dglib.benchmark --device cuda --only resnet18/train resnet18/dual_over_plain

A block is an epoch: of 50,000 images on CUDA; on a CPU of 16 batches (80 with a log), smaller where the time
is short. The two sides of a case run their blocks in turn in one process, each with its data pipeline. The
images are random ones of CIFAR-10's shape. Needs torch and numpy; torchvision for ResNet-18, and for the
published loop's own transforms in place of the same on tensors.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, NoReturn, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.sgd import sgd
from torch.utils.benchmark import Timer, timer
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torch.utils.flop_counter import FlopCounterMode

from dglib.errors import UserError
from dglib.output import ends_with_its_reader
from dglib.protocol.spec import Arm, DataSpec, ExperimentSpec, LearningRate, NetworkSpec, Phase, StepSpec
from dglib.training.data import CIFAR10_MEAN, CIFAR10_STD, Dataset
from dglib.training.graphs import StepRunner
from dglib.training.networks import networks
from dglib.training.noise import noises
from dglib.training.numerics import HALF, SWITCHES, Numerics, has_bf16_matrix_units
from dglib.training.randomness import Streams
from dglib.training.state import TrainState
from dglib.training.step import Batch, Kind, Method, Number
from dglib.training.trainer import DeviceData, Trainer

EPOCH, CLASSES = 50_000, 10
K, LOG_EVERY, LAMBDA = 16, 20, 0.35  # as published
RATE = 1e-3  # small: training on random labels must not overflow
LEAST_PAIRS, MOST_PAIRS, LEAST_BATCH = 3, 31, 4
BAD_INPUT, INTERRUPTED = 2, 130

Pairs = list[tuple[float, float]]  # seconds per image of ours and of the other side
Until = tuple[float, float]  # when a case's share of the time, and all of it, is used up


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
    """A row to be measured; `option`: the switch, the precision or the number of processes."""

    setting: Setting
    kind: str
    option: str = ""

    @property
    def name(self) -> str:
        within = "train/" if self.kind in ("without", "with", "precision") else ""
        return f"{self.setting.label}/{within}{self.kind}" + (f"_{self.option}" if self.option else "")


def cases(settings: Sequence[Setting]) -> list[Case]:
    """All cases, in the order in which they are measured."""
    kinds = ("train", "dual_over_plain", "logging_over_none")
    found = [Case(setting, kind) for setting in settings for kind in kinds]
    found += [Case(settings[-1], "seeds_at_once", count) for count in ("2", "4")]
    found += [Case(settings[0], kind, switch) for kind in ("without", "with") for switch in SWITCHES]
    return found + [Case(settings[0], "precision", precision) for precision in ("fp32", "bf16")]


# ── the sides of a pair ──


class Side(Protocol):
    """Runs blocks of `images` images; `fallback`: why it is slower than asked to be, or ""."""

    images: int
    fallback: str

    def block(self) -> None: ...


class Ours:
    """Training as an experiment does it; with `plain`, SGD steps in the same loop."""

    def __init__(
        self, setting: Setting, data: Dataset, numerics: Numerics, step: StepSpec, *, plain: bool = False
    ) -> None:
        self.numerics = numerics
        phase = Phase("benchmark", (LAMBDA,), 1, LearningRate(RATE), evaluate_every=1)
        spec = ExperimentSpec(
            name="benchmark",
            prefix="benchmark",
            directory_prefix="benchmark",
            experiment_id="benchmark-{seed}",
            arms=(Arm("benchmark", (phase,)),),
            network=NetworkSpec(setting.network, setting.width),
            data=DataSpec("random", noise_rate=0.4, augmentation="crop_flip"),
            step=step,
        )
        placed = DeviceData.place(data, spec.data, 0, numerics.torch_device)
        self.state = TrainState.create(
            spec.network,
            step,
            input_shape=data.input_shape,
            classes=CLASSES,
            seed=0,
            device=numerics.torch_device,
            run=(0, 0),
            memory_format=numerics.memory_format,
        )
        self.trainer = Trainer(spec, placed, Streams(0, "benchmark"), numerics)
        if plain:
            self.trainer.take_step = StepRunner(step, numerics, log=False, function=plain_step)
        self.images, self.fallback = len(data.x_train), ""
        if numerics.device != "cpu":  # until every kind of step has been compiled and captured
            self.advance(4 * math.lcm(K, step.log_every or 1))

    def advance(self, steps: int) -> None:
        with self.numerics.applied():
            self.trainer.advance(self.state, LAMBDA, RATE, steps)

    def block(self) -> None:
        self.advance(self.trainer.steps_per_epoch)
        self.fallback = self.trainer.take_step.fallback


@torch.no_grad()
def plain_step(
    state: TrainState, batch: Batch, lam: Number, lr: Number, kind: Kind, method: Method
) -> Tensor | None:
    """SGD along the gradient under the noisy labels, in the place of the dual-gradient step."""
    numerics = method.numerics
    with torch.enable_grad():
        g, _ = method.gradient(state, batch.x, batch.noisy, numerics)
    sgd(
        list(state.params),
        list(g if numerics.loss_scale == 1 else torch._foreach_mul(tuple(g), 1 / numerics.loss_scale)),
        list(state.momentum_buffers),
        fused=numerics.fused,
        foreach=not numerics.fused and state.device.type == "cuda",  # torch.optim.SGD's own choice
        weight_decay=method.spec.weight_decay,
        momentum=method.spec.momentum,
        lr=lr,
        dampening=0.0,
        nesterov=False,
        maximize=False,
    )
    return None


class Pictures(TorchDataset[tuple[Tensor, int, int]]):
    """Images with noisy and clean labels, each cropped, flipped and normalised when it is asked for."""

    def __init__(self, data: Dataset) -> None:
        self.images, self.clean = data.x_train.transpose(0, 2, 3, 1), data.y_train.tolist()
        self.noisy = noises.get("symmetric")(data.y_train, 0.4, 0, CLASSES).tolist()
        self.mean, self.std = (torch.tensor(values).view(3, 1, 1) for values in (CIFAR10_MEAN, CIFAR10_STD))
        self.transform: Callable[[Any], Tensor] = self._on_tensors
        if find_spec("torchvision") is not None:
            from torchvision import transforms as t

            crop = t.RandomCrop(self.images.shape[1], padding=4)
            last = t.ToTensor(), t.Normalize(CIFAR10_MEAN, CIFAR10_STD)
            self.transform = t.Compose([t.ToPILImage(), crop, t.RandomHorizontalFlip(), *last])

    def _on_tensors(self, image: Any) -> Tensor:
        pixels, side = torch.tensor(image).permute(2, 0, 1).float().div(255.0), image.shape[0]
        (dy, dx), flip = torch.randint(0, 9, (2,)).tolist(), float(torch.rand(())) < 0.5
        pixels = F.pad(pixels, (4, 4, 4, 4))[:, dy : dy + side, dx : dx + side]
        return ((pixels.flip(-1) if flip else pixels) - self.mean) / self.std

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        return self.transform(self.images[index]), self.noisy[index], self.clean[index]


class Published:
    """The published loop as one would write it, in torch's default arithmetic.

    A DataLoader with four workers, gradients as flat vectors, a second forward and backward every K steps.
    Source: HIDEKI, Dual-Gradient Learning, Paper A (doi 10.5281/zenodo.18215925).
    """

    fallback = ""

    def __init__(self, setting: Setting, data: Dataset, batch: int, device: torch.device) -> None:
        self.device, self.model = device, plain_network(setting).to(device)
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.SGD(self.parameters, lr=RATE, momentum=0.9, weight_decay=5e-4)
        self.g_v: Tensor | None = None
        self.t, self.images = 0, len(data.x_train)
        with _no_worker_warnings():
            self.loader: DataLoader[Any] = DataLoader(
                Pictures(data),
                batch_size=batch,
                shuffle=True,
                num_workers=4,
                persistent_workers=True,
                pin_memory=device.type == "cuda",
                generator=torch.Generator().manual_seed(0),
                worker_init_fn=_ignore_interrupts,
            )

    def block(self) -> None:
        with _no_worker_warnings():
            for items in self.loader:
                x, noisy, clean = (part.to(self.device, non_blocking=True) for part in items)
                self.step(x, noisy, clean)

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


@contextmanager
def _no_worker_warnings() -> Iterator[None]:
    """torch warns of four workers on fewer cores, Python (3.12 on) of their forks: the published loop's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create 4 worker processes", UserWarning)
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        yield


def _ignore_interrupts(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it


def plain_network(setting: Setting) -> nn.Module:
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
    mean, std = CIFAR10_MEAN, CIFAR10_STD
    return Dataset("random", x, y, x[:1], y[:1], classes=CLASSES, scale=255.0, mean=mean, std=std)


# ── pairs ──


def take_turns(pair: Callable[[bool], tuple[float, float]], until: Until) -> Pairs:
    """Pairs until the share of time is used up: at least three, or one where the deadline is over.

    Args:
        pair: measures one; its argument: whether ours runs first.
        until: share and deadline, readings of `time.monotonic`.
    """
    pairs: Pairs = []
    (share, deadline), began = until, time.monotonic()
    while len(pairs) < MOST_PAIRS:
        if pairs:
            end = time.monotonic() + (time.monotonic() - began) / len(pairs)
            if end > (deadline if len(pairs) < LEAST_PAIRS else min(share, deadline)):
                break
        pairs.append(pair(len(pairs) % 2 == 0))
    return pairs


def in_turn(ours: Side, other: Side, until: Until) -> Pairs:
    """Pairs of blocks of the two sides, after one of each to warm up."""
    ours.block()
    other.block()

    def pair(ours_first: bool) -> tuple[float, float]:
        seconds = {}
        for side in (ours, other) if ours_first else (other, ours):
            began = timer()
            side.block()
            seconds[side] = (timer() - began) / side.images
        return seconds[ours], seconds[other]

    return take_turns(pair, until)


_child: Any = None  # in a child process: its training


def _begin_child(setting: Setting, images: int, numerics: Numerics, step: StepSpec) -> None:
    global _child
    _ignore_interrupts(0)
    _child = Ours(setting, random_images(setting, images), numerics, step)
    _child.block()


def _child_block(threads: int) -> None:
    _child.numerics = replace(_child.numerics, threads=threads)
    _child.block()
    timer()  # waits for the device


def at_once(
    count: int, until: Until, setting: Setting, images: int, numerics: Numerics, step: StepSpec
) -> Pairs:
    """Ours: `count` processes together, which share the threads; the other side: one alone with them all."""

    def run(n: int) -> float:
        began = time.monotonic()
        list(pool.map(_child_block, [max(1, numerics.threads // n)] * n))
        return (time.monotonic() - began) / (n * images)

    def pair(ours_first: bool) -> tuple[float, float]:
        seconds = {n: run(n) for n in ((count, 1) if ours_first else (1, count))}
        return seconds[count], seconds[1]

    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    with ProcessPoolExecutor(count, context, _begin_child, (setting, images, numerics, step)) as pool:
        try:
            run(count)  # starts all processes
            return take_turns(pair, until)
        except BrokenProcessPool as error:
            raise UserError("a process ended early, as for want of memory") from error


# ── the machine ──


def cores() -> int:
    """The cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def describe_machine(numerics: Numerics) -> dict[str, Any]:
    """Names, counts and versions, for the header."""
    cuda, load = numerics.device != "cpu", None
    with suppress(AttributeError, OSError):
        load = round(os.getloadavg()[0], 2)
    return {
        "processor": Numerics("cpu", numerics.threads).describe()["device_name"],
        "cores": cores(),
        "threads": numerics.threads,
        "gpu": torch.cuda.get_device_name(numerics.torch_device) if cuda else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda if cuda else None,
        "python": platform.python_version(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_average": load,
        "busy": load is not None and load > cores() / 2,
        "transforms": "torchvision" if find_spec("torchvision") else "on tensors",
    }


@cache
def peak(device: str, threads: int, precision: str) -> float:
    """FLOP/s of the faster of two square matrix products in this precision."""
    best = 0.0
    with Numerics(device, threads, precision).applied():
        for side in (512, 1024) if device == "cpu" else (4096, 8192):
            a = torch.randn(side, side).to(device, HALF.get(precision, torch.float32))
            found = Timer("a @ a", globals={"a": a}, num_threads=threads).blocked_autorange(min_run_time=0.2)
            best = max(best, 2.0 * side**3 / found.median)
    return best


@cache
def flop_per_image(setting: Setting) -> float:
    """Of a forward and backward pass; a multiplication with its addition is two."""
    model, x = plain_network(setting), torch.zeros(2, 3, setting.side, setting.side)
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(model(x), torch.zeros(2, dtype=torch.int64)).backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops()) / 2


@cache
def seconds_per_image(setting: Setting) -> float:
    """Of a step of the published loop on this CPU."""
    loop = Published(setting, random_images(setting, 1), 1, torch.device("cpu"))
    x, labels = torch.zeros(8, 3, setting.side, setting.side), torch.zeros(8, dtype=torch.int64)
    loop.step(x, labels, labels)
    began = timer()
    loop.step(x, labels, labels)
    return (timer() - began) / len(x)


# ── the session ──

TITLES = ("case", "batch", "prec.", "s", "against", "s", "ratio", "[low, high]", "n", "of peak")
WIDTHS = (36, 5, 5, 9, 14, 9, 7, 17, 3, 7)
LEGEND = """\
s: median, for 50,000 images; of ours, then of the other side.
ratio: median of n pairs, the other side over ours (…_over_…: ours over it), with its least and greatest.
A batch smaller than the published one gives more weight to norms, mix and SGD.
of peak: FLOP/s of ours over those of the fastest square matrix product in the same precision."""


def line(cells: Sequence[object]) -> str:
    """A row of the table under `TITLES`."""
    first, *rest = (str(cell) for cell in cells)
    return " ".join([first.ljust(WIDTHS[0]), *map(str.rjust, rest, WIDTHS[1:])])


AGAINST = {
    "train": "published loop",
    "dual_over_plain": "plain SGD",
    "logging_over_none": "no log",
    "seeds_at_once": "one process",
}


def row(case: Case, numerics: Numerics, pairs: Pairs, **more: object) -> dict[str, Any]:
    """A case's outcome under the names of the JSON."""
    ours, other = (median(side) for side in zip(*pairs, strict=True))
    ratios = [mine / theirs if "_over_" in case.kind else theirs / mine for mine, theirs in pairs]
    logged = 3 / 80 if case.kind == "logging_over_none" else 0.0  # of 80 steps, 3 log without a refresh
    flop = flop_per_image(case.setting) * (1 + 1 / K + logged)
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
        "share_of_peak": flop / ours / peak(numerics.device, numerics.threads, numerics.precision),
        "published_batch": case.setting.batch,
        **more,
    }


def shown(row: dict[str, Any]) -> str:
    spread = f"[{row['low']:.3f}, {row['high']:.3f}]"
    times = f"{row['seconds']:.4g}", row["against"], f"{row['baseline_seconds']:.4g}", f"{row['ratio']:.3f}"
    what, share = (row["case"], row["batch"], row["precision"]), f"{row['share_of_peak']:.1%}"
    return line((*what, *times, spread, row["n"], share)) + f"  {row['note']}".rstrip()


@dataclass
class Session:
    """Measures cases one after the other, as the command line's `arguments` say."""

    arguments: argparse.Namespace
    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)

    def run(self, wanted: Sequence[Case]) -> None:
        self.deadline = time.monotonic() + 60 * self.arguments.minutes
        torch.set_num_threads(self.arguments.threads)  # the other side's; ours sets them itself
        self.machine = describe_machine(self.numerics())
        print("; ".join(f"{name} {value}" for name, value in self.machine.items()))
        print(line(TITLES), flush=True)
        for number, case in enumerate(wanted):
            try:
                left = self.deadline - time.monotonic()
                found = self.measure(case, left / (len(wanted) - number))
            except UserError as error:
                self.skipped.append({"case": case.name, "reason": str(error)})
                print(f"{case.name}: skipped: {error}", flush=True)
            else:
                self.rows.append(found)
                print(shown(found), flush=True)
            self.write(complete=number + 1 == len(wanted))
        print(LEGEND)

    def numerics(self, setting: Setting | None = None, **given: str) -> Numerics:
        """This machine's defaults for a network, with what is given changed."""
        size = None if setting is None else sum(p.numel() for p in plain_network(setting).parameters())
        device, threads = self.arguments.device, self.arguments.threads
        return Numerics.resolve(device, threads, network_parameters=size, **given)  # type: ignore[arg-type]

    def varied(self, case: Case) -> Numerics:
        """The defaults with one switch, or the precision, changed.

        Raises:
            UserError: that is no change, or nothing that this machine has.
        """
        usual, option = self.numerics(case.setting), case.option
        given = {name: "on" if getattr(usual, name) else "off" for name in SWITCHES}
        given["precision"] = usual.precision
        new = option if case.kind == "precision" else "on" if case.kind == "with" else "off"
        changed = "precision" if case.kind == "precision" else option
        if given[changed] == new:
            raise UserError(f"that is the default for {case.setting.label} here")
        if usual.device == "cpu" and option in ("autotune", "cuda_graphs"):
            raise UserError("CUDA alone has it")
        if usual.device == "cpu" and not self.arguments.only:
            if option == "compiled":
                raise UserError("compiling takes minutes on a CPU; --only measures it")
            if option == "bf16" and not has_bf16_matrix_units():
                raise UserError("this CPU has no matrix units for bf16; --only measures it")
        if option == "fused":  # CUDA graphs need it
            given["cuda_graphs"] = "off"
        return self.numerics(case.setting, **given | {changed: new})

    def measure(self, case: Case, seconds: float) -> dict[str, Any]:
        """A case's row, in about so many seconds.

        Raises:
            UserError: it cannot be measured here, or not in the time left.
        """
        setting, kind, batch = case.setting, case.kind, case.setting.batch
        numerics = self.varied(case) if kind in ("without", "with", "precision") else self.numerics(setting)
        count = int(case.option) if kind == "seeds_at_once" else 1
        logs = LOG_EVERY if kind == "logging_over_none" else 0
        share = 0.0 if self.arguments.quick else time.monotonic() + seconds
        until, images = (share, self.deadline), EPOCH // batch * batch
        if numerics.device == "cpu":
            if cores() < count:
                raise UserError(f"{cores()} core(s) for {count} processes")
            steps = math.lcm(K, logs or 1)
            cost = (LEAST_PAIRS + 1) * (count + 1) * steps * seconds_per_image(setting)
            while not self.arguments.quick and batch > LEAST_BATCH and cost * batch > seconds:
                batch //= 2
            if cost * batch > self.deadline - time.monotonic():
                raise UserError("no time is left for it")
            images = steps * batch
        silent = StepSpec(batch, K, two_pass_statistics=bool(logs))
        step, note, against = replace(silent, log_every=logs), "", AGAINST.get(kind, "defaults")
        if kind == "seeds_at_once":
            pairs, note = at_once(count, until, setting, images, numerics, step), "s of each network's share"
        else:
            data = random_images(setting, images)
            ours, other = Ours(setting, data, numerics, step), self.other(case, data, silent)
            pairs = in_turn(ours, other, until)
            note = "; ".join(dict.fromkeys(filter(None, (ours.fallback, other.fallback))))
        return row(case, numerics, pairs, against=against, batch=batch, block_images=images, note=note)

    def other(self, case: Case, data: Dataset, step: StepSpec) -> Side:
        usual = self.numerics(case.setting)
        if case.kind == "train":
            return Published(case.setting, data, step.batch_size, usual.torch_device)
        return Ours(case.setting, data, usual, step, plain=case.kind == "dual_over_plain")

    def write(self, *, complete: bool) -> None:
        """The JSON so far, whole or not at all."""
        path: Path | None = self.arguments.json
        if path is not None:
            told = {"machine": self.machine, "complete": complete}
            report = told | {"rows": self.rows, "skipped": self.skipped}
            draft = path.with_name(f".{path.name}.{os.getpid()}")
            draft.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
            draft.replace(path)


# ── the command line ──


class Parser(argparse.ArgumentParser):
    """Reports a wrong option as a UserError, in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)


@ends_with_its_reader
def main(argv: Sequence[str] | None = None) -> int:
    """0: measured; 2: bad input, one line on stderr; 130: interrupted, the rows until then are written."""
    parser = Parser(prog="dglib.benchmark", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    add("--threads", type=int, default=cores(), metavar="N", help="CPU threads; default: all cores")
    add("--only", nargs="+", metavar="CASE", help="these cases; a wrong name is answered with all of them")
    add("--json", type=Path, metavar="FILE", help="write machine and rows there, after each row")
    add("--minutes", type=float, default=9.5, help="time for all of it (default 9.5)")
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
        Session(arguments).run([known[name] for name in arguments.only or known])
    except UserError as error:
        print("dglib.benchmark: error:", " ".join(str(error).split()), file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("dglib.benchmark: interrupted; the rows above are all", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
