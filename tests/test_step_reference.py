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


@pytest.mark.slow
def test_steps_of_the_paper_network_equal_the_plain_rendition_bit_for_bit():
    seed, initial = ours("resnet18", 1.0)
    run = plain("resnet18", 1.0, seed, initial)
    assert seed.state.t == run.t == 12
    assert not torch.equal(next(run.model.parameters()), initial[next(iter(initial))]), "nothing was trained"
    assert differing(seed, run) == []


MUTATIONS = {
    "no refresh at t = 0": (
        trainer.Trainer,
        "take_step",
        "refresh = t % spec.refresh_period == 0 or state.holds_none()",
        "state.hold(state.g_v or [p.detach() * 0 for p in state.params])\n"
        "    refresh = t > 0 and t % spec.refresh_period == 0",
    ),
    "lambda swapped": (
        trainer.Trainer,
        "take_step",
        "(lam, lr), (refresh, logged))",
        "(1 - lam, lr), (refresh, logged))",
    ),
    # One forward for both gradients, as long as its graph is at hand.
    "second forward left out": (
        trainer,
        "step",
        "    g_s = method.gradient(state, batch.x, batch.noisy, numerics)\n",
        "    logits = state.model(batch.x)\n"
        "        loss_s = F.cross_entropy(logits, batch.noisy)\n"
        "        g_s = Gradient(torch.autograd.grad(loss_s, state.params, retain_graph=True))\n"
        "        g_s.loss = loss_s.detach()\n"
        "    if refresh:\n"
        "        loss_v = F.cross_entropy(logits, batch.clean)\n"
        "        state.hold(list(torch.autograd.grad(loss_v, state.params)))\n"
        "    refresh = False\n",
    ),
    "last batch dropped": (
        trainer.Trainer,
        "__init__",
        "-(-len(data.clean) // self.batch_size)",
        "len(data.clean) // self.batch_size",
    ),
    "held g_v lost between levels": (
        runner.SeedRun,
        "_train_epoch",
        "left = self.trainer.steps_left(self.state)",
        "self.state.hold(None if self.cursor.epoch == 0 else self.state.g_v)\n"
        "    left = self.trainer.steps_left(self.state)",
    ),
}


@pytest.mark.parametrize("name", [None, *MUTATIONS])
def test_the_comparison_fails_under_each_mutation_and_no_other_change(name, monkeypatch):
    if name is not None:
        mutate(monkeypatch, *MUTATIONS[name])
    seed, initial = ours("vgg11_bn", 0.125)
    assert bool(differing(seed, plain("vgg11_bn", 0.125, seed, initial))) == (name is not None)
