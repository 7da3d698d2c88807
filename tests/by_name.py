"""Experiments by name, as tests ask for them."""

from dglib.analysis.grid import Cell
from dglib.analysis.style import styled
from dglib.experiments import default_names, get, joints
from dglib.experiments.figures import draw_all
from dglib.experiments.width import lag_of

EXPERIMENTS = default_names()
MODELS = {name: get(name).parameters for name in EXPERIMENTS}
NAMES = {name: get(name).notebook for name in EXPERIMENTS}
(WIDTH,) = joints()


def summarise(experiment, records):
    return get(experiment).summarise(records)


def answer(experiment, records):
    return get(experiment).answer(records)


def width(t1, t2):
    return WIDTH.summarise(t1, t2)


def width_answer(t1, t2):
    return WIDTH.answer(t1, t2)


def lag_answer(t1, t2):
    return WIDTH.lag_answer(WIDTH.lag(t1, t2))


def draw(experiment, records):
    """The published figure."""
    return next(iter(draw_all(experiment, records).values()))


def draw_hysteresis(t1, t2):
    with styled():
        return WIDTH.draw(t1, t2)


def draw_dwell(t1, t2):
    with styled():
        return WIDTH.draw_lag(lag_of(t1, t2), t1, t2)


def cell(experiment, values, records, planned=0, running=0):
    return Cell(experiment, get(experiment).measure, values, summarise(experiment, records), planned, running)
