"""Checks of notebook 03: receptive fields, GeM for every p, whitening without a leak, and one vector for two questions."""

from functools import cache, partial
from itertools import pairwise

import numpy as np
import pandas as pd

from .running import (
    Verdict,
    ahead,
    call,
    mean_precision,
    no_numbers,
    open_answer,
    run_check,
    same_rows,
)

_SECONDS, _GAIN = 20, 0.015


def check_seen_pixels(answer):
    """Check ``seen_pixels(layers, cell)``: the first and the last input pixel, along one axis, on which a cell depends.

    Parameters
    ----------
    answer : callable
        Takes `layers`, a list of (kernel, stride, padding) from the first to the last, padding being what stands before the first
        position, and `cell`, a position of the last map; returns a tuple (first, last) of whole numbers. They are not cut at the
        border: in front of the image they are negative.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_seen_pixels(lambda layers, cell: (cell, cell)).passed
    False
    """
    return run_check(answer, _seen_pixels, _seen_cases(), mistakes=SEEN_MISTAKES)


def _seen_pixels(layers, cell, *, pad=1, backwards=True, extra=0, both=False):
    """First and last pixel and, by its switches, what goes wrong on the way back to them."""
    first, last = cell, cell
    for kernel, stride, padding in layers[::-1] if backwards else layers:
        first = first * stride - pad * padding
        last = last * stride - (0 if both else pad * padding) + kernel - 1 + extra
    return first, last


def _seen_cases():
    random = np.random.RandomState(0)
    yield from [
        ("one convolution 3 wide, without padding", [(3, 1, 0)], 0),
        ("one convolution 3 wide with padding 1, at the border", [(3, 1, 1)], 0),
        ("one convolution 3 wide of stride 2", [(3, 2, 1)], 5),
        ("stride 2, then stride 1", [(3, 2, 0), (3, 1, 1)], 4),
        ("stride 1, then stride 2", [(3, 1, 1), (3, 2, 0)], 4),
        ("two convolutions 1 wide: a pixel sees itself", [(1, 1, 0), (1, 1, 0)], 3),
        ("no layer: a pixel sees itself", [], 3),
        ("padding that is not half the kernel", [(5, 2, 1), (2, 3, 2)], 0),
        ("cell 200", [(3, 2, 1), (5, 1, 0)], 200),
    ]
    for n in random.randint(3, 8, size=8):
        layers = [
            (int(k), int(random.choice([1, 1, 2, 3])), int(k) // 2)
            for k in random.choice([1, 2, 3, 5, 7], n)
        ]
        cell = int(random.randint(10))
        yield f"layers {layers} and cell {cell}", layers, cell


def _side_only(layers, cell):
    first, last = _seen_pixels(layers, cell)
    return 0, last - first


def _without_strides(layers, cell):
    return _seen_pixels([(kernel, 1, padding) for kernel, _, padding in layers], cell)


SEEN_MISTAKES = {
    "The padding is missing: position 0 begins `padding` before the map.": partial(
        _seen_pixels, pad=0
    ),
    "The walk goes back from the last layer to the image: begin with layers[-1].": partial(
        _seen_pixels, backwards=False
    ),
    "One too many: a kernel that begins at x ends at x + kernel - 1.": partial(
        _seen_pixels, extra=1
    ),
    "The last pixel moves by the padding, too.": partial(_seen_pixels, both=True),
    "The strides are missing: position x of a layer of stride s begins at x * s in the map before it.": _without_strides,
    "The size is right, the place is not: follow the cell, first = first * stride - padding.": _side_only,
    "The order is (first, last).": lambda layers, cell: _seen_pixels(layers, cell)[::-1],
    "You cut at the border; the pixels asked for may lie in the padding, where their numbers are negative.": lambda layers, cell: (
        tuple(max(end, 0) for end in _seen_pixels(layers, cell))
    ),
    "The padding need not be half the kernel: take it from the layer.": lambda layers, cell: (
        _seen_pixels([(kernel, stride, kernel // 2) for kernel, stride, _ in layers], cell)
    ),
}


def check_stable_gem(answer):
    """Check ``stable_gem(maps, p)``: generalised mean over positions, for every p from 1 to infinity, in float32.

    Parameters
    ----------
    answer : callable
        Takes `maps` (n, c, h, w) float32 >= 0 and `p` >= 1, which may be ``np.inf``; returns floats (n, c). Of a map of zeros: 0.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_stable_gem(lambda maps, p: maps.mean(axis=(2, 3))).passed
    False
    """
    return run_check(answer, _stable_gem, _gem_cases(), mistakes=GEM_MISTAKES, tolerance=1e-5)


def _stable_gem(maps, p):
    top = maps.max(axis=(2, 3), keepdims=True).astype(np.float64)
    if np.isinf(p):
        return top[:, :, 0, 0]
    shares = maps / np.where(top > 0, top, 1)
    return (shares**p).mean(axis=(2, 3)) ** (1 / p) * top[:, :, 0, 0]


def _gem_cases():
    random = np.random.RandomState(1)

    def maps(*shape):
        return (random.gamma(0.6, 1.0, shape) * (random.rand(*shape) < 0.7)).astype(np.float32)

    two = np.array([[[[1.0, 3.0]]]], dtype=np.float32)
    yield from [
        ("the map [1, 3] and p = 1, which is the average", two, 1),
        ("the map [1, 3] and p = 2", two, 2),
        ("the map [1, 3] and p = infinity, which is the maximum", two, np.inf),
        ("two images of three random maps and p = 3", maps(2, 3, 4, 5), 3),
        ("p = 1.5", maps(3, 2, 2, 6), 1.5),
        ("maps of zeros, whose mean is 0 whatever p is", np.zeros((1, 2, 3, 3), np.float32), 3),
        (
            "small numbers and p = 64: 0.01 to the power of 64 is 0 in float32",
            0.01 * maps(2, 3, 4, 4),
            64,
        ),
        (
            "large numbers and p = 200: 20 to the power of 200 is infinite in float32",
            20 * maps(2, 3, 4, 4),
            200,
        ),
    ]
    one_silent, uneven = maps(2, 3, 2, 2), maps(2, 3, 4, 4)
    one_silent[1, 1], uneven[0, 0] = 0, 0.001 * uneven[0, 0]
    yield from [
        ("a map of zeros among others", one_silent, 3),
        ("a map of zeros among others and p = infinity", one_silent, np.inf),
        ("a map of small numbers among others and p = 200: each has its own maximum", uneven, 200),
        ("p = 1000: even float64 ends before 3 to the power of 1000", maps(2, 2, 3, 3), 1000),
        ("a map of one cell", maps(1, 1, 1, 1) + 1, 3),
    ]
    for p in (1, 2.5, 4, 10, np.inf):
        yield (
            f"random maps and p = {p}",
            maps(*random.randint(1, 5, 2), *random.randint(1, 7, 2)),
            p,
        )


def _plain_gem(maps, p, *, root=True, mean=np.mean, axes=(2, 3)):
    with np.errstate(all="ignore"):
        if np.isinf(p):
            return maps.max(axis=axes)
        total = mean(maps**p, axis=axes)
        return total ** (1 / p) if root else total


def _switched_gem(maps, p, *, guard=1.0, back=True):
    """The stable GeM and, by its switches, what goes wrong with it."""
    with np.errstate(all="ignore"):
        top = maps.max(axis=(2, 3), keepdims=True).astype(np.float64)
        shares = maps / (np.where(top > 0, top, guard) if guard else top)
        powered = (shares**p).mean(axis=(2, 3))
        value = np.ones_like(powered) if np.isinf(p) else powered ** (1 / p)
        return value * (top[:, :, 0, 0] if back else 1)


GEM_MISTAKES = {
    "x ** p has left the range of float32: divide each map by its maximum first, and multiply by it at the end.": _plain_gem,
    "A map of zeros became NaN (0 / 0): where the maximum is 0, divide by something else.": partial(
        _switched_gem, guard=None
    ),
    "You divided by the maximum; multiply by it at the end.": partial(_switched_gem, back=False),
    "The p-th root is missing: total ** (1 / p).": partial(_plain_gem, root=False),
    "That is a sum over positions: GeM takes the mean before the root.": partial(
        _plain_gem, mean=np.sum
    ),
    "You averaged over the wrong axes: positions are axes 2 and 3.": partial(
        _plain_gem, axes=(1, 2)
    ),
    "That is the average, whatever p is.": lambda maps, p: maps.mean(axis=(2, 3)),
    "That is the maximum, whatever p is.": lambda maps, p: maps.max(axis=(2, 3)),
    "float64 only moves the limit: for every p, divide each map by its maximum first, and multiply by it at the end.": lambda maps, p: (
        _plain_gem(maps.astype(np.float64), p)
    ),
}


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


def _whitened_cosines(
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
        yield about, embeddings, split, n_dims


def _swapped(embeddings, split, n_dims):
    return _whitened_cosines(embeddings, split, n_dims).T


WHITENING_MISTAKES = {
    "The leak: mean and directions were learned on all rows, queries and database among them. Take the rows set aside only.": partial(
        _whitened_cosines, fit="all"
    ),
    "The leak: mean and directions were learned on the database. Take the rows set aside only.": partial(
        _whitened_cosines, fit="database"
    ),
    "The leak: mean and directions were learned on queries and database. Take the rows set aside only.": partial(
        _whitened_cosines, fit="query+database"
    ),
    "The mean of the images set aside has to be subtracted from all rows.": partial(
        _whitened_cosines, centre=False
    ),
    "The directions are not divided by their standard deviations.": partial(
        _whitened_cosines, power=0.0
    ),
    "You divided by variances: divide by their roots.": partial(_whitened_cosines, power=1.0),
    "Those are the directions of smallest variance: `eigh` sorts upwards.": partial(
        _whitened_cosines, smallest=True
    ),
    "These are dot products: scale each row to length 1 after whitening.": partial(
        _whitened_cosines, unit=False
    ),
    "The shape is (n_queries, n_database).": _swapped,
    "You scaled the rows to length 1 before whitening; scale them after it.": lambda e, s, n: (
        _whitened_cosines(e / np.linalg.norm(e, axis=1, keepdims=True), s, n)
    ),
}


def check_better_vectors(answer):
    """Check ``better_vectors(aside, images)``, an open exercise: one vector that answers two questions better than the last layer's average.

    Parameters
    ----------
    answer : callable
        Takes `aside`, the maps of 100 images to learn from, and `images`, those of the images to encode: dicts of layer of "tiny",
        "blocks.13" (n, 112, 10, 10) or "last" (n, 1280, 5, 5), to float32 arrays; returns finite numbers (n, d), a row for each of `images`.
        The score is the mean of two mAPs, by cosine: for categories of the tabletop world, where no object is among both queries
        and database, and for pieces of photographs.

    Returns
    -------
    Verdict
        The message tells both scores.

    Examples
    --------
    >>> check_better_vectors(lambda aside, images: aside["last"][:3]).status
    'not yet'
    """
    name, (aside, images, parts) = "better_vectors", _two_questions()
    n = len(images["last"])
    fault = partial(no_numbers, (n, None))
    got, ended = open_answer(name, answer, (aside, images), _SECONDS, fault)
    if ended:
        return ended
    got, few = np.asarray(got, dtype=float), {layer: maps[:40] for layer, maps in images.items()}
    if not same_rows(got[:40], call(answer, (aside, few), _SECONDS)):
        told = (
            "an image gets another vector when fewer are encoded with it: learn from `aside` alone."
        )
        return Verdict(name, "not yet", told)
    baseline = _both_scores(images["last"].mean(axis=(2, 3)), parts)
    told = "score is {:.3f}, that of the last layer's average {:.3f}"
    why = 'try one change at a time on `sets[name, "validation"]` of both sets.'
    return ahead(name, _both_scores(got, parts), baseline, _GAIN, told, why)


def _both_scores(rows, parts):
    """mAP of each question, by vectors (n, d) of all images."""
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return [mean_precision(unit[q] @ unit[x].T, relevant) for q, x, relevant in parts]


@cache
def _two_questions():
    """Maps of images set aside and of those to encode, and of each question: rows of queries, of the database, what is relevant."""
    from cbirkit.datasets import load_photo_views, load_tabletop
    from cbirkit.encoders import Deep

    world, names = load_tabletop(), np.random.RandomState(77).permutation(64)
    view, categories = world.column("view"), np.unique(world.labels)[names]
    number = np.array([int(name.split()[-1]) for name in world.column("instance")])
    mine = np.isin(world.labels, categories[:10])
    views = load_photo_views("hard", n_objects=20, n_views=5, n_distractors=50, random_state=77)
    found = ~pd.isna(views.column("instance"))
    asks = views.column("split") == "query"
    chosen = [
        (world, mine & (number < 2) & (view == 0), "label"),
        (world, mine & (number >= 2) & np.isin(view, (2, 3)), "label"),
        (views, found & asks, "instance"),
        (views, found & ~asks, "instance"),
    ]
    sizes = np.cumsum([0, *(rows.sum() for _, rows, _ in chosen)])
    rows = [slice(*ends) for ends in pairwise(sizes)]
    named = [images.column(by)[where] for images, where, by in chosen]
    parts = [(rows[i], rows[i + 1], named[i][:, None] == named[i + 1]) for i in (0, 2)]
    spare = np.flatnonzero(np.isin(world.labels, categories[10:]) & (view == 7))[::6][:50]
    groups = [
        [*world[spare], *views[~found]],
        [one for images, where, _ in chosen for one in images[where]],
    ]
    layers = {layer: Deep("tiny", layer=layer, device="cpu") for layer in ("blocks.13", "last")}
    aside, images = (
        {layer: deep.feature_maps(some) for layer, deep in layers.items()} for some in groups
    )
    return aside, images, parts
