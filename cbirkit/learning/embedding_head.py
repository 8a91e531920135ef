"""A small learned map on top of embeddings: linear, or with one hidden layer."""

from itertools import pairwise

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .._optional import require
from .options import check_whole
from .projection import _unit


class EmbeddingHead(TransformerMixin, BaseEstimator):
    """Map embeddings to others of length 1: ``z = W x + b``, or ``z = W2 max(W1 x + b1, 0) + b2``.

    `fit` only gives it a start, from which `cbirkit.learning.learn_metric` trains it. Linear: the leading principal directions of the
    embeddings as they are, not centred, so that before the first step nothing but dimensions is lost. With a hidden layer: random
    (He et al. 2015, arXiv 1502.01852).

    Parameters
    ----------
    n_dims : int, optional
        Of the result; default as many as come in.
    hidden : int, optional
        Numbers in the hidden layer; None: no hidden layer.
    random_state : int, RandomState or None

    Attributes
    ----------
    weights_, biases_ : list of ndarray, float32
        One a layer, (n_out, n_in) and (n_out,).
    n_features_in_ : int

    Examples
    --------
    >>> X = np.random.RandomState(0).normal(size=(20, 8))
    >>> EmbeddingHead(3).fit(X).transform(X).shape
    (20, 3)
    """

    _on_vectors = True  # a step that needs no images: see `cbirkit.store.split_pipeline`

    def __init__(self, n_dims=None, *, hidden=None, random_state=0):
        self.n_dims = n_dims
        self.hidden = hidden
        self.random_state = random_state

    def fit(self, X, y=None):
        """Start from embeddings (n_images, n_features); labels are not used.

        Raises
        ------
        ValueError
            More dimensions than `X` has rows or columns (linear), or a number that is none.
        """
        check_whole("n_dims", self.n_dims, optional=True)
        check_whole("hidden", self.hidden, optional=True)
        X = validate_data(self, X, dtype=np.float32)
        n_dims = X.shape[1] if self.n_dims is None else self.n_dims
        if self.hidden is None:
            self.weights_ = [_directions(X, n_dims)]
        else:
            random, sizes = check_random_state(self.random_state), (X.shape[1], self.hidden, n_dims)
            self.weights_ = [
                random.normal(0, np.sqrt(2 / n_in), (n_out, n_in)).astype(np.float32)
                for n_in, n_out in pairwise(sizes)
            ]
        self.biases_ = [np.zeros(len(W), np.float32) for W in self.weights_]
        return self

    def transform(self, X):
        """Map embeddings (n_images, n_features): float32 (n_images, n_dims), each of length 1 (a zero vector stays zero)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        for number, (W, b) in enumerate(zip(self.weights_, self.biases_, strict=True)):
            X = X @ W.T + b  # (n_images, n_in) -> (n_images, n_out)
            if number < len(self.weights_) - 1:
                X = np.maximum(X, 0)
        return _unit(X)

    def module(self):
        """The layers as a torch ``Sequential`` with copies of the weights; it leaves out the scaling to length 1."""
        torch = require("torch")
        layers = []
        for W, b in zip(self.weights_, self.biases_, strict=True):
            with torch.random.fork_rng(devices=[]):  # the layer's own random start is not used
                layer = torch.nn.Linear(W.shape[1], W.shape[0])
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(W))
                layer.bias.copy_(torch.from_numpy(b))
            layers += [layer, torch.nn.ReLU()]
        return torch.nn.Sequential(*layers[:-1])

    def keep(self, module):
        """Take over the weights of such a ``Sequential``; gives the head itself."""
        linear = [layer for layer in module if hasattr(layer, "weight")]
        self.weights_ = [layer.weight.detach().cpu().numpy().copy() for layer in linear]
        self.biases_ = [layer.bias.detach().cpu().numpy().copy() for layer in linear]
        return self


def _directions(X, n_dims):
    """The `n_dims` leading principal directions of X (n, n_features), not centred: rows of length 1."""
    if n_dims == X.shape[1]:
        return np.eye(n_dims, dtype=np.float32)
    if n_dims > min(X.shape):
        raise ValueError(
            f"n_dims={n_dims} must lie between 1 and {min(X.shape)}; X has the shape {X.shape} (images, dimensions)"
        )
    return np.linalg.svd(X, full_matrices=False)[2][:n_dims].astype(np.float32)
