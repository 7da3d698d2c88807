"""Plans and jobs as plain data: an experiment's plan has a job per seed, and one for the summary."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dglib.base_dir import NOTEBOOKS, data_directory
from dglib.experiments import build_spec, get, loaded, requested_numerics
from dglib.experiments.parameters import Parameters
from dglib.files import user_path
from dglib.protocol import engine
from dglib.protocol.spec import ExperimentSpec
from dglib.runs import identity
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
    if found := split_name(parameters.noise):
        path, entry = found
        update["noise"] = f"{path.absolute()}:{entry}" if entry else str(path.absolute())
    return parameters.model_copy(update=update)


@dataclass(eq=False)
class Plan:
    """One experiment to be run.

    Attributes:
        parameters: `anchored`.
        base: where its run directory and executed notebook go.
        home: where the jobs' records go, for all plans of a campaign; by default `base`.
        cell: of a grid, by name; a cell has no notebook executed.
        profile: the name of the profile below the parameters, shown in the executed notebook.
        command: the command line, for the manifest.
        jobs: one per seed, in the order of the seeds, and the summary.
    """

    parameters: Parameters
    base: Path
    home: Path = Path()
    cell: str = ""
    profile: str = "quick"
    command: list[str] = field(default_factory=list, repr=False)
    jobs: list[Job] = field(init=False, repr=False)
    _ours: set[Path] = field(default_factory=set, repr=False)  # manifests of this run, which they stay

    def __post_init__(self) -> None:
        self.home = self.base if self.home == Path() else self.home
        self.jobs = [Job(self, "seed", seed) for seed in self.parameters.seeds]
        if not self.cell:
            self.jobs.append(Job(self, "summary", None, after=tuple(self.jobs)))

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
        return identity.describe(self.spec, "", **requested_numerics(self.parameters))

    @property
    def notebook(self) -> Path:
        return NOTEBOOKS / f"{get(self.experiment).notebook}.ipynb"

    @property
    def executed(self) -> Path:
        """The executed notebook; its log is in the same directory."""
        return self.base / "executed" / self.notebook.name

    @cached_property
    def planned(self) -> int:
        """Epochs of a seed, if no event ends it early."""
        return engine.planned_epochs(self.spec)

    @property
    def status(self) -> str:
        """Of all jobs: "done", or the state of one that is not."""
        found = {job.status for job in self.jobs}
        return next((each for each in ("failed", "stopped", "running", "waiting") if each in found), "done")

    @property
    def error(self) -> str:
        """Why the status is not "done", with the seeds that it concerns."""
        return "; ".join(reason for reason, _ in self.failures())

    def failures(self) -> list[tuple[str, list[Job]]]:
        """The reasons of jobs that failed, with those of each."""
        found: dict[str, list[Job]] = {}
        for job in self.jobs:
            if job.status == "failed":
                found.setdefault(job.reason, []).append(job)
        return [(_with_seeds(reason, jobs), jobs) for reason, jobs in found.items()]

    def directory(self) -> Path | None:
        """The newest run directory of a run with these parameters, or None before there is one."""
        found = [each for each in run_directories(self.base, self.spec.directory_prefix) if self._is_of(each)]
        # Two may differ in a user's code alone, which only a worker reads: its answer names the directory.
        taken = {Path(job.result["directory"]).name for job in self.jobs if job.result.get("directory")}
        return next((each for each in found if each.name in taken), next(iter(found), None))

    def _is_of(self, directory: Path) -> bool:
        path = directory / f"{self.spec.prefix}_manifest.json"
        if path not in self._ours:
            try:
                ours = identity.fingerprint(self.identity)
                if identity.fingerprint(identity.asked(json.loads(path.read_bytes()))) == ours:
                    self._ours.add(path)
            except (OSError, ValueError, KeyError, TypeError):
                return False
        return path in self._ours


def _with_seeds(reason: str, jobs: Sequence[Job]) -> str:
    seeds = [str(job.seed) for job in jobs if job.seed is not None]
    if not seeds:
        return reason
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}: {reason}"


@dataclass(eq=False)
class Job:
    """A unit that one process runs: a seed, or the notebook over all seeds.

    Attributes:
        kind: "seed" or "summary".
        after: jobs that must have ended before.
        status: "waiting", "running", "done", "failed", "stopped", or "skipped" for a summary of no seed;
            `reason` says why it failed.
        attempts: how often it was started. began, ended: Unix time of the last attempt.
        result: what the worker returned.
        process: "pid" and "host" of the process that runs it, once known.
    """

    plan: Plan = field(repr=False)
    kind: str
    seed: int | None
    after: tuple[Job, ...] = field(default=(), repr=False)
    status: str = "waiting"
    reason: str = ""
    attempts: int = 0
    began: float | None = None
    ended: float | None = None
    result: dict[str, Any] = field(default_factory=dict)
    process: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.plan.name} {'summary' if self.seed is None else f'seed {self.seed}'}"

    @cached_property
    def key(self) -> str:
        """SHA-256 of the job's content: the same for the same job of any campaign."""
        plan, what = self.plan, self.plan.identity
        if self.seed is not None:
            return identity.fingerprint(what | {"seed": self.seed})
        reading = plan.parameters.model_dump(include=set(identity.READING))
        return identity.fingerprint(what | {"seeds": plan.parameters.seeds, "reading": reading})

    @property
    def log(self) -> Path:
        """The job's output, with the traceback where it failed."""
        if self.kind == "summary":
            return self.plan.executed.with_suffix(".log")
        return self.plan.home / "jobs" / f"{self.key}.log"

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

    def message(self) -> dict[str, Any]:
        """The job for a worker. A summary is of the seeds that have a record."""
        given = [self] if self.seed is not None else [job for job in self.plan.jobs if job.status == "done"]
        seeds = [job.seed for job in given]
        return {
            "kind": self.kind,
            "experiment": self.plan.experiment,
            "seed": self.seed,
            "parameters": self.plan.parameters.model_dump() | {"seeds": seeds},
            "profile": self.plan.profile,
            "base": str(self.plan.base.absolute()),
            "key": self.key,
            "log": str(self.log.absolute()),
            "command": self.plan.command,
            "experiments": loaded(),
        }


def jobs_of(plans: Sequence[Plan]) -> list[Job]:
    """All jobs in the order in which to start them: the longest seeds first, so that none runs on alone.

    A summary comes after all seeds that its notebook reads, also of other experiments.
    """
    seeds = [job for plan in plans for job in plan.jobs if job.kind == "seed"]
    summaries = [job for plan in plans for job in plan.jobs if job.kind == "summary"]
    for summary in summaries:
        names = {summary.plan.experiment, *get(summary.plan.experiment).partners}
        near = [plan for plan in plans if plan.experiment in names and plan.base == summary.plan.base]
        summary.after = tuple(job for plan in near for job in plan.jobs if job.kind == "seed")
    return [*sorted(seeds, key=lambda job: job.plan.planned, reverse=True), *summaries]
