"""Networks of torchvision: its classification models as backbones, and its models that segment."""

import dataclasses
import difflib
import importlib.util
import re

from torch import nn

from cbirkit._optional import require

from .backbone import Backbone, load_into, official_file, pad_same, read_weights, without_head
from .preprocessing import Preprocessing

# The module that gives the last map.
_LAST = ("layer4", "trunk_output", "conv5", "layers", "inception5b", "Mixed_7c", "features")
_TENSORFLOW = "tf_mobilenet_v2"
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


def build(name, weights, size):
    """Build a classification model of torchvision without its head; parameters and errors as for `cbirkit.nets.backbones.build`."""
    model = "mobilenet_v2" if name == _TENSORFLOW else name
    official = isinstance(weights, str)
    state = read_weights(official_file(_entry(name, weights).url, name)) if official else weights
    preset, options = preset_of(name, weights if official else "default"), {}
    if model.startswith("vit_"):
        preset = dataclasses.replace(preset, size=size or preset.size)
        options["image_size"], width = preset.shape
        if width != preset.shape[0]:
            raise ValueError(
                f"{name!r} takes square images only, got size={size!r}; pass one number"
            )
        state = _fit_positions(state, width, int(model.rsplit("_", 1)[1]))
    if model in ("googlenet", "inception_v3"):
        options.update(transform_input=True, aux_logits=False, init_weights=state is None)
    network = without_head(require("torchvision").models.get_model(model, weights=None, **options))
    if model.startswith("densenet"):
        # else the last map were one before its activation
        network.features.add_module("relu", nn.ReLU(inplace=True))
    if state is not None:
        renamed = {_OLD_DENSENET.sub(r"\1\2.", key): value for key, value in state.items()}
        load_into(network, renamed, name)
    if name == _TENSORFLOW:
        same_padding(network)
    layer, layout, n_prefix = _last_layer(network)
    return Backbone(network, layout, preset, layer, n_prefix)


def preset_of(name, weights="default"):
    """The `Preprocessing` that belongs to official weights of a model, or to a checkpoint of TensorFlow."""
    if name == _TENSORFLOW:
        return Preprocessing(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "squash")
    preset = _entry(name, weights).transforms()
    size, short, how = preset.crop_size[0], preset.resize_size[0], preset.interpolation.value
    kept = min(1.0, size / short)
    return Preprocessing(size, tuple(preset.mean), tuple(preset.std), "crop", how, kept)


def official_identity(name, weights="default"):
    """The identity of official weights; ValueError if there is no such model, or no such weights for it."""
    entry = _entry(name, weights)
    return f"torchvision {entry.name} {entry.url.rsplit('/', 1)[-1]}"


def _entry(name, weights):
    """Torchvision's entry for official weights."""
    if name == _TENSORFLOW:
        raise ValueError(
            f"{name!r} has no official weights in this form; pass weights=PATH of converted ones, or use 'mobilenet_v2'"
        )
    models = require("torchvision").models
    known = models.list_models(module=models)
    if name not in known:
        if importlib.util.find_spec("timm") and require("timm").is_model(name):
            raise ValueError(
                f'torchvision has no backbone {name!r}, but timm has: write "timm/{name}"'
            )
        near = ", ".join(difflib.get_close_matches(name, known, 3, cutoff=0.0))
        raise ValueError(
            f'there is no backbone {name!r}; torchvision has {near} and others, timm\'s are written "timm/NAME", and there are '
            '"lite0", "tiny", "conv5" and "tf_mobilenet_v2"'
        )
    entries = models.get_model_weights(name)
    if weights != "default" and weights not in entries.__members__:
        raise ValueError(
            f"{name!r} has no weights {weights!r}; there are {', '.join(entries.__members__)}, and 'default' is {entries.DEFAULT.name}"
        )
    return entries.DEFAULT if weights == "default" else entries[weights]


def _fit_positions(state, side, patch):
    """Position embeddings interpolated for images of `side` pixels."""
    positions = (state or {}).get("encoder.pos_embedding")
    if positions is None or positions.shape[1] == (side // patch) ** 2 + 1:
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
            module.register_forward_pre_hook(lambda module, inputs: pad_same(inputs[0], module))
    return network


def build_segmenter(name, weights="default"):
    """A model of torchvision for instance or semantic segmentation, in eval mode.

    Parameters
    ----------
    name : str
    weights : "default", None or path

    Raises
    ------
    ValueError
        There is no such model, or the weights do not fit.
    ConnectionError
        The official weights are neither here nor to be had.
    """
    models = require("torchvision").models
    known = [
        *models.list_models(module=models.detection, include="mask*"),
        *models.list_models(module=models.segmentation),
    ]
    if name not in known:
        raise ValueError(f"model must be one of {', '.join(known)}, got {name!r}")
    network = models.get_model(name, weights=None, weights_backbone=None)
    if weights is not None:
        if weights == "default":
            url = models.get_model_weights(name).DEFAULT.url
            weights = official_file(url, name, "use Segmenter(), Felzenszwalb() or SLIC()")
        load_into(network, read_weights(weights), name)
    return network.eval()
