"""A training run: what is trained, how far it is, and how both become a checkpoint."""

import contextlib
import dataclasses
import math
import time

from sklearn.utils import check_random_state

from cbirkit.persistence import code_identity

from .._optional import require
from .checkpoints import check_same_run, digest
from .history import History
from .optimisers import build_optimiser, describe_optimiser, optimiser_state, set_optimiser_state
from .position import Position
from .randomness import plain_states, random_states, set_random_states
from .schedules import rate_factor
from .steps import TrainingDiverged, checked_loss, finite_norm, to_device


class Run:
    """One training run in a process.

    Attributes
    ----------
    at : Position
    consistent : bool
        False while a step is being taken.
    """

    def __init__(self, network, loss, plan, options, device):
        self.network, self.loss, self.plan, self.options, self.device = (
            network,
            loss,
            plan,
            options,
            device,
        )
        self.seed = int(check_random_state(options.random_state).randint(2**31 - 1))
        self.optimiser = build_optimiser(network, options)
        self.rates = [group["lr"] for group in self.optimiser.param_groups]
        self.learned = [p for group in self.optimiser.param_groups for p in group["params"]]
        self.at = Position()
        self.best = None  # state dict, on the CPU
        self.good = (
            self._copy()
        )  # the weights to go back to when training diverges and there is no best
        self.started_from = None  # digest of the first weights, where there are checkpoints
        self.consistent = True
        self.checkpoints = self.described = self._saved_at = None
        self.epoch_random = self.random = None
        self._since = time.monotonic()

    # ------------------------------------------------------------------ steps and epochs

    def start_epoch(self, batches):
        """Iterator over the batches of the present epoch that are still to come."""
        if self.at.taken:
            set_random_states(self.epoch_random, self.device)
        else:
            self.epoch_random = random_states(self.device)
        if callable(getattr(batches, "epoch", None)):
            remaining = iter(batches.epoch(self.at.epoch, start=self.at.taken, device=self.device))
        else:
            remaining = iter(batches)
            for _ in range(self.at.taken):
                next(remaining)
        if self.at.taken:
            set_random_states(self.random, self.device)
        self.training_mode()
        return remaining

    def training_mode(self):
        """Training mode, but for batch normalisation that is to keep its statistics."""
        nn = require("torch").nn
        norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
        self.network.train()
        for module in self.network.modules():
            if isinstance(module, norms):
                own = list(module.parameters(recurse=False))
                if self.options.batch_norm == "frozen" or (
                    own and not any(p.requires_grad for p in own)
                ):
                    module.eval()

    def step(self, batch):
        """One step on one batch; gives the loss."""
        from ..nets.extraction import mixed_precision

        self.consistent = False
        batch = to_device(batch, self.device)
        factor = self._factor(self.at.step)
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.optimiser.zero_grad(set_to_none=True)
        with mixed_precision(self.device, self.options.precision):
            loss, numbers = checked_loss(self.loss(self.network, batch), self.at.step)
        loss.backward()
        norm = finite_norm(self.learned, self.at.step)
        if self.options.clip_norm is not None:
            require("torch").nn.utils.clip_grads_with_norm_(
                self.learned, self.options.clip_norm, norm
            )
        self.optimiser.step()
        for name, value in numbers.items():
            self.at.totals[name] = self.at.totals.get(name, 0.0) + value
        self.at.step += 1
        self.at.taken += 1
        self.settle()
        return numbers["loss"]

    def _factor(self, step):
        return rate_factor(self.options.schedule, step, self.plan.n_steps)

    def settle(self):
        """Everything fits together here: a run may be saved, and go on from here."""
        if self.checkpoints.folder is not None:
            self.random = random_states(self.device)
        self.consistent = True

    def score(self, validate):
        """Validation score of the weights as they are, a finite number."""
        torch = require("torch")
        epoch = self.at.epoch + (self.at.taken > 0)  # it is not closed yet
        self.network.eval()
        with torch.no_grad():
            value = validate(self.network)
        try:
            value = float(value)
        except (TypeError, ValueError):
            raise TypeError(
                f"validate gave {value!r} after epoch {epoch}; let it return one number, larger is better"
            ) from None
        if not math.isfinite(value):
            raise ValueError(
                f"validate gave {value} after epoch {epoch}; let it return a finite number: are there images in the "
                "validation split, and has each a relevant one?"
            )
        return value

    def close_epoch(self, score):
        """Note an epoch that is over (or, at step 0, the state before training)."""
        at, before = self.at, self.at.step == 0
        state = self.network.state_dict()
        if not all(value.isfinite().all() for value in state.values() if value.is_floating_point()):
            raise TrainingDiverged(f"a weight is infinite or not a number after step {at.step}")
        self.consistent = False
        at.epoch += not before
        rate = None if before else max(self.rates) * self._factor(at.step - 1)
        row = {"epoch": at.epoch, "step": at.step, "learning_rate": rate, "seconds": self.seconds()}
        row |= {name: total / at.taken for name, total in at.totals.items()} | {"score": score}
        at.rows.append(row)
        at.taken, at.totals = 0, {}
        if score is None:
            self.good = self._copy()
        elif at.best_score is None or score > at.best_score:
            at.best_epoch, at.best_score, self.best, self.good = at.epoch, score, self._copy(), None
        patience = self.options.patience
        if self.plan.over(at):
            at.stopped = "finished"
        elif patience is not None and at.epoch - at.best_epoch >= patience:
            at.stopped = "patience"
        self.settle()

    def seconds(self):
        """Seconds of training so far, earlier parts included."""
        return self.at.seconds + time.monotonic() - self._since

    # ------------------------------------------------------------------ weights and history

    def _copy(self):
        return {
            name: value.detach().to("cpu", copy=True)
            for name, value in self.network.state_dict().items()
        }

    def back_to_good(self):
        """Give the network the best weights, or those after the last epoch; tells in words which these are."""
        if self.best is not None:
            self.network.load_state_dict(self.best)
            return f"epoch {self.at.best_epoch}, the best"
        self.network.load_state_dict(self.good)
        return f"the end of epoch {self.at.epoch}" if self.at.epoch else "the start"

    def finish(self, stopped):
        """The history; the network gets its best weights, where there is a score of a trained one."""
        words, best = f"step {self.at.step}, the last", None
        if self.best is not None and (self.at.epoch or not self.at.step):
            words, best = self.back_to_good(), self.at.best_epoch
        self.network.eval()
        return History.from_rows(self.at.rows, stopped=stopped, best_epoch=best, weights_from=words)

    # ------------------------------------------------------------------ checkpoints

    def identity(self, batches, validate):
        """What must be the same for a saved run to be gone on with."""
        options = {
            name: getattr(self.options, name)
            for name in ("schedule", "patience", "clip_norm", "batch_norm", "precision")
        }
        if callable(options["schedule"]):
            options["schedule"] = code_identity(options["schedule"])
        names = [
            (name, list(p.shape), str(p.dtype), p.requires_grad)
            for name, p in self.network.named_parameters()
        ]
        return options | {
            "number of steps": self.plan.n_steps,
            "number of batches in an epoch": self.plan.per_epoch,
            "network": names,
            "optimiser": describe_optimiser(self.optimiser, self.rates),
            "loss function": code_identity(self.loss),
            "validation": code_identity(validate),
            "batches": batches.identity() if hasattr(batches, "identity") else None,
            "random_state": self.seed if self.options.random_state is not None else None,
        }

    def resume(self, checkpoints, identity):
        """Go on from a checkpoint, if there is one; tells whether there was."""
        self.checkpoints, self.described = checkpoints, identity
        self.started_from = (
            None if checkpoints.folder is None else digest(self.network.state_dict())
        )
        self.settle()
        saved = checkpoints.load()
        if saved is None:
            return False
        check_same_run(checkpoints.folder, saved[0]["run"], identity)
        self._load(*saved)
        self._saved_at = (self.at.step, self.at.epoch)
        return True

    def _load(self, numbers, tensors):
        parts = {}
        for name, tensor in tensors.items():
            prefix, _, rest = name.partition(".")
            parts.setdefault(prefix, {})[rest] = tensor
        left_behind = [
            digest(parts[key]) for key in ("network", "best", "good") if key in parts
        ]  # by an interrupted run
        if self.started_from not in [numbers["started_from"], *left_behind]:
            raise ValueError(
                f"the network has other weights than the one whose training is saved in {str(self.checkpoints.folder)!r} had at its "
                "start; make it as it was made then (the same random_state), or give a new folder to checkpoint="
            )
        self.started_from = numbers["started_from"]
        self.network.load_state_dict(parts["network"])
        self.best, self.good = parts.get("best"), parts.get("good")
        set_optimiser_state(self.optimiser, parts.get("optimiser", {}), numbers["optimiser"])
        self.at = Position(**numbers["at"])
        self.epoch_random, self.random = (
            numbers[name] | parts[name] for name in ("epoch_random", "random")
        )
        set_random_states(self.random, self.device)

    def save(self, *, only_if_due=False):
        """Write a checkpoint, unless there is nothing new, or a step was cut off in its middle."""
        here = (self.at.step, self.at.epoch)
        if self.checkpoints.folder is None or not self.consistent or here == self._saved_at:
            return
        if only_if_due and not self.checkpoints.due:
            return
        tensors, optimiser_numbers = optimiser_state(self.optimiser)
        for prefix, state in (
            ("network", self.network.state_dict()),
            ("best", self.best),
            ("good", self.good),
        ):
            tensors |= {f"{prefix}.{name}": value for name, value in (state or {}).items()}
        at = dataclasses.asdict(self.at) | {"seconds": self.seconds()}
        numbers = {
            "at": at,
            "run": self.described,
            "optimiser": optimiser_numbers,
            "started_from": self.started_from,
        }
        for name, states in (
            ("epoch_random", self.epoch_random or self.random),
            ("random", self.random),
        ):
            numbers[name], parts = plain_states(states)
            tensors |= {f"{name}.{part}": tensor for part, tensor in parts.items()}
        self.checkpoints.save(numbers, tensors)
        self._saved_at = here


@contextlib.contextmanager
def nothing_lost(run):
    """If training diverges in this block, the network gets its last good weights back, and the error tells so."""
    try:
        yield
    except TrainingDiverged as error:
        words = run.back_to_good()
        run.network.eval()
        history = History.from_rows(
            run.at.rows, stopped="diverged", best_epoch=run.at.best_epoch, weights_from=words
        )
        rate = max(group["lr"] for group in run.optimiser.param_groups)
        raise TrainingDiverged(
            f"{error}, so training stops; the network has the weights of {words} again. Lower learning_rate (it was {rate:.2g} at "
            "that step), set clip_norm=1.0, or look for NaN in the images and the loss function",
            history,
        ) from error
