"""The engine against the protocol's words, driven by made-up evaluations: nothing is trained here."""

import json
import math
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import small_spec

from dglib.campaign.start import replay
from dglib.experiments import build_spec
from dglib.experiments.profiles import load_profile
from dglib.protocol.engine import EpochStats, advance
from dglib.protocol.events import (
    ArmFailed,
    EpochDone,
    Evaluated,
    Evaluation,
    Fired,
    LevelDone,
    SeedDone,
    SuccessTested,
    from_plain,
    to_plain,
)
from dglib.protocol.spec import Arm, Criterion, Cursor, LearningRate, Phase, StopEvent, Success

STATS = EpochStats(1.0, 2.0, 3.0, 4.0)


def paper(experiment, *overrides):
    return build_spec(experiment, load_profile(experiment, "paper", overrides))


def drive(spec, error_at):
    """Run a protocol to its end; `error_at(place, cursor)` gives an error, or None for non-finite logits.

    Returns the visited (cursor, place) pairs, one per epoch, and all events.
    """
    cursor, visited, events = Cursor(), [], []
    while not cursor.done:
        here = spec.plan(cursor)
        visited.append((cursor, here))
        evaluation = None
        if here.evaluates:
            error = error_at(here, cursor)
            # The argmax of NaN is class 0: a diverged network scores what a trapped one does.
            error, finite = (0.9, False) if error is None else (error, True)
            evaluation = Evaluation(error, (10, 0), finite, {"test_loss": 1.5 if finite else math.nan})
        cursor, new = advance(spec, cursor, STATS, evaluation)
        events += new
        assert len(visited) <= spec.planned_epochs
    return visited, events


def by_epoch(errors, default):
    """Errors of chosen epochs of the arm (counted from 1), and one for all others."""
    return lambda here, cursor: errors.get(cursor.arm_epochs + 1, default)


def in_turn(errors):
    """Errors in the order of evaluations, the last one from then on."""
    left = iter(errors)
    return lambda here, cursor: next(left, errors[-1])


def of(kind, events):
    return [event for event in events if type(event) is kind]


def outcome(events):
    (done,) = of(SeedDone, events)
    assert events[-1] is done
    return done.outcome


@pytest.mark.parametrize(
    ("experiment", "error", "success"),
    [("T1", 0.30, True), ("T1", 1 - 0.7, False), ("T2", 1 - 0.65, True), ("T2", 0.3499999, False)],
)
def test_an_init_is_judged_by_its_last_error_as_a_float(experiment, error, success):
    opposite = float((experiment == "T1") == success)  # the evaluations before the last would say otherwise
    visited, events = drive(
        paper(experiment), by_epoch({**dict.fromkeys(range(1, 50), opposite), 50: error}, 0.5)
    )
    (tested,) = of(SuccessTested, events)
    assert (tested.success, tested.error, tested.epoch) == (success, error, 50)
    assert (len(visited) == 50, outcome(events) == "init_failed") == (not success, not success)


@pytest.mark.parametrize(
    ("experiment", "init", "first", "step"), [("T1", 0.35, 0.54, 0.02), ("T2", 0.70, 0.54, -0.02)]
)
def test_published_spinodal_sweeps_run_through_epochs_51_to_140(experiment, init, first, step):
    visited, events = drive(paper(experiment), by_epoch({}, {"T1": 0.2, "T2": 0.9}[experiment]))
    evaluated = of(Evaluated, events)
    assert [e.epoch for e in evaluated] == [10, 20, 30, 40, 50, *range(51, 141)]
    assert [e.lam for e in evaluated[:5]] == [init] * 5
    held = [round(first + step * (k // 10), 2) for k in range(90)]
    assert [e.lam for e in evaluated[5:]] == pytest.approx(held, abs=1e-12)
    assert {e.phase for e in evaluated[:5]} == {"init"}
    assert {e.phase for e in evaluated[5:]} == {"sweep"}
    assert len(visited) == paper(experiment).planned_epochs == 140
    assert [e.epoch for e in of(LevelDone, events)] == [50, *range(60, 141, 10)]


def test_a_level_is_evaluated_at_its_end_whatever_the_rhythm():
    spec = small_spec("T1", init_epochs=5, init_evaluate_every=3, epochs_per_level=4, evaluate_every=3)
    _, events = drive(spec, by_epoch({}, 0.2))
    # The rhythm counts within a level: the second level's epochs 10 to 13 are evaluated at 12 and 13.
    assert [e.epoch for e in of(Evaluated, events)] == [3, 5, 8, 9, 12, 13]


@pytest.mark.parametrize(
    ("experiment", "phase", "expected"),
    [
        ("T2", "main/sweep", [0.01] * 25 + [0.001] * 65),
        ("V3", "collapse/init", [0.05] * 40 + [0.005] * 20 + [0.0005] * 20),
        ("V3", "collapse/sweep", [0.0005] * 27),
    ],
)
def test_the_published_learning_rates_continue_into_the_sweep_unless_sweep_lr_replaces_them_there(
    experiment, phase, expected
):
    errors = {"ordered": 0.1, "collapse": 0.9, "main": 0.9}
    for changes, rates in ([], expected), (["sweep_lr=0.07"], [0.07] * 90 if "sweep" in phase else expected):
        visited, _ = drive(paper(experiment, *changes), lambda here, cursor: errors[here.arm.name])
        found = [here.lr for _, here in visited if here.name == phase]
        assert found == pytest.approx(rates[: len(expected)], rel=1e-12)


def test_after_a_collapse_the_return_holds_only_the_levels_below_it():
    spec = paper("T1", "return_sweep=true", "return_lambdas=[0.7, 0.58, 0.56, 0.3, 0.2]")
    visited, events = drive(spec, by_epoch({71: 0.5, 72: 0.5, 73: 0.5}, 0.3))
    assert [(e.phase, e.lam, e.epoch) for e in of(Fired, events)] == [("sweep", 0.58, 73)]
    back = [(cursor.arm_epochs + 1, here.lam) for cursor, here in visited if here.phase.name == "return"]
    assert back == [(74 + k, [0.56, 0.3, 0.2][k // 10]) for k in range(30)]
    assert {cursor.run for cursor, _ in visited} == {(0, 0)}  # the same optimizer and schedule run on
    assert outcome(events) == "collapsed"


def test_a_phase_that_needs_an_event_needs_that_of_the_phase_before_it_and_the_outcome_is_the_first_one():
    """Up, down, up again: the third is held only if the second fired."""
    high, low = Criterion(">=", 0.4), Criterion("<=", 0.2)

    def phase(name, levels, test, only=None):
        event = StopEvent(test, 1, f"{name}_lambda", f"{name}_fired")
        return Phase(name, levels, 1, LearningRate(0.1), 1, event=event, only_after_event=only)

    up, down = phase("up", (0.5, 0.6), high), phase("down", (0.5, 0.4, 0.3), low, "below")
    again = phase("again", (0.3, 0.5, 0.7), high, "above")
    spec = replace(small_spec("T1"), arms=(Arm("main", (up, down, again)),))

    def held(errors):
        visited, events = drive(spec, by_epoch(errors, 0.3))
        return [(here.phase.name, here.lam) for _, here in visited], outcome(events)

    path = [("up", 0.5), ("up", 0.6), ("down", 0.5), ("down", 0.4)]
    assert held({2: 0.9}) == ([*path, ("down", 0.3)], "up_fired")
    assert held({2: 0.9, 4: 0.1}) == ([*path, ("again", 0.5), ("again", 0.7)], "up_fired")
    assert held({}) == (path[:2], "no_event")


def test_logits_that_are_not_finite_end_a_seed_as_diverged():
    visited, events = drive(paper("V3"), by_epoch({50: None}, 0.1))
    assert (outcome(events), len(visited)) == ("diverged", 50)
    last = of(Evaluated, events)[-1]
    assert (last.error, last.metrics["test_loss"], last.finite, last.epoch) == (None, None, False, 50)
    assert of(Fired, events) == of(SuccessTested, events) == []


ERRORS = [0.0, 0.19999999999999996, 0.2, 0.3, 1 - 0.7, 0.35, 0.4, 0.9]
errors = st.lists(st.sampled_from([*ERRORS, *ERRORS, None]), min_size=1, max_size=60)
levels = st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.7]), min_size=1, max_size=3).map(tuple)
criteria = st.builds(Criterion, st.sampled_from(["<", "<=", ">=", ">"]), st.sampled_from(ERRORS))
counts = st.integers(1, 4)


@st.composite
def arms(draw, name):
    phases = []
    for index in range(draw(st.integers(1, 4))):
        error, verdict, level, flag = (
            st.just(f"{name}{index}") for name in ("error", "ok", "lambda", "fired")
        )
        success = draw(st.none() | st.builds(Success, criteria, error, verdict))
        event = draw(st.none() | st.builds(StopEvent, criteria, counts, level, flag))
        phases.append(
            Phase(
                f"p{index}",
                draw(levels),
                draw(counts),
                LearningRate(0.1, (2,)),
                draw(counts),
                restart=draw(st.booleans()),
                success=success,
                event=event,
                only_after_event=draw(st.sampled_from([None, "below", "above"])) if index else None,
            )
        )
    held = [phase.name for phase in phases if phase.only_after_event is None]
    return Arm(name, tuple(phases)), st.sampled_from([None, *(f"{name}/{phase}" for phase in held)])


@st.composite
def branched(draw):
    """Three arms, each but the first from scratch or from a phase of an earlier one."""
    (a, ends_a), (b, ends_b), (c, _) = (draw(arms(name)) for name in "abc")
    b, c = replace(b, start=draw(ends_a)), replace(c, start=draw(ends_a | ends_b))
    return replace(small_spec("T1"), arms=(a, b, c), independent_arms=draw(st.booleans()))


specs = st.sampled_from([small_spec(name) for name in ("T1", "T2", "V3", "Td1")]) | branched()


@settings(max_examples=40)
@given(specs, errors, st.integers(0, 60))
def test_any_errors_end_the_seed_as_planned_with_numbered_events_that_survive_json_and_a_replay(
    spec, errors, n
):
    visited, events = drive(spec, in_turn(errors))
    assert len(visited) == len(of(EpochDone, events)) <= spec.planned_epochs
    assert [event.number for event in events] == list(range(len(events)))
    assert len(of(SeedDone, events)) == 1
    diverged = {e.outcome for e in (*of(ArmFailed, events), events[-1])} >= {"diverged"}
    assert diverged == (None in [e.error for e in of(Evaluated, events)])
    done = {f"{e.arm}/{e.phase}": e.epoch for e in of(EpochDone, events)}
    for arm in spec.arms:  # an arm's epochs count from 1, or from its start, through its phases
        epochs, before = [e.epoch for e in of(EpochDone, events) if e.arm == arm.name], done.get(arm.start, 0)
        assert epochs == list(range(before + 1, before + len(epochs) + 1))
    for event in events:
        assert from_plain(json.loads(json.dumps(to_plain(event), allow_nan=False))) == event
    cursor = visited[min(n, len(visited) - 1)][0]
    assert Cursor(**json.loads(json.dumps(asdict(cursor)))) == cursor
    known = events[: cursor.next_event]
    assert replay(spec, known) == (cursor, known, "")


@settings(max_examples=40)
@given(specs, errors)
def test_an_event_fires_exactly_when_enough_evaluations_in_a_row_of_its_phase_meet_it(spec, errors):
    _, events = drive(spec, in_turn(errors))
    for arm in spec.arms:
        for phase in arm.phases:
            mine = [e for e in events if (e.arm, e.phase) == (arm.name, phase.name)]
            seen, fired = [e for e in of(Evaluated, mine) if e.finite], of(Fired, mine)
            if phase.event is None:
                assert fired == []
                continue
            n = phase.event.consecutive
            met = [phase.event.criterion.holds(e.error) for e in seen]
            windows = [all(met[k : k + n]) for k in range(len(met) - n + 1)]
            assert any(windows) == bool(fired)
            if fired:
                (event,), last = fired, seen[windows.index(True) + n - 1]
                assert (event.lam, event.epoch) == (last.lam, last.epoch)
                assert last is seen[-1]


@settings(max_examples=40)
@given(specs, errors)
def test_an_arm_with_a_start_has_the_random_streams_and_learning_rate_of_the_arm_it_continues(spec, errors):
    visited, _ = drive(spec, in_turn(errors))
    streams = {}
    for cursor, here in visited:
        name = spec.stream_name(cursor)
        streams[here.name] = name, cursor.run_epochs + 1
        if cursor.phase_epochs == 0:
            new = here.phase.restart or (cursor.phase == 0 and here.arm.start is None)
            assert (name == here.name) == new
            assert not new or cursor.run_epochs == 0
            if cursor.phase == 0 and not new:
                assert (name, cursor.run_epochs) == streams[here.arm.start]


@settings(max_examples=40)
@given(branched(), st.sampled_from("abc"), st.sampled_from([None, 0.2, 0.6]))
def test_an_independent_arm_that_fails_ends_alone_with_the_arms_that_start_from_it(spec, failing, fallback):
    spec = replace(spec, independent_arms=True)
    errors = dict.fromkeys("abc", 0.2) | {failing: fallback}
    visited, events = drive(spec, lambda here, cursor: errors[here.arm.name])
    failed = {e.arm: e.outcome for e in of(ArmFailed, events)}
    trained, ended = {here.arm.name for _, here in visited}, visited[-1][0].ended
    for arm in spec.arms:
        own = replace(spec, arms=(replace(arm, start=None),))
        alone, _ = drive(own, lambda here, cursor: errors[here.arm.name])
        if arm.start is None:
            assert [h.name for _, h in visited if h.arm == arm] == [h.name for _, h in alone]
        elif arm.name not in trained:
            assert arm.start not in ended
            trunk = arm.start.split("/")[0]
            assert trunk in failed or trunk not in trained
    (end,) = of(SeedDone, events)
    assert (end.outcome in ("diverged", "init_failed")) == (trained <= set(failed))
