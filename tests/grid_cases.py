"""Grid directories made of synthetic records, without training, for the tests of their report."""

import json

from report_cases import open_with

from dglib.campaign.grid import load_grid, write_index
from dglib.experiments.profiles import Layer
from dglib.runs import identity


def grid_of(directory, text):
    """The grid that a file of this text asks for, in `runs` of the directory."""
    path = directory / "map.yaml"
    path.write_text(text, encoding="utf-8")
    return load_grid(path, [Layer("--base-dir", {"base_dir": str(directory / "runs")})])


def fill(grid, records):
    """The grid's directory, each cell with these records; None: its run has not begun."""
    for plan in grid.plans:
        made = records(plan)
        if made is not None:
            store_of(plan, made)
    return write_index(grid)


def store_of(plan, records):
    """The run of a plan, holding these records."""
    described = identity.describe(plan.spec, "d1" * 32, **identity.requested_numerics(plan.parameters))
    rated = [record | {"eta": plan.parameters.noise_rate} for record in records]
    return open_with(plan.base, plan.spec, described, rated)


def begin(store, seed):
    """A seed that is under way."""
    beat = {"experiment": store.spec.name, "seed": seed, "epochs_done": 3, "epochs_planned": 8}
    store.files(seed).heartbeat.write_text(json.dumps(beat))
