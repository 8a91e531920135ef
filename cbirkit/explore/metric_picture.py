"""The Metric Lab's view as a matplotlib figure, for places that run no JavaScript."""

from ..plots.style import BLUE, PLAIN, VERDICTS, describe, verdict_mark

_TILE = 0.82  # inches from one result to the next
_ROW = 0.25  # inches from one line of the table to the next
_MOST_CHARACTERS = 110


def draw_lab(view):
    """Draw the list, how the chosen number comes about, and the table of all definitions.

    Parameters
    ----------
    view : dict
        As `MetricLab` sends it to the page.

    Returns
    -------
    matplotlib.figure.Figure
        Closed for pyplot, so that a notebook shows it once: as the value of its cell.
    """
    import matplotlib.pyplot as plt

    items, metrics = view["items"], view["metrics"]
    groups = list(dict.fromkeys(metric["group"] for metric in metrics))
    columns = 10
    n_rows = -(-len(items) // columns)
    lines = _wrapped(f"{metrics[view['chosen']]['name']}: {metrics[view['chosen']]['line']}")
    height = (
        0.45 + n_rows * 1.05 + 0.2 * len(lines) + 0.3 + _ROW * (len(metrics) + len(groups)) + 0.1
    )
    width = 9.0
    fig = plt.figure(figsize=(width, height))
    plt.close(fig)
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    ax.axis("off")
    text = {"va": "center", **PLAIN}
    ax.text(0.1, 0.18, view["note"], fontsize=9, color="0.3", **text)
    for i, item in enumerate(items):
        _draw_item(ax, item, 0.1 + (i % columns) * _TILE, 0.38 + (i // columns) * 1.05)
    y = 0.45 + n_rows * 1.05
    for line in lines:
        ax.text(0.1, y, line, fontsize=9, weight="bold", **text)
        y += 0.2
    ax.text(0.1, y + 0.04, view["counts"], fontsize=8, color="0.3", **text)
    y += 0.3
    for group in groups:
        ax.text(0.1, y, group, fontsize=9, weight="bold", **text)
        y += _ROW
        for i, metric in enumerate(metrics):
            if metric["group"] == group:
                _draw_metric(ax, metric, y, chosen=i == view["chosen"])
                y += _ROW
    shown = "; ".join(f"{metric['name']} {metric['shown']}" for metric in metrics)
    listed = ", ".join(
        item["word"] + (" (tied with the next)" if item["gap"] else "") for item in items
    )
    describe(ax, f"Metric Lab. Results, nearest first: {listed}. {view['counts']} {shown}.")
    return fig


def _wrapped(line):
    import textwrap

    lines = textwrap.wrap(line, _MOST_CHARACTERS)
    return lines if len(lines) <= 4 else [*lines[:3], "…"]


def _draw_item(ax, item, x, y):
    from matplotlib.patches import Rectangle

    colour, line, _, _ = VERDICTS[item["mark"]]
    ax.add_patch(Rectangle((x, y), 0.58, 0.66, fill=False, ec=colour, ls=line, lw=1.6))
    verdict_mark(ax, item["mark"], (x + 0.29, y + 0.33), size=9)
    look = {"fontsize": 7, "ha": "center", "va": "center", **PLAIN}
    ax.text(x + 0.29, y + 0.1, item["rank"], color="0.35", **look)
    ax.text(x + 0.29, y + 0.56, item["word"], **look)
    ax.text(x + 0.29, y + 0.78, item["term"], **look)
    if item["gap"] is not None:
        weight = "bold" if item["gap"] else "normal"
        ax.text(
            x + 0.7,
            y + 0.33,
            "=" if item["gap"] else "<",
            **look | {"fontsize": 11, "weight": weight},
        )


def _draw_metric(ax, metric, y, *, chosen):
    from matplotlib.patches import Rectangle

    weight = "bold" if chosen else "normal"
    text = {"fontsize": 8.5, "va": "center", **PLAIN}
    ax.text(0.1, y, "\N{BLACK RIGHT-POINTING TRIANGLE}" if chosen else "", fontsize=7, va="center")
    ax.text(0.28, y, metric["name"], weight=weight, **text)
    ax.text(2.32, y, metric["shown"], weight="bold", ha="right", **text)
    if metric["share"] is not None:
        ax.add_patch(Rectangle((2.42, y - 0.05), 1.1, 0.1, fc="0.92", ec="none"))
        ax.add_patch(Rectangle((2.42, y - 0.05), 1.1 * metric["share"], 0.1, fc=BLUE, ec="none"))
    ax.text(3.65, y, metric["text"], color="0.3", **text)
