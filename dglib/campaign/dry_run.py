"""`--dry-run`: the jobs of a campaign, and an estimate of their time."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch

from dglib.analysis import wording
from dglib.campaign.jobs import Plan
from dglib.protocol.spec import ExperimentSpec
from dglib.runs.identity import requested_numerics
from dglib.runs.progress import duration
from dglib.runs.store import read_records
from dglib.training.batches import DeviceData
from dglib.training.data import Dataset, DatasetInfo, describe_dataset, make_dataset
from dglib.training.numerics import Numerics
from dglib.training.randomness import Streams
from dglib.training.state import TrainState
from dglib.training.trainer import Trainer

SECONDS = 5.0  # for all estimates: with the imports, a dry run answers within ten
STEP_SECONDS = 0.5  # for the step that is timed, on a CPU
LEAST = 8  # images in it: of fewer, the time would be that of the optimizer


class Estimate(NamedTuple):
    """The seconds of a seed and the device that they were measured on, or the reason why there are none."""

    seconds: float | None
    about: str


def print_plans(
    plans: Sequence[Plan], at_once: int, *, as_json: bool = False, elsewhere: bool = False
) -> None:
    """Print each plan and its jobs: for people, or a JSON line per job that trains a seed.

    Args:
        at_once: how many jobs run at a time.
        elsewhere: the jobs run on other machines, whose speed is known from finished seeds alone.

    Raises:
        UserError: a device or technique cannot be used here.
    """
    estimator, times = Estimator(), list[float]()
    jobs = sum(len(plan.parameters.seeds) for plan in plans)
    for plan in sorted(plans, key=lambda plan: plan.spec.planned_epochs, reverse=True):
        estimate = estimate_plan(plan, estimator, elsewhere)
        times += [estimate.seconds] * len(plan.parameters.seeds) if estimate.seconds is not None else []
        (_print_json if as_json else _print_lines)(plan, estimate)
    if as_json:
        return
    total = f"{jobs} job{'s' * (jobs != 1)}"
    if times:
        total += f": {duration(sum(times))} one after the other"
        total += f", and {jobs - len(times)} without an estimate" if len(times) < jobs else ""
    if len(times) == jobs and (at_once := min(at_once, jobs)) > 1:
        several = duration(max(sum(times) / at_once, *times))
        total += f", about {several} with {at_once} at a time if they do not slow each other down"
    print(total)


def _print_lines(plan: Plan, estimate: Estimate) -> None:
    p, seconds = plan.parameters, estimate.seconds
    total, per_seed = f"no estimate: {estimate.about}", ""
    if seconds is not None:
        total = f"about {duration(seconds * len(p.seeds))} on {estimate.about}"
        per_seed = f": about {duration(seconds)}"
    epochs = plan.spec.planned_epochs * len(p.seeds)
    name = plan.cell or plan.executed.name
    print(f"{p.experiment}: {name}, {wording.seeds(len(p.seeds))}, {epochs} epochs at most, {total}")
    print("  " + ", ".join(f"{name}={value}" for name, value in p.model_dump().items()))
    for seed in p.seeds:
        print(f"  {plan.name} seed {seed}{per_seed}")


def _print_json(plan: Plan, estimate: Estimate) -> None:
    measured = estimate.seconds is not None
    times: dict[str, Any] = {"estimate_s": estimate.seconds and round(estimate.seconds, 1)}
    times |= {"estimate_on": estimate.about if measured else None}
    for seed in plan.parameters.seeds:
        line: dict[str, Any] = {"experiment": plan.experiment, "seed": seed}
        line |= {"cell": plan.cell} if plan.cell else {}
        print(json.dumps(line | {"parameters": plan.parameters.model_dump() | {"seeds": [seed]}} | times))


def estimate_plan(plan: Plan, estimator: Estimator, elsewhere: bool) -> Estimate:
    """From finished seeds of the same run, else from two training steps."""
    directory = plan.directory()
    if directory is not None and (records := read_records(directory, plan.experiment)):
        devices = {part["device"] for record in records for part in record["numerics"]}
        return Estimate(median(record["time"] for record in records), " and ".join(sorted(devices)))
    if elsewhere:
        return Estimate(None, "no seed has finished")
    numerics = Numerics.resolve(**requested_numerics(plan.parameters))
    seconds = estimator.seconds(plan.spec, numerics)
    slow = "no seed has finished, and a step takes too long here"
    return Estimate(seconds, slow if seconds is None else numerics.device)


class Estimator:
    """Times training steps on random images. What trains alike is timed once, all within `SECONDS`."""

    def __init__(self) -> None:
        self._deadline = time.monotonic() + SECONDS
        self._known: dict[object, float | None] = {}

    def seconds(self, spec: ExperimentSpec, numerics: Numerics) -> float | None:
        """Seconds for one seed that no event ends early; None where there was no time for two steps.

        Evaluation counts as a third of a training pass over the test set; nothing is compiled or captured,
        and logs are not counted. Expect a factor of 1.5 either way.
        """
        info = describe_dataset(spec.data.dataset, train_size=spec.data.train_size)
        alike = (spec.network, spec.step.batch_size, info.input_shape, spec.data.augmentation, numerics)
        if alike not in self._known:
            self._known[alike] = self._pass_per_image(spec, numerics, info)
        per_image = self._known[alike]
        if per_image is None:
            return None
        phases = [phase for arm in spec.arms for phase in arm.phases]
        evaluations = sum(
            len(phase.levels) * -(-phase.epochs_per_level // phase.evaluate_every) for phase in phases
        )
        images = spec.planned_epochs * info.n_train * (1 + 1 / spec.step.refresh_period)
        return per_image * (images + evaluations * info.n_test / 3)

    def _pass_per_image(self, spec: ExperimentSpec, numerics: Numerics, info: DatasetInfo) -> float | None:
        """Seconds of a forward and backward pass for one image, from the second of two steps.

        On a CPU the first step takes two images, and the second one as many of a batch as fit into
        `STEP_SECONDS`.
        """
        # Compilation and capture take minutes to start.
        numerics = replace(numerics, compiled=False, cuda_graphs=False)
        # Any noise costs the same, and labels from a file would not fit these images.
        data, step = replace(spec.data, noise="symmetric"), replace(spec.step, log_every=0)
        device, all_images = numerics.torch_device, step.batch_size
        images = min(2, all_images) if device.type == "cpu" else all_images
        with numerics.applied("the estimate"):
            state = TrainState.create(spec.network, step, info.input_shape, info.classes, numerics, seed=0)
            per_image = 0.0
            for refreshes in (True, step.refresh_period == 1):
                placed = DeviceData(_random_images(images, info), data, 0, device)
                trainer = Trainer(step, placed, Streams(0, "estimate"), numerics)
                started = _now(device)
                if started + images * per_image >= self._deadline:
                    return None
                cpu_started = time.process_time()
                trainer.advance(state, 0.5, 1e-3, 1)
                seconds = _now(device) - started
                if device.type == "cpu" and numerics.threads == 1:  # what other processes use does not count
                    seconds = min(seconds, time.process_time() - cpu_started)
                per_image = seconds / (1 + refreshes) / images
                if device.type == "cpu":
                    images = min(all_images, max(LEAST, round(STEP_SECONDS / per_image)))
        return per_image


def _random_images(n: int, info: DatasetInfo) -> Dataset:
    images = np.random.default_rng(0).integers(0, 256, (n, *info.input_shape), dtype=np.uint8)
    labels = np.arange(n) % info.classes
    return make_dataset("random", images, labels, images, labels, classes=info.classes)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()
