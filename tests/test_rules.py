"""Mixing rules and value sources of a user's own: a file of a few lines, a notebook's cell, papermill."""

import copy
import inspect
import json
import subprocess
import sys
from dataclasses import replace

import my_rules
import pytest
import torch
from replaying import Replaying
from small import CPU, digits, random_data, small_spec
from test_precision import bound

import dglib
from dglib.base_dir import NOTEBOOKS
from dglib.cli import main
from dglib.experiments.profiles import load_profile
from dglib.runs.seed import SeedRun
from dglib.training.step import gradient, mixes, values

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


def moves(settled, recorder=None):
    """The steps' moves under `average`, the second with a held value gradient, and that gradient."""
    spec = small_spec("T1", batch_size=64, refresh_period=2, momentum=0.0, weight_decay=0.0)
    step = replace(spec.step, mix="my_rules:average")
    seed = SeedRun(replace(spec, step=step), 0, digits(), settled)
    if recorder:
        seed.trainer.capture(recorder)
    before = flat(seed.state.params)
    for _ in range(6 if recorder else 3):  # captured after three of a kind
        seed.trainer.advance(seed.state, 0.3, 1e-3, 1)
        yield flat(seed.state.params) - before
        before = flat(seed.state.params)
    yield flat(seed.state.g_v)


def flat(tensors):
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


@pytest.mark.parametrize("technique", ["plain", "compiled", "captured"])
def test_a_rule_that_is_not_scale_free_moves_the_weights_in_fp16_as_in_fp32(technique, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    half = replace(CPU, precision="fp16", compiled=technique == "compiled", fused=technique == "captured")
    recorders = (Replaying(), Replaying()) if technique == "captured" else (None, None)
    sides = zip(moves(half, recorders[0]), moves(CPU, recorders[1]), strict=True)
    for ours, exact in sides:
        assert (ours - exact).norm() < bound("small_cnn ordered", "fp16") * exact.norm()


def manifest(path):
    (found,) = path.glob("**/*_manifest.json")
    return json.loads(found.read_text())["identity"]


def test_a_users_file_runs_through_the_command_line_and_its_source_is_part_of_the_identity(tmp_path, capsys):
    assert main(["run", "Td1", "--base-dir", str(tmp_path), "--set", *TINY, *OWN]) == 0
    found = manifest(tmp_path)
    assert (found["spec"]["step"]["mix"], found["spec"]["step"]["value"]) == tuple(
        word.partition("=")[2] for word in OWN
    )
    assert set(found["hashes"]) == {"mix", "value"}


def test_rules_registered_in_a_cell_run_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(mixes, "_entries", dict(mixes._entries))
    monkeypatch.setattr(values, "_entries", dict(values._entries))

    @dglib.mixes.register("signs")
    def signs(g_s, g_v, lam):
        return [(1 - lam) * s.sign() + lam * v.sign() for s, v in zip(g_s, g_v, strict=True)]

    @dglib.values.register("half")
    def half(batch):
        return batch.x[::2], batch.clean[::2]

    parameters = load_profile("Td1", "quick", [*TINY, "mix=signs", "value=half", f"base_dir={tmp_path}"])
    dglib.run(parameters)
    assert manifest(tmp_path)["spec"]["step"]["mix"] == "signs"


@pytest.mark.slow
def test_a_users_file_runs_through_papermill(tmp_path):
    set_ = {word.partition("=")[0]: word.partition("=")[2] for word in [*TINY, *OWN, f"base_dir={tmp_path}"]}
    words = [word for name, value in set_.items() for word in ("-p", name, value)]
    notebook = str(NOTEBOOKS / "Td1_trapping.ipynb")
    command = [sys.executable, "-m", "papermill", notebook, "out.ipynb", *words, "--start-timeout", "300"]
    (tmp_path / "my_rules.py").write_text(inspect.getsource(my_rules))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert manifest(tmp_path)["spec"]["step"]["mix"] == "my_rules:average"


@pytest.mark.parametrize("kind", ["mix", "value"])
def test_an_error_in_a_rule_while_it_trains_is_one_line_that_names_it(kind, tmp_path, capsys, monkeypatch):
    tried = {"mix": 6, "value": 2}[kind]  # times before anything is written
    monkeypatch.setattr("wrong_rules.calls_left", tried + 1)
    rule = f"{kind}=wrong_rules:late_{kind}"
    assert main(["run", "Td1", "--base-dir", str(tmp_path), "--set", *TINY, rule]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"dglib: error: {kind} 'wrong_rules:late_{kind}' fails: RuntimeError: no more (")
    assert "wrong_rules.py, line" in line
