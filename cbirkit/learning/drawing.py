"""The learning curve on matplotlib Axes: drawn live by the loop, and by `cbirkit.plots.learning_curve`."""

import numpy as np

LOSS, SCORE = "#0072B2", "#D55E00"  # of Okabe and Ito's set; the line styles differ too


def draw_history(table, ax, best_epoch=None):
    """Draw loss (left axis) and validation score (right axis) against the epoch.

    Parameters
    ----------
    table : DataFrame
        Of a `History`.
    ax : matplotlib.axes.Axes
    best_epoch : int, optional
        Is marked.

    Returns
    -------
    matplotlib.axes.Axes or None
        The right axis, if there are scores.
    """
    epoch, loss, score = (table[name].to_numpy(dtype=float) for name in ("epoch", "loss", "score"))
    ax.set_xlabel("epoch")
    ax.set_ylabel("training loss", color=LOSS)
    ax.xaxis.get_major_locator().set_params(integer=True)
    there = np.isfinite(loss)
    lines = ax.plot(epoch[there], loss[there], color=LOSS, marker="o", ms=3, label="training loss")
    right, there = None, np.isfinite(score)
    if there.any():
        right = ax.twinx()
        right.set_ylabel("validation score", color=SCORE)
        lines += right.plot(
            epoch[there],
            score[there],
            color=SCORE,
            ls="--",
            marker="s",
            ms=3,
            label="validation score",
        )
        if best_epoch is not None:
            best = score[epoch == best_epoch]
            lines += right.plot(
                [best_epoch],
                best,
                ls="",
                marker="*",
                ms=12,
                color=SCORE,
                mec="black",
                label=f"best, epoch {best_epoch}",
            )
    ax.grid(alpha=0.3)
    if lines:
        place = {
            "loc": "lower center",
            "bbox_to_anchor": (0.5, 1.0),
            "ncol": 3,
            "frameon": False,
        }  # above: nothing is covered
        ax.legend(handles=lines, fontsize=8, **place)
    return right


def describe_history(table, best_epoch=None):
    """What the curve shows, in words."""
    loss, score = table["loss"].dropna(), table["score"].dropna()
    text = f"Training over {int(table['epoch'].max()) if len(table) else 0} epochs."
    if len(loss):
        text += f" The loss goes from {loss.iloc[0]:.3g} to {loss.iloc[-1]:.3g}."
    if len(score):
        text += f" The validation score goes from {score.iloc[0]:.3g} to {score.iloc[-1]:.3g}"
        best = table.loc[table["epoch"] == best_epoch, "score"]
        text += f"; the best is {best.iloc[0]:.3g}, after epoch {best_epoch}." if len(best) else "."
    return text
