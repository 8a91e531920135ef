"""Re-order the first results of every query by how many matches agree with one homography."""

import numbers
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import joblib
import numpy as np
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from ..ranking import Ranking
from .verification import verify


@dataclass(frozen=True, eq=False)
class SpatialRanking:
    """A ranking whose first results were verified, and what was found there.

    Attributes
    ----------
    ranking : Ranking
        The first n of each query by falling number of inliers, ties in their old order; the rest as before. The
        distance of a verified result is its old rank (from 0) divided by n, less its inliers; those of the rest are
        the old ones, moved up behind them.
    inliers : ndarray of shape (n_queries, n), int64
        Inliers of the first n results in the new order; 0 where nothing agrees, and at padding.
    verifications : dict of (query id, database id) to Verification
        Homographies (query to result), matches and inliers, for drawing.
    """

    ranking: Ranking
    inliers: np.ndarray = field(repr=False)
    verifications: dict = field(repr=False)

    def accepted(self, min_inliers=8):
        """Which results have at least `min_inliers` inliers: bool (n_queries, k), for `expand_queries`.

        Examples
        --------
        >>> ranking = Ranking(["q"], ["a", "b"], [[0, 1]], [[-9.0, 0.5]])
        >>> SpatialRanking(ranking, np.array([[9]]), {}).accepted().tolist()
        [[True, False]]
        """
        mask = np.zeros(self.ranking.indices.shape, dtype=bool)
        mask[:, : self.inliers.shape[1]] = self.inliers >= min_inliers
        return mask


def describe_images(images, detector=None, *, progress=True):
    """Local features of every image of a collection, by id, computed once and used often.

    Parameters
    ----------
    images : ImageCollection
    detector : SIFT, optional
        ``SIFT()`` if not given.
    progress : bool
        Show a progress bar if it takes longer than two seconds.

    Returns
    -------
    dict of id to (keypoints, descriptors)

    Examples
    --------
    >>> from cbirkit import ImageCollection
    >>> images = ImageCollection.from_arrays(np.zeros((1, 32, 32, 3), np.uint8), ids=["grey"])
    >>> describe_images(images)["grey"][1].shape
    (0, 128)
    """
    from ..encoders import SIFT

    if not hasattr(images, "ids"):
        raise TypeError(
            f"images must be an ImageCollection, got {type(images).__name__}; "
            "make one with cbirkit.ImageCollection.from_arrays"
        )
    described = (SIFT() if detector is None else detector).describe_all(images)
    waiting = tqdm(
        described,
        total=len(images),
        desc="local features",
        unit="image",
        leave=False,
        delay=2,
        disable=not progress,
    )
    return dict(zip(images.ids, waiting, strict=True))


def verify_ranking(ranking, features, *, n=50, n_jobs=None, progress=True, **verification):
    """Verify the first `n` results of every query and re-order them by their inliers.

    Parameters
    ----------
    ranking : Ranking
    features : dict of id to (keypoints, descriptors)
        Of the queries and of the database images that stand among the first `n`; see `describe_images`.
    n : int
        Results to verify; fewer where the ranking is shorter.
    n_jobs : int or None
        Threads; None or -1 uses all cores. It does not change the result.
    progress : bool
        Show a progress bar if it takes longer than two seconds.
    **verification
        Parameters of `verify`: ratio, mutual, threshold, max_iterations.

    Returns
    -------
    SpatialRanking

    Raises
    ------
    ValueError
        Features of an image are missing (it is named), or a parameter is out of range.

    References
    ----------
    Philbin et al., "Object retrieval with large vocabularies and fast spatial matching", CVPR 2007,
    doi:10.1109/CVPR.2007.383172.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> points, descriptors = rng.uniform(0, 100, (20, 2)), rng.normal(size=(20, 8))
    >>> features = {"q": (points, descriptors), "same": (points + 3, descriptors), "other": (points, -descriptors)}
    >>> ranking = Ranking(["q"], ["other", "same"], [[0, 1]], [[0.1, 0.2]])
    >>> verify_ranking(ranking, features).ranking.ids.tolist()
    [['same', 'other']]
    """
    if isinstance(n, bool) or not isinstance(n, numbers.Integral) or n < 1:
        raise ValueError(f"n must be a whole number >= 1, got {n!r}; 50 is usual")
    n = min(n, ranking.k)
    pairs = _pairs(ranking, features, n)
    n_threads = joblib.cpu_count() if n_jobs is None else joblib.effective_n_jobs(n_jobs)
    one_each = threadpool_limits(
        1, user_api="blas"
    )  # threads of their own for products this small only wait
    with one_each, ThreadPoolExecutor(n_threads, thread_name_prefix="verify") as pool:
        found = pool.map(
            lambda pair: verify(features[pair[0]], features[pair[1]], **verification), pairs
        )
        waiting = tqdm(
            found,
            total=len(pairs),
            desc="spatial verification",
            unit="pair",
            leave=False,
            delay=2,
            disable=not progress,
        )
        verifications = dict(zip(pairs, waiting, strict=True))
    return _reordered(ranking, verifications, n)


def _pairs(ranking, features, n):
    """(query id, database id) of every result to verify."""
    ids = ranking.ids[:, :n]
    wanted = [
        *ranking.query_ids,
        *(name for name in np.unique(ranking.indices[:, :n]) if name >= 0),
    ]
    wanted = [name if isinstance(name, str) else ranking.database_ids[name] for name in wanted]
    missing = [name for name in wanted if name not in features]
    if missing:
        raise ValueError(
            f"features of {missing[0]!r} are missing ({len(missing)} images in all); "
            "pass describe_images(queries) | describe_images(database)"
        )
    return [
        (query, name)
        for query, row in zip(ranking.query_ids, ids, strict=True)
        for name in row
        if name is not None
    ]


def _reordered(ranking, verifications, n):
    indices, distances = ranking.indices.copy(), ranking.distances.astype(np.float64)
    inliers = np.zeros((len(ranking), n), dtype=np.int64)
    for row, query in enumerate(ranking.query_ids):
        names = ranking.database_ids[indices[row, :n][indices[row, :n] >= 0]]
        counts = np.array([verifications[query, name].n_inliers for name in names], dtype=np.int64)
        order = np.argsort(-counts, kind="stable")
        m = len(names)
        if m:
            last = distances[row, m - 1]
            inliers[row, :m] = counts[order]
            indices[row, :m] = indices[row, :m][order]
            distances[row, :m] = order / n - counts[order]
            distances[row, m:] += 1 - last
    protocol = "; ".join(
        filter(None, [ranking.protocol, f"first {n} re-ordered by RANSAC inliers"])
    )
    new = replace(ranking, indices=indices, distances=distances, protocol=protocol)
    return SpatialRanking(new, inliers, verifications)
