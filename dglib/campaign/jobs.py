"""Plans and jobs as plain data: an experiment's plan has a job per seed, and one for the summary."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dglib.base_dir import data_directory, user_path
from dglib.experiments import build_spec, get, joints, loaded
from dglib.experiments.parameters import Parameters
from dglib.protocol.spec import ExperimentSpec
from dglib.runs import identity
from dglib.runs.progress import read_heartbeat
from dglib.runs.store import run_directories
from dglib.training.noise import split_name

OVER = ("done", "failed", "stopped", "skipped")


def anchored(parameters: Parameters, base: Path) -> Parameters:
    """The parameters with every path absolute, since a job runs in another directory."""
    paths = {"base_dir": base, "data_dir": data_directory(parameters.data_dir)}
    if parameters.work_dir is not None:
        paths["work_dir"] = user_path(parameters.work_dir, "work_dir")
    if parameters.dataset.endswith(".npz"):
        paths["dataset"] = user_path(parameters.dataset, "dataset")
    update = {name: str(path.absolute()) for name, path in paths.items()}
    if parts := split_name(parameters.noise):
        path, entry = parts
        update["noise"] = f"{path.absolute()}:{entry}" if entry else str(path.absolute())
    return parameters.model_copy(update=update)


@dataclass(eq=False)
class Plan:
    """One experiment to be run.

    Attributes:
        parameters: `anchored`.
        base: where its run directory and executed notebook go.
        home: where the jobs' records go, for all plans of a campaign; by default `base`.
        cell: of a grid, by name, with the `values` that are crossed; a cell has no notebook executed.
        profile: the name of the profile below the parameters, shown in the executed notebook.
        command: the command line, for the manifest.
        jobs: one per seed, in the order of the seeds, and the summary.
    """

    parameters: Parameters
    base: Path
    home: Path = Path()
    cell: str = ""
    values: Mapping[str, object] = field(default_factory=dict)
    profile: str = "quick"
    command: list[str] = field(default_factory=list, repr=False)
    jobs: list[Job] = field(init=False, repr=False)
    _manifests: set[Path] = field(default_factory=set, repr=False)  # that are of this run

    def __post_init__(self) -> None:
        self.home = self.base if self.home == Path() else self.home
        self.jobs = [Job(self, seed) for seed in self.parameters.seeds]
        if not self.cell:
            self.jobs.append(Job(self, None))

    @property
    def experiment(self) -> str:
        return self.parameters.experiment

    @property
    def name(self) -> str:
        return f"{self.cell} {self.experiment}".strip()

    @cached_property
    def spec(self) -> ExperimentSpec:
        return build_spec(self.experiment, self.parameters)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What makes it this run, as far as that is known before its data are read."""
        return identity.describe(self.spec, "", **identity.requested_numerics(self.parameters))

    @property
    def executed(self) -> Path:
        """The executed notebook; its log is in the same directory."""
        return self.base / "executed" / f"{get(self.experiment).notebook}.ipynb"

    @property
    def state(self) -> str:
        """What is not done yet, and why; "" where all jobs are done."""
        states = {job.status for job in self.jobs} - {"done", "skipped"}
        if "failed" in states:
            return f"failed: {'; '.join(self.failures())}"
        return min(states, default="")

    def failures(self) -> dict[str, list[Job]]:
        """The jobs that failed, by the reason and the seeds that it concerns."""
        failed: dict[str, list[Job]] = {}
        for job in self.jobs:
            if job.status == "failed":
                failed.setdefault(job.reason, []).append(job)
        named = {}
        for reason, jobs in failed.items():
            seeds = [str(job.seed) for job in jobs if job.seed is not None]
            label = f"seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}: " if seeds else ""
            named[label + reason] = jobs
        return named

    def directory(self) -> Path | None:
        """The newest run directory of a run with these parameters, or None before there is one."""
        own = [path for path in run_directories(self.base, self.spec.directory_prefix) if self._is_of(path)]
        # Two may differ in a user's code alone, which only a worker reads: its answer names the directory.
        used = {Path(job.result["directory"]).name for job in self.jobs if job.result.get("directory")}
        return next((path for path in own if path.name in used), next(iter(own), None))

    def _is_of(self, directory: Path) -> bool:
        path = directory / f"{self.spec.prefix}_manifest.json"
        if path not in self._manifests:
            with suppress(OSError, ValueError, KeyError, TypeError):
                asked = identity.asked(json.loads(path.read_bytes()))
                if identity.fingerprint(asked) == identity.fingerprint(self.identity):
                    self._manifests.add(path)
        return path in self._manifests


@dataclass(eq=False)
class Job:
    """A unit that one process runs: a seed, or (`seed` None) the summary, a notebook over all seeds.

    Attributes:
        after: jobs that must have ended before; set by `jobs_of`.
        status: "waiting", "running", "done", "failed", "stopped", or "skipped" for a summary of no seed;
            `reason` says why it failed.
        attempts: how often it was started. began, ended: Unix time of the last attempt.
        result: what the worker returned.
    """

    plan: Plan = field(repr=False)
    seed: int | None
    after: tuple[Job, ...] = field(default=(), repr=False)
    status: str = "waiting"
    reason: str = ""
    attempts: int = 0
    began: float | None = None
    ended: float | None = None
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return "summary" if self.seed is None else "seed"

    @property
    def name(self) -> str:
        return f"{self.plan.name} {self.kind if self.seed is None else f'seed {self.seed}'}"

    @cached_property
    def key(self) -> str:
        """SHA-256 of the job's content: the same for the same job of any campaign."""
        plan, what = self.plan, self.plan.identity
        if self.seed is not None:
            return identity.fingerprint(what | {"seed": self.seed})
        reading = plan.parameters.model_dump(include=set(identity.READING[plan.experiment]))
        return identity.fingerprint(what | {"seeds": plan.parameters.seeds, "reading": reading})

    @property
    def planned(self) -> int:
        """Epochs, if no event ends the seed early; none in a summary."""
        return 0 if self.seed is None else self.plan.spec.planned_epochs

    @property
    def record(self) -> Path:
        """The file with the job's state, which the scheduler writes."""
        return self.plan.home / "jobs" / f"{self.key}.json"

    @property
    def log(self) -> Path:
        """The job's output, with the traceback where it failed."""
        if self.seed is None:
            return self.plan.executed.with_suffix(".log")
        return self.record.with_suffix(".log")

    @property
    def seed_id(self) -> str | None:
        """The name of the seed's files in the run directory."""
        return None if self.seed is None else self.plan.spec.experiment_id.format(seed=self.seed)

    @property
    def is_over(self) -> bool:
        return self.status in OVER

    def directory(self) -> Path | None:
        """The run directory, once there is one."""
        given = self.result.get("directory")
        return self.plan.directory() if given is None else Path(given)

    def heartbeat(self) -> dict[str, Any] | None:
        """The seed's, if there is one."""
        directory = None if self.seed_id is None else self.directory()
        return None if directory is None else read_heartbeat(directory, self.seed_id or "")

    def message(self) -> dict[str, Any]:
        """The job for a worker. A summary is of the seeds that have a record."""
        read = [self] if self.seed is not None else [job for job in self.plan.jobs if job.status == "done"]
        seeds = [job.seed for job in read]
        return {
            "kind": self.kind,
            "experiment": self.plan.experiment,
            "seed": self.seed,
            "parameters": self.plan.parameters.model_dump() | {"seeds": seeds},
            "profile": self.plan.profile,
            "base": str(self.plan.base.absolute()),
            "key": self.key,
            "record": str(self.record.absolute()),
            "log": str(self.log.absolute()),
            "command": self.plan.command,
            "experiments": loaded(),
        }


def jobs_of(plans: Sequence[Plan]) -> list[Job]:
    """All jobs in the order in which to start them: the longest seeds first, so that none runs on alone.

    A summary comes after all seeds that its notebook reads, also of other experiments.
    """
    jobs = [job for plan in plans for job in plan.jobs]
    seeds, summaries = ([job for job in jobs if job.kind == kind] for kind in ("seed", "summary"))
    for summary in summaries:
        plan = summary.plan
        # The notebook also shows findings on several experiments.
        shown = (joint.experiments for joint in joints() if plan.experiment in joint.experiments)
        names = {plan.experiment}.union(*shown)
        summary.after = tuple(
            job for job in seeds if job.plan.experiment in names and job.plan.base == plan.base
        )
    return [*sorted(seeds, key=lambda job: job.planned, reverse=True), *summaries]
