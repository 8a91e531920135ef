"""A learned linear map of embeddings."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .._optional import require
from .checkpoints import digest
from .labels import class_numbers
from .loop import train
from .options import Options, changed
from .samplers import Shuffled

BATCH_SIZE = 64


class LinearProjection(TransformerMixin, BaseEstimator):
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
    label_smoothing : float in [0, 1)
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

    _on_vectors = True  # a step that needs no images: see `cbirkit.store.split_pipeline`

    def __init__(
        self,
        n_dims=None,
        *,
        epochs=40,
        learning_rate=1e-3,
        scale=10.0,
        label_smoothing=0.1,
        random_state=0,
    ):
        self.n_dims = n_dims
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.scale = scale
        self.label_smoothing = label_smoothing
        self.random_state = random_state

    def fit(self, X, y):
        """Learn from embeddings (n_images, n_features) and their labels (n_images,).

        Raises
        ------
        ValueError
            One class only, a label that is missing, or a parameter out of range.
        """
        fit_projection(self, X, y, options=Options(progress=False, device="cpu"))
        return self

    def transform(self, X):
        """Project embeddings (n_images, n_features): float32 (n_images, n_dims), each of length 1 (a zero vector stays zero)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        return _unit(X @ self.weights_.T + self.bias_)


def fit_projection(projection, X, y, *, validate=None, checkpoint=None, options=None):
    """Fit a `LinearProjection` and give the history of its training.

    Parameters
    ----------
    projection : LinearProjection
        Its own epochs, learning_rate and random_state count, not those of `options`.
    X : array (n_images, n_features)
    y : array (n_images,)
    validate : callable, optional
        ``validate(projection)`` gives a score of the projection as it is by then, larger is better.
    checkpoint, options
        As in `train`.

    Returns
    -------
    History
        With the column ``accuracy``: of the classifier on the training embeddings, over the epoch.
    """
    X = validate_data(projection, X, dtype=np.float32)
    projection.classes_, targets = class_numbers(y, len(X))
    if len(projection.classes_) < 2:
        raise ValueError(
            f"all {len(X)} embeddings have the label {projection.classes_.tolist()[0]!r}; give at least two classes to tell apart"
        )
    network = _start(projection, X, targets)

    def keep(network):
        layer = network["projection"]
        projection.weights_, projection.bias_ = (
            value.detach().cpu().numpy().copy() for value in (layer.weight, layer.bias)
        )
        return projection

    settings = {"learning_rate": projection.learning_rate, "random_state": projection.random_state}
    history = train(
        network,
        _Rows(X, targets, projection.random_state),
        normalised_softmax(
            lambda network, rows: network["projection"](rows),
            scale=projection.scale,
            label_smoothing=projection.label_smoothing,
        ),
        epochs=projection.epochs,
        validate=None if validate is None else lambda network: validate(keep(network)),
        checkpoint=checkpoint,
        options=changed(options, settings),
    )
    keep(network)
    projection.accuracy_ = float(history.table["accuracy"].iloc[-1])
    return history


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
        inputs, targets = batch
        rows, vectors = embed(network, inputs), network["classifier"].weight
        cosines = functional.normalize(rows) @ functional.normalize(vectors).T  # (n, n_classes)
        accuracy = (cosines.argmax(dim=1) == targets).float().mean()
        return functional.cross_entropy(
            scale * cosines, targets, label_smoothing=label_smoothing
        ), {"accuracy": accuracy}

    return loss


def _start(projection, X, targets):
    """The network at the start: directions that keep X as it is, class vectors at the means of their rows."""
    torch = require("torch")
    n_dims = X.shape[1] if projection.n_dims is None else projection.n_dims
    if n_dims != X.shape[1] and not 1 <= n_dims <= min(X.shape):
        raise ValueError(
            f"n_dims={n_dims} must lie between 1 and {min(X.shape)}; X has the shape {X.shape} (images, dimensions)"
        )
    directions = np.eye(X.shape[1], dtype=np.float32)
    if n_dims < X.shape[1]:
        directions = np.linalg.svd(X, full_matrices=False)[2][
            :n_dims
        ]  # (n_dims, n_features), orthonormal rows
    means = np.stack(
        [X[targets == number].mean(axis=0) for number in range(len(projection.classes_))]
    )
    with torch.random.fork_rng(devices=[]):  # the layers' own random starts are not used
        layer, classifier = (
            torch.nn.Linear(X.shape[1], n_dims),
            torch.nn.Linear(n_dims, len(means), bias=False),
        )
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(directions))
        layer.bias.zero_()
        classifier.weight.copy_(torch.from_numpy(_unit(means @ directions.T)))
    return torch.nn.ModuleDict({"projection": layer, "classifier": classifier})


class _Rows:
    """Batches of (rows (n, n_features), class numbers (n,)), shuffled or as `sampler` draws them, for `train`."""

    def __init__(self, X, targets, random_state, sampler=None):
        torch = require("torch")
        self._X, self._targets = (
            torch.from_numpy(np.ascontiguousarray(X)),
            torch.from_numpy(targets),
        )
        self._seed = int(check_random_state(random_state).randint(2**31 - 1))
        self._sampler = Shuffled(BATCH_SIZE) if sampler is None else sampler

    def __len__(self):
        return self._sampler.n_batches(self._targets)

    def __iter__(self):
        return self.epoch(0)

    def epoch(self, number, start=0, device="cpu"):
        random = np.random.RandomState(
            np.random.SeedSequence([self._seed, number]).generate_state(4)
        )
        for chosen in self._sampler.epoch(self._targets, random)[start:]:
            yield self._X[chosen].to(device), self._targets[chosen].to(device)

    def identity(self):
        return [self._seed, digest({"X": self._X, "targets": self._targets}), repr(self._sampler)]


def _unit(rows):
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(length > 0, length, 1)).astype(np.float32, copy=False)
