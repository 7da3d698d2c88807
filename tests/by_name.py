"""Experiments by name, as tests ask for them."""

from dglib.analysis import diagnostics
from dglib.analysis.phase_diagram import CellRecords
from dglib.experiments import default_names, figures, get, joints
from dglib.experiments.spinodal.lag import summarise_lag as lag  # noqa: F401

EXPERIMENTS = default_names()
MODELS = {name: get(name).parameters for name in EXPERIMENTS}
NAMES = {name: get(name).notebook for name in EXPERIMENTS}
(WIDTH,) = joints()


def summarise(experiment, records):
    return get(experiment).summarise(records)


def answer(experiment, records):
    return get(experiment).answer(records)


def compared(experiment, a, b):
    return get(experiment).compare(a, b)


def width(t1, t2):
    return WIDTH.summarise(t1, t2)


def width_answer(t1, t2):
    return WIDTH.answer(t1, t2)


def lag_answer(t1, t2, others=()):
    return WIDTH.lag_answer(t1, t2, others=others)


def draw_hysteresis(t1, t2):
    return figures.draw_jointly(WIDTH.key, t1, t2)


def draw_dwell(t1, t2, others=()):
    return figures.draw_lag(WIDTH.key, t1, t2, others=others)


def cell(experiment, values, records, planned=0, running=0):
    return CellRecords(experiment, get(experiment).measure, values, records, planned, running)


def ends(experiment, record):
    return get(experiment).ends(record)


def summarise_diagnostics(experiment, records):
    about = get(experiment)
    return diagnostics.summarise_diagnostics(records, about.ends, about.end_unit)
