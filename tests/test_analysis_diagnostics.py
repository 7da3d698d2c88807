"""What networks look like at the end: entropy, dead channels, norms and cosine, by class."""

import pytest
from analysis_cases import CONSTANT, diverged, failed_init, t1, t2, td1, v3
from by_name import ends, summarise_diagnostics

from dglib.analysis.diagnostics import entropy


def with_dead(record, field, share):
    """The record with this share of dead channels at the last evaluation, and half of it before."""
    *before, last = record[field]
    kept = [entry | {"dead_channels": share / 2} for entry in before]
    return record | {field: [*kept, last | {"dead_channels": share}]}


def with_epochs(record, arm="main", **series):
    """The record with an epoch log of these columns, from epoch 1."""
    rows = [
        {"arm": arm, "phase": "init", "epoch": number, **dict(zip(series, values, strict=True))}
        for number, values in enumerate(zip(*series.values(), strict=True), 1)
    ]
    return record | {"epoch_log": [*record["epoch_log"], *rows]}


def trapped(seed=0, dead=0.97):
    record = with_dead(td1(seed, 0.9), "error_trajectory", dead)
    record["error_trajectory"][-1]["predicted"] = CONSTANT
    return record


def partial(seed=1, dead=0.03):
    return with_dead(td1(seed, 0.5), "error_trajectory", dead)


# --- entropy


def test_entropy_is_0_for_one_class_and_1_for_all_equally_often():
    assert entropy(CONSTANT) == 0.0
    assert entropy([39] * 10) == pytest.approx(1.0, abs=1e-15)
    assert entropy([7, 7]) == 1.0


# --- ends


def test_an_end_has_the_last_norms_and_the_mean_of_the_last_ten_cosines_on_record():
    cosines = [9.0, 9.0, *[0.1, None, 0.3] * 5, None]
    record = with_epochs(
        partial(), weight_norm=[*range(17), 40.0], update_norm=[*[1.0] * 17, None], c_sv=cosines
    )
    (end,) = ends("Td1", record)
    assert end.name == "partial collapse"
    assert end.values["weight_norm"] == 40.0
    assert end.values["update_norm"] == 1.0
    assert end.values["c_sv"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("experiment", "record", "names"),
    [
        ("T1", t1(0, None), ["ordered"]),
        ("T1", failed_init(t1()), ["init failed"]),
        ("T1", diverged(t1()), ["diverged"]),
        ("T2", t2(), ["ordered"]),
        ("T2", t2(0, None, trapped=True), ["trapped"]),
        ("Td1", td1(0, 0.1), ["ordered"]),
        ("V3", v3(), ["ordered branch", "collapse branch, began collapsed"]),
        ("V3", v3(0, trapped=True), ["ordered branch", "collapse branch, began trapped"]),
    ],
)
def test_ends_are_named_as_the_states_are(experiment, record, names):
    assert [end.name for end in ends(experiment, record)] == names


def test_classes_are_summarised_apart_with_n_mean_and_range():
    found = summarise_diagnostics("Td1", [trapped(0, 0.95), partial(1), trapped(2, 0.99), partial(3, 0.05)])
    first, second = found
    assert (first["name"], first["n"], first["constant"]) == ("trapped", 2, 2)
    assert (second["name"], second["n"], second["constant"]) == ("partial collapse", 2, 0)
    assert first["dead"] == {"n": 2, "mean": 0.97, "std": 0.02, "min": 0.95, "max": 0.99}
    assert second["dead"]["mean"] == pytest.approx(0.04)
    assert first["weight_norm"] is None
