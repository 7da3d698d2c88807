"""What an experiment runs, in timed blocks: training steps with their data pipeline, and evaluation."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dglib.benchmark.images import CLASSES
from dglib.benchmark.plain import PlainKernel
from dglib.benchmark.settings import LOG_EVERY, REFRESH_PERIOD, Setting
from dglib.benchmark.timing import now
from dglib.dataset import Dataset
from dglib.evaluate import evaluate
from dglib.numerics import Numerics
from dglib.spec import Arm, DataSpec, ExperimentSpec, LearningRate, NetworkSpec, Phase, StepSpec
from dglib.state import TrainState
from dglib.streams import Streams
from dglib.trainer import DeviceData, Trainer

LAMBDA, RATE = 0.35, 1e-3  # a small rate, so that random labels cannot make the weights overflow


@dataclass(frozen=True)
class Work:
    """The steps of a side.

    Attributes:
        setting: the network.
        batch: images a step.
        logs: Tδ1's log every 20 steps, and BatchNorm's statistics as there.
        like_td1: BatchNorm's statistics as in Tδ1, without its log.
        plain: SGD in the place of the dual-gradient step.
        steps: a block's.
    """

    setting: Setting
    batch: int
    logs: bool = False
    like_td1: bool = False
    plain: bool = False
    steps: int = REFRESH_PERIOD

    @property
    def passes_per_step(self) -> float:
        """Forward and backward passes, as a mean over blocks."""
        if self.plain:
            return 1.0
        logged = 0.0
        if self.logs:  # of a cycle of 80 steps, 3 log away from a refresh; a block of 16 may hold one of them
            logged = 3 / 80 if self.steps % 80 == 0 else 1 / self.steps
        return 1 + 1 / REFRESH_PERIOD + logged

    def step_spec(self) -> StepSpec:
        """K = 16, momentum and weight decay as published."""
        return StepSpec(
            batch_size=self.batch,
            refresh_period=REFRESH_PERIOD,
            two_pass_statistics=self.logs or self.like_td1,
            log_every=LOG_EVERY if self.logs else 0,
        )

    def spec(self) -> ExperimentSpec:
        """An experiment that holds one λ, on CIFAR-10's augmentation."""
        phase = Phase("benchmark", (LAMBDA,), 1, LearningRate(RATE), evaluate_every=1)
        return ExperimentSpec(
            name="benchmark",
            prefix="benchmark",
            directory_prefix="benchmark",
            experiment_id="benchmark-{seed}",
            arms=(Arm("benchmark", (phase,)),),
            network=NetworkSpec(self.setting.network, self.setting.width),
            data=DataSpec("random", noise_rate=0.4, augmentation="crop_flip"),
            step=self.step_spec(),
        )


def new_state(work: Work, numerics: Numerics) -> TrainState:
    """The network with seed 0's weights."""
    spec = work.spec()
    return TrainState.create(
        spec.network,
        spec.step,
        input_shape=(3, work.setting.side, work.setting.side),
        classes=CLASSES,
        seed=0,
        device=numerics.torch_device,
        run=(0, 0),
        memory_format=numerics.memory_format,
    )


class Training:
    """Training in blocks of `work.steps` steps.

    Give it a data set of 16 batches, and each block of 16 steps draws, crops and flips an epoch of just its
    own images; so a block's time holds its part of the data pipeline, however an epoch is prepared.
    """

    def __init__(self, work: Work, data: Dataset, numerics: Numerics) -> None:
        self.work, self.numerics, self.device = work, numerics, numerics.torch_device
        spec = work.spec()
        placed = DeviceData.place(data, spec.data, 0, self.device)
        self.state = new_state(work, numerics)
        self.trainer = Trainer(spec, placed, Streams(0, "benchmark"), numerics)
        if work.plain:
            self.trainer.kernel = PlainKernel(spec.step, numerics)
        whole_epochs = work.steps == self.trainer.steps_per_epoch
        self.images = len(data.x_train) if whole_epochs else work.steps * work.batch
        self.last_batch_differs = len(data.x_train) % work.batch != 0

    @property
    def fallback(self) -> str:
        """Why it is slower than it was asked to be, or ""."""
        return self.trainer.kernel.fallback

    def warm_up(self) -> None:
        """On CUDA until all is compiled and captured; on a CPU two steps. The next step begins an epoch."""
        per_epoch = self.trainer.steps_per_epoch
        if self.device.type == "cuda":
            # A piece is captured at its fourth run, and the rarest ones run once in 80 steps' cycle or in
            # an epoch: the refresh, a log beside a held gradient, a last batch of another size.
            least = 5 * per_epoch if self.last_batch_differs else 240 if self.work.logs else 96
            steps = -(-least // per_epoch) * per_epoch
        else:
            steps = 2
            if self.state.t % per_epoch == 0:
                self.state.t += per_epoch - steps
        self._advance(steps)

    def block(self) -> float:
        """Seconds of a block."""
        return self._advance(self.work.steps)

    def with_threads(self, threads: int) -> None:
        """From now on with so many threads."""
        self.numerics = replace(self.numerics, threads=threads)

    def _advance(self, steps: int) -> float:
        with self.numerics.applied():
            began = now(self.device)
            self.trainer.advance(self.state, LAMBDA, RATE, steps)
            return now(self.device) - began


class Evaluating:
    """Evaluations of the whole test set."""

    def __init__(self, work: Work, data: Dataset, numerics: Numerics) -> None:
        self.numerics, self.device = numerics, numerics.torch_device
        self.data = DeviceData.place(data, work.spec().data, 0, self.device)
        self.state = new_state(work, numerics)
        self.images = len(data.x_test)

    def warm_up(self) -> None:
        """Two evaluations."""
        self.block()
        self.block()

    def block(self) -> float:
        """Seconds of an evaluation."""
        with self.numerics.applied():
            began = now(self.device)
            evaluate(self.state, self.data, self.numerics)
            return now(self.device) - began
