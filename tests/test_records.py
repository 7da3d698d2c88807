"""Records have every published field, with its name and type, and stay valid JSON whatever happened."""

import csv
import io
import json

import pytest
from small import CPU, digits, random_data, small_spec

from dglib.files import to_json
from dglib.protocol.events import EpochDone, Evaluated, Fired, SeedDone, StepsLogged, SuccessTested
from dglib.protocol.records import csv_views, fold
from dglib.runs.seed import run_seed

MAYBE = (float, type(None))

# The fields of the published records, and the types of their values.
SPINODAL = {
    "seed": int,
    "init_error": float,
    "init_success": bool,
    "final_lambda": float,
    "final_error": float,
    "trajectory": list,
    "experiment_id": str,
    "eta": float,
    "time": float,
}
PUBLISHED = {
    "T1": {**SPINODAL, "lambda_up": MAYBE, "collapsed": bool},
    "T2": {**SPINODAL, "lambda_down": MAYBE, "recovered": bool},
    "V3": {
        "seed": int,
        "arch": str,
        "ordered_init": float,
        "collapse_init": float,
        "ordered_trajectory": list,
        "collapse_trajectory": list,
        "experiment_id": str,
    },
    "Td1": {
        "seed": int,
        "final_error": float,
        "category": str,
        "error_trajectory": list,
        "step_logs": list,
        "experiment_id": str,
    },
}
SPINODAL_POINT = {"phase": str, "lambda": float, "epoch": int, "error": float}
LOGGED = ("c_sv", "c_mc", "norm_s", "norm_v", "norm_mix", "loss_s", "loss_v")
PUBLISHED_ROWS = {
    "T1": {"trajectory": SPINODAL_POINT},
    "T2": {"trajectory": SPINODAL_POINT},
    "V3": {f"{branch}_trajectory": {"lambda": float, "error": float} for branch in ("ordered", "collapse")},
    "Td1": {
        "error_trajectory": {"epoch": int, "error": float},
        "step_logs": {"epoch": int, "step": int, **dict.fromkeys(LOGGED, float)},
    },
}
IDENTITIES = {"T1": "T1-spinodal-000", "T2": "T2-spinodal-000", "V3": "V3-s0", "Td1": "Td1-seed00"}
# What ours add for all experiments.
ADDED = {
    "experiment": str,
    "outcome": str,
    "eta": float,
    "time": float,
    "parameters": dict,
    "epochs_per_level": int,
    "lr": float,
    "sweep_lr": MAYBE,
    "init_success": bool,
    "epoch_log": list,
}
EVALUATED = {
    "phase": str,
    "lambda": float,
    "epoch": int,
    "error": MAYBE,
    "test_loss": MAYBE,
    "predicted": list,
    "finite": bool,
    "lr": float,
}
EPOCH = {
    "phase": str,
    "lambda": float,
    "epoch": int,
    "lr": float,
    "loss_s": MAYBE,
    "loss_v": MAYBE,
    "weight_norm": MAYBE,
    "update_norm": MAYBE,
}


def has_fields(value, fields):
    for name, kind in fields.items():
        assert name in value, name
        # bool is an int to isinstance; a record keeps them apart
        assert type(value[name]) in (kind if isinstance(kind, tuple) else (kind,)), (name, value[name])


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def records():
    """One real seed of each experiment, T1 and T2 with their events."""
    data = random_data()
    changes = {"T2": {"recovery_error": 1.0}, "V3": {"network": "vgg11_bn", "network_width": 0.0625}}
    return {
        name: (spec, run_seed(spec, 0, data, CPU))
        for name in PUBLISHED
        for spec in [small_spec(name, batch_size=8, **changes.get(name, {}))]
    }


@pytest.mark.parametrize("experiment", PUBLISHED)
def test_a_record_has_every_published_field_with_its_type_and_more(experiment, records):
    _, record = records[experiment]
    has_fields(record, PUBLISHED[experiment])
    has_fields(record, ADDED)
    for field, row in PUBLISHED_ROWS[experiment].items():
        assert record[field], field
        for point in record[field]:
            has_fields(point, row)
            if field != "step_logs":
                has_fields(point, EVALUATED)
    for row in record["epoch_log"]:
        has_fields(row, EPOCH)
    assert record["experiment_id"] == IDENTITIES[experiment]
    assert record["experiment"] == experiment
    assert json.loads(to_json(record)) == record


def test_the_histogram_of_predictions_counts_the_test_set(records):
    for _, record in records.values():
        for field in record:
            if field.endswith("trajectory"):
                assert all(len(p["predicted"]) == 10 and sum(p["predicted"]) == 10 for p in record[field])


def test_a_t1_record_tells_its_collapse_and_its_return(records):
    _, record = records["T1"]
    assert (record["outcome"], record["collapsed"], record["lambda_up"]) == ("collapsed", True, 0.5)
    assert (record["init_success"], record["final_lambda"]) == (True, 0.5)
    last = record["trajectory"][-1]
    assert (last["phase"], last["epoch"], last["error"]) == ("sweep", 5, record["final_error"])
    assert [p["phase"] for p in record["trajectory"]] == ["init"] * 2 + ["sweep"] * 2
    assert record["init_error"] == record["trajectory"][1]["error"]
    back = record["return_trajectory"]
    assert {p["phase"] for p in back} == {"return"}
    assert [p["lambda"] for p in back] == [0.4, 0.4, 0.2, 0.2]
    assert [p["epoch"] for p in back] == [6, 7, 8, 9]
    assert (record["return_recovered"], record["return_lambda_down"]) == (False, None)
    assert (record["return_final_lambda"], record["return_final_error"]) == (0.2, back[-1]["error"])
    assert (record["epochs_per_level"], record["lr"], record["sweep_lr"]) == (2, 0.1, None)
    assert record["parameters"]["collapse_error"] == 0.4


def test_a_t2_record_tells_its_recovery(records):
    _, record = records["T2"]
    assert (record["outcome"], record["recovered"], record["lambda_down"]) == ("recovered", True, 0.5)
    assert "lambda_up" not in record
    assert not any(field.startswith("return_") for field in record)


def test_a_t1_record_without_a_return_sweep_has_no_return_fields():
    record = fold(small_spec("T1", return_sweep=False), 0, [], 1.0)
    assert not any(field.startswith("return_") for field in record)


def test_a_v3_record_tells_both_branches(records):
    _, record = records["V3"]
    assert (record["arch"], record["outcome"], record["init_success"]) == ("VGG11-BN", "complete", True)
    assert [p["lambda"] for p in record["ordered_trajectory"]] == [0.3, 0.5]
    assert [p["lambda"] for p in record["collapse_trajectory"]] == [0.5, 0.3]
    for branch in ("ordered", "collapse"):
        init = record[f"{branch}_init_trajectory"]
        assert [p["epoch"] for p in init] == [1, 2]
        assert record[f"{branch}_init"] == init[-1]["error"]
        assert record[f"{branch}_init_success"] is True
    assert record["sweep_lr"] == pytest.approx(0.001)
    # Which arm an epoch belongs to is told, since both have an "init" and a "sweep".
    assert [row["arm"] for row in record["epoch_log"]] == ["ordered"] * 4 + ["collapse"] * 4


def test_a_td1_record_logs_from_step_zero_on_with_epochs_counted_from_zero(records):
    _, record = records["Td1"]
    # 22 images in batches of 8: three steps an epoch, four epochs, every third step.
    assert [(row["epoch"], row["step"]) for row in record["step_logs"]] == [(0, 0), (1, 3), (2, 6), (3, 9)]
    assert record["category"] == record["outcome"]
    assert record["final_error"] == record["error_trajectory"][-1]["error"]
    assert record["lambda"] == 0.6


# ── what did not go well ──


def evaluated(number, phase, error, *, arm="main", lam=0.35, epoch=3):
    finite = error is not None
    metrics = {"test_loss": 1.5 if finite else None}
    return Evaluated(number, arm, phase, lam, epoch, 0.1, error, (10,), finite, metrics)


def failed_init(experiment, seed=4):
    spec = small_spec(experiment)
    events = [
        evaluated(0, "init", 0.5),
        SuccessTested(1, "main", "init", 0.35, 3, False, 0.5),
        SeedDone(2, "main", "init", 0.35, 3, "init_failed"),
    ]
    return spec, fold(spec, seed, events, 2.5)


@pytest.mark.parametrize(
    ("experiment", "threshold", "flag"),
    [("T1", "lambda_up", "collapsed"), ("T2", "lambda_down", "recovered")],
)
def test_a_failed_init_has_its_error_no_threshold_and_no_final_fields(experiment, threshold, flag):
    _, record = failed_init(experiment)
    assert (record["init_error"], record["init_success"]) == (0.5, False)
    assert (record[threshold], record[flag], record["outcome"]) == (None, False, "init_failed")
    assert "final_lambda" not in record
    assert "final_error" not in record
    assert len(record["trajectory"]) == 1


def test_a_v3_seed_that_fails_its_ordered_init_keeps_the_error_and_empty_trajectories():
    spec = small_spec("V3")
    events = [
        evaluated(0, "init", 0.9, arm="ordered"),
        SuccessTested(1, "ordered", "init", 0.35, 3, False, 0.9),
        SeedDone(2, "ordered", "init", 0.35, 3, "init_failed"),
    ]
    record = fold(spec, 1, events, 1.0)
    assert (record["ordered_init"], record["collapse_init"]) == (0.9, None)
    flags = ("ordered_init_success", "collapse_init_success", "init_success")
    assert [record[name] for name in flags] == [False, False, False]
    assert record["ordered_trajectory"] == record["collapse_trajectory"] == []
    assert len(record["ordered_init_trajectory"]) == 1
    assert (record["experiment_id"], record["outcome"]) == ("V3-s1", "init_failed")


def test_a_v3_seed_that_fails_its_collapse_init_has_not_succeeded():
    spec = small_spec("V3")
    events = [
        SuccessTested(0, "ordered", "init", 0.35, 3, True, 0.1),
        SuccessTested(1, "collapse", "init", 0.6, 3, False, 0.3),
        SeedDone(2, "collapse", "init", 0.6, 3, "init_failed"),
    ]
    record = fold(spec, 1, events, 1.0)
    assert (record["ordered_init_success"], record["init_success"]) == (True, False)


def test_numbers_that_are_not_finite_become_null_and_the_record_stays_valid_json():
    nan, inf = float("nan"), float("inf")
    spec = small_spec("Td1")
    events = [
        StepsLogged(0, "main", "init", 0.6, 1, ((0.0, nan, 0.1, inf, 1.0, -inf, 2.0, nan),)),
        EpochDone(1, "main", "init", 0.6, 1, 0.1, None, None, None, None),
        evaluated(2, "init", None, lam=0.6, epoch=1),
        SeedDone(3, "main", "init", 0.6, 1, "diverged"),
    ]
    record = json.loads(to_json(fold(spec, 0, events, 1.0)))
    (row,) = record["step_logs"]
    assert row == {
        "epoch": 0,
        "step": 0,
        **dict(zip(LOGGED, [None, 0.1, None, 1.0, None, 2.0, None], strict=True)),
    }
    assert record["error_trajectory"][0]["error"] is None
    assert (record["category"], record["final_error"]) == ("diverged", None)


def test_writing_a_number_that_is_not_finite_is_an_error_and_not_bad_json():
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json({"error": float("nan")})


# ── the flat files ──


@pytest.mark.parametrize("experiment", ["T1", "T2"])
def test_the_spinodal_csv_has_a_row_per_seed_and_every_published_column_but_the_trajectory(
    experiment, records
):
    spec, record = records[experiment]
    _, failed = failed_init(experiment)
    views = csv_views(spec, [record, failed])
    assert list(views) == [f"{experiment}-spinodal_results.csv"]
    first, second = read_csv(views[f"{experiment}-spinodal_results.csv"])
    published = set(PUBLISHED[experiment]) - {"trajectory"}
    assert published <= set(first)
    assert not {"trajectory", "epoch_log", "parameters", "return_trajectory"} & set(first)
    for name in published:
        assert first[name] == ("" if record[name] is None else str(record[name]))
    assert second["seed"] == "4"
    assert (second["final_error"], second["init_success"], second["outcome"]) == ("", "False", "init_failed")


def test_the_spinodal_csv_is_written_without_any_seed_and_with_failed_ones_first():
    spec, failed = failed_init("T1")
    assert read_csv(csv_views(spec, [])["T1-spinodal_results.csv"]) == []
    done = {**failed, "seed": 5, "final_lambda": 0.7, "final_error": 0.1}
    rows = read_csv(csv_views(spec, [failed, done])["T1-spinodal_results.csv"])
    assert [(row["seed"], row["final_error"]) for row in rows] == [("4", ""), ("5", "0.1")]


def test_the_v3_csv_has_a_row_per_seed_branch_and_lambda(records):
    spec, record = records["V3"]
    (text,) = csv_views(spec, [record]).values()
    assert text.splitlines()[0] == "seed,branch,lambda,error"
    rows = [(row["branch"], float(row["lambda"]), float(row["error"])) for row in read_csv(text)]
    assert rows == [
        (branch, point["lambda"], point["error"])
        for branch in ("ordered", "collapse")
        for point in record[f"{branch}_trajectory"]
    ]


def test_the_td1_csvs_have_a_row_per_seed_and_a_row_per_logged_step(records):
    spec, record = records["Td1"]
    views = csv_views(spec, [record])
    assert list(views) == ["Td1_results.csv", "Td1_step_logs.csv"]
    (row,) = read_csv(views["Td1_results.csv"])
    assert (row["final_error"], row["category"]) == (str(record["final_error"]), record["category"])
    logs = read_csv(views["Td1_step_logs.csv"])
    assert list(logs[0]) == ["seed", "category", "epoch", "step", *LOGGED]
    assert [float(row["c_sv"]) for row in logs] == [row["c_sv"] for row in record["step_logs"]]


def test_errors_on_real_data_are_one_minus_correct_over_total_in_floats():
    record = run_seed(small_spec("Td1", init_epochs=1, evaluate_every=1), 0, digits(), CPU)
    error = record["final_error"]
    assert error in {1 - correct / 397 for correct in range(398)}
    assert 0 < error < 0.95


def test_an_event_sets_its_field_and_flag_alone():
    spec = small_spec("T1")
    record = fold(spec, 0, [Fired(0, "main", "return", 0.3, 20)], 1.0)
    assert (record["return_lambda_down"], record["return_recovered"]) == (0.3, True)
    assert (record["lambda_up"], record["collapsed"]) == (None, False)
