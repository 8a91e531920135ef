"""Random numbers that are the same on every platform and with every NumPy.

NumPy promises the bits of a seeded bit generator, not what its distributions make of them; so only the bits are used.
"""

import numpy as np


def uniforms(n, *key):
    """`n` numbers in [0, 1), float64, for a key of whole numbers >= 0.

    Examples
    --------
    >>> uniforms(2, 0, 7).round(4).tolist()
    [0.0389, 0.7771]
    """
    bits = np.random.PCG64(np.random.SeedSequence(key)).random_raw(n)
    return (bits >> np.uint64(11)) * 2.0**-53


def bell_noise(shape, *key):
    """Noise of mean 0 and standard deviation 1, float32: sums of four bytes, so never beyond 3.5."""
    n = int(np.prod(shape))
    bits = np.random.PCG64(np.random.SeedSequence(key)).random_raw((n + 1) // 2)
    parts = (
        bits.astype("<u8", copy=False).view(np.uint8)[: 4 * n].reshape(4, n)
    )  # eight bytes a number of 64 bits
    total = parts[0].astype(np.int16) + parts[1] + parts[2] + parts[3]
    return ((total - 510) * np.float32(1 / 147.8)).astype(np.float32).reshape(shape)


def between(u, low, high):
    """Take numbers in [0, 1) to [low, high)."""
    return low + (high - low) * u


def pick(u, n):
    """Take numbers in [0, 1) to whole numbers 0 to n - 1, int64; `n` may be an array."""
    return np.minimum((u * n).astype(np.int64), np.asarray(n) - 1)
