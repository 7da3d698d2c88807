"""What an experiment is, and what it trains at each position: plain, frozen data, without paths or devices.

An experiment is a list of arms; an arm trains one network through named phases; a phase holds the mixing
coefficient λ at each of its levels for a fixed number of epochs. An arm begins with a new network, or with
the state that another arm's network had at the end of a phase: a trunk of training with branches. Everything
that moves a result is part of it, so the fingerprint of a specification (with its data and the requested
numerics) identifies a run.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

CONTINUED = -1  # as `run_phase`: the run began in the arm whose state this arm started from

Comparison = Literal["<", "<=", ">=", ">"]
_COMPARED = {"<": operator.lt, "<=": operator.le, ">=": operator.ge, ">": operator.gt}
InputShape = tuple[int, int, int]
"""(channels, height, width) of an image"""


@dataclass(frozen=True)
class Criterion:
    """A test of the error (0 to 1) against a threshold, in floats as they are: 0.30000000000000004 > 0.30."""

    comparison: Comparison
    threshold: float

    def holds(self, error: float) -> bool:
        return bool(_COMPARED[self.comparison](error, self.threshold))


@dataclass(frozen=True)
class LearningRate:
    """A step schedule: `base`, times `decay` at each milestone.

    Milestones are epochs completed since the optimizer was made: milestone 50 lowers the rate of the 51st.
    """

    base: float
    milestones: tuple[int, ...] = ()
    decay: float = 0.1

    def after(self, epochs: int) -> float:
        """The rate once `epochs` epochs are complete."""
        rate = self.base
        for milestone in self.milestones:
            if milestone <= epochs:
                rate *= self.decay
        return rate


@dataclass(frozen=True)
class Success:
    """A phase has succeeded if its last evaluation meets the criterion; else the seed ends there.

    `field` and `flag` name the record's fields for the error and the verdict.
    """

    criterion: Criterion
    field: str
    flag: str


@dataclass(frozen=True)
class StopEvent:
    """Ends a phase when `consecutive` evaluations in a row meet the criterion; `flag` is the seed's outcome.

    The count continues across λ levels and one miss sets it to 0. `field` and `flag` name the record's fields
    for the λ of the last of these evaluations, and for whether it fired.
    """

    criterion: Criterion
    consecutive: int
    field: str
    flag: str


@dataclass(frozen=True)
class Phase:
    """A stretch of training at a sequence of λ levels.

    Attributes:
        name: "init", "sweep", "return" …
        levels: λ of each level, 0 to 1, in the order in which they are held.
        epochs_per_level: the dwell time.
        learning_rate: applied to the epochs completed since the last new optimizer.
        evaluate_every: evaluate after every so many epochs of a level, and at its end.
        trajectory: the record's field that its evaluations go to.
        final: prefix of the record's fields for the last λ and error ("" for `final_lambda`, `final_error`),
            or None where the record has none.
        restart: begin with a new optimizer, step counter 0, no held value gradient and new random streams;
            the weights and BatchNorm's statistics stay.
        seed_offset: added to the seed for the weights of a network that this phase creates.
        only_after_event: skipped unless the event of the phase before fired; then only the levels "below" (or
            "above") its λ are held. None: held always.
    """

    name: str
    levels: tuple[float, ...]
    epochs_per_level: int
    learning_rate: LearningRate
    evaluate_every: int
    trajectory: str = "trajectory"
    final: str | None = None
    restart: bool = False
    seed_offset: int = 0
    success: Success | None = None
    event: StopEvent | None = None
    only_after_event: Literal["below", "above"] | None = None

    def levels_for(self, fired_at: float | None) -> tuple[float, ...]:
        """The levels held for a seed; `fired_at` is the λ at which the phase before fired, or None."""
        if self.only_after_event is None:
            return self.levels
        if fired_at is None:
            return ()
        below = self.only_after_event == "below"
        return tuple(lam for lam in self.levels if (lam < fired_at if below else lam > fired_at))


@dataclass(frozen=True)
class Arm:
    """One network trained through the phases.

    Attributes:
        start: "arm/phase" of an earlier arm: begin with the whole state at the end of that phase (weights,
            optimizer, held value gradient, step counter), under the same random streams and LR schedule. So
            the arm trains as if its phases had followed there, whatever other arms start from that state.
            A first phase with `restart` keeps the weights alone. None: begin with a new network.
    """

    name: str
    phases: tuple[Phase, ...]
    start: str | None = None


@dataclass(frozen=True)
class NetworkSpec:
    name: str
    width: float = 1.0


@dataclass(frozen=True)
class DataSpec:
    """Data set, label noise and augmentation. `noise_rate` is η, the share of training labels made wrong.

    `train_size`: training images, the same for every seed; None: all.
    """

    dataset: str
    noise_rate: float
    noise: str = "symmetric"
    augmentation: Literal["none", "crop_flip"] = "none"
    crop_padding: int = 4
    pixel_mean: tuple[float, ...] | None = None
    pixel_std: tuple[float, ...] | None = None
    train_size: int | None = None


@dataclass(frozen=True)
class StepSpec:
    """The training step's constants.

    `refresh_period` is K: the value gradient is computed anew every K steps and held in between.
    `two_pass_statistics` moves BatchNorm's running statistics as by two passes on every step.
    `log_every` logs every so many steps (0: never). `mix` names the mixing rule, `value` the source of the
    value gradient, see `dglib.training.step`.
    """

    batch_size: int
    refresh_period: int
    momentum: float = 0.9
    weight_decay: float = 5e-4
    two_pass_statistics: bool = False
    log_every: int = 0
    mix: str = "normalised"
    value: str = "clean"


@dataclass(frozen=True)
class Cursor:
    """A position in the protocol, as plain data; by default that of a seed that has not begun.

    Attributes:
        arm, phase, level: indices; `level` counts within the levels that the phase holds for this seed.
        epoch: completed epochs at this level.
        phase_epochs: completed epochs of the phase.
        arm_epochs: completed epochs of the arm's network, those before a saved state included.
        run_epochs: completed epochs since the last new optimizer; the learning rate follows from it.
        run_phase: index of the phase at which the current run began, or CONTINUED.
        consecutive: evaluations in a row that met the criterion of the phase's event.
        fired_at: λ at which the event of the phase before fired; None if it did not.
        reached: the flag of the first event of this seed.
        last_error: error of the latest evaluation.
        next_event: number of the next event.
        outcome: set when the seed is over.
        ended: of phases that other arms start from and that are over, by "arm/phase": the name of their
            random `stream`, and `run_epochs` and `arm_epochs` at their end.
        failed: of independent arms that ended early: the outcome by name.
    """

    arm: int = 0
    phase: int = 0
    level: int = 0
    epoch: int = 0
    phase_epochs: int = 0
    arm_epochs: int = 0
    run_epochs: int = 0
    run_phase: int = 0
    consecutive: int = 0
    fired_at: float | None = None
    reached: str | None = None
    last_error: float | None = None
    next_event: int = 0
    outcome: str | None = None
    ended: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        return self.outcome is not None

    @property
    def run(self) -> tuple[int, int]:
        """The run that training state belongs to: another phase is a restart, another arm another network."""
        return (self.arm, self.run_phase)


@dataclass(frozen=True)
class Plan:
    """What the epoch at a cursor trains: the phase, λ, the learning rate, and whether it is evaluated."""

    arm: Arm
    phase: Phase
    lam: float
    lr: float
    evaluates: bool

    @property
    def name(self) -> str:
        """The phase as "arm/phase"."""
        return f"{self.arm.name}/{self.phase.name}"


@dataclass(frozen=True)
class ExperimentSpec:
    """An experiment, whole.

    Attributes:
        name: short name, such as "T1".
        prefix: of its records' files, such as "T1-spinodal".
        directory_prefix: of its run directories.
        experiment_id: format of a seed's identity, such as "T1-spinodal-{seed:03d}"; begins with the name.
        outcome_without_event: the outcome of a seed in which no event ended a phase.
        final_classes: (name, least final error), the highest first; the outcome where there are any.
        step_log_field: the record's field for the step logs, where `step.log_every` is not 0.
        constants: fields written into every record as they are.
        parameters: the flat parameters that it was built from, as plain data, for the record.
        metrics: registered metrics computed at each evaluation, see `dglib.training.evaluation`.
        independent_arms: whether an arm that diverges or fails its success criterion ends alone, with the
            arms that start from it, and the others are trained. Else it ends the seed.
    """

    name: str
    prefix: str
    directory_prefix: str
    experiment_id: str
    arms: tuple[Arm, ...]
    network: NetworkSpec
    data: DataSpec
    step: StepSpec
    outcome_without_event: str = "no_event"
    final_classes: tuple[tuple[str, float], ...] = ()
    step_log_field: str = "step_logs"
    constants: Mapping[str, object] = field(default_factory=dict)
    parameters: Mapping[str, object] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    independent_arms: bool = False

    def __post_init__(self) -> None:
        """Refuse what would mix two things: ValueError."""
        if not self.experiment_id.startswith(f"{self.name}-"):  # seeds' files are matched by it
            raise ValueError(f"experiment_id = {self.experiment_id!r}: must begin with {self.name}-")
        names = [(arm.name, phase.name) for arm in self.arms for phase in arm.phases]
        if len(set(names)) < len(names):  # they would share random streams and record fields
            raise ValueError(f"arms and phases {names}: no two may have one name")
        if bad := [name for pair in names for name in pair if set(name) & set("/@")]:
            raise ValueError(f"arm or phase {bad[0]!r}: must not contain / or @, which join them")
        empty = [phase.name for arm in self.arms for phase in arm.phases if not phase.levels]
        if empty or not all(arm.phases for arm in self.arms):
            raise ValueError(f"phase {empty}: must hold at least one level")
        always: list[str] = []  # phases of earlier arms that are always held
        for arm in self.arms:
            if arm.start is not None and arm.start not in always:
                raise ValueError(f"arm {arm.name}: start = {arm.start!r}: must be one of {always}")
            always += [f"{arm.name}/{phase.name}" for phase in arm.phases if phase.only_after_event is None]

    @property
    def starts(self) -> set[str]:
        """The phases, as "arm/phase", from whose end other arms start."""
        return {arm.start for arm in self.arms if arm.start is not None}

    @property
    def planned_epochs(self) -> int:
        """Epochs of a seed that no event ends early: an upper bound."""
        return sum(len(phase.levels) * phase.epochs_per_level for arm in self.arms for phase in arm.phases)

    def plan(self, cursor: Cursor) -> Plan:
        """What the current epoch at `cursor` trains."""
        arm = self.arms[cursor.arm]
        phase = arm.phases[cursor.phase]
        epoch = cursor.epoch + 1
        return Plan(
            arm,
            phase,
            lam=phase.levels_for(cursor.fired_at)[cursor.level],
            lr=phase.learning_rate.after(cursor.run_epochs),
            evaluates=epoch % phase.evaluate_every == 0 or epoch == phase.epochs_per_level,
        )

    def stream_name(self, cursor: Cursor) -> str:
        """The name of the run's random streams: the arm and phase at which it began."""
        arm = self.arms[cursor.arm]
        if cursor.run_phase == CONTINUED:
            assert arm.start is not None
            return str(cursor.ended[arm.start]["stream"])
        return f"{arm.name}/{arm.phases[cursor.run_phase].name}"
