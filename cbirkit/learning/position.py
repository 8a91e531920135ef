"""How far a training run is."""

import dataclasses


@dataclasses.dataclass
class Position:
    """How far a run is: numbers only.

    Attributes
    ----------
    step, epoch : int
        Steps done; epochs closed (their score is known).
    taken : int
        Batches taken of the present epoch.
    totals : dict
        Sums over these batches of the loss and of what else the loss function gave.
    rows : list of dict
        Of the history.
    best_epoch, best_score : int, float
        None before the first score.
    seconds : float
        Spent in earlier parts of the run.
    stopped : str or None
        Why it is over.
    """

    step: int = 0
    epoch: int = 0
    taken: int = 0
    totals: dict = dataclasses.field(default_factory=dict)
    rows: list = dataclasses.field(default_factory=list)
    best_epoch: int | None = None
    best_score: float | None = None
    seconds: float = 0.0
    stopped: str | None = None
