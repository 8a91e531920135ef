"""The one training loop."""

import dataclasses
import logging
from collections.abc import Sized

from .checkpoints import Checkpoints
from .interrupts import Interrupts, in_notebook
from .live import live
from .options import changed, check_whole
from .randomness import seeded
from .run import Run, nothing_lost

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long a run is: at most `n_steps` in all, at most `per_epoch` an epoch."""

    n_steps: int
    per_epoch: int
    epochs: int | None = None

    def epoch_over(self, at):
        """Whether the present epoch has all its steps."""
        return at.taken >= self.per_epoch or at.step >= self.n_steps

    def over(self, at):
        """Whether there is no further epoch."""
        return at.step >= self.n_steps or (self.epochs is not None and at.epoch >= self.epochs)


def train(
    network, batches, loss, *, epochs=None, validate=None, checkpoint=None, options=None, **changes
):
    """Train a network, whatever the loss.

    Parameters
    ----------
    network : torch.nn.Module
        Trained in place; what asks for no gradient (``requires_grad_(False)``) stays as it is. Weights of the
        loss itself (proxies, a classifier) belong in here too: ``torch.nn.ModuleDict({"backbone": …,
        "proxies": …})``.
    batches : iterable with a length
        Gone through anew in every epoch: `ImageBatches`, a torch ``DataLoader``, a list. The tensors in each
        batch are moved to the device.
    loss : callable
        ``loss(network, batch)`` gives a scalar tensor, or (scalar tensor, dict of numbers); the numbers are
        averaged over an epoch and become columns of the history.
    epochs : int, optional
        Passes over `batches`; not needed where ``steps`` is given.
    validate : callable, optional
        ``validate(network)`` gives a number, larger is better; called before training and after each epoch,
        in evaluation mode without gradients. The best weights are given to the network at the end, the first
        of equal ones. The images it uses may be neither trained on nor queries or database of the final test:
        that choice is a fit like any other.
    checkpoint : path-like, optional
        Folder in which the run is kept. A run that was killed is gone on with, to the very bits on a CPU with
        as many threads; of a finished one the result is given at once. Other settings, another loss or other
        starting weights are refused.
    options : Options, optional
    **changes
        Fields of `Options`: ``learning_rate=2e-3, schedule="cosine", patience=3`` …

    Returns
    -------
    History
        The network is on its device and in evaluation mode.

    Raises
    ------
    TrainingDiverged
        Infinity or NaN in the loss, a gradient or a weight; the network has its last good weights.
    TypeError, ValueError
        No batches, nothing that learns, a score that is no number, a checkpoint of another run …

    Notes ----- The stop button of a notebook (KeyboardInterrupt) ends training after the present step: the
    checkpoint is written, the best weights (the present ones if no epoch was finished) are kept and the
    history is returned. In a script it is raised again after that. A second press stops in the middle of a
    step; the last checkpoint then stays as it is.

    What random numbers the loss, the network and the batches take from torch, numpy or Python is seeded by
    ``random_state`` and part of a checkpoint; after training these generators are where they were before.

    Examples
    --------
    >>> import torch
    >>> inputs = torch.linspace(-1, 1, 32)[:, None]
    >>> def loss(network, batch):
    ...     return (network(batch) - 3 * batch).square().mean()
    >>> line = torch.nn.Linear(1, 1)
    >>> history = train(line, inputs.split(8), loss, epochs=100, learning_rate=0.1, weight_decay=0.0)
    >>> round(line.weight.item(), 2), history.stopped
    (3.0, 'finished')
    """
    from ..nets.extraction import pick_device

    options = changed(options, changes)
    plan = _plan(batches, epochs, options.steps)
    if options.patience is not None and validate is None:
        raise ValueError(
            f"patience={options.patience} needs a validation score; pass validate=, or leave patience out"
        )
    device = pick_device(options.device)
    run = Run(network.to(device), loss, plan, options, device)
    saved = Checkpoints(checkpoint, options.save_seconds)
    identity = run.identity(batches, validate)
    with (
        seeded(run.seed, device),
        Interrupts() as interrupts,
        live(plan, options.progress) as display,
    ):
        if run.resume(saved, identity):
            log.info(
                "going on from the checkpoint in %s after step %d of %d",
                saved.folder,
                run.at.step,
                plan.n_steps,
            )
        try:
            with nothing_lost(run):
                _epochs(run, batches, validate, interrupts, display)
        except KeyboardInterrupt:
            run.save()
            history = run.finish("interrupted")
            if not in_notebook():
                raise
        else:
            run.save()
            history = run.finish(run.at.stopped)
        display.end(history)
    return history


def _epochs(run, batches, validate, interrupts, display):
    """Train until the run is over."""

    def close():
        score = None
        if validate is not None:
            with interrupts.at_once():
                score = run.score(validate)
        run.close_epoch(score)
        display.epoch(run.at)
        run.save(only_if_due=True)

    if validate is not None and not run.at.rows:
        close()  # how good it is before training
    while run.at.stopped is None:
        if not run.plan.epoch_over(run.at):
            _steps(run, batches, interrupts, display)
        close()


def _steps(run, batches, interrupts, display):
    """Take the steps of an epoch that are still to come."""
    remaining = run.start_epoch(batches)
    try:
        for batch in remaining:
            value = run.step(batch)
            display.step(run.at, value)
            interrupts.check()
            run.save(only_if_due=True)
            if run.plan.epoch_over(run.at):
                break
    finally:
        getattr(remaining, "close", lambda: None)()
    if not run.at.taken:
        raise ValueError(
            "an epoch gave no batch at all; batches must be iterable again and again: pass a list, a DataLoader or ImageBatches"
        )


def _plan(batches, epochs, steps):
    check_whole("epochs", epochs, optional=True)
    if epochs is None and steps is None:
        raise ValueError("how long to train? pass epochs=10 or steps=1000, say")
    if not isinstance(batches, Sized) or not hasattr(batches, "__iter__"):
        raise TypeError(
            f"batches must have a length and be iterable again and again, got a {type(batches).__name__}; "
            "pass a list, a DataLoader or ImageBatches"
        )
    per_epoch = len(batches)
    if not per_epoch:
        raise ValueError(
            "there is no batch to train on: batches is empty; are there images, and at least batch_size of them?"
        )
    planned = [n for n in (None if epochs is None else epochs * per_epoch, steps) if n is not None]
    return Plan(int(min(planned)), per_epoch, epochs)
