"""Going on with other numerics than a seed began with: told in its record, or refused."""

from dataclasses import replace

import pytest
import torch
from small import CPU, StopAfter, random_data, small_spec

from dglib.control import Interrupted
from dglib.errors import UserError
from dglib.numerics import Numerics
from dglib.runner import run_seed

SPEC = small_spec("Td1", batch_size=4, init_epochs=3, log_every=0)  # six steps an epoch


def stopped(path, numerics=CPU):
    with pytest.raises(Interrupted):
        run_seed(SPEC, 0, random_data(), numerics, checkpoint_path=path, control=StopAfter(8))


def elsewhere(monkeypatch, **other):
    """From now on numerics describe another machine; what is computed stays the same."""
    here = CPU.describe()
    monkeypatch.setattr(Numerics, "describe", lambda self: {**here, **other})


def test_a_seed_on_one_machine_has_one_stretch_and_claims_its_bits(tmp_path):
    stopped(tmp_path / "seed.ckpt")
    record = run_seed(SPEC, 0, random_data(), CPU, checkpoint_path=tmp_path / "seed.ckpt")
    assert record["bitwise"] is True
    assert record["numerics"] == [{"from_step": 0, **CPU.describe()}]


@pytest.mark.parametrize(
    "other",
    [
        {"device": "cuda", "device_name": "a GPU"},
        {"device_name": "another CPU"},
        {"precision": "bf16"},
        {"torch": "9.9"},
        {"threads": 2},
    ],
)
def test_another_device_precision_or_torch_begins_a_stretch_that_claims_no_bits(other, tmp_path, monkeypatch):
    stopped(tmp_path / "seed.ckpt")
    elsewhere(monkeypatch, **other)
    record = run_seed(SPEC, 0, random_data(), CPU, checkpoint_path=tmp_path / "seed.ckpt")
    assert record["bitwise"] is False
    assert [stretch["from_step"] for stretch in record["numerics"]] == [0, 8]
    for name, value in other.items():
        assert record["numerics"][1][name] == value != record["numerics"][0][name]


def test_exact_mode_refuses_to_go_on_elsewhere_and_names_what_differs(tmp_path, monkeypatch):
    path, exact = tmp_path / "seed.ckpt", replace(CPU, exact=True)
    stopped(path, exact)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        elsewhere(patch, device_name="another CPU")
        with pytest.raises(UserError, match=r"seed 0 began with other numerics .*→ another CPU.*exact"):
            run_seed(SPEC, 0, random_data(), exact, checkpoint_path=path)
    assert path.read_bytes() == before
    assert run_seed(SPEC, 0, random_data(), exact, checkpoint_path=path)["bitwise"] is True


def test_torchs_switches_are_set_for_the_run_and_put_back():
    cudnn = torch.backends.cudnn
    before = torch.get_num_threads(), cudnn.deterministic, torch.are_deterministic_algorithms_enabled()
    with Numerics("cpu", 2, exact=True).applied():
        assert torch.get_num_threads() == 2
        assert cudnn.deterministic
        assert not cudnn.benchmark
        assert torch.are_deterministic_algorithms_enabled()
    after = torch.get_num_threads(), cudnn.deterministic, torch.are_deterministic_algorithms_enabled()
    assert after == before


@pytest.mark.parametrize("device", ["gpu", "cpu:0", "cuda:x", "cuda:99"])
def test_an_impossible_device_is_refused_in_a_line(device):
    with pytest.raises(UserError, match=f"device = '{device}'"):
        Numerics.resolve(device)
