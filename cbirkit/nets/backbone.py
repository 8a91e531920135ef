"""What a backbone is: a network that ends at a layer, its weights from files or the network's host, and its preprocessing."""

import collections
import contextlib
import dataclasses
import errno
import hashlib
import http.client
import os
import pickle
import re
import socket
import sys
import types
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cbirkit._atomic import expanded

from . import sha256
from .preprocessing import Preprocessing

# What torchvision and timm call what is dropped: classifiers, and those beside the main path.
_HEAD = re.compile("fc|classifier|heads?|head_dist|AuxLogits|aux1|aux2|aux_classifier")
# Keys under which training scripts put the weights.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_SUFFIXES = (".safetensors", ".pt", ".pth")
# Without an answer; a connection that is swallowed would hang for ever.
_SECONDS = 30.0
# Torchvision's names carry the first digits of the SHA-256.
_HASH = re.compile(r"-([0-9a-f]{8,})\.")


@dataclasses.dataclass(frozen=True, eq=False)
class Backbone:
    """A network and what has to be known to use it.

    Attributes
    ----------
    network : Module
        In eval mode, on the CPU; ``network(images)`` gives the last feature map or token sequence.
    layout : {"nchw", "nhwc", "tokens"}
        Of that result; tokens are (n, n_tokens, c).
    preprocessing : Preprocessing
    feature_layer : str
        Dotted name of the module that gives it; "" where it is the network's own result.
    n_prefix : int
        Tokens before those of the patches, the class token first; 0 for maps.
    name : str
        As given to `cbirkit.nets.backbones.build`.
    identity : str
        Names the weights: equal for equal weights, whatever file they came from.
    """

    network: nn.Module
    layout: str
    preprocessing: Preprocessing
    feature_layer: str = ""
    n_prefix: int = 0
    name: str = ""
    identity: str = ""


class _Reached(Exception):
    """Carries the output of the layer out of the forward pass."""


def _stop(module, inputs, output):
    raise _Reached(output)


def _forward(self, images):
    try:
        type(self).forward(self, images)
    except _Reached as reached:
        return reached.args[0]
    raise RuntimeError(f"{type(self).__name__} did not reach the layer where it was cut")


def without_head(network):
    """Replace the classifier by the identity, so that what is learned or saved is what makes the features; changes `network`."""
    for name, _ in list(network.named_children()):
        if _HEAD.fullmatch(name):
            setattr(network, name, nn.Identity())
    return network


def end_at(network, layer):
    """Let a network give the output of one of its layers and run nothing after it; changes `network`.

    Names of modules and weights stay as they are, gradients flow, several threads may run it, and a deep copy behaves the same.

    Parameters
    ----------
    network : Module
    layer : str
        Dotted name of a module. If it runs several times, the first counts.

    Raises
    ------
    ValueError
        There is no such module.

    Examples
    --------
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten())
    >>> end_at(network, "0")(torch.ones(1, 3, 2, 2)).shape
    torch.Size([1, 4, 2, 2])
    """
    try:
        module = network.get_submodule(layer)
    except AttributeError:
        raise ValueError(
            f"{type(network).__name__} has no layer {layer!r}; layers() lists them"
        ) from None
    module.register_forward_hook(_stop)
    network.forward = types.MethodType(_forward, network)
    return network


def pad_same(x, convolution):
    """Pad (n, c, h, w) as TensorFlow's SAME does for a ``Conv2d``: of an odd number, right and bottom get the more."""
    pads = []
    for axis in (1, 0):  # width first
        side, stride = x.shape[2 + axis], convolution.stride[axis]
        lacking = max(0, (-(-side // stride) - 1) * stride + convolution.kernel_size[axis] - side)
        pads += [lacking // 2, lacking - lacking // 2]
    return nn.functional.pad(x, pads)


def module_calls(network, images, kinds=nn.Module):
    """Run a network and note its modules.

    Parameters
    ----------
    network : Module
    images : tensor (n, 3, h, w)
    kinds : class or union of classes
        Of the modules that are noted.

    Returns
    -------
    calls : list of (name, module, inputs, output)
        In the order in which they finish; a module that runs twice is there twice.
    result : tensor
        Of the network.
    """
    calls, handles = [], []

    def note(name):
        return lambda module, inputs, output: calls.append((name, module, inputs, output))

    for name, module in network.named_modules():
        if name and isinstance(module, kinds):
            handles.append(module.register_forward_hook(note(name), prepend=True))
    try:
        with torch.inference_mode():
            return calls, network(images)
    finally:
        for handle in handles:
            handle.remove()


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
    if path.suffix not in _SUFFIXES:
        raise ValueError(f"weights file {path.name!r} must end in one of {', '.join(_SUFFIXES)}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path.name!r} holds more than tensors and is not loaded, as that could run code; save network.state_dict() alone"
        ) from error
    except Exception as error:  # untrusted bytes: whatever the reader raises
        raise ValueError(
            f"weights file {path.name!r} is damaged or no weights file ({_first_line(error)}); get it again"
        ) from error
    for key in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    tensors = isinstance(state, dict) and [isinstance(v, torch.Tensor) for v in state.values()]
    if not tensors or not all(tensors):
        raise ValueError(
            f"weights file {path.name!r} holds no state dict (names to tensors); save network.state_dict() alone"
        )
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def _first_line(error):
    return (str(error).splitlines() or [type(error).__name__])[0]


def shipped(path):
    """The path of weights that ship with the repository, if they are there.

    Raises
    ------
    FileNotFoundError
        This is no checkout of the repository.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"the weights that ship with cbirkit are not at {str(path)!r}; install cbirkit from a checkout (pip install -e .)"
        )
    return path


def official_file(url, name, instead=None):
    """Path of the official weights, which are downloaded (with a progress bar) if they are not in torch's cache.

    Parameters
    ----------
    url : str
    name : str
        Of the network, for the error.
    instead : str, optional
        As for `unreachable`.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ConnectionError
        The file is not in the cache and cannot be downloaded; the message says what to do.
    ValueError
        The file's contents do not match the checksum in its name.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    wanted = _HASH.search(path.name)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _download(url, path, wanted and wanted[1])
        except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
            full = getattr(error, "errno", None) == errno.ENOSPC
            if full or isinstance(error, FileNotFoundError | PermissionError):
                raise
            raise unreachable(name, error, f"put {url} there as {str(path)!r}", instead) from error
    if wanted and not sha256(path, path.stat().st_mtime_ns).startswith(wanted[1]):
        raise ValueError(
            f"{str(path)!r} is damaged (its checksum does not match its name); delete it and run this again"
        )
    return path


def _download(url, path, wanted):
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(before or _SECONDS)
    try:
        torch.hub.download_url_to_file(url, path, wanted, progress=sys.stderr is not None)
    except RuntimeError as error:  # torch's word for a wrong checksum
        raise ValueError(f"the download of {url} is damaged ({error}); run this again") from error
    finally:
        socket.setdefaulttimeout(before)


def unreachable(name, error, by_hand, instead=None):
    """The error that says what to do where official weights cannot be had.

    Parameters
    ----------
    name : str
        Of the network.
    error : Exception
        What the download ended with.
    by_hand : str
        How to get the file otherwise.
    instead : str, optional
        What needs no download. Default: for backbones.
    """
    instead = instead or f'run `cbirkit prefetch {name}` while online, or use "lite0" or "tiny"'
    reason = getattr(error, "reason", None) or _first_line(error)
    return ConnectionError(
        f"the official weights of {name!r} are not on this machine and cannot be downloaded ({reason}); "
        f"{by_hand}, or pass weights=PATH of a file of yours, or {instead}"
    )


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
    own = network.state_dict()
    # a copy of arrays, as torch shares their memory and warns where they are read-only
    state = {
        name: torch.as_tensor(np.array(value) if isinstance(value, np.ndarray) else value)
        for name, value in state.items()
        if name in own or not _HEAD.fullmatch(name.split(".")[0])
    }
    needed = {name for name in own if not name.endswith("num_batches_tracked")}
    shaped = [name for name in state if name in own and state[name].shape != own[name].shape]
    faults = {"unknown": set(state) - set(own), "missing": needed - set(state)}
    faults["of another shape"] = shaped
    found = [f"{len(f)} {fault}, such as {min(f)!r}" for fault, f in faults.items() if f]
    if found:
        raise ValueError(
            f"these weights do not fit {what} ({'; '.join(found)}); give weights made for it, or name their backbone"
        )
    versioned = collections.OrderedDict(state)
    # else some layers take the weights for those of an old version
    versioned._metadata = own._metadata
    network.load_state_dict(versioned, strict=False)


def state_of(network):
    """Weights of a network as arrays: dict of str to ndarray, copies."""
    return {
        name: np.array((value.float() if value.is_floating_point() else value).cpu().numpy())
        for name, value in network.state_dict().items()
    }


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
    for name, values in sorted(state_of(network).items()):
        if not name.endswith("num_batches_tracked"):
            hasher.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
            hasher.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return hasher.hexdigest()


def file_stamp(path):
    """What changes when a file does: size, times and inode; None if there is no such file."""
    with contextlib.suppress(OSError):
        status = os.stat(expanded(path))
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
    return None
