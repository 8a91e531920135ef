"""Graded relevance: discounted cumulative gain."""

import numpy as np

from .hits import check_k, restore


def dcg_at_k(gains, k=None, *, gain="exponential"):
    r"""Discounted cumulative gain of the first k ranks, :math:`\sum_i g_i / \log_2(i + 1)`.

    Parameters
    ----------
    gains : array-like of float, shape (..., n_ranks)
        Gains >= 0, ranked, nearest first.
    k : int, optional
        Cut-off; by default all ranks.
    gain : {"exponential", "linear"}, default="exponential"
        Take a gain g as :math:`2^g - 1` or as it is; the same for 0 and 1.

    Returns
    -------
    float or ndarray of float64, shape (...)

    Raises
    ------
    ValueError
        A gain that is negative or not finite, or an unknown `gain`.

    References
    ----------
    Jarvelin and Kekalainen, TOIS 2002, doi:10.1145/582415.582418 (linear); Burges et al., ICML 2005,
    doi:10.1145/1102351.1102363 (exponential).

    Examples
    --------
    >>> round(dcg_at_k([3, 2, 0, 1, 2], gain="linear"), 6)
    5.466242
    """
    array = _as_gains(gains, "gains", gain)[..., : None if k is None else check_k(k)]
    total = array @ (1 / np.log2(np.arange(2, array.shape[-1] + 2)))
    return total if total.ndim else float(total)


def ndcg_at_k(gains, k=None, ideal=None, gain="exponential"):
    """Discounted cumulative gain of the first k ranks, divided by that of the best possible ranking.

    Parameters
    ----------
    gains : array-like of float, shape (..., n_ranks)
        Gains >= 0, ranked, nearest first; junk deleted.
    k : int, optional
        Cut-off; by default all ranks.
    ideal : array-like of float, shape (..., n), optional
        All gains of the query (or its k largest), in any order. By default `gains` itself, which is right for
        a full ranking only.
    gain : {"exponential", "linear"}, default="exponential"
        See `dcg_at_k`.

    Returns
    -------
    float or ndarray of float64, shape (...)
        In [0, 1]; NaN where the query has no item with a gain.

    Raises
    ------
    ValueError
        A gain that is negative or not finite, an unknown `gain`, or an `ideal` that the ranking beats.

    Examples
    --------
    >>> round(ndcg_at_k([3, 2, 0, 1, 2]), 6), round(ndcg_at_k([3, 2, 0, 1, 2], gain="linear"), 6)
    (0.968638, 0.960247)
    """
    best = -np.sort(-np.asarray(gains if ideal is None else ideal, dtype=np.float64), axis=-1)
    found, best = (
        np.asarray(dcg_at_k(gains, k, gain=gain)),
        np.asarray(dcg_at_k(best, k, gain=gain)),
    )
    found, best = np.broadcast_arrays(found, best)
    if (found > best * (1 + 1e-6) + 1e-12).any():
        raise ValueError("gains beat the ideal ranking; ideal must hold all gains of the query")
    out = np.full(found.shape, np.nan)
    np.divide(found, best, out=out, where=best > 0)
    return restore(out.reshape(-1), out.shape)


def _as_gains(values, what, gain):
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0:
        raise ValueError(f"{what} is a single value; give one for each rank, nearest first")
    if not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError(f"{what} must be finite and >= 0")
    if gain == "exponential":
        return np.exp2(array) - 1
    if gain == "linear":
        return array
    raise ValueError(f'gain={gain!r} is unknown; use "exponential" or "linear"')
