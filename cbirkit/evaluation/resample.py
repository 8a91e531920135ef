"""Bootstrap over queries (or groups of them) and the paired sign-flip test."""

import numpy as np
from sklearn.utils import check_random_state

from cbirkit.ranking.codes import as_labels, label_codes, row_blocks


def group_codes(groups, ids, scored):
    """Number of the group of each scored query: its own number without `groups`.

    Parameters
    ----------
    groups : array-like of shape (n,), or None
    ids : sequence (n,)
        Of the queries: a pandas object is matched by its index.
    scored : ndarray of bool, shape (n,)

    Raises
    ------
    ValueError
        `groups` has another length, or a missing value.
    """
    if groups is None:
        return np.arange(int(scored.sum()))
    groups = as_labels(groups, ids, "groups")
    codes = label_codes(groups[scored], groups[:0], "groups")[0]
    if codes.min(initial=0) < 0:
        raise ValueError("groups has missing values; give every query a group")
    return codes


def bootstrap_means(values, codes, n_draws, random_state=None):
    """Mean of each column over queries drawn with replacement, group by group.

    Parameters
    ----------
    values : ndarray of float64, shape (n_queries, n_columns)
        Finite.
    codes : ndarray of int, shape (n_queries,)
        Group of each query, 0 to n_groups - 1; a group is drawn whole.
    n_draws : int
    random_state : None, int or RandomState

    Returns
    -------
    ndarray of float64, shape (n_draws, n_columns)

    References
    ----------
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, doi:10.1007/978-1-4899-4541-9.

    Examples
    --------
    >>> bootstrap_means(np.ones((3, 1)), np.arange(3), 2, 0).tolist()
    [[1.0], [1.0]]
    """
    sizes = np.bincount(codes).astype(np.float64)
    sums = np.stack([np.bincount(codes, weights=column) for column in values.T], axis=1)
    blocks = draw_counts(len(sizes), n_draws, random_state)
    return np.concatenate([(counts @ sums) / (counts @ sizes)[:, None] for counts in blocks])


def draw_counts(n, n_draws, random_state=None):
    """Yield how often each of n things is drawn, float64 (n_rows, n), in blocks."""
    rng = check_random_state(random_state)
    for rows in row_blocks(n_draws, n):
        drawn = rng.randint(0, n, size=(rows.stop - rows.start, n), dtype=np.int32)
        yield np.array([np.bincount(things, minlength=n) for things in drawn], dtype=np.float64)


def interval(draws):
    """95 % percentile interval of each column of `draws`: low, high. Infinite draws are not interpolated."""
    how = "linear" if np.isfinite(draws).all() else "nearest"
    return np.percentile(draws, (2.5, 97.5), axis=0, method=how)


def sign_flip_test(differences, codes, n_draws=10_000, random_state=None):
    """Two-sided p-value of a paired permutation test: are differences as likely to have the other sign?

    Parameters
    ----------
    differences : ndarray of float64, shape (n_queries,)
    codes : ndarray of int, shape (n_queries,)
        Group of each query; a group changes sign as one.
    n_draws : int
        Random sign patterns; all 2^n_groups are used instead if they are no more than that.
    random_state : None, int or RandomState

    Returns
    -------
    float
        (1 + patterns at least as extreme) / (1 + n_draws), or the exact share.

    References
    ----------
    Smucker, Allan and Carterette, CIKM 2007, doi:10.1145/1321440.1321528.

    Examples
    --------
    >>> sign_flip_test(np.array([1.0, 2.0, 3.0]), np.arange(3))
    0.25
    """
    if not len(differences) or not differences.any():
        return 1.0
    sums = np.bincount(codes, weights=differences)
    n, seen = len(sums), abs(sums.sum())
    least = seen - 1e-9 * np.abs(sums).sum()
    if n <= 30 and 2**n <= n_draws:
        patterns = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float((np.abs(patterns @ sums) >= least).mean())
    rng, extreme = check_random_state(random_state), 0
    for rows in row_blocks(n_draws, n):
        signs = 1.0 - 2.0 * rng.randint(0, 2, size=(rows.stop - rows.start, n), dtype=np.int8)
        extreme += int((np.abs(signs @ sums) >= least).sum())
    return (1 + extreme) / (1 + n_draws)


def holm(p_values):
    """p-values corrected for their number by Holm's step-down rule (controls the family-wise error).

    References
    ----------
    Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6, 1979.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_values, kind="stable")
    steps = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    return np.minimum(steps, 1.0)[np.argsort(order)]
