"""Synthetic records for the tests of the analysis: smooth curves of known thresholds, in both formats."""

import math
from typing import Any

Record = dict[str, Any]

UP_LEVELS = [0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70]
DOWN_LEVELS = [0.55, 0.50, 0.45, 0.40, 0.35, 0.30, 0.25]
ALL_LEVELS = [0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70]
DWELL = 4
LR = 0.1

SPREAD = [41, 39, 40, 42, 38, 40, 37, 41, 40, 39]  # predicted classes of a working network
CONSTANT = [0, 0, 397, 0, 0, 0, 0, 0, 0, 0]


def evaluation(phase: str, level: float, epoch: int, error: float | None, constant: bool = False) -> Record:
    """One evaluation in our format; error None: the logits were not finite."""
    return {
        "phase": phase,
        "lambda": level,
        "epoch": epoch,
        "error": error,
        "test_loss": None if error is None else 1.0 + error,
        "predicted": CONSTANT if constant else SPREAD,
        "finite": error is not None,
        "lr": LR,
    }


def wobble(seed: int, epoch: int) -> float:
    """A small reproducible scatter, so that no two seeds draw the same line."""
    return 0.02 * math.sin(7.3 * seed + 1.7 * epoch)


def _common(experiment: str, prefix: str, seed: int, **parameters: Any) -> Record:
    return {
        "seed": seed,
        "experiment": experiment,
        "experiment_id": f"{prefix}-{seed:03d}",
        "eta": 0.4,
        "time": 10.0,
        "epochs_per_level": DWELL,
        "lr": LR,
        "sweep_lr": LR,
        "parameters": {"epochs_per_level": DWELL, "lr": LR, "sweep_lr": LR, **parameters},
        "epoch_log": [],
    }


def _sweep(
    seed: int, levels: list[float], start: int, phase: str, error: Any, stop: float | None
) -> list[Record]:
    found = []
    for index, level in enumerate(levels):
        for k in range(DWELL):
            epoch = start + index * DWELL + k + 1
            found.append(evaluation(phase, level, epoch, error(level) + wobble(seed, epoch)))
        if level == stop:
            break
    return found


def _swept(record: Record, init: list[Record], sweep: list[Record], flag: str, at: float | None) -> Record:
    level = {"collapsed": "lambda_up", "recovered": "lambda_down"}[flag]
    return record | {
        "init_error": init[-1]["error"],
        "init_success": True,
        level: at,
        flag: at is not None,
        "final_lambda": sweep[-1]["lambda"],
        "final_error": sweep[-1]["error"],
        "trajectory": init + sweep,
        "outcome": flag if at else "no_event",
    }


def t1(seed: int = 0, up: float | None = 0.60, back: float | None = None, returns: bool = False) -> Record:
    """A T1 seed that collapses at `up` and, with `returns`, recovers at `back`; None: never."""
    record = _common("T1", "T1-spinodal", seed, init_lambda=0.35, sweep_lambdas=UP_LEVELS, collapse_error=0.4)
    init = [evaluation("init", 0.35, e, 0.3 - 0.01 * e + wobble(seed, e)) for e in (10, 20)]
    rising = _sweep(seed, UP_LEVELS, 20, "sweep", lambda x: 0.55 if up and x >= up else 0.08, up)
    record = _swept(record, init, rising, "collapsed", up)
    if returns:
        levels = [x for x in reversed(ALL_LEVELS) if up and x < up]
        start = rising[-1]["epoch"]
        falling = _sweep(seed, levels, start, "return", lambda x: 0.15 if back and x <= back else 0.5, back)
        record |= {
            "return_trajectory": falling,
            "return_lambda_down": back,
            "return_recovered": back is not None,
            "return_final_lambda": falling[-1]["lambda"],
            "return_final_error": falling[-1]["error"],
        }
    return record


def t2(
    seed: int = 0, down: float | None = 0.35, trapped: bool = False, leaves: float | None = None
) -> Record:
    """A T2 seed that recovers at `down` (None: never); `trapped`, for good or down to the level `leaves`."""
    record = _common(
        "T2", "T2-spinodal", seed, init_lambda=0.65, sweep_lambdas=DOWN_LEVELS, recovery_error=0.2
    )
    init = [evaluation("init", 0.65, e, 0.8 + wobble(seed, e)) for e in (10, 20)]
    falling = _sweep(seed, DOWN_LEVELS, 20, "sweep", lambda x: 0.14 if down and x <= down else x + 0.1, down)
    if trapped:
        for entry in falling:
            if leaves is None or entry["lambda"] > leaves:
                entry |= {"error": 0.9, "predicted": CONSTANT}
    return _swept(record, init, falling, "recovered", down)


def failed_init(record: Record) -> Record:
    """The same seed, had its init failed: no sweep, no final values."""
    kept = {k: v for k, v in record.items() if not k.startswith(("final_", "return_"))}
    init = [entry for entry in record["trajectory"] if entry["phase"] == "init"]
    return (
        kept | _without_event(record) | {"init_success": False, "trajectory": init, "outcome": "init_failed"}
    )


def _without_event(record: Record) -> Record:
    values = {"lambda_up": None, "collapsed": False, "lambda_down": None, "recovered": False}
    return {field: value for field, value in values.items() if field in record}


def diverged(record: Record) -> Record:
    """The same seed, had its logits ceased to be finite halfway through the sweep without an event.

    Its counts are those of argmax over NaN: class 0 for everything.
    """
    kept = record["trajectory"][: len(record["trajectory"]) // 2]
    last = kept[-1]
    bad = evaluation(last["phase"], last["lambda"], last["epoch"] + 1, None, constant=True)
    final = {"final_lambda": bad["lambda"], "final_error": None, "outcome": "diverged"}
    return record | _without_event(record) | final | {"trajectory": [*kept, bad]}


def published(record: Record) -> Record:
    """The same T1 or T2 seed as the first notebooks wrote it: only the published fields."""
    unpublished = {"experiment", "epochs_per_level", "lr", "sweep_lr", "parameters", "epoch_log", "outcome"}
    kept = {k: v for k, v in record.items() if k not in unpublished and not k.startswith("return_")}
    entry_fields = ("phase", "lambda", "epoch", "error")
    return kept | {"trajectory": [{f: e[f] for f in entry_fields} for e in record["trajectory"]]}


def v3(seed: int = 0, gap: float = 0.3, trapped: bool = False) -> Record:
    """A V3 seed whose collapse branch lies `gap` above the ordered one from λ = 0.45 up."""
    record = _common("V3", "V3", seed, gap_lambda=0.5, gap_error=0.1, sweep_lambdas=ALL_LEVELS)
    epochs = {level: DWELL * (i + 1) for i, level in enumerate(ALL_LEVELS)}
    ordered = [
        evaluation("ordered", x, epochs[x], 0.1 + 0.2 * (x - 0.3) + wobble(seed, i))
        for i, x in enumerate(ALL_LEVELS)
    ]
    collapse = []
    for low, x in zip(reversed(ordered), reversed(ALL_LEVELS), strict=True):
        error = 0.9 if trapped else low["error"] + (gap if x >= 0.45 else gap / 3)
        collapse.append(evaluation("collapse", x, 40 - epochs[x], error, constant=trapped))
    return record | {
        "experiment_id": f"V3-s{seed}",
        "arch": "VGG11-BN",
        "ordered_init": 0.12,
        "collapse_init": 0.9 if trapped else 0.55,
        "ordered_init_success": True,
        "collapse_init_success": True,
        "init_success": True,
        "ordered_trajectory": ordered,
        "collapse_trajectory": collapse,
        "ordered_init_trajectory": [evaluation("ordered_init", 0.35, 20, 0.12)],
        "collapse_init_trajectory": [evaluation("collapse_init", 0.6, 20, 0.55)],
        "outcome": "complete",
    }


def v3_failed(seed: int = 0) -> Record:
    """A V3 seed whose ordered init failed: recorded, not taken further."""
    empty = {f"{name}_trajectory": [] for name in ("ordered", "collapse", "collapse_init")}
    flags = {"ordered_init_success": False, "collapse_init_success": False, "init_success": False}
    values = {"ordered_init": 0.31, "collapse_init": None, "outcome": "init_failed"}
    return v3(seed) | empty | flags | values


def v3_diverged(seed: int = 0) -> Record:
    """A V3 seed whose collapse branch ceased to be finite after two levels."""
    record = v3(seed, trapped=True)
    kept = record["collapse_trajectory"][:2]
    bad = evaluation("collapse", 0.6, 12, None, constant=True)
    return record | {"collapse_trajectory": [*kept, bad], "outcome": "diverged"}


def td1(seed: int = 0, final: float = 0.9, c_sv: float = 0.3, epochs: int = 40) -> Record:
    """A Tδ1 seed that ends at the error `final`, with c_sv constant but for a wobble of mean near 0."""
    record = _common(
        "Td1",
        "Td1",
        seed,
        init_epochs=epochs,
        trapped_error=0.85,
        partial_error=0.4,
        compare_epochs=[5, 10, 20],
    )
    errors = [
        evaluation("init", 0.6, e, final + (0.9 - final) * max(0.0, 1 - e / 20))
        for e in range(5, epochs + 1, 5)
    ]
    logs = [
        {
            "epoch": step // 3,
            "step": 20 * step,
            "c_sv": c_sv + wobble(seed, step),
            "c_mc": 0.6 + wobble(seed, step),
            "norm_s": 1.0 + final,
            "norm_v": 1.2,
            "norm_mix": 0.9,
            "loss_s": 2.2,
            "loss_v": 2.0 - c_sv,
        }
        for step in range(3 * epochs)
    ]
    category = "trapped_90" if final >= 0.85 else "partial_collapse" if final >= 0.4 else "ordered"
    return record | {
        "experiment_id": f"Td1-seed{seed:02d}",
        "lambda": 0.6,
        "final_error": final,
        "category": category,
        "outcome": category,
        "error_trajectory": errors,
        "step_logs": logs,
    }


def td1_diverged(seed: int = 0) -> Record:
    """A Tδ1 seed whose network ceased to be finite: NaN in its logs from epoch 6, no final error."""
    record = td1(seed)
    logs = [
        row | ({"c_sv": math.nan, "loss_v": math.nan} if row["epoch"] >= 6 else {})
        for row in record["step_logs"]
    ]
    errors = [*record["error_trajectory"][:1], evaluation("init", 0.6, 10, None, constant=True)]
    values = {"final_error": None, "category": "diverged", "outcome": "diverged"}
    return record | values | {"error_trajectory": errors, "step_logs": logs}


def hold(seed: int, collapsed: dict[float, list[float]]) -> Record:
    """A seed with a branch from each start for each λ, and the errors of the one that began collapsed."""
    ordered = {lam: [0.05 + lam / 10] * len(errors) for lam, errors in collapsed.items()}
    record: Record = {"seed": seed, "outcome": "complete", "lr": LR}
    for arm, init, held in (("ordered", 0.05, ordered), ("collapse", 0.6, collapsed)):
        record |= {
            f"{arm}_init": init,
            f"{arm}_init_trajectory": [{"epoch": 10, "lambda": 0.4, "error": init}],
            f"{arm}_trajectory": [
                {"epoch": 11 + epoch, "lambda": lam, "error": error}
                for lam, errors in held.items()
                for epoch, error in enumerate(errors)
            ],
        }
    return record


def every_outcome() -> dict[str, list[Record]]:
    """A seed of every outcome and start state, by experiment."""
    return {
        "T1": [t1(0, 0.6, 0.35, True), t1(1, None), failed_init(t1(2)), diverged(t1(3))],
        "T2": [t2(0), t2(1, None, trapped=True), t2(2, 0.3), failed_init(t2(3)), diverged(t2(4, None))],
        "V3": [v3(0), v3(1, 0.4), v3(2, trapped=True), v3_failed(3), v3_diverged(4)],
        "Td1": [td1(0), td1(1, 0.5), td1(2, 0.1), td1_diverged(3)],
    }
