"""One thread for every test (more change the bits and gain nothing here), and properties without a clock."""

import os
import signal
from pathlib import Path

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("steady", deadline=None, derandomize=True, print_blob=False)
hypothesis.settings.load_profile("steady")
torch.set_num_threads(1)
os.environ["DGLIB_HOME"] = "."  # the defaults of base_dir and data_dir lie in a test's own directory
# A shell leaves the first ignored to what runs in the background, nohup the second; tests raise both.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

HERE = [path.stem for path in Path(__file__).parent.glob("*.py")]


def pytest_configure(config):
    # Warnings of ours are errors, as are those of dglib (pyproject.toml); another package's are shown.
    config.addinivalue_line("filterwarnings", f"error:::({'|'.join(HERE)})$")
    # A file or process left open is found where the collector happens to run, in any later test: shown only.
    config.addinivalue_line("filterwarnings", "default::ResourceWarning")


def pytest_terminal_summary(terminalreporter, config):
    seed = getattr(config.option, "randomly_seed", None)  # printed at the start, too, but not under -q
    if seed is not None:
        terminalreporter.write_line(f"in this random order again: -p randomly --randomly-seed={seed}")


@pytest.fixture
def tiny_run(tmp_path, monkeypatch, capsys):
    """Run an experiment with a tiny network in a directory of its own: exit status, output and error."""
    from dglib.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dglib.campaign.run.draw_figures", lambda *_: [], raising=False)  # takes seconds

    def run(*changes, experiment="Td1", seeds="0", base="runs"):
        tiny = ["init_epochs=1", "milestones=[]", "evaluate_every=1", "network_width=0.25"]
        status = main(["run", experiment, "--base-dir", base, "--seeds", seeds, "--set", *tiny, *changes])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture(autouse=True)
def _the_same_start_in_any_order():
    """torch's global generator and settings, which the test before may have left otherwise."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision("highest")
