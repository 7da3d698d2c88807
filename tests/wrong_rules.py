"""Mixing rules and value sources that a step cannot use."""

import torch


def too_few(g_s, g_v, lam):
    return list(g_s)[:-1]


def double(g_s, g_v, lam):
    return [s.double() for s in g_s]


def infinite(g_s, g_v, lam):
    return [s / 0 for s in g_s]


def in_place(g_s, g_v, lam):
    return [s.mul_(1 - lam).add_(v, alpha=lam) for s, v in zip(g_s, g_v, strict=True)]


def two_arguments(g_s, g_v):
    return g_s


def number_alone(g_s, g_v, lam):
    weights = torch.tensor([1 - lam, lam])  # float64 of tensors
    return [torch.tensordot(weights, torch.stack(pair), 1) for pair in zip(g_s, g_v, strict=True)]


def halves_lam(g_s, g_v, lam):
    lam *= 0.5
    return [(1 - lam) * s + lam * v for s, v in zip(g_s, g_v, strict=True)]


def divides_by_the_rest(g_s, g_v, lam):
    return [s + v * (lam / (1 - lam)) for s, v in zip(g_s, g_v, strict=True)]


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


def other_images(batch):
    return batch.x[:, :, 1:], batch.clean


def first_eight(batch):
    return batch.x[:8], batch.clean


def not_all_batches(batch):
    return batch.x[60:], batch.clean[60:]


def not_a_number(batch):
    return batch.x * float("nan"), batch.clean


def darkens(batch):
    return batch.x.mul_(0.5), batch.clean


def no_class(batch):
    return batch.x, batch.clean + 10
