"""What makes two runs the same run: what was given and what it holds, not where it lies or when it came."""

import importlib
import json
import linecache
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from small import CPU, StopAfter, random_data, small_spec

import dglib
from dglib.cli import main
from dglib.errors import UserError
from dglib.files import sealed, to_json, unsealed
from dglib.runs import checkpoint, identity
from dglib.runs.checkpoint import Saving
from dglib.runs.seed import run_hashes

N = 60
TINY = ["dataset=data.npz", "init_epochs=1", "milestones=[]", "evaluate_every=1", "network_width=0.25"]

MODULE = '''
"""A network and two noises."""
import numpy as np
from torch import nn
from a_part import SHIFT

def net(input_shape, classes, width):
    """Without hidden layers."""
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(input_shape)), classes))

def noise(labels, rate, seed, classes):
    n = int(rate * len(labels))
    return np.concatenate([(labels[:n] + SHIFT) % classes, labels[n:]])
'''


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A working directory with a data set, a module and its part, imported anew at each start of dglib."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr("dglib.campaign.run.draw_figures", lambda *_: [], raising=False)  # takes seconds
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (N, 8, 8), dtype=np.uint8)
    labels = np.arange(N) % 10
    np.savez("data.npz", x_train=images, y_train=labels, x_test=images[:20], y_test=labels[:20])
    Path("a_module.py").write_text(MODULE)
    Path("a_part.py").write_text("SHIFT = 1\n")
    yield tmp_path
    forget()


def forget():
    """As a new process begins."""
    for name in ("a_module", "a_part"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()


@pytest.fixture
def run(tiny_run):
    """Start dglib anew; what it prints."""

    def run(*changes, **options):
        forget()
        status, out, error = tiny_run("dataset=data.npz", *changes, **options)
        assert status == 0, error
        return out

    return run


def directories(base="runs"):
    return sorted(path for path in Path(base).iterdir() if path.is_dir())


def change(path, old, new):
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))


# ── a user's code ──


def test_another_source_or_a_noise_of_other_labels_is_another_directory_and_the_reason_is_printed(run):
    network, noise = "network=a_module:net", "noise=a_module:noise"
    run(network)
    change("a_module.py", "int(np.prod(input_shape))", "round(np.prod(input_shape))")
    differs = "the newest with records of Td1 differs in"
    assert f"{differs} network a_module:net has changed since 20" in run(network)
    run(noise)
    change("a_part.py", "1", "2")  # which the noise imports
    assert "noise a_module:noise gives other labels since 20" in run(noise)
    assert len(directories()) == 4


def cell(number, source, namespace):
    """Run a notebook's cell as IPython does, which leaves its source with `linecache`."""
    name = f"<ipython-input-{number}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    exec(compile(source, name, "exec"), namespace)


CELL = """
@dglib.noises.register("of_a_cell")
def of_a_cell(labels, rate, seed, classes):
    return labels
"""


def test_a_notebooks_cell_is_a_source(run):
    namespace = {"dglib": dglib, "__name__": "__main__"}
    cell(1, CELL, namespace)
    first = dglib.noises.source("of_a_cell")
    cell(2, CELL.replace("\n    return", "  # none\n    return"), namespace)
    assert dglib.noises.source("of_a_cell") == first
    cell(3, CELL.replace("return labels", "return labels * 1"), namespace)
    assert dglib.noises.source("of_a_cell") not in (first, None)


def test_dglibs_own_parts_have_no_hash_so_that_an_update_moves_no_run():
    spec = small_spec("T1")
    assert spec.network.name == "small_cnn"
    assert "hashes" not in identity.describe(spec, "data", run_hashes(spec, random_data()))


# ── directories of earlier releases ──


def as_released(directory):
    """Give a run directory the form of release 0.1.0: no hashes, and paths in the identity."""
    (path,) = directory.glob("*_manifest.json")
    manifest = json.loads(path.read_bytes())
    found = manifest["identity"]
    found.pop("hashes", None)
    for name in ("dataset", "noise"):
        found["spec"]["data"][name] = manifest["parameters"][name]
    manifest["fingerprint"] = identity.fingerprint(found)
    manifest["shared_fingerprint"] = identity.fingerprint(identity.shared_of(found))
    path.write_bytes(to_json(manifest, indent=1))
    for state in directory.glob("checkpoints/*"):
        seed = int(state.stem[-2:])
        saved = replace(checkpoint.read(state), job=identity.job_of(found, seed), hashes={})
        checkpoint.save(state, saved)
        state.with_suffix(".old").unlink(missing_ok=True)


def test_a_run_directory_without_hashes_is_resumed_and_completed_with_its_checkpoints(run):
    parts = ["network=a_module:net", "noise=a_module:noise"]
    run(*parts, "init_epochs=3", seeds="0-1", base="whole")
    settings = [*TINY, *parts, "init_epochs=3", "seeds=0", "base_dir=runs"]
    dglib.run(dglib.load_profile("Td1", "quick", settings))
    again = dglib.load_profile("Td1", "quick", [*settings, "seeds=1"])
    with pytest.raises(KeyboardInterrupt):
        dglib.run(again, control=StopAfter(1))
    (directory,) = directories()
    assert list(directory.glob("checkpoints/*1.ckpt"))
    as_released(directory)
    Path("data.npz").rename("moved.npz")
    parts.append("dataset=moved.npz")
    assert f"resuming {directory.name}" in run(*parts, "init_epochs=3", seeds="0-1")
    assert directories() == [directory]
    assert main(["verify", "runs"]) == 0
    for name in ("00", "01"):
        records = [
            unsealed("seed record", next(Path(base).glob(f"*/seeds/*{name}.json")))
            for base in ("runs", "whole")
        ]
        assert records[0]["error_trajectory"] == records[1]["error_trajectory"]
    change("a_module.py", "nn.Flatten()", "nn.Flatten(1)")
    assert "network a_module:net has changed since" in run(*parts, "init_epochs=3")


# ── the specification grows ──


def test_a_field_that_a_specification_gains_moves_no_fingerprint_at_its_default():
    spec = small_spec("T1")

    @dataclass(frozen=True)
    class StepSpec(type(spec.step)):
        rule: str = "mix"
        options: tuple[str, ...] = ()

    same = replace(spec, step=StepSpec(**vars(spec.step)))
    other = replace(spec, step=StepSpec(**vars(spec.step), rule="sum"))
    one, two, three = (identity.describe(each, "data", device="cpu") for each in (spec, same, other))
    assert identity.fingerprint(one) == identity.fingerprint(two)
    assert identity.fingerprint(one) != identity.fingerprint(three)
    assert identity.job(spec, "data", 0) == identity.job(same, "data", 0) != identity.job(other, "data", 0)


def reseal(path, changed):
    record = unsealed("seed record", path)
    path.write_bytes(sealed("seed record", changed(record)))


def test_a_parameter_that_a_later_release_has_makes_no_two_runs_of_one(run):
    run()
    (directory,) = directories()
    (manifest,) = directory.glob("*_manifest.json")
    content = json.loads(manifest.read_bytes())
    del content["parameters"]["crop_padding"]
    manifest.write_bytes(to_json(content, indent=1))
    (path,) = directory.glob("seeds/*.json")
    reseal(path, lambda r: r | {"parameters": content["parameters"]})
    assert "resuming" in run(seeds="0-1")
    assert main(["verify", "runs"]) == 0
    assert main(["analyse", "runs"]) == 0


# ── records and checkpoints against the manifest ──


def test_verify_compares_the_hashes_that_record_and_manifest_both_have(run, capsys):
    run("network=a_module:net", "noise=a_module:noise")
    (path,) = Path("runs").glob("*/seeds/*.json")
    reseal(path, lambda r: r | {"hashes": r["hashes"] | {"network": "0" * 64}})
    main(["verify", "runs"])
    assert "made with another network than" in capsys.readouterr().out
    reseal(path, lambda r: {k: v for k, v in r.items() if k not in ("hashes", "noise")})
    main(["verify", "runs"])
    assert "made with" not in capsys.readouterr().out


def test_a_checkpoint_of_another_network_or_noise_is_refused(tmp_path):
    data, path = random_data(), tmp_path / "state.ckpt"
    spec = small_spec("Td1", network="a_module:net")
    forget()
    with pytest.raises(KeyboardInterrupt):
        dglib.run_seed(spec, 0, data, CPU, saving=Saving(path), control=StopAfter(2))
    change("a_module.py", "nn.Flatten()", "nn.Flatten(1)")
    forget()
    with pytest.raises(UserError, match="seed 0 began with other code of the network; remove the checkpoint"):
        dglib.run_seed(spec, 0, data, CPU, saving=Saving(path))
