"""Adapt an encoder to labelled images: a learned projection on top, its last layers, or all of it."""

import dataclasses
import logging
from collections.abc import Callable, Mapping

import numpy as np
from sklearn.pipeline import Pipeline, make_pipeline

from ..encoders import Deep
from ..images import ImageCollection, ImageProblem
from ..store import check_encoder, embed
from .augment import Augmentation
from .labels import labels_of, labels_of_validation
from .network_tuning import tune_network
from .options import Options, changed
from .projection import BATCH_SIZE, LinearProjection, fit_projection
from .scoring import check_pairs, retrieval_score

log = logging.getLogger(__name__)

EPOCHS = {"head": 40, "last": 10, "full": 10}
RATES = {  # by mode; where much is to be kept, less moves
    "head": {"projection": 1e-3, "classifier": 1e-3},
    "last": {"backbone": 1e-3, "classifier": 1e-2},
    "full": {"backbone": 3e-4, "classifier": 1e-2},
}


@dataclasses.dataclass(frozen=True)
class FineTuning(Options):
    """Settings of `fine_tune`: those of `Options`, some with other defaults, and these.

    Attributes
    ----------
    learning_rate : float, dict or None
        None: the `RATES` of the mode; in "full" ``{"backbone": 3e-4, "classifier": 1e-2}``: the backbone,
        which knows much, moves less than the classifier. A number is the rate of all. Names below
        ``backbone.`` are those of ``Deep(…).network``.
    batch_norm : {"frozen", "update"}
        See `Options`. "frozen" is the default here: the averages of the weights' first training stay, as
        batches are small. "update" adapts them to the new domain, and forgets those of the old one; compare
        both before gains are put down to the weights.
    labels : str or sequence
        The column with the labels, or the labels, of the images to train on.
    augment : Augmentation, callable or None
        Of the images ("last" and "full").
    batch_size : int
    label_smoothing : float in [0, 1)
    scale : float
        Of the cosines in the classifier. Smaller draws the classes that are trained on closer together and costs those that are not:
        5 suits a closed set of classes, 10 new ones.
    unfreeze : float or sequence of str
        What learns in "last": the layers at the end that hold this share of the parameters, or the layers of
        these names.
    n_dims : int, optional
        Of the projection ("head"); default as many as the encoder has.
    memory : float
        See `ImageBatches`.

    Examples
    --------
    >>> FineTuning(unfreeze=0.5).batch_norm
    'frozen'
    """

    learning_rate: float | Mapping | None = None
    batch_norm: str = "frozen"
    labels: object = "label"
    augment: Callable | None = dataclasses.field(default_factory=Augmentation)
    batch_size: int = 32
    label_smoothing: float = 0.1
    scale: float = 10.0
    unfreeze: object = 0.3
    n_dims: int | None = None
    memory: float = 2.0

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(
                f"label_smoothing must lie in [0, 1), got {self.label_smoothing!r}; 0.1 is usual, 0 is none"
            )

        if not 0 < self.scale < float("inf"):
            raise ValueError(f"scale must be a number > 0, got {self.scale!r}; use 10, say")

    def _check_rates(self):
        if self.learning_rate is not None:
            super()._check_rates()


def fine_tune(
    encoder,
    images,
    *,
    mode="head",
    validation=None,
    epochs=None,
    checkpoint=None,
    options=None,
    **changes,
):
    """Adapt an encoder to labelled images, for retrieval.

    A classifier is trained by cross-entropy and then thrown away: what is kept are the embeddings, which now
    lie closer together within a class.

    =========  ==========================================================================================================
    mode       what learns
    =========  ==========================================================================================================
    "head"     A `LinearProjection` of the embeddings; the encoder stays as it is and each image is encoded once. Seconds;
               any encoder, not only `Deep`. What the frozen features do not hold it cannot find.
    "last"     The last layers of a `Deep` encoder (``unfreeze``); all before them stays to the bit.
    "full"     All layers, the backbone at a smaller rate than the classifier. The most it can gain, and forget.
    =========  ==========================================================================================================

    The classifier is a normalised softmax, as of `LinearProjection`: cross-entropy over ``scale`` times the cosines
    between embedding and class vectors, which is the measure that search uses. The class vectors start at the
    means of their images' embeddings (Qi et al. 2018, arXiv 1712.07136), so that the first steps do not pull
    at the backbone for nothing. Multi-scale encoders are trained at scale 1.

    Parameters
    ----------
    encoder : Deep, or for "head" any encoder
        Is not changed.
    images : ImageCollection
        With labels, at least two different ones. Images that cannot be read are named and left out.
    mode : {"head", "last", "full"}
    validation : ImageCollection, optional
        With labels. Its score after each epoch (`retrieval_score`) decides which epoch's weights are kept. It
        may hold the same classes or others (others are the better guide where new classes are to be
        searched), but none of the training images, and neither queries nor database of the final test.
    epochs : int, optional
        Default, unless ``steps`` is given: 40 for "head", else 10.
    checkpoint : path-like, optional
        See `train`.
    options : FineTuning, optional
    **changes
        Fields of `FineTuning`.

    Returns
    -------
    encoder : Deep, or for "head" a Pipeline of the encoder and a LinearProjection
        Both can be saved in a `Retriever`.
    history : History
        With the column ``accuracy``: of the classifier on the training images (as augmented), averaged over
        the epoch while it learned.

    Raises
    ------
    TypeError
        `encoder` is none, or not a `Deep` in "last" and "full".
    ValueError
        No labels, one class only, no images, an empty or overlapping validation split, or an option out of
        range.
    TrainingDiverged
        See `train`.

    References ---------- Yosinski et al. (2014), How transferable are features in deep neural networks?,
    arXiv 1411.1792 (what to freeze). Howard and Ruder (2018), arXiv 1801.06146 (discriminative rates). Zhai
    and Wu (2019), arXiv 1811.12649 (classification as metric learning).

    Examples
    --------
    >>> images = ImageCollection.from_arrays(np.random.RandomState(0).randint(0, 256, (8, 16, 16, 3), np.uint8), labels=list("aabbaabb"))
    >>> tuned, history = fine_tune(Deep("conv5", None, size=16), images, mode="full", epochs=1)
    >>> tuned.transform(images).shape, history.stopped
    ((8, 96), 'finished')
    """
    options = changed(options, changes, FineTuning)
    _check(encoder, images, mode, validation)
    if options.learning_rate is None:
        options = dataclasses.replace(options, learning_rate=RATES[mode])
    if epochs is None and options.steps is None:
        epochs = EPOCHS[mode]
    if mode == "head":
        return _tune_head(encoder, images, validation, epochs, checkpoint, options)
    return tune_network(encoder, images, mode, validation, epochs, checkpoint, options)


def _check(encoder, images, mode, validation):
    if mode not in EPOCHS:
        raise ValueError(f"mode must be one of {tuple(EPOCHS)}, got {mode!r}; pass one of these")
    check_encoder(encoder)
    if mode != "head" and not isinstance(encoder, Deep):
        raise TypeError(
            f'mode="{mode}" trains the network of a Deep encoder, got a {type(encoder).__name__}; use mode="head"'
        )
    for name, collection in (("images", images), ("validation", validation)):
        if collection is None and name == "validation":
            continue
        if not isinstance(collection, ImageCollection):
            raise TypeError(
                f"{name} must be an ImageCollection with labels, got a {type(collection).__name__}; make one"
            )
        if not len(collection):
            raise ValueError(f"{name} holds no image; give at least one of each class")
    if validation is not None:
        same_ids = images.table.index.intersection(validation.ids)
        shared = [
            i
            for i in same_ids
            if _digest(images, i) is not None and _digest(images, i) == _digest(validation, i)
        ]
        if shared:
            raise ValueError(
                f"{len(shared)} images are both trained on and used for validation, the first is {shared[0]!r}; "
                "split them: images.split(fraction=0.8)"
            )


def _digest(images, name):
    try:
        return images.digest(name)
    except (ImageProblem, OSError):
        return None


def _tune_head(encoder, images, validation, epochs, checkpoint, options):
    rows, labels = _encoded(encoder, images, labels_of(images, options.labels), options)
    settings = {
        name: getattr(options, name) for name in ("label_smoothing", "scale", "random_state")
    }
    if epochs is None:  # as many as the steps fill
        epochs = -(-options.steps // max(1, len(rows) // BATCH_SIZE))
    projection = LinearProjection(
        options.n_dims, epochs=epochs, learning_rate=options.learning_rate, **settings
    )
    validate = None
    if validation is not None:
        other, truth = _encoded(
            encoder, validation, labels_of_validation(validation, options), options
        )
        check_pairs(truth)
        validate = lambda projection: retrieval_score(projection.transform(other), truth)
    history = fit_projection(
        projection, rows, labels, validate=validate, checkpoint=checkpoint, options=options
    )
    steps = [step for _, step in encoder.steps] if type(encoder) is Pipeline else [encoder]
    return make_pipeline(*steps, projection), history


def _encoded(encoder, images, labels, options):
    """Embeddings and labels of the images that can be read."""
    done = embed(encoder, images, progress=options.progress)
    for name, reason in done.problems.itertuples(index=False):
        log.warning("%s cannot be read and is left out: %s", name, reason)
    return done.embeddings, np.asarray(list(labels), dtype=object)[done.positions]
