"""Charts of measurements: precision-recall curves, metrics with their intervals, training."""

from collections.abc import Mapping

import numpy as np
from matplotlib.ticker import PercentFormatter

from cbirkit.evaluation.evaluate import AlignedRanking
from cbirkit.evaluation.resample import bootstrap_means, interval
from cbirkit.learning.history import describe_history, draw_history

from .style import COLOURS, LINES, MARKERS, describe, new_axes, plain_text, safe_text

# Metrics that are not between 0 and 1.
_NOT_A_SHARE = ("ukbench", "first_rank", "mean_rank", "median_rank")
_HATCH = ("", "////", "....", "xxxx", "\\\\\\\\", "----", "oo", "++")


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
    pairs = _named(curves, "ranking")
    ax = new_axes(ax, (5.6, 4.0))
    recall = np.linspace(0, 1, n_points)
    told, cut = [], False
    for i, (name, pair) in enumerate(pairs.items()):
        ranking, truth = pair if isinstance(pair, tuple | list) else (pair, relevance)
        name = safe_text(name, 40)
        if truth is None:
            raise ValueError(
                f"{name!r} has no relevance; give precision_recall(ranking, relevance)"
            )
        values, skipped = interpolated_precision(ranking, truth, recall)  # (n_scored, n_points)
        if len(values) == 0:
            raise ValueError(f"no query of {name!r} has a positive: there is no curve to draw")
        mean, look = values.mean(axis=0), {"color": COLOURS[i % len(COLOURS)]}
        words = f"{name}, {len(values)} queries"
        words += f", {skipped} without positives" if skipped else ""
        if n_bootstrap and len(values) > 1:
            draws = bootstrap_means(values, np.arange(len(values)), n_bootstrap, random_state)
            ax.fill_between(recall, *interval(draws), **look, alpha=0.18, lw=0, gid=f"band-{i}")
        look |= {"ls": LINES[i % len(LINES)], "marker": MARKERS[i % len(MARKERS)], "ms": 4}
        every = (n_points // 40 + 3 * i, max(1, n_points // 8))
        ax.plot(recall, mean, **look, lw=1.8, markevery=every, label=words, clip_on=False, zorder=3)
        cut = cut or ranking.k < len(ranking.database_ids) - 1
        told.append(
            f"{name}: {mean[0]:.2f}, {np.interp(0.5, recall, mean):.2f} and {mean[-1]:.2f}."
        )
    _label_curve(ax, cut, bool(n_bootstrap))
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
    pairs = zip(found.relevant, found.n_positives, strict=True)
    curves = [_one_curve(np.flatnonzero(row) + 1, int(r), recall) for row, r in pairs if r > 0]
    return np.array(curves).reshape(-1, len(recall)), int((found.n_positives == 0).sum())


def _named(given, name):
    given = given if isinstance(given, Mapping) else {name: given}
    if not given:
        raise ValueError("there is nothing to draw: got an empty dict; give {name: ...}")
    return given


def _one_curve(hit_ranks, n_positives, recall):
    precision = np.arange(1, len(hit_ranks) + 1) / hit_ranks  # (n_hits,)
    # The 0 is for recalls that are not reached.
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    needed = np.maximum(1, np.ceil(recall * n_positives - 1e-9)).astype(int)
    return best[np.minimum(needed - 1, len(hit_ranks))]


def _label_curve(ax, cut, band):
    missed = "\n(not reached within the ranking: precision 0)" if cut else ""
    ax.set(
        xlim=(0, 1), ylim=(0, 1.05), xlabel=f"recall: share of the relevant images found{missed}"
    )
    ax.set_ylabel("precision, interpolated\n(best at this recall or more)")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    ax.grid(alpha=0.3)
    title = "mean over queries, 95 % bootstrap band" if band else "mean over queries"
    plain_text(*ax.legend(title=title, fontsize=8, title_fontsize=8).get_texts())


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
        mean, low, high = (
            table.loc[metrics, end].to_numpy(float) for end in ("mean", "low", "high")
        )
        spread = np.nan_to_num([mean - low, high - mean]).clip(0)
        place = np.arange(len(metrics)) + (i - (len(tables) - 1) / 2) * height
        look = {"color": COLOURS[i % len(COLOURS)], "hatch": _HATCH[i % len(_HATCH)], "alpha": 0.75}
        look |= {"edgecolor": "white", "lw": 0, "error_kw": {"lw": 1.2, "capsize": 2}}
        ax.barh(place, mean, height * 0.9, xerr=spread, label=name, **look)
        beside = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
        for y, value, end in zip(place, mean, mean + spread[1], strict=True):
            ax.annotate(f"{value:.3f}", (end, y), **beside)
        values = ", ".join(f"{one} {value:.3f}" for one, value in zip(metrics, mean, strict=True))
        told.append(f"{name}: {values}." if name else f"{values}.")
    _label_bars(ax, metrics, named=len(tables) > 1)
    return describe(ax, "Bars of metrics with 95 % intervals. " + " ".join(told))


def _chosen_metrics(tables, metrics):
    first, *others = tables.values()
    known = [m for m in first.index if all(m in table.index for table in others)]
    if metrics is None:
        metrics = [m for m in known if not m.startswith(_NOT_A_SHARE)] or known[:1]
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    missing = [m for m in metrics if m not in known]
    if missing or not metrics:
        raise ValueError(
            f"no metric {', '.join(missing)} in every evaluation; choose from {', '.join(known)}"
        )
    odd = [m for m in metrics if m.startswith(_NOT_A_SHARE)]
    if odd and len(metrics) > 1:
        raise ValueError(f"{odd[0]} is not between 0 and 1; draw it alone: metrics=[{odd[0]!r}]")
    return metrics


def _label_bars(ax, metrics, *, named):
    words, limits = "score (0 to 1, higher is better)", (0, 1.12)
    if metrics[0].startswith("ukbench"):
        words, limits = "images of the object among the first four (0 to 4)", (0, 4.6)
    elif metrics[0].startswith(_NOT_A_SHARE):
        words, limits = "rank (1 is first)", None
        ax.margins(x=0.12)
    ax.set(xlabel=f"{words}, 95 % interval over queries", **({"xlim": limits} if limits else {}))
    ax.set_yticks(range(len(metrics)), metrics)
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)
    if named:
        above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": 3, "frameon": False}
        plain_text(*ax.legend(fontsize=8, **above).get_texts())


def learning_curve(history, ax=None):
    """Draw the training loss (left axis) and the validation score (right axis) against the epoch, the best epoch marked.

    Parameters
    ----------
    history : cbirkit.learning.History or DataFrame
        A table alone (``History.table``, or one with its columns epoch, loss and score) has no mark.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        The left one.

    Raises
    ------
    TypeError, ValueError
        This is something else, or a table without these columns or without rows.

    Examples
    --------
    >>> from cbirkit.learning import History
    >>> rows = [{"epoch": 0, "step": 0, "score": 0.2}, {"epoch": 1, "step": 10, "loss": 1.5, "score": 0.6}]
    >>> learning_curve(History.from_rows(rows, stopped="finished", best_epoch=1)).get_xlabel()
    'epoch'
    """
    table, best_epoch = getattr(history, "table", history), getattr(history, "best_epoch", None)
    if not hasattr(table, "columns"):
        raise TypeError(f"expected a History or its table, got {type(history).__name__}")
    missing = [name for name in ("epoch", "loss", "score") if name not in table]
    if missing or not len(table):
        what = f"has no column {missing[0]!r}" if missing else "has no rows: no epoch was finished"
        raise ValueError(f"the table {what}; give what learning.train returned")
    ax = new_axes(ax, (5.6, 3.4))
    draw_history(table, ax, best_epoch)
    return describe(ax, describe_history(table, best_epoch))
