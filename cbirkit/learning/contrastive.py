"""Self-supervised learning: an embedding from images without labels, by telling changed copies of images apart."""

import dataclasses
from collections.abc import Callable

from sklearn.utils import check_random_state

from cbirkit._optional import require
from cbirkit.encoders.base import check_count, check_number

from . import tuning
from .augment import Augmentation
from .batches import Shuffled

EPOCHS = 50


@dataclasses.dataclass(frozen=True)
class Contrastive(tuning.TuningOptions):
    """Settings of `learn_contrastive`: those of `Options`, and these.

    Attributes
    ----------
    augment : callable
        Makes two changed copies of each image, all first ones, then all second ones: an `Augmentation` with ``views=2``.
    batch_size : int
        Images per batch, at least 2; each is compared with ``2 * batch_size - 2`` others than its copy.
    temperature : float
        See `nt_xent`.
    n_dims : int
        Of the projection that the loss sees, and that is thrown away.
    labels
        Has no effect: validation images are judged by their column ``label``.

    Examples
    --------
    >>> Contrastive(batch_size=32).temperature
    0.2
    """

    augment: Callable = dataclasses.field(
        default_factory=lambda: Augmentation(crop=(0.2, 1.0), colour=0.4, grey=0.2, views=2)
    )
    n_dims: int = 64
    batch_size: int = 64
    temperature: float = 0.2

    def __post_init__(self):
        super().__post_init__()
        check_count("n_dims", self.n_dims)
        check_count("batch_size", self.batch_size, 2)
        check_number("temperature", self.temperature, 0, open_low=True)
        if getattr(self.augment, "views", 2) != 2 or not callable(self.augment):
            raise ValueError(
                f"augment must make two views of each image, got {self.augment!r}; pass Augmentation(views=2)"
            )


def nt_xent(first, second, temperature=0.2):
    r"""NT-Xent, the loss of SimCLR: of all other images of a batch, each view is to pick out the other view of its own image.

    .. math:: -\frac{1}{2n} \sum_i \log \frac{\exp(\cos(z_i, z_{p(i)}) / \tau)}{\sum_{j \ne i} \exp(\cos(z_i, z_j) / \tau)}

    where p(i) is the other view of the image of view i, and i and j run over all 2n views.

    Parameters
    ----------
    first, second : tensor (n, n_dims)
        Of any length; row i of both shows image i.
    temperature : float
        Tau, > 0; the smaller, the more the nearest negatives count.

    Returns
    -------
    tensor ()

    Raises
    ------
    ValueError
        Tensors of different shapes.

    References
    ----------
    Chen, Kornblith, Norouzi and Hinton (2020), A simple framework for contrastive learning of visual representations, ICML,
    arXiv 2002.05709.

    Examples
    --------
    >>> import torch
    >>> views = torch.eye(2)
    >>> round(nt_xent(views, views, 0.5).item(), 4)
    0.2395
    """
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(
            f"got views of the shapes {tuple(first.shape)} and {tuple(second.shape)}; give both (n, n_dims), one row per image"
        )
    logits, partner = _logits(first, second, temperature)
    return require("torch").nn.functional.cross_entropy(logits, partner)


def _logits(first, second, temperature):
    """Similarities of each view to all others, over the temperature, (2n, 2n), and where its partner is, (2n,)."""
    torch = require("torch")
    rows = torch.nn.functional.normalize(torch.cat([first, second]))  # (2n, n_dims)
    own = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    partner = torch.arange(len(rows), device=rows.device).roll(len(first))
    return (rows @ rows.T / temperature).masked_fill(own, float("-inf")), partner


def contrastive_loss(embed, temperature=0.2):
    """A loss for `train` from batches in which all first views come before all second ones.

    Parameters
    ----------
    embed : callable
        ``embed(network, inputs)`` gives (2n, n_dims) of the inputs of a batch, what else is in it is not used.
    temperature : float

    Returns
    -------
    callable
        ``loss(network, batch)``: `nt_xent`, and two numbers besides: ``found``, the fraction of views whose nearest other is their
        partner, and ``spread``, the mean distance between two embeddings of a batch, which goes to 0 where they collapse.
    """
    torch = require("torch")

    def step(network, batch):
        views = embed(network, batch[0]).chunk(2)
        logits, partner = _logits(*views, temperature)
        rows = torch.nn.functional.normalize(torch.cat(views).detach())
        found = (logits.detach().argmax(dim=1) == partner).float().mean()
        numbers = {"found": found, "spread": torch.pdist(rows).mean()}
        return torch.nn.functional.cross_entropy(logits, partner), numbers

    return step


def learn_contrastive(
    encoder, images, *, validation=None, epochs=None, checkpoint=None, **settings
):
    """Train the network of an encoder on images without labels (SimCLR).

    A projection (two layers) on top of the embedding is trained with it and thrown away: what it forgets, such as the colour of a
    flower, may be what a search needs.

    Parameters
    ----------
    encoder : Deep
        Is not changed. Random weights, or those to go on from.
    images : ImageCollection
        Labels are not looked at.
    validation : ImageCollection, optional
        With labels; see `fine_tune`. Without, nothing tells when to stop: labels are needed to choose, if not to learn.
    epochs : int, optional
        Default, unless ``steps`` is given: 50.
    checkpoint : path-like, optional
        See `train`: a run that was killed is gone on with.
    **settings
        Fields of `Contrastive`: ``temperature=0.1, batch_size=128`` …

    Returns
    -------
    encoder : Deep
    history : History
        With the columns ``found`` and ``spread`` of `contrastive_loss`.

    Raises
    ------
    TypeError, ValueError
        `encoder` is no `Deep`, no images, or an option out of range.
    TrainingDiverged
        See `train`.

    References
    ----------
    As `nt_xent`.

    Examples
    --------
    >>> import numpy as np
    >>> from cbirkit import ImageCollection
    >>> from cbirkit.encoders import Deep
    >>> images = ImageCollection.from_arrays(np.random.RandomState(0).randint(0, 256, (8, 16, 16, 3), np.uint8))
    >>> learned, history = learn_contrastive(Deep("conv5", None, size=16), images, batch_size=4, epochs=1)
    >>> learned.transform(images).shape, history.stopped
    ((8, 96), 'finished')
    """
    options = Contrastive(**settings)
    tuning.check_images(encoder, images, "full", validation)
    if epochs is None and options.steps is None:
        epochs = EPOCHS
    numbered = dataclasses.replace(options, labels=range(len(images)))
    sampler = Shuffled(options.batch_size)
    part = tuning.on_images(encoder, images, validation, numbered, sampler, "map")
    part.modules["projection"] = _projection(encoder.n_dims, options)
    network = require("torch").nn.ModuleDict(part.modules)
    embed = lambda network, inputs: network["projection"](part.embed(network, inputs))
    return part.run(network, contrastive_loss(embed, options.temperature), epochs, checkpoint)


def _projection(n_features, options):
    """Two layers with batch normalisation between; its random weights follow from the settings alone."""
    torch = require("torch")
    nn = torch.nn
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(check_random_state(options.random_state).randint(2**31 - 1)))
        return nn.Sequential(
            nn.Linear(n_features, n_features, bias=False),
            nn.BatchNorm1d(n_features),
            nn.ReLU(),
            nn.Linear(n_features, options.n_dims),
        )
