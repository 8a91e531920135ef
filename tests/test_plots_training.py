"""The learning curve."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from cbirkit import plots
from cbirkit.learning import History


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def history():
    rows = [{"epoch": 0, "step": 0, "score": 0.2}]
    rows += [
        {"epoch": n, "step": 5 * n, "loss": 2 / n, "score": score}
        for n, score in enumerate([0.5, 0.9, 0.7], start=1)
    ]
    return History.from_rows(rows, stopped="finished", best_epoch=2)


def points(line):
    return np.column_stack([line.get_xdata(), line.get_ydata()]).round(3).tolist()


def test_both_curves_and_the_best_epoch(history):
    ax = plots.learning_curve(history)
    (right,) = [other for other in ax.figure.axes if other is not ax]
    assert points(ax.lines[0]) == [[1, 2], [2, 1], [3, 0.667]]
    assert points(right.lines[0]) == [[0, 0.2], [1, 0.5], [2, 0.9], [3, 0.7]] and points(
        right.lines[1]
    ) == [[2, 0.9]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "training loss",
        "validation score",
        "best, epoch 2",
    ]
    assert (ax.get_xlabel(), ax.get_ylabel(), right.get_ylabel()) == (
        "epoch",
        "training loss",
        "validation score",
    )
    assert (
        ax.lines[0].get_linestyle() != right.lines[0].get_linestyle()
    )  # told apart without colours, too
    assert plots.alt_text(ax) == (
        "Training over 3 epochs. The loss goes from 2 to 0.667. The validation score goes from 0.2 to 0.7; the best is 0.9, after epoch 2."
    )


def test_without_validation(history):
    table = history.table.assign(score=np.nan).iloc[1:]
    ax = plots.learning_curve(History(table, "finished"))
    assert len(ax.figure.axes) == 1 and "score" not in plots.alt_text(ax)


def test_a_table_alone_on_given_axes(history):
    ax = plt.subplots()[1]
    assert plots.learning_curve(history.table, ax=ax) is ax
    (right,) = [other for other in ax.figure.axes if other is not ax]
    assert len(right.lines) == 1  # nothing is marked


def test_before_the_first_epoch_is_over(history):
    ax = plots.learning_curve(history.table.iloc[:1])
    assert plots.alt_text(ax).startswith("Training over 0 epochs.")


def test_what_is_refused(history):
    with pytest.raises(TypeError, match="expected a History or its table, got int"):
        plots.learning_curve(3)
    with pytest.raises(ValueError, match="has no column 'loss'"):
        plots.learning_curve(pd.DataFrame({"epoch": [1]}))
    with pytest.raises(ValueError, match="has no rows: no epoch was finished"):
        plots.learning_curve(history.table.iloc[:0])
    with pytest.raises(TypeError, match="ax must be"):
        plots.learning_curve(history, ax=1)


def test_the_history_tells_itself(history):
    assert (
        str(history)
        == "3 epochs; best score 0.9000 after epoch 2; the weights are those of the last step"
    )
    assert "seconds" not in history._repr_html_() and "0.667" in history._repr_html_().replace(
        "0.6667", "0.667"
    )
    assert history.table["epoch"].dtype == np.int64 and history.table["loss"].dtype == np.float64
