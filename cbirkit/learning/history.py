"""What training leaves behind beside the weights: a table with one row an epoch."""

import dataclasses

import numpy as np
import pandas as pd

COLUMNS = ("epoch", "step", "loss", "score", "learning_rate", "seconds")


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
        score = (
            ""
            if self.best_epoch is None
            else f"; best score {self.best_score:.4f} after epoch {self.best_epoch}"
        )
        return f"{n_epochs} epochs{why}{score}; the weights are those of {self.weights_from}"

    def __repr__(self):
        return f"<History: {self}>"

    def _repr_html_(self):
        shown = self.table.drop(columns="seconds")  # these differ each time a notebook is run
        return f"<p>{self}</p>{shown.to_html(index=False, float_format='{:.4g}'.format)}"
