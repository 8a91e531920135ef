"""Cut a network at one of its layers."""

import types

import torch
from torch import nn

HEADS = (
    "fc",
    "classifier",
    "heads",
    "head",
    "head_dist",
    "AuxLogits",
    "aux1",
    "aux2",
)  # what torchvision and timm call what we drop
_SILENT = (nn.Identity, nn.Dropout)


class _Reached(Exception):
    """Carries the output of the layer out of the forward pass."""

    def __init__(self, output):
        super().__init__()
        self.output = output


def _stop(module, inputs, output):
    raise _Reached(output)


def _forward(self, images):
    try:
        type(self).forward(self, images)
    except _Reached as reached:
        return reached.output
    raise RuntimeError(f"{type(self).__name__} did not reach the layer where it was cut")


def without_head(network):
    """Replace the classifier by the identity, so that what is learned or saved is what makes the features; changes `network`."""
    for name in HEADS:
        if isinstance(getattr(network, name, None), nn.Module):
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
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    >>> bool((end_at(network, "0")(torch.ones(1, 3, 2, 2)) < 0).any() or True)
    True
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


def layer_shapes(network, images):
    """Shape of the output of every layer that runs once and gives one map or token sequence.

    Parameters
    ----------
    network : Module
    images : tensor (n, 3, h, w)

    Returns
    -------
    dict
        Dotted name to (type of the module, shape of its output), in the order in which they finish.
    """
    found, handles = {}, []

    def note(name):
        def hook(module, inputs, output):
            found.setdefault(name, []).append((module, output))

        return hook

    for name, module in network.named_modules():
        if name and not isinstance(module, _SILENT):
            handles.append(module.register_forward_hook(note(name), prepend=True))
    try:
        with torch.inference_mode():
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    shapes = {}
    for name, calls in found.items():
        module, output = calls[0]
        if len(calls) == 1 and isinstance(output, torch.Tensor) and output.ndim in (3, 4):
            shapes[name] = type(module), tuple(output.shape)
    return shapes
