"""Which images to label next (active learning), and which labels to look at again.

Everything works on embeddings, scaled to length 1, and a linear softmax classifier on top of them.
"""

import warnings

import numpy as np
import pandas as pd
from scipy.special import xlogy
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize
from sklearn.utils import check_random_state

from cbirkit.encoders.base import check_choice, check_count
from cbirkit.learning.batches import class_numbers

STRATEGIES = ("random", "clusters", "typiclust", "core_set", "margin", "entropy", "badge")
STRENGTHS = (10.0, 100.0, 1000.0)  # of the classifier, from which the labels choose
_NEIGHBOURS, _LEAST_CLUSTER, _FOLDS = 20, 5, 3


def propose(embeddings, labelled, labels, n, *, strategy="margin", random_state=0):
    """Choose the images whose labels to ask for next.

    ==========  =========================================================================================================
    random      any of them, all equally likely
    clusters    as "typiclust", but any image of each cluster: random, spread over the pool
    typiclust   k-means into as many clusters as there will be labels; in each of the largest clusters without a label, the
                image with the nearest neighbours
    core_set    the image that is farthest from all that are labelled or chosen, n times (greedy k-centre)
    margin      where the two most probable classes are closest
    entropy     where the entropy of the probabilities is largest
    badge       k-means++ on ``(p - one_hot(argmax p)) x``, the gradient of the last layer if the guess were right: uncertain, and
                unlike one another
    ==========  =========================================================================================================

    Parameters
    ----------
    embeddings : array (n_images, n_dims), float
        Of labelled and unlabelled images together.
    labelled : array (n_labelled,) of int, or of bool (n_images,)
        Positions of the images that have a label, each once; none is a cold start.
    labels : sequence (n_labelled,)
        The label of each of them, in that order (by position for a mask).
    n : int
        How many to choose.
    strategy : str
    random_state : None, int or RandomState
        For the strategies with chance: random, clusters, typiclust, badge, and all in a cold start but core_set.

    Returns
    -------
    ndarray (n,), int64
        Positions of unlabelled images, each once, the most wanted first (random, clusters: in random order).

    Raises
    ------
    ValueError
        No such strategy, more images wanted than are unlabelled, embeddings that are not a finite table, positions that are out of range
        or doubled, or labels that are missing or not as many as positions.

    Notes
    -----
    **Cold start.** margin, entropy and badge need two classes among the labels; until there are, they choose as typiclust does. core_set
    without a label begins with the image nearest to the mean. Equal scores go by position. The classifier of margin, entropy and
    badge is `probabilities`.

    References
    ----------
    core_set: Sener and Savarese, ICLR 2018, arXiv 1708.00489 (its greedy version). badge: Ash et al., ICLR 2020, arXiv 1906.03671.
    typiclust: Hacohen, Dekel and Weinshall, ICML 2022, arXiv 2202.02794; here clusters of fewer than five images come last and are not
    left out, and typicality looks at all images of a cluster, not only at unlabelled ones. margin: Scheffer, Decomain and Wrobel, IDA 2001,
    doi:10.1007/3-540-44816-0_31.

    Examples
    --------
    >>> X = np.array([[1.0, 0], [0.9, 0.1], [0.7, 0.7], [0.1, 0.9], [0, 1]])
    >>> propose(X, [0, 4], ["left", "up"], 1, strategy="margin").tolist()
    [2]
    """
    check_choice("strategy", strategy, STRATEGIES)
    X, labelled, labels = _checked(embeddings, labelled, labels)
    check_count("n", n)
    pool = np.setdiff1d(np.arange(len(X)), labelled)
    if n > len(pool):
        raise ValueError(f"n={n} exceeds the {len(pool)} images without a label; use n <= {len(pool)}")  # fmt: skip
    rng = check_random_state(random_state)
    if strategy in STRATEGIES[-3:] and len(set(labels.tolist())) < 2:
        strategy = "typiclust"
    if strategy == "random":
        return rng.permutation(pool)[:n]
    if strategy == "core_set":
        return _core_set(X, labelled, n)
    if strategy in ("clusters", "typiclust"):
        return _of_clusters(X, labelled, n, rng, typical=strategy == "typiclust")
    p = probabilities(X[labelled], labels, X[pool])
    if strategy == "badge":
        return pool[_badge(p, X[pool], n, rng)]
    two = np.sort(p, axis=1)[:, -2:]
    certainty = np.ptp(two, axis=1) if strategy == "margin" else xlogy(p, p).sum(axis=1)
    return pool[np.argsort(certainty.round(9), kind="stable")[:n]]


def probabilities(embeddings, labels, others):
    """Class probabilities of `others` by a linear softmax classifier learned on `embeddings`.

    Logistic regression on rows of length 1. Its strength (10, 100 or 1,000, scikit-learn's ``C``) is the one with the best mean
    log-likelihood in three folds of the labelled images; the labels alone choose it. Where no class has two images it is 100.

    Parameters
    ----------
    embeddings : array (n_labelled, n_dims)
    labels : sequence (n_labelled,)
        Of two classes or more.
    others : array (n_images, n_dims)

    Returns
    -------
    ndarray (n_images, n_classes), float64
        Classes are sorted; of numbers by size, of texts by alphabet.

    Examples
    --------
    >>> probabilities(np.eye(2), ["a", "b"], np.ones((1, 2))).round(2).tolist()
    [[0.5, 0.5]]
    """
    X, y = normalize(embeddings), class_numbers(labels, len(embeddings))[1]
    return _softmax(X, y, _strength(X, y)).predict_proba(normalize(others))


def suspects(embeddings, labels, n=None, *, p=None, random_state=0):
    """Labels that a classifier doubts which never saw them: candidates for a second look, most doubtful first.

    Confident learning. Each image gets class probabilities from a classifier that was learned on the other folds. An image labelled a
    is suspect if it is *confidently* of another class b: its probability of b is at least the mean probability of b over the images
    labelled b, and b is the most probable of all classes of which that is true. Suspects are sorted by p(a) - p(b).

    Parameters
    ----------
    embeddings : array (n_images, n_dims)
        Of labelled images.
    labels : sequence (n_images,)
        Two classes or more.
    n : int, optional
        How many rows at most; default all suspects.
    p : array (n_images, n_classes), optional
        Held-out probabilities of your own, classes sorted.
    random_state : None, int or RandomState
        Draws the five folds, in each of which every class has its part. The classifier's strength is chosen once, on all.

    Returns
    -------
    DataFrame
        One row a suspect: `image` (its position, int64), `label` (the given one), `expected` (the class b), `margin` (p(a) - p(b),
        the more below 0 the more doubtful).

    Raises
    ------
    ValueError
        As of `propose`; labels of one class only; `p` of another shape, or not finite.

    References
    ----------
    Northcutt, Jiang and Chuang, "Confident learning", JAIR 2021, arXiv 1911.00068.

    Examples
    --------
    >>> X = np.repeat(np.eye(2), 10, axis=0)
    >>> labels = ["a"] * 10 + ["b"] * 9 + ["a"]
    >>> suspects(X, labels)["image"].tolist()
    [19]
    """
    X, rows, labels = _checked(embeddings, np.arange(len(embeddings)), labels)
    classes, y = class_numbers(labels, len(X))
    if len(classes) < 2:
        raise ValueError(f"all labels are {classes.tolist()}; give at least two classes to tell apart")  # fmt: skip
    if n is not None:
        check_count("n", n)
    p = _held_out(X, y, random_state) if p is None else np.asarray(p, dtype=float)
    if p.shape != (len(X), len(classes)) or not np.isfinite(p).all():
        raise ValueError(f"p must hold finite numbers, one row per image and one column per class, {(len(X), len(classes))}; got {p.shape}")  # fmt: skip
    means = np.array([p[y == number, number].mean() for number in range(len(classes))])
    confident = np.where(p >= means, p, 0)
    other = confident.argmax(axis=1)
    margin = p[rows, y] - p[rows, other]
    found = {"image": rows, "label": classes[y], "expected": classes[other], "margin": margin}
    table = pd.DataFrame(found)[(other != y) & confident.any(axis=1)]
    return table.sort_values("margin", kind="stable", ignore_index=True).head(n or len(table))


def _held_out(X, y, random_state):
    folds, strength = _folds(y, 5, check_random_state(random_state)), _strength(X, y)
    p = np.zeros((len(X), y.max() + 1))
    for fold in np.unique(folds):
        held, kept = folds == fold, folds != fold
        if len(seen := np.unique(y[kept])) > 1:
            p[np.ix_(held, seen)] = _softmax(X[kept], y[kept], strength).predict_proba(X[held])
    return p


def _checked(embeddings, labelled, labels):
    X, at = np.asarray(embeddings), np.asarray(labelled)
    if X.ndim != 2 or not X.size or X.dtype.kind not in "fiu" or not np.isfinite(X).all():
        raise ValueError(f"embeddings must be a table (n_images, n_dims) of finite numbers, got shape {X.shape} of {X.dtype}")  # fmt: skip
    at = np.flatnonzero(at) if at.dtype == bool and at.shape == (len(X),) else at
    at = at if at.size else np.empty(0, np.int64)
    known = at.ndim == 1 and at.dtype.kind in "iu" and np.isin(at, np.arange(len(X))).all()
    if not known or len(np.unique(at)) < len(at):
        raise ValueError(f"labelled must hold positions from 0 to {len(X) - 1}, each once, or a bool for each image; got {labelled!r}")  # fmt: skip
    cold = not len(at) and not len(labels)
    classes, numbers = class_numbers(["none yet"] if cold else labels, len(at) + cold)
    return normalize(X.astype(np.float64)), at.astype(np.int64), classes[numbers][: len(at)]


def _softmax(X, y, strength):
    with warnings.catch_warnings():  # of scikit-learn, that few labels of each class are no classes
        warnings.filterwarnings("ignore", message="The number of unique classes")
        return LogisticRegression(C=strength, tol=1e-3, max_iter=300).fit(X, y)


def _folds(y, k, rng=None):
    """Number of the fold of each image, so that the images of a class go to different folds in turn."""
    order = np.arange(len(y)) if rng is None else rng.permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    folds = np.empty(len(y), np.int64)
    folds[order] = np.arange(len(y)) % k
    return folds


def _strength(X, y):
    """The best of `STRENGTHS`, by the log-likelihood of images whose class is in the other folds, too."""
    folds, scores = _folds(y, _FOLDS), np.zeros(len(STRENGTHS))
    for fold in range(_FOLDS):
        kept = folds != fold
        classes = np.unique(y[kept])
        held = np.flatnonzero(~kept & np.isin(y, classes))
        for place, strength in enumerate(STRENGTHS if len(classes) > 1 and len(held) else ()):
            p = _softmax(X[kept], y[kept], strength).predict_log_proba(X[held])
            scores[place] += p[np.arange(len(held)), np.searchsorted(classes, y[held])].sum()
    return STRENGTHS[int(scores.argmax())] if scores.any() else STRENGTHS[1]


def _core_set(X, labelled, n):
    chosen = list(labelled) or [int(((X - X.mean(axis=0)) ** 2).sum(axis=1).argmin())]
    nearest = np.min([((X - X[i]) ** 2).sum(axis=1) for i in chosen], axis=0)
    nearest[chosen] = -1
    while len(chosen) < len(labelled) + n:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, ((X - X[chosen[-1]]) ** 2).sum(axis=1))
        nearest[chosen[-1]] = -1
    return np.array(chosen[len(labelled) :], np.int64)


def _badge(p, X, n, rng):
    """k-means++ on gradients a x^T, a = p - one_hot(argmax p): their products are those of the a times those of the x."""
    a = p - np.eye(p.shape[1])[p.argmax(axis=1)]
    squares = (a**2).sum(axis=1) * (X**2).sum(axis=1)
    chosen, nearest = [int(squares.argmax())], np.full(len(X), np.inf)
    while len(chosen) < n:
        last = chosen[-1]
        away = squares + squares[last] - 2 * (a @ a[last]) * (X @ X[last])
        nearest = np.maximum(np.minimum(nearest, away), 1e-15)  # equal ones may come last
        nearest[chosen] = 0
        chosen.append(int(rng.choice(len(X), p=nearest / nearest.sum())))
    return np.array(chosen)


def _of_clusters(X, labelled, n, rng, *, typical):
    """One image of each cluster in turn: first of those with the fewest labels, small ones last, then by size."""
    k = min(len(labelled) + n, len(np.unique(X, axis=0)))
    cluster = KMeans(k, n_init=1, random_state=rng).fit_predict(X)
    known, size = (np.bincount(of, minlength=k) for of in (cluster[labelled], cluster))
    score, chosen = rng.random_sample(len(X)), []
    for c in range(k if typical else 0):
        score[cluster == c] = _typicality(X[cluster == c])
    score[labelled] = -1
    while len(chosen) < n:
        for c in np.lexsort((-size, size < _LEAST_CLUSTER, known)):
            best = int(np.where(cluster == c, score, -1).argmax())
            if score[best] >= 0 and len(chosen) < n:
                chosen.append(best)
                score[best] = -1
    return np.array(chosen, np.int64)


def _typicality(X):
    """1 / mean distance to the nearest neighbours in a cluster, at most 20 of them."""
    squares = (X**2).sum(axis=1)
    apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * X @ X.T, 0))
    nearest = np.sort(apart, axis=1)[:, : _NEIGHBOURS + 1]  # the first is the image itself
    return 1 / (nearest.sum(axis=1) / max(nearest.shape[1] - 1, 1) + 1e-6).round(6)
