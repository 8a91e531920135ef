"""Networks by name: chosen from the four sources, each of which offers `build`, `preset_of` and `official_identity`."""

import dataclasses

import torch
from sklearn.utils import check_random_state

from . import conv5, from_timm, from_torchvision, is_official, tiny
from .backbone import end_at, read_weights, weights_digest


def _source(name):
    if name in ("tiny", "conv5"):
        return {"tiny": tiny, "conv5": conv5}[name]
    return from_timm if name == "lite0" or name.startswith("timm/") else from_torchvision


def build(name, weights="default", *, random_state=0, size=None, layer=None, **arguments):
    """Build a backbone.

    Parameters
    ----------
    name : str
        "lite0"; "tiny"; "conv5"; a classification model of torchvision ("resnet50", "vit_b_16", …); "timm/NAME"; or "tf_mobilenet_v2":
        torchvision's mobilenet_v2 with TensorFlow's padding and preprocessing, for converted weights.
    weights : "default", None, path or dict
        "default": the official ones, or some of torchvision's by their name ("IMAGENET1K_V1"). None: random. Else a file for
        `cbirkit.nets.backbone.read_weights`, or a state dict.
    random_state : int, RandomState or None
        Of random weights.
    size : int or (int, int), optional
        Of the images; only matters to networks with position embeddings, which are interpolated.
    layer : str, optional
        Cut there instead of at the last feature map.
    **arguments
        Of ``timm.create_model``, for backbones of timm: ``pad_type="same"``, say.

    Returns
    -------
    Backbone

    Raises
    ------
    ValueError
        There is no such backbone or layer, no official weights for it, or the weights do not fit.
    FileNotFoundError
        There is no such weights file.
    ConnectionError
        The official weights are not on this machine and cannot be downloaded; the message says what to do.

    Examples
    --------
    >>> backbone = build("conv5", None)
    >>> backbone.network(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 96, 8, 8])
    """
    identity = official_identity(name, weights)
    if not (weights is None or isinstance(weights, dict) or is_official(weights)):
        weights = read_weights(weights)
    # draws the first weights, and leaves torch's own generator as it was
    with torch.random.fork_rng(devices=[]):
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        torch.default_generator.manual_seed(seed)
        backbone = _source(name).build(name, weights, size, **arguments)
    network = backbone.network.float().eval()
    if layer or backbone.feature_layer:
        end_at(network, layer or backbone.feature_layer)
    identity = identity or f"sha256 {weights_digest(network)}"
    return dataclasses.replace(backbone, name=name, identity=identity)


def official_identity(name, weights="default"):
    """The `Backbone.identity` of official weights, known without building the network; None of other weights and those of timm.

    Raises
    ------
    ValueError
        There is no such backbone, or no such weights for it.
    """
    return _source(name).official_identity(name, weights) if is_official(weights) else None


def preprocessing_of(name, weights="default"):
    """The `Preprocessing` that belongs to a backbone, without building it; errors as for `build`."""
    return _source(name).preset_of(name, weights if is_official(weights) else "default")
