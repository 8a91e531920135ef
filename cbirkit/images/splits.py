"""Random splits of a collection."""

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state


def random_parts(n, fraction, *, strata=None, groups=None, random_state=0):
    """Mask (n,) of the first part of a random split.

    Parameters
    ----------
    n : int
        Number of items.
    fraction : float in (0, 1)
        Share of the first part: of the items of each stratum, or of the groups.
    strata : array of shape (n,), optional
        Each stratum with at least two items gives at least one to either side.
    groups : array of shape (n,), optional
        Items of a group stay together.
    random_state : int or RandomState
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie between 0 and 1, got {fraction}")
    rng = check_random_state(random_state)
    if groups is not None:
        codes, names = pd.factorize(np.asarray(groups, dtype=object))
        if (codes < 0).any():
            raise ValueError(
                f"{int((codes < 0).sum())} images have no group; select those that have one first"
            )
        return _pick(len(names), fraction, rng, "groups")[codes]
    if strata is None:
        return _pick(n, fraction, rng, "images")
    first = np.zeros(n, dtype=bool)
    codes = pd.factorize(np.asarray(strata, dtype=object))[0]  # missing values are the stratum -1
    for code in np.unique(codes):
        members = np.flatnonzero(codes == code)
        if len(members) == 1:
            first[members] = rng.random_sample() < fraction
        else:
            first[members] = _pick(len(members), fraction, rng, "images")
    if first.all() or not first.any():
        raise ValueError(
            f"fraction={fraction} of {n} images leaves one side empty; use another fraction"
        )
    return first


def _pick(n, fraction, rng, what):
    """Mask (n,) with round(fraction * n) random True, at least one on either side."""
    if n < 2:
        raise ValueError(f"cannot split {n} {what} in two")
    size = min(max(round(fraction * n), 1), n - 1)
    mask = np.zeros(n, dtype=bool)
    mask[rng.permutation(n)[:size]] = True
    return mask
