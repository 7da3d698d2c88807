"""A live run: settings act on the next step, starts are reproducible, and its path can be saved."""

import csv
import itertools
import threading
from dataclasses import replace

import pytest
import torch
from analysis_cases import t1
from report_cases import run_of
from small import CPU, random_data

import dglib
from dglib.cli import main
from dglib.errors import UserError
from dglib.explorer.live_run import LiveRun, save_path
from dglib.explorer.live_settings import STARTS, Settings
from dglib.explorer.runs import Places, choices
from dglib.report import write_report

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


def weights(run):
    return torch.cat([p.detach().flatten() for p in run._state.model.state_dict().values()])


def same(one, other):
    return torch.equal(weights(one), weights(other))


# ── what is set ──


@pytest.mark.parametrize(
    ("name", "value"), [("lam", 0.7), ("lr", 0.01), ("refresh_period", 5), ("noise_rate", 0.1)]
)
def test_a_change_acts_on_the_next_step(live, name, value):
    prepared(live)
    steps(live, 2)
    live.change(**{name: value})
    assert getattr(live.status().settings, name) != value
    live.step()
    assert getattr(live.status().settings, name) == value


@pytest.mark.parametrize("change", [{"lam": 0.9}, {"lr": 0.5}, {"noise_rate": 0.0}, {"refresh_period": 1}])
def test_every_setting_moves_the_weights(change):
    one, other = prepared(LiveRun(DATA, CPU)), prepared(LiveRun(DATA, CPU))
    assert same(one, other)
    one.change(**change)
    steps(one, 2)
    steps(other, 2)
    assert not same(one, other)


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
    assert same(live, prepared(LiveRun(DATA, CPU)))
    live.step()
    assert live.status().settings == Settings(lam=0.8, lr=0.01)


def test_settings_changed_together_from_another_thread_are_never_trained_with_apart(live):
    prepared(live)
    enough = threading.Event()

    def drag():
        for position in itertools.count():
            live.change(lam=(position % 100) / 100, refresh_period=1 + position % 100)
            if enough.wait(0.001):
                break

    other = threading.Thread(target=drag)
    other.start()
    try:
        while len({point.lam for point in live.status().points}) < 10:
            live.advance(0.02)
    finally:
        enough.set()
        other.join()
    used = [point.settings for point in live.status().points if not point.prepared]
    assert all(round(100 * each.lam) + 1 == each.refresh_period for each in used[1:])


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
    first, epochs = weights(live), live.status().epochs
    assert epochs == PREPARED
    for _ in range(2):  # twice: training on must not have moved what is remembered
        steps(live, 4)
        live.begin(start)
        assert live.status().state == "running"
        assert torch.equal(weights(live), first)
        assert live.status().epochs == epochs


def test_a_start_under_other_settings_is_prepared_under_them(live):
    prepared(live)
    live.change(lr=0.05)
    live.begin("ordered")
    assert live.status().state == "preparing"
    assert live.status().settings == Settings(lr=0.05)


def test_an_unknown_start_is_told_in_one_line(live):
    with pytest.raises(UserError, match="start = 'chaotic': must be one of ordered, collapsed"):
        live.begin("chaotic")


def test_reset_returns_to_the_start_and_to_the_defaults(live):
    live.begin("collapsed")
    prepared(live)
    begun, points = weights(live), live.status().points
    live.change(lam=0.1, lr=0.3, refresh_period=4, noise_rate=0.0)
    steps(live, 5)
    live.reset()
    status = live.status()
    assert status.settings == status.wanted == Settings(lam=STARTS["collapsed"].lam)
    assert status.points == points
    assert torch.equal(weights(live), begun)


def test_paused_it_takes_no_step_but_those_asked_for_one_by_one(live):
    prepared(live)
    live.control.pause()
    before = live.status().steps
    assert live.advance(0.05) == 0
    assert live.status().state == "paused"
    live.step()
    assert live.status().steps == before + 1
    assert live.status().now.epoch == pytest.approx((before + 1) / EPOCH)


def test_evaluations_between_epochs_leave_no_trace(monkeypatch):
    looked, unlooked = prepared(LiveRun(DATA, CPU)), prepared(LiveRun(DATA, CPU))
    monkeypatch.setattr(unlooked, "_evaluate_between", lambda: None)
    steps(looked, 7)
    steps(unlooked, 7)
    assert same(looked, unlooked)
    assert looked.status().points == unlooked.status().points


def test_a_network_that_diverges_stops_and_says_so_and_can_be_reset(live):
    prepared(live)
    with torch.no_grad():
        live._state.params[0].fill_(float("nan"))
    assert live.advance(600) <= EPOCH
    status = live.status()
    assert (status.state, status.error) == ("diverged", None)
    live.step()
    assert live.status().steps == status.steps
    live.reset()
    assert live.status().state == "running"


# ── the saved path ──


def test_a_saved_path_has_a_row_for_each_epoch_with_what_it_was_trained_with(live, tmp_path):
    prepared(live)
    for lam, lr in ((0.5, 0.1), (0.7, 0.03)):
        live.change(lam=lam, lr=lr)
        steps(live, EPOCH)
    steps(live, 1)
    status = live.status()
    table = save_path(status, b"png", tmp_path)
    assert table.with_suffix(".png").read_bytes() == b"png"
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == [EPOCH * (i + 1) for i in range(PREPARED + 2)]
    assert [row["phase"] for row in rows] == ["init"] * PREPARED + ["sweep"] * 2
    moved = [(float(row["lambda"]), float(row["lr"]), float(row["epoch"])) for row in rows[-2:]]
    assert moved == [(0.5, 0.1, PREPARED + 1), (0.7, 0.03, PREPARED + 2)]
    assert [float(row["error"]) for row in rows] == [point.error for point in status.points]
    assert all(float(row[name]) > 0 for row in rows for name in ("test_loss", "loss_s"))
    assert float(rows[0]["loss_v"]) > 0


def test_two_paths_saved_at_once_are_two_files(live, tmp_path):
    status = prepared(live).status()
    assert save_path(status, b"", tmp_path) != save_path(status, b"", tmp_path)
    assert len(list((tmp_path / "live_paths").glob("*.csv"))) == 2


def test_nothing_is_written_before_an_epoch_is_complete(live, tmp_path):
    steps(live, EPOCH - 1)
    with pytest.raises(UserError, match="nothing to save yet"):
        save_path(live.status(), b"", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_is_told_in_one_line(live, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as told:
        save_path(prepared(live).status(), b"", tmp_path / "file")
    assert "\n" not in str(told.value)


def test_saved_paths_and_kept_runs_of_release_0_1_are_passed_over_by_every_reader(live, tmp_path, capsys):
    run_of(tmp_path, "T1", [t1(0), t1(1)])
    before = dglib.load_records(tmp_path).seeds
    page = write_report(tmp_path).read_bytes()
    save_path(prepared(live).status(), b"png", tmp_path)
    old = tmp_path / "exp_Live_20261121_120000"
    (old / "seeds").mkdir(parents=True)
    (old / "Live_manifest.json").write_text("{}")
    (old / "seeds" / "Live-000.json").write_text("{}")
    (old / "Live_results.json").write_text('[{"experiment": "Live", "seed": 0, "trajectory": []}]')
    tables = dglib.load_records(tmp_path)
    assert tables.problems == ()
    assert tables.seeds.equals(before)
    assert write_report(tmp_path).read_bytes() == page
    assert main(["analyse", str(tmp_path)]) == 0
    assert "Problems" not in capsys.readouterr().out
    assert all("Live" not in choice.label for choice in choices(Places(tmp_path, None)))
    for command in (["analyse"], ["verify"]):
        assert main([*command, str(old)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
