"""Every kind of mistake in one table: exit status 2, one line that says what and where, nothing written."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dglib import cli

ROOT = Path(__file__).parent.parent
PIXELS, LABELS = np.zeros((6, 8, 8), np.uint8), np.arange(6) % 3
GOOD = {"x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS, "y_test": LABELS}


def archive(**changes):
    """The bytes of an .npz that is good but for some arrays; None leaves one out."""
    file = io.BytesIO()
    arrays = {name: array for name, array in {**GOOD, **changes}.items() if array is not None}
    np.savez(file, **arrays)
    return file.getvalue()


def zipped_text():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("readme.txt", "no arrays")
    return file.getvalue()


# What is wrong, and the bytes.
ARCHIVES = {
    "y_test missing: must contain x_train, y_train, x_test, y_test": archive(y_test=None),
    "x_train is empty: its shape is (0, 1, 8, 8)": archive(x_train=PIXELS[:0], y_train=LABELS[:0]),
    "y_train has length 5: must be 6, as x_train has": archive(y_train=LABELS[:5]),
    "x_train has shape (6, 64): must be (n, H, W) or": archive(x_train=PIXELS.reshape(6, 64)),
    "x_train has shape (6, 3, 8, 8): must be (n, H, W, C)": archive(x_train=np.zeros((6, 3, 8, 8))),
    "x_test has channels, height, width (1, 7, 8): must be (1, 8, 8)": archive(x_test=PIXELS[:, 1:]),
    "x_train has dtype int16: must be uint8, or floating": archive(x_train=PIXELS.astype(np.int16)),
    "x_train contains NaN or infinity": archive(x_train=np.full((6, 8, 8), np.nan)),
    "to 1.5: floating pixels must be in [0, 1]": archive(x_train=PIXELS + 1.5),
    "y_train has dtype float64: must be integers": archive(y_train=LABELS + 0.5),
    "y_train has labels from -1 to 1: must be within 0 to 1": archive(y_train=LABELS - 1),
    "y_test has labels from 3 to 5: must be within 0 to 2": archive(y_test=LABELS + 3),
    "y_train cannot be read: Object arrays": archive(y_train=np.array([{"a": 1}] * 6, dtype=object)),
    "x_train, y_train, x_test, y_test missing": zipped_text(),
    "cannot be read as an .npz file: ": archive()[:300],
    "cannot be read as an .npz file: File": b"x_train, y_train\n",
}
FILES = {
    "typo.yaml": "noise_rat: 0.4\n",
    "broken.yaml": "lr: 0.1\nsweep_lambdas: [0.4, 0.5\n",
    "list.yaml": "- 0.4\n- 0.5\n",
    "wrong.yaml": "noise_rate: 1.2\n",
}
# The mistake, the command, and its line: file or option … field … value … what is allowed.
RUN = [
    ("typo in an option", "run T1 --set noise_rat=0.4", "--set … noise_rat … 0.4 … noise_rate"),
    ("typo in a file", "run T1 -f typo.yaml", "typo.yaml … noise_rat … 0.4 … noise_rate"),
    ("seed 1.5", "run T1 --seeds 1.5", "--seeds … seeds … 1.5 … whole numbers"),
    ("unknown experiment", "run T9", "experiment … T9 … T1, T2, Hold, V3, Td1 or loop"),
    ("no experiment", "run", "required … EXPERIMENT"),
    ("a file in no home", "run ~nosuchuser/my.py", "experiment file … ~nosuchuser/my.py … no home directory"),
    ("YAML that does not parse", "run T1 -f broken.yaml", "broken.yaml … YAML … line 3"),
    ("value that does not parse", "run T1 --set lr=[1", "--set … lr=[1 … YAML"),
    ("missing file", "run T1 -f none.yaml", "none.yaml … No such file"),
    ("unknown profile", "run T1 --profile fast", "profile … fast … quick, paper or small"),
    ("undecodable bytes", "run T1 --set \udcce\udcbb=0.3", r"--set … \udcce\udcbb … a parameter's name"),
    ("a NUL", r'run T1 --set base_dir="a\0b"', r"base_dir = 'a\x00b' … no file can have this name"),
    ("--set without =", "run T1 --set lr", "--set … lr … name=value"),
    (
        "base directory is a file",
        "run T1 --base-dir typo.yaml",
        "--base-dir … base_dir … typo.yaml … directory",
    ),
    ("empty base directory", "run T1 --base-dir=", "--base-dir … base_dir … '' … not be empty"),
    ("unknown device", "run T1 --device gpu", "--device … device … gpu … auto, cpu, cuda or cuda:N"),
]
CAMPAIGN = [
    ("typo for one", "--set T2.noise_rat=0.4", "--set … T2.noise_rat = 0.4 … did you mean noise_rate"),
    ("only another has it", "--only V3 --set init_epochs=3", "--set … init_epochs … 3 … V3 has no such"),
    ("one not asked for", "--only T1 --set T2.lr=1", "--set … T2.lr = 1 … must be of T1"),
    ("unknown experiment", "--only T1 T9", "experiment … T9 … T1, T2, Hold, V3, Td1 or loop"),
    ("twice the same", "--only T1 T1", "--only T1 T1 … once"),
    ("no experiment", "--only", "--only … at least one"),
    ("workers in words", "--workers two", "--workers … 'two' … whole number"),
    ("no such GPU", "--gpus 99", "--gpus 99 … 99 … not there: torch sees"),
    ("GPUs and a device", "--gpus 0 --device cpu", "--gpus 0 … device = 'cpu' … auto or cuda"),
    ("a cluster and workers", "--cluster tcp://h:1 --workers 2", "--workers 2 … cluster"),
    ("a cluster and GPUs", "--cluster tcp://h:1 --gpus 0", "--gpus 0 … cluster"),
    ("a cluster and a mirror", "--cluster tcp://h:1 --mirror", "--cluster tcp://h:1 … no mirror"),
    ("a cluster and a GPU", "--cluster tcp://h:1 --device cuda:1", "--cluster … device = 'cuda:1' … cuda"),
    ("no cluster", "--cluster slurm:my.yaml", "slurm:my.yaml … tcp://HOST:PORT … docs/running.md … Slurm"),
    ("no such grid", "--grid nowhere", "grid … nowhere … phase_diagram"),
    ("a grid and experiments", "--grid phase_diagram --only T1", "--only … grid"),
    ("a crossed name set", "--grid phase_diagram --set noise_rate=0.1", "--set … noise_rate = 0.1 … crossed"),
    ("status of nothing", "status --base-dir nowhere", "nowhere … no jobs … dglib list --base-dir"),
    ("base directory is a file", "--base-dir file", "--base-dir … base_dir … file … directory"),
    ("two base directories", "--set T1.base_dir=a T2.base_dir=b", "base_dir … a and … b … one for all"),
    ("a device that is not there", "--device cuda:99", "device … cuda:99 … torch sees"),
    ("a data set that is not there", "--set Td1.dataset=none.npz", "none.npz"),
    ("a data set without arrays", "--set Td1.dataset=part.npz", "part.npz … y_train"),
    ("unknown network", "--set T2.network=small_cn", "network … small_cn … did you mean 'small_cnn'"),
    ("unknown noise", "--set noise=symetric", "noise … symetric … did you mean 'symmetric'"),
]
# What users give, in `users_parts` and `wrong_rules`, and what is wrong with it.
NOISES = {
    "ignored_class": "gives labels from -100 to 9: must be 1400 integers from 0 to 9",
    "twice": "gives int64 of shape (2800,): must be 1400 integers",
    "nothing": "gives object of shape (): must be 1400 integers",
    "fails": "fails: IndexError: index 1400 is out of bounds … users_parts.py, line ",
    "unseeded": "gives other labels when it is called again",
    "nonsense_declared": "expects a rate of 40: must be a number from 0 to 1",
}
NETWORKS = {
    "too_many_outputs": "must be logits of shape (2, 10)",
    "not_finite": "must be finite floating logits",
    "changes_its_input": "changes the images",
    "without_gradient": "gives logits without a gradient",
    "unused": "does not use its parameters head.weight, head.bias",
    "frozen": "has parameters that are not trained",
    "the_same_each_time": "gives the same parameters at each call",
    "cumulative two_pass_statistics=true": "has a BatchNorm with momentum None",
}
RULES = {
    "mix=wrong_rules:too_few": "gives 13 tensors: must be 14, one per parameter",
    "mix=wrong_rules:double": "gives torch.float64 (8, 1, 3, 3) for parameter 0",
    "mix=wrong_rules:infinite": "gives values that are not finite for parameter 0",
    "mix=wrong_rules:in_place": "changes the gradients that it is given",
    "mix=wrong_rules:two_arguments": "TypeError",
    "mix=wrong_rules:number_alone": "at lam = 0, a 0-dim float64 tensor, fails: RuntimeError",
    "mix=wrong_rules:halves_lam": "changes lam",
    "mix=wrong_rules:divides_by_the_rest": "at lam = 1 fails: ZeroDivisionError",
    "value=wrong_rules:other_images": "gives images torch.float32 (64, 1, 7, 8)",
    "value=wrong_rules:first_eight": "gives labels torch.int64 (64,): must be torch.int64 (8,)",
    "value=wrong_rules:not_all_batches": "gives images torch.float32 (0, 1, 8, 8)",
    "value=wrong_rules:not_a_number": "gives images that are not finite",
    "value=wrong_rules:darkens": "changes the batch that it is given",
    "value=wrong_rules:no_class": "gives labels outside 0 to 9",
    "value=clear": "did you mean 'clean'?",
}
METRICS = {
    "users_parts:vector": "gives a tensor of shape (8,): must be one number",
    "users_parts:zeroes": "changes the logits or labels",
    "users_parts:no_metric": "fails: AttributeError … users_parts.py, line ",
    "users_parts:error": "is the name of another field of an evaluation",
    "sharpnes": "is unknown",
}
# These reach data, network and machine. The program comes first.
DEEPER = [
    *[
        ("dglib", why, f"run T1 --set dataset={i}.npz batch_size=3", f"{i}.npz … {why}")
        for i, why in enumerate(ARCHIVES)
    ],
    ("dglib", "absent data", "run T1 --set dataset=absent.npz", "absent.npz: no such file"),
    ("dglib", "unknown data set", "run T1 --set dataset=mnist", "mnist … digits"),
    ("dglib", "unknown network", "run T1 --set network=resnet19", "resnet19 … resnet18"),
    ("dglib", "no such module", "run T1 --set network=nowhere:net", "nowhere"),
    ("dglib", "no network", "run T1 --set network=builtins:slice", "builtins:slice … torch.nn.Module"),
    ("dglib", "width of a ResNet", "run T1 --set network=resnet18", "network_width = 0.5 … one width, 1"),
    ("dglib", "a last batch of one", "run V3 --set batch_size=1399", "batch_size = 1399 … one"),
    ("dglib", "mean of two channels", "run T1 --set pixel_mean=[0.1,0.2]", "pixel_mean"),
    ("dglib", "no CUDA device 99", "run T1 --device cuda:99", "cuda:99 … auto or cpu"),
    *[
        ("dglib", f"noise {name}", f"run Td1 --set noise=users_parts:{name}", f"'users_parts:{name}' {why}")
        for name, why in NOISES.items()
    ],
    ("dglib", "noise of seed 1", "run Td1 --seeds 0-1 --set noise=users_parts:second_seed_fails", "(1399,)"),
    *[
        (
            "dglib",
            f"network {name}",
            f"run Td1 --set network=users_parts:{name}",
            f"network … {name.split()[0]}' … {why}",
        )
        for name, why in NETWORKS.items()
    ],
    (
        "dglib",
        "unreadable data",
        "run T1 --set dataset=users_parts:unreadable",
        "fails: FileNotFoundError: no",
    ),
    *[
        ("dglib", rule, f"run Td1 --set {rule}", f"{rule.partition('=')[2]}' … {why}")
        for rule, why in RULES.items()
    ],
    *[
        ("dglib", f"metric {name}", f"run T1 --set metrics=[{name}]", f"'{name}' … {why}")
        for name, why in METRICS.items()
    ],
    ("dglib", "start from nothing", "run T1 --start-from nowhere", "--start-from nowhere … a run of T1"),
    ("dglib", "verify nothing", "verify nowhere", "nowhere"),
]
TABLE = [
    *[("dglib", *row) for row in RUN],
    *[("run_all", *row) for row in CAMPAIGN],
    *DEEPER,
]
PROGRAMS = {"dglib": cli.main, "run_all": cli.run_all}


def contents():
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("program", "mistake", "command", "says"), TABLE, ids=[f"{row[0]}: {row[1]}" for row in TABLE]
)
def test_a_mistake_gets_one_line_and_status_2_and_writes_nothing(
    program, mistake, command, says, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        Path(name).write_text(content)
    for number, content in enumerate(ARCHIVES.values()):
        Path(f"{number}.npz").write_bytes(content)
    Path("file").touch()
    np.savez("part.npz", x_train=np.zeros((2, 8, 8), np.uint8))
    before = contents()
    assert PROGRAMS[program](command.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(f"{program}: error: ")
    place = 0
    for word in ["error: ", *says.split(" … ")]:
        assert word in line[place:], f"{word!r} is missing, or out of order, in: {line}"
        place = line.index(word, place) + len(word)
    assert contents() == before


def test_bad_input_ends_the_process_with_status_2_before_torch_is_imported(tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    for program in (["-m", "dglib", "run", "T1"], [ROOT / "run_all.py"]):
        done = subprocess.run(
            [sys.executable, *program, "--seeds", "x"],
            env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert "error: --seeds: seeds = 'x'" in done.stderr
        assert len(done.stderr.splitlines()) == 1
