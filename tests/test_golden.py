"""Golden records: a change of code that moves results is noticed, and must raise RESULTS_VERSION.

`python tests/test_golden.py` writes them anew, together with the version they belong to.
"""

import hashlib
import json
from pathlib import Path

import pytest
from small import CPU, digits, small_spec

from dglib.identity import RESULTS_VERSION
from dglib.runner import run_seed

GOLDEN = Path(__file__).parent / "results" / "golden.json"
# Trainings are chaotic: on another CPU or torch the first epochs agree closely, later ones need not.
EPOCHS, TOLERANCE = 2, 1e-3
SPECS = {
    "T1": small_spec("T1", batch_size=128),
    "T2 augmented": small_spec("T2", batch_size=128, augmentation="crop_flip", crop_padding=1),
    "V3 with dropout": small_spec("V3", batch_size=128, network="vgg11_bn", network_width=0.0625),
    "Td1": small_spec("Td1", batch_size=128),
}


def made(name):
    """What is compared: losses and norms of the first epochs, the first error, and a hash of everything."""
    record = run_seed(SPECS[name], 0, digits(), CPU)
    numerics = record.pop("numerics")
    del record["time"]
    first = next(
        entry for key in sorted(record) if key.endswith("trajectory") for entry in record[key] if entry
    )
    return {
        "first_epochs": [
            {key: epoch[key] for key in ("loss_s", "loss_v", "weight_norm", "update_norm")}
            for epoch in record["epoch_log"][:EPOCHS]
        ],
        "first_loss": first["test_loss"],
        "numerics": numerics,
        "sha256": hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest(),
    }


@pytest.mark.parametrize("name", SPECS)
def test_results_are_those_of_their_results_version(name):
    golden = json.loads(GOLDEN.read_text())
    assert golden["results_version"] == RESULTS_VERSION, "write the golden records of the new version"
    expected, found = golden["records"][name], made(name)
    told = "results have moved: raise RESULTS_VERSION and write the golden records anew"
    for epoch, golden_epoch in zip(found["first_epochs"], expected["first_epochs"], strict=True):
        assert epoch == pytest.approx(golden_epoch, rel=TOLERANCE), told
    assert found["first_loss"] == pytest.approx(expected["first_loss"], rel=20 * TOLERANCE), told
    if found["numerics"] == expected["numerics"]:
        assert found["sha256"] == expected["sha256"], told


if __name__ == "__main__":
    records = {name: made(name) for name in SPECS}
    GOLDEN.write_text(json.dumps({"results_version": RESULTS_VERSION, "records": records}, indent=1) + "\n")
