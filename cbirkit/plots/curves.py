"""Precision-recall curves with their intervals."""

from collections.abc import Mapping

import numpy as np
from matplotlib.ticker import PercentFormatter
from sklearn.utils import check_random_state

from .judged import relevance_rows
from .style import COLOURS, LINES, MARKERS, describe, new_axes, plain_text, safe_text


def precision_recall(
    curves, relevance=None, *, n_bootstrap=1000, n_points=101, random_state=0, ax=None
):
    """Draw interpolated precision against recall, averaged over queries, with a bootstrap band over queries.

    For one query with R positives, junk deleted first, the precision at recall r is the best precision
    reached at recall r or more: ``p(r) = max_{j >= max(1, ceil(r R))} j / rank_j``, where ``rank_j`` is the
    rank of the j-th hit. A recall that a cut ranking does not reach has precision 0. Queries without
    positives are left out and counted.

    Parameters
    ----------
    curves : Ranking, pair (Ranking, Relevance), or dict of name to either
    relevance : cbirkit.Relevance, optional
        Needed where `curves` holds rankings alone.
    n_bootstrap : int
        Resamples of the queries for the 95 % percentile band; 0 draws none.
    n_points : int
        Recall values on an even grid from 0 to 1, both included.
    random_state : int, RandomState or None
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        No relevance, no query with positives, or a relevance for another ranking.

    Examples
    --------
    >>> from cbirkit import Ranking, Relevance
    >>> ids = ["a", "b", "c", "d"]
    >>> ranking = Ranking.from_distances(np.eye(4), ids, ids, exclude_self=True)
    >>> truth = Relevance.from_labels(ids, ids, [0, 0, 1, 1], [0, 0, 1, 1])
    >>> round(float(precision_recall(ranking, truth).lines[0].get_ydata()[-1]), 3)
    0.667

    References
    ----------
    Manning, Raghavan and Schütze (2008), Introduction to Information Retrieval, section 8.4.
    """
    if n_points < 2:
        raise ValueError(f"n_points must be at least 2, got {n_points}")
    pairs = _named_pairs(curves, relevance)
    ax = new_axes(ax, (5.6, 4.0))
    recall = np.linspace(0, 1, n_points)
    told, cut = [], False
    for i, (name, (ranking, truth)) in enumerate(pairs.items()):
        values, skipped = interpolated_precision(ranking, truth, recall)  # (n_scored, n_points)
        if len(values) == 0:
            raise ValueError(
                f"no query of {safe_text(name)!r} has a positive in the database: there is no curve to draw"
            )
        mean = values.mean(axis=0)
        colour, line = COLOURS[i % len(COLOURS)], LINES[i % len(LINES)]
        words = f"{safe_text(name, 40)}, {len(values)} queries" + (
            f", {skipped} without positives" if skipped else ""
        )
        ax.plot(
            recall,
            mean,
            color=colour,
            ls=line,
            lw=1.8,
            marker=MARKERS[i % len(MARKERS)],
            ms=4,
            markevery=(n_points // 40 + 3 * i, max(1, n_points // 8)),
            label=words,
            clip_on=False,
            zorder=3,
        )
        if n_bootstrap and len(values) > 1:
            low, high = _band(values, n_bootstrap, random_state)
            ax.fill_between(recall, low, high, color=colour, alpha=0.18, lw=0, gid=f"band-{i}")
        cut = cut or ranking.k < len(ranking.database_ids) - 1
        told.append(
            f"{safe_text(name, 40)}: {mean[0]:.2f}, {np.interp(0.5, recall, mean):.2f} and {mean[-1]:.2f}."
        )
    _label_curve(ax, cut, bool(n_bootstrap))
    return describe(
        ax, "Precision against recall; precision at recall 0, 0.5 and 1. " + " ".join(told)
    )


def interpolated_precision(ranking, relevance, recall):
    """Interpolated precision of each query that has positives.

    Parameters
    ----------
    ranking : cbirkit.Ranking
    relevance : cbirkit.Relevance
    recall : array (n_points,), in [0, 1]

    Returns
    -------
    values : float64 array (n_scored, n_points)
    n_skipped : int
        Queries without positives.

    Examples
    --------
    >>> from cbirkit import Ranking, Relevance
    >>> ranking = Ranking.from_distances([[1.0, 2.0, 3.0]])
    >>> truth = Relevance.from_sets(ranking.query_ids, ranking.database_ids, [ranking.database_ids[[1, 2]]])
    >>> interpolated_precision(ranking, truth, np.array([0, 0.5, 1]))[0].round(3).tolist()
    [[0.667, 0.667, 0.667]]
    """
    truth = relevance_rows(relevance, ranking, range(len(ranking)))
    n_positives = np.asarray(truth.n_positives)
    curves = []
    for start in range(0, len(ranking), 1024):  # blocks bound the memory on long rankings
        block = slice(start, start + 1024)
        part = truth.select(np.arange(len(ranking))[block])
        indices = ranking.indices[block]
        counted = (indices >= 0) & ~part.junk(indices)  # (n, k)
        hit = counted & (part.gains(indices) > 0)
        ranks = np.cumsum(counted, axis=1)
        for r, row_hit, row_ranks in zip(n_positives[block], hit, ranks, strict=True):
            if r > 0:
                curves.append(_one_curve(row_ranks[row_hit], int(r), recall))
    return np.array(curves).reshape(-1, len(recall)), int((n_positives == 0).sum())


def _named_pairs(curves, relevance):
    if not isinstance(curves, Mapping):
        curves = {"ranking": curves}
    if not curves:
        raise ValueError("there is nothing to draw: got an empty dict; give {name: ranking}")
    pairs = {}
    for name, one in curves.items():
        pair = tuple(one) if isinstance(one, (tuple, list)) else (one, relevance)
        if len(pair) != 2 or pair[1] is None:
            raise ValueError(
                f"{safe_text(name)!r} has no relevance; give precision_recall(ranking, relevance) or pairs"
            )
        pairs[name] = pair
    return pairs


def _one_curve(hit_ranks, n_positives, recall):
    precision = np.arange(1, len(hit_ranks) + 1) / hit_ranks  # (n_hits,)
    best = np.append(
        np.maximum.accumulate(precision[::-1])[::-1], 0.0
    )  # the 0 is for recalls not reached
    needed = np.maximum(1, np.ceil(recall * n_positives - 1e-9)).astype(int)
    return best[np.minimum(needed - 1, len(hit_ranks))]


def _band(values, n_bootstrap, random_state):
    """95 % percentile interval of the mean over resampled queries: two arrays (n_points,)."""
    rng = check_random_state(random_state)
    n = len(values)
    means = [rng.multinomial(n, np.full(n, 1 / n)) @ values / n for _ in range(n_bootstrap)]
    return np.percentile(means, [2.5, 97.5], axis=0)


def _label_curve(ax, cut, band):
    ax.set(xlim=(0, 1), ylim=(0, 1.05))
    ax.set_xlabel(
        "recall: share of the relevant images found"
        + ("\n(not reached within the ranking: precision 0)" if cut else "")
    )
    ax.set_ylabel("precision, interpolated\n(best at this recall or more)")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    ax.grid(alpha=0.3)
    legend = ax.legend(
        title="mean over queries, 95 % bootstrap band" if band else "mean over queries",
        fontsize=8,
        title_fontsize=8,
    )
    plain_text(*legend.get_texts())
