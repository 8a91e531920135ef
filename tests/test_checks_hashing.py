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
    "hamming": (checks.check_hamming_distances, hashing.HAMMING_MISTAKES, solved_hamming),
    "rotation": (checks.check_best_rotation, hashing.ROTATION_MISTAKES, solved_rotation),
    "radius": (checks.check_precision_in_radius, hashing.RADIUS_MISTAKES, solved_radius),
}


@pytest.mark.parametrize("name", CHECKS)
def test_right_answers_pass(name):
    check, _, solved = CHECKS[name]
    verdict = check(solved)
    assert verdict.passed, verdict


@pytest.mark.parametrize(
    ("name", "number"), [(n, i) for n, (_, mistakes, _) in CHECKS.items() for i in range(len(mistakes))]
)
def test_mistakes_are_rejected_and_named(name, number):
    check, mistakes, _ = CHECKS[name]
    verdict = check(mistakes[number].answer)
    assert verdict.status == "not yet" and mistakes[number].sentence in verdict.message, verdict


@pytest.mark.parametrize("name", CHECKS)
def test_a_stub_is_not_attempted(name):
    def stub(*arguments):
        raise NotImplementedError

    assert CHECKS[name][0](stub).status == "not attempted"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("answer", [lambda *a: None, lambda *a: a[0], lambda: 1, lambda *a: a[99]])
def test_nonsense_is_rejected_without_an_exception(name, answer):
    verdict = CHECKS[name][0](answer)
    assert verdict.status == "not yet" and verdict.message


MUTANTS = (
    ("hamming", lambda q, c: np.bitwise_xor(q[:, None], c[None]).sum(axis=2)),
    ("hamming", lambda q, c: solved_hamming(q, c) / (8 * q.shape[1])),
    ("hamming", lambda q, c: solved_hamming(q[:, :1], c[:, :1])),
    ("rotation", lambda V, B: orthogonal_procrustes(B, V)[0]),
    ("rotation", lambda V, B: orthogonal_procrustes(V / np.linalg.norm(V, axis=0), B)[0]),
    ("rotation", lambda V, B: -orthogonal_procrustes(V, B)[0]),
    ("radius", lambda d, r, radius: solved_radius(d, r, 2)),
    ("radius", lambda d, r, radius: solved_radius(d, ~r, radius)),
    ("radius", lambda d, r, radius: float((d[r] <= radius).mean()) if r.any() else 0.0),
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "answer"), MUTANTS)
def test_other_wrong_answers_are_rejected(name, answer):
    verdict = CHECKS[name][0](answer)
    assert verdict.status == "not yet", verdict
