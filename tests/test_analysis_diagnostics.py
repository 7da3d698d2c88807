"""What networks look like at the end: entropy, dead channels, norms and cosine, by class."""

import math
from itertools import pairwise

import pytest
from analysis_cases import CONSTANT, SPREAD, diverged, failed_init, published, t1, t2, td1, td1_diverged, v3
from by_name import ends, summarise_diagnostics

from dglib.analysis.diagnostics import (
    entropy,
    epochs,
    evaluations,
    sentence,
    skipped_steps,
)
from dglib.analysis.style import styled
from dglib.experiments.trapping.plot_ends import draw_diagnostics


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


def test_entropy_of_half_the_classes_is_the_ratio_of_logarithms():
    assert entropy([5] * 5 + [0] * 5) == pytest.approx(math.log(5) / math.log(10))
    assert entropy([1, 3]) == pytest.approx(-(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75)))


def test_entropy_falls_as_one_class_takes_over_and_knows_no_order_of_classes():
    found = [entropy([10 + more, *[10 - more / 9] * 9]) for more in (0, 10, 30, 60, 90)]
    assert all(after < before for before, after in pairwise(found))
    assert entropy(SPREAD) == pytest.approx(entropy(sorted(SPREAD)))


@pytest.mark.parametrize("counts", [None, [], [0, 0], [5]])
def test_no_counts_and_a_single_class_have_no_entropy(counts):
    assert entropy(counts) is None


# --- series


def test_evaluations_come_in_order_with_what_is_on_record():
    found = evaluations(trapped(), "error_trajectory")
    assert [each.epoch for each in found] == list(range(5, 41, 5))
    assert [each.dead for each in found] == [0.485] * 7 + [0.97]
    assert found[-1].entropy == 0.0
    assert found[0].entropy == entropy(SPREAD)
    assert {each.level for each in found} == {0.6}


def test_a_network_that_is_not_finite_has_neither_entropy_nor_dead_channels():
    record = with_dead(td1_diverged(), "error_trajectory", 1.0)
    last = evaluations(record, "error_trajectory")[-1]
    assert last.error is None
    assert (last.dead, last.entropy) == (None, None)


def test_published_evaluations_give_none_for_what_they_lack():
    found = evaluations(published(t1()), "trajectory")
    assert len(found) == len(t1()["trajectory"])
    assert {(each.dead, each.entropy) for each in found} == {(None, None)}
    assert epochs(published(t1())) == []
    assert skipped_steps(published(t1())) is None


def test_epochs_are_those_of_the_arm_that_was_asked_for():
    record = with_epochs(v3(), "ordered", weight_norm=[1.0, 2.0], skipped_steps=[0, 3])
    record = with_epochs(record, "collapse", weight_norm=[5.0], c_sv=[0.25])
    assert [(e.epoch, e.weight_norm, e.skipped_steps) for e in epochs(record, "ordered")] == [
        (1, 1.0, 0),
        (2, 2.0, 3),
    ]
    assert [(e.weight_norm, e.c_sv) for e in epochs(record, "collapse")] == [(5.0, 0.25)]


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


def test_the_end_of_the_way_up_is_not_that_of_the_way_back():
    record = with_dead(t1(0, 0.6, 0.35, True), "trajectory", 0.4)
    record["return_trajectory"][-1]["dead_channels"] = 0.9
    last = int(record["trajectory"][-1]["epoch"])
    record = with_epochs(record, weight_norm=[*[1.0] * (last - 1), 2.0, 3.0])
    (end,) = ends("T1", record)
    assert (end.name, end.values["dead"], end.values["weight_norm"]) == ("collapsed", 0.4, 2.0)


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
    found = ends(experiment, record)
    assert [end.name for end in found] == names
    assert [end.trapped for end in found] == ["trapped" in name for name in names]


def test_classes_are_summarised_apart_with_n_mean_and_range():
    found = summarise_diagnostics("Td1", [trapped(0, 0.95), partial(1), trapped(2, 0.99), partial(3, 0.05)])
    first, second = found["classes"]
    assert (first["name"], first["n"], first["constant"]) == ("trapped", 2, 2)
    assert (second["name"], second["n"], second["constant"]) == ("partial collapse", 2, 0)
    assert first["dead"] == {"n": 2, "mean": 0.97, "std": 0.02, "min": 0.95, "max": 0.99}
    assert second["dead"]["mean"] == pytest.approx(0.04)
    assert first["weight_norm"] is None


def test_records_that_lack_a_field_are_left_out_of_its_mean_alone():
    found = summarise_diagnostics("Td1", [trapped(0, 0.9), td1(1, 0.9)])
    (only,) = found["classes"]
    assert (only["n"], only["dead"]["n"], only["n_predicted"]) == (2, 1, 2)


def test_skipped_steps_are_added_up_where_they_are_on_record():
    records = [td1(0) | {"skipped_steps": 0}, td1(1) | {"skipped_steps": 4}, td1(2)]
    found = summarise_diagnostics("Td1", records)
    assert (found["skipped"], found["skipping_seeds"]) == (4, 1)


# --- drawn


def test_the_figure_has_a_line_for_each_seed_and_one_for_the_mean_of_each_class():
    records = [
        trapped(0, 0.9),
        trapped(2, 0.8),
        partial(1),
        with_dead(td1_diverged(3), "error_trajectory", 0),
    ]
    with styled():
        dead, spread = draw_diagnostics(records).axes
    for axes in (dead, spread):
        assert len(axes.lines) == 4 + 2  # a diverged seed is in no mean
        assert all(set(line.get_xdata()) <= set(range(5, 41, 5)) for line in axes.lines)
    assert sorted(round(line.get_ydata()[-1], 9) for line in dead.lines if len(line.get_xdata()) == 8) == [
        0.03, 0.03, 0.8, 0.85, 0.9,
    ]  # fmt: skip


def test_the_figure_of_published_records_is_drawn_empty():
    records = [td1(0) | {"error_trajectory": [{"epoch": 5, "error": 0.9}]}]
    with styled():
        figure = draw_diagnostics(records)
    assert all(len(line.get_xdata()) == 0 for axes in figure.axes for line in axes.lines)


# --- in words


def test_the_sentence_sets_trapped_seeds_against_the_others():
    records = [trapped(0), trapped(1), partial(2, 0.02), partial(3, 0.04), partial(4, 0.03)]
    assert sentence(summarise_diagnostics("Td1", records)) == (
        "2 trapped seeds end with 97 % of channels dead on average and one class predicted;"
        " 3 other seeds end with 3 % of channels dead on average and several classes predicted."
    )


def test_the_sentence_says_where_no_seed_is_trapped_or_none_is_not():
    assert sentence(summarise_diagnostics("Td1", [partial()])) == (
        "1 seed ends with 3 % of channels dead and several classes predicted; none ended trapped."
    )
    assert sentence(summarise_diagnostics("Td1", [trapped()])) == (
        "1 trapped seed ends with 97 % of channels dead and one class predicted."
    )


def test_diverged_seeds_and_failed_inits_are_in_no_sentence():
    records = [diverged(t1(0)), failed_init(t1(1))]
    assert sentence(summarise_diagnostics("T1", records)) == (
        "No network that was measured at its end was finite and past its init."
    )


def test_published_records_say_that_nothing_is_on_record():
    found = summarise_diagnostics("T2", [published(t2(seed, None)) for seed in range(3)])
    assert (found["recorded"], found["classes"], found["skipped"]) == (False, [], None)
    assert "not on record, as in published files" in sentence(found)
    assert "not on record" in sentence(summarise_diagnostics("T2", []))
