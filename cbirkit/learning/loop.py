"""The one training loop: its settings, its steps, its checkpoints."""

import collections
import contextlib
import dataclasses
import logging
import math
import random
import time
import types
from collections.abc import Mapping, Sized
from pathlib import Path

import numpy as np
from sklearn.utils import check_random_state

from cbirkit._atomic import replacing
from cbirkit._optional import require
from cbirkit.encoders.base import check_choice, check_count, check_number
from cbirkit.persistence import code_identity

from .history import Display, History, in_notebook

log = logging.getLogger(__name__)

SCHEDULES = ("one_cycle", "cosine", "constant")
_PLAIN = bool | int | float | str


class TrainingDiverged(ArithmeticError):
    """The loss, a gradient or a weight is infinite or not a number; the network has its last good weights.

    Attributes
    ----------
    history : cbirkit.learning.History or None
        Of the epochs before.
    """

    def __init__(self, message, history=None):
        super().__init__(message)
        self.history = history


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of `train`; pass one, or its fields as keywords.

    Attributes
    ----------
    learning_rate : float or dict
        Peak rate. A dict maps beginnings of parameter names to rates, ``{"backbone": 1e-4, "head": 1e-2}``:
        the longest that fits counts, ``""`` fits all. Parameters that ask for no gradient are left alone.
    weight_decay : float
        Of AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101).
    schedule : {"one_cycle", "cosine", "constant"}
        How the rate goes, see `cbirkit.learning.rate_factor`.
    steps : int, optional
        Stop after so many steps, in the middle of an epoch if need be.
    patience : int, optional
        Stop after so many epochs without a better validation score.
    clip_norm : float, optional
        Scale the gradient down to this length where it is longer.
    batch_norm : {"update", "frozen"}
        "update": layers of batch normalisation use the statistics of the batch and go on averaging them.
        "frozen": they use, and keep, the averages they have; their weights still learn. Layers whose own
        weights are frozen keep theirs in any case.
    device : str
        "auto" is the first there is of cuda, mps and cpu.
    random_state : int, RandomState or None
        Seeds the random numbers of torch, numpy and Python while training lasts; afterwards they are what
        they were.
    progress : bool
        Show a curve and a bar in a notebook; log a line an epoch elsewhere.

    Raises
    ------
    ValueError
        A setting is out of range.

    Examples
    --------
    >>> Options(learning_rate=2e-3, patience=5).schedule
    'one_cycle'
    """

    learning_rate: float | Mapping = 1e-3
    weight_decay: float = 0.01
    schedule: str = "one_cycle"
    steps: int | None = None
    patience: int | None = None
    clip_norm: float | None = None
    batch_norm: str = "update"
    device: str = "auto"
    random_state: object = 0
    progress: bool = True

    def __post_init__(self):
        rates = self.learning_rate
        for rate in list(rates.values()) or [None] if isinstance(rates, Mapping) else [rates]:
            check_number("learning_rate", rate, 0, open_low=True)
        check_number("weight_decay", self.weight_decay, 0)
        if self.clip_norm is not None:
            check_number("clip_norm", self.clip_norm, 0, open_low=True)
        for name in ("steps", "patience"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("batch_norm", self.batch_norm, ("update", "frozen"))


# settings of which a run may have others when it is gone on with, or that are told in another way
_FREE = {"device", "progress", "random_state", "steps"}


def rate_factor(schedule, step, n_steps):
    """Factor of the peak rate at one step.

    Parameters
    ----------
    schedule : {"one_cycle", "cosine", "constant"}
        "one_cycle": half a cosine up from 1/25 to 1 over 30 % of the steps, then half a cosine down to
        1/250,000 (Smith and Topin 2018, arXiv 1708.07120; the shape and defaults of
        ``torch.optim.lr_scheduler.OneCycleLR``, momentum left as it is). "cosine": (1 + cos(pi step /
        n_steps)) / 2 (Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts).
    step : int
        From 0 to n_steps - 1.
    n_steps : int
        Length of the run.

    Returns
    -------
    float

    Examples
    --------
    >>> [round(rate_factor("cosine", step, 4), 3) for step in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    if schedule == "constant":
        return 1.0
    peak = max(0.3 * n_steps - 1, 0.0) if schedule == "one_cycle" else 0.0
    if schedule == "cosine":
        start, end, share = 1.0, 0.0, step / n_steps
    elif step <= peak:
        start, end, share = 1 / 25, 1.0, step / peak if peak else 1.0
    else:
        start, end, share = 1.0, 1e-4 / 25, (step - peak) / (n_steps - 1 - peak)
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


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
        File in which the run is kept at the end of each epoch. A run that was killed is gone on with from
        there; of a finished one the result is given at once. Other settings, another loss or other starting
        weights are refused.
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

    Notes
    -----
    The stop button of a notebook (KeyboardInterrupt) ends training at once: the network gets the best weights
    so far (the present ones if no epoch was finished), and the history is returned. In a script the interrupt
    is raised again after that. The checkpoint is that of the last finished epoch.

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
    options = dataclasses.replace(options or Options(), **changes)
    if epochs is not None:
        check_count("epochs", epochs)
    elif options.steps is None:
        raise ValueError("how long to train? pass epochs=10 or steps=1000, say")
    if not isinstance(batches, Sized) or not hasattr(batches, "__iter__") or not len(batches):
        raise ValueError(
            f"batches must hold at least one batch and be iterable again and again, got a {type(batches).__name__}; pass "
            "a list, a DataLoader or ImageBatches"
        )
    if options.patience is not None and validate is None:
        raise ValueError("patience needs a validation score; pass validate=")
    run = _Run(network, batches, loss, validate, epochs, options)
    display = Display(run.n_steps, options.progress)
    with _seeded(run.seed, run.device):
        if checkpoint is not None and run.resume(Path(checkpoint)):
            log.info("going on from %s after step %d of %d", checkpoint, run.at.step, run.n_steps)
        try:
            if validate is not None and not run.at.rows:
                run.close_epoch(None, display)  # how good it is before training
            while run.at.stopped is None:
                run.epoch(display)
        except KeyboardInterrupt:
            history = run.finish("interrupted")
            if not in_notebook():
                raise
        except TrainingDiverged as error:
            rate = max(group["lr"] for group in run.optimiser.param_groups)
            history = run.finish("diverged")
            raise TrainingDiverged(
                f"{error}, so training stops; the network has the weights of {history.weights_from} again. Lower "
                f"learning_rate (it was {rate:.2g} at that step), set clip_norm=1.0, or look for NaN in the images "
                "and the loss function",
                history,
            ) from error
        else:
            history = run.finish(run.at.stopped)
    display.end(history)
    return history


class _Run:
    """One training run: `at` says how far it is (plain values), `kept` are the weights to go back to."""

    def __init__(self, network, batches, loss, validate, epochs, options):
        from cbirkit.nets.extraction import pick_device

        self.device = pick_device(options.device)
        self.network = network.to(self.device)
        self.batches, self.loss, self.validate, self.options = batches, loss, validate, options
        self.per_epoch, self.epochs = len(batches), epochs or math.inf
        self.n_steps = min(self.epochs * self.per_epoch, options.steps or math.inf)
        self.seed = int(check_random_state(options.random_state).randint(2**31 - 1))
        self.optimiser = _optimiser(network, options)
        self.learned = [p for group in self.optimiser.param_groups for p in group["params"]]
        self.at = types.SimpleNamespace(
            step=0, epoch=0, rows=[], best_epoch=None, best_score=None, seconds=0.0, stopped=None
        )
        self.kept = self._weights()
        self.file = None
        self._since = time.monotonic()

    def epoch(self, display):
        """Take the steps of one epoch, and close it."""
        at, totals, taken = self.at, collections.Counter(), 0
        numbered = hasattr(self.batches, "epoch")
        self._training_mode()
        for batch in self.batches.epoch(at.epoch, device=self.device) if numbered else self.batches:
            found = self.step(batch)
            totals.update(found)
            at.step, taken = at.step + 1, taken + 1
            display.step(at, found["loss"])
            if taken >= self.per_epoch or at.step >= self.n_steps:
                break
        if not taken:
            raise ValueError("an epoch gave no batch; batches must be iterable again and again")
        self.close_epoch({name: total / taken for name, total in totals.items()}, display)

    def _training_mode(self):
        """Training mode, but for batch normalisation that is to keep its statistics."""
        nn = require("torch").nn
        norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
        self.network.train()
        for module in self.network.modules():
            if isinstance(module, norms):
                own = [p.requires_grad for p in module.parameters(recurse=False)]
                if self.options.batch_norm == "frozen" or (own and not any(own)):
                    module.eval()

    def step(self, batch):
        """One step on one batch; gives the loss and what else the loss function told, as numbers."""
        factor = rate_factor(self.options.schedule, self.at.step, self.n_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * factor
        self.optimiser.zero_grad()
        loss, found = _checked(self.loss(self.network, _to_device(batch, self.device)))
        if not math.isfinite(found["loss"]):
            raise TrainingDiverged(f"the loss is {found['loss']} at step {self.at.step + 1}")
        loss.backward()
        clip = require("torch").nn.utils.clip_grad_norm_
        norm = clip(self.learned, self.options.clip_norm or math.inf).item()
        if not math.isfinite(norm):
            raise TrainingDiverged(f"the gradient is {norm} at step {self.at.step + 1}")
        self.optimiser.step()
        return found

    def close_epoch(self, means, display):
        """Score an epoch, note it and save; `means` is None for the state before training."""
        at, weights = self.at, self._weights()
        epoch, rate = at.epoch + (means is not None), None
        if not all(v.isfinite().all() for v in weights.values() if v.is_floating_point()):
            raise TrainingDiverged(f"a weight is infinite or not a number after step {at.step}")
        score = self._score(epoch)
        if means is not None:
            rate = max(group["lr"] for group in self.optimiser.param_groups)
        seconds = at.seconds + time.monotonic() - self._since
        row = {"epoch": epoch, "step": at.step, "learning_rate": rate, "seconds": seconds}
        at.rows.append(row | (means or {}) | {"score": score})
        at.epoch = epoch
        if score is None or at.best_score is None or score > at.best_score:
            self.kept = weights
            at.best_epoch, at.best_score = (None, None) if score is None else (epoch, score)
        if at.step >= self.n_steps or epoch >= self.epochs:
            at.stopped = "finished"
        elif self.options.patience and epoch - at.best_epoch >= self.options.patience:
            at.stopped = "patience"
        display.epoch(at)
        if self.file is not None:
            saved = {"run": self.identity, "starts": self.starts, "network": weights}
            saved |= {"at": vars(at) | {"seconds": seconds}, "kept": self.kept}
            saved |= {"optimiser": self.optimiser.state_dict()}
            self._write(saved | {"random": _random_states(self.device)})

    def _score(self, epoch):
        """Validation score of the weights as they are, a finite number; None without validation."""
        if self.validate is None:
            return None
        self.network.eval()
        with require("torch").no_grad():
            value = self.validate(self.network)
        try:
            score = float(value)
        except (TypeError, ValueError):
            score = math.nan
        if not math.isfinite(score):
            raise ValueError(
                f"validate gave {value!r} after epoch {epoch}; let it return a finite number: are there images in the "
                "validation split, and has each a relevant one?"
            )
        return score

    def _weights(self):
        state = self.network.state_dict()
        return {name: value.detach().to("cpu", copy=True) for name, value in state.items()}

    def finish(self, stopped):
        """The history; the network gets its best weights, where a trained one has a score, or its last good ones."""
        at, best, words = self.at, None, f"step {self.at.step}, the last"
        if stopped == "diverged":
            words = f"the end of epoch {at.epoch}" if at.epoch else "the start"
        if at.best_epoch is not None and (at.epoch or not at.step or stopped == "diverged"):
            best, words = at.best_epoch, f"epoch {at.best_epoch}, the best"
        if best is not None or stopped == "diverged":
            self.network.load_state_dict(self.kept)
        self.network.eval()
        if self.file is not None and self.file.exists():
            saved, left = _read(self.file), self._digest()
            if left not in saved["starts"]:  # a cell that is run again on this network goes on
                self._write(saved | {"starts": [*self.starts, left]})
        return History.from_rows(at.rows, stopped=stopped, best_epoch=best, weights_from=words)

    def resume(self, file):
        """Keep the run in `file`, and go on from what is there; tells whether anything was."""
        self.file, self.identity = file, self._identity()
        self.starts = [self._digest()]
        if not file.exists():
            return False
        saved = _read(file)
        differs = [name for name, now in self.identity.items() if saved["run"].get(name) != now]
        differs += [] if self.starts[0] in saved["starts"] else ["start: other weights"]
        if differs:
            raise ValueError(
                f"the run saved in {str(file)!r} had another {differs[0]}; go on with the same settings and a network "
                "made as it was then, or give a new file to checkpoint="
            )
        with readable(file):
            self.network.load_state_dict(saved["network"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.at = types.SimpleNamespace(**saved["at"])
            self.kept, self.starts = saved["kept"], saved["starts"][:1]
            _set_random_states(saved["random"], self.device)
        return True

    def _digest(self):
        from cbirkit.nets.backbone import weights_digest

        return weights_digest(self.network)

    def _write(self, saved):
        with replacing(self.file) as file:
            require("torch").save(saved, file)

    def _identity(self):
        """What must be the same for a saved run to be gone on with: texts by name."""
        names = {field.name for field in dataclasses.fields(Options)} - _FREE
        found = {name: getattr(self.options, name) for name in sorted(names)}
        found |= {
            "number of steps": self.n_steps,
            "number of batches": self.per_epoch,
            "network": [(n, p.shape, p.requires_grad) for n, p in self.network.named_parameters()],
            "loss function": _identity(self.loss),
            "validation": code_identity(self.validate),
            "batches": self.batches.identity() if hasattr(self.batches, "identity") else None,
            "random_state": self.seed if self.options.random_state is not None else None,
        }
        return {name: repr(value) for name, value in found.items()}


def _optimiser(network, options):
    """AdamW over the parameters that learn, a group for each peak rate."""
    groups = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(_rate(name, options.learning_rate), []).append(parameter)
    if not groups:
        raise ValueError(
            "no weight of the network learns: all are frozen (requires_grad is False); unfreeze a layer"
        )
    groups = [{"params": those, "peak": rate} for rate, those in groups.items()]
    return require("torch").optim.AdamW(groups, weight_decay=options.weight_decay)


def _rate(name, rates):
    if not isinstance(rates, Mapping):
        return float(rates)
    fits = [s for s in rates if not s or f"{name}.".startswith(s.rstrip(".") + ".")]
    if not fits:
        raise ValueError(
            f"learning_rate has no entry for the parameter {name!r}, only {', '.join(map(repr, rates))}; add one, or "
            '"" for all others'
        )
    return float(rates[max(fits, key=len)])


def _checked(given):
    """What a loss function gave, as a scalar tensor and a dict of numbers, the loss among them."""
    loss, further = given if isinstance(given, tuple) else (given, {})
    if not isinstance(loss, require("torch").Tensor) or loss.numel() != 1:
        got = getattr(loss, "shape", type(loss).__name__)
        raise TypeError(
            f"the loss function gave {got}; let it return one number as a tensor (take its mean), or (loss, dict of numbers)"
        )
    if not loss.requires_grad:
        raise ValueError(
            "the loss depends on no weight that learns; unfreeze a layer (requires_grad_), and compute the loss from the "
            "network's output without detach() or no_grad()"
        )
    found = {str(name): float(value) for name, value in dict(further).items()}
    return loss.reshape(()), {"loss": loss.item()} | found


def _to_device(batch, device):
    """The tensors of a batch (in tuples, lists and dicts) on a device; all else as it is."""
    if isinstance(batch, require("torch").Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: _to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        moved = [_to_device(value, device) for value in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)
    return batch


# ------------------------------------------------------------------ random numbers


@contextlib.contextmanager
def _seeded(seed, device):
    """Seed all generators for the block, and put them back where they were after it."""
    before = _random_states(device)
    require("torch").manual_seed(seed)  # the devices' generators too
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        _set_random_states(before, device)


def _random_states(device):
    """Where all generators stand, as tensors and plain values."""
    torch = require("torch")
    kind, keys, *rest = np.random.get_state()
    states = {"numpy": (kind, keys.tolist(), *rest), "python": random.getstate()}
    if device.type in ("cuda", "mps"):
        states["device"] = getattr(torch, device.type).get_rng_state()
    return states | {"torch": torch.get_rng_state()}


def _set_random_states(states, device):
    torch = require("torch")
    torch.set_rng_state(states["torch"])
    np.random.set_state(states["numpy"])
    random.setstate(states["python"])
    if "device" in states and device.type in ("cuda", "mps"):
        getattr(torch, device.type).set_rng_state(states["device"])


# ------------------------------------------------------------------ checkpoints


@contextlib.contextmanager
def readable(file):
    """Whatever goes wrong while a checkpoint is read becomes one sentence."""
    try:
        yield
    except Exception as error:  # what a stranger wrote makes readers raise whatever they like
        raise ValueError(
            f"{str(file)!r} cannot be read as the checkpoint of a training ({type(error).__name__}); "
            "give the name of another file to checkpoint="
        ) from error


def _read(file):
    """The dict of a checkpoint; nothing in the file can run code."""
    with readable(file):
        saved = require("torch").load(file, map_location="cpu", weights_only=True)
        if not {"run", "starts", "at"} <= saved.keys():
            raise KeyError
    return saved


def _identity(function):
    """What changes when a function does, or a setting (scale, margin, temperature …) of a loss or miner that it closes over."""
    found = [code_identity(function)]
    for cell in getattr(function, "__closure__", None) or ():
        value = cell.cell_contents
        if isinstance(value, types.FunctionType):
            found.append(_identity(value))
        elif isinstance(value, require("torch").nn.Module):
            found += [_settings(part) for part in value.modules()]
        elif isinstance(value, _PLAIN):
            found.append(value)
    return found


def _settings(module):
    """Class and plain attributes of a module, without what it notes about the last batch."""
    noted = {"training", *getattr(module, "_record_these_stats", ())}
    values = {k: v for k, v in sorted(vars(module).items()) if k not in noted and k[0] != "_"}
    return type(module).__qualname__, {k: v for k, v in values.items() if isinstance(v, _PLAIN)}
