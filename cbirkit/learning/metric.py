"""Metric learning: train an embedding by what should lie near what."""

import copy
import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from sklearn.pipeline import Pipeline, make_pipeline

from .._optional import require
from .augment import Augmentation
from .batches import ImageBatches
from .embedding_head import EmbeddingHead
from .fine_tuning import _check, _encoded
from .labels import class_numbers, labels_of, labels_of_validation
from .loop import train
from .metric_loss import metric_loss
from .network_tuning import _pooling
from .options import Options, changed
from .projection import _Rows
from .samplers import ClassBalanced, InOrder
from .scoring import check_pairs, retrieval_score
from .unfreezing import unfreeze

EPOCHS = 20
MODES = ("head", "full")
RATES = {"backbone": 1e-3, "head": 1e-3, "loss": 1e-2}


@dataclasses.dataclass(frozen=True)
class MetricLearning(Options):
    """Settings of `learn_metric`: those of `Options`, one with another default, and these.

    Attributes
    ----------
    learning_rate : float, dict or None
        None: `RATES`, by which the loss's own weights (proxies, class vectors) move faster than the network. Names begin with
        ``backbone``, ``head`` or ``loss``.
    labels : str or sequence
        The column with the labels, or the labels, of the images to train on.
    augment : Augmentation, callable or None
        Of the images (mode "full").
    n_classes, n_per_class : int
        P classes with K images each in every batch (`ClassBalanced`).
    n_dims : int, optional
        Of the embedding. None: as many as the encoder gives; in mode "full" there is no head then.
    hidden : int, optional
        Numbers in the hidden layer of the head; None: it is linear.
    memory : float
        See `ImageBatches`.

    Examples
    --------
    >>> MetricLearning(n_dims=32).n_per_class
    4
    """

    learning_rate: float | Mapping | None = None
    labels: object = "label"
    augment: Callable | None = dataclasses.field(default_factory=Augmentation)
    n_classes: int = 16
    n_per_class: int = 4
    n_dims: int | None = None
    hidden: int | None = None
    memory: float = 2.0

    def _check_rates(self):
        if self.learning_rate is not None:
            super()._check_rates()


def learn_metric(
    encoder, images, loss, *, miner=None, mode="head", validation=None, epochs=None, checkpoint=None,
    options=None, **changes,
):  # fmt: skip
    """Train an embedding with a loss on pairs, triplets or proxies, for the search of classes that nobody trained on.

    =========  ========================================================================================================
    mode       what learns
    =========  ========================================================================================================
    "head"     An `EmbeddingHead` on the embeddings; the encoder stays as it is and each image is encoded once. Any encoder.
    "full"     The network of a `Deep` encoder, and on top of it, where `n_dims` is given, an `EmbeddingHead`. Multi-scale
               encoders are trained at scale 1.
    =========  ========================================================================================================

    Parameters
    ----------
    encoder : Deep, or for "head" any encoder
        Is not changed.
    images : ImageCollection
        With labels; at least `n_classes` classes with two images.
    loss : callable
        Of pytorch-metric-learning, such as ``losses.TripletMarginLoss(margin=0.2)``, or a function of (embeddings, class numbers,
        mined); see `metric_loss`. A copy of it is trained. Those with proxies are made for as many classes as `images` has.
    miner : callable, optional
        Such as ``miners.TripletMarginMiner(0.2, "semihard")``.
    mode : {"head", "full"}
    validation : ImageCollection, optional
        Of other classes than `images`. Its MAP@R after each epoch decides which epoch's weights are kept, and with ``patience=``
        when to stop. It may hold none of the images or classes of the final test either.
    epochs : int, optional
        Default, unless ``steps`` is given: 20.
    checkpoint : path-like, optional
        See `train`: a run that was killed is gone on with.
    options : MetricLearning, optional
    **changes
        Fields of `MetricLearning`.

    Returns
    -------
    encoder : Pipeline, or Deep where there is no head
        Can be saved in a `Retriever`.
    history : History
        With the columns ``spread`` and ``mined`` of `metric_loss`.

    Raises
    ------
    TypeError
        `encoder` or `loss` is none.
    ValueError
        The validation split shares a class with the training images; too few classes; a loss made for another number of classes or
        dimensions; what `fine_tune` refuses.
    TrainingDiverged
        See `train`.

    References
    ----------
    Musgrave, Belongie and Lim (2020), A metric learning reality check, ECCV, arXiv 2003.08505: class-disjoint validation, MAP@R, one
    budget for all losses.

    Examples
    --------
    >>> from cbirkit import ImageCollection
    >>> from cbirkit.encoders import Deep
    >>> images = ImageCollection.from_arrays(np.random.RandomState(0).randint(0, 256, (8, 16, 16, 3), np.uint8), labels=list("aabbaabb"))
    >>> apart = lambda rows, targets, mined: (rows @ rows.T).mean()
    >>> learned, history = learn_metric(Deep("conv5", None, size=16), images, apart, n_classes=2, n_dims=4, epochs=1)
    >>> learned.transform(images).shape, history.stopped
    ((8, 4), 'finished')
    """
    options = changed(options, changes, MetricLearning)
    if mode not in MODES:
        raise ValueError(f"mode must be one of {MODES}, got {mode!r}; pass one of these")
    if not callable(loss):
        raise TypeError(
            f"loss must be a loss of pytorch-metric-learning or a function of (embeddings, class numbers, mined), got a "
            f"{type(loss).__name__}; pass losses.TripletMarginLoss(margin=0.2), say"
        )
    _check(encoder, images, mode, validation)
    _check_new_classes(images, validation, options)
    if options.learning_rate is None:
        options = dataclasses.replace(options, learning_rate=RATES)
    if epochs is None and options.steps is None:
        epochs = EPOCHS
    part = (_Head if mode == "head" else _Full)(encoder, images, validation, options)
    network = require("torch").nn.ModuleDict({**part.modules, **_own_weights(loss, part)})
    history = train(
        network, part.batches, metric_loss(part.embed, copy.deepcopy(loss), miner), epochs=epochs,
        validate=part.validate, checkpoint=checkpoint, options=part.options,
    )  # fmt: skip
    return part.result(network), history


def _check_new_classes(images, validation, options):
    if validation is None:
        return
    known = set(np.asarray(list(labels_of(images, options.labels)), dtype=object).tolist())
    shared = sorted(known & set(labels_of_validation(validation, options)), key=str)
    if shared:
        raise ValueError(
            f"{len(shared)} classes are both trained on and used for validation, the first is {shared[0]!r}; metric learning is "
            "judged by new classes: split by class, not by image"
        )


def _own_weights(loss, part):
    """{"loss": a copy of the loss} where it has weights that fit, else nothing."""
    if not isinstance(loss, require("torch").nn.Module):
        return {}
    made_for = _shape_of(loss)
    for (name, what), made, there in zip(
        _MADE_FOR, made_for, (part.n_classes, part.n_dims), strict=True
    ):
        if made not in (None, there):
            raise ValueError(
                f"the loss was made for {made} {what}, there are {there}; make it with {name}={there}"
            )
    return {"loss": copy.deepcopy(loss)}


_MADE_FOR = (("num_classes", "classes"), ("embedding_size", "dimensions"))


def _shape_of(loss):
    """(number of classes, dimensions) of the proxies or class vectors of a loss; None where that is not known."""
    proxies, vectors = getattr(loss, "proxies", None), getattr(loss, "W", None)
    if proxies is not None and proxies.ndim == 2:
        return tuple(proxies.shape)
    return tuple(vectors.shape)[::-1] if vectors is not None and vectors.ndim == 2 else (None, None)


class _Head:
    """A head on frozen embeddings: modules to train, batches, how to embed, how to validate, and the encoder in the end."""

    def __init__(self, encoder, images, validation, options):
        self.encoder, self.options = encoder, options
        rows, labels = _encoded(encoder, images, labels_of(images, options.labels), options)
        classes, targets = class_numbers(labels, len(rows))
        self.head = EmbeddingHead(
            options.n_dims, hidden=options.hidden, random_state=options.random_state
        ).fit(rows)
        self.n_classes, self.n_dims = len(classes), len(self.head.biases_[-1])
        sampler = ClassBalanced(options.n_classes, options.n_per_class)
        self.batches = _Rows(rows, targets, options.random_state, sampler)
        self.modules = {"head": self.head.module()}
        self.validate = None
        if validation is not None:
            other, truth = _encoded(
                encoder, validation, labels_of_validation(validation, options), options
            )
            check_pairs(truth)
            self.validate = lambda network: retrieval_score(
                self.head.keep(network["head"]).transform(other), truth, metric="map@r"
            )

    def embed(self, network, rows):
        """Rows (n, n_features) to embeddings (n, n_dims) of length 1."""
        return require("torch").nn.functional.normalize(network["head"](rows))

    def result(self, network):
        steps = (
            [step for _, step in self.encoder.steps]
            if type(self.encoder) is Pipeline
            else [self.encoder]
        )
        return make_pipeline(*steps, self.head.keep(network["head"]))


class _Full:
    """A network and perhaps a head, end to end; the same attributes as `_Head`."""

    def __init__(self, encoder, images, validation, options):
        if options.device == "auto":
            options = dataclasses.replace(options, device=encoder.device)
        self.encoder, self.options, self.pool = encoder, options, _pooling(encoder)
        settings = {name: getattr(options, name) for name in ("random_state", "memory", "progress")}
        settings["preprocessing"] = encoder.preprocessing
        sampler = ClassBalanced(options.n_classes, options.n_per_class)
        self.batches = ImageBatches(
            images, options.labels, sampler=sampler, augment=options.augment, **settings
        )
        backbone = encoder.network.cpu()
        unfreeze(backbone, encoder.preprocessing([np.zeros((8, 8, 3), np.uint8)]), 1.0)
        self.modules, self.head = {"backbone": backbone}, None
        self.n_classes, self.n_dims = len(self.batches.classes), encoder.n_dims
        if options.n_dims is not None:
            start, _ = _encoded(encoder, images, self.batches.targets, options)
            self.head = EmbeddingHead(
                options.n_dims, hidden=options.hidden, random_state=options.random_state
            ).fit(start)
            self.modules["head"], self.n_dims = self.head.module(), options.n_dims
        self.validate = None if validation is None else self._validator(validation, settings)

    def _validator(self, validation, settings):
        labels = labels_of_validation(validation, self.options)
        batches = ImageBatches(validation, labels, sampler=InOrder(64), **settings)
        check_pairs(batches.targets)

        def validate(network):
            device = next(network.parameters()).device
            parts = [
                (self.embed(network, x).cpu().numpy(), y.cpu().numpy())
                for x, y in batches.epoch(0, device=device)
            ]
            rows, targets = (np.concatenate(part) for part in zip(*parts, strict=True))
            return retrieval_score(rows, targets, metric="map@r")

        return validate

    def embed(self, network, images):
        """Images (n, 3, h, w) to embeddings (n, n_dims) of length 1."""
        normalize = require("torch").nn.functional.normalize
        rows = self.pool(network, images)  # (n, n_features)
        if self.head is None:
            return normalize(rows)
        return normalize(network["head"](normalize(rows) if self.encoder.normalise else rows))

    def result(self, network):
        learned = self.encoder.with_state(network["backbone"].state_dict())
        return (
            learned
            if self.head is None
            else make_pipeline(learned, self.head.keep(network["head"]))
        )
