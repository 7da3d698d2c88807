"""A user's file: plain gradient averaging, a value gradient under shifted labels, and a metric."""


def average(g_s, g_v, lam):
    return [(1 - lam) * s + lam * v for s, v in zip(g_s, g_v, strict=True)]


def shifted(batch):
    return batch.x, (batch.clean + 1) % 10


def sharpness(logits, labels):
    return logits.softmax(dim=1).amax(dim=1).mean()
