"""The network behind a `Deep` encoder: built when first needed, built anew when a parameter or the weights file has changed."""

import dataclasses
import numbers

import numpy as np


def preprocessings_of(deep):
    """The `Preprocessing` of an encoder at scale 1, and a list of those at each of its scales."""
    given = {
        name: getattr(deep, name) for name in ("size", "mean", "std", "interpolation", "crop_ratio")
    }
    key = (deep.backbone, str(deep.weights), deep.resize, str(given), str(deep.scales))
    if _kept(deep).get("preprocessing", (None,))[0] != key:
        from ..nets.backbones import preprocessing_of

        deep._check()
        one = preprocessing_of(deep.backbone, deep.weights)
        changes = {name: _as_tuple(value) for name, value in given.items() if value is not None}
        changes |= {} if deep.resize == "default" else {"resize": deep.resize}
        one = dataclasses.replace(one, **changes)
        _kept(deep)["preprocessing"] = key, one, [one.scaled(factor) for factor in deep.scales]
    return _kept(deep)["preprocessing"][1:]


def _as_tuple(value):
    return tuple(np.asarray(value).tolist()) if np.ndim(value) == 1 else value


def extractor_of(deep):
    """The `cbirkit.nets.extraction.Extractor` of an encoder, its network on the device."""
    key = _build_key(deep)
    found = _kept(deep).get("network")
    if found is None or found[0] != key:
        from ..nets.backbones import build
        from ..nets.devices import pick_device
        from ..nets.extraction import Extractor

        device = pick_device(deep.device)
        if deep.weights is None and not isinstance(deep.random_state, numbers.Integral):
            raise ValueError(
                f"random weights need a whole number as random_state, got {deep.random_state!r}, "
                "or nobody could make these embeddings again; pass random_state=0"
            )
        weights = getattr(deep, "state_", deep.weights)
        more = {} if deep.pad_type is None else {"pad_type": deep.pad_type}
        backbone = build(
            deep.backbone,
            weights,
            random_state=deep.random_state,
            size=deep.size,
            layer=deep.layer,
            **more,
        )
        found = key, Extractor(backbone, device, deep.backbone)
        _kept(deep)["network"] = found
    return found[1]


def _kept(deep):
    return deep.__dict__.setdefault("_cache", {})


def _build_key(deep):
    """All that the network depends on; a weights file by its size and times, and as it was if it is gone."""
    key = [
        deep.backbone,
        str(deep.weights),
        str(deep.layer),
        str(deep.size),
        str(deep.random_state),
        str(deep.device),
    ]
    key.append(str(deep.pad_type))
    if hasattr(deep, "state_"):
        return [*key, id(deep.state_)]
    if not carries_weights(deep) or deep.weights is None:
        return key
    from ..nets.weights import file_stamp

    before = _kept(deep).get("network", ([],))[0]
    stamp = file_stamp(deep.weights)
    return before if stamp is None and before[:-1] == key else [*key, stamp]


def carries_weights(deep):
    """Whether the weights go along when the encoder is saved: all but official ones."""
    from ..nets.names import is_official

    return hasattr(deep, "state_") or not is_official(deep.weights)


def weights_of(deep):
    """The weights as dict of str to ndarray."""
    if hasattr(deep, "state_"):
        return deep.state_
    from ..nets.weights import state_of

    return state_of(extractor_of(deep).backbone.network)


def identity_of(deep):
    """What the embeddings depend on: a dict of plain values, without paths, device and batch size."""
    from ..nets.backbones import official_identity

    deep._check()
    weights = None if hasattr(deep, "state_") else official_identity(deep.backbone, deep.weights)
    one, scaled = preprocessings_of(deep)
    return {
        "weights": weights or extractor_of(deep).backbone.identity,
        "preprocessing": {**dataclasses.asdict(one), "size": one.shape},
        "scales": [step.shape for step in scaled],
        "p": float(deep.p) if deep.pooling == "gem" else None,
        **{name: getattr(deep, name) for name in ("backbone", "layer", "pooling", "precision")},
        "normalise": bool(deep.normalise),
        **({} if deep.pad_type is None else {"pad_type": deep.pad_type}),
    }


def count_dims(deep):
    """Number of dimensions of an embedding, found by encoding a black image once."""
    key = [*_build_key(deep), deep.pooling]
    if _kept(deep).get("n_dims", (None,))[0] != key:
        size = deep.transform_prepared([deep.prepare(np.zeros((8, 8, 3), np.uint8))]).shape[1]
        _kept(deep)["n_dims"] = [*_build_key(deep), deep.pooling], size
    return _kept(deep)["n_dims"][1]
