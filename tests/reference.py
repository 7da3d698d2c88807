"""The training step as the protocol states it, in plain torch, for comparison: nothing of dglib is imported.

1. forward, loss under the noisy labels, backward: g_s
2. if t mod K = 0, or no g_v is held: a second, separate forward, loss under the clean labels: g_v
3. g = (1 − λ)·g_s/(‖g_s‖ + 1e-12) + λ·g_v/(‖g_v‖ + 1e-12)
4. SGD with momentum and weight decay; t += 1
"""

import torch
import torch.nn.functional as F


def plain_gradient(model, x, labels):
    model.zero_grad(set_to_none=True)
    F.cross_entropy(model(x), labels).backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


class PlainRun:
    """Trains `model` on given batches; draws only from torch's global generator (dropout)."""

    def __init__(self, model, refresh_period, momentum=0.9, weight_decay=5e-4):
        self.model, self.refresh_period = model, refresh_period
        self.optimizer = torch.optim.SGD(
            model.parameters(), lr=0.0, momentum=momentum, weight_decay=weight_decay
        )
        self.g_v, self.t = None, 0

    def step(self, x, noisy, clean, lam, lr):
        self.model.train()
        g_s = plain_gradient(self.model, x, noisy)
        if self.t % self.refresh_period == 0 or self.g_v is None:
            self.g_v = plain_gradient(self.model, x, clean)
        n_s = torch.nn.utils.get_total_norm(g_s)
        n_v = torch.nn.utils.get_total_norm(self.g_v)
        a, b = (1 - lam) / (n_s + 1e-12), lam / (n_v + 1e-12)
        for parameter, s, v in zip(self.model.parameters(), g_s, self.g_v, strict=True):
            parameter.grad = a * s + b * v
        self.optimizer.param_groups[0]["lr"] = lr
        self.optimizer.step()
        self.t += 1

    def momentum(self):
        return [self.optimizer.state[p]["momentum_buffer"] for p in self.model.parameters()]


def epoch_batches(images, noisy, clean, order, batch_size):
    """All batches of an epoch in `order`, the last, smaller one included."""
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        yield images[chosen], noisy[chosen], clean[chosen]
