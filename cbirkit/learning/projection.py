"""Embeddings laid out in the plane, remembered by what they were made from; and how far such a map can be believed."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import numpy as np
from scipy.spatial import cKDTree
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.manifold import trustworthiness as share_of_true_neighbours
from sklearn.utils import check_random_state

from cbirkit._optional import require
from cbirkit.encoders.base import check_choice, check_count
from cbirkit.indexes import Exact
from cbirkit.ranking.codes import aligned

METHODS = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
_LEAST_IMAGES = {"pca": 1, "tsne": 10, "umap": 10}
_MOST_REMEMBERED = 16  # maps, of 8 bytes a point
_MOST_POINTS = 1000  # trustworthiness needs all pairs of distances
_FAR = 1e3  # times the spread: a common offset at which float32 loses neighbours
_remembered = OrderedDict()
_fitting = Lock()  # numba's plain thread pool ends the process if two threads use it at once


def project(embeddings, method="umap", *, random_state=0):
    """Lay embeddings out in the plane, at the same place each time for the same seed.

    UMAP and t-SNE are remembered, so that the second call with equal values and settings costs nothing.

    Parameters
    ----------
    embeddings : array (n_images, n_dims), float
        Euclidean distances are kept as far as may be; give rows of length 1 for cosine.
    method : {"umap", "tsne", "pca"}
    random_state : int
        A seed. UMAP then runs on one thread, the price of the same map each time; it has 15 neighbours, and t-SNE this
        perplexity, fewer of less than 46 images.
    Returns
    -------
    points : array (n_images, 2), float32, no unit

    Raises
    ------
    ValueError
        An unknown method, a wrong shape, values that are not finite, or fewer than 10 images for UMAP or t-SNE.
        (Embeddings that are all equal lie at one place, whatever the method.)
    ImportError
        umap-learn is not installed.

    Examples
    --------
    >>> project(np.array([[0.0, 0, 0], [4, 0, 0], [8, 0, 0]]), "pca").round(3).tolist()
    [[-4.0, 0.0], [0.0, 0.0], [4.0, 0.0]]

    References
    ----------
    McInnes, Healy and Melville (2018), arXiv:1802.03426 (UMAP); van der Maaten and Hinton (2008), JMLR 9 (t-SNE).
    """
    embeddings = narrowed(checked_embeddings(embeddings))
    check_method(method, len(embeddings))
    check_count("random_state", random_state, 0)
    if not np.ptp(embeddings, axis=0).any():  # all at one place
        return np.zeros((len(embeddings), 2), dtype=np.float32)
    if method == "pca":
        return _pca(embeddings, random_state)
    key = _fingerprint(embeddings, method, random_state)
    if (points := _remembered.get(key)) is None:
        n_neighbors = max(2, min(15, (len(embeddings) - 1) // 3))
        points = np.asarray(_LAYOUTS[method](embeddings, random_state, n_neighbors), np.float32)
        if not np.isfinite(points).all():
            raise ValueError(f"{METHODS[method]} found no map of these; use method='pca'")
        _remembered[key] = points
        while len(_remembered) > _MOST_REMEMBERED:
            _remembered.popitem(last=False)
    return points.copy()


def is_remembered(embeddings, method, *, random_state=0):
    """Whether `project` has the map already, so that it need not be waited for."""
    return method == "pca" or _fingerprint(embeddings, method, random_state) in _remembered


def _fingerprint(embeddings, method, seed):
    digest = hashlib.sha256(repr((method, seed, embeddings.shape)).encode())
    digest.update(np.ascontiguousarray(embeddings))
    return digest.hexdigest()


@dataclass(frozen=True)
class MapQuality:
    """How far a map can be believed.

    Attributes
    ----------
    trustworthiness : float
        1 where the neighbours on the map are neighbours among the embeddings, about 0.5 at random; NaN for < 4 images.
    overlap : float
        Mean share of the k nearest by embedding that are among the k nearest on the map; NaN for one image.
    chance : float
        The overlap of a random map, ``k / (n_images - 1)``.
    k, n_sampled : int
        Neighbours that `overlap` looks at; images whose neighbours were compared.
    """

    trustworthiness: float
    overlap: float
    chance: float
    k: int
    n_sampled: int

    def __str__(self):
        if np.isnan(self.trustworthiness):
            return "too few images to say how far the map can be believed"
        return (
            f"trustworthiness {self.trustworthiness:.2f} (1 faithful, 0.5 random) · neighbour overlap "
            f"{100 * self.overlap:.0f} % of the {self.k} nearest ({100 * self.chance:.1f} % at random)"
        )


def map_quality(points, embeddings, *, k=10, random_state=0):
    """Trustworthiness and neighbour overlap of a map, on a sample of at most 1,000 images (fewer of large sets).

    Parameters
    ----------
    points : array (n_images, 2)
    embeddings : array (n_images, n_dims)
        Compared by Euclidean distance.
    k : int
    random_state : int
        Of the sample.

    Returns
    -------
    MapQuality

    Examples
    --------
    >>> line = np.arange(12.0)[:, None] ** 1.7 * [1.0, 2.0]
    >>> quality = map_quality(line, line, k=3)
    >>> quality.trustworthiness, quality.overlap
    (1.0, 1.0)

    References
    ----------
    Venna and Kaski (2001), ICANN, doi:10.1007/3-540-44668-0_68 (trustworthiness).
    """
    n, embeddings = len(points), narrowed(checked_embeddings(embeddings))
    k = min(k, n - 1)
    trust = map_trustworthiness(points, embeddings, n_neighbors=k, random_state=random_state)[0]
    if k < 1:
        return MapQuality(trust, float("nan"), float("nan"), k, n)
    n_sampled = min(n, 1000 if n <= 20_000 else 300)
    chosen = check_random_state(random_state).choice(n, n_sampled, replace=False)
    on_map = cKDTree(points).query(points[chosen], k + 1)[1]  # (n_sampled, k + 1), itself included
    pairs = zip(nearest(embeddings, chosen, k), _others(on_map, chosen), strict=True)
    overlap = np.mean([np.isin(near, drawn).mean() for near, drawn in pairs])
    return MapQuality(trust, float(overlap), k / (n - 1), k, n_sampled)


def map_trustworthiness(points, embeddings, *, n_neighbors=10, random_state=0):
    """Trustworthiness of a map on a bounded sample.

    Parameters
    ----------
    points : array (n_images, 2)
    embeddings : array (n_images, n_dims)
    n_neighbors : int
        Fewer where there are too few points for it.
    random_state : int, RandomState or None

    Returns
    -------
    value : float in [0, 1]; NaN for fewer than four points
    n_neighbors : int
        The number used.
    n_points : int
        Points in the sample, at most 1,000.

    Examples
    --------
    >>> points = np.arange(20.0).reshape(10, 2)
    >>> map_trustworthiness(points, points)
    (1.0, 4, 10)
    """
    n = min(len(points), _MOST_POINTS)
    chosen = check_random_state(random_state).permutation(len(points))[:n]
    neighbours = min(n_neighbors, (n - 1) // 2)
    if n < 4:
        return float("nan"), neighbours, n
    # around their mean in float64: a common offset would drown the distances between neighbours
    apart = [np.asarray(rows, np.float64)[chosen] for rows in (embeddings, points)]
    apart = [rows - rows.mean(axis=0) for rows in apart]
    return float(share_of_true_neighbours(*apart, n_neighbors=neighbours)), neighbours, n


def nearest(embeddings, chosen, k):
    """The k nearest others of some rows (n_chosen, k), int64, nearest first; ties by position."""
    index = Exact("euclidean").fit(embeddings)
    return _others(index.kneighbors(embeddings[chosen], k + 1)[1], chosen)


def _others(near, chosen):
    """Neighbours (n_chosen, k) of k + 1, each item itself left out, or the last where it is not among them."""
    kept = near != np.asarray(chosen)[:, None]
    kept[kept.all(axis=1), -1] = False
    return near[kept].reshape(len(near), -1)


def checked_embeddings(embeddings, ids=None, what="embeddings"):
    """Embeddings as given, float32 or float64 (n_images, n_dims), a DataFrame matched with the ids; ValueError for anything else."""
    embeddings = embeddings if ids is None else aligned(embeddings, ids, what)
    try:
        embeddings = np.asarray(embeddings)
        if embeddings.dtype not in (np.float32, np.float64):
            embeddings = embeddings.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} must be numbers (n_images, n_dims); {error}") from error
    if embeddings.ndim != 2 or embeddings.size == 0:
        raise ValueError(f"{what} must be (n_images, n_dims), got {embeddings.shape}")
    n = len(embeddings)
    if bad := int((~np.isfinite(embeddings)).any(axis=1).sum()):
        raise ValueError(f"{bad} of {n} {what} are not finite; leave those images out")
    return embeddings


def narrowed(embeddings):
    """Embeddings as float32, moved to their mean where float32 would lose what differs, and scaled where it overflows."""
    wide = embeddings.astype(np.float64)
    size = np.abs(wide).max()
    if not 1e-15 < size < 1e15:  # squares leave float32
        wide /= size or 1.0
    centre = wide.mean(axis=0)
    spread = np.abs(wide - centre).max()
    if spread <= 4 * np.finfo(embeddings.dtype).eps * np.abs(wide).max():  # equal but for rounding
        return np.repeat(wide[:1], len(wide), axis=0).astype(np.float32)
    if np.abs(centre).max() > _FAR * spread:
        wide = (wide - centre) / (spread if spread < 1e-9 else 1)
    return wide.astype(np.float32)


def check_method(method, n_images):
    """Raise ValueError for an unknown method, or one that this few images are too few for."""
    check_choice("method", method, tuple(METHODS))
    if n_images < (least := _LEAST_IMAGES[method]):
        raise ValueError(f"{method} needs {least} images, got {n_images}; use method='pca'")


def _pca(embeddings, seed):
    n_components = min(2, *embeddings.shape)
    points = np.zeros((len(embeddings), 2), dtype=np.float32)
    points[:, :n_components] = PCA(n_components, random_state=seed).fit_transform(embeddings)
    return points


def _umap(embeddings, seed, n_neighbors):
    with _fitting:
        umap = require("umap").UMAP(n_neighbors=n_neighbors, random_state=seed, n_jobs=1)
        return umap.fit_transform(embeddings)


def _tsne(embeddings, seed, n_neighbors):
    init = "pca"
    if embeddings.shape[1] == 1:
        init = _pca(embeddings, seed) / embeddings.std() * np.float32(1e-4)
    return TSNE(perplexity=n_neighbors, init=init, random_state=seed).fit_transform(embeddings)


_LAYOUTS = {"umap": _umap, "tsne": _tsne}
