"""A whole run against the protocol's step written out in plain torch, bit for bit; and mutations of ours."""

import copy

import pytest
import torch
from mutation import mutate
from reference import PlainRun, epoch_batches
from small import CPU, random_data, small_spec

from dglib.runs import seed as runner
from dglib.training import trainer
from dglib.training.networks import networks
from dglib.training.randomness import Streams
from dglib.training.step import step

# 10 images in batches of 4: three steps an epoch, the last of two images. Init, then two levels: 12 steps.
IMAGES = 10
PARAMETERS = {
    "batch_size": 4,
    "refresh_period": 5,
    "init_epochs": 2,
    "epochs_per_level": 1,
    "sweep_lambdas": [0.5, 0.8],
    "milestones": [3],
    "consecutive": 99,
}
LEVELS = [(0.35, 2), (0.5, 1), (0.8, 1)]


def ours(network, width):
    spec = small_spec("T1", network=network, network_width=width, **PARAMETERS)
    seed = runner.SeedRun(spec, 0, random_data(n_train=IMAGES), CPU)
    initial = copy.deepcopy(seed.state.model.state_dict())
    with CPU.applied():
        seed.run()
    return seed, initial


def plain(network, width, seed, initial):
    model = networks.get(network)((1, 8, 8), 10, width)
    model.load_state_dict(initial)
    run, data, streams = PlainRun(model, refresh_period=5), seed.data, Streams(0, "main/init")
    epoch = 0
    with CPU.applied(), torch.random.fork_rng(devices=[]):
        for lam, epochs in LEVELS:
            for _ in range(epochs):
                torch.manual_seed(streams.key("dropout", epoch))
                order = streams.order(IMAGES, epoch)
                images = data.inputs(data.x_train)
                for x, noisy, clean in epoch_batches(images, data.noisy, data.clean, order, 4):
                    run.step(x, noisy, clean, lam, lr=0.1 if epoch < 3 else 0.1 * 0.1)
                epoch += 1
    return run


def differing(seed, run):
    """The names of the tensors of ours that are not the plain run's, bit for bit."""
    expected = run.model.state_dict()
    trained = seed.state.model.state_dict()
    found = [name for name, value in trained.items() if not torch.equal(value, expected[name])]
    pairs = zip(seed.state.momentum(), run.momentum(), strict=True)
    return found + [f"momentum {i}" for i, (a, b) in enumerate(pairs) if not torch.equal(a, b)]


TAKE_STEP = trainer.Trainer.take_step
FIRST = "    g_s = method.gradient(state, batch.x, batch.noisy, numerics)\n"
ONE_FORWARD = """\
    logits = state.model(batch.x)
    loss_s = F.cross_entropy(logits, batch.noisy)
    g_s = Gradient(torch.autograd.grad(loss_s, state.params, retain_graph=True))
    g_s.loss = loss_s.detach()
    if refresh:
        loss_v = F.cross_entropy(logits, batch.clean)
        state.hold(list(torch.autograd.grad(loss_v, state.params)))
    refresh = False
"""
REFRESH = "refresh = t % spec.refresh_period == 0 or state.holds_none()"
NONE_AT_0 = (
    "state.g_v is None and state.hold([p.detach() * 0 for p in state.params]); refresh = t and not t % 5"
)
STEPS_LEFT = "left = self.trainer.steps_left(self.state)"
MUTATIONS = {
    "no refresh at t = 0": (TAKE_STEP, REFRESH, NONE_AT_0),
    "lambda swapped": (TAKE_STEP, "(lam, lr), (refresh, logged))", "(1 - lam, lr), (refresh, logged))"),
    "one forward for both gradients": (step, FIRST, ONE_FORWARD, trainer),
    "last batch dropped": (trainer.Trainer.__init__, "-(-len(data.clean) // ", "(len(data.clean) // "),
    "held g_v lost between levels": (
        runner.SeedRun._train_epoch,
        STEPS_LEFT,
        f"self.state.hold(None if self.cursor.epoch == 0 else self.state.g_v); {STEPS_LEFT}",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_comparison_fails_under_each_mutation(name, monkeypatch):
    mutate(monkeypatch, *MUTATIONS[name])
    seed, initial = ours("vgg11_bn", 0.125)
    assert differing(seed, plain("vgg11_bn", 0.125, seed, initial))


@pytest.mark.parametrize(
    ("network", "width"), [("vgg11_bn", 0.125), pytest.param("resnet18", 1.0, marks=pytest.mark.slow)]
)
def test_a_run_equals_the_plain_rendition_bit_for_bit(network, width):
    seed, initial = ours(network, width)
    run = plain(network, width, seed, initial)
    assert seed.state.t == run.t == 12
    assert differing(seed, run) == []
