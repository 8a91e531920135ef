"""Checks of notebook 08: NT-Xent with known copies left out, the effective rank of embeddings, and colour given back to them."""

from functools import partial

import numpy as np

from .running import Verdict, mean_precision, no_numbers, open_answer, run_check

_GAIN, _SECONDS, _DRAWS = 0.01, 20.0, 3


def check_masked_nt_xent(answer):
    """Check ``masked_nt_xent(similarities, partner, known, temperature)``: NT-Xent without negatives known to be none.

    Parameters
    ----------
    answer : callable
        Takes `similarities` (m, m) of m views, `partner` (m,), the position of each view's other view, `known` (m, m), bool: pairs that
        show the same object, which are not to be pushed apart, and `temperature`. Returns the mean over the views, a float. The view
        itself is never in the denominator, its partner always.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_masked_nt_xent(lambda similarities, partner, known, temperature: 0.0).passed
    False
    """
    return run_check(answer, _masked_nt_xent, _masked_cases(), mistakes=MASKED_MISTAKES)


def _masked_nt_xent(
    similarities,
    partner,
    known,
    temperature,
    *,
    itself=False,
    ignore=True,
    partner_in=True,
    first=None,
):
    m = len(similarities)
    rows, logits = np.arange(m), np.asarray(similarities, dtype=float) / temperature
    kept = np.ones((m, m), bool) if itself else ~np.eye(m, dtype=bool)
    if ignore:
        kept &= ~known | np.eye(m, dtype=bool)
    kept[rows, partner] = partner_in
    highest = np.where(kept, logits, -np.inf).max(axis=1, initial=-np.inf)
    highest = np.where(np.isfinite(highest), highest, 0)
    total = np.exp(np.where(kept, logits - highest[:, None], -np.inf)).sum(axis=1)
    with np.errstate(divide="ignore"):
        losses = np.log(total) + highest - logits[rows, partner]
    return float(losses[:first].mean())


def _masked_cases():
    random = np.random.RandomState(0)

    def case(about, n, *, temperature=0.5, copies=(), order=None, mark_partner=False, shift=0.0):
        X = random.randn(2 * n, 5)
        X /= np.linalg.norm(X, axis=1, keepdims=True)
        partner = np.arange(2 * n).reshape(2, n)[::-1].ravel()
        if order == "beside":
            partner = np.arange(2 * n) ^ 1
        elif order == "any":
            pairs = random.permutation(2 * n).reshape(n, 2)
            partner[pairs[:, 0]], partner[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]
        image = np.minimum(np.arange(2 * n), partner)
        for one, other in copies:
            image[image == image[other]] = image[one]
        known = image[:, None] == image
        if not mark_partner:
            known[np.arange(2 * n), partner] = False
            np.fill_diagonal(known, False)
        return about, X @ X.T + shift, partner, known, temperature

    yield case("four images, nothing known", 4)
    yield case("four images, two of which show the same object", 4, copies=[(0, 2)])
    yield case("views that stand beside each other", 4, copies=[(0, 2)], order="beside")
    yield case("views in any order", 5, copies=[(0, 4)], order="any")
    yield case("`known` marking the partner and the view itself, too", 4, copies=[(1, 3)], mark_partner=True)  # fmt: skip
    yield case("a low temperature", 6, temperature=0.05, copies=[(0, 1), (2, 3)])
    yield case("a temperature at which exp overflows", 4, temperature=0.0005, copies=[(0, 1)])
    yield case("one image: nothing to tell it from", 1)
    yield case("all images showing one object", 3, copies=[(0, 1), (0, 2)])
    yield case("similarities below 0", 4, shift=-2.0, copies=[(0, 3)])
    yield case("a batch of 12 images", 12, temperature=0.2, copies=[(0, 5), (1, 6), (5, 9)])


def _naive(similarities, partner, known, temperature):
    kept = ~known & ~np.eye(len(known), dtype=bool)
    kept[np.arange(len(known)), partner] = True
    with np.errstate(all="ignore"):
        e = np.exp(similarities / temperature)
        return float(-np.log(e[np.arange(len(e)), partner] / (e * kept).sum(axis=1)).mean())


def _known_as_positives(similarities, partner, known, temperature):
    positive = known & ~np.eye(len(known), dtype=bool)
    positive[np.arange(len(known)), partner] = True
    logits = np.where(np.eye(len(known), dtype=bool), -np.inf, similarities / temperature)
    highest = logits.max(axis=1, keepdims=True)
    total = np.log(np.exp(logits - highest).sum(axis=1, keepdims=True)) + highest
    each = np.where(positive, total - similarities / temperature, 0).sum(axis=1)
    return float((each / positive.sum(axis=1)).mean())


def _partner_masked(similarities, partner, known, temperature):
    known_partner = known[np.arange(len(known)), partner].all()
    return _masked_nt_xent(
        similarities, partner, known, temperature, partner_in=not known_partner or len(known) == 2
    )


MASKED_MISTAKES = {
    "The known pairs still count as negatives: leave them out of the denominator.": partial(
        _masked_nt_xent, ignore=False
    ),
    "Each view is in its own denominator: its similarity to itself is the largest there is.": partial(
        _masked_nt_xent, itself=True
    ),
    "The partner belongs into the denominator, too: without it, the loss can fall below 0.": partial(
        _masked_nt_xent, partner_in=False
    ),
    "`known` may mark the partner as well: it stays in the denominator all the same.": _partner_masked,
    "exp overflows at a low temperature: subtract the largest of each row first.": _naive,
    "The known pairs are not positives here: they are only no negatives.": _known_as_positives,
    "The temperature divides the similarities.": lambda s, p, k, t: _masked_nt_xent(s, p, k, 1 / t),
    "The temperature is missing.": lambda s, p, k, t: _masked_nt_xent(s, p, k, 1.0),
    "The loss is the negative logarithm: yours has the other sign.": lambda *a: (
        -_masked_nt_xent(*a)
    ),
    "This is the sum: take the mean over the views.": lambda s, *a: _masked_nt_xent(s, *a) * len(s),
    "This is the sum over the views, divided by the number of images: both views of each image count.": lambda s, *a: (
        2 * _masked_nt_xent(s, *a)
    ),
    "Only the first half of the views is in your mean: every view asks for its partner.": lambda s, *a: (
        _masked_nt_xent(s, *a, first=len(s) // 2)
    ),
    "`partner` says where the other view is: it need not be half a batch away.": lambda s, p, k, t: (
        _masked_nt_xent(s, np.roll(np.arange(len(s)), len(s) // 2), k, t)
    ),
}


def check_effective_rank(answer):
    """Check ``effective_rank(embeddings)``: in how many dimensions embeddings really lie (RankMe).

    Parameters
    ----------
    answer : callable
        Takes `embeddings` (n, d), returns exp of the entropy of the singular values, scaled to sum 1: a float from 1 to min(n, d); 0
        where all numbers are 0.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_effective_rank(lambda embeddings: 1.0).passed
    False
    """
    return run_check(answer, _effective_rank, _rank_cases(), mistakes=RANK_MISTAKES, tolerance=1e-5)


def _effective_rank(embeddings, power=1.0, then=np.exp):
    values = np.linalg.svd(np.asarray(embeddings, float), compute_uv=False) ** power
    if not values.sum():
        return 0.0
    parts = values / values.sum()
    parts = parts[parts > 1e-12]
    return float(then(-(parts * np.log(parts)).sum()))


def _rank_cases():
    random = np.random.RandomState(1)
    narrow = random.randn(40, 2) @ random.randn(2, 8)
    yield from [
        ("four directions at right angles", np.eye(4)),
        ("one row", np.array([[3.0, 4.0]])),
        ("embeddings that are all the same (collapsed)", np.ones((6, 3))),
        ("only zeros", np.zeros((4, 3))),
        ("lengths 3 and 1 at right angles", np.diag([3.0, 1.0])),
        ("40 embeddings of 8 numbers that lie in a plane", narrow),
        ("numbers drawn at random", random.randn(30, 6)),
        ("fewer embeddings than dimensions", random.randn(4, 9)),
        ("a mean far from 0", random.randn(20, 5) + 5),
        ("a dimension that is always 0", np.c_[random.randn(12, 3), np.zeros(12)]),
        ("small numbers", 1e-4 * random.randn(15, 4)),
        ("whole numbers", random.randint(-3, 4, (9, 4))),
    ]


def _on(change):
    return lambda X: _effective_rank(change(np.asarray(X, float)))


def _safe_unit(X):
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)


def _with_zeros(X):
    with np.errstate(all="ignore"):
        values = np.linalg.svd(np.asarray(X, float), compute_uv=False)
        parts = values / values.sum()
        return float(np.exp(-(parts * np.log(parts)).sum()))


RANK_MISTAKES = {
    "These are squared singular values (those of X @ X.T or X.T @ X): take those of X itself.": partial(
        _effective_rank, power=2.0
    ),
    "This is the entropy: its exp is the number of dimensions.": partial(
        _effective_rank, then=float
    ),
    "This is 2 to the power of an entropy in natural logarithms: use exp.": partial(
        _effective_rank, then=np.exp2
    ),
    "You subtracted the mean: here a mean far from 0 counts as a direction.": _on(
        lambda X: X - X.mean(axis=0)
    ),
    "You scaled rows to length 1: long embeddings count for more here.": _on(_safe_unit),
    "This counts singular values above 0: how unequal they are has to count.": lambda X: float(
        np.linalg.matrix_rank(X)
    ),
    "0 log 0 counts as 0: leave singular values of 0 out. Where all are 0, the answer is 0.": _with_zeros,
    "This is 1 over the sum of squared fractions (the participation ratio): use the entropy.": lambda X: (
        float(np.linalg.svd(X, compute_uv=False).sum() ** 2 / max((np.asarray(X, float) ** 2).sum(), 1e-300))
    ),
    "This is a fraction of the number of dimensions: do not divide by it.": lambda X: (
        _effective_rank(X) / np.shape(X)[1]
    ),
    "This is the sum over the largest singular value: use the entropy.": lambda X: float(
        np.linalg.svd(X, compute_uv=False).sum()
        / max(np.linalg.svd(X, compute_uv=False).max(), 1e-300)
    ),
}  # fmt: skip


def check_give_back_colour(answer):
    """Check ``give_back_colour(learned, colour)``, an open exercise: one embedding from two that ignore different things.

    Parameters
    ----------
    answer : callable
        Takes `learned` (n, 96), embeddings of SimCLR, and `colour` (n, d), colour histograms, of the same images; returns embeddings
        (n, e), which are compared by cosine. It is run on halves of flowers and of UC Merced, three draws each. The mean mAP of both
        sets must reach that of the better one of the two embeddings for each set, plus 0.01.

    Returns
    -------
    Verdict
        The message tells the mAP of both sets.

    Examples
    --------
    >>> check_give_back_colour(lambda learned, colour: learned).status
    'not yet'
    """
    name, scores = "give_back_colour", {}
    for which, learned, colour, right in _halves():
        fault = partial(no_numbers, (len(learned), None), what="embeddings")
        both, ended = open_answer(name, answer, (learned, colour), _SECONDS, fault)
        if ended:
            return ended
        found = [_mean_precision(rows, right) for rows in (both, learned, colour)]
        scores.setdefault(which, []).append(found)
    means = {which: np.mean(found, axis=0) for which, found in scores.items()}
    ours = np.mean([mean[0] for mean in means.values()])
    goal = np.mean([mean[1:].max() for mean in means.values()]) + _GAIN
    told = "; ".join(
        f"{which}: your mAP is {mean[0]:.3f}, SimCLR's {mean[1]:.3f}, colour's {mean[2]:.3f}"
        for which, mean in means.items()
    )
    if ours >= goal:
        return Verdict(name, "passed", f"{told}.", 1.0)
    why = f"reach {goal:.3f} on average, yours is {ours:.3f}. What does a cosine see of each part?"
    return Verdict(name, "not yet", f"{told}: {why}")


def _halves():
    """Name, embeddings, colour histograms and which pairs show one class, of half of a set."""
    from safetensors.numpy import load_file

    from cbirkit.datasets import load_real, shipped_file

    kept = load_file(shipped_file("self_supervised_vectors.safetensors"))
    for which in ("flowers", "ucmerced"):
        features = load_real(which)
        learned = kept[f"{which} SimCLR"].astype(float) + kept[f"{which} SimCLR centre"]
        colour = features.embeddings("colour").astype(float)
        for seed in range(_DRAWS):
            half = np.random.RandomState(seed).permutation(len(learned))[: len(learned) // 2]
            labels = features.labels[half]
            yield which, learned[half], colour[half], labels[:, None] == labels


def _mean_precision(rows, right):
    """MAP when every row asks for all others."""
    rows = _safe_unit(np.asarray(rows, dtype=float))
    scores = rows @ rows.T
    np.fill_diagonal(scores, -np.inf)  # itself is last, and not relevant
    return mean_precision(scores, right & ~np.eye(len(rows), dtype=bool))
