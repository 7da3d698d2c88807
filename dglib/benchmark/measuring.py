"""A case measured: its two sides built, timed in turn, and made into a row."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

from dglib.benchmark.at_once import measure_at_once
from dglib.benchmark.baseline import LoaderBlocks, Pictures, PublishedLoop, evaluating, plain_network
from dglib.benchmark.images import CLASSES, first, random_images
from dglib.benchmark.rows import Row
from dglib.benchmark.settings import REFRESH_PERIOD, Case, Scale, Setting
from dglib.benchmark.sides import LAMBDA, RATE, Evaluating, Training, Work
from dglib.benchmark.timing import Allowance, Pairs, Side, interval, take_turns
from dglib.dataset import Dataset
from dglib.noise import noises
from dglib.numerics import Numerics

EPOCH, TEST_SET = 50_000, 10_000  # CIFAR-10's: what seconds are told for
CYCLE = 80  # steps after which refreshes (16) and logs (20) repeat


@dataclass
class Bench:
    """What the cases of one benchmark share.

    Attributes:
        numerics: the defaults of this machine, by setting's label.
        batches: images a step, by case's name.
        flop: of an image: a forward and backward pass, and a forward; by label.
        peaks: FLOP/s of matrix products by precision.
        set_up: seconds that building and warming up one side took, by label.
    """

    scale: Scale
    numerics: Mapping[str, Numerics]
    batches: Mapping[str, int]
    flop: Mapping[str, tuple[float, float]]
    peaks: Mapping[str, float]
    set_up: dict[str, float] = field(default_factory=dict)
    _kept: dict[tuple[str, int], Training] = field(default_factory=dict)
    _images: dict[str, Dataset] = field(default_factory=dict)

    def measure(self, case: Case, allowance: Allowance, varied: Numerics | None, note: str) -> Row:
        """The row of a case.

        Args:
            varied: other numerics than the defaults, where the case is about them.
            note: what is to be said of them.

        Raises:
            UserError: it cannot be measured here.
        """
        setting, numerics = case.setting, self.numerics[case.setting.label]
        work = Work(setting, self.batches[case.name])
        match case.kind:
            case "train":
                sides: tuple[Side, Side] = self._ours(work, numerics), self._baseline(work, numerics)
                return self._row(case, work, numerics, sides, allowance, "baseline")
            case "epoch":
                data = self._data(setting)
                work = Work(setting, work.batch, steps=-(-len(data.x_train) // work.batch))
                sides = Training(work, data, numerics), self._baseline(work, numerics, whole=True)
                note = f"whole epochs of {len(data.x_train)} images"
                return self._row(case, work, numerics, sides, allowance, "baseline", note=note)
            case "dual":
                plain = Training(Work(setting, work.batch, plain=True), self._few(work), numerics)
                return self._row(
                    case, work, numerics, (self._ours(work, numerics), plain), allowance, "plain SGD"
                )
            case "logging":
                steps = CYCLE if numerics.torch_device.type == "cuda" else REFRESH_PERIOD
                work = Work(setting, work.batch, logs=True, steps=steps)
                silent = Work(setting, work.batch, like_td1=True, steps=steps)
                sides = Training(work, self._few(work), numerics), Training(silent, self._few(work), numerics)
                if steps != CYCLE:  # blocks of steps 16 to 63, with a log at 20, 40 and 60
                    note = "dearer than the mean: a pass for the log in each block, in the long run in 3 of 5"
                    fewer = min(allowance.most_pairs, 3)
                    allowance = Allowance(allowance.share, allowance.deadline, fewer)
                return self._row(case, work, numerics, sides, allowance, "no logging", note=note)
            case "technique" | "precision":
                assert varied is not None
                sides = Training(work, self._few(work), varied), self._ours(work, numerics)
                return self._row(case, work, varied, sides, allowance, "defaults", note=note)
            case "evaluation":
                return self._evaluation(case, work, numerics, allowance)
            case "at_once":
                return self._at_once(case, numerics, allowance)

    def release(self, *, keep: str = "") -> None:
        """Let go of the sides of every setting but `keep`, and of their memory."""
        self._kept = {key: side for key, side in self._kept.items() if key[0] == keep}
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _data(self, setting: Setting) -> Dataset:
        if setting.label not in self._images:
            self._images[setting.label] = random_images(self.scale, setting)
        return self._images[setting.label]

    def _few(self, work: Work) -> Dataset:
        """Images for 16 batches, see `Training`."""
        return first(self._data(work.setting), REFRESH_PERIOD * work.batch, 1)

    def _ours(self, work: Work, numerics: Numerics) -> Training:
        """As experiments run by default; kept, since most cases need it."""
        key = (work.setting.label, work.batch)
        if key not in self._kept:
            self._kept[key] = Training(work, self._few(work), numerics)
        return self._kept[key]

    def _baseline(self, work: Work, numerics: Numerics, *, whole: bool = False) -> Side:
        data, device = self._data(work.setting), numerics.torch_device
        noisy = noises.get("symmetric")(data.y_train, 0.4, 0, CLASSES).tolist()
        pictures = Pictures(data.x_train, noisy, data.y_train.tolist(), train=True)
        loop = PublishedLoop(plain_network(work.setting).to(device), work.step_spec(), LAMBDA, RATE)
        if whole:
            return LoaderBlocks(pictures, work.batch, device, loop.step, steps=None)
        # On CUDA a step takes milliseconds, and the workers need several to be as far ahead as they get.
        lead = 8 if device.type == "cuda" else 1
        return LoaderBlocks(pictures, work.batch, device, loop.step, steps=REFRESH_PERIOD, lead=lead)

    def _evaluation(self, case: Case, work: Work, numerics: Numerics, allowance: Allowance) -> Row:
        """The test set, or on a CPU as much of it as 16 batches have images."""
        device = numerics.torch_device
        n = len(self._data(work.setting).x_test)
        n = n if device.type == "cuda" else min(n, REFRESH_PERIOD * work.batch)
        data = first(self._data(work.setting), work.batch, n)
        labels = data.y_test.tolist()
        step = evaluating(plain_network(work.setting).to(device))
        pictures = Pictures(data.x_test, labels, labels, train=False)
        other = LoaderBlocks(pictures, work.batch, device, step, steps=None, shuffle=False)
        sides = Evaluating(work, data, numerics), other
        return self._row(case, work, numerics, sides, allowance, "baseline")

    def _at_once(self, case: Case, numerics: Numerics, allowance: Allowance) -> Row:
        processes = int(case.option)
        batch = self.batches[case.name]
        cuda = numerics.torch_device.type == "cuda"
        work = Work(case.setting, batch, steps=400 if cuda else REFRESH_PERIOD)
        pairs = measure_at_once(work, self._few(work), numerics, processes, allowance)
        note = f"s/epoch of each network's share: {processes} processes together against one"
        return self._made(case, work, numerics, pairs, "one process", note)

    def _row(
        self,
        case: Case,
        work: Work,
        numerics: Numerics,
        sides: tuple[Side, Side],
        allowance: Allowance,
        against: str,
        *,
        note: str = "",
    ) -> Row:
        began = time.monotonic()
        pairs = take_turns(*sides, allowance)
        fallbacks = dict.fromkeys(side.fallback for side in sides if isinstance(side, Training))
        notes = [note, *fallbacks]
        spent = time.monotonic() - began
        measured = sum(pairs.ours) * sides[0].images + sum(pairs.other) * sides[1].images
        label = case.setting.label
        self.set_up[label] = max(self.set_up.get(label, 0.0), spent - measured)
        return self._made(case, work, numerics, pairs, against, "; ".join(filter(None, notes)))

    def _at_published_batch(self, case: Case, work: Work, ours: float, other: float) -> str:
        """What the ratio would be if only the passes grew with the batch: norms, mix and SGD do not.

        Args:
            ours, other: seconds per image at the measured batch.
        """
        against = replace(work, plain=case.kind == "dual", logs=False)
        passes = work.passes_per_step / against.passes_per_step
        fixed = ours - passes * other
        ratio = passes + fixed * work.batch / (other * case.setting.batch)
        return f"about {ratio:.3f} at the published batch of {case.setting.batch}, by the count of passes"

    def _made(self, case: Case, work: Work, numerics: Numerics, pairs: Pairs, against: str, note: str) -> Row:
        over = case.kind in ("dual", "logging")
        evaluation = case.kind == "evaluation"
        ours, other = pairs.median_pair() if over else pairs.medians()
        ratios = pairs.ratios(ours_over_other=over)
        low, high, kind = interval(ratios)
        images, unit = (TEST_SET, "test set") if evaluation else (EPOCH, "epoch")
        both, forward = self.flop[case.setting.label]
        flop = forward if evaluation else both * work.passes_per_step
        peak = self.peaks.get(numerics.precision)
        if over and work.batch < case.setting.batch:
            note = "; ".join(filter(None, [note, self._at_published_batch(case, work, ours, other)]))
        return Row(
            case=case.name,
            device=numerics.torch_device.type,
            precision=numerics.precision,
            seconds=ours * images,
            baseline_seconds=other * images,
            ratio=ours / other if over else other / ours,
            share_of_peak=None if peak is None else flop / ours / peak,
            n=pairs.n,
            low=low,
            high=high,
            interval=kind,
            against=against,
            unit=f"{unit} of {images} images",
            batch=work.batch,
            published_batch=case.setting.batch,
            steps=0 if evaluation else work.steps,
            images_per_s=1 / ours,
            s_per_epoch=None if evaluation else ours * images,
            seconds_low=min(pairs.ours) * images,
            seconds_high=max(pairs.ours) * images,
            note=note,
        )
