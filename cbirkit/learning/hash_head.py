"""A hash learned from labels: linear, trained through its signs."""

import numpy as np
from sklearn.utils.validation import validate_data

from .._optional import require
from ..encoders import ITQ, RandomProjectionHash
from ..encoders.hashes import BinaryHash, check_bits
from .labels import class_numbers
from .loop import train
from .options import Options, changed
from .projection import _Rows, _unit, normalised_softmax


class HashHead(BinaryHash):
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

    def fit(self, X, y):
        """Learn from embeddings (n_images, n_features) and their labels (n_images,).

        Raises
        ------
        ValueError
            One class only, a label that is missing, or a parameter out of range.
        """
        fit_hash_head(self, X, y, options=Options(progress=False, device="cpu"))
        return self

    def _project(self, X):
        return X @ self.weights_.T + self.bias_


def fit_hash_head(head, X, y, *, validate=None, checkpoint=None, options=None):
    """Fit a `HashHead` and give the history of its training.

    Parameters
    ----------
    head : HashHead
        Its own epochs, learning_rate and random_state count, not those of `options`.
    X : array (n_images, n_features)
    y : array (n_images,)
    validate : callable, optional
        ``validate(head)`` gives a score of the head as it is by then, larger is better.
    checkpoint, options
        As in `train`.

    Returns
    -------
    History
        With the columns ``accuracy`` (of the classifier on the training codes) and ``penalty`` (before it is weighted).
    """
    check_bits(head.n_bits)
    X = validate_data(head, X, dtype=np.float32, ensure_min_samples=2)
    head.classes_, targets = class_numbers(y, len(X))
    if len(head.classes_) < 2:
        raise ValueError(
            f"all {len(X)} embeddings have the label {head.classes_.tolist()[0]!r}; give at least two classes to tell apart"
        )
    network = _start(head, X, targets)

    def keep(network):
        layer = network["projection"]
        head.weights_, head.bias_ = (
            v.detach().cpu().numpy().copy() for v in (layer.weight, layer.bias)
        )
        return head

    loss = straight_through_loss(
        lambda network, rows: network["projection"](rows), penalty=head.penalty, scale=head.scale
    )
    history = train(
        network,
        _Rows(X, targets, head.random_state),
        loss,
        epochs=head.epochs,
        validate=None if validate is None else lambda network: validate(keep(network)),
        checkpoint=checkpoint,
        options=changed(
            options, {"learning_rate": head.learning_rate, "random_state": head.random_state}
        ),
    )
    keep(network)
    head.accuracy_ = float(history.table["accuracy"].iloc[-1])
    return history


def straight_through_loss(project, *, penalty=0.1, scale=3.0, label_smoothing=0.1):
    """A loss for `train`: classes from signs, whose gradient is that of the numbers under them.

    Parameters
    ----------
    project : callable
        ``project(network, inputs)`` gives the numbers z (n, n_bits); batches are (inputs, class numbers).
    penalty : float
        Weight of ``mean(||z| - 1|^3)``.
    scale, label_smoothing
        As in `normalised_softmax`.

    Returns
    -------
    callable
        ``loss(network, batch)``; the class vectors are ``network["classifier"].weight`` (n_classes, n_bits).
    """
    torch = require("torch")

    def loss(network, batch):
        numbers = project(network, batch[0])  # (n, n_bits)
        signs = torch.where(numbers > 0, 1.0, -1.0)
        codes = (
            numbers + (signs - numbers).detach()
        )  # has the value of the signs and the gradient of the numbers
        classify = normalised_softmax(
            lambda *_: codes, scale=scale, label_smoothing=label_smoothing
        )
        value, told = classify(network, batch)
        pull = (numbers.abs() - 1).abs().pow(3).mean()
        return value + penalty * pull, {**told, "penalty": pull.detach()}

    return loss


def _start(head, X, targets):
    """The network at the start: ITQ (or random directions), scaled so that the numbers are 1 in size on average."""
    torch = require("torch")
    spread = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
    there = int((spread**2 > 1e-7 * spread[0] ** 2).sum())
    if there == 0:
        raise ValueError(
            f"all {len(X)} embeddings are equal, there is nothing to learn; give different ones"
        )
    kind = ITQ if head.n_bits <= there else RandomProjectionHash
    hashed = kind(head.n_bits, random_state=head.random_state).fit(X)
    numbers = hashed.project(X)
    weights = hashed.components_ / np.abs(numbers).mean()
    bias = -weights @ hashed.mean_
    signs = np.where(numbers > 0, 1.0, -1.0)
    means = np.stack(
        [signs[targets == number].mean(axis=0) for number in range(len(head.classes_))]
    )
    with torch.random.fork_rng(devices=[]):  # the layers' own random starts are not used
        layer = torch.nn.Linear(X.shape[1], head.n_bits)
        classifier = torch.nn.Linear(head.n_bits, len(means), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights))
        layer.bias.copy_(torch.from_numpy(bias))
        classifier.weight.copy_(torch.from_numpy(_unit(means)))
    return torch.nn.ModuleDict({"projection": layer, "classifier": classifier})
