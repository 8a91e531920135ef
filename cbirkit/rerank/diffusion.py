"""Diffusion: a query's similarity spreads over the graph of the database's nearest neighbours, and ranks it anew."""

import numbers
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.preprocessing import normalize
from sklearn.utils import check_array, check_scalar
from sklearn.utils.validation import check_is_fitted

from cbirkit.indexes import Exact
from cbirkit.ranking import Ranking
from cbirkit.ranking.codes import own_positions

_MOST_STEPS = 1000


class Diffusion(BaseEstimator):
    """Re-rank by a random walk with restart on the graph of mutual nearest neighbours.

    With the affinities ``A_ij = max(0, x_i . x_j) ** gamma`` of items that are among each other's `n_neighbors` nearest,
    their degrees D and ``S = D^-1/2 A D^-1/2``, the scores of a query solve ``(I - alpha S) f = y``, by conjugate
    gradients. A query that is not in the database starts at its own nearest items: ``y_i = max(0, q . x_i) ** gamma``
    for the `n_start` nearest, 0 elsewhere. An item of the database that is a query starts at its neighbours too, not at itself,
    unless the ranking holds it.

    Parameters
    ----------
    n_neighbors : int
        Neighbours of an item (k).
    alpha : float in [0, 1)
        How far similarity spreads: 0 gives y again.
    gamma : float
        Exponent of the cosines, of items and of queries.
    n_start : int
        Items at which a query starts.

    Attributes
    ----------
    affinity_ : scipy.sparse.csr_matrix of shape (n_database, n_database), float64
        S; symmetric, empty diagonal. An item without a mutual neighbour has an empty row.
    database_ : ndarray of shape (n_database, n_dims), float32
        The vectors, of length 1.
    inverse_ : ndarray of shape (n_database, n_database), float64
        (I - alpha S)^-1, only after `precompute`.

    See Also
    --------
    cbirkit.rerank.query_expansion

    Notes
    -----
    The graph sees the whole database, without labels (transductive). Items that no walk reaches have the score 0; they
    are ranked behind all others, by their cosine to the query. The paper works on regions of images, cuts the graph
    to what is near the query, and takes ``alpha=0.99, gamma=3`` and 50 neighbours; here items are whole images and
    nothing is cut. `precompute` solves for every item beforehand, so that a query is a sum of a few rows, as in Yang et
    al. 2019, who keep a truncated part only; it takes 8 bytes times the square of the database's size.

    References
    ----------
    Iscen, Tolias, Avrithis, Furon and Chum, "Efficient diffusion on region manifolds", CVPR 2017, arXiv 1611.05113.
    Yang, Hinami, Matsui, Ly and Satoh, "Efficient image retrieval via decoupling diffusion into online and offline
    processing", AAAI 2019, arXiv 1811.10907.

    Examples
    --------
    >>> angles = np.deg2rad([0, 10, 20, 30, -25])
    >>> database = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    >>> walk = Diffusion(n_neighbors=2, alpha=0.9, n_start=1).fit(database)
    >>> Exact().fit(database).kneighbors([[1, 0]], 5)[1].tolist()  # by angle
    [[0, 1, 2, 4, 3]]
    >>> walk.scores([[1, 0]]).argsort()[0, ::-1].tolist()  # along the chain
    [0, 1, 2, 3, 4]
    """

    def __init__(self, n_neighbors=20, *, alpha=0.9, gamma=3.0, n_start=10):
        self.n_neighbors = n_neighbors
        self.alpha = alpha
        self.gamma = gamma
        self.n_start = n_start

    def fit(self, database, y=None):
        """Build the graph.

        Parameters
        ----------
        database : array-like of shape (n_database, n_dims)
            At least two vectors.
        y : ignored

        Returns
        -------
        Diffusion

        Raises
        ------
        TypeError, ValueError
            Vectors that are no table of finite numbers, or parameters out of range.
        """
        for name in ("n_neighbors", "n_start"):
            check_scalar(getattr(self, name), name, numbers.Integral, min_val=1)
        bounds = {"min_val": 0, "max_val": 1, "include_boundaries": "left"}
        check_scalar(self.alpha, "alpha", numbers.Real, **bounds)
        check_scalar(self.gamma, "gamma", numbers.Real, min_val=0, max_val=1e3)
        database = check_array(
            database, dtype=np.float32, ensure_min_samples=2, input_name="database"
        )
        self.database_ = normalize(database)
        self._index = Exact("cosine").fit(self.database_)
        directed = self._nearest(self.database_, self.n_neighbors, np.arange(len(database)))
        mutual = directed.minimum(directed.T).tocsr()
        degrees = np.asarray(mutual.sum(axis=1)).ravel()
        roots = sp.diags(1 / np.sqrt(np.where(degrees > 0, degrees, 1)))
        self.affinity_ = (roots @ mutual @ roots).tocsr()
        vars(self).pop("inverse_", None)
        return self

    def precompute(self):
        """Solve for every item (offline), so that `scores` needs no solver; returns the estimator."""
        check_is_fitted(self)
        self.inverse_ = self._solve(np.eye(len(self.database_)))
        return self

    def scores(self, queries, own=None):
        """How strongly each query reaches each item.

        Parameters
        ----------
        queries : array-like of shape (n_queries, n_dims)
        own : array-like of int, shape (n_queries,), optional
            Position of each query in the database, -1 (default) where it is not there: it does not start at itself.

        Returns
        -------
        ndarray of shape (n_queries, n_database), float64
            0 or more, larger is nearer.

        Raises
        ------
        ValueError
            Another number of dimensions than the database's, or numbers that are not finite.
        """
        check_is_fitted(self)
        queries = normalize(check_array(queries, dtype=np.float32, input_name="queries"))
        own = np.full(len(queries), -1) if own is None else np.asarray(own)
        start = self._nearest(queries, self.n_start, own)
        if hasattr(self, "inverse_"):
            return np.maximum(start @ self.inverse_, 0)  # the inverse is symmetric
        return np.maximum(self._solve(start.toarray().T).T, 0)

    def rerank(self, queries, ranking):
        """Rank the database again.

        Parameters
        ----------
        queries : array-like of shape (n_queries, n_dims)
            Embeddings, in the order of the ranking's queries.
        ranking : Ranking
            Of the database that was fitted, in its order.

        Returns
        -------
        Ranking
            As deep as `ranking`; distances are minus the scores, and 1 - cosine for what is not reached. A query whose own
            id is in the database and not in its row of `ranking` is left out again, and does not start at itself.

        Raises
        ------
        ValueError
            Queries or a database of another size than the ranking's.
        """
        check_is_fitted(self)
        if len(queries) != len(ranking) or len(self.database_) != len(ranking.database_ids):
            raise ValueError(
                f"{len(queries)} queries and {len(self.database_)} fitted items, but the ranking has "
                f"{len(ranking)} and {len(ranking.database_ids)}; give the vectors of its ids"
            )
        own = own_positions(ranking.own, ranking.query_ids, ranking.database_ids)
        own = np.where((ranking.indices == own[:, None]).any(axis=1), -1, own)
        scores = self.scores(queries, own)
        cosines = normalize(np.asarray(queries, np.float32)) @ self.database_.T
        distances = np.where(scores > 0, -scores, 1.0 - cosines)
        distances[np.flatnonzero(own >= 0), own[own >= 0]] = np.inf
        ids = ranking.query_ids, ranking.database_ids
        ranked = Ranking.from_distances(distances, *ids, k=min(ranking.k, len(self.database_)))
        at_self = (ranked.indices == own[:, None]) & (own >= 0)[:, None]
        indices = np.where(at_self, -1, ranked.indices)
        how = f"diffusion, k={self.n_neighbors}, alpha={self.alpha:g}"
        protocol = "; ".join(filter(None, [ranking.protocol, how]))
        return replace(ranked, indices=indices, protocol=protocol, own=ranking.own)

    def _nearest(self, queries, k, own):
        """Affinities of each query to its k nearest items without `own`: sparse (n_queries, n_database)."""
        n = len(self.database_)
        distances, found = self._index.kneighbors(queries, min(k + 1, n))
        kept = found != own[:, None]
        kept &= kept.cumsum(axis=1) <= k
        weights = np.maximum(1 - distances[kept].astype(np.float64), 0) ** self.gamma
        rows = np.nonzero(kept)[0]
        return sp.csr_matrix((weights, (rows, found[kept])), shape=(len(queries), n))

    def _solve(self, right):
        """Conjugate gradients for all columns of `right` (n_database, m) at once, each with its own steps."""
        x, residual = np.zeros_like(right), right.copy()
        direction, energy = residual.copy(), (residual**2).sum(axis=0)
        goal = 1e-20 * energy
        for _ in range(_MOST_STEPS):
            if (energy <= goal).all():
                break
            image = direction - self.alpha * (self.affinity_ @ direction)
            along = (direction * image).sum(axis=0)
            step = np.where(energy > goal, energy / np.where(along > 0, along, 1), 0)
            x += step * direction
            residual -= step * image
            energy, before = (residual**2).sum(axis=0), energy
            direction = residual + energy / np.where(before > 0, before, 1) * direction
        return x
