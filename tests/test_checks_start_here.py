"""Answers to the exercises of notebook 00 that were tried: unusual right ones, and wrong ones."""

import itertools

import numpy as np

from cbirkit import checks
from cbirkit.checks import start_here

CHECKS = {
    "precision_at_k": (
        checks.check_precision_at_k,
        lambda relevant, k: np.count_nonzero(relevant[:k]) / k,
    ),
    "leave_query_out": (
        checks.check_leave_query_out,
        lambda query_id, ranked_ids, k: ranked_ids[ranked_ids != query_id][:k],
    ),
    "tiled_histogram": (
        checks.check_tiled_histogram,
        lambda image, tiles, bins: (
            np.concatenate(
                [
                    np.histogramdd(tile.reshape(-1, 3), bins=bins, range=[(0, 256)] * 3)[0].ravel()
                    / (tile.size / 3)
                    for band in np.array_split(image, tiles)
                    for tile in np.array_split(band, tiles, axis=1)
                ]
            )
            / tiles**2
        ),
    ),
}


def by_loop(relevant, k):
    hits = 0
    for n in range(min(k, len(relevant))):
        if relevant[n]:
            hits += 1
    return hits / k


def padded(relevant, k):
    whole = np.zeros(k, dtype=bool)
    whole[: len(relevant)] = relevant[:k]
    return whole.mean()


def yielded(query_id, ranked_ids, k):
    return list(itertools.islice((one for one in ranked_ids if one != query_id), k))


def removed(query_id, ranked_ids, k):
    rest = ranked_ids.tolist()
    if query_id in rest:
        rest.remove(query_id)
    return rest[:k]


def by_histogramdd(image, tiles, bins):
    parts = []
    for band in np.array_split(image, tiles):
        for tile in np.array_split(band, tiles, axis=1):
            counts = np.histogramdd(tile.reshape(-1, 3), bins, range=[(0, 256)] * 3)[0]
            parts.append(counts.ravel() / counts.sum())
    return (np.array(parts) / tiles**2).ravel().astype(np.float32)


def pixel_by_pixel(image, tiles, bins):
    h, w = image.shape[:2]
    rows, columns = (
        np.concatenate([np.full(len(p), n) for n, p in enumerate(np.array_split(range(s), tiles))])
        for s in (h, w)
    )
    out = [[0.0] * bins**3 for _ in range(tiles**2)]
    for y, x in itertools.product(range(h), range(w)):
        r, g, b = (int(v) * bins // 256 for v in image[y, x])
        tile = int(rows[y] * tiles + columns[x])
        out[tile][(r * bins + g) * bins + b] += 1 / (
            (rows == rows[y]).sum() * (columns == columns[x]).sum() * tiles**2
        )
    return [value for tile in out for value in tile]


def edges(image, tiles, bins):
    cells = np.digitize(image, np.ceil(np.arange(1, bins) * 256 / bins))
    return start_here._tiled_histogram(image, tiles, bins, cells=lambda *_: cells)


RIGHT = {
    "precision_at_k": (
        by_loop,
        padded,
        lambda relevant, k: sum(map(bool, relevant[:k])) / k,
        lambda relevant, k: np.float32(np.count_nonzero(relevant[:k])) / k,
        lambda relevant, k: np.array(relevant[:k].tolist().count(True) / k),
        lambda relevant, k: np.dot(relevant[:k], np.ones(len(relevant[:k]))) / k,
    ),
    "leave_query_out": (
        yielded,
        removed,
        lambda query_id, ranked_ids, k: tuple(
            np.delete(ranked_ids, np.flatnonzero(ranked_ids == query_id))[:k]
        ),
        lambda query_id, ranked_ids, k: ranked_ids.astype(str)[ranked_ids.astype(str) != query_id][
            :k
        ],
        lambda query_id, ranked_ids, k: [one for one in ranked_ids[: k + 1] if one != query_id][:k],
    ),
    "tiled_histogram": (
        by_histogramdd,
        pixel_by_pixel,
        edges,
        lambda *a: start_here._tiled_histogram(*a).astype(np.float32),
    ),
}

WRONG = {
    "precision_at_k": (
        lambda relevant, k: np.cumsum(relevant)[k - 1] / k,  # IndexError on short lists
        lambda relevant, k: (
            np.cumsum(relevant)[min(k, len(relevant)) - 1] / k
        ),  # on the empty one only
        lambda relevant, k: relevant[:k].sum() / k if relevant.any() else float("nan"),
        (
            "for no result at all",
            lambda relevant, k: relevant[:k].sum() / k if len(relevant) else float("nan"),
        ),
        lambda relevant, k: np.unique(relevant[:k]).sum() / k,
        lambda relevant, k: (
            relevant[:k].astype(np.uint8).sum(dtype=np.uint8) / k
        ),  # overflows at 256
        lambda relevant, k: relevant[:k].sum() / (k + 1),
        lambda relevant, k: min(relevant[:k].sum() / k, 0.999),
        lambda relevant, k: 100 * relevant[:k].sum() / k,
        lambda relevant, k: (~relevant[:k]).sum() / k,
        lambda relevant, k: relevant[1 : k + 1].sum() / k,
    ),
    "leave_query_out": (
        lambda query_id, ranked_ids, k: np.array(
            [i for i in ranked_ids if i not in query_id][:k], dtype=object
        ),
        lambda query_id, ranked_ids, k: [i for i in ranked_ids if not i.startswith(query_id)][:k],
        lambda query_id, ranked_ids, k: [i for i in ranked_ids if i.lstrip("0") != query_id][:k],
        lambda query_id, ranked_ids, k: list(dict.fromkeys(sorted(ranked_ids != query_id)))[:k],
        lambda query_id, ranked_ids, k: [i for i in ranked_ids if i.lower() != query_id.lower()][
            :k
        ],
        lambda query_id, ranked_ids, k: (ranked_ids != query_id)[:k],
        lambda query_id, ranked_ids, k: np.flatnonzero(ranked_ids != query_id)[:k],
        lambda query_id, ranked_ids, k: ranked_ids[ranked_ids != query_id][-k:],
        lambda query_id, ranked_ids, k: (
            ranked_ids[1 : k + 1] if ranked_ids[0] == query_id else ranked_ids[:k]
        ),
        lambda query_id, ranked_ids, k: [ranked_ids[ranked_ids != query_id][n] for n in range(k)],
        lambda query_id, ranked_ids, k: np.where(ranked_ids == query_id, "", ranked_ids)[:k],
    ),
    "tiled_histogram": (
        lambda image, tiles, bins: start_here._tiled_histogram(
            image.transpose(1, 0, 2), tiles, bins
        ),
        lambda image, tiles, bins: start_here._tiled_histogram(image, tiles, bins).reshape(
            tiles, tiles, -1
        ),
        lambda image, tiles, bins: start_here._tiled_histogram(
            image, tiles, bins, cells=lambda i, b: np.rint(i / 255 * (b - 1)).astype(int)
        ),
        lambda image, tiles, bins: start_here._tiled_histogram(
            image,
            tiles,
            bins,
            cells=lambda i, b: np.minimum(i // (256 // b), b - 1).astype(int),
        ),
        lambda image, tiles, bins: start_here._tiled_histogram(image[..., [0, 2, 1]], tiles, bins),
        lambda image, tiles, bins: start_here._tiled_histogram(image[..., [1, 0, 2]], tiles, bins),
        lambda image, tiles, bins: (
            start_here._tiled_histogram(image, tiles, bins)
            / max(start_here._tiled_histogram(image, tiles, bins).max(), 1e-9)
        ),
        lambda image, tiles, bins: start_here._tiled_histogram(
            image.mean(axis=2, keepdims=True).repeat(3, axis=2).astype(np.uint8), tiles, bins
        ),
        lambda image, tiles, bins: start_here._tiled_histogram(image, tiles, bins)[::-1],
        lambda image, tiles, bins: start_here._tiled_histogram(
            image[: len(image) // tiles * tiles], tiles, bins
        ),
    ),
}
