"""Metric learning: train an embedding by what should lie near what."""

import copy
import dataclasses

import numpy as np

from cbirkit._optional import require
from cbirkit.encoders.base import check_choice

from . import tuning
from .batches import ClassBalanced, labels_of

EPOCHS = 20
RATES = {"backbone": 1e-3, "head": 1e-3, "loss": 1e-2}


@dataclasses.dataclass(frozen=True)
class MetricLearning(tuning.TuningOptions):
    """Settings of `learn_metric`: those of `Options`, one with another default, and these.

    Attributes
    ----------
    learning_rate : float or dict
        Default: `RATES`, by which the loss's own weights (proxies, class vectors) move faster than the network. Names begin with
        ``backbone``, ``head`` or ``loss``.
    labels : str or sequence
        The column with the labels, or the labels, of the images to train on.
    augment : Augmentation, callable or None
        Of the images (mode "full").
    n_classes, n_per_class : int
        P classes with K images each in every batch (`ClassBalanced`).
    n_dims : int, optional
        Of the embedding. None: as many as the encoder gives; in mode "full" there is no head then.
    memory : float
        See `ImageBatches`.

    Examples
    --------
    >>> MetricLearning(n_dims=32).n_per_class
    4
    """

    n_classes: int = 16
    n_per_class: int = 4


def learn_metric(
    encoder,
    images,
    loss,
    *,
    miner=None,
    mode="head",
    validation=None,
    epochs=None,
    checkpoint=None,
    **settings,
):
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
    **settings
        Fields of `MetricLearning`: ``n_dims=64, patience=3`` …

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
    options = MetricLearning(**{"learning_rate": RATES, **settings})
    check_choice("mode", mode, ("head", "full"))
    if not callable(loss):
        raise TypeError(
            f"loss must be a loss of pytorch-metric-learning or a function of (embeddings, class numbers, mined), got a "
            f"{type(loss).__name__}; pass losses.TripletMarginLoss(margin=0.2), say"
        )
    tuning.check_images(encoder, images, mode, validation)
    if validation is not None:
        _check_new_classes(images, validation, options)
    if epochs is None and options.steps is None:
        epochs = EPOCHS
    sampler = ClassBalanced(options.n_classes, options.n_per_class)
    start = tuning.on_embeddings if mode == "head" else tuning.on_images
    part = start(encoder, images, validation, options, sampler, "map@r")
    if mode == "head":
        part.add_head(part.batches.X)
    elif options.n_dims is not None:
        part.add_head(tuning.encoded(encoder, images, part.batches.targets, options)[0])
    n_dims = encoder.n_dims if part.head is None else len(part.head.bias_)
    loss, normalize = copy.deepcopy(loss), require("torch").nn.functional.normalize
    if isinstance(loss, require("torch").nn.Module):
        _check_sizes(loss, len(set(part.batches.targets.tolist())), n_dims)
        part.modules["loss"] = loss
    network = require("torch").nn.ModuleDict(part.modules)
    embed = lambda network, inputs: normalize(part.embed(network, inputs))
    return part.run(network, metric_loss(embed, loss, miner), epochs, checkpoint)


def _check_new_classes(images, validation, options):
    known = set(np.asarray(list(labels_of(images, options.labels)), dtype=object).tolist())
    shared = sorted(known & set(tuning.validation_labels(validation, options)), key=str)
    if shared:
        raise ValueError(
            f"{len(shared)} classes are both trained on and used for validation, the first is {shared[0]!r}; metric learning is "
            "judged by new classes: split by class, not by image"
        )


def _check_sizes(loss, n_classes, n_dims):
    """Refuse a loss whose proxies (n_classes, n_dims), or class vectors (n_dims, n_classes), are of other sizes."""
    proxies, vectors = getattr(loss, "proxies", None), getattr(loss, "W", None)
    made = proxies if vectors is None else vectors.T
    if made is not None and made.ndim == 2 and tuple(made.shape) != (n_classes, n_dims):
        raise ValueError(
            f"the loss was made for {made.shape[0]} classes and {made.shape[1]} dimensions, there are {n_classes} and {n_dims}; "
            f"make it with num_classes={n_classes}, embedding_size={n_dims}"
        )


def metric_loss(embed, loss, miner=None):
    """A loss for `train`, from one that compares the embeddings of a batch with one another.

    Parameters
    ----------
    embed : callable
        ``embed(network, inputs)`` gives embeddings (n, n_dims); batches are (inputs, class numbers).
    loss : callable
        ``loss(embeddings, class_numbers, mined)`` gives a scalar tensor: any loss of pytorch-metric-learning, or a function of
        yours. One with weights of its own (proxies) is ``network["loss"]``, so that they learn, too.
    miner : callable, optional
        ``miner(embeddings, class_numbers)`` gives what `loss` is to look at: tuples of positions, (anchors, positives, negatives)
        or (anchors, positives, anchors, negatives). None: the loss looks at all.

    Returns
    -------
    callable
        ``loss(network, batch)``, with two numbers besides: ``spread``, the mean distance between two embeddings of a batch, which
        goes to 0 where an embedding collapses, and with a miner ``mined``, how many triplets or pairs were chosen.

    Examples
    --------
    >>> import torch
    >>> apart = metric_loss(lambda network, inputs: network(inputs), lambda rows, targets, mined: -rows.std())
    >>> sorted(apart(torch.nn.Identity(), (torch.eye(3), torch.arange(3)))[1])
    ['spread']
    """
    torch = require("torch")

    def step(network, batch):
        inputs, targets = batch
        rows, mined = embed(network, inputs), None  # (n, n_dims)
        numbers = {"spread": torch.pdist(rows.detach().float()).mean() if len(rows) > 1 else 0.0}
        if miner is not None:
            mined = miner(rows.detach(), targets)
            numbers["mined"] = float(len(mined[0]) + (len(mined[2]) if len(mined) == 4 else 0))
        with_own = isinstance(network, torch.nn.ModuleDict) and "loss" in network
        value = (network["loss"] if with_own else loss)(rows, targets, mined)
        # where nothing was mined: a zero that still depends on the embeddings, so that training goes on
        return value if getattr(value, "requires_grad", True) else value + 0 * rows.sum(), numbers

    return step
