"""Run directories: which one is taken, what is never run again, and what is never overwritten or mixed."""

import json
import re
import shutil

import pytest
from small import CPU, open_store, random_data, small_spec

from dglib.errors import UserError
from dglib.runs import identity
from dglib.runs import seed as batch
from dglib.runs.seed import run_experiment
from dglib.runs.store import run_directories

DATA = random_data()
QUICK = {"batch_size": 22, "init_epochs": 1, "epochs_per_level": 1, "return_sweep": False}


def quick(experiment="T1", **changes):
    return small_spec(experiment, **{**QUICK, **changes})


# ── which directory ──


def test_a_new_directory_is_the_prefix_and_a_timestamp_with_a_manifest_and_a_published_one_stays(tmp_path):
    published = tmp_path / "exp_T_spinodal_20260117_121637"
    published.mkdir()
    (published / "T1-spinodal_results.json").write_text("[]")
    store, why = open_store(tmp_path, quick(), DATA)
    assert [path.name for path in published.iterdir()] == ["T1-spinodal_results.json"]
    assert store.directory != published
    assert re.fullmatch(r"exp_T_spinodal_\d{8}_\d{6}", store.directory.name)
    assert why == f"new directory {store.directory.name}"
    manifest = json.loads((store.directory / "T1-spinodal_manifest.json").read_bytes())
    assert (manifest["experiment"], manifest["command"]) == ("T1", ["test"])
    assert manifest["parameters"]["collapse_error"] == 0.4
    described = identity.describe(quick(), DATA.fingerprint, device="cpu", threads=1)
    assert manifest["fingerprint"] == identity.fingerprint(described)


def test_only_the_prefix_followed_by_exactly_a_timestamp_is_a_run_directory(tmp_path):
    mine = ["exp_V3_vgg11_20260101_000000", "exp_V3_vgg11_20260102_235959"]
    others = [
        "exp_V3_vgg11_v2_20270101_000000",
        "exp_V3_vgg11_20270101_000000_old",
        "exp_V3xvgg11_20270101_000000",
    ]
    for name in [*mine, *others]:
        (tmp_path / name).mkdir()
    (tmp_path / "exp_V3_vgg11_20280101_000000").touch()  # a file
    assert [path.name for path in run_directories(tmp_path, "exp_V3_vgg11")] == mine[::-1]
    assert run_directories(tmp_path / "absent", "exp_V3_vgg11") == []


def renamed(store, stamp):
    """The same directory under another timestamp."""
    path = store.directory.with_name(f"{store.spec.directory_prefix}_{stamp}")
    store.directory.rename(path)
    return path


def test_the_newest_directory_with_an_equal_fingerprint_is_resumed(tmp_path):
    first, _ = open_store(tmp_path, quick(), DATA)
    older = renamed(first, "20250101_000000")
    newer = tmp_path / "exp_T_spinodal_20250202_000000"
    shutil.copytree(older, newer)
    other, _ = open_store(tmp_path, quick(lr=0.2), DATA)
    renamed(other, "20250303_000000")
    store, why = open_store(tmp_path, quick(), DATA)
    assert store.directory == newer
    assert why == "resuming exp_T_spinodal_20250202_000000"
    assert len(list(tmp_path.glob("exp_*"))) == 3


def test_another_parameter_data_or_thread_count_is_another_run_and_named(tmp_path):
    first, _ = open_store(tmp_path, quick(), DATA)
    data, threads = random_data(seed=1), 2
    others = [
        (open_store(tmp_path, quick(collapse_error=0.5), DATA), "collapse_error 0.4 → 0.5"),
        (open_store(tmp_path, quick(), data), "dataset digits has changed since 20"),
        (open_store(tmp_path, quick(), DATA, threads), "threads 1 → 2"),
        (open_store(tmp_path, quick(train_size=33), DATA), "train_size null → 33"),
    ]
    for (store, why), line in others:
        assert why.startswith(
            f"new directory {store.directory.name}; the newest with records of T1 differs in "
        )
        assert line in why
        assert "\n" not in why
    assert len({first.directory, *(store.directory for (store, _), _ in others)}) == 5


def test_t2_joins_the_directory_of_a_t1_with_the_same_data_and_step_alone(tmp_path):
    first, _ = open_store(tmp_path, quick("T1"), DATA)
    for changes in ({"noise_rate": 0.2}, {"batch_size": 11}, {"network_width": 0.5}):
        store, why = open_store(tmp_path, quick("T2", **changes), DATA)
        assert store.directory != first.directory
        assert why.startswith(f"new directory {store.directory.name}")
    for experiment, line in (("T2", "joining"), ("T2", "resuming"), ("T1", "resuming")):
        store, why = open_store(tmp_path, quick(experiment), DATA)
        assert (store.directory, why) == (first.directory, f"{line} {first.directory.name}")
    manifests = {path.name for path in first.directory.glob("*_manifest.json")}
    assert manifests == {"T1-spinodal_manifest.json", "T2-spinodal_manifest.json"}
    assert open_store(tmp_path, quick("T2", recovery_error=0.1), DATA)[0].directory != first.directory


# ── seeds ──


@pytest.fixture
def counted(monkeypatch):
    """The seeds that were trained, in order."""
    seeds, original = [], batch.SeedRun
    monkeypatch.setattr(
        batch, "SeedRun", lambda spec, seed, *a, **k: seeds.append(seed) or original(spec, seed, *a, **k)
    )
    return seeds


def test_finished_seeds_are_not_run_again_and_the_list_may_grow(tmp_path, counted):
    first, _ = open_store(tmp_path, quick(), DATA)
    (before,) = run_experiment(first, [1], DATA, CPU)
    store, _ = open_store(tmp_path, quick(), DATA)
    records = run_experiment(store, [2, 1, 0], DATA, CPU)
    assert counted == [1, 2, 0]
    assert [record["seed"] for record in records] == [0, 1, 2]
    assert records[1] == before


def test_the_views_are_rebuilt_byte_for_byte_from_the_seeds_files(tmp_path):
    store, _ = open_store(tmp_path, quick("Td1"), DATA)
    run_experiment(store, [3, 0, 11], DATA, CPU)
    views = [p for p in store.directory.glob("*.[jc]s*") if "manifest" not in p.name]
    before = {path.name: path.read_bytes() for path in views}
    assert len(before) == 3
    assert [r["seed"] for r in json.loads(before["Td1_results.json"])] == [0, 3, 11]
    for path in views:
        path.unlink()
    shutil.rmtree(store.directory / "locks")
    open_store(tmp_path, store.spec, DATA)[0].rebuild_views()
    assert {path.name: path.read_bytes() for path in views} == before


def test_a_damaged_seed_record_is_refused_by_name_before_anything_is_trained(tmp_path, counted):
    store, _ = open_store(tmp_path, quick(), DATA)
    store.save({"seed": 0, "experiment": "T1", "outcome": "no_event", "error": 0.1, "time": 1.5})
    path = store.files(0).record
    damaged = path.read_bytes().replace(b'"error": 0.1', b'"error": 0.2')
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=re.escape(str(path))):
        run_experiment(store, [0, 1], DATA, CPU)
    assert counted == []
    assert path.read_bytes() == damaged
