"""Tδ1's findings in sentences, from its summary."""

from dglib.analysis import wording
from dglib.analysis.grid import TRAPPED
from dglib.analysis.summary import Summary
from dglib.analysis.wording import Words
from dglib.experiments.trapping.summary import ORDERED, PARTIAL

NAMES = {"c_sv": "c_sv", "c_mc": "c_mc", "norm_s": "‖g_s‖", "loss_v": "the clean loss"}


def trapping_words(summary: Summary) -> Words:
    """Where the seeds ended, whether c_sv separated trapped from partial early, and the early signs."""
    names = {TRAPPED: "trapped", PARTIAL: "in partial collapse", ORDERED: "ordered"}
    outcomes = summary["outcomes"]
    ended = wording.listing([f"{outcomes[kind]} {name}" for kind, name in names.items()])
    others = wording.unmeasured(outcomes)
    tail = f"; {'; '.join(others)}" if others else ""
    finding = f"Tδ1: of {wording.seeds(summary['n'])}, {ended} at the end{tail}."
    return Words(finding, dwell_text(summary), (sentence(summary["signs"]),), (_comparison(summary, names),))


def _comparison(summary: Summary, names: dict[str, str]) -> str:
    early = summary["early"]
    difference = early["difference"].get("c_sv")
    if difference is None:
        absent = [names[kind] for kind in (TRAPPED, PARTIAL) if not early[kind]]
        return f"No early comparison: no seed with step logs ended {wording.listing(absent, 'or')}."
    verdict = "an early divergence" if early["early_divergence"] else "no early divergence"
    return (
        f"Over epochs 0 to {early['last_epoch']} the mean c_sv of trapped seeds less that of partial "
        f"ones is {wording.decimal(difference, 3)} (limit {wording.level(early['limit'])}): {verdict}."
    )


def dwell_text(summary: Summary) -> str:
    """There is one level: the dwell time is the whole training."""
    levels = wording.listing([wording.level(level) for level in summary["levels"]])
    time = wording.listing([str(epochs) for epochs in summary["epochs"]], "or")
    duration = f"{time} epochs{f' at λ = {levels}' if levels else ''}" if time else "not recorded"
    return f"Dwell time: {duration}; LR: {wording.rates(summary['dwell']['lr'])}"


def sentence(signs: Summary) -> str:
    """What the early tests come to, in one sentence, from `signs.summarise_signs`."""
    sizes, family = _sizes(signs), signs["family"]
    if family is None:
        lacking = f"{_needed(signs)} would be needed" if signs["needed"] else "every seed must be logged then"
        return f"For an early test {lacking}."
    if signs["needed"]:
        return (
            f"Early signs could not be tested: with {sizes} no p goes below {p_value(signs['smallest_p'])},"
            f" whatever the logs hold; {_needed(signs)} would be needed."
        )
    reach = f"{sizes} reach {p_value(signs['smallest_p'])} at best"
    if signs["sign"]:
        sign = signs["sign"]
        return (
            f"Early sign: {_named(sign)} separates them ({_area(sign)}; corrected p = "
            f"{p_value(sign['p_corrected'])}, {reach}) better than the test error by then"
            f" (AUC {wording.decimal(sign['error_auc'])}){_lead(sign)}."
        )
    best = min(family["tests"], key=lambda test: test["p_corrected"])
    if best["p_corrected"] <= signs["level"]:
        error = best["error_auc"]
        but = "had not been evaluated" if error is None else f"does as well (AUC {wording.decimal(error)})"
        return (
            f"No early sign: {_named(best)} separates them ({_area(best)}; corrected p = "
            f"{p_value(best['p_corrected'])}, {reach}), but the test error by then {but}."
        )
    return (
        f"No early sign: of {len(family['tests'])} tests the smallest corrected p is"
        f" {p_value(best['p_corrected'])} ({reach}), which with so few seeds does not rule one out."
    )


def paragraphs(signs: Summary) -> list[str]:
    """The analysis at more length: what was tested, how little it proves, the error's settling, the scan."""
    found = [_design(signs), sentence(signs)] if signs["family"] else [_absent(signs)]
    settled = signs["settled"]
    if settled["median"] is not None:
        found.append(
            "The class that the test error itself gives was settled for good from epoch"
            f" {settled['median']:g} on (median over these seeds; {settled['min']} to {settled['max']})."
            " A sign is worth having only before that, and only if it beats the error by then."
        )
    if signs["scan"]:
        found.append(_scan(signs["scan"]))
    return found


def p_value(p: float) -> str:
    """Two digits that count: 0.33, 0.017, 0.00054; of less than 0.0001, that."""
    if p < 0.0001:
        return "less than 0.0001"
    return f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def _design(signs: Summary) -> str:
    family = signs["family"]
    count = len(family["tests"])
    labellings = (
        f"all {family['labellings']:,}" if family["enumerated"] else f"{family['labellings']:,} random"
    )
    words = (
        f"Planned beforehand: {family['planned']} tests of trapped against partial seeds (c_sv, c_mc, ‖g_s‖"
        f" and the clean loss at single epochs, and the mean c_sv of the first), over {labellings}"
        f" assignments of the labels to {_sizes(signs)}, corrected by the largest statistic of {count}."
    )
    if count < family["planned"]:
        words += f" {family['planned'] - count} of them could not be made: not every seed was logged there."
    if signs["without_logs"]:
        words += f" {wording.seeds(len(signs['without_logs']))} without step logs could not be used."
    return (
        f"{words} The smallest p that can come out is {p_value(signs['smallest_p'])}, two-sided."
        " So few seeds show at most a large difference, and finding none proves little."
    )


def _absent(signs: Summary) -> str:
    lacking = [name for name in ("trapped", "partial") if not signs[name]]
    if not lacking:
        return f"No early test: no planned epoch was logged in all of {_sizes(signs)}."
    words = f"No early test: no seed with step logs ended {wording.listing(lacking, 'or')}"
    return f"{words} ({_sizes(signs)}). {sentence(signs)}"


def _scan(scan: Summary) -> str:
    words = (
        f"Exploratory: over all epochs, {scan['tests']} tests, the clearest is {_named(scan['best'])}"
        f" ({_area(scan['best'])}; p = {p_value(scan['best']['p_corrected'])} corrected for all of these)"
    )
    earliest = scan["earliest"]
    if earliest:
        words += f"; the earliest that also beats the test error is {_named(earliest)}"
    return f"{words}. What is found by searching must be shown again on new seeds."


def _sizes(signs: Summary) -> str:
    return f"{signs['trapped']} trapped and {signs['partial']} partial seeds"


def _needed(signs: Summary) -> str:
    needed = signs["needed"]
    if len(needed) == 2:
        return f"at least {needed['trapped']} seeds of each class"
    (name, count), other = next(iter(needed.items())), {"trapped": "partial", "partial": "trapped"}
    return f"at least {count} {name} seeds with the {signs[other[name]]} {other[name]}"


def _named(test: Summary) -> str:
    name = NAMES[test["quantity"]]
    if test["first_epoch"] == test["last_epoch"]:
        return f"{name} in epoch {test['last_epoch']}"
    return f"the mean {name} of epochs {test['first_epoch']} to {test['last_epoch']}"


def _area(test: Summary) -> str:
    ends = " to ".join(wording.decimal(test[end]) for end in ("lower", "upper"))
    return f"AUC {wording.decimal(test['auc'])}, 95 % interval {ends}"


def _lead(sign: Summary) -> str:
    lead = sign["lead"]
    if lead is None:
        return ""
    median = lead["median"]
    side = "before" if median >= 0 else "after"
    spread = f"{lead['min']} to {lead['max']}".replace("-", "−")
    return f", {abs(median):g} epochs {side} that settles (median lead; {spread})"
