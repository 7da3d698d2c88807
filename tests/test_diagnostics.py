"""What is recorded to explain a trapped seed: dead channels, and the gradients' cosine at each refresh."""

import copy

import pytest
import torch
from small import CPU, random_data, small_spec
from torch import nn

from dglib.runs.seed import SeedRun, run_seed
from dglib.training.evaluation import activity, epoch_stats
from dglib.training.networks import networks
from dglib.training.step import cosine, gradient


def begun(**changes):
    spec = small_spec("T1", batch_size=4, **changes)
    return SeedRun(spec, 0, random_data(), CPU)


@pytest.mark.parametrize("network", ["vgg11_bn", "resnet18"])
def test_killed_channels_are_counted_as_dead_and_no_others(network):
    seed = begun(network=network, network_width=1.0 if network == "resnet18" else 0.25)
    layers = [m for m in seed.state.model.modules() if isinstance(m, nn.BatchNorm2d | nn.Linear)]
    with torch.no_grad():
        for layer in layers:  # every channel alive, whatever comes in
            layer.weight.zero_()
            layer.bias.fill_(1)
        assert seed.trainer.evaluate(seed.state).metrics["dead_channels"] == 0
        layers[0].bias[:3] = -1
    with activity(seed.state.model) as alive:
        seed.state.model(seed.data.inputs(seed.data.x_test))
    share = seed.trainer.evaluate(seed.state).metrics["dead_channels"]
    assert share == pytest.approx(3 / sum(len(channels) for channels in alive))


def test_a_network_without_relu_modules_has_no_share(monkeypatch):
    def linear(input_shape, classes, width):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))

    monkeypatch.setitem(networks._entries, "linear", linear)
    record = run_seed(small_spec("T1", network="linear"), 0, random_data(), CPU)
    assert record["trajectory"][0]["dead_channels"] is None


def test_the_epoch_log_holds_the_mean_cosine_of_the_gradients_at_refreshes():
    seed = begun(refresh_period=4)
    expected = []
    for step in range(6):  # refreshes at steps 0 and 4
        if step % 4 == 0:
            batch, state = seed.trainer.batch(0, step), copy.deepcopy(seed.state)
            g_s = gradient(state, batch.x, batch.noisy, CPU)
            g_v = gradient(state, batch.x, batch.clean, CPU)
            expected.append(float(cosine(g_s, g_v)))
        seed.trainer.advance(seed.state, 0.4, 0.05, 1)
    assert epoch_stats(seed.state, 0.05).c_sv == pytest.approx(sum(expected) / 2, rel=1e-5)
