"""Weights of networks: from files, compared with the network, and identified."""

import collections
import hashlib
import os
import pickle

import numpy as np
import torch

from .._atomic import expanded
from .trunk import HEADS

_WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
)  # keys under which training scripts put the weights
SUFFIXES = (".safetensors", ".pt", ".pth")


def read_weights(path):
    """Read a state dict, without unpickling anything but tensors.

    Parameters
    ----------
    path : path-like
        A ``.safetensors`` file, or a ``.pt`` or ``.pth`` file of tensors (also one level deep under "state_dict" or "model").

    Returns
    -------
    dict of str to tensor

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is no such file, damaged, or holds other things than tensors.
    """
    path = expanded(path)
    if not path.is_file():
        raise FileNotFoundError(
            f'there is no weights file {str(path)!r}; give the path of a .safetensors or .pth file, "default", or None for random ones'
        )
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f"weights file {path.name!r} must end in one of {', '.join(SUFFIXES)}; save it with safetensors, say"
        )
    try:
        state = _load(path)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path.name!r} holds more than tensors and is not loaded, as that could run code; save network.state_dict() alone"
        ) from error
    except Exception as error:  # untrusted bytes: whatever the reader raises
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"weights file {path.name!r} is damaged or no weights file ({reason}); get it again"
        ) from error
    for key in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(value, torch.Tensor) for value in state.values())
    ):
        raise ValueError(
            f"weights file {path.name!r} holds no state dict (names to tensors); save network.state_dict() alone"
        )
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def _load(path):
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def load_into(network, state, what):
    """Put weights into a network whose head was dropped; those of a head are passed over.

    Parameters
    ----------
    network : Module
    state : dict of str to tensor or ndarray
    what : str
        Names the network in errors.

    Raises
    ------
    ValueError
        Names or shapes do not fit.
    """
    state = {
        name: torch.as_tensor(np.array(v) if isinstance(v, np.ndarray) else v)
        for name, v in state.items()
    }
    own = network.state_dict()
    state = {
        name: value
        for name, value in state.items()
        if name in own or name.split(".")[0] not in HEADS
    }
    unknown = sorted(set(state) - set(own))
    missing = sorted(
        name for name in set(own) - set(state) if not name.endswith("num_batches_tracked")
    )
    shaped = [name for name in state if name in own and state[name].shape != own[name].shape]
    faults = [("unknown", unknown), ("missing", missing), ("of another shape", shaped)]
    told = [f"{len(names)} {fault}, such as {names[0]!r}" for fault, names in faults if names]
    if told:
        raise ValueError(
            f"these weights do not fit {what} ({'; '.join(told)}); give weights made for it, or name their backbone"
        )
    versioned = collections.OrderedDict(state)
    versioned._metadata = (
        network.state_dict()._metadata
    )  # else some layers take the weights for those of an old version
    network.load_state_dict(versioned, strict=False)


def state_of(network):
    """Weights of a network as arrays: dict of str to ndarray, copies."""
    return {name: _array(value) for name, value in network.state_dict().items()}


def _array(tensor):
    tensor = tensor.detach().cpu()
    return np.array((tensor.float() if tensor.is_floating_point() else tensor).numpy())


def weights_digest(network):
    """Hexadecimal SHA-256 of the names, shapes and values of the weights, counters of batches left out.

    It does not depend on the kind of file that they came from, nor on a head that was dropped.

    Examples
    --------
    >>> from torch import nn
    >>> weights_digest(nn.Linear(1, 1)) == weights_digest(nn.Linear(1, 1))
    False
    """
    hasher = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        if not name.endswith("num_batches_tracked"):
            values = _array(value)
            hasher.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
            hasher.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return hasher.hexdigest()


def file_stamp(path):
    """What changes when a file does: size, times and inode; None if there is no such file."""
    try:
        status = os.stat(expanded(path))
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
