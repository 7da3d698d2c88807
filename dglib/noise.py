"""Label noise: which training labels are wrong, a function of the labels, the rate and the seed alone."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dglib.dataset import Labels
from dglib.errors import UserError
from dglib.registry import Registry

NoiseFunction = Callable[[Labels, float, int, int], Labels]
"""(labels, rate, seed, classes) -> noisy labels, int64, of the same length."""

noises: Registry[NoiseFunction] = Registry("noise")


@noises.register("symmetric")
def inject_label_noise(labels: NDArray[np.integer], rate: float, seed: int, classes: int = 10) -> Labels:
    """Replace ``int(rate·n)`` of the ``n`` labels by one of the other classes, each equally likely.

    labels: (n,) integers in 0..classes-1, left unchanged. rate: 0 to 1. seed: 0 to 2**32 - 1.
    Returns a new (n,) int64 array. Raises UserError for values outside these ranges.

    Bit for bit the noise of the published runs (HIDEKI, Dual-Gradient Learning, Paper A): NumPy's legacy
    stream draws the indices without replacement, then for each in turn one of the other classes, ascending.
    """
    noisy = np.array(labels, dtype=np.int64)
    if noisy.ndim != 1:
        raise UserError(f"labels have shape {noisy.shape}: must be (n,)")
    if not 0 <= rate <= 1:
        raise UserError(f"noise rate = {rate}: must be from 0 to 1")
    if not 0 <= seed < 2**32:
        raise UserError(f"noise seed = {seed}: must be from 0 to 2**32 - 1")
    if noisy.size and not 0 <= noisy.min() <= noisy.max() < classes:
        raise UserError(f"labels run from {noisy.min()} to {noisy.max()}: must be within 0 to {classes - 1}")
    random = np.random.RandomState(seed)
    chosen = random.choice(noisy.size, int(rate * noisy.size), replace=False)
    # One array draw of randint is the same stream as a choice among classes - 1 values per index.
    drawn = random.randint(0, classes - 1, size=chosen.size)
    noisy[chosen] = drawn + (drawn >= noisy[chosen])
    return noisy
