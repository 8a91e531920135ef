"""Checks of notebook 00: precision at k, the query left out by id, a histogram of tiles."""

from functools import partial

import numpy as np

from cbirkit import metrics

from .running import run_check


def check_precision_at_k(answer):
    """Check ``precision_at_k(relevant, k)``: hits among the first k results, divided by k.

    Parameters
    ----------
    answer : callable
        Takes `relevant` (n,) bool, nearest first, and `k`; returns a float in [0, 1].

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_precision_at_k(lambda relevant, k: relevant[:k].sum() / k).passed
    True
    """
    return run_check(
        answer, metrics.precision_at_k, _precision_cases(), mistakes=PRECISION_MISTAKES
    )


def _precision_cases():
    worked = np.array([True, False, True, True, False])
    yield from [
        ("relevant = [True, False, True, True, False] and k = 2", worked, 2),
        ("relevant = [True, False, True, True, False] and k = 3", worked, 3),
        ("three results, two of them relevant, and k = 10", np.array([True, True, False]), 10),
        ("a query that finds nothing", np.zeros(6, dtype=bool), 4),
        ("a query that finds only relevant images", np.ones(6, dtype=bool), 4),
        ("k = 1 with the first result wrong", np.array([False, True]), 1),
        ("no result at all and k = 3, which are three misses", np.zeros(0, dtype=bool), 3),
        ("300 relevant results and k = 300", np.ones(300, dtype=bool), 300),
    ]
    random = np.random.RandomState(0)
    for _ in range(30):
        n, k = random.randint(1, 40, size=2)
        yield f"{n} random results and k = {k}", random.rand(n) < random.rand(), int(k)


PRECISION_MISTAKES = {
    "Results that are missing count as misses: divide by k, not by the number of results that came back.": lambda r, k: (
        r[:k].sum() / len(r[:k])
    ),
    "Only the first k results count: cut the list before you count hits.": lambda r, k: r.sum() / k,
    "That is recall: it divides by the number of relevant images. Precision divides by k.": lambda r, k: (
        r[:k].sum() / max(r.sum(), 1)
    ),
    "That is the number of hits: divide it by k.": lambda r, k: r[:k].sum(),
    "That is the hit rate (any hit at all): count the hits.": lambda r, k: float(r[:k].any()),
    "One result too many: `relevant[:k]` already holds k items.": lambda r, k: r[: k + 1].sum() / k,
    "One result too few: `relevant[:k]` holds k items.": lambda r, k: r[: k - 1].sum() / k,
    "That is the share of relevant results in the whole list: it ignores k.": lambda r, k: r.mean(),
    "`//` cuts the share down to a whole number: divide with `/`.": lambda r, k: r[:k].sum() // k,
    "That divides by min(k, R), which forgives a query with few relevant images: divide by k.": lambda r, k: (
        r[:k].sum() / min(k, max(r.sum(), 1))
    ),
}


def check_leave_query_out(answer):
    """Check ``leave_query_out(query_id, ranked_ids, k)``: the first k results that are not the query itself.

    Parameters
    ----------
    answer : callable
        Takes the query's id, `ranked_ids` (n,) array of text, nearest first, and `k`; returns an array of at
        most k ids.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_leave_query_out(lambda query_id, ranked_ids, k: ranked_ids[1 : k + 1]).passed
    False
    """
    return run_check(answer, _leave_query_out, _leave_out_cases(), mistakes=LEAVE_OUT_MISTAKES)


def _leave_query_out(query_id, ranked_ids, k):
    kept = [name for name in ranked_ids if name != query_id]
    return np.array(kept[:k], dtype=object)


def _ids(text):
    return np.array(text.split(), dtype=object)


def _leave_out_cases():
    yield from [
        ("a query that finds itself first", "a", _ids("a b c d e"), 3),
        (
            "a query whose exact copy stands before it, at the same distance",
            "a",
            _ids("copy a b c d"),
            3,
        ),
        ("a query that is not in the database", "a", _ids("b c d e f"), 3),
        ("a query that finds itself last", "a", _ids("b c d e a"), 3),
        ("the query cat_1 beside cat_10 and cat_12", "cat_1", _ids("cat_10 cat_1 cat_12 dog_1"), 2),
        ("k larger than the number of results", "a", _ids("b a c"), 10),
        ("the query cat_12 beside cat_1 and Cat_12", "cat_12", _ids("cat_1 Cat_12 cat_12 cat"), 3),
        ("the query 1 beside 01 and 001, which are other ids", "1", _ids("01 1 001 10"), 3),
        ("a query that finds nothing but itself: nothing is left", "a", _ids("a"), 2),
        ("no result at all", "a", _ids(""), 2),
    ]
    random = np.random.RandomState(0)
    for n in random.randint(2, 30, size=20):
        ids = np.array([f"image_{i}" for i in random.permutation(n)], dtype=object)
        query, k = f"image_{random.randint(n + 3)}", int(random.randint(1, n + 1))
        yield f"{n} results in random order, the query {query} and k = {k}", query, ids, k


LEAVE_OUT_MISTAKES = {
    "Dropping the first result removes whatever stands there, and that may be another image: compare ids.": lambda query, ranked, k: (
        ranked[1 : k + 1]
    ),
    "The query itself is still among its own results.": lambda query, ranked, k: ranked[:k],
    "You cut to k first and removed the query after, so that one result is missing: remove, then cut.": lambda query, ranked, k: (
        ranked[:k][ranked[:k] != query]
    ),
    "`in` looks for a part of the text, and cat_1 is part of cat_10: compare whole ids with `!=`.": lambda query, ranked, k: (
        np.array([name for name in ranked if query not in name][:k], dtype=object)
    ),
    "The query is gone, but the list has to be cut to its first k.": lambda query, ranked, k: (
        ranked[ranked != query]
    ),
    "You kept the query and dropped the rest.": lambda query, ranked, k: ranked[ranked == query][
        :k
    ],
    "The order is lost: the results have to stay nearest first.": lambda query, ranked, k: np.array(
        sorted(ranked[ranked != query])[:k], dtype=object
    ),
    "One result too many: `[:k]` already holds k items.": lambda query, ranked, k: ranked[
        ranked != query
    ][: k + 1],
    "One result too few: the query is gone already, so that `[:k]` holds k others.": lambda query, ranked, k: (
        ranked[ranked != query][: k - 1]
    ),
}


def check_tiled_histogram(answer):
    """Check ``tiled_histogram(image, tiles, bins)``: a joint RGB histogram for each of tiles x tiles tiles.

    Parameters
    ----------
    answer : callable
        Takes `image` (h, w, 3) uint8, `tiles` and `bins`; returns (tiles * tiles * bins ** 3,) floats that sum to
        1: the tiles row by row (cut as `np.array_split` does), each summing to 1 / tiles ** 2, red the slowest
        axis of a tile.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_tiled_histogram(lambda image, tiles, bins: 0).status
    'not yet'
    """
    return run_check(
        answer, _tiled_histogram, _tiled_cases(), mistakes=TILED_MISTAKES, tolerance=1e-5
    )


def _eight_bit_cells(image, bins):
    return (image * bins // 256).astype(np.int64)


def _uneven_cells(image, bins):
    return image.astype(np.int64) // (256 // bins)


def _cells_to_255(image, bins):
    return np.minimum(image.astype(np.int64) * bins // 255, bins - 1)


def _cells(image, bins):
    return image.astype(np.int64) * bins // 256


def _byte_cells(image, bins):
    return _cells(image, bins).astype(np.uint8)


def _tiled_histogram(image, tiles, bins, *, weight="tile", by_columns=False, cells=_cells):
    """The tiled histogram and, by its switches, what goes wrong with it."""
    histograms = []
    for band in np.array_split(cells(image, bins), tiles, axis=1 if by_columns else 0):
        for tile in np.array_split(band, tiles, axis=0 if by_columns else 1):
            red, green, blue = tile.reshape(-1, 3).T  # (n_pixels, 3) -> 3 x (n_pixels,)
            counts = np.bincount((red * bins + green) * bins + blue, minlength=bins**3).astype(
                np.float64
            )
            divisor = {
                "tile": len(red) * tiles**2,
                "unit": len(red),
                "image": image[..., 0].size,
                "none": 1,
            }
            histograms.append(counts / divisor[weight])
    return np.concatenate(histograms)


def _tiled_cases():
    random = np.random.RandomState(0)
    halves = np.zeros((4, 6, 3), dtype=np.uint8)
    halves[:, 3:, 0] = 255
    flag = np.zeros((6, 4, 3), dtype=np.uint8)
    flag[3:, :, 2] = 255
    yield from [
        ("an image whose left half is black and right half red, 1 tile and 2 bins", halves, 1, 2),
        (
            "an image whose left half is black and right half red, 2 x 2 tiles and 2 bins",
            halves,
            2,
            2,
        ),
        ("an image whose lower half is blue, 2 x 2 tiles and 2 bins", flag, 2, 2),
        (
            "a white image: 255 belongs to the last bin",
            np.full((4, 4, 3), 255, dtype=np.uint8),
            2,
            4,
        ),
        (
            "a white image and 3 bins, which do not divide 256",
            np.full((4, 4, 3), 255, dtype=np.uint8),
            1,
            3,
        ),
        (
            "a grey image of value 85 and 3 bins: 85 * 3 // 256 is 0",
            np.full((4, 4, 3), 85, dtype=np.uint8),
            1,
            3,
        ),
        (
            "a 7 x 5 image, which 2 x 2 tiles do not divide",
            random.randint(0, 256, (7, 5, 3)).astype(np.uint8),
            2,
            4,
        ),
        ("a single black pixel", np.zeros((1, 1, 3), dtype=np.uint8), 1, 4),
        (
            "a white image and 8 bins, of which the last is number 511",
            np.full((3, 5, 3), 255, dtype=np.uint8),
            2,
            8,
        ),
    ]
    for _ in range(8):
        h, w = random.randint(4, 24, size=2)
        tiles, bins = int(random.randint(1, 4)), int(random.randint(2, 5))
        image = (random.rand(h, w, 3) ** (1, 2, 3) * 256).astype(np.uint8)
        yield (
            f"a random {h} x {w} image, {tiles} x {tiles} tiles and {bins} bins",
            image,
            tiles,
            bins,
        )


def _cropped(image, tiles, bins):
    h, w = (side // tiles for side in image.shape[:2])
    return _tiled_histogram(image[: h * tiles, : w * tiles], tiles, bins)


def _one_histogram(image, tiles, bins):
    return np.tile(_tiled_histogram(image, 1, bins) / tiles**2, tiles**2)


def _only_whole_image(image, tiles, bins):
    return _tiled_histogram(image, 1, bins)


TILED_MISTAKES = {
    "The pixels are uint8, whose arithmetic stops at 255: convert to int before you multiply.": partial(
        _tiled_histogram, cells=_eight_bit_cells
    ),
    "255 // (256 // bins) is too large where bins does not divide 256: the bin is value * bins // 256.": partial(
        _tiled_histogram, cells=_uneven_cells
    ),
    "The bins are equal parts of 0 to 256, not of 0 to 255: the bin of a value is value * bins // 256.": partial(
        _tiled_histogram, cells=_cells_to_255
    ),
    "The tiles come column by column; go row by row.": partial(_tiled_histogram, by_columns=True),
    "Red and blue are swapped: images here are RGB, and red is the slowest axis.": lambda image, tiles, bins: (
        _tiled_histogram(image[..., ::-1], tiles, bins)
    ),
    "These are counts: a larger image would be farther from everything; divide so that the sum is 1.": partial(
        _tiled_histogram, weight="none"
    ),
    "Each tile sums to 1; divide by tiles ** 2 so that the whole vector sums to 1.": partial(
        _tiled_histogram, weight="unit"
    ),
    "Tiles of different size get different weights: divide each by its own number of pixels.": partial(
        _tiled_histogram, weight="image"
    ),
    "Every tile has the histogram of the whole image: cut the image first.": _one_histogram,
    "That is one histogram of the whole image: the tiles are missing.": _only_whole_image,
    "Tiles of h // tiles rows leave the last pixels out: cut as np.array_split does.": _cropped,
    "The number of a bin, (r * bins + g) * bins + b, does not fit into uint8: convert to int first.": partial(
        _tiled_histogram, cells=_byte_cells
    ),
}
