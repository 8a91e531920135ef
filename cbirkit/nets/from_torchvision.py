"""Backbones of torchvision."""

import dataclasses
import difflib
import importlib.util
import math
import re

from torch import nn

from .._optional import require
from .backbones import Backbone
from .official import official_file
from .preprocessing import Preprocessing
from .trunk import without_head
from .weights import load_into, read_weights

_LAST = (
    "layer4",
    "trunk_output",
    "conv5",
    "layers",
    "inception5b",
    "Mixed_7c",
    "features",
)  # the module that gives the last map
_TENSORFLOW = "tf_mobilenet_v2"
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


def build(name, weights, size):
    """Build a classification model of torchvision without its head; parameters and errors as for `backbones.build`."""
    model = "mobilenet_v2" if name == _TENSORFLOW else name
    state, identity, options = weights, "", {}
    if isinstance(weights, str):
        file, identity = official_weights(name, weights)
        state = read_weights(official_file(file.url, name))
    preset = preset_of(name, weights if isinstance(weights, str) else "default")
    if model.startswith("vit_"):
        side, patch = _side(size, name) or preset.shape[0], int(model.rsplit("_", 1)[1])
        options["image_size"] = side
        state = _fit_positions(state, side, patch)
        preset = dataclasses.replace(preset, size=side)
    if model in ("googlenet", "inception_v3"):
        options.update(transform_input=True, aux_logits=False, init_weights=state is None)
    network = without_head(require("torchvision").models.get_model(model, weights=None, **options))
    if model.startswith("densenet"):
        network.features.add_module(
            "relu", nn.ReLU(inplace=True)
        )  # else the last map were one before its activation
    if state is not None:
        load_into(
            network, {_OLD_DENSENET.sub(r"\1\2.", key): value for key, value in state.items()}, name
        )
    layer, layout, n_prefix = _last_layer(network)
    if name == _TENSORFLOW:
        same_padding(network)
    return Backbone(network, layer, layout, preset, identity, n_prefix)


def official_weights(name, weights="default"):
    """Torchvision's entry for official weights, and their identity.

    Raises
    ------
    ValueError
        There is no such model, or no such weights for it.
    """
    if name == _TENSORFLOW:
        raise ValueError(
            f"{name!r} has no official weights in this form; pass weights=PATH of converted ones, or use 'mobilenet_v2'"
        )
    entry = _entry(name, weights)
    return entry, f"torchvision {entry.name} {entry.url.rsplit('/', 1)[-1]}"


def _entry(name, weights):
    """Torchvision's entry for official weights."""
    models = require("torchvision").models
    known = models.list_models(module=models)
    if name not in known and importlib.util.find_spec("timm") and require("timm").is_model(name):
        raise ValueError(f'torchvision has no backbone {name!r}, but timm has: write "timm/{name}"')
    if name not in known:
        near = ", ".join(difflib.get_close_matches(name, known, 3, cutoff=0.0))
        raise ValueError(
            f'there is no backbone {name!r}; torchvision has {near} and others, timm\'s are written "timm/NAME", and there are '
            '"lite0", "tiny", "conv5" and "tf_mobilenet_v2"'
        )
    entries = models.get_model_weights(name)
    if weights == "default":
        return entries.DEFAULT
    if weights not in entries.__members__:
        there = ", ".join(entry.name for entry in entries)
        raise ValueError(
            f"{name!r} has no weights {weights!r}; there are {there}, and 'default' is {entries.DEFAULT.name}"
        )
    return entries[weights]


def preset_of(name, weights):
    """The `Preprocessing` that belongs to official weights of a model, or to a checkpoint of TensorFlow."""
    if name == _TENSORFLOW:
        return Preprocessing(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "squash")
    preset = _entry(name, weights).transforms()
    size, short = preset.crop_size[0], preset.resize_size[0]
    how = preset.interpolation.value
    return Preprocessing(
        size, tuple(preset.mean), tuple(preset.std), "crop", how, min(1.0, size / short)
    )


def _side(size, name):
    if size is not None and not isinstance(size, int) and size[0] != size[1]:
        raise ValueError(f"{name!r} takes square images only, got size={size!r}; pass one number")
    return size if size is None or isinstance(size, int) else size[0]


def _fit_positions(state, side, patch):
    """Position embeddings interpolated for images of `side` pixels."""
    if state is None or "encoder.pos_embedding" not in state:
        return state
    if state["encoder.pos_embedding"].shape[1] == (side // patch) ** 2 + 1:
        return state
    fit = require("torchvision.models.vision_transformer").interpolate_embeddings
    return fit(side, patch, dict(state))


def _last_layer(network):
    """Name, layout and number of prefix tokens of what gives the last map."""
    if hasattr(network, "class_token"):
        return "encoder", "tokens", 1
    if hasattr(network, "permute"):  # Swin
        return "norm", "nhwc", 0
    if hasattr(network, "blocks"):  # MaxViT, whose list of blocks is not called itself
        return f"blocks.{len(network.blocks) - 1}", "nchw", 0
    return next(name for name in _LAST if hasattr(network, name)), "nchw", 0


def same_padding(network):
    """Pad as TensorFlow's "SAME": convolutions of stride 2 get what they lack at the right and the bottom first."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.stride[0] > 1:
            module.padding = (0, 0)
            module.register_forward_pre_hook(_pad)
    return network


def _pad(module, inputs):
    (maps,) = inputs
    pads = []
    for side, kernel, stride in zip(
        maps.shape[:1:-1], module.kernel_size[::-1], module.stride[::-1], strict=True
    ):  # w, h
        lacking = max(0, (math.ceil(side / stride) - 1) * stride + kernel - side)
        pads += [lacking // 2, lacking - lacking // 2]
    return nn.functional.pad(maps, pads)
