"""Whitening of embeddings: without labels (PCA), and learned from which images show the same thing."""

import numpy as np
import pandas as pd
import scipy.linalg
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.utils.validation import validate_data

from .base import OnVectors, check_number, unit

# Share of the largest variance below which a direction is rounding noise of float32 embeddings.
_RANK = 1e-7


class _Projection(OnVectors):
    """What both share: subtract `mean_`, project on `components_`, L2-normalise."""

    def transform(self, X):
        """Project embeddings (n_images, n_features): float32 (n_images, n_dims), rows of length 1 (0 where nothing is left).

        Raises
        ------
        ValueError
            The embeddings have another number of dimensions than those of the fit.
        """
        X = self._validated(X, [np.float32, np.float64])
        # subtracted in float64, where a large common offset costs no digits
        return unit((X - self.mean_).astype(np.float32) @ self.components_.T)

    def _dims(self, there):
        """How many directions to keep of those in which the embeddings vary."""
        if self.n_dims is None:
            return there
        name = f"n_dims (of {there} directions in which the embeddings of the fit vary)"
        check_number(name, self.n_dims, 1, there, whole=True)
        return self.n_dims


class PCAWhitening(_Projection):
    """Principal components, each divided by its standard deviation, then L2-normalised.

    ``y = L2(diag(std)^-power P (x - mean))``, P the `n_dims` directions of largest variance.

    Parameters
    ----------
    n_dims : int, optional
        Directions to keep. Default: all that vary.
    power : float in [0, 1]
        1 whitens; 0 only reduces the dimensions, and L2-normalises; between them it dampens.

    Attributes
    ----------
    mean_ : ndarray (n_features,), float64
    components_ : ndarray (n_dims, n_features), float32
        Already divided.
    variances_ : ndarray (n_dims,), float64
        Of the fit, largest first.

    Notes
    -----
    Directions of small variance are blown up, noise and all: fitted on few images, or on such as differ in what does not matter,
    whitening hurts. Keep fewer dimensions then, or lower `power`. Fit it on images that are neither queries nor database.

    References
    ----------
    Jegou and Chum, "Negative evidences and co-occurrences in image retrieval: the benefit of PCA and whitening", ECCV 2012,
    doi:10.1007/978-3-642-33709-3_55.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32) * [4, 3, 2, 1]
    >>> PCAWhitening(2).fit(X).transform(X).shape
    (50, 2)
    """

    def __init__(self, n_dims=None, *, power=1.0):
        self.n_dims = n_dims
        self.power = power

    def fit(self, X, y=None):
        """Learn mean, directions and variances.

        Parameters
        ----------
        X : array-like (n_images, n_features)

        Raises
        ------
        ValueError
            There are fewer than two images, all are the same, or `n_dims` exceeds the directions that vary.
        """
        check_number("power", self.power, 0, 1)
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        mean = X.mean(axis=0)
        least = (4 * np.finfo(float).eps * np.abs(X).max()) ** 2
        values, vectors = principal_directions(X - mean, least)
        n_dims = self._dims(len(values))
        if n_dims == 0:
            raise ValueError(
                f"all {len(X)} embeddings are equal, there is nothing to whiten; fit on different images"
            )
        self.variances_ = values[:n_dims]
        return self._keep(vectors[:n_dims] / np.sqrt(self.variances_)[:, None] ** self.power, mean)


class LearnedWhitening(_Projection):
    """Whitening by the differences between images of the same thing, then the directions in which different things differ most.

    With C_S the covariance of embeddings around the mean of their instance and C_T that around the mean of all:
    ``y = L2(P^T C_S^-1/2 (x - mean))``, P the `n_dims` largest eigenvectors of ``C_S^-1/2 C_T C_S^-1/2``. Directions in which views of
    one thing differ are damped.

    Parameters
    ----------
    n_dims : int, optional
        Directions to keep. Default: all.
    shrinkage : "auto" or float in [0, 1]
        C_S is pulled this far towards a multiple of the identity, which it needs where there are few images for its dimensions.
        "auto": by the formula of Ledoit and Wolf.

    Attributes
    ----------
    mean_, components_
        As in `PCAWhitening`.
    shrinkage_ : float

    Notes
    -----
    The papers sum over pairs of images. Where all instances have equally many images, C_S here is proportional to the sum over all
    matching pairs; otherwise an instance counts by its number of images, not of pairs. C_T in place of the covariance of pairs that
    do not match gives the same P, as it differs by a multiple of C_S. They do not shrink C_S.

    References
    ----------
    Mikolajczyk and Matas, "Improving descriptors for fast tree matching by optimal linear projection", ICCV 2007,
    doi:10.1109/ICCV.2007.4408871. As used by Radenovic, Tolias and Chum, TPAMI 2018, arXiv 1711.02512. Shrinkage: Ledoit and Wolf,
    Journal of Multivariate Analysis 88, 2004, doi:10.1016/S0047-259X(03)00096-4.

    Examples
    --------
    >>> things = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    >>> views = np.repeat(things, 3, axis=0) + np.random.default_rng(1).normal(size=(60, 4)) * [2, 0.1, 0.1, 0.1]
    >>> whitening = LearnedWhitening(2).fit(views, np.repeat(np.arange(20), 3))
    >>> bool((np.abs(whitening.components_[:, 0]) < np.abs(whitening.components_[:, 1:]).max(axis=1)).all())
    True
    """

    def __init__(self, n_dims=None, *, shrinkage="auto"):
        self.n_dims = n_dims
        self.shrinkage = shrinkage

    def fit(self, X, y=None):
        """Learn from embeddings of which it is known what they show.

        Parameters
        ----------
        X : array-like (n_images, n_features)
        y : array-like (n_images,)
            Instance of each image, or its class; equal values match.

        Raises
        ------
        ValueError
            `y` is missing, of another length, without two images of one instance, or without two instances.
        """
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        instances = _instances(y, len(X))
        mean = X.mean(axis=0)
        centred = X - mean
        within = centred - pd.DataFrame(centred).groupby(instances).transform("mean").to_numpy()
        same = self._shrunk(within, len(X) - instances.max() - 1)
        # eigenvectors v of C_T v = w C_S v with v^T C_S v = 1 are C_S^-1/2 P, largest last
        values, vectors = scipy.linalg.eigh(centred.T @ centred / len(X), same)
        n_dims = self._dims(int((values > _RANK * values[-1]).sum()))
        return self._keep(vectors[:, ::-1][:, :n_dims].T, mean)

    def _shrunk(self, within, freedom):
        """C_S, shrunk so that it can be inverted."""
        if self.shrinkage == "auto":
            self.shrinkage_ = float(ledoit_wolf_shrinkage(within, assume_centered=True))
        else:
            check_number('shrinkage, if not "auto",', self.shrinkage, 0, 1)
            self.shrinkage_ = float(self.shrinkage)
        same = within.T @ within / freedom
        level = np.trace(same) / len(same)
        same = (1 - self.shrinkage_) * same + self.shrinkage_ * level * np.eye(len(same))
        if level <= 0 or np.linalg.eigvalsh(same)[0] <= 1e-12 * level:
            raise ValueError(
                f"images of one instance do not differ in every direction, so shrinkage={self.shrinkage_:g} leaves nothing to divide by; "
                'use shrinkage="auto", more images, or a PCAWhitening(n_dims, power=0) before'
            )
        return same


def principal_directions(centred, least=0.0):
    """Directions in which embeddings vary by more than rounding noise.

    Parameters
    ----------
    centred : ndarray (n_images, n_features), float64
        Their mean taken away.
    least : float
        Variances up to this are noise in any case.

    Returns
    -------
    variances : ndarray (n_dims,), float64
        Largest first.
    directions : ndarray (n_dims, n_features), float64
        Of length 1; the largest entry of each is positive.
    """
    if len(centred) > centred.shape[1]:
        values, vectors = scipy.linalg.eigh(centred.T @ centred / len(centred))
        values, vectors = values[::-1], vectors[:, ::-1].T
    else:
        _, singular, vectors = scipy.linalg.svd(centred, full_matrices=False)
        values = singular**2 / len(centred)
    n_dims = int((values > max(least, _RANK * values[0])).sum())
    values, vectors = values[:n_dims], vectors[:n_dims]
    signs = np.sign(vectors[np.arange(n_dims), np.abs(vectors).argmax(axis=1)])
    return values, vectors * signs[:, None]


def _instances(y, n_images):
    """Instances as numbers 0, 1, … for each image."""
    y = np.asarray(y)
    missing = pd.isna(y)
    if y.shape != (n_images,) or missing.any():
        raise ValueError(
            f"y must name the instance of each of {n_images} images, got the shape {y.shape} with {np.sum(missing)} missing; "
            "use fit(X, y), and in a pipeline or Retriever fit on embeddings first"
        )
    names, instances = np.unique(y, return_inverse=True)
    if len(names) == n_images or len(names) < 2:
        raise ValueError(
            f"y names {len(names)} instances of {n_images} images; at least two instances are needed, and two images of one of them"
        )
    return instances
