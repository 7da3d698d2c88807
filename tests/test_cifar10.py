"""CIFAR-10 from an archive of the real layout, with 12 images a batch, and its download."""

import gzip
import hashlib
import io
import os
import pickle
import random
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from archive_server import ArchiveServer

from dglib.cli import run_all
from dglib.errors import StorageError, UserError
from dglib.training import download
from dglib.training.data import load_dataset
from dglib.training.download import DownloadError, alone, fetch

ROOT = Path(__file__).resolve().parents[1]


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def cifar_batches(tmp_path, monkeypatch):
    """The batches by name; ``tmp_path/cifar-10-python.tar.gz`` holds them, torchvision expects their MD5s."""
    from torchvision.datasets import CIFAR10

    def batch():
        return {"data": rng.integers(0, 256, (12, 3072), np.uint8), "labels": rng.integers(0, 10, 12)}

    rng, names = np.random.default_rng(0), [name for name, _ in CIFAR10.train_list + CIFAR10.test_list]
    batches = {name: batch() for name in names}
    contents = batches | {"batches.meta": {"label_names": list("0123456789")}}
    files = {name: pickle.dumps(content, protocol=2) for name, content in contents.items()}
    archive = tmp_path / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{CIFAR10.base_folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    monkeypatch.setattr(CIFAR10, "train_list", [[name, md5(files[name])] for name in names[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [[name, md5(files[name])] for name in names[5:]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5(files["batches.meta"])})
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive.read_bytes()))
    return list(batches.values())


def test_cifar10_is_downloaded_once_and_its_archive_mends_batches_without_network_or_write_access(
    cifar_batches, tmp_path, monkeypatch, capsys
):
    home = tmp_path / "data"
    with ArchiveServer((tmp_path / "cifar-10-python.tar.gz").read_bytes()).serving() as server:
        monkeypatch.setenv("DGLIB_CIFAR10_URL", server.url)
        cifar = load_dataset("cifar10", data_dir=home)
        assert f"cifar10: downloading {server.url}" in capsys.readouterr().err
    pixels = np.concatenate([batch["data"] for batch in cifar_batches[:5]])
    np.testing.assert_array_equal(cifar.x_train.reshape(-1, 3072), pixels)
    np.testing.assert_array_equal(cifar.y_train, np.concatenate([b["labels"] for b in cifar_batches[:5]]))
    np.testing.assert_array_equal(cifar.x_test.reshape(-1, 3072), cifar_batches[5]["data"])
    assert (cifar.input_shape, cifar.classes, cifar.scale) == ((3, 32, 32), 10, 255)
    assert (cifar.mean, cifar.std) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    (home / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"damaged")
    (home / "cifar-10-batches-py" / "data_batch_4").unlink()  # as after an interrupt
    assert load_dataset("cifar10", data_dir=home).fingerprint == cifar.fingerprint
    (home / "cifar-10-python.tar.gz").unlink()
    before = sorted(home.rglob("*"))
    assert load_dataset("cifar10", data_dir=home).fingerprint == cifar.fingerprint
    assert sorted(home.rglob("*")) == before


def test_a_failed_download_is_one_line_with_a_remedy_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("DGLIB_CIFAR10_URL", "http://127.0.0.1:1/x.tar.gz")
    with pytest.raises(UserError, match=r"no copy in .*Connection refused.*put https.* there, or .*npz"):
        load_dataset("cifar10", data_dir=tmp_path / "data")
    assert not (tmp_path / "data").exists()


CONTENT = gzip.compress(random.Random(0).randbytes(400_000))


@pytest.fixture
def server():
    with ArchiveServer(CONTENT).serving() as running:
        yield running


@pytest.fixture
def get(server, tmp_path):
    """Fetch the file to `tmp_path/archive`; gives its content."""

    def get(**options):
        fetch(server.url, tmp_path / "archive", md5(CONTENT), **options)
        return (tmp_path / "archive").read_bytes()

    return get


@pytest.fixture
def part(tmp_path):
    return tmp_path / "archive.part"


def test_a_connection_that_breaks_off_is_resumed_at_once(get, server, tmp_path):
    server.mode, n = "cut", server.piece
    assert get() == CONTENT
    assert server.asked[:3] == [None, f"bytes={n}-", f"bytes={2 * n}-"]
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("hang", r": no data for 0\.1 s; 0 MB are kept, and the same command"),
        ("page", "gives an HTML page"),
        ("503", "answers 503 "),
    ],
)
def test_a_server_that_hangs_or_refuses_is_an_error_and_the_next_call_resumes(mode, why, get, server, part):
    server.mode, server.piece = mode, 1000
    part.write_bytes(CONTENT[:1000])
    with pytest.raises(DownloadError, match=why):
        get(timeout=0.1)
    assert part.read_bytes() == CONTENT[:1000]
    server.mode = "whole"
    assert get() == CONTENT
    assert set(server.asked) == {"bytes=1000-"}


def test_a_part_that_is_complete_needs_no_network(get, server, part):
    part.write_bytes(CONTENT)
    assert get() == CONTENT
    assert server.asked == []


@pytest.mark.parametrize("wrong", [b"another file" * 1000, CONTENT + b"more"])
def test_a_part_that_does_not_fit_is_thrown_away_and_the_file_downloaded_anew(wrong, get, part, capsys):
    part.write_bytes(wrong)
    assert get() == CONTENT
    assert "the parts of the download do not fit together; starting again" in capsys.readouterr().err


def test_a_file_with_another_checksum_is_not_kept_and_a_disk_that_fails_not_taken_for_the_network(
    get, server, part, tmp_path
):
    server.content = gzip.compress(b"something else")
    with pytest.raises(DownloadError, match=rf"gives {len(server.content)} bytes with another MD5 than "):
        get()
    assert list(tmp_path.iterdir()) == []
    server.content = CONTENT
    part.mkdir()
    with pytest.raises(StorageError, match=r"archive\.part: cannot be written: Is a directory"):
        get()


def test_a_second_download_waits_for_the_first_reports_it_and_leaves_no_lock_file(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(download, "report", lines.append)

    def wait():
        with alone(tmp_path / "lock"):
            pass

    waiting = threading.Thread(target=wait)
    with alone(tmp_path / "lock"):
        waiting.start()
        while not lines:
            assert waiting.is_alive()
    waiting.join(300)
    assert not waiting.is_alive()
    assert lines == ["waiting for another process that downloads it"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_download_shows_in_log_and_status_and_an_interrupt_leaves_a_part_to_resume(tmp_path, capsys):
    command = [sys.executable, str(ROOT / "run_all.py"), "--only", "T1", "--workers", "1", "--seeds", "0"]
    command += ["--base-dir", "runs", "--set", "dataset=cifar10", "data_dir=data"]
    part = tmp_path / "data" / "cifar-10-python.tar.gz.part"
    with ArchiveServer(b"\x1f\x8b" + bytes(100_000)).serving() as server:
        server.mode, server.piece = "hang", 5000
        env = os.environ | {"DGLIB_CIFAR10_URL": server.url, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        while process.poll() is None and not (part.exists() and part.stat().st_size == server.piece):
            time.sleep(0.05)
        (log,) = (tmp_path / "runs" / "jobs").glob("*.log")
        assert "cifar10: downloading http://127.0.0.1" in log.read_text()
        assert run_all(["status", "--base-dir", str(tmp_path / "runs")]) == 0
        assert "T1 seed 0: running: cifar10: downloading http://127.0.0.1" in capsys.readouterr().out
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert err.strip().splitlines()[-1].endswith("stopped; the same command resumes")
    assert [path.name for path in (tmp_path / "data").iterdir()] == [part.name]
    assert list(tmp_path.glob("runs/exp_*")) == []
