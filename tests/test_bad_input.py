"""Every kind of mistake in one table: exit status 2, one line that says what and where, nothing written."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import test_cli
import test_run_all

from dglib import cli
from dglib.campaign import command as campaign

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


ARCHIVES = {
    "missing.npz": archive(y_test=None),
    "empty.npz": archive(x_train=PIXELS[:0], y_train=LABELS[:0]),
    "short.npz": archive(y_train=LABELS[:5]),
    "flat.npz": archive(x_train=PIXELS.reshape(6, 64), x_test=PIXELS.reshape(6, 64)),
    "signed.npz": archive(x_train=PIXELS.astype(np.int16), x_test=PIXELS.astype(np.int16)),
    "nan.npz": archive(x_train=np.full((6, 8, 8), np.nan), x_test=PIXELS / 1.0),
    "bright.npz": archive(x_train=PIXELS + 1.5, x_test=PIXELS / 1.0),
    "halves.npz": archive(y_train=LABELS + 0.5),
    "negative.npz": archive(y_train=LABELS - 1),
    "beyond.npz": archive(y_test=LABELS + 3),
    "pickled.npz": archive(y_train=np.array([{"a": 1}] * 6, dtype=object)),
    "other.npz": zipped_text(),
    "torn.npz": archive()[:300],
    "text.npz": b"x_train, y_train\n",
}
# These reach data, network and machine. The program, the mistake, the command, what its line says.
DEEPER = [
    *[
        ("dglib", f"data in {name}", f"run T1 --set dataset={name} batch_size=3", name)
        for name in [*ARCHIVES, "absent.npz"]
    ],
    ("dglib", "unknown data set", "run T1 --set dataset=mnist", "mnist … digits"),
    ("dglib", "unknown network", "run T1 --set network=resnet19", "resnet19 … resnet18"),
    ("dglib", "unknown noise", "run T1 --set noise=symetric", "symetric … symmetric"),
    ("dglib", "no such module", "run T1 --set network=nowhere:net", "nowhere"),
    ("dglib", "no such attribute", "run T1 --set network=math:net", "math … net"),
    ("dglib", "no network", "run T1 --set network=builtins:slice", "builtins:slice … torch.nn.Module"),
    ("dglib", "width of a ResNet", "run T1 --set network=resnet18", "network_width = 0.5 … one width, 1"),
    ("dglib", "a last batch of one", "run V3 --set batch_size=1399", "batch_size = 1399 … one"),
    ("dglib", "mean of two channels", "run T1 --set pixel_mean=[0.1,0.2]", "pixel_mean"),
    ("dglib", "no CUDA device 99", "run T1 --device cuda:99", "cuda:99 … auto or cpu"),
    ("dglib", "fork of nothing", "fork nowhere --seed 0 --at 3", "nowhere"),
    ("dglib", "verify nothing", "verify nowhere", "nowhere"),
    ("run_all", "no CUDA device 99", "--device cuda:99", "cuda:99 … auto or cpu"),
    ("run_all", "a data set that is not there", "--set dataset=absent.npz", "absent.npz"),
]
TABLE = [
    *[("dglib", *row) for row in test_cli.BAD_INPUT],
    *[("run_all", *row) for row in test_run_all.BAD_INPUT],
    *DEEPER,
]
PROGRAMS = {"dglib": cli.main, "run_all": campaign.main}


def contents():
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def test_the_table_is_long_enough_to_mean_something():
    assert len({(program, command) for program, _, command, _ in TABLE}) >= 60


@pytest.mark.parametrize(
    ("program", "mistake", "command", "says"), TABLE, ids=[f"{row[0]}: {row[1]}" for row in TABLE]
)
def test_a_mistake_gets_one_line_and_status_2_and_writes_nothing(
    program, mistake, command, says, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for name, content in test_cli.FILES.items():
        Path(name).write_text(content)
    for name, content in ARCHIVES.items():
        Path(name).write_bytes(content)
    Path("file").touch()
    np.savez("part.npz", x_train=np.zeros((2, 8, 8), np.uint8))
    before = contents()
    assert PROGRAMS[program](command.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    place = 0
    for word in ["error: ", *says.split(" … ")]:
        assert word in line[place:], f"{word!r} is missing, or out of order, in: {line}"
        place = line.index(word, place) + len(word)
    assert "Traceback" not in line
    assert contents() == before
