"""Hysteresis in learning with noisy labels, measured with two mixed normalised gradients.

    import dglib
    parameters = dglib.load_profile("T1", "quick")
    run = dglib.run(parameters)
    print(run.answer())

Names load on first use, so that `import dglib` costs nothing and the core works where pandas, papermill,
pydantic and ipywidgets are missing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_HOMES = {
    "Saving": "dglib.runs.checkpoint",
    "UserError": "dglib.errors",
    "build_spec": "dglib.experiments",
    "datasets": "dglib.training.data",
    "inject_label_noise": "dglib.training.noise",
    "list_runs": "dglib.report.listing",
    "load_dataset": "dglib.training.data",
    "Numerics": "dglib.training.numerics",
    "load_profile": "dglib.experiments.profiles",
    "load_records": "dglib.experiments.tables",
    "make_dataset": "dglib.training.data",
    "metrics": "dglib.training.evaluation",
    "mix": "dglib.training.step",
    "mixes": "dglib.training.step",
    "networks": "dglib.training.networks",
    "noises": "dglib.training.noise",
    "notebook_parameters": "dglib.experiments.notebook",
    "run": "dglib.campaign.run",
    "run_seed": "dglib.runs.seed",
    "values": "dglib.training.step",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dglib' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
