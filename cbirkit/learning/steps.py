"""What one step of training checks and moves."""

import math

from .._optional import require


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


def checked_loss(given, step):
    """What a loss function gave, as a scalar tensor and a dict of numbers, the loss among them.

    Raises
    ------
    TypeError, ValueError
        It is no scalar tensor, or depends on nothing that learns.
    TrainingDiverged
        It is infinite or not a number.
    """
    torch = require("torch")
    loss, further = given if isinstance(given, tuple) else (given, {})
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        got = (
            f"a tensor of shape {tuple(loss.shape)}"
            if isinstance(loss, torch.Tensor)
            else f"a {type(loss).__name__}"
        )
        raise TypeError(
            f"the loss function gave {got}; let it return one number as a tensor (take its mean), or (loss, dict of numbers)"
        )
    if not loss.requires_grad:
        raise ValueError(
            "the loss depends on no weight that learns; unfreeze a layer (requires_grad_), and compute the loss from the "
            "network's output without detach() or no_grad()"
        )
    numbers = {"loss": loss.item()} | {
        str(name): float(value) for name, value in dict(further).items()
    }
    if not math.isfinite(numbers["loss"]):
        raise TrainingDiverged(f"the loss is {numbers['loss']} at step {step + 1}")
    return loss.reshape(()), numbers


def finite_norm(parameters, step):
    """Length of the gradient over all parameters.

    Raises
    ------
    TrainingDiverged
        It is infinite or not a number.
    """
    torch = require("torch")
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if not torch.isfinite(norm):
        raise TrainingDiverged(f"the gradient is {norm.item()} at step {step + 1}")
    return norm


def to_device(batch, device):
    """The tensors of a batch (in tuples, lists and dicts) on a device; all else as it is."""
    torch = require("torch")
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, tuple | list):
        return type(batch)(to_device(value, device) for value in batch)
    return batch
