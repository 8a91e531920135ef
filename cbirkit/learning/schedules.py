"""How the learning rate goes over a run: pure functions of the step, so that a resumed run needs no memory of it."""

import math

SCHEDULES = ("one_cycle", "cosine", "constant")

_WARM_SHARE = 0.3  # of the steps, until the peak
_START = 1 / 25  # of the peak rate
_END = 1e-4 / 25


def rate_factor(schedule, step, n_steps):
    """Factor of the peak rate at one step.

    Parameters
    ----------
    schedule : {"one_cycle", "cosine", "constant"} or callable
        "one_cycle": half a cosine up from 1/25 to 1 over 30 % of the steps, then half a cosine down to
        1/250,000 (Smith and Topin 2018, arXiv 1708.07120; the shape and defaults of
        ``torch.optim.lr_scheduler.OneCycleLR``, momentum left as it is). "cosine": (1 + cos(pi step /
        n_steps)) / 2 (Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts). A callable is asked:
        ``schedule(step, n_steps)``.
    step : int
        From 0 to n_steps - 1.
    n_steps : int
        Length of the run.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        Unknown schedule; a callable gave no number >= 0.

    Examples
    --------
    >>> [round(rate_factor("cosine", step, 4), 3) for step in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    check_schedule(schedule)
    if callable(schedule):
        factor = float(schedule(step, n_steps))
        if not 0 <= factor < math.inf:
            raise ValueError(
                f"the schedule gave {factor} at step {step} of {n_steps}; let it give a number >= 0"
            )
        return factor
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return _between(1.0, 0.0, step / n_steps)
    peak, last = max(_WARM_SHARE * n_steps - 1, 0.0), n_steps - 1
    if step <= peak:
        return _between(_START, 1.0, step / peak if peak else 1.0)
    return _between(1.0, _END, (step - peak) / (last - peak))


def check_schedule(schedule):
    """Refuse what is no schedule."""
    if schedule not in SCHEDULES and not callable(schedule):
        raise ValueError(
            f"schedule must be one of {SCHEDULES} or a function of (step, n_steps), got {schedule!r}; pass one of these"
        )


def _between(start, end, share):
    """From `start` to `end` along half a cosine."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
