"""Charts of measurements: precision-recall curves, metrics with their intervals."""

import numpy as np

from cbirkit.evaluation.evaluate import AlignedRanking
from cbirkit.evaluation.resample import bootstrap_means, interval

from .style import COLOURS, LINES, MARKERS, describe, new_axes, plain_legend, safe_text

# Metrics that are not between 0 and 1.
_NOT_A_SHARE = ("ukbench", "first_rank", "mean_rank", "median_rank")
_HATCH = ("", "////", "....", "xxxx", "\\\\\\\\", "----", "oo", "++")


def precision_recall(curves, relevance=None, *, ax=None):
    """Draw interpolated precision against recall, averaged over queries, with a band over queries.

    For one query with R positives, junk deleted first, the precision at recall r is the best precision
    reached at recall r or more: ``p(r) = max_{j >= max(1, ceil(r R))} j / rank_j``, where ``rank_j`` is the
    rank of the j-th hit. A recall that a cut ranking does not reach has precision 0. Queries without
    positives are left out and counted. Recall is on a grid of 101 values; the band is the 95 % percentile interval of 1,000
    bootstrap resamples of the queries, always the same ones.

    Parameters
    ----------
    curves : Ranking, pair (Ranking, Relevance), or dict of name to either
    relevance : cbirkit.Relevance, optional
        Needed where `curves` holds rankings alone.
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
    ax, recall = new_axes(ax, (5.6, 4.0)), np.linspace(0, 1, 101)
    told = []
    for i, (name, pair) in enumerate(_named(curves, "ranking").items()):
        ranking, truth = pair if isinstance(pair, tuple | list) else (pair, relevance)
        name, look = safe_text(name, 40), {"color": COLOURS[i % len(COLOURS)]}
        if truth is None:
            raise ValueError(f"{name!r} has no relevance; give (ranking, relevance)")
        values, skipped = interpolated_precision(ranking, truth, recall)  # (n_scored, n_points)
        if len(values) == 0:
            raise ValueError(f"no query of {name!r} has a positive: there is no curve to draw")
        mean = values.mean(axis=0)
        draws = bootstrap_means(values, np.arange(len(values)), 1000, 0)
        ax.fill_between(recall, *interval(draws), **look, alpha=0.18, lw=0)
        look |= {"ls": LINES[i % len(LINES)], "marker": MARKERS[i % len(MARKERS)], "ms": 4}
        words = f"{name}, {len(values)} queries"
        words += f", {skipped} without positives" if skipped else ""
        ax.plot(recall, mean, **look, lw=1.8, markevery=(2 + 3 * i, 12), label=words, clip_on=False)
        told.append(f"{name}: {mean[0]:.2f}, {mean[50]:.2f} and {mean[-1]:.2f}.")
    ax.set(xlim=(0, 1), xlabel="recall: share of the relevant images found", ylim=(0, 1.05))
    ax.set_ylabel(
        "precision, interpolated: best at this\nrecall or more, 0 where it is not reached"
    )
    ax.grid(alpha=0.3)
    plain_legend(ax, title="mean over queries, 95 % bootstrap band", fontsize=8)
    words = "Precision against recall; precision at recall 0, 0.5 and 1. "
    return describe(ax, words + " ".join(told))


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
    found = AlignedRanking(ranking, relevance)
    pairs = zip(found.gains > 0, found.n_positives, strict=True)
    curves = [_one_curve(np.flatnonzero(row) + 1, int(r), recall) for row, r in pairs if r > 0]
    return np.array(curves).reshape(-1, len(recall)), int((found.n_positives == 0).sum())


def _named(given, name):
    given = given if isinstance(given, dict) else {name: given}
    if not given:
        raise ValueError("there is nothing to draw: got an empty dict; give {name: ...}")
    return given


def _one_curve(hit_ranks, n_positives, recall):
    precision = np.arange(1, len(hit_ranks) + 1) / hit_ranks  # (n_hits,)
    # The 0 is for recalls that are not reached.
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    needed = np.maximum(1, np.ceil(recall * n_positives - 1e-9)).astype(int)
    return best[np.minimum(needed - 1, len(hit_ranks))]


def metric_bars(evaluations, *, metrics=None, ax=None):
    """Draw the mean of each metric with its bootstrap interval, side by side for several systems.

    Parameters
    ----------
    evaluations : Evaluation, summary DataFrame, or dict of name to either
        A summary has the metrics as its index and the columns mean, low and high.
    metrics : sequence of str, optional
        Default: all that lie between 0 and 1. One that does not (``"ukbench"``) is drawn alone.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        An unknown metric, or metrics in different units together.

    Examples
    --------
    >>> import pandas as pd
    >>> summary = pd.DataFrame({"mean": [0.5], "low": [0.4], "high": [0.6]}, index=["map"])
    >>> len(metric_bars({"colour": summary, "SIFT": summary}).patches)
    2
    """
    named = _named(evaluations, "")
    tables = {safe_text(name, 40): getattr(one, "summary", one) for name, one in named.items()}
    metrics = _chosen_metrics(tables, metrics)
    ax = new_axes(ax, (5.6, 0.9 + (0.22 * len(tables) + 0.18) * len(metrics)))
    height, told = 0.8 / len(tables), []
    for i, (name, table) in enumerate(tables.items()):
        mean, low, high = table.loc[metrics, ["mean", "low", "high"]].to_numpy(float).T
        spread = np.nan_to_num([mean - low, high - mean]).clip(0)
        place = np.arange(len(metrics)) + (i - (len(tables) - 1) / 2) * height
        look = {"color": COLOURS[i % len(COLOURS)], "hatch": _HATCH[i % len(_HATCH)], "alpha": 0.75}
        look |= {"edgecolor": "white", "lw": 0, "error_kw": {"lw": 1.2, "capsize": 2}}
        bars = ax.barh(place, mean, height * 0.9, xerr=spread, label=name, **look)
        ax.bar_label(bars, fmt="%.3f", padding=4, fontsize=8)
        values = ", ".join(f"{one} {value:.3f}" for one, value in zip(metrics, mean, strict=True))
        told.append(f"{name}: {values}." if name else f"{values}.")
    words, most = "score (0 to 1, higher is better)", 1.12
    if metrics[0].startswith(_NOT_A_SHARE):
        words, most = f"{metrics[0]} (not between 0 and 1)", None
        ax.margins(x=0.12)
    ax.set(xlabel=f"{words}, 95 % interval over queries", xlim=(0, most))
    ax.set_yticks(range(len(metrics)), metrics)
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)
    if len(tables) > 1:
        above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": 3, "frameon": False}
        plain_legend(ax, fontsize=8, **above)
    return describe(ax, "Bars of metrics with 95 % intervals. " + " ".join(told))


def _chosen_metrics(tables, metrics):
    first, *others = tables.values()
    known = [m for m in first.index if all(m in table.index for table in others)]
    if metrics is None:
        metrics = [m for m in known if not m.startswith(_NOT_A_SHARE)] or known[:1]
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    if missing := set(metrics).difference(known) or not metrics:
        raise ValueError(f"no metric {missing} in every evaluation; choose from {', '.join(known)}")
    if len(metrics) > 1 and any(m.startswith(_NOT_A_SHARE) for m in metrics):
        raise ValueError(f"{metrics} are not all between 0 and 1; draw those that are not alone")
    return metrics
