"""Networks, noises and data sets as users bring them, named by `users_parts:NAME`."""

import numpy as np
import torch
from torch import nn

import dglib

# ── noises ──


def noise(change):
    return lambda labels, rate, seed, classes: change(labels)


ignored_class = noise(lambda labels: np.where(np.arange(len(labels)) < 5, -100, labels))
twice = noise(lambda labels: np.concatenate([labels, labels]))
nothing = noise(lambda labels: None)
fails = noise(lambda labels: labels[len(labels)])
unseeded = noise(lambda labels: np.random.default_rng().integers(0, 10, len(labels)))
constant = noise(lambda labels: np.full_like(labels, 3))
nonsense_declared = noise(lambda labels: labels)
nonsense_declared.expected = lambda rate, labels, classes: 40


def second_seed_fails(labels, rate, seed, classes):
    return labels if seed == 0 else labels[1:]


def in_place(labels, rate, seed, classes):
    labels[: int(rate * len(labels))] = seed
    return labels


def one_class(labels, rate, seed, classes):
    """Of class 3 the share `rate` becomes 5."""
    flipped = (labels == 3) & (np.random.RandomState(seed).rand(len(labels)) < rate)
    return np.where(flipped, 5, labels)


def one_class_declared(labels, rate, seed, classes):
    return one_class(labels, rate, seed, classes)


one_class_declared.expected = lambda rate, labels, classes: rate * np.mean(labels == 3)


def shuffled(labels, rate, seed, classes):
    """Right labels, of other images."""
    return np.random.RandomState(seed).permutation(labels)


# ── networks ──


class Layer(nn.Module):
    """A linear layer on the flat image, with something done before and after."""

    def __init__(self, input_shape, outputs, before=lambda x: x, after=lambda x: x):
        super().__init__()
        self.linear = nn.Linear(int(np.prod(input_shape)), outputs)
        self.before, self.after = before, after

    def forward(self, x):
        return self.after(self.linear(self.before(x).flatten(1)))


def network(more=0, before=lambda x: x, after=lambda x: x):
    return lambda input_shape, classes, width: Layer(input_shape, classes + more, before, after)


too_many_outputs = network(more=1)
not_finite = network(before=torch.log)
changes_its_input = network(before=torch.relu_)
functional_dropout = network(before=nn.functional.dropout)
without_gradient = network(after=torch.detach)


def unused(input_shape, classes, width):
    model = Layer(input_shape, classes)
    model.head = nn.Linear(3, 3)
    return model


def frozen(input_shape, classes, width):
    return Layer(input_shape, classes).requires_grad_(False)


def cumulative(input_shape, classes, width):
    norm = nn.BatchNorm2d(input_shape[0], momentum=None)
    return nn.Sequential(norm, Layer(input_shape, classes))


_HELD = {}


def the_same_each_time(input_shape, classes, width):
    return _HELD.setdefault(input_shape, Layer(input_shape, classes))


# ── metrics ──


def vector(logits, labels):
    return logits.mean(dim=1)


def zeroes(logits, labels):
    return logits.zero_().mean()


def no_metric(logits, labels):
    return logits.no_such_thing


# ── data sets ──

_RNG = np.random.default_rng(0)
IMAGES = _RNG.integers(0, 256, (24, 1, 8, 8), dtype=np.uint8)
LABELS = np.arange(24) % 10


def held_arrays(data_dir):
    """The module's own arrays, which the next call gives again."""
    return dglib.make_dataset("held", IMAGES, LABELS, IMAGES[:10], LABELS[:10])


def unreadable(data_dir):
    raise FileNotFoundError(f"no images in {data_dir}")


def writes_to_the_arrays(labels, rate, seed, classes):
    LABELS[:] = 0
    return labels


def no_dataset(data_dir):
    return 3
