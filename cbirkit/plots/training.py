"""How training went: the loss and the validation score, epoch by epoch."""

from ..learning.drawing import describe_history, draw_history
from .style import describe, new_axes


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
        raise TypeError(
            f"expected a History or its table, got {type(history).__name__}; give what learning.train returned"
        )
    missing = [name for name in ("epoch", "loss", "score") if name not in table]
    if missing or not len(table):
        what = f"has no column {missing[0]!r}" if missing else "has no rows: no epoch was finished"
        raise ValueError(f"the table {what}; give what learning.train returned")
    ax = new_axes(ax, (5.6, 3.4))
    draw_history(table, ax, best_epoch)
    return describe(ax, describe_history(table, best_epoch))
