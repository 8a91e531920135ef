"""What training leaves behind beside the weights: a table with one row an epoch, and the curve that is drawn of it."""

import base64
import dataclasses
import html
import io
import logging
import time

import numpy as np
import pandas as pd

log = logging.getLogger(__name__)

COLUMNS = ("epoch", "step", "loss", "score", "learning_rate", "seconds")
LOSS, SCORE = "#0072B2", "#D55E00"  # of Okabe and Ito's set; the line styles differ too
_BAR_SECONDS, _CURVE_SECONDS = 0.3, 1.0  # how often they are renewed at most


@dataclasses.dataclass(frozen=True, eq=False)
class History:
    """How a training run went.

    Attributes
    ----------
    table : DataFrame
        One row an epoch: ``epoch`` (0 is before training, there if the run was validated), ``step`` (steps
        done until then), ``loss`` (mean over the batches of the epoch), ``score`` (validation; NaN without),
        ``learning_rate`` (the largest of the last step), ``seconds`` since the start (of all parts of a
        resumed run), and a column for each further number that the loss function gave.
    stopped : {"finished", "patience", "interrupted", "diverged"}
        Why the run ended.
    best_epoch : int or None
        Epoch whose weights the network has now: the first with the best score. None without validation: it
        has the last weights.
    weights_from : str
        In words, which weights the network has now.

    Examples
    --------
    >>> rows = [{"epoch": 0, "step": 0, "score": 0.2}, {"epoch": 1, "step": 10, "loss": 1.5, "score": 0.6}]
    >>> History.from_rows(rows, stopped="finished", best_epoch=1).best_score
    0.6
    """

    table: pd.DataFrame
    stopped: str
    best_epoch: int | None = None
    weights_from: str = "the last step"

    @classmethod
    def from_rows(cls, rows, **known):
        """Of dicts, one an epoch; numbers that are missing (or None) become NaN."""
        further = [name for row in rows for name in row if name not in COLUMNS]
        table = pd.DataFrame(rows, columns=list(dict.fromkeys([*COLUMNS, *further])))
        numbers = {name: np.int64 if name in ("epoch", "step") else np.float64 for name in table}
        return cls(table.astype(numbers), **known)

    @property
    def best_score(self):
        """The best validation score, or NaN without validation."""
        if self.best_epoch is None:
            return float("nan")
        return float(self.table.loc[self.table["epoch"] == self.best_epoch, "score"].iloc[0])

    def __str__(self):
        n_epochs = int(self.table["epoch"].max()) if len(self.table) else 0
        why = {"finished": "", "patience": ", stopped early"}.get(self.stopped, f", {self.stopped}")
        score = ""
        if self.best_epoch is not None:
            score = f"; best score {self.best_score:.4f} after epoch {self.best_epoch}"
        return f"{n_epochs} epochs{why}{score}; the weights are those of {self.weights_from}"

    def __repr__(self):
        return f"<History: {self}>"

    def _repr_html_(self):
        shown = self.table.drop(columns="seconds")  # these differ each time a notebook is run
        return f"<p>{self}</p>{shown.to_html(index=False, float_format='{:.4g}'.format)}"


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
    there, right = np.isfinite(loss), None
    style = {"color": LOSS, "marker": "o", "ms": 3}
    lines = ax.plot(epoch[there], loss[there], label="training loss", **style)
    if (there := np.isfinite(score)).any():
        right = ax.twinx()
        right.set_ylabel("validation score", color=SCORE)
        style = {"color": SCORE, "ls": "--", "marker": "s", "ms": 3}
        lines += right.plot(epoch[there], score[there], label="validation score", **style)
        if best_epoch is not None:
            style |= {"ls": "", "marker": "*", "ms": 12, "mec": "black"}
            best, label = score[epoch == best_epoch], f"best, epoch {best_epoch}"
            lines += right.plot([best_epoch], best, label=label, **style)
    ax.grid(alpha=0.3)
    if lines:  # above: nothing is covered
        place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncol": 3}
        ax.legend(handles=lines, fontsize=8, frameon=False, **place)
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


def in_notebook():
    """Whether this runs in a Jupyter kernel."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return hasattr(get_ipython(), "kernel")


class Display:
    """What one sees while training runs.

    In a notebook a bar and the learning curve, in one output that is renewed; elsewhere a line an epoch in the log, at the level INFO;
    without `progress` nothing.
    """

    def __init__(self, n_steps, progress):
        self.n_steps, self.progress, self._handle = n_steps, progress, None
        self._curve, self._drawn, self._shown = "", 0.0, 0.0
        if progress and in_notebook():
            from IPython.display import display

            self._handle = display({"text/plain": "training"}, raw=True, display_id=True)

    def step(self, at, loss):
        """Renew the bar after a step."""
        if self._handle and time.monotonic() - self._shown >= _BAR_SECONDS:
            self._show(at.epoch + 1, at.step, f"loss {loss:.4g}")

    def epoch(self, at):
        """Renew the curve after an epoch, or log it."""
        row, now = at.rows[-1], time.monotonic()
        if self._handle and now - self._drawn >= _CURVE_SECONDS:
            history = History.from_rows(at.rows, stopped="finished", best_epoch=at.best_epoch)
            text = html.escape(describe_history(history.table, history.best_epoch), quote=True)
            picture = base64.b64encode(_picture(history)).decode()
            self._curve = f'<br><img alt="{text}" src="data:image/png;base64,{picture}">'
            self._drawn = now
            score = "" if row["score"] is None else f"score {row['score']:.4g}"
            self._show(at.epoch, at.step, score)
        elif self.progress and not self._handle:
            told = {k: v for k, v in row.items() if k not in ("epoch", "step", "seconds")}
            words = ", ".join(f"{name} {v:.4g}" for name, v in told.items() if v is not None)
            best = " (best)" if at.best_epoch == at.epoch else ""
            where = f"epoch {at.epoch}, step {at.step} of {self.n_steps}"
            log.info("%s: %s%s, %.0f s", where, words, best, row["seconds"])

    def _show(self, epoch, step, words):
        text = f"epoch {epoch}, step {step} of {self.n_steps}; {words}"
        bar = f'<progress value="{step}" max="{self.n_steps}" aria-label="training"></progress>'
        page = f"<div>{bar} {html.escape(text)}{self._curve}</div>"
        self._handle.update({"text/html": page, "text/plain": text}, raw=True)
        self._shown = time.monotonic()

    def end(self, history):
        """Leave the picture behind, without times, so that the notebook is the same when it is run again."""
        if self._handle:
            text = f"{history}. {describe_history(history.table, history.best_epoch)}"
            data = {"image/png": _picture(history, title=str(history)), "text/plain": text}
            self._handle.update(data, raw=True, metadata={"image/png": {"alt": text}})
        elif self.progress:
            log.info("%s", history)


def _picture(history, title=None):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 3.0), layout="constrained")
    draw_history(history.table, figure.subplots(), history.best_epoch)
    if title:
        figure.suptitle(title, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80, metadata={"Software": None})
    return buffer.getvalue()
