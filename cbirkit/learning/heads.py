"""Small learned maps on top of embeddings: what they share, the linear projection, and the head of metric learning."""

from dataclasses import KW_ONLY, dataclass

import numpy as np
from sklearn.utils.validation import validate_data

from cbirkit._optional import require
from cbirkit.encoders.base import OnVectors, unit

from .batches import RowBatches, Shuffled, class_numbers
from .loop import Options, train

BATCH_SIZE = 64


class Head(OnVectors):
    """Base of the linear maps of embeddings, ``z = W x + b``: ``weights_`` (n_dims, n_features) and ``bias_`` (n_dims,), float32."""

    def transform(self, X):
        """Map embeddings (n_images, n_features): float32 (n_images, n_dims), each of length 1 (a zero vector stays zero)."""
        return unit(self._project(self._validated(X)))

    def _project(self, X):
        return X @ self.weights_.T + self.bias_

    def keep(self, layer):
        """Take over the weights of a torch ``Linear``; gives the head itself."""
        self.weights_ = layer.weight.detach().cpu().numpy().copy()
        self.bias_ = layer.bias.detach().cpu().numpy().copy()
        return self


class LabelledHead(Head):
    """Base of the heads that are learned with a classifier on top, which is then thrown away.

    A class has ``_start(X, targets)``, which sets the first weights and gives the first class vectors (n_classes, n_dims), and
    ``_loss()``, a loss of a network {projection, classifier} for `train`.
    """

    def fit(self, X, y):
        """Learn from embeddings (n_images, n_features) and their labels (n_images,).

        Raises
        ------
        ValueError
            One class only, a label that is missing, or a parameter out of range.
        """
        self.fit_history(X, y, options=Options(progress=False, device="cpu"))
        return self

    def fit_history(self, X, y, *, validate=None, checkpoint=None, options=None):
        """Fit, and give the history of the training.

        Parameters
        ----------
        X : array (n_images, n_features)
        y : array (n_images,)
        validate : callable, optional
            ``validate(head)`` gives a score of the head as it is by then, larger is better.
        checkpoint, options
            As in `train`; the head's own epochs, learning_rate and random_state count.

        Returns
        -------
        History
            With the column ``accuracy`` of the classifier on the training embeddings, over the epoch.
        """
        X = validate_data(self, X, dtype=np.float32)
        self.classes_, targets = class_numbers(y, len(X))
        check_classes(self.classes_, f"{len(X)} embeddings")
        classifier = linear(unit(self._start(X, targets)))
        layers = {"projection": linear(self.weights_, self.bias_), "classifier": classifier}
        network = require("torch").nn.ModuleDict(layers)
        batches = RowBatches(X, targets, self.random_state, Shuffled(BATCH_SIZE))
        own = {"learning_rate": self.learning_rate, "random_state": self.random_state}
        own |= {"epochs": self.epochs, "checkpoint": checkpoint, "options": options}
        score = None
        if validate is not None:
            score = lambda network: validate(self.keep(network["projection"]))
        history = train(network, batches, self._loss(), validate=score, **own)
        self.keep(network["projection"])
        self.accuracy_ = float(history.table["accuracy"].iloc[-1])
        return history


@dataclass(eq=False, repr=False)
class LinearProjection(LabelledHead):
    """Map embeddings linearly so that images of one class come together: ``z = W x + b``, L2-normalised.

    W and b are learned together with one unit vector c_k a class by cross-entropy over ``scale * cos(z,
    c_k)``, with label smoothing (normalised softmax: Zhai and Wu 2019, arXiv 1811.12649); the vectors c_k are
    then thrown away. W starts as the identity, or as the leading principal directions (of the embeddings as
    they are, not centred), and b as zero: before the first step nothing but dimensions is lost.

    Parameters
    ----------
    n_dims : int, optional
        Of the result; default as many as come in.
    epochs : int
    learning_rate : float or dict
        Peak of AdamW's rate, schedule "one_cycle"; a dict has one for ``projection`` (W and b) and one for
        ``classifier``.
    scale : float
        Of the cosines. Smaller draws a class closer together, which pays for the classes it is fitted on and
        costs new ones.
    label_smoothing : float in [0, 1]
    random_state : int, RandomState or None

    Attributes
    ----------
    weights_ : ndarray (n_dims, n_features), float32
    bias_ : ndarray (n_dims,), float32
    classes_ : ndarray (n_classes,)
    accuracy_ : float
        Of the classifier on the training embeddings, in the last epoch.
    n_features_in_ : int

    Examples
    --------
    >>> X = np.repeat(np.eye(3), 8, axis=0) + np.random.RandomState(0).normal(0, 0.1, (24, 3))
    >>> projection = LinearProjection(2, epochs=5).fit(X, np.repeat(["a", "b", "c"], 8))
    >>> projection.transform(X).shape
    (24, 2)
    """

    n_dims: int | None = None
    _: KW_ONLY
    epochs: int = 40
    learning_rate: float | dict = 1e-3
    scale: float = 10.0
    label_smoothing: float = 0.1
    random_state: object = 0

    def _start(self, X, targets):
        directions = principal_directions(X, self.n_dims)
        self.weights_, self.bias_ = directions, np.zeros(len(directions), np.float32)
        return class_means(X, targets) @ directions.T

    def _loss(self):
        options = {"scale": self.scale, "label_smoothing": self.label_smoothing}
        return normalised_softmax(projected, **options)


class EmbeddingHead(Head):
    """Map embeddings linearly to others of length 1: ``z = W x + b``.

    `fit` only gives it a start, from which `cbirkit.learning.learn_metric` trains it: the leading principal directions of the
    embeddings as they are, not centred, so that before the first step nothing but dimensions is lost.

    Parameters
    ----------
    n_dims : int, optional
        Of the result; default as many as come in.

    Attributes
    ----------
    weights_ : ndarray (n_dims, n_features), float32
    bias_ : ndarray (n_dims,), float32
    n_features_in_ : int

    Examples
    --------
    >>> X = np.random.RandomState(0).normal(size=(20, 8))
    >>> EmbeddingHead(3).fit(X).transform(X).shape
    (20, 3)
    """

    def __init__(self, n_dims=None):
        self.n_dims = n_dims

    def fit(self, X, y=None):
        """Start from embeddings (n_images, n_features); labels are not used.

        Raises
        ------
        ValueError
            More dimensions than `X` has rows or columns.
        """
        X = validate_data(self, X, dtype=np.float32)
        self.weights_ = principal_directions(X, self.n_dims)
        self.bias_ = np.zeros(len(self.weights_), np.float32)
        return self


def projected(network, rows):
    """What the linear map of a network {projection, classifier} makes of a batch of embeddings."""
    return network["projection"](rows)


def normalised_softmax(embed, *, scale=10.0, label_smoothing=0.1):
    """A loss for `train`: cross-entropy over `scale` times the cosines of embeddings and class vectors.

    Parameters
    ----------
    embed : callable
        ``embed(network, inputs)`` gives embeddings (n, n_dims) of any length; batches are (inputs, class
        numbers).
    scale : float
    label_smoothing : float

    Returns
    -------
    callable
        ``loss(network, batch)``; the class vectors are ``network["classifier"].weight`` (n_classes, n_dims).
    """
    functional = require("torch").nn.functional

    def loss(network, batch):
        rows, vectors = embed(network, batch[0]), network["classifier"].weight
        cosines = functional.normalize(rows) @ functional.normalize(vectors).T  # (n, n_classes)
        found = {"accuracy": (cosines.argmax(dim=1) == batch[1]).float().mean()}
        logits = scale * cosines
        return functional.cross_entropy(logits, batch[1], label_smoothing=label_smoothing), found

    return loss


def linear(weights, bias=None):
    """A torch ``Linear`` with copies of weights (n_out, n_in) and bias (n_out,); no random number is drawn for it."""
    torch = require("torch")
    n_out, n_in = weights.shape
    layer = torch.nn.utils.skip_init(torch.nn.Linear, n_in, n_out, bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights))
        if bias is not None:
            layer.bias.copy_(torch.from_numpy(bias))
    return layer


def principal_directions(X, n_dims=None):
    """The `n_dims` leading principal directions of X (n, n_features), not centred: rows of length 1; None, or all: the identity."""
    if n_dims in (None, X.shape[1]):
        return np.eye(X.shape[1], dtype=np.float32)
    if not 1 <= n_dims <= min(X.shape):
        raise ValueError(
            f"n_dims={n_dims} must lie between 1 and {min(X.shape)}; X has the shape {X.shape} (images, dimensions)"
        )
    return np.linalg.svd(X, full_matrices=False)[2][:n_dims].astype(np.float32)


def class_means(X, targets):
    """Mean row of each class: (n_classes, n_dims)."""
    return np.stack([X[targets == number].mean(axis=0) for number in range(targets.max() + 1)])


def check_classes(classes, what):
    """Refuse labels of one class only."""
    if len(classes) < 2:
        raise ValueError(
            f"all {what} have the label {classes.tolist()[0]!r}; give at least two classes to tell apart"
        )
