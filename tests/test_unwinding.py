"""SIGTERM, a closed terminal and Ctrl-C end a command cleanly, whatever is under way."""

import signal

import pytest
from matplotlib.figure import Figure
from small import CPU, open_store, random_data, small_spec

from dglib.cli import main, run_all
from dglib.control import Interrupted
from dglib.runs.seed import run_experiment

SMALL = "init_epochs=1 init_evaluate_every=1 init_error_max=1 sweep_lambdas=[0.5] epochs_per_level=1"
SMALL += " collapse_error=0 consecutive=1 return_sweep=false network_width=0.25 device=cpu"
RUN = ["run", "T1", "--seeds", "0", "--set", *SMALL.split(" ")]


@pytest.fixture(autouse=True)
def _survive():
    """A signal that nobody handles fails the test, not its runner."""

    def unhandled(number, frame):
        raise AssertionError(f"signal {number} would have killed the process")

    before = {number: signal.signal(number, unhandled) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A base directory with a finished seed."""
    directory = tmp_path_factory.mktemp("unwinding") / "runs"
    assert main([*RUN, "--base-dir", str(directory)]) == 0
    return directory


@pytest.mark.parametrize(
    ("command", "words", "number"),
    [(main, RUN, signal.SIGINT), (run_all, ["report"], signal.SIGTERM)],
    ids=["run", "report"],
)
def test_drawing_ends_cleanly_and_can_be_completed(command, words, number, base, monkeypatch, capsys):
    def savefig(figure, *given, **options):
        signal.raise_signal(number)
        raise AssertionError("the figure went on")

    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", savefig)
        assert command([*words, "--base-dir", str(base)]) == 130
    assert "stopped" in capsys.readouterr().err
    assert not [path for path in base.rglob(".*") if path.name != ".dglib.lock"]
    assert signal.getsignal(signal.SIGTERM).__name__ == "unhandled"
    assert command([*words, "--base-dir", str(base)]) == 0


def test_a_closed_terminal_stops_training_after_a_checkpoint_unless_it_is_ignored(tmp_path):
    def train(directory):
        closed = iter([True])

        def close(event):
            if next(closed, False):
                signal.raise_signal(signal.SIGHUP)

        store, _ = open_store(directory, small_spec("Td1"), random_data())
        return run_experiment(store, [0], random_data(), CPU, sinks_for=[lambda store, seed: close])

    with pytest.raises(Interrupted):
        train(tmp_path / "closed")
    assert list(tmp_path.glob("closed/*/checkpoints/*.ckpt"))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
    assert train(tmp_path / "ignored")
