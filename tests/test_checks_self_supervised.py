"""The checks of notebook 08: right answers pass, wrong ones get the sentence that names the mistake."""

import numpy as np
import torch

from cbirkit import checks


def solved_masked(similarities, partner, known, temperature):
    logits = np.where(known | np.eye(len(known), dtype=bool), -np.inf, similarities / temperature)
    rows = np.arange(len(partner))
    logits[rows, partner] = similarities[rows, partner] / temperature
    return float((np.logaddexp.reduce(logits, axis=1) - logits[rows, partner]).mean())


def solved_rank(embeddings):
    values = np.linalg.svd(embeddings, compute_uv=False)
    parts = values[values > 1e-9 * values.max()] / max(values.sum(), 1e-300)
    return float(np.exp(-(parts * np.log(parts)).sum())) if len(parts) else 0.0


def unit(X):
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)


def centred(X):
    return unit(X - X.mean(axis=0))


def joined(learned, colour, weight=1.0):
    """Both parts centred, at lengths that stand to each other as 1 to `weight`; square roots of counts."""
    return np.hstack([centred(learned), weight * centred(np.sqrt(colour))])


def standardised(learned, colour):
    return np.hstack(
        [unit((X - X.mean(axis=0)) / (X.std(axis=0) + 1e-9)) for X in (learned, colour)]
    )


def summed_similarities(learned, colour):
    """Rows of similarities to all others, as embeddings that have the sum of both cosines."""
    sum_of_both = sum(X @ X.T for X in (centred(learned), centred(np.sqrt(colour))))
    values, vectors = np.linalg.eigh(sum_of_both)
    return vectors * np.sqrt(np.maximum(values, 0))


CHECKS = {
    "masked_nt_xent": (checks.check_masked_nt_xent, solved_masked),
    "effective_rank": (checks.check_effective_rank, solved_rank),
}


def masked_by_loop(similarities, partner, known, temperature):
    losses = []
    for i in range(len(partner)):
        logits = [
            similarities[i, j] / temperature
            for j in range(len(partner))
            if j != i and (j == partner[i] or not known[i, j])
        ]
        top = max(logits)
        total = top + np.log(sum(np.exp(one - top) for one in logits))
        losses.append(total - similarities[i, partner[i]] / temperature)
    return sum(losses) / len(losses)


def masked_in_torch(similarities, partner, known, temperature, leave_copy=True):
    logits = torch.from_numpy(similarities / temperature)
    partner = torch.from_numpy(partner)
    gone = torch.from_numpy(known).clone()
    gone |= torch.eye(len(gone), dtype=torch.bool)
    gone[torch.arange(len(gone)), partner] = False
    return torch.nn.functional.cross_entropy(logits.masked_fill(gone, -torch.inf), partner)


def rank_by_gram(embeddings):
    small = embeddings.T @ embeddings
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(small.astype(float)), 0))
    values = values[values > 1e-6 * values.max()]
    if not len(values):
        return 0
    parts = values / values.sum()
    return np.prod(parts**-parts)


def rank_in_torch(embeddings):
    values = torch.linalg.svdvals(torch.from_numpy(embeddings).double())
    if values.sum() == 0:
        return torch.tensor(0.0)
    parts = values / values.sum()
    return torch.special.entr(parts).sum().exp()


RIGHT = {
    "masked_nt_xent": (
        masked_by_loop,
        masked_in_torch,
        lambda *a: np.array(solved_masked(*a)),
        lambda s, p, k, t: solved_masked(s.T, p, k.T, t),
    ),
    "effective_rank": (
        rank_by_gram,
        rank_in_torch,
        lambda X: solved_rank(X.T),
        lambda X: np.float64(solved_rank(-3 * X)),
    ),
    "give_back_colour": (
        joined,
        standardised,
        summed_similarities,
        lambda learned, colour: torch.from_numpy(7 * joined(learned, colour, 0.9)),
        lambda learned, colour: joined(learned, colour, 0.8).tolist(),
    ),
}


def without_shift(s, p, k, t):
    keep = ~k & ~np.eye(len(k), dtype=bool)
    keep[np.arange(len(p)), p] = True
    e = np.exp(s / t)
    return -np.log(e[np.arange(len(p)), p] / (e * keep).sum(axis=1)).mean()


WRONG = {
    "masked_nt_xent": (
        ("still count as negatives", lambda s, p, k, t: solved_masked(s, p, k & False, t)),
        ("temperature is missing", lambda s, p, k, t: solved_masked(s, p, k, 1.0)),
        ("exp overflows", without_shift),
        ("other sign", lambda *a: -masked_by_loop(*a)),
        ("This is the sum", lambda s, *a: len(s) * masked_by_loop(s, *a)),
        lambda s, p, k, t: solved_masked(s, p, ~k, t),
        lambda s, p, k, t: solved_masked(s**2, p, k, t),
        lambda s, p, k, t: solved_masked(s, p, k, t) / np.log(2),
        lambda s, p, k, t: solved_masked(s, p, k, t) * t,
        lambda s, p, k, t: solved_masked(s, p, k, t**2),
        lambda s, p, k, t: float(np.exp(solved_masked(s, p, k, t))),
        lambda s, p, k, t: max(solved_masked(s, p, k, t), 0.05),
        lambda s, p, k, t: solved_masked(np.maximum(s, 0), p, k, t),
        ("need not be half a batch", lambda s, p, k, t: solved_masked(s, np.roll(np.arange(len(s)), len(s) // 2), k, t)),
    ),
    "effective_rank": (
        ("squared singular values", lambda X: solved_rank(np.asarray(X, float).T @ X)),
        ("This is the entropy", lambda X: np.log(max(solved_rank(X), 1e-9)) if X.any() else 0.0),
        ("subtracted the mean", lambda X: solved_rank(X - X.mean(axis=0))),
        ("singular values above 0", lambda X: np.linalg.matrix_rank(X)),
        ("rows to length 1", lambda X: solved_rank(X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12))),
        lambda X: min(X.shape),
        lambda X: X.shape[1],
        lambda X: max(solved_rank(X), 1.0),
        lambda X: round(solved_rank(X)),
        lambda X: solved_rank(np.abs(X)),
        lambda X: solved_rank(X[:-1]) if len(X) > 1 else 1.0,
        lambda X: solved_rank(X - X.mean()),
        lambda X: solved_rank(X) + 1,
        lambda X: solved_rank(X / (X.std(axis=0) + 1e-9)),
    ),
    "give_back_colour": (
        ("your mAP is", lambda learned, colour: learned),
        ("your mAP is", lambda learned, colour: colour),
        ("your mAP is", lambda learned, colour: np.hstack([learned, colour])),
        ("your mAP is", lambda learned, colour: np.hstack([unit(learned), unit(colour)])),
        ("your mAP is", lambda learned, colour: joined(learned, colour, 0.2)),
        ("your mAP is", lambda learned, colour: joined(learned, colour, 3.0)),
        ("your mAP is", lambda learned, colour: joined(learned, colour[::-1])),
        ("your mAP is", lambda learned, colour: np.zeros_like(learned)),
        ("of shape", lambda learned, colour: joined(learned, colour)[:-1]),
        ("of shape", lambda learned, colour: (learned, colour)),
        ("of shape", lambda learned, colour: None),
        ("of shape", lambda learned, colour: learned[0]),
        ("finite", lambda learned, colour: joined(learned, colour) * np.nan),
        ("copy", lambda learned, colour: learned.fill(0) or joined(learned, colour)),
        ("ZeroDivisionError", lambda learned, colour: 1 / 0),
        ("function", "no function"),
    ),
}  # fmt: skip


def test_a_stub_of_the_open_exercise_is_not_attempted():
    def stub(learned, colour):
        raise NotImplementedError

    assert checks.check_give_back_colour(stub).status == "not attempted"
