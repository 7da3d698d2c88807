"""Records and their flat files, from events; the published fields and their types are in test_freeze."""

import csv
import io
import json

import pytest
from small import CPU, random_data, small_spec

from dglib.experiments import get
from dglib.files import to_json
from dglib.protocol.events import EpochDone, Evaluated, SeedDone, StepsLogged, SuccessTested
from dglib.protocol.records import csv_views, fold
from dglib.runs.seed import run_seed

LOGGED = ("c_sv", "c_mc", "norm_s", "norm_v", "norm_mix", "loss_s", "loss_v")


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def records():
    """The specification and one real seed of each experiment."""
    specs = {name: small_spec(name, batch_size=8) for name in ("T1", "V3", "Td1")}
    return {name: (spec, run_seed(spec, 0, random_data(), CPU)) for name, spec in specs.items()}


def test_a_t1_record_has_its_collapse_and_its_return(records):
    _, record = records["T1"]
    assert (record["outcome"], record["collapsed"], record["lambda_up"]) == ("collapsed", True, 0.5)
    assert (record["init_success"], record["final_lambda"]) == (True, 0.5)
    there, back = record["trajectory"], record["return_trajectory"]
    assert [(p["phase"], p["epoch"]) for p in there] == [("init", 2), ("init", 3), ("sweep", 4), ("sweep", 5)]
    assert all(sum(point["predicted"]) == 10 for point in there + back)  # of ten images
    assert (record["init_error"], record["final_error"]) == (there[1]["error"], there[-1]["error"])
    assert [(p["lambda"], p["epoch"]) for p in back] == [(0.4, 6), (0.4, 7), (0.2, 8), (0.2, 9)]
    assert (record["return_recovered"], record["return_lambda_down"]) == (False, None)
    assert (record["return_final_lambda"], record["return_final_error"]) == (0.2, back[-1]["error"])
    without = fold(small_spec("T1", return_sweep=False), 0, [], 1.0)
    assert not any(field.startswith("return_") for field in without)


def evaluated(number, phase, error, *, lam=0.35, epoch=3):
    finite = error is not None
    metrics = {"test_loss": 1.5 if finite else None}
    return Evaluated(number, "main", phase, lam, epoch, 0.1, error, (10,), finite, metrics)


def failed(experiment):
    spec = small_spec(experiment)
    events = [
        evaluated(0, "init", 0.5),
        SuccessTested(1, "main", "init", 0.35, 3, False, 0.5),
        SeedDone(2, "main", "init", 0.35, 3, "init_failed"),
    ]
    return fold(spec, 4, events, 2.5)


def test_a_failed_init_has_its_error_no_threshold_and_no_final_fields():
    for experiment, threshold, flag in (("T1", "lambda_up", "collapsed"), ("T2", "lambda_down", "recovered")):
        record = failed(experiment)
        assert (record["init_error"], record["init_success"]) == (0.5, False)
        assert (record[threshold], record[flag], record["outcome"]) == (None, False, "init_failed")
        assert not {"final_lambda", "final_error"} & record.keys()
        assert len(record["trajectory"]) == 1


def test_a_failed_init_has_its_error_and_the_rule_as_reason_in_record_and_answer():
    record = run_seed(small_spec("T1", init_error_max=0.0), 0, random_data(), CPU)
    assert record["reason"] == f"error {record['init_error']:g} after main/init, must be <= 0"
    assert f"! seed 0 init failed: {record['reason']}" in get("T1").answer([record]).text()
    assert f"reason: {record['reason']}" in get("T1").seed_text(record)


def test_numbers_that_are_not_finite_become_null_and_the_record_stays_valid_json():
    nan, inf = float("nan"), float("inf")
    events = [
        StepsLogged(0, "main", "init", 0.6, 1, ((0.0, nan, 0.1, inf, 1.0, -inf, 2.0, nan),)),
        EpochDone(1, "main", "init", 0.6, 1, 0.1, None, None, None, None),
        evaluated(2, "init", None, lam=0.6, epoch=1),
        SeedDone(3, "main", "init", 0.6, 1, "diverged"),
    ]
    record = json.loads(to_json(fold(small_spec("Td1"), 0, events, 1.0)))
    (row,) = record["step_logs"]
    values = [None, 0.1, None, 1.0, None, 2.0, None]
    assert row == {"epoch": 0, "step": 0, **dict(zip(LOGGED, values, strict=True))}
    assert record["error_trajectory"][0]["error"] is None
    assert (record["category"], record["final_error"]) == ("diverged", None)
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json({"error": nan})


def test_the_flat_files_have_the_published_names_columns_and_rows(records):
    spec, record = records["T1"]
    assert read_csv(csv_views(spec, [])["T1-spinodal_results.csv"]) == []
    failing, row = read_csv(csv_views(spec, [failed("T1"), record])["T1-spinodal_results.csv"])
    plain = {name: value for name, value in record.items() if not isinstance(value, list | dict)}
    assert row == {name: "" if value is None else str(value) for name, value in plain.items()}
    assert (failing["seed"], failing["final_error"], failing["outcome"]) == ("4", "", "init_failed")

    spec, record = records["V3"]
    (text,) = csv_views(spec, [record]).values()
    assert text.splitlines()[0] == "seed,branch,lambda,error"
    points = [(b, p) for b in ("ordered", "collapse") for p in record[f"{b}_trajectory"]]
    rows = [(row["branch"], float(row["lambda"]), float(row["error"])) for row in read_csv(text)]
    assert rows == [(branch, point["lambda"], point["error"]) for branch, point in points]

    spec, record = records["Td1"]
    views = csv_views(spec, [record])
    assert list(views) == ["Td1_results.csv", "Td1_step_logs.csv"]
    (row,) = read_csv(views["Td1_results.csv"])
    assert (row["final_error"], row["category"]) == (str(record["final_error"]), record["category"])
    logs = read_csv(views["Td1_step_logs.csv"])
    assert list(logs[0]) == ["seed", "category", "epoch", "step", *LOGGED]
    assert [float(row["c_sv"]) for row in logs] == [row["c_sv"] for row in record["step_logs"]]
