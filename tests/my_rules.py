"""A user's file: plain gradient averaging, and a value gradient under shifted labels."""


def average(g_s, g_v, lam):
    return [(1 - lam) * s + lam * v for s, v in zip(g_s, g_v, strict=True)]


def shifted(batch):
    return batch.x, (batch.clean + 1) % 10
