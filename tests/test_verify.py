"""Damaged files are named with what is wrong with them, and nothing is changed."""

import json
import shutil

import pytest
from small import CPU, StopAfter, open_store, random_data, small_spec

from dglib.cli import main
from dglib.control import Interrupted
from dglib.files import sealed, unsealed
from dglib.runs import identity
from dglib.runs.identity import fingerprint
from dglib.runs.seed import run_experiment
from dglib.runs.store import Store
from dglib.runs.verify import verify

DATA = random_data()
# A finished seed 0 of T1 (and of Td1, with its second CSV), and a seed 1 that has two generations.
T1 = small_spec("T1", batch_size=8, init_epochs=2, return_sweep=False)
TD1 = small_spec("Td1", batch_size=8)


def train(store, seed, stop=None):
    control = None if stop is None else StopAfter(stop)
    run_experiment(store, [seed], DATA, CPU, checkpoint_epochs=1, control=control, report=lambda line: None)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    base = tmp_path_factory.mktemp("made") / "runs"
    store = open_store(base, T1, DATA)[0]
    train(store, 0)
    with pytest.raises(Interrupted):
        train(store, 1, stop=7)
    train(open_store(base, TD1, DATA)[0], 0)
    return base


@pytest.fixture
def base(made, tmp_path):
    return shutil.copytree(made, tmp_path / "runs")


@pytest.fixture
def run(base):
    (directory,) = base.glob("exp_T_*")
    return directory


def everything(directory):
    """Contents and times of change of all there is."""
    paths = [directory, *directory.rglob("*")]
    return {p: (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else None) for p in paths}


def test_whole_runs_are_well_and_nothing_is_changed(base, run, capsys):
    assert len(list(run.glob("checkpoints/*"))) == 2
    before = everything(base)
    assert verify(base) == verify(run) == []
    assert main(["verify", str(base)]) == 0
    assert main(["verify", str(run), str(base)]) == 0
    assert everything(base) == before
    out, err = capsys.readouterr()
    assert out.splitlines() == ["2 run directories: all is well"] * 2
    assert err == ""
    assert main(["verify", str(run)]) == 0
    assert capsys.readouterr().out == "1 run directory: all is well\n"


def edited(name, old, new):
    def damage(run):
        path = run / name
        text = path.read_text()
        assert text.count(old)
        path.write_text(text.replace(old, new, 1))

    return damage


def cut(name, size=-3):
    return lambda run: (run / name).write_bytes((run / name).read_bytes()[:size])


def flipped(name, place=-2000):
    def damage(run):
        content = bytearray((run / name).read_bytes())
        content[place] ^= 1
        (run / name).write_bytes(content)

    return damage


def resealed(name, **changes):
    """Another record under a seal that holds, and the views that belong to it."""

    def damage(run):
        record = unsealed("seed record", run / name)
        (run / name).write_bytes(sealed("seed record", {**record, **changes}))
        Store(run, T1).rebuild_views()

    return damage


def misnamed(run):
    shutil.copy(run / MANIFEST, run / "T9_manifest.json")


def other_parameters(run):
    """A record made under other parameters, sealed, brought here with all its views."""
    record = unsealed("seed record", run / RECORD)
    record["parameters"]["lr"] = 0.2
    resealed(RECORD, parameters=record["parameters"])(run)


MANIFEST = "T1-spinodal_manifest.json"
RECORD = "seeds/T1-spinodal-000.json"
NEW, OLD = "checkpoints/T1-spinodal-001.ckpt", "checkpoints/T1-spinodal-001.old"
VIEW, CSV = "T1-spinodal_results.json", "T1-spinodal_results.csv"

# What is done, the file that is named, and the problem.
WRONG = [
    (edited(RECORD, '"outcome": "', '"outcome": "x'), RECORD, "checksum does not match"),
    (other_parameters, RECORD, "made under other parameters than the manifest's: parameters.lr: 0.1 → 0.2"),
    (resealed(RECORD, experiment_id="T1-spinodal-005"), RECORD, "is the record of T1-spinodal-005"),
    (lambda run: (run / RECORD).write_bytes(sealed("seed record", [0])), RECORD, "not a seed's record"),
    (flipped(OLD), OLD, "checksum does not match"),
    (cut(OLD, 40), OLD, "not a checkpoint of dglib"),
    (edited(VIEW, '"seed": 0', '"seed": 1'), VIEW, "not what the seeds' files give"),
    (lambda run: (run / CSV).unlink(), CSV, "missing"),
    (edited(MANIFEST, '"threads": 1', '"threads": 2'), MANIFEST, "fingerprint not that of its identity"),
    (misnamed, "T9_manifest.json", f"belongs in a file called {MANIFEST}"),
    (cut(MANIFEST, 9), MANIFEST, "not a readable manifest"),
    (edited(MANIFEST, '"lr": 0.1,\n', '"lr": 0.3,\n'), RECORD, "parameters.lr: 0.3 → 0.1"),
    (cut(RECORD), RECORD, "not a readable 'dglib seed record 1'"),
    (lambda run: (run / MANIFEST).unlink(), RECORD, "no manifest of its experiment"),
]


@pytest.mark.parametrize(
    ("damage", "name", "problem"), WRONG, ids=[f"{name}: {problem}" for _, name, problem in WRONG]
)
def test_a_wrong_file_is_named_and_nothing_changed(damage, name, problem, base, run, capsys, tmp_path):
    damage(run)
    before = everything(tmp_path)
    status = main(["verify", str(base)])
    assert everything(tmp_path) == before
    *lines, last = capsys.readouterr().out.splitlines()
    wrong = [line for line in lines if line.startswith("wrong: ")]
    assert (status, last.partition(",")[0]) == (1, f"2 run directories: {len(wrong)} wrong")
    (line,) = wrong
    assert line.startswith(f"wrong: {run / name}: ")
    assert problem in line
    assert line.count(str(run)) == 1


def test_a_record_is_checked_also_where_its_manifest_is_damaged(run):
    cut(MANIFEST)(run)
    flipped(RECORD, 200)(run)
    assert [finding.path for finding in verify(run)] == [run / MANIFEST, run / RECORD]


def test_a_manifest_of_other_data_than_its_neighbours_is_wrong(base, run):
    assert open_store(base, small_spec("T2", batch_size=8), DATA)[0].directory == run
    assert verify(run) == []
    manifest = json.loads((run / MANIFEST).read_bytes())
    manifest["identity"]["data"] = "0" * 64
    manifest["fingerprint"] = fingerprint(manifest["identity"])
    manifest["shared_fingerprint"] = fingerprint(identity.shared_of(manifest["identity"]))
    (run / MANIFEST).write_text(json.dumps(manifest))
    (found,) = verify(run)
    assert found.path == run / "T2-spinodal_manifest.json"
    assert found.problem == "its network, data or step are not those of T1 in this directory"


def test_views_are_checked_although_a_record_of_another_experiment_is_damaged(base, run):
    train(open_store(base, small_spec("T2", batch_size=8), DATA)[0], 0)
    flipped(RECORD, 200)(run)
    (run / "T2-spinodal_results.csv").write_text("edited")
    assert [finding.path for finding in verify(run)] == [run / "T2-spinodal_results.csv", run / RECORD]


def test_a_record_that_gives_no_view_is_reported(base):
    (path,) = base.glob("exp_Td1_*/seeds/*.json")
    record = unsealed("seed record", path)
    del record["step_logs"]
    path.write_bytes(sealed("seed record", record))
    (finding,) = verify(base)
    assert finding.path == path.parent.parent / "Td1_results.json"
    assert finding.problem == "the seeds' files do not give it: KeyError('step_logs')"
