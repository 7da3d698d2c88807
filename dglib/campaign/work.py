"""What one job does, in the process that calls it: train a seed, or execute an experiment's notebook.

A job is plain data, so that it can be sent to any process on any machine that sees its directories:

    {"kind": "seed", "experiment": "T1", "seed": 3, "parameters": {…}, "base": "/…/runs", "key": "5d0c…", …}
    {"kind": "summary", "experiment": "T1", "seed": null, "parameters": {…}, "base": "/…/runs", "key": "…", …}

A seed's parameters hold that seed alone; all are complete, their paths absolute (`jobs.anchored`). In
`command` stands what somebody typed to have it done, for the manifest; it may be empty or missing. Both
functions may be called any number of times: what is finished is found finished, what was interrupted goes on
from its run directory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dglib.campaign.jobs import NAMES, NOTEBOOKS
from dglib.control import Control
from dglib.experiments.validation import Layer, validate_layers

if TYPE_CHECKING:
    from dglib.dataset import Dataset
    from dglib.experiments.parameters import Parameters


def train(
    job: Mapping[str, Any],
    *,
    control: Control | None = None,
    load: Callable[[Parameters], Dataset] | None = None,
    wait: bool = False,
    tell: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> dict[str, Any]:
    """Train the seed of a job of kind "seed", from its checkpoint if there is one, until it has its record.

    Args:
        control: asked between steps whether to stop; without one, in the main thread, signals ask.
        load: gives the data set in place of `dglib.api.load`, as one that remembers it.
        wait: for as long as another process trains the seed, instead of a few seconds.
        tell: is given lines for people.

    Returns:
        `directory`: the run directory; `outcome`: of the seed; `seconds`: spent training it, in all.

    Raises:
        UserError: what was given cannot be used, or another process trains the seed.
        Interrupted: a stop was asked for; the same job goes on from there.
    """
    from dglib import api  # imports torch

    directory, record = api.train_seed(
        _parameters(job),
        control=control,
        load=load or api.load,
        wait=wait,
        tell=tell,
        command=job.get("command") or (),
    )
    return {"directory": str(directory), "outcome": record["outcome"], "seconds": record["time"]}


def summarise(job: Mapping[str, Any], *, control: Control | None = None) -> dict[str, Any]:
    """Execute the notebook of a job of kind "summary": it finds its seeds' records, draws and answers.

    A seed that has no record is trained by the notebook. The executed notebook appears when the execution
    has ended, well or not; until then an older one stands.

    Returns:
        `notebook`: the executed notebook, `<base>/executed/<name>.ipynb`.

    Raises:
        UserError: what was given cannot be used.
        ExecutionError: the notebook failed, or its kernel did.
        Interrupted: a stop was asked for, by SIGINT or SIGTERM where this is called in the main thread, by
            `control` in another.
    """
    from dglib.campaign.notebooks import execute  # imports papermill

    name = f"{NAMES[job['experiment']]}.ipynb"
    output = Path(job["base"]) / "executed" / name
    output.parent.mkdir(parents=True, exist_ok=True)
    execute(NOTEBOOKS / name, output, _parameters(job).model_dump(), control)
    return {"notebook": str(output)}


def _parameters(job: Mapping[str, Any]) -> Parameters:
    return validate_layers(job["experiment"], [Layer(f"job {job['key'][:12]}", job["parameters"])])
