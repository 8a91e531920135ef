"""A hash learned from labels: linear, trained through its signs."""

import numpy as np

from cbirkit._optional import require
from cbirkit.encoders import ITQ, RandomProjectionHash
from cbirkit.encoders.hashes import BinaryHash, check_bits

from .heads import LabelledHead, class_means, normalised_softmax, projected


class HashHead(BinaryHash, LabelledHead):
    """Bits learned from labels: ``b = sgn(W x + c)``, trained as one layer with a straight-through gradient.

    As in GreedyHash, the classifier sees the signs themselves, the gradient passes them as if they were not there, and
    ``penalty * mean(||z| - 1|^3)`` pulls the numbers z = W x + c towards -1 and 1. W starts from `ITQ` (from
    `RandomProjectionHash` where there are more bits than directions that vary): before the first step, codes are theirs.

    Parameters
    ----------
    n_bits : int
        A multiple of 8.
    epochs : int
    learning_rate : float or dict
        Peak of AdamW's rate, schedule "one_cycle"; a dict has one for ``projection`` and one for ``classifier``.
    penalty : float
    scale : float
        Of the cosines between codes and class vectors. Small ones draw a class together for longer, which helped new classes, too,
        where there were many classes to learn from.
    random_state : int, RandomState or None

    Attributes
    ----------
    weights_ : ndarray (n_bits, n_features), float32
    bias_ : ndarray (n_bits,), float32
    classes_ : ndarray (n_classes,)
    accuracy_ : float
        Of the classifier on the training codes, in the last epoch.
    n_features_in_ : int

    Notes
    -----
    Deviations from the paper: a layer on embeddings, not a whole network (`straight_through_loss` trains one with
    `cbirkit.learning.train`); the classifier is a normalised softmax with label smoothing; AdamW.

    References
    ----------
    Su, Zhang, Han and Tian, "Greedy hash: towards fast optimization for accurate hash coding in CNN", NeurIPS 2018.

    Examples
    --------
    >>> X = np.repeat(np.eye(3), 8, axis=0) + np.random.RandomState(0).normal(0, 0.1, (24, 3))
    >>> head = HashHead(8, epochs=5).fit(X, np.repeat(["a", "b", "c"], 8))
    >>> head.transform(X).shape
    (24, 1)
    """

    def __init__(
        self, n_bits=64, *, epochs=40, learning_rate=1e-2, penalty=0.1, scale=3.0, random_state=0
    ):
        self.n_bits = n_bits
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.penalty = penalty
        self.scale = scale
        self.random_state = random_state

    def _start(self, X, targets):
        """ITQ (or random directions), scaled so that the numbers are 1 in size on average."""
        check_bits(self.n_bits)
        spread = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
        there = int((spread**2 > 1e-7 * spread[0] ** 2).sum())
        if there == 0:
            raise ValueError(
                f"all {len(X)} embeddings are equal, there is nothing to learn; give different ones"
            )
        kind = ITQ if self.n_bits <= there else RandomProjectionHash
        hashed = kind(self.n_bits, random_state=self.random_state).fit(X)
        numbers = hashed.project(X)
        self.weights_ = hashed.components_ / np.abs(numbers).mean()
        self.bias_ = -self.weights_ @ hashed.mean_
        return class_means(np.where(numbers > 0, 1.0, -1.0), targets)

    def _loss(self):
        return straight_through_loss(projected, penalty=self.penalty, scale=self.scale)


def straight_through_loss(project, *, penalty=0.1, scale=3.0, label_smoothing=0.1):
    """A loss for `train`: classes from signs, whose gradient is that of the numbers under them.

    Parameters
    ----------
    project : callable
        ``project(network, inputs)`` gives the numbers z (n, n_bits); batches are (inputs, class numbers).
    penalty : float
        Weight of ``mean(||z| - 1|^3)``, the column ``penalty`` of the history (before it is weighted).
    scale, label_smoothing
        As in `normalised_softmax`.

    Returns
    -------
    callable
        ``loss(network, batch)``; the class vectors are ``network["classifier"].weight`` (n_classes, n_bits).
    """
    torch, options = require("torch"), {"scale": scale, "label_smoothing": label_smoothing}

    def loss(network, batch):
        numbers = project(network, batch[0])  # (n, n_bits)
        signs = torch.where(numbers > 0, 1.0, -1.0)
        # has the value of the signs and the gradient of the numbers
        codes = numbers + (signs - numbers).detach()
        classify = normalised_softmax(lambda *_: codes, **options)
        value, found = classify(network, batch)
        pull = (numbers.abs() - 1).abs().pow(3).mean()
        return value + penalty * pull, {**found, "penalty": pull.detach()}

    return loss
