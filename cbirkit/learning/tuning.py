"""Adapt an encoder to labelled images: a learned projection on top, its last layers, or all of it."""

import copy
import dataclasses
import itertools
import logging
from collections.abc import Callable

import numpy as np
from sklearn.pipeline import Pipeline, make_pipeline

from cbirkit._optional import require
from cbirkit.encoders import Deep
from cbirkit.encoders.base import check_choice, check_number
from cbirkit.images import ImageCollection
from cbirkit.store import check_encoder, embed

from . import heads
from .augment import Augmentation
from .batches import ImageBatches, InOrder, RowBatches, Shuffled, class_numbers, labels_of
from .loop import Options, train
from .scoring import retrieval_score

log = logging.getLogger(__name__)

EPOCHS = {"head": 40, "last": 10, "full": 10}
RATES = {  # by mode; where much is to be kept, less moves
    "head": {"projection": 1e-3, "classifier": 1e-3},
    "last": {"backbone": 1e-3, "classifier": 1e-2},
    "full": {"backbone": 3e-4, "classifier": 1e-2},
}


@dataclasses.dataclass(frozen=True)
class TuningOptions(Options):
    """What `FineTuning` and `MetricLearning` have beside the fields of `Options`."""

    labels: object = "label"
    augment: Callable | None = dataclasses.field(default_factory=Augmentation)
    n_dims: int | None = None
    memory: float = 2.0


@dataclasses.dataclass(frozen=True)
class FineTuning(TuningOptions):
    """Settings of `fine_tune`: those of `Options`, some with other defaults, and these.

    Attributes
    ----------
    learning_rate : float or dict
        Default: the `RATES` of the mode; in "full" ``{"backbone": 3e-4, "classifier": 1e-2}``: the backbone,
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
    label_smoothing : float in [0, 1]
    scale : float
        Of the cosines in the classifier. Smaller draws the classes that are trained on closer together and costs those that are not:
        5 suits a closed set of classes, 10 new ones.
    unfreeze : float in (0, 1]
        What learns in "last": the layers at the end that hold this share of the parameters.
    n_dims : int, optional
        Of the projection ("head"); default as many as the encoder has.
    memory : float
        See `ImageBatches`.

    Examples
    --------
    >>> FineTuning(unfreeze=0.5).batch_norm
    'frozen'
    """

    batch_norm: str = "frozen"
    batch_size: int = 32
    label_smoothing: float = 0.1
    scale: float = 10.0
    unfreeze: float = 0.3

    def __post_init__(self):
        super().__post_init__()
        check_number("label_smoothing", self.label_smoothing, 0, 1)
        check_number("scale", self.scale, 0, open_low=True)


def fine_tune(
    encoder, images, *, mode="head", validation=None, epochs=None, checkpoint=None, **settings
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
    **settings
        Fields of `FineTuning`: ``learning_rate=1e-4, batch_size=64`` …

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

    References
    ----------
    Yosinski et al. (2014), How transferable are features in deep neural networks?, arXiv 1411.1792 (what to
    freeze). Howard and Ruder (2018), arXiv 1801.06146 (discriminative rates). Zhai and Wu (2019), arXiv
    1811.12649 (classification as metric learning).

    Examples
    --------
    >>> images = ImageCollection.from_arrays(np.random.RandomState(0).randint(0, 256, (8, 16, 16, 3), np.uint8), labels=list("aabbaabb"))
    >>> tuned, history = fine_tune(Deep("conv5", None, size=16), images, mode="full", epochs=1)
    >>> tuned.transform(images).shape, history.stopped
    ((8, 96), 'finished')
    """
    check_choice("mode", mode, EPOCHS)
    options = FineTuning(**{"learning_rate": RATES[mode], **settings})
    check_images(encoder, images, mode, validation)
    if epochs is None and options.steps is None:
        epochs = EPOCHS[mode]
    loss = {"scale": options.scale, "label_smoothing": options.label_smoothing}
    if mode != "head":
        share = 1.0 if mode == "full" else options.unfreeze
        sampler = Shuffled(options.batch_size)
        part = on_images(encoder, images, validation, options, sampler, "map", share)
        heads.check_classes(part.batches.classes, f"{len(images)} images")
        network = require("torch").nn.ModuleDict(part.modules)
        network["classifier"] = part.class_vectors(network)
        return part.run(network, heads.normalised_softmax(part.embed, **loss), epochs, checkpoint)
    rows, labels = encoded(encoder, images, labels_of(images, options.labels), options)
    if epochs is None:  # as many as the steps fill
        epochs = -(-options.steps // max(1, len(rows) // heads.BATCH_SIZE))
    own = {"learning_rate": options.learning_rate, "random_state": options.random_state}
    head, validate = heads.LinearProjection(options.n_dims, epochs=epochs, **loss, **own), None
    if validation is not None:
        other, truth = encoded(encoder, validation, validation_labels(validation, options), options)
        check_pairs(truth)
        validate = lambda head: retrieval_score(head.transform(other), truth)
    fitted = {"validate": validate, "checkpoint": checkpoint, "options": options}
    history = head.fit_history(rows, labels, **fitted)
    return with_head(encoder, head), history


def with_head(encoder, head):
    """A pipeline of the encoder (its steps, if it is one) and a head."""
    steps = [step for _, step in encoder.steps] if type(encoder) is Pipeline else [encoder]
    return make_pipeline(*steps, head)


def interpolate(before, after, alpha):
    """An encoder with the weights ``(1 - alpha) before + alpha after``, name by name (WiSE-FT).

    Often it keeps most of what fine-tuning gained and loses less of what the encoder could do before. The
    averages and variances of batch normalisation are interpolated like weights; counters are taken from
    `after`.

    Parameters
    ----------
    before, after : Deep
        Of the same architecture: `after` was made from `before`, by `fine_tune` or ``with_state``.
    alpha : float in [0, 1]
        0 gives the weights of `before`, 1 those of `after`, to the bit.

    Returns
    -------
    Deep
        With the other parameters of `before`.

    Raises
    ------
    TypeError, ValueError
        These are not two `Deep` encoders with the same weights' names and shapes, or `alpha` is out of range.

    References
    ----------
    Wortsman et al. (2022), Robust fine-tuning of zero-shot models, CVPR, arXiv 2109.01903.

    Examples
    --------
    >>> from cbirkit.encoders import Deep
    >>> a, b = (Deep("conv5", weights=None, size=16, random_state=seed) for seed in (0, 1))
    >>> half = interpolate(a, b, 0.5)
    >>> name = "blocks.0.0.weight"
    >>> bool(np.allclose(half.state_[name], (a.network.state_dict()[name] + b.network.state_dict()[name]) / 2))
    True
    """
    for encoder in (before, after):
        if not isinstance(encoder, Deep):
            raise TypeError(
                f"interpolation is between Deep encoders, got a {type(encoder).__name__}"
            )
    check_number("alpha", alpha, 0, 1)
    first, second = (encoder.network.cpu().state_dict() for encoder in (before, after))
    if {n: v.shape for n, v in first.items()} != {n: v.shape for n, v in second.items()}:
        raise ValueError(
            "the encoders are not of one architecture; interpolate one before and after training"
        )
    mixed = dict(first if alpha == 0 else second)
    if 0 < alpha < 1:
        floats = [name for name, value in first.items() if value.is_floating_point()]
        mixed |= {name: (1 - alpha) * first[name] + alpha * second[name] for name in floats}
    return before.with_state(mixed)


def unfreeze(network, images, share):
    """Let the last layers of a network learn and freeze the rest.

    Parameters
    ----------
    network : torch.nn.Module
    images : tensor (1, 3, h, w)
        What does not count for the output of these stays frozen.
    share : float in (0, 1]
        The last layers, in the order in which the network names them, that hold at least this share of the used parameters learn.
    """
    check_number("unfreeze", share, 0, 1, open_low=True)
    named = dict(network.requires_grad_(True).named_parameters())
    output = network.eval()(images).float().sum()
    slopes = require("torch").autograd.grad(output, list(named.values()), allow_unused=True)
    used = [name for name, slope in zip(named, slopes, strict=True) if slope is not None]
    network.requires_grad_(False)
    wanted = share * sum(named[name].numel() for name in used)
    for _, layer in itertools.groupby(reversed(used), lambda name: name.rpartition(".")[0]):
        for parameter in [named[name] for name in layer] if wanted > 0 else []:
            parameter.requires_grad_(True)
            wanted -= parameter.numel()


# ------------------------------------------------------------------ what a training goes over


class Training:
    """The modules that are trained, the batches for them, what they embed, and the encoder that they become.

    Parameters
    ----------
    encoder : encoder
    options : TuningOptions
    batches, judged : Batches
        To learn from, and (perhaps None) of the validation split.
    metric : str
        Of `retrieval_score`.
    backbone : torch.nn.Module, optional
        Of a `Deep` encoder; without, `batches` are of its embeddings.
    """

    def __init__(self, encoder, options, batches, judged, metric, backbone=None):
        self.encoder, self.options, self.batches = encoder, options, batches
        self.judged, self.metric, self.head = judged, metric, None
        self.modules = {} if backbone is None else {"backbone": backbone}
        self.extractor = None if backbone is None else encoder.extractor
        if judged is not None:
            check_pairs(judged.targets)

    def add_head(self, rows):
        """Put an `EmbeddingHead` on top, which starts from embeddings (n, n_features)."""
        self.head = heads.EmbeddingHead(self.options.n_dims).fit(rows)
        self.modules["head"] = heads.linear(self.head.weights_, self.head.bias_)

    def embed(self, network, inputs):
        """A batch of images (n, 3, h, w), or of embeddings, to embeddings (n, n_dims) of any length, with gradients."""
        rows, encoder = inputs, self.encoder
        if self.extractor is not None:
            maps = network["backbone"](inputs).float()
            rows = self.extractor.pool(maps, inputs.shape[-2:], encoder.pooling, encoder.p)
        if self.head is None:
            return rows
        if self.extractor is not None and encoder.normalise:
            rows = require("torch").nn.functional.normalize(rows)
        return network["head"](rows)

    def embeddings(self, network, batches):
        """Embeddings (n, n_dims) of length 1 and class numbers (n,) of one pass: tensors on the CPU."""
        torch = require("torch")
        device, parts = next(network.parameters()).device, []
        with torch.no_grad():
            for inputs, targets in batches.epoch(0, device=device):
                rows = torch.nn.functional.normalize(self.embed(network, inputs))
                parts.append((rows.cpu(), targets.cpu()))
        return [torch.cat(part) for part in zip(*parts, strict=True)]

    def class_vectors(self, network):
        """A layer without bias, whose rows are the means of the embeddings of each class, the images not augmented."""
        torch = require("torch")
        len(self.batches)  # reads the images
        plain = copy.copy(self.batches)  # shares the pixels
        plain.augment, plain.sampler = None, InOrder(64)
        rows, targets = self.embeddings(network.eval(), plain)
        sums = torch.zeros(len(plain.classes), rows.shape[1]).index_add_(0, targets, rows)
        return heads.linear(torch.nn.functional.normalize(sums).numpy())

    def run(self, network, loss, epochs, checkpoint):
        """Train the network; gives the encoder that it becomes, and the history."""

        def validate(network):
            rows, targets = self.embeddings(network, self.judged)
            return retrieval_score(rows.numpy(), targets.numpy(), metric=self.metric)

        settings = {"epochs": epochs, "checkpoint": checkpoint, "options": self.options}
        settings["validate"] = None if self.judged is None else validate
        history = train(network, self.batches, loss, **settings)
        learned = self.encoder
        if self.extractor is not None:
            learned = learned.with_state(network["backbone"].state_dict())
        if self.head is not None:
            learned = with_head(learned, self.head.keep(network["head"]))
        return learned, history


def on_embeddings(encoder, images, validation, options, sampler, metric):
    """A `Training` on what an encoder gives."""

    def batches_of(collection, labels, sampler):
        rows, labels = encoded(encoder, collection, labels, options)
        _, targets = class_numbers(labels, len(rows))
        return RowBatches(rows, targets, options.random_state, sampler)

    batches, judged = batches_of(images, labels_of(images, options.labels), sampler), None
    if validation is not None:
        judged = batches_of(validation, validation_labels(validation, options), InOrder(64))
    return Training(encoder, options, batches, judged, metric)


def on_images(encoder, images, validation, options, sampler, metric, share=1.0):
    """A `Training` of the last layers of the network of a `Deep` encoder, see `unfreeze`."""
    from cbirkit.nets.extraction import pick_device

    if options.device == "auto":
        options = dataclasses.replace(options, device=encoder.device)
    settings = {name: getattr(options, name) for name in ("random_state", "memory", "progress")}
    settings["preprocessing"] = encoder.preprocessing
    batches = ImageBatches(
        images, options.labels, sampler=sampler, augment=options.augment, **settings
    )
    judged = None
    if validation is not None:
        labels = validation_labels(validation, options)
        judged = ImageBatches(validation, labels, sampler=InOrder(64), **settings)
    backbone = encoder.network.cpu()
    unfreeze(backbone, encoder.preprocessing([np.zeros((8, 8, 3), np.uint8)]), share)
    backbone = backbone.to(pick_device(options.device))
    return Training(encoder, options, batches, judged, metric, backbone)


def check_images(encoder, images, mode, validation):
    """Refuse what can be neither learned from nor judged by."""
    check_encoder(encoder)
    if mode != "head" and not isinstance(encoder, Deep):
        raise TypeError(
            f'mode="{mode}" trains the network of a Deep encoder, got a {type(encoder).__name__}; use mode="head"'
        )
    collections = {"images": images} | ({} if validation is None else {"validation": validation})
    for name, collection in collections.items():
        if not isinstance(collection, ImageCollection):
            raise TypeError(
                f"{name} must be an ImageCollection with labels, got a {type(collection).__name__}"
            )
        if not len(collection):
            raise ValueError(f"{name} holds no image; give at least one of each class")
    if validation is not None:
        shared = images.ids[images.positions_in(validation) >= 0]
        if len(shared):
            raise ValueError(
                f"{len(shared)} images are both trained on and used for validation, the first is {shared[0]!r}; "
                "split them: images.split(fraction=0.8)"
            )


def check_pairs(labels):
    """Refuse labels (n_images,) of a validation split of which retrieval has no score, or always the same."""
    n_classes = len(set(labels.tolist()))
    if n_classes in (1, len(labels)):
        what = "only one class" if n_classes == 1 else "no two images of one class"
        raise ValueError(
            f"the validation split has {what}, so that retrieval has no score; give several images of several classes"
        )


def validation_labels(validation, options):
    """Labels of the validation split: of the column that `options` names for the training images, where it names one."""
    return labels_of(validation, options.labels if isinstance(options.labels, str) else None)


def encoded(encoder, images, labels, options):
    """Embeddings and labels of the images that can be read."""
    done = embed(encoder, images, progress=options.progress)
    for name, reason in done.problems.itertuples(index=False):
        log.warning("%s cannot be read and is left out: %s", name, reason)
    return done.embeddings, np.asarray(list(labels), dtype=object)[done.positions]
