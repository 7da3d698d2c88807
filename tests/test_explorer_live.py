"""A run under somebody's hand: what is set acts on the next step, and what is kept can be retraced."""

import itertools
import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import CPU, random_data

import dglib
from dglib import manifest
from dglib.analyse import analyse
from dglib.errors import UserError
from dglib.explorer.keep import keep, record_of, replay
from dglib.explorer.live_example import EXAMPLE, status_of
from dglib.explorer.live_run import LiveRun
from dglib.explorer.live_settings import STARTS, Settings
from dglib.report import write_report
from dglib.runner import run_seed
from dglib.verify import verify

DATA = random_data(n_train=130)  # batches of 64: three steps an epoch, the last one of two images
EPOCH, PREPARED = 3, 4  # steps, epochs


@pytest.fixture(scope="module", autouse=True)
def _short_preparations():
    with pytest.MonkeyPatch.context() as patched:
        for name, start in STARTS.items():
            patched.setitem(STARTS, name, replace(start, epochs=PREPARED))
        yield


@pytest.fixture
def live():
    return LiveRun(DATA, CPU)


def prepared(run):
    while run.status().state == "preparing":
        run.step()
    return run


def steps(run, count):
    for _ in range(count):
        run.step()


def wandered():
    """A run with changes of everything, in the middle of epochs too, and a pause."""
    run = prepared(LiveRun(DATA, CPU))
    run.change(lam=0.6)
    steps(run, 4)
    run.change(refresh_period=2, lr=0.03)
    steps(run, 3)
    run.control.pause()
    run.change(noise_rate=0.2)
    steps(run, 1)
    run.control.go_on()
    run.advance(0.05)
    run.change(lam=0.3)
    steps(run, 5)
    return run


# ── what is set ──


@pytest.mark.parametrize(
    ("name", "value", "column"),
    [
        ("lam", 0.7, "lambda"),
        ("lr", 0.01, "lr"),
        ("refresh_period", 5, "refresh_period"),
        ("noise_rate", 0.1, "noise_rate"),
    ],
)
def test_a_change_acts_on_the_next_step(live, name, value, column):
    prepared(live)
    steps(live, 2)
    live.change(**{name: value})
    assert getattr(live.status().settings, name) != value
    before = live.status().steps
    live.step()
    assert getattr(live.status().settings, name) == value
    assert live.script[-1]["step"] == before
    assert live.script[-1][column] == value


@pytest.mark.parametrize("change", [{"lam": 0.9}, {"lr": 0.5}, {"noise_rate": 0.0}, {"refresh_period": 1}])
def test_every_setting_moves_the_weights(change):
    one, other = prepared(LiveRun(DATA, CPU)), prepared(LiveRun(DATA, CPU))
    assert one.digest() == other.digest()
    one.change(**change)
    steps(one, 2)
    steps(other, 2)
    assert one.digest() != other.digest()


def test_a_new_k_goes_on_with_the_value_gradient_that_is_held(live):
    prepared(live)  # 12 steps, the only refresh at the first
    held = [g.clone() for g in live._state.g_v]
    live.change(refresh_period=7)
    steps(live, 2)
    assert all(torch.equal(a, b) for a, b in zip(live._state.g_v, held, strict=True))  # t = 12, 13
    steps(live, 1)
    assert not any(torch.equal(a, b) for a, b in zip(live._state.g_v, held, strict=True))  # t = 14 = 2·7


def test_a_preparation_is_the_same_whatever_is_set_meanwhile(live):
    steps(live, 5)
    live.change(lam=0.8, lr=0.01)
    status = live.status()
    assert (status.state, status.settings.lam, status.wanted.lam) == ("preparing", 0.35, 0.8)
    prepared(live)
    assert live.digest() == prepared(LiveRun(DATA, CPU)).digest()
    live.step()
    assert live.script[1:] == (Settings(lam=0.8, lr=0.01).as_row(PREPARED * EPOCH),)


def test_changes_from_another_thread_while_it_trains_are_all_noted_where_they_acted(live):
    prepared(live)
    enough = threading.Event()

    def drag():
        for position in itertools.count():
            live.change(lam=(position % 100) / 100, refresh_period=1 + position % 5)
            if enough.wait(0.001):
                break

    hand = threading.Thread(target=drag)
    hand.start()
    try:
        while len(live.script) < 20:
            live.advance(0.02)
    finally:
        enough.set()
        hand.join()
    at = [row["step"] for row in live.script]
    assert at == sorted(set(at))
    assert replay(record_of(live)[1], DATA, CPU).digest() == live.digest()


@pytest.mark.parametrize(
    "wrong",
    [
        {"lam": 1.01}, {"lam": float("nan")}, {"lam": "0.5"}, {"lr": 0.0}, {"lr": 2}, {"refresh_period": 0},
        {"refresh_period": 1.5}, {"refresh_period": True}, {"noise_rate": 0.95}, {"lamda": 0.5},
    ],
)  # fmt: skip
def test_a_bad_setting_is_told_in_one_line_and_changes_nothing(live, wrong):
    with pytest.raises(UserError, match=next(iter(wrong))) as told:
        live.change(lr=0.2, **wrong) if "lr" not in wrong else live.change(**wrong)
    assert "\n" not in str(told.value)
    assert live.status().wanted == Settings()


# ── starts, pauses ──


@pytest.mark.parametrize("start", STARTS)
def test_a_start_is_prepared_once_and_the_same_bits_ever_after(live, start):
    live.begin(start)
    prepared(live)
    first, epochs = live.digest(), live.status().epochs
    assert epochs == PREPARED
    for _ in range(2):  # twice: training on must not have moved what is remembered
        steps(live, 4)
        live.begin(start)
        assert live.status().state == "running"
        assert (live.digest(), live.status().epochs) == (first, epochs)


def test_a_start_under_other_settings_is_prepared_under_them(live):
    prepared(live)
    live.change(lr=0.05)
    live.begin("ordered")
    assert live.status().state == "preparing"
    assert live.script == (Settings(lr=0.05).as_row(0),)


def test_an_unknown_start_is_told_in_one_line(live):
    with pytest.raises(UserError, match="start = 'chaotic': must be one of ordered, collapsed"):
        live.begin("chaotic")


def test_reset_returns_to_the_start_and_to_the_defaults(live):
    live.begin("collapsed")
    prepared(live)
    begun = live.digest(), live.status().points
    live.change(lam=0.1, lr=0.3, refresh_period=4, noise_rate=0.0)
    steps(live, 5)
    live.reset()
    status = live.status()
    assert status.settings == status.wanted == Settings(lam=STARTS["collapsed"].lam)
    assert (live.digest(), status.points) == begun
    assert len(live.script) == 1


def test_paused_it_takes_no_step_but_those_asked_for_one_by_one(live):
    prepared(live)
    live.control.pause()
    before = live.status().steps
    assert live.advance(0.05) == 0
    assert live.status().state == "paused"
    live.step()
    assert live.status().steps == before + 1
    assert live.status().now.epoch == pytest.approx((before + 1) / EPOCH)


def test_evaluations_for_the_eye_leave_no_trace():
    looked, unlooked = prepared(LiveRun(DATA, CPU)), prepared(LiveRun(DATA, CPU))
    steps(looked, 7)
    unlooked.follow(unlooked.script[0], unlooked.status().steps + 7)
    assert looked.digest() == unlooked.digest()
    assert looked.events == unlooked.events


def test_a_network_that_diverges_stops_and_says_so_and_can_be_reset(live):
    prepared(live)
    with torch.no_grad():
        live._state.params[0].fill_(float("nan"))
    assert live.advance(600) <= EPOCH
    status = live.status()
    assert (status.state, status.error) == ("diverged", None)
    assert record_of(live)[1]["outcome"] == "diverged"
    live.step()
    assert live.status().steps == status.steps
    live.reset()
    assert live.status().state == "running"


# ── what is kept ──


def test_a_hand_that_moves_at_epochs_ends_makes_the_record_that_the_protocol_makes(live):
    prepared(live)
    for lam in (0.5, 0.7, 0.7, 0.2):
        live.change(lam=lam)
        steps(live, EPOCH)
    spec, record = record_of(live)
    assert [level for phase in spec.arms[0].phases for level in phase.levels] == [0.35, 0.5, 0.7, 0.7, 0.2]
    expected = run_seed(spec, 0, DATA, CPU)
    for name in ("trajectory", "epoch_log", "final_lambda", "final_error", "parameters", "eta"):
        assert record[name] == expected[name], name


def test_a_kept_run_is_retraced_bit_for_bit():
    run = wandered()
    _, record = record_of(run)
    assert len(record["script"]) == 5
    again = replay(json.loads(json.dumps(record)), DATA, CPU)
    assert again.digest() == record["digest"]
    assert again.status().points == run.status().points
    elsewhere = {"time": 0, "provenance": []}
    assert record_of(again)[1] | elsewhere == record | elsewhere


def test_the_digest_tells_a_run_in_which_one_move_came_a_step_later():
    _, record = record_of(wandered())
    record["script"][1]["step"] += 1
    assert replay(record, DATA, CPU).digest() != record["digest"]


def test_a_record_of_an_experiment_has_no_script_to_retrace():
    with pytest.raises(UserError, match="'T1-spinodal-000': no live run"):
        replay({"experiment": "T1", "experiment_id": "T1-spinodal-000", "seed": 0}, DATA, CPU)


def test_a_kept_run_is_whole_like_any_other(tmp_path):
    run = wandered()
    directory, new = keep(run, tmp_path)
    assert new
    assert directory.name.startswith("exp_Live_")
    assert verify(tmp_path) == []
    assert manifest.read_manifest(directory / "Live_manifest.json")["identity"]["script"] == list(run.script)
    names = {path.name for path in directory.iterdir()}
    assert {"Live_results.json", "Live_results.csv", "Live_manifest.json", "seeds"} <= names


def test_a_run_kept_twice_is_kept_once_and_one_that_went_on_beside_it(tmp_path):
    run = wandered()
    first, _ = keep(run, tmp_path)
    assert keep(run, tmp_path) == (first, False)
    steps(run, EPOCH)
    second, new = keep(run, tmp_path)
    assert new
    assert second != first
    assert verify(tmp_path) == []


def test_nothing_is_written_before_an_epoch_is_complete(live, tmp_path):
    steps(live, EPOCH - 1)
    with pytest.raises(UserError, match="nothing to keep yet"):
        keep(live, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_is_told_in_one_line(live, tmp_path):
    prepared(live)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is not a directory") as told:
        keep(live, tmp_path / "file" / "below")
    assert "\n" not in str(told.value)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    base = tmp_path_factory.mktemp("kept")
    return keep(wandered(), base)[0]


def test_tables_hold_kept_runs_without_a_threshold(kept):
    tables = dglib.load_records(kept.parent)
    assert tables.problems == ()
    (row,) = tables.seeds.to_dict("records")
    assert (row["experiment"], row["seed"], row["outcome"]) == ("Live", 0, "kept")
    assert tables.seeds[["level", "lower", "upper", "epochs_per_level"]].isna().all(axis=None)
    record = tables.records("Live")[0]
    assert len(tables.trajectories) == len(record["trajectory"])
    assert set(tables.trajectories["phase"]) == {"init", "sweep"}


def test_the_run_that_comes_with_the_project_is_whole_and_of_this_version_of_records():
    (record,) = json.loads(EXAMPLE.read_bytes())
    assert record.keys() == record_of(wandered())[1].keys()
    assert len(record["trajectory"]) == status_of(record).epochs == record["steps"] / 22
    assert [row["step"] % 22 for row in record["script"]] == [0] * len(record["script"])


def test_the_report_names_kept_runs(kept):
    page = Path(write_report(kept.parent)).read_text(encoding="utf-8")
    assert "Runs by hand" in page
    assert kept.name in page
    assert "λ 0.30 to 0.60, moved 2 times" in page


def test_an_analysis_says_that_a_kept_run_has_no_threshold(kept):
    with pytest.raises(UserError, match="λ was moved by hand"):
        analyse(kept)
