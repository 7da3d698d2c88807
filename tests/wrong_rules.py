"""Mixing rules and value sources that a step cannot use."""

import torch


def pairwise(change):
    return lambda g_s, g_v, lam: [change(s, v, lam) for s, v in zip(g_s, g_v, strict=True)]


double = pairwise(lambda s, v, lam: s.double())
infinite = pairwise(lambda s, v, lam: s / 0)
in_place = pairwise(lambda s, v, lam: s.mul_(1 - lam).add_(v, alpha=lam))
divides_by_the_rest = pairwise(lambda s, v, lam: s + v * (lam / (1 - lam)))
# float64 of tensors
number_alone = pairwise(
    lambda s, v, lam: torch.tensordot(torch.tensor([1 - lam, lam]), torch.stack((s, v)), 1)
)


def too_few(g_s, g_v, lam):
    return list(g_s)[:-1]


def two_arguments(g_s, g_v):
    return g_s


def halves_lam(g_s, g_v, lam):
    lam *= 0.5
    return [(1 - lam) * s + lam * v for s, v in zip(g_s, g_v, strict=True)]


def value(change):
    return lambda batch: change(batch.x, batch.clean)


other_images = value(lambda x, labels: (x[:, :, 1:], labels))
first_eight = value(lambda x, labels: (x[:8], labels))
not_all_batches = value(lambda x, labels: (x[60:], labels[60:]))
not_a_number = value(lambda x, labels: (x * float("nan"), labels))
darkens = value(lambda x, labels: (x.mul_(0.5), labels))
no_class = value(lambda x, labels: (x, labels + 10))


def late_mix(g_s, g_v, lam):
    _count()
    return list(g_s)


def late_value(batch):
    _count()
    return batch.x, batch.clean


calls_left = 0  # of the two above


def _count():
    global calls_left
    calls_left -= 1
    if calls_left < 0:
        raise RuntimeError("no more")
