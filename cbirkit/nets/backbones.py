"""Networks by name, cut at their last feature map."""

import contextlib
import dataclasses

import torch
from sklearn.utils import check_random_state
from torch import nn

from .names import LITE0_SHA256, is_official
from .preprocessing import Preprocessing
from .trunk import end_at
from .weights import load_into, read_weights, weights_digest


@dataclasses.dataclass(frozen=True, eq=False)
class Backbone:
    """A network and what has to be known to use it.

    Attributes
    ----------
    network : Module
        In eval mode, on the CPU; ``network(images)`` gives the last feature map or token sequence.
    feature_layer : str
        Dotted name of the module that gives it; "" where it is the network's own result.
    layout : {"nchw", "nhwc", "tokens"}
        Of that result; tokens are (n, n_tokens, c).
    preprocessing : Preprocessing
    identity : str
        Names the weights: equal for equal weights, whatever file they came from.
    n_prefix : int
        Tokens before those of the patches, the class token first; 0 for maps.
    """

    network: nn.Module
    feature_layer: str
    layout: str
    preprocessing: Preprocessing
    identity: str = ""
    n_prefix: int = 0


def build(name, weights="default", *, random_state=0, size=None, layer=None, **arguments):
    """Build a backbone.

    Parameters
    ----------
    name : str
        "lite0"; "tiny"; "conv5"; a classification model of torchvision ("resnet50", "vit_b_16", …); "timm/NAME"; or "tf_mobilenet_v2":
        torchvision's mobilenet_v2 with TensorFlow's padding and preprocessing, for converted weights.
    weights : "default", None, path or dict
        "default": the official ones, or some of torchvision's by their name ("IMAGENET1K_V1"). None: random. Else a file for
        `read_weights`, or a state dict.
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
    is_path = weights is not None and not isinstance(weights, dict) and not is_official(weights)
    weights = read_weights(weights) if is_path else weights
    with _seeded(random_state):
        backbone = _builder(name)(name, weights, size, **arguments)
    network = backbone.network.float().eval()
    feature_layer = layer or backbone.feature_layer
    if feature_layer:
        end_at(network, feature_layer)
    identity = backbone.identity or f"sha256 {weights_digest(network)}"
    return dataclasses.replace(backbone, feature_layer=feature_layer, identity=identity)


def official_identity(name, weights="default"):
    """The `Backbone.identity` of official weights that is known without building the network, or None."""
    if name == "tiny" and isinstance(weights, str) and weights == "default":
        from .tiny import tiny_identity

        return tiny_identity()
    if name == "lite0" and isinstance(weights, str) and weights == "default":
        return f"lite0 {LITE0_SHA256}"
    if (
        is_official(weights)
        and name not in ("lite0", "tiny", "conv5")
        and not name.startswith("timm/")
    ):
        from .from_torchvision import official_weights

        return official_weights(name, weights)[1]
    return None


def preprocessing_of(name, weights="default"):
    """The `Preprocessing` that belongs to a backbone, without building it; errors as for `build`."""
    if name == "tiny":
        from .tiny import TINY_PREPROCESSING as found
    elif name == "conv5":
        from .conv5 import CONV5_PREPROCESSING as found
    elif name == "lite0":
        from .from_timm import LITE0_PREPROCESSING as found
    else:
        found = _module(name).preset_of(name, weights if is_official(weights) else "default")
    return found


@contextlib.contextmanager
def _seeded(random_state):
    """Draw the first weights by `random_state`, and leave torch's own generator as it was."""
    before = torch.random.get_rng_state()
    try:
        torch.default_generator.manual_seed(
            int(check_random_state(random_state).randint(2**31 - 1))
        )
        yield
    finally:
        torch.random.set_rng_state(before)


def _builder(name):
    if name in ("tiny", "conv5"):
        return {"tiny": _tiny, "conv5": _conv5}[name]
    if name == "lite0":
        from .from_timm import build_lite0

        return build_lite0
    return _module(name).build


def _module(name):
    if name.startswith("timm/"):
        from . import from_timm as module
    else:
        from . import from_torchvision as module
    return module


def _tiny(name, weights, size):
    from .tiny import TINY_PREPROCESSING, TinyNet, load_tiny, tiny_identity

    if isinstance(weights, str) and weights != "default":
        raise ValueError(f'"tiny" has no weights {weights!r}; use "default", None or a path')
    network, identity = (
        (load_tiny(), tiny_identity()) if isinstance(weights, str) else (TinyNet(), "")
    )
    if isinstance(weights, dict):
        load_into(network, weights, name)
    return Backbone(network, "", "nchw", TINY_PREPROCESSING, identity)


def _conv5(name, weights, size):
    from .conv5 import CONV5_PREPROCESSING, Conv5

    network = Conv5()
    if isinstance(weights, dict):
        load_into(network, weights, name)
    elif weights is not None:
        raise ValueError(
            f'"conv5" has no official weights, got weights={weights!r}; use None for random ones, a path, or the backbone "tiny"'
        )
    return Backbone(network, "", "nchw", CONV5_PREPROCESSING)
