"""The checks of notebook 11: right answers pass, wrong ones get the sentence that names the mistake."""

import numpy as np
from scipy.linalg import orthogonal_procrustes, polar
from scipy.spatial.distance import cdist

from cbirkit import checks


def solved_hamming(queries, codes):
    out = np.empty((len(queries), len(codes)), int)
    for i, query in enumerate(queries):
        for j, code in enumerate(codes):
            out[i, j] = sum((int(a) ^ int(b)).bit_count() for a, b in zip(query, code, strict=True))
    return out


def solved_rotation(V, B):
    return orthogonal_procrustes(V, B)[0]


def solved_radius(distances, relevant, radius):
    total = 0.0
    for near, right in zip(distances, relevant, strict=True):
        inside = [r for d, r in zip(near, right, strict=True) if d <= radius]
        total += sum(inside) / len(inside) if inside else 0
    return total / len(distances)


CHECKS = {
    "hamming_distances": (checks.check_hamming_distances, solved_hamming),
    "best_rotation": (checks.check_best_rotation, solved_rotation),
    "precision_in_radius": (
        checks.check_precision_in_radius,
        solved_radius,
    ),
}


def by_bits(queries, codes):
    return (np.unpackbits(queries, axis=1)[:, None] != np.unpackbits(codes, axis=1)[None]).sum(
        axis=2
    )


def by_scipy(queries, codes):
    return (
        cdist(np.unpackbits(queries, axis=1), np.unpackbits(codes, axis=1), "hamming")
        * 8
        * queries.shape[1]
    )


def by_products(queries, codes):
    a, b = (2.0 * np.unpackbits(one, axis=1) - 1 for one in (queries, codes))
    return (8 * queries.shape[1] - a @ b.T) / 2


def other_side(V, B):
    left, _, right = np.linalg.svd(B.T @ V)
    return right.T @ left.T


def radius_by_masks(distances, relevant, radius):
    values = []
    for near, right in zip(distances, relevant, strict=True):
        inside = right[near <= radius]
        values.append(inside.mean() if inside.size else 0)
    return np.mean(values)


def radius_of_nan(distances, relevant, radius):
    inside = distances <= radius
    return np.nan_to_num((inside & relevant).sum(axis=1) / inside.sum(axis=1)).mean()


def over(distances, relevant, radius, queries):
    return (
        solved_radius(distances[queries], relevant[queries], radius)
        if queries.any()
        else float("nan")
    )


RIGHT = {
    "hamming_distances": (
        by_bits,
        by_scipy,
        by_products,
        lambda q, c: np.unpackbits(q[:, None] ^ c[None], axis=2).sum(axis=2),
        lambda q, c: np.bitwise_count(q[:, None] ^ c[None]).sum(axis=2, dtype=np.uint16),
        lambda q, c: (
            [
                [
                    int.from_bytes(a.tobytes()).__xor__(int.from_bytes(b.tobytes())).bit_count()
                    for b in c
                ]
                for a in q
            ]
            or by_bits(q, c)
        ),
    ),
    "best_rotation": (
        other_side,
        lambda V, B: polar(V.T @ B)[0],
        lambda V, B: solved_rotation(V, B).tolist(),
        lambda V, B: np.float32(other_side(V, B)),
    ),
    "precision_in_radius": (
        radius_by_masks,
        radius_of_nan,
        lambda *a: np.array(radius_of_nan(*a)),
        lambda *a: np.float32(radius_by_masks(*a)),
    ),
}

WRONG = {
    "hamming_distances": (
        lambda q, c: np.bitwise_xor(q[:, None], c[None]).sum(axis=2),
        lambda q, c: solved_hamming(q[:, :1], c[:, :1]),
        lambda q, c: (
            solved_hamming(q[:, :-1], c[:, :-1]) if q.shape[1] > 1 else solved_hamming(q, c)
        ),
        lambda q, c: solved_hamming(q & 127, c & 127),
        lambda q, c: solved_hamming(q & 254, c & 254),
        lambda q, c: solved_hamming(q, ~c),
        ("int8", lambda q, c: solved_hamming(q, c).astype(np.int8)),
        lambda q, c: solved_hamming(q, c).astype(np.uint8),
        lambda q, c: solved_hamming(q, q),
        lambda q, c: np.minimum(solved_hamming(q, c), 255),
        lambda q, c: [
            solved_hamming(q[n : n + 1], c[n : n + 1])[0, 0] for n in range(min(len(q), len(c)))
        ],
        lambda q, c: np.sqrt(solved_hamming(q, c)),
        lambda q, c: solved_hamming(q, c) + (solved_hamming(q, c) == 0),
    ),
    "best_rotation": (
        lambda V, B: orthogonal_procrustes(B, V)[0],
        lambda V, B: orthogonal_procrustes(V / np.linalg.norm(V, axis=0), B)[0],
        lambda V, B: -orthogonal_procrustes(V, B)[0],
        lambda V, B: orthogonal_procrustes(V - V.mean(axis=0), B)[0],
        lambda V, B: orthogonal_procrustes(np.sign(V), B)[0],
        lambda V, B: orthogonal_procrustes(V[:-1], B[:-1])[0],
        lambda V, B: np.abs(orthogonal_procrustes(V, B)[0]),
        lambda V, B: V @ orthogonal_procrustes(V, B)[0],
        lambda V, B: np.sign(V.T @ B),
        lambda V, B: np.eye(V.shape[1]),
        lambda V, B: np.linalg.inv(np.linalg.lstsq(V, B, rcond=None)[0]),
    ),
    "precision_in_radius": (
        lambda d, r, radius: solved_radius(d, r, 2),
        lambda d, r, radius: solved_radius(d, ~r, radius),
        lambda d, r, radius: float((d[r] <= radius).mean()) if r.any() else 0.0,
        (
            "where none is left the mean is NaN",
            lambda d, r, radius: over(d, r, radius, r.any(axis=1)),
        ),
        (
            "where no query is left the mean is NaN",
            lambda d, r, radius: over(d, r, radius, (d <= radius).any(axis=1)),
        ),
        lambda d, r, radius: over(d, r, radius, (r & (d <= radius)).any(axis=1)),
        lambda d, r, radius: solved_radius(d, r, radius + 1),
        lambda d, r, radius: solved_radius(d, r, radius - 1),
        lambda d, r, radius: solved_radius(d, r, radius) if d.size else float("nan"),
        lambda d, r, radius: np.mean([(row <= radius).mean() for row in d]) if d.size else 0.0,
        lambda d, r, radius: np.mean((d <= radius) & r) if d.size else 0.0,
        lambda d, r, radius: float(((d <= radius) & r).any(axis=1).mean()),
        lambda d, r, radius: [
            solved_radius(d[n : n + 1], r[n : n + 1], radius) for n in range(len(d))
        ],
    ),
}
