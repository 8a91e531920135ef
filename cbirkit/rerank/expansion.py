"""Query expansion: search again with the mean of the query and of what it found."""

import numbers
from dataclasses import replace

import numpy as np
from sklearn.preprocessing import normalize
from sklearn.utils import check_array, check_scalar

from cbirkit.indexes import Exact, leave_out
from cbirkit.ranking.codes import own_positions


def expand_queries(queries, database, ranking, *, n=5, alpha=0.0, accepted=None):
    """Replace each query by a weighted mean of itself and its first results.

    ``q' = q + sum of w_i x_i`` over the first n results, scaled to length 1, with ``w_i = max(0, q . x_i) ** alpha``,
    all vectors of length 1.

    Parameters
    ----------
    queries : array-like of shape (n_queries, n_dims)
        Embeddings, in the order of the ranking's queries.
    database : array-like of shape (n_database, n_dims)
        Embeddings, in the order of the ranking's database.
    ranking : Ranking
    n : int
        Results to average at most.
    alpha : float
        0 weighs all alike (average query expansion); 3 is usual with the embeddings of networks.
    accepted : bool array-like of shape (n_queries, k), optional
        Results that may be averaged, such as ``SpatialRanking.accepted()`` (verified query expansion): the first `n`
        of them. A query without any stays as it is.

    Returns
    -------
    ndarray of shape (n_queries, n_dims), float32
        Of length 1; zero where everything averaged was zero.

    Raises
    ------
    ValueError
        Shapes that do not fit, numbers that are not finite, or parameters out of range.

    References
    ----------
    Chum et al., "Total recall: automatic query expansion with a generative feature model for object retrieval",
    ICCV 2007, doi:10.1109/ICCV.2007.4408891. Weights: Radenovic, Tolias and Chum, TPAMI 2019,
    doi:10.1109/TPAMI.2018.2846566.

    Examples
    --------
    >>> from cbirkit import Ranking
    >>> ranking = Ranking(["q"], ["a", "b"], [[0, 1]], [[0.0, 1.0]])
    >>> expand_queries([[1, 0]], [[1, 0], [0, 1]], ranking, n=2).round(2).tolist()
    [[0.8899999856948853, 0.44999998807907104]]
    """
    queries = _unit(queries, "queries", len(ranking.query_ids))
    database = _unit(database, "database", len(ranking.database_ids))
    if queries.shape[1] != database.shape[1]:
        raise ValueError(
            f"{queries.shape[1]} and {database.shape[1]} dimensions; encode both alike"
        )
    check_scalar(n, "n", numbers.Integral, min_val=1)
    check_scalar(alpha, "alpha", numbers.Real, min_val=0, max_val=1e3)
    use = ranking.indices >= 0
    if accepted is not None:
        accepted = np.asarray(accepted, dtype=bool)
        if accepted.shape != use.shape:
            raise ValueError(
                f"accepted is {accepted.shape}, not {use.shape}; give one flag a result"
            )
        use &= accepted
    use &= use.cumsum(axis=1) <= n  # the first n of those that may be used
    expanded = queries.copy()
    for row in range(len(queries)):
        results = database[ranking.indices[row, use[row]]]  # (m, n_dims)
        weights = np.maximum(results @ queries[row], 0) ** alpha
        expanded[row] += weights @ results
    return normalize(expanded)


def query_expansion(queries, database, ranking, *, n=5, alpha=0.0, accepted=None):
    """Search the database again with expanded queries, by exact cosine distance.

    Parameters
    ----------
    queries, database, ranking, n, alpha, accepted
        See `expand_queries`.

    Returns
    -------
    Ranking
        As deep as `ranking`. A query whose own id is in the database and not in its row of `ranking` is left out
        again.

    Examples
    --------
    >>> from cbirkit import Ranking
    >>> ranking = Ranking(["q"], ["a", "b", "c"], [[0, 1, 2]], [[0.1, 0.5, 0.5]])
    >>> vectors = [[0.9, 0.4], [0.5, -0.8], [0.5, 0.8]]
    >>> query_expansion([[1, 0]], vectors, ranking, n=1).ids.tolist()
    [['a', 'c', 'b']]
    """
    expanded = expand_queries(queries, database, ranking, n=n, alpha=alpha, accepted=accepted)
    own = own_positions(ranking.own, ranking.query_ids, ranking.database_ids)
    own = np.where((ranking.indices == own[:, None]).any(axis=1), -1, own)
    n_database = len(ranking.database_ids)
    k = min(ranking.k + 1, n_database)  # one more, for the query itself
    distances, indices = Exact("cosine").fit(database).kneighbors(expanded, k)
    distances, indices = leave_out(distances.astype(np.float64), indices, own, ranking.k)
    how = "average" if alpha == 0 else f"alpha={alpha:g}"
    how = f"{how if accepted is None else 'verified'} query expansion, n={n}"
    protocol = "; ".join(filter(None, [ranking.protocol, how]))
    return replace(ranking, indices=indices, distances=distances, protocol=protocol)


def _unit(vectors, name, n_rows):
    vectors = check_array(vectors, dtype=np.float32, input_name=name)
    if len(vectors) != n_rows:
        raise ValueError(f"{name} must be {n_rows} rows, one for each id, got {len(vectors)}")
    return normalize(vectors)
