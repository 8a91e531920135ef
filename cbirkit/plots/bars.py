"""Metrics with their intervals, side by side."""

from collections.abc import Mapping

import numpy as np

from .style import COLOURS, describe, new_axes, plain_text, safe_text

_NOT_A_SHARE = (
    "ukbench",
    "first_rank",
    "mean_rank",
    "median_rank",
)  # metrics that are not between 0 and 1
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
    if not isinstance(evaluations, Mapping):
        evaluations = {"": evaluations}
    tables = {name: getattr(one, "summary", one) for name, one in evaluations.items()}
    if not tables:
        raise ValueError("there is nothing to draw: got an empty dict; give {name: evaluation}")
    metrics = _chosen_metrics(tables, metrics)
    ax = new_axes(ax, (5.6, 0.9 + (0.22 * len(tables) + 0.18) * len(metrics)))
    height = 0.8 / len(tables)
    told = []
    for i, (name, table) in enumerate(tables.items()):
        rows = table.loc[metrics]
        mean = rows["mean"].to_numpy(float)
        spread = np.nan_to_num(
            [mean - rows["low"].to_numpy(float), rows["high"].to_numpy(float) - mean]
        ).clip(0)
        place = np.arange(len(metrics)) + (i - (len(tables) - 1) / 2) * height
        look = {"color": COLOURS[i % len(COLOURS)], "hatch": _HATCH[i % len(_HATCH)], "alpha": 0.75}
        look |= {"edgecolor": "white", "lw": 0, "error_kw": {"lw": 1.2, "capsize": 2}}
        ax.barh(place, mean, height * 0.9, xerr=spread, label=safe_text(name, 40), **look)
        for y, value, high in zip(place, mean, mean + spread[1], strict=True):
            ax.annotate(
                f"{value:.3f}",
                (high, y),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        values = ", ".join(
            f"{metric} {value:.3f}" for metric, value in zip(metrics, mean, strict=True)
        )
        told.append(f"{safe_text(name, 40)}: {values}." if name else f"{values}.")
    _label_bars(ax, metrics, named=len(tables) > 1)
    return describe(ax, "Bars of metrics with 95 % intervals. " + " ".join(told))


def _chosen_metrics(tables, metrics):
    known = [
        m
        for m in next(iter(tables.values())).index
        if all(m in table.index for table in tables.values())
    ]
    if metrics is None:
        metrics = [m for m in known if not m.startswith(_NOT_A_SHARE)] or known[:1]
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    missing = [m for m in metrics if m not in known]
    if missing or not metrics:
        raise ValueError(
            f"no metric {', '.join(missing) or '(none given)'} in every evaluation; "
            f"choose from {', '.join(known)}"
        )
    odd = [m for m in metrics if m.startswith(_NOT_A_SHARE)]
    if odd and len(metrics) > 1:
        raise ValueError(
            f"{odd[0]} is not between 0 and 1 and cannot share an axis; draw it alone: metrics=[{odd[0]!r}]"
        )
    return metrics


def _label_bars(ax, metrics, *, named):
    ax.set_yticks(range(len(metrics)), metrics)
    ax.invert_yaxis()
    if metrics[0].startswith("ukbench"):
        ax.set(
            xlim=(0, 4.6),
            xlabel="images of the object among the first four (0 to 4), 95 % interval over queries",
        )
    elif metrics[0].startswith(_NOT_A_SHARE):
        ax.set(xlabel="rank (1 is first), 95 % interval over queries")
        ax.margins(x=0.12)
    else:
        ax.set(
            xlim=(0, 1.12), xlabel="score (0 to 1, higher is better), 95 % interval over queries"
        )
    ax.spines[["top", "right"]].set_visible(False)
    if named:
        plain_text(
            *ax.legend(
                fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False
            ).get_texts()
        )
