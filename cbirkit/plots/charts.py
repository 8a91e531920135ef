"""Charts of measurements: metrics with their intervals."""

import numpy as np

from .style import COLOURS, describe, new_axes, plain_legend, safe_text

# Metrics that are not between 0 and 1.
_NOT_A_SHARE = ("ukbench", "first_rank", "mean_rank", "median_rank")
_HATCH = ("", "////", "....", "xxxx", "\\\\\\\\", "----", "oo", "++")


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
    named = evaluations if isinstance(evaluations, dict) else {"": evaluations}
    if not named:
        raise ValueError("there is nothing to draw: got an empty dict; give {name: ...}")
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
    ax.set(xlabel=f"{words}, 95 % interval", xlim=(0, most))
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
