"""Checks of notebook 03: whitening without a leak, CroW."""

import numpy as np

from cbirkit.checks._run import Case, Mistake, run_check


def check_whitened_cosines(answer):
    """Check ``whitened_cosines(embeddings, split, n_dims)``: PCA-whitening learned on the images set aside, and on no other.

    Parameters
    ----------
    answer : callable
        Takes `embeddings` (n, d), `split` (n,) of "query", "database" and "aside", and `n_dims`; returns the cosines
        (n_queries, n_database) of the whitened embeddings: mean and directions of the rows "aside", the `n_dims` directions of
        largest variance, each divided by its standard deviation.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_whitened_cosines(lambda embeddings, split, n_dims: embeddings @ embeddings.T).status
    'not yet'
    """
    return run_check(
        answer, _whitened_cosines, _whitening_cases(), mistakes=WHITENING_MISTAKES, tolerance=1e-4
    )


def _whitened_cosines(embeddings, split, n_dims):
    return _cosines(embeddings, split, n_dims)


def _cosines(
    embeddings, split, n_dims, *, fit="aside", centre=True, power=0.5, smallest=False, unit=True
):
    """Cosines after whitening and, by its switches, what goes wrong with it."""
    rows = np.ones(len(split), bool) if fit == "all" else np.isin(split, fit.split("+"))
    mean = embeddings[rows].mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(embeddings[rows].T, bias=True))
    order = np.arange(n_dims) if smallest else np.arange(len(values))[::-1][:n_dims]
    projected = (embeddings - (mean if centre else 0)) @ (
        vectors[:, order] / np.maximum(values[order], 1e-12) ** power
    )
    if unit:
        projected = projected / np.linalg.norm(projected, axis=1, keepdims=True)
    return projected[split == "query"] @ projected[split == "database"].T


def _whitening_cases():
    random = np.random.RandomState(2)
    cases = []
    for n_queries, n_database, all_kept in ((3, 5, False),) * 5 + ((3, 5, True), (1, 1, False)):
        d = random.randint(4, 9)
        n_dims = int(d if all_kept else random.randint(2, 4))
        split = random.permutation(
            np.repeat(["query", "database", "aside"], [n_queries, n_database, 30])
        )
        embeddings = random.randn(len(split), d) @ (
            random.randn(d, d) * np.geomspace(3, 0.3, d)
        ) + 2 * random.randn(d)
        embeddings[split != "aside"] += random.randn(
            d
        )  # the images asked about are not those set aside
        about = f"{n_queries} queries among {len(split)} random embeddings of {d} dimensions, of which {n_dims} are kept"
        cases.append(Case((embeddings, split, n_dims), about))
    return cases


def _swapped(embeddings, split, n_dims):
    return _cosines(embeddings, split, n_dims).T


WHITENING_MISTAKES = (
    Mistake(
        lambda e, s, n: _cosines(e, s, n, fit="all"),
        "The leak: mean and directions were learned on all rows, queries and database among them. Take the rows set aside only.",
    ),
    Mistake(
        lambda e, s, n: _cosines(e, s, n, fit="database"),
        "The leak: mean and directions were learned on the database. Take the rows set aside only.",
    ),
    Mistake(
        lambda e, s, n: _cosines(e, s, n, fit="query+database"),
        "The leak: mean and directions were learned on queries and database. Take the rows set aside only.",
    ),
    Mistake(
        lambda e, s, n: _cosines(e, s, n, centre=False),
        "The mean of the images set aside has to be subtracted from all rows.",
    ),
    Mistake(
        lambda e, s, n: _cosines(e, s, n, power=0.0),
        "The directions are not divided by their standard deviations.",
    ),
    Mistake(
        lambda e, s, n: _cosines(e, s, n, power=1.0),
        "You divided by variances: divide by their roots.",
    ),
    Mistake(
        lambda e, s, n: _cosines(e, s, n, smallest=True),
        "Those are the directions of smallest variance: `eigh` sorts upwards.",
    ),
    Mistake(
        lambda e, s, n: _cosines(e, s, n, unit=False),
        "These are dot products: scale each row to length 1 after whitening.",
    ),
    Mistake(_swapped, "The shape is (n_queries, n_database)."),
    Mistake(
        lambda e, s, n: _cosines(e / np.linalg.norm(e, axis=1, keepdims=True), s, n),
        "You scaled the rows to length 1 before whitening; scale them after it.",
    ),
)


def check_crow(answer):
    """Check ``crow(maps)``: cross-dimensional weighting, positions by their energy and channels by how rarely they fire.

    Parameters
    ----------
    answer : callable
        Takes `maps` (n, c, h, w) float64 >= 0; returns floats (n, c): ``I_k * sum_ij a_ij X_kij``, with S = sum of the channels,
        a = sqrt(S / ||S||) and I_k = log((sum of all Q) / Q_k), Q_k the share of positions where channel k is above 0. Where
        Q_k = 0 the result is 0.

    Returns
    -------
    Verdict

    References
    ----------
    Kalantidis, Mellina and Osindero, "Cross-dimensional weighting for aggregated deep convolutional features", ECCV workshops 2016,
    arXiv 1512.04065.

    Examples
    --------
    >>> check_crow(lambda maps: maps.sum(axis=(2, 3))).passed
    False
    """
    return run_check(answer, _crow, _crow_cases(), mistakes=CROW_MISTAKES, tolerance=1e-4)


def _crow(maps):
    return _weighted(maps)


def _weighted(maps, *, spatial="root", channel="log", together=False, guard=True):
    """CroW and, by its switches, what goes wrong with it."""
    with np.errstate(all="ignore"):
        energy = maps.sum(axis=1, keepdims=True)  # (n, 1, h, w)
        norm = np.sqrt((energy**2).sum(axis=None if together else (2, 3), keepdims=True))
        share = energy / (np.where(norm > 0, norm, 1) if guard else norm)
        places = {"root": np.sqrt(share), "plain": share, "none": np.ones_like(share)}[spatial]
        firing = (maps > 0).mean(axis=(2, 3))  # (n, c)
        rare = firing.sum(axis=1, keepdims=True) / (
            np.where(firing > 0, firing, 1) if guard else firing
        )
        if channel == "batch":
            firing = np.broadcast_to((maps > 0).mean(axis=(0, 2, 3)), firing.shape)
            rare = firing.sum(axis=1, keepdims=True) / np.where(firing > 0, firing, 1)
        weights = {
            "log": np.log(np.where(rare > 0, rare, 1) if guard else rare),
            "ratio": rare,
            "none": np.ones_like(rare),
        }
        weights["batch"] = np.log(np.where(rare > 0, rare, 1))
        weights["inverse"] = -weights["log"]
        return (maps * places).sum(axis=(2, 3)) * weights[channel]


def _crow_cases():
    random = np.random.RandomState(3)
    worked = np.zeros((1, 2, 1, 2))
    worked[0, 0] = [3.0, 4.0]
    worked[0, 1] = [0.0, 2.0]
    silent = random.rand(2, 3, 2, 2)
    silent[:, 1] = 0
    cases = [
        Case((worked,), "one image with the maps [3, 4] and [0, 2]"),
        Case((silent,), "two images with a channel that never fires, whose result is 0"),
        Case((np.zeros((1, 3, 2, 2)),), "maps of zeros, whose result is 0"),
        Case((np.arange(6.0).reshape(1, 1, 2, 3),), "a single channel, whose weight is log(1) = 0"),
    ]
    for _ in range(6):
        shape = (*random.randint(1, 5, 1), *random.randint(2, 7, 1), *random.randint(2, 6, 2))
        maps = random.gamma(0.8, 1, shape) * (random.rand(*shape) < random.rand(1, shape[1], 1, 1))
        cases.append(Case((maps,), "random maps of the shape ({}, {}, {}, {})".format(*shape)))
    return cases


CROW_MISTAKES = (
    Mistake(lambda m: _weighted(m, spatial="none"), "The weights of the positions are missing."),
    Mistake(lambda m: _weighted(m, channel="none"), "The weights of the channels are missing."),
    Mistake(lambda m: _weighted(m, spatial="plain"), "The root of S / ||S|| is missing."),
    Mistake(
        lambda m: _weighted(m, channel="ratio"), "The logarithm of (sum of all Q) / Q_k is missing."
    ),
    Mistake(
        lambda m: _weighted(m, channel="inverse"),
        "The fraction is upside down: rare channels weigh more.",
    ),
    Mistake(
        lambda m: _weighted(m, together=True),
        "||S|| is the length of one image's S: keep the images apart, axis=(2, 3).",
    ),
    Mistake(
        lambda m: _weighted(m, channel="batch"),
        "Q_k is counted in each image for itself, not over all images.",
    ),
    Mistake(
        lambda m: _weighted(m, guard=False),
        "There are NaN or infinite numbers: a channel that never fires, or an empty image, divides by 0.",
    ),
)
