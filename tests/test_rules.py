"""Mixing rules and value sources of a user's own, in a file of a few lines."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from replaying import Replaying
from small import CPU, digits, random_data, small_spec
from test_precision import bound

import dglib
from dglib.cli import main
from dglib.errors import UserError
from dglib.runs.seed import SeedRun
from dglib.training.registry import Registry
from dglib.training.step import gradient

SPEC = small_spec("T1", batch_size=4, momentum=0.0, weight_decay=0.0)
TINY = ["init_epochs=1", "milestones=[]", "evaluate_every=1", "network_width=0.25", "seeds=0"]
OWN = ["mix=my_rules:average", "value=my_rules:shifted"]


def test_a_step_moves_the_weights_along_the_users_mix_of_the_users_gradients():
    spec = replace(SPEC, step=replace(SPEC.step, mix="my_rules:average", value="my_rules:shifted"))
    seed = SeedRun(spec, 0, random_data(), CPU)
    before, batch = copy.deepcopy(seed.state), seed.trainer.batch(0, 0)
    seed.trainer.advance(seed.state, 0.3, 0.1, 1)
    g_s = gradient(before, batch.x, batch.noisy, CPU)
    g_v = gradient(before, batch.x, (batch.clean + 1) % 10, CPU)
    for p, q, s, v in zip(before.params, seed.state.params, g_s, g_v, strict=True):
        torch.testing.assert_close(p - q, 0.1 * (0.7 * s + 0.3 * v), rtol=1e-4, atol=1e-7)


def moves(settled, recorder):
    """The steps' moves under `average`, the second with a held value gradient, and that gradient."""
    spec = small_spec("T1", batch_size=64, refresh_period=2, momentum=0.0, weight_decay=0.0)
    seed = SeedRun(replace(spec, step=replace(spec.step, mix="my_rules:average")), 0, digits(), settled)
    if recorder:
        seed.trainer.capture(recorder())
    before = flat(seed.state.params)
    for _ in range(6 if recorder else 3):  # captured after three of a kind
        seed.trainer.advance(seed.state, 0.3, 1e-3, 1)
        yield flat(seed.state.params) - before
        before = flat(seed.state.params)
    yield flat(seed.state.g_v)


def flat(tensors):
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


@pytest.mark.parametrize(
    ("technique", "recorder"), [({}, None), ({"compiled": True}, None), ({"fused": True}, Replaying)]
)
def test_a_rule_that_is_not_scale_free_moves_the_weights_in_fp16_as_in_fp32(technique, recorder, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    half = replace(CPU, precision="fp16", **technique)
    for ours, exact in zip(moves(half, recorder), moves(CPU, recorder), strict=True):
        assert (ours - exact).norm() < bound("small_cnn ordered", "fp16") * exact.norm()


def manifest(path):
    (found,) = path.glob("**/*_manifest.json")
    return json.loads(found.read_text())["identity"]


@pytest.mark.slow
def test_a_users_rules_and_metric_run_from_a_command_and_the_metric_changes_nothing_else(tmp_path, capsys):
    short = [
        "init_epochs=2",
        "init_error_max=1.0",
        "epochs_per_level=1",
        "sweep_lambdas=[0.5]",
        "return_sweep=false",
    ]
    records = {}
    for name, metrics in {"plain": "[]", "own": "[my_rules:sharpness]"}.items():
        words = [*short, "network_width=0.25", "seeds=0", *OWN, f"metrics={metrics}"]
        assert main(["run", "T1", "--base-dir", str(tmp_path / name), "--set", *words]) == 0
        (path,) = (tmp_path / name).glob("*/T1-spinodal_results.json")
        (records[name],) = json.loads(path.read_text())
    plain, own = (record["trajectory"] for record in records.values())
    sharpness = [point.pop("sharpness") for point in own]
    assert all(0.1 <= value <= 1 for value in sharpness)
    assert (plain, records["plain"]["epoch_log"]) == (own, records["own"]["epoch_log"])
    assert list(dglib.load_records(path.parent).trajectories["sharpness"]) == sharpness
    assert (path.parent / "figures" / "T1-spinodal_metrics.png").exists()
    found = manifest(tmp_path / "own")
    assert found["spec"]["step"].items() >= {"mix": "my_rules:average", "value": "my_rules:shifted"}.items()
    assert found["hashes"].keys() >= {"mix", "value"}


@pytest.mark.parametrize("kind", ["mix", "value"])
def test_an_error_in_a_rule_while_it_trains_is_one_line_that_names_it(kind, tmp_path, capsys, monkeypatch):
    tried = {"mix": 6, "value": 2}[kind]  # times before anything is written
    monkeypatch.setattr("wrong_rules.calls_left", tried + 1)
    rule = f"{kind}=wrong_rules:late_{kind}"
    assert main(["run", "Td1", "--base-dir", str(tmp_path), "--set", *TINY, rule]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"dglib: error: {kind} 'wrong_rules:late_{kind}' fails: RuntimeError: no more (")
    assert "wrong_rules.py, line" in line


not_callable = 3


def cow() -> str:
    return "moo"


@pytest.fixture
def animals() -> Registry[Callable[[], str]]:
    registry: Registry[Callable[[], str]] = Registry("animal")
    registry.register("dog")(cow)
    return registry


def test_a_taken_name_is_refused_unless_the_same_definition_is_run_again_as_in_a_notebooks_cell(animals):
    for sound in ("baa", "maa"):

        @animals.register("sheep")
        def sheep(sound: str = sound) -> str:
            return sound

    with pytest.raises(UserError, match="animal 'sheep' is registered already"):
        animals.register("sheep")(cow)
    assert animals.get("sheep")() == "maa"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no_such_module_anywhere:f", "No module named 'no_such_module_anywhere'"),
        (f"{__name__}:no_such_attribute", "no_such_attribute"),
        (".relative:f", "relative"),
        (f"{__name__}:not_callable", "is no function or class, but 3"),
        ("zoo.animals.cow", "did you mean 'zoo.animals:cow'? allowed are dog, or module:attribute"),
        ("dogg", "is unknown: did you mean 'dog'? allowed are dog, or module:attribute for your own"),
    ],
)
def test_an_unknown_name_is_one_line(animals, name, why):
    with pytest.raises(UserError) as caught:
        animals.get(name)
    message = str(caught.value)
    assert message.startswith(f"animal '{name}' ")
    assert why in message
    assert "\n" not in message


def test_an_error_inside_the_users_module_keeps_its_traceback(animals, tmp_path, monkeypatch):
    (tmp_path / "broken_part.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ZeroDivisionError):
        animals.get("broken_part:f")
