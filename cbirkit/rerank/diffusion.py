"""Graphs of nearest neighbours rank a database anew: by diffusion, and by what the neighbourhoods of two images have in common."""

import numbers
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import cg
from sklearn.base import BaseEstimator
from sklearn.preprocessing import normalize
from sklearn.utils import check_array, check_scalar
from sklearn.utils.validation import check_is_fitted

from cbirkit.indexes import Exact
from cbirkit.ranking import Ranking
from cbirkit.ranking.codes import own_positions


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
        """What each column of `right` (n_database, m) gives, by conjugate gradients."""
        matrix = sp.identity(len(right), format="csr") - self.alpha * self.affinity_
        return np.stack([cg(matrix, column, rtol=1e-10)[0] for column in right.T], axis=1)


def k_reciprocal(queries, database, *, k1=20, k2=6, weight=0.3):
    """Re-rank by what neighbourhoods have in common: ``d* = (1 - weight) d_J + weight d``.

    R(i, k) holds the items that are among the k nearest of i and have i among their k nearest; it is joined by the set
    R(j, k/2) of each of its members j if at least two thirds of that lie in it already. An image is described by the weights ``exp(-d)`` of its
    set, of sum 1, averaged over its k2 nearest images, itself among them; d_J is the Jaccard distance of two such descriptions, d is 1 - cosine.

    Parameters
    ----------
    queries : array-like of shape (n_queries, n_dims)
        Not in the database.
    database : array-like of shape (n_database, n_dims)
    k1 : int
        Neighbours of the sets; more than there are images mean all of them.
    k2 : int
        Images to average over; 1 averages nothing.
    weight : float in [0, 1]
        Of the plain distance (lambda in the paper).

    Returns
    -------
    ndarray of shape (n_queries, n_database), float64
        Smaller is nearer: ``Ranking.from_distances`` ranks by it.

    Raises
    ------
    ValueError
        No numbers of the same number of columns, or parameters out of range.

    See Also
    --------
    Diffusion

    Notes
    -----
    Without labels, but the whole database is seen (transductive). Unlike in the authors' code, queries do not see one another: the sets of
    the database's items hold items alone, so a query's ranking does not depend on what else is asked. Of items that are equally far all
    count as near. Memory and time grow with the square of the database.

    References
    ----------
    Zhong, Zheng, Cao and Li, "Re-ranking person re-identification with k-reciprocal encoding", CVPR 2017, arXiv 1701.08398.

    Examples
    --------
    >>> angles = np.deg2rad([20, 25, 30, -18, -60, -65])
    >>> database = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    >>> (1 - [[1, 0]] @ database.T).argsort().tolist()  # by angle the fourth is nearest
    [[3, 0, 1, 2, 4, 5]]
    >>> k_reciprocal([[1, 0]], database, k1=3, k2=1, weight=0).argsort(kind="stable").tolist()
    [[0, 1, 2, 3, 4, 5]]
    """
    for name, value in {"k1": k1, "k2": k2}.items():
        check_scalar(value, name, numbers.Integral, min_val=1)
    check_scalar(weight, "weight", numbers.Real, min_val=0, max_val=1)
    asked = normalize(check_array(queries, dtype=float, input_name="queries"))
    items = normalize(check_array(database, dtype=float, input_name="database"))
    # items, then queries; rounded, so that it is symmetric
    n, both = len(items), np.maximum(1 - np.vstack([items, asked]) @ items.T, 0).round(12)
    both[np.arange(n), np.arange(n)] = 0
    ranked, own = np.sort(both, axis=1), np.arange(len(both)) < n  # an item is its own nearest

    def mutual(k):
        last = ranked[np.arange(len(both)), np.minimum(k - 1 + own, n - 1)]
        return (both <= last[:, None]) & (both <= last[:n])

    sets, halves = mutual(k1), mutual(max(round(k1 / 2), 1))[:n]
    common = sets.astype(float) @ halves.T  # (n + n_queries, n)
    joined = sets & (common >= 2 / 3 * halves.sum(axis=1))
    rows = np.exp(-both) * (sets | (joined.astype(float) @ halves > 0))
    rows /= np.maximum(rows.sum(axis=1, keepdims=True), 1e-12)
    near = np.argsort(both, axis=1, kind="stable")
    themselves = np.stack([rows[one[:k2]].mean(axis=0) for one in near[:n]])
    out = weight * both[n:]
    for number, (row, one) in enumerate(zip(rows[n:], near[n:], strict=True)):
        mean = np.vstack([row, rows[one[: k2 - 1]]]).mean(axis=0)
        common, union = (of(mean, themselves).sum(axis=1) for of in (np.minimum, np.maximum))
        out[number] += (1 - weight) * (1 - common / union)
    return out
