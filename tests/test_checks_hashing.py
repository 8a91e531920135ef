"""The checks of notebook 11: right answers pass, wrong ones get the sentence that names the mistake."""

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from cbirkit import checks
from cbirkit.checks import hashing


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
    "hamming_distances": (checks.check_hamming_distances, hashing.HAMMING_MISTAKES, solved_hamming),
    "best_rotation": (checks.check_best_rotation, hashing.ROTATION_MISTAKES, solved_rotation),
    "precision_in_radius": (checks.check_precision_in_radius, hashing.RADIUS_MISTAKES, solved_radius),
}


MUTANTS = (
    ("hamming_distances", lambda q, c: np.bitwise_xor(q[:, None], c[None]).sum(axis=2)),
    ("hamming_distances", lambda q, c: solved_hamming(q, c) / (8 * q.shape[1])),
    ("hamming_distances", lambda q, c: solved_hamming(q[:, :1], c[:, :1])),
    ("best_rotation", lambda V, B: orthogonal_procrustes(B, V)[0]),
    ("best_rotation", lambda V, B: orthogonal_procrustes(V / np.linalg.norm(V, axis=0), B)[0]),
    ("best_rotation", lambda V, B: -orthogonal_procrustes(V, B)[0]),
    ("precision_in_radius", lambda d, r, radius: solved_radius(d, r, 2)),
    ("precision_in_radius", lambda d, r, radius: solved_radius(d, ~r, radius)),
    ("precision_in_radius", lambda d, r, radius: float((d[r] <= radius).mean()) if r.any() else 0.0),
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "answer"), MUTANTS)
def test_other_wrong_answers_are_rejected(name, answer):
    verdict = CHECKS[name][0](answer)
    assert verdict.status == "not yet", verdict
