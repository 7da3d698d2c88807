"""Every kind of mistake in one table: exit status 2, one line that says what and where, nothing written."""

import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dglib import benchmark, cli

ROOT = Path(__file__).parent.parent
PIXELS, LABELS = np.zeros((6, 8, 8), np.uint8), np.arange(6) % 3
GOOD = {"x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS, "y_test": LABELS}


def archive(**changes):
    """The bytes of an .npz that is good but for some arrays; None leaves one out."""
    file = io.BytesIO()
    arrays = {name: array for name, array in {**GOOD, **changes}.items() if array is not None}
    np.savez(file, **arrays)
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
    "x_train, y_train, x_test, y_test missing": archive(**dict.fromkeys(GOOD), other=LABELS),
    "x_test cannot be read: Bad CRC-32": archive(x_test=PIXELS + 7).replace(bytes([7] * 8), bytes(8), 1),
    "cannot be read as an .npz file: ": archive()[:300],
    "cannot be read as an .npz file: File": b"x_train, y_train\n",
}
FILES = {
    "typo.yaml": "noise_rat: 0.4\n",
    "broken.yaml": "lr: 0.1\nsweep_lambdas: [0.4, 0.5\n",
    "empty.yaml": "",
    "key.yaml": "true: 1\n",
    "tag.yaml": "lr: !!python/name:os.system\n",
    "deep.yaml": "lr: " + "[" * 500,
}
# The command, and its line: file or option … field … value … what is allowed.
RUN = [
    ("run T1 --set noise_rat=0.4", "--set … noise_rat … 0.4 … noise_rate"),
    ("run T1 --set eta=0.4", "--set … eta … 0.4 … did you mean noise_rate"),
    ("run T1 --set learning_rate=0.1", "--set … learning_rate … 0.1 … did you mean lr?"),
    ("run T1 -f typo.yaml", "typo.yaml … noise_rat … 0.4 … noise_rate"),
    ("run T1 --seeds 1.5", "--seeds … seeds … 1.5 … whole numbers"),
    ("run T9", "experiment … T9 … T1, T2, Hold, V3, Td1 or loop"),
    ("run", "required … EXPERIMENT"),
    ("run ~nosuchuser/my.py", "experiment file … ~nosuchuser/my.py … no home directory"),
    ("run T1 -f broken.yaml", "broken.yaml … YAML … line 3"),
    ("run T1 -f empty.yaml", "empty.yaml: must hold lines of the form name: value"),
    ("run T1 -f key.yaml", "key.yaml: True: a parameter's name must be text"),
    ("run T1 -f tag.yaml", "tag.yaml: is not valid YAML"),
    ("run T1 -f deep.yaml", "deep.yaml: is not valid YAML"),
    ("run T1 --set lr=[1", "--set … lr=[1 … YAML"),
    ("run T1 -f none.yaml", "none.yaml … No such file"),
    ("run T1 --profile fast", "profile … fast … quick, paper or small"),
    ("run T1 --set \udcce\udcbb=0.3", "--set … \\udcce\\udcbb … a parameter's name"),
    ('run T1 --set base_dir="a\\0b"', "base_dir = 'a\\x00b' … no file can have this name"),
    ("run T1 --set lr", "--set … lr … name=value"),
    ("run T1 --base-dir broken.yaml", "--base-dir … base_dir … broken.yaml … directory"),
    ("run T1 --base-dir=", "--base-dir … base_dir … '' … not be empty"),
    ("run T1 --device gpu", "--device … device … gpu … auto, cpu, cuda or cuda:N"),
]
CAMPAIGN = [
    ("--set T2.noise_rat=0.4", "--set … T2.noise_rat = 0.4 … did you mean noise_rate"),
    ("--only V3 --set init_epochs=3", "--set … init_epochs … 3 … V3 has no such"),
    ("--only T1 --set T2.lr=1", "--set … T2.lr = 1 … must be of T1"),
    ("--only T1 T1", "--only T1 T1 … once"),
    ("--only", "--only … at least one"),
    ("--workers two", "--workers … 'two' … whole number"),
    ("--gpus 99", "--gpus 99 … 99 … not there: torch sees"),
    ("--gpus 0 --device cpu", "--gpus 0 … device = 'cpu' … auto or cuda"),
    ("--cluster tcp://h:1 --workers 2", "--workers 2 … cluster"),
    ("--cluster tcp://h:1 --gpus 0", "--gpus 0 … cluster"),
    ("--cluster tcp://h:1 --mirror", "--cluster tcp://h:1 … no mirror"),
    ("--cluster tcp://h:1 --device cuda:1", "--cluster … device = 'cuda:1' … cuda"),
    ("--cluster slurm:my.yaml", "slurm:my.yaml … tcp://HOST:PORT … docs/running.md … Slurm"),
    ("--grid nowhere", "grid … nowhere … phase_diagram"),
    ("--grid phase_diagram --only T1", "--only … grid"),
    ("--grid phase_diagram --set noise_rate=0.1", "--set … noise_rate = 0.1 … crossed"),
    ("status --base-dir nowhere", "nowhere … no jobs … dglib list --base-dir"),
    ("--set T1.base_dir=a T2.base_dir=b", "base_dir … a and … b … one for all"),
    ("--device cuda:99", "device … cuda:99 … torch sees"),
    ("--set Td1.dataset=0.npz", "0.npz … y_test"),
    ("--set noise=symetric", "noise … symetric … did you mean 'symmetric'"),
]
# What users give, in `users_parts` and `wrong_rules`, and what is wrong with it.
GIVEN = {
    "noise=users_parts:ignored_class": "gives labels from -100 to 9: must be 1400 integers from 0 to 9",
    "noise=users_parts:twice": "gives int64 of shape (2800,): must be 1400 integers",
    "noise=users_parts:nothing": "gives object of shape (): must be 1400 integers",
    "noise=users_parts:fails": "fails: IndexError: index 1400 is out of bounds … users_parts.py, line ",
    "noise=users_parts:unseeded": "gives other labels when it is called again",
    "noise=users_parts:nonsense_declared": "expects a rate of 40: must be a number from 0 to 1",
    "network=users_parts:too_many_outputs": "must be logits of shape (2, 10)",
    "network=users_parts:not_finite": "must be finite floating logits",
    "network=users_parts:changes_its_input": "changes the images",
    "network=users_parts:without_gradient": "gives logits without a gradient",
    "network=users_parts:unused": "does not use its parameters head.weight, head.bias",
    "network=users_parts:frozen": "has parameters that are not trained",
    "network=users_parts:the_same_each_time": "gives the same parameters at each call",
    "network=users_parts:cumulative two_pass_statistics=true": "has a BatchNorm with momentum None",
    "network=users_parts:functional_dropout": "draws from torch's global generator",
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
    "metrics=[users_parts:vector]": "gives a tensor of shape (8,): must be one number",
    "metrics=[users_parts:zeroes]": "changes the logits or labels",
    "metrics=[users_parts:no_metric]": "fails: AttributeError … users_parts.py, line ",
    "metrics=[users_parts:error]": "is the name of another field of an evaluation",
    "metrics=[sharpnes]": "is unknown",
    "dataset=users_parts:unreadable data_dir=mine": "fails: FileNotFoundError: no images in mine",
    "dataset=users_parts:no_dataset": "gives int: must be a dglib Dataset",
}
# These reach data, network and machine.
DEEPER = [
    *[(f"run T1 --set dataset={i}.npz batch_size=3", f"{i}.npz … {why}") for i, why in enumerate(ARCHIVES)],
    *[
        (f"run Td1 --set {given}", f"{given.split('=')[1].split()[0].strip('[]')}' … {why}")
        for given, why in GIVEN.items()
    ],
    ("run Td1 --seeds 0-1 --set noise=users_parts:second_seed_fails", "(1399,)"),
    ("run T1 --set dataset=absent.npz", "absent.npz: no such file"),
    ("run T1 --set dataset=mnist", "mnist … digits"),
    (
        "run T1 --set train_size=9",
        "train_size = 9: must be from 10, an image per class, to 1400, all of digits",
    ),
    ("run T1 --set train_size=1401", "train_size = 1401: must be from 10"),
    ("run T1 --set train_size=63", "train_size = 63: must be at least batch_size = 64"),
    ("run T1 --set network=nowhere:net", "nowhere"),
    ("run T1 --set network=small_cn", "network … small_cn … did you mean 'small_cnn'"),
    ("run T1 --set network=builtins:slice", "builtins:slice … torch.nn.Module"),
    ("run T1 --set network=resnet18", "network_width = 0.5 … one width, 1"),
    ("run V3 --set batch_size=1399", "batch_size = 1399 … one"),
    ("run T1 --set pixel_mean=[0.1,0.2]", "pixel_mean"),
    ("run T1 --set device=cpu precision=fp8", "precision … 'fp8' … fp32 … tf32 … bf16 … fp16"),
    ("run T1 --set device=cpu precision=tf32", "precision = 'tf32' … CUDA devices alone"),
    ("run T1 --set device=cpu compiled=yess", "compiled = 'yess' … auto … on … off"),
    ("run T1 --set device=cpu exact=true compiled=on", "exact = true: goes with compiled"),
    ("run T1 --set device=cpu cuda_graphs=on", "cuda_graphs = 'on': needs a CUDA device"),
    ("run T1 --start-from nowhere", "--start-from nowhere … a run of T1"),
    ("verify nowhere", "nowhere"),
]
BENCHMARK = [
    ("--only graps", "graps: must be of machine, "),
    ("--minutes nan", "--minutes nan: must be above 0"),
    ("--json nowhere/report.json", "--json nowhere/report.json: must be a file in a directory that"),
    ("--device cuda:99", "cuda:99"),
]
COMMANDS = {"dglib": RUN + DEEPER, "run_all": CAMPAIGN, "dglib.benchmark": BENCHMARK}
TABLE = [(program, *row) for program, rows in COMMANDS.items() for row in rows]
PROGRAMS = {"dglib": cli.main, "run_all": cli.run_all, "dglib.benchmark": benchmark.main}


def contents():
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


@pytest.mark.parametrize(("program", "command", "line"), TABLE, ids=[" ".join(row[:2]) for row in TABLE])
def test_a_mistake_gets_one_line_and_status_2_and_writes_nothing(
    program, command, line, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        Path(name).write_text(content)
    for number, content in enumerate(ARCHIVES.values()):
        Path(f"{number}.npz").write_bytes(content)
    before = contents()
    assert PROGRAMS[program](command.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert re.match(f"{program}: error: .*" + ".*".join(map(re.escape, line.split(" … "))), err), err
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
