"""What one sees while training runs: one picture with a bar that is renewed in place in a notebook, lines in the log elsewhere."""

import base64
import contextlib
import html
import io
import logging
import time

from .drawing import describe_history, draw_history
from .history import History
from .interrupts import in_notebook

log = logging.getLogger(__name__)

_BAR_SECONDS, _CURVE_SECONDS = 0.3, 1.0  # how often they are renewed at most


@contextlib.contextmanager
def live(plan, progress):
    """The display of a run; `progress` False shows nothing."""
    if not progress:
        yield _Nothing()
    elif in_notebook():
        yield NotebookDisplay(plan)
    else:
        yield LogDisplay(plan)


class _Nothing:
    def step(self, at, loss):
        pass

    def epoch(self, at):
        pass

    def end(self, history):
        pass


class LogDisplay(_Nothing):
    """A line an epoch, at the level INFO."""

    def __init__(self, plan):
        self.plan = plan

    def epoch(self, at):
        row = at.rows[-1]
        words = [
            f"{name} {row[name]:.4g}"
            for name in row
            if name not in ("epoch", "step", "seconds") and row[name] is not None
        ]
        best = " (best)" if at.best_epoch == at.epoch else ""
        log.info(
            "epoch %d, step %d of %d: %s%s, %.0f s",
            at.epoch,
            at.step,
            self.plan.n_steps,
            ", ".join(words),
            best,
            row["seconds"],
        )

    def end(self, history):
        log.info("%s", history)


class NotebookDisplay(_Nothing):
    """A bar and the learning curve, in one output that is renewed."""

    def __init__(self, plan):
        from IPython.display import display

        self.plan = plan
        self._curve = ""
        self._drawn = self._shown = 0.0
        self._handle = display({"text/plain": "training"}, raw=True, display_id=True)

    def step(self, at, loss):
        if time.monotonic() - self._shown >= _BAR_SECONDS:
            self._show(at, f"loss {loss:.4g}")

    def epoch(self, at):
        if time.monotonic() - self._drawn >= _CURVE_SECONDS:
            history = History.from_rows(at.rows, stopped="finished", best_epoch=at.best_epoch)
            text = html.escape(describe_history(history.table, history.best_epoch), quote=True)
            picture = base64.b64encode(_picture(history)).decode()
            self._curve = f'<br><img alt="{text}" src="data:image/png;base64,{picture}">'
            self._drawn = time.monotonic()
            self._show(
                at,
                ""
                if at.best_score is None
                else f"best score {at.best_score:.4g} after epoch {at.best_epoch}",
            )

    def _show(self, at, words):
        text = f"epoch {at.epoch + (at.taken > 0)}, step {at.step} of {self.plan.n_steps}; {words}"
        bar = f'<progress value="{at.step}" max="{self.plan.n_steps}" aria-label="training"></progress>'
        self._handle.update(
            {"text/html": f"<div>{bar} {html.escape(text)}{self._curve}</div>", "text/plain": text},
            raw=True,
        )
        self._shown = time.monotonic()

    def end(self, history):
        """Leave the picture behind, without times, so that the notebook is the same when it is run again."""
        text = f"{history}. {describe_history(history.table, history.best_epoch)}"
        metadata = {"image/png": {"alt": text}}
        self._handle.update(
            {"image/png": _picture(history, title=str(history)), "text/plain": text},
            raw=True,
            metadata=metadata,
        )


def _picture(history, title=None):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 3.0), layout="constrained")
    ax = figure.subplots()
    draw_history(history.table, ax, history.best_epoch)
    if title:
        figure.suptitle(title, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80, metadata={"Software": None})
    return buffer.getvalue()
