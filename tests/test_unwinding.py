"""SIGTERM, a closed terminal and Ctrl-C end a command cleanly, whatever is under way."""

import signal
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from dglib.cli import main, run_all

SMALL = "init_epochs=1 init_evaluate_every=1 init_error_max=1 sweep_lambdas=[0.5] epochs_per_level=1"
SMALL += " collapse_error=0 consecutive=1 return_sweep=false network_width=0.25 device=cpu"
RUN = ["run", "T1", "--seeds", "0", "--set", *SMALL.split(" ")]
SIGNALS = [name for name in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, name)]


@pytest.fixture(autouse=True)
def _survive():
    """A signal that nobody handles fails the test, not its runner."""

    def unhandled(number, frame):
        raise AssertionError(f"signal {number} would have killed the process")

    before = {name: signal.signal(getattr(signal, name), unhandled) for name in SIGNALS if name != "SIGINT"}
    yield
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A base directory with a finished seed."""
    directory = tmp_path_factory.mktemp("unwinding") / "runs"
    assert main([*RUN, "--base-dir", str(directory)]) == 0
    return directory


def stop_at(monkeypatch, name):
    """The signal arrives while a figure is saved."""

    def savefig(figure, *given, **options):
        signal.raise_signal(getattr(signal, name))
        raise AssertionError("the figure went on")

    monkeypatch.setattr(Figure, "savefig", savefig)


@pytest.mark.parametrize(("command", "name"), [("run", "SIGINT"), ("report", "SIGTERM")])
def test_drawing_ends_cleanly_and_the_same_command_completes_it(name, command, base, monkeypatch, capsys):
    words = {"run": RUN, "report": ["report"]}[command]
    command = {"run": main, "report": run_all}[command]
    with monkeypatch.context() as patch:
        stop_at(patch, name)
        assert command([*words, "--base-dir", str(base)]) == 130
    assert "stopped" in capsys.readouterr().err
    assert not [path for path in base.rglob(".*") if path.name != ".dglib.lock"]
    assert signal.getsignal(signal.SIGTERM).__name__ == "unhandled"
    assert command([*words, "--base-dir", str(base)]) == 0


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no terminal is closed there")
def test_a_closed_terminal_stops_training_after_a_checkpoint_unless_it_is_ignored(tmp_path, capsys):
    """As nohup has it ignored."""

    class Closed:
        done = False

        def __call__(self, event):
            if not self.done:
                self.done = True
                signal.raise_signal(signal.SIGHUP)

    from small import CPU, open_store, random_data, small_spec

    from dglib.control import Interrupted
    from dglib.runs.seed import run_experiment

    def train(directory):
        store, _ = open_store(directory, small_spec("Td1"), random_data())
        return run_experiment(store, [0], random_data(), CPU, sinks_for=[lambda store, seed: Closed()])

    with pytest.raises(Interrupted):
        train(tmp_path / "closed")
    assert list(Path(tmp_path / "closed").glob("*/checkpoints/*.ckpt"))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert train(tmp_path / "ignored")
