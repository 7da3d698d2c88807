"""CIFAR-10 from an archive of the real layout and pickle format, with 12 images a batch, and its download."""

import hashlib
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from archive_server import ArchiveServer

from dglib.errors import UserError
from dglib.training.data import load_dataset

IMAGES = 12


class Python2Dtype:
    def __reduce__(self):
        return np.dtype, ("u1", 0, 1), (3, "|", None, None, None, -1, -1, 0)


class Python2Array:
    """A uint8 matrix as Python 2's NumPy pickled it in the published files."""

    def __init__(self, array):
        self.array = array

    def __reduce__(self):
        reconstruct = np.zeros(1).__reduce__()[0]
        state = (1, self.array.shape, Python2Dtype(), False, self.array.tobytes())
        return reconstruct, (np.ndarray, (0,), b"b"), state


@pytest.fixture
def cifar_batches(tmp_path, monkeypatch):
    """The batches by name; ``tmp_path/cifar-10-python.tar.gz`` holds them, torchvision expects their MD5s."""
    from torchvision.datasets import CIFAR10

    random = np.random.default_rng(0)
    names = [name for name, _ in CIFAR10.train_list + CIFAR10.test_list]
    batches = {
        name: (random.integers(0, 256, (IMAGES, 3072), dtype=np.uint8), random.integers(0, 10, IMAGES))
        for name in names
    }
    files = {
        name: pickle.dumps({"data": Python2Array(pixels), "labels": labels.tolist()}, protocol=2)
        for name, (pixels, labels) in batches.items()
    }
    files["batches.meta"] = pickle.dumps({"label_names": list("0123456789")}, protocol=2)
    archive = tmp_path / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{CIFAR10.base_folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))

    def md5(content: bytes) -> str:
        return hashlib.md5(content).hexdigest()

    monkeypatch.setattr(CIFAR10, "train_list", [[name, md5(files[name])] for name in names[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [[name, md5(files[name])] for name in names[5:]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5(files["batches.meta"])})
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive.read_bytes()))
    return batches


@pytest.fixture
def nowhere(monkeypatch):
    """Every download fails."""
    monkeypatch.setenv("DGLIB_CIFAR10_URL", "http://127.0.0.1:1/x.tar.gz")


def test_a_copy_of_cifar10s_archive_in_data_dir_is_used_without_network(cifar_batches, tmp_path, nowhere):
    cifar = load_dataset("cifar10", data_dir=tmp_path)
    *train, (test_pixels, test_labels) = cifar_batches.values()
    pixels, labels = (np.concatenate(part) for part in zip(*train, strict=True))
    np.testing.assert_array_equal(cifar.x_train.reshape(-1, 3072), pixels)
    np.testing.assert_array_equal(cifar.y_train, labels)
    np.testing.assert_array_equal(cifar.x_test.reshape(-1, 3072), test_pixels)
    np.testing.assert_array_equal(cifar.y_test, test_labels)
    assert (cifar.input_shape, cifar.classes, cifar.scale) == ((3, 32, 32), 10, 255)
    assert (cifar.mean, cifar.std) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


def test_unpacked_cifar10_needs_no_write_access_to_data_dir(cifar_batches, tmp_path, nowhere):
    load_dataset("cifar10", data_dir=tmp_path)
    (tmp_path / "cifar-10-python.tar.gz").unlink()
    (tmp_path / "cifar10.lock").unlink(missing_ok=True)
    before = sorted(tmp_path.rglob("*"))
    assert len(load_dataset("cifar10", data_dir=tmp_path).x_train) == 5 * IMAGES
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_batch_is_unpacked_again(cifar_batches, tmp_path, nowhere):
    expected = load_dataset("cifar10", data_dir=tmp_path).fingerprint
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"damaged")
    assert load_dataset("cifar10", data_dir=tmp_path).fingerprint == expected


@pytest.fixture
def served(cifar_batches, tmp_path, monkeypatch):
    """A server of the archive, which does not lie in `tmp_path` any more."""
    archive = tmp_path / "cifar-10-python.tar.gz"
    with ArchiveServer(archive.read_bytes()).serving() as server:
        archive.unlink()
        monkeypatch.setenv("DGLIB_CIFAR10_URL", server.url)
        yield server


def test_cifar10_is_downloaded_once_with_progress_and_leaves_archive_and_batches(served, tmp_path, capsys):
    loud = load_dataset("cifar10", data_dir=tmp_path / "loud")
    assert f"cifar10: downloading {served.url}" in capsys.readouterr().err
    assert load_dataset("cifar10", data_dir=tmp_path / "loud").fingerprint == loud.fingerprint
    assert served.asked == [None]
    left = {path.name for path in (tmp_path / "loud").iterdir()}
    assert left == {"cifar-10-python.tar.gz", "cifar-10-batches-py"}
    quiet = load_dataset("cifar10", data_dir=tmp_path / "quiet", progress=False)
    assert capsys.readouterr().err == ""
    assert quiet.fingerprint == loud.fingerprint


def test_an_interrupt_while_unpacking_leaves_no_batch_half_written_and_no_lock(served, tmp_path, monkeypatch):
    original, left = tarfile.TarFile.makefile, tmp_path / "data"

    def interrupted(self, info, path):
        if info.name.endswith("data_batch_4"):
            Path(path).write_bytes(b"half")
            raise KeyboardInterrupt
        original(self, info, path)

    monkeypatch.setattr(tarfile.TarFile, "makefile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_dataset("cifar10", data_dir=left)
    assert [path.name for path in left.iterdir()] == ["cifar-10-python.tar.gz"]
    monkeypatch.undo()


def test_a_failed_download_is_one_line_with_a_remedy_and_leaves_nothing(nowhere, tmp_path):
    folder = tmp_path / "data"
    with pytest.raises(UserError) as caught:
        load_dataset("cifar10", data_dir=folder)
    message = str(caught.value)
    assert message.startswith(f"dataset 'cifar10': no copy in {folder} and the download failed (http://127")
    assert "Connection refused" in message
    assert "put https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz there" in message
    assert ".npz" in message
    assert "\n" not in message
    assert not folder.exists()


@pytest.mark.parametrize("seconds", ["soon", "nan"])
def test_a_timeout_that_is_none_is_refused(seconds, nowhere, tmp_path, monkeypatch):
    monkeypatch.setenv("DGLIB_DOWNLOAD_TIMEOUT", seconds)
    with pytest.raises(UserError, match=rf"^DGLIB_DOWNLOAD_TIMEOUT = '{seconds}': must be a number"):
        load_dataset("cifar10", data_dir=tmp_path)
