"""The checks of notebook 03: right answers pass, wrong ones get the sentence that names the mistake."""

import numpy as np
import torch
from scipy.special import logsumexp
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity, euclidean_distances
from sklearn.preprocessing import normalize

from cbirkit import checks
from cbirkit.encoders import PCAWhitening
from cbirkit.nets.pooling import gem_pool


def solved_seen_pixels(layers, cell):
    """By all the positions that each layer reads."""
    seen = {cell}
    for kernel, stride, padding in reversed(layers):
        seen = {one * stride - padding + offset for one in seen for offset in range(kernel)}
    return min(seen), max(seen)


def solved_gem(maps, p):
    if np.isinf(p):
        return maps.max(axis=(2, 3))
    return gem_pool(torch.from_numpy(maps).double(), p, eps=1e-30).numpy()


def solved_whitened_cosines(embeddings, split, n_dims):
    rows = PCAWhitening(n_dims).fit(embeddings[split == "aside"]).transform(embeddings)
    return rows[split == "query"] @ rows[split == "database"].T


CHECKS = {
    "seen_pixels": (checks.check_seen_pixels, solved_seen_pixels),
    "stable_gem": (checks.check_stable_gem, solved_gem),
    "whitened_cosines": (
        checks.check_whitened_cosines,
        solved_whitened_cosines,
    ),
}


def recursive(layers, cell):
    if not layers:
        return cell, cell
    kernel, stride, padding = layers[-1]
    return recursive(layers[:-1], cell * stride - padding)[0], recursive(
        layers[:-1], cell * stride - padding + kernel - 1
    )[1]


def by_jump(layers, cell):
    """Forwards: size, jump and start of the receptive field."""
    size, jump, start = 1, 1, 0
    for kernel, stride, padding in layers:
        size, start, jump = size + (kernel - 1) * jump, start - padding * jump, jump * stride
    return np.array([start + cell * jump, start + cell * jump + size - 1])


def by_logarithms(maps, p):
    if p == np.inf:
        return maps.max(axis=(2, 3))
    with np.errstate(all="ignore"):
        logs = np.log(maps.reshape(*maps.shape[:2], -1).astype(float))
        return np.exp((logsumexp(p * logs, axis=2) - np.log(logs.shape[2])) / p)


def map_by_map(maps, p):
    out = np.zeros(maps.shape[:2])
    for n, c in np.ndindex(out.shape):
        top = maps[n, c].max()
        if top > 0:
            out[n, c] = top if np.isinf(p) else top * np.mean((maps[n, c] / top) ** p) ** (1 / p)
    return out


def single_precision(maps, p):
    top = maps.max(axis=(2, 3))
    shares = maps / np.where(top > 0, top, 1)[:, :, None, None]
    return np.float32((shares ** np.float32(p)).mean(axis=(2, 3)) ** np.float32(1 / p) * top)


def by_sklearn(embeddings, split, n_dims):
    pca = PCA(n_dims, whiten=True).fit(embeddings[split == "aside"])
    return cosine_similarity(
        pca.transform(embeddings[split == "query"]), pca.transform(embeddings[split == "database"])
    )


def by_svd(embeddings, split, n_dims):
    aside = embeddings[split == "aside"] - embeddings[split == "aside"].mean(axis=0)
    _, values, directions = np.linalg.svd(aside, full_matrices=False)
    rows = (embeddings - embeddings[split == "aside"].mean(axis=0)) @ (
        directions[:n_dims].T / values[:n_dims]
    )
    return (normalize(rows[split == "query"]) @ normalize(rows[split == "database"]).T).astype(
        np.float32
    )


def pooled(maps, p=3.0):
    return normalize((np.maximum(maps["last"], 1e-6) ** p).mean(axis=(2, 3)) ** (1 / p))


def centred(aside, images, p=3.0):
    return pooled(images, p) - pooled(aside, p).mean(axis=0)


def standardised(aside, images, p=3.0):
    return centred(aside, images, p) / (pooled(aside, p).std(axis=0) + 1e-3)


def middle(maps):
    return normalize(maps["blocks.13"].mean(axis=(2, 3)))


def two_layers(aside, images, weight=0.5):
    """GeM of the last layer and the average of the one before, each centred."""
    other = middle(images) - middle(aside).mean(axis=0)
    return np.hstack([normalize(standardised(aside, images)), weight * normalize(other)])


def changing(aside, images):
    images["last"] -= images["last"].min()
    images["last"] += 1
    return standardised(aside, images)


def leak_of_the_mean(e, s, n):
    return by_sklearn(
        np.where((s == "aside")[:, None], e, e + e[s == "aside"].mean(axis=0) - e.mean(axis=0)),
        s,
        n,
    )


RIGHT = {
    "seen_pixels": (
        recursive,
        by_jump,
        lambda *a: list(by_jump(*a)),
        lambda *a: tuple(float(x) for x in by_jump(*a)),
        lambda *a: tuple(np.int32(by_jump(*a))),
    ),
    "stable_gem": (
        by_logarithms,
        map_by_map,
        single_precision,
        lambda m, p: torch.from_numpy(map_by_map(m, p)),
        lambda m, p: map_by_map(m, p).tolist(),
    ),
    "whitened_cosines": (
        by_sklearn,
        by_svd,
        lambda *a: by_sklearn(*a).tolist(),
        lambda *a: torch.from_numpy(by_svd(*a)),
    ),
    "better_vectors": (
        standardised,
        centred,
        two_layers,
        lambda *a: standardised(*a, p=1.0),
        lambda *a: normalize(standardised(*a)).tolist(),
        lambda *a: torch.from_numpy(standardised(*a)),
    ),
}

WRONG = {
    "seen_pixels": (
        lambda layers, cell: (0, 2),
        lambda layers, cell: by_jump(layers[-1:], cell),
        lambda layers, cell: by_jump(layers[:-1], cell),
        lambda layers, cell: by_jump(layers, cell + 1),
        lambda layers, cell: by_jump(layers, cell)[:1],
        lambda layers, cell: range(*by_jump(layers, cell)),
        lambda layers, cell: (
            by_jump(layers, cell)[0],
            by_jump(layers, cell)[1] - 1 + (not layers),
        ),
        lambda layers, cell: by_jump([(k, s, p + 1) for k, s, p in layers], cell),
        lambda layers, cell: (
            by_jump(layers, cell)[0],
            sum(k - 1 for k, _, _ in layers) + by_jump(layers, cell)[0],
        ),
        lambda layers, cell: by_jump(
            [(k, s, (k - 1) // 2 if p else 0) for k, s, p in layers], cell
        ),
        lambda layers, cell: (by_jump(layers, cell)[0] + 1, by_jump(layers, cell)[1] + 1),
        lambda layers, cell: by_jump(layers, min(cell, 100)),
        ("changed its input", lambda layers, cell: layers.reverse() or by_jump(layers[::-1], cell)),
    ),
    "stable_gem": (
        lambda maps, p: map_by_map(maps, min(p, 50)),
        lambda maps, p: map_by_map(maps, min(p, 500)),
        lambda maps, p: np.sqrt((maps.astype(float) ** 2).mean(axis=(2, 3))),
        lambda maps, p: normalize(map_by_map(maps, p)),
        lambda maps, p: map_by_map(np.maximum(maps, 1e-3), p),
        lambda maps, p: map_by_map(maps, p)[:, :, None, None],
        lambda maps, p: map_by_map(maps, round(p) if p < np.inf else p),
        lambda maps, p: (
            map_by_map(maps, p) if maps.any(axis=(2, 3)).all() else np.zeros(maps.shape[:2])
        ),
        lambda maps, p: np.log(np.exp(p * maps).mean(axis=(2, 3))) / p,
        lambda maps, p: (
            maps.max() * map_by_map(maps / max(maps.max(), 1e-9), p) ** (p > 0)
            if p < 100
            else maps.max(axis=(2, 3))
        ),
        lambda maps, p: (
            ((maps / max(maps.max(), 1e-9)).astype(float) ** p).mean(axis=(2, 3)) ** (1 / p)
            * maps.max()
        ),
    ),
    "whitened_cosines": (
        lambda e, s, n: by_sklearn(e, np.where(s == "query", "aside", s), n),
        lambda e, s, n: by_sklearn(e, s, n - 1),
        lambda e, s, n: cosine_similarity(e[s == "query"], e[s == "database"]),
        leak_of_the_mean,
        lambda e, s, n: cosine_similarity(
            *(
                PCA(n, whiten=True)
                .fit(e[s == "aside"])
                .transform(e[s == part] - e[s == part].mean(axis=0))
                for part in ("query", "database")
            )
        ),
        lambda e, s, n: euclidean_distances(
            *(
                PCA(n, whiten=True).fit(e[s == "aside"]).transform(e[s == part])
                for part in ("query", "database")
            )
        ),
        lambda e, s, n: 1 - by_sklearn(e, s, n),
        lambda e, s, n: by_sklearn(e, s, n).squeeze(),
        lambda e, s, n: np.sort(by_sklearn(e, s, n), axis=1),
        lambda e, s, n: (
            by_sklearn(e, s, n) @ np.eye(5)[:, :4]
            if (s == "database").sum() == 5
            else by_sklearn(e, s, n)
        ),
        lambda e, s, n: by_sklearn((e - e[s == "aside"].mean(0)) / e[s == "aside"].std(0), s, n),
    ),
    "better_vectors": (
        ("reach", lambda aside, images: pooled(images, 1.0)),
        ("reach", lambda aside, images: pooled(images)),
        ("reach", lambda aside, images: pooled(images, 30.0)),
        ("reach", lambda aside, images: middle(images)),
        ("reach", lambda aside, images: np.hstack([pooled(images), middle(images)])),
        ("reach", lambda aside, images: images["last"][:, :, 2, 2]),
        ("reach", lambda aside, images: images["last"].reshape(len(images["last"]), -1)),
        ("reach", lambda aside, images: np.ones((len(images["last"]), 1))),
        ("learn from `aside` alone", lambda aside, images: centred(images, images)),
        ("learn from `aside` alone", lambda aside, images: standardised(images, images)),
        ("expected numbers of shape", lambda aside, images: centred(images, aside)),
        ("expected numbers of shape", lambda aside, images: images["last"]),
        ("NaN", lambda aside, images: pooled(images) / 0 * 0),
        ("work on a copy", changing),
    ),
}
