"""Checks of notebook 17: the CORAL distance, reciprocal rank across domains, and a better alignment."""

from functools import partial

import numpy as np

from .running import ahead, mean_precision, open_answer, run_check

_GAIN, _SECONDS = 0.03, 60


def check_coral_distance(answer):
    """Check ``coral_distance(source, target)``: how far apart the covariances of two domains are.

    Parameters
    ----------
    answer : callable
        Takes `source` (n, d) and `target` (m, d); returns the sum of the squared differences of their covariances (divided by n and m),
        over 4 d².

    Returns
    -------
    Verdict

    References
    ----------
    Sun and Saenko, "Deep CORAL", ECCV workshops 2016, arXiv 1607.01719. They divide covariances by n - 1.

    Examples
    --------
    >>> check_coral_distance(lambda source, target: 0.0).passed
    False
    """
    return run_check(answer, _coral_distance, _coral_cases(), mistakes=CORAL_MISTAKES)


def _coral_distance(source, target, less=0, centre=True):
    covariances = []
    for rows in (source, target):
        rows = rows - rows.mean(axis=0) * centre
        covariances.append(rows.T @ rows / (len(rows) - less))
    return float(((covariances[0] - covariances[1]) ** 2).sum() / (4 * source.shape[1] ** 2))


def _coral_cases():
    random = np.random.RandomState(0)
    rows = random.randn(30, 4) @ np.diag([3.0, 2, 1, 0.5])
    turned = rows @ np.linalg.qr(random.randn(4, 4))[0]
    yield from [
        ("two random domains", rows, 2 * random.randn(20, 4)),
        ("the same rows moved by a constant", rows, rows + 7),
        ("the same rows, turned", rows, turned),
        ("two domains far from 0", rows + 50, random.randn(25, 4) - 30),
        ("the same rows in another order", rows, rows[::-1].copy()),
        ("one dimension", rows[:, :1], random.randn(9, 1)),
        ("fewer rows than dimensions", random.randn(3, 8), random.randn(5, 8)),
        ("a domain of one row", random.randn(1, 4), rows),
        ("a domain without spread", np.ones((6, 4)), rows),
        ("vectors of length 1", *(x / np.linalg.norm(x, axis=1, keepdims=True) for x in (rows, turned))),
    ]  # fmt: skip


def _differently(distance):
    def wrong(source, target):
        a, b = (np.atleast_2d(np.cov(rows.T, bias=True)) for rows in (source, target))
        return float(distance(a, b, len(a)))

    return wrong


CORAL_MISTAKES = {
    "Take the mean of each domain away first: these are second moments, not covariances.": partial(
        _coral_distance, centre=False
    ),
    "You divided by n - 1: here a covariance is a mean over the n rows.": partial(
        _coral_distance, less=1
    ),
    "The sum is divided by 4 d², not by d².": _differently(
        lambda a, b, d: ((a - b) ** 2).sum() / d**2
    ),
    "Divide by d squared: 4 d is too little.": _differently(
        lambda a, b, d: ((a - b) ** 2).sum() / (4 * d)
    ),
    "Divide the sum by 4 d².": _differently(lambda a, b, d: ((a - b) ** 2).sum()),
    "This is the norm; square it.": _differently(
        lambda a, b, d: np.linalg.norm(a - b) / (4 * d**2)
    ),
    "Only variances are compared, the diagonal: compare all of the covariances.": _differently(
        lambda a, b, d: ((np.diag(a) - np.diag(b)) ** 2).sum() / (4 * d**2)
    ),
    "Differences are squared, not taken as absolute values.": _differently(
        lambda a, b, d: np.abs(a - b).sum() / (4 * d**2)
    ),
    "This compares total variances: turned domains look the same.": _differently(
        lambda a, b, d: (np.trace(a) - np.trace(b)) ** 2 / (4 * d**2)
    ),
    "You compared the means; CORAL compares covariances.": lambda s, t: float(
        ((s.mean(0) - t.mean(0)) ** 2).sum() / (4 * s.shape[1] ** 2)
    ),
    "Each domain has its own mean: do not take away that of both together.": lambda s, t: (
        _coral_distance(*(x - np.vstack([s, t]).mean(0) for x in (s, t)), centre=False)
    ),
}


def check_reciprocal_rank_across(answer):
    """Check ``reciprocal_rank_across(right, other)``: how early the first right result of the *other* domain comes, in a mixed list.

    Parameters
    ----------
    answer : callable
        Takes `right` and `other` (n_queries, k), bool, in the order of the results: is it right, is it of the other domain? Returns the
        mean over the queries of 1 / rank of the first right result of the other domain, where ranks count results of the other
        domain only; 0 for a query without one, NaN if there is no query.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> check_reciprocal_rank_across(lambda right, other: 1.0).passed
    False
    """
    cases = _rank_cases()
    return run_check(answer, _reciprocal_rank_across, cases, mistakes=RANK_MISTAKES)


def _reciprocal_rank_across(right, other, score=None):
    score = score or (lambda hits, rank: 1 / rank[hits][0] if hits.any() else 0.0)
    each = [score(r & o, o.cumsum()) for r, o in zip(right, other, strict=True)]
    return float(np.mean(each)) if each else float("nan")


def _rank_cases():
    random = np.random.RandomState(1)

    def rows(*texts):
        """x right and o wrong of the other domain, X and O of the query's own."""
        table = np.array([list(text) for text in texts])
        return np.isin(table, ["x", "X"]), np.isin(table, ["x", "o"])

    yield "a right one at the top", *rows("xoXO")
    yield "right ones of the own domain before it", *rows("XXox")
    yield "only wrong ones of the other domain before it", *rows("ooxX")
    yield "several right ones", *rows("OoxxO")
    yield "right ones of the own domain only", *rows("XoXo")
    yield "nothing of the other domain", *rows("XOX")
    yield "two queries, one of them without", *rows("XoXx", "OOXo")
    yield "three queries", *rows("xOoX", "OOXx", "oOox")
    yield "one result", *rows("x")
    yield "no result", np.zeros((2, 0), bool), np.zeros((2, 0), bool)
    yield "no query", np.zeros((0, 5), bool), np.zeros((0, 5), bool)
    yield "random lists", random.rand(20, 12) < 0.2, random.rand(20, 12) < 0.4


def _on_all(right, other):
    return _reciprocal_rank_across(right & other, np.ones_like(other))


def _with_score(score):
    return partial(_reciprocal_rank_across, score=score)


def _without_missing(right, other):
    found = (right & other).any(axis=1)
    return _reciprocal_rank_across(right[found], other[found])


RANK_MISTAKES = {
    "Results of the query's own domain must not be counted: delete them before you count ranks.": _on_all,
    "Right results of the own domain do not count either.": lambda right, other: (
        _reciprocal_rank_across(right, np.ones_like(other))
    ),
    "Any result of the other domain counts in your version: it has to be right, too.": lambda right, other: (
        _reciprocal_rank_across(other, other)
    ),
    "A query without a right one counts as 0; you left it out.": _without_missing,
    "Ranks begin at 1: yours is one too large.": _with_score(
        lambda hits, rank: 1 / (rank[hits][0] + 1) if hits.any() else 0.0
    ),
    "This is the last right one: take the first.": _with_score(
        lambda hits, rank: 1 / rank[hits][-1] if hits.any() else 0.0
    ),
    "This averages over all right ones of a query: only the first counts.": _with_score(
        lambda hits, rank: float((1 / rank[hits]).mean()) if hits.any() else 0.0
    ),
    "This is the mean rank; take the mean of 1 / rank.": _with_score(
        lambda hits, rank: float(rank[hits][0]) if hits.any() else 0.0
    ),
    "This is whether the first one is right, not 1 / rank.": _with_score(
        lambda hits, rank: float(hits.any() and rank[hits][0] == 1)
    ),
    "This is the precision of the other domain's results; only the first right one counts.": _with_score(
        lambda hits, rank: hits.sum() / max(rank[-1:].sum(), 1)
    ),
    "Without a query there is no mean: return NaN.": lambda right, other: (
        _reciprocal_rank_across(right, other) if len(right) else 0.0
    ),
    "Take the mean over queries, not the best of them.": lambda right, other: (
        max((_reciprocal_rank_across(r[None], o[None]) for r, o in zip(right, other, strict=True)), default=float("nan"))
    ),
}  # fmt: skip


def check_better_alignment(answer):
    """Check ``better_alignment(drawings, photographs)``, an open exercise: align two domains better than their means do.

    Parameters
    ----------
    answer : callable
        Takes `drawings` (n, d) and `photographs` (m, d), vectors of length 1 without labels; returns both, aligned, (n, e) and (m, e),
        which are compared by cosine. It is run on half of the sketches, then of the cartoons, of PACS, each with half of the
        photographs, three draws each, and must reach the mAP of per-domain means plus 0.03: the mean over draws, domains and
        both directions.

    Returns
    -------
    Verdict
        The message tells both scores.

    Examples
    --------
    >>> check_better_alignment(lambda drawings, photographs: (drawings, photographs)).status
    'not yet'
    """
    name = "better_alignment"
    ours, theirs = [], []
    for drawings, photographs, right in _pacs_pairs():
        given, fault = (drawings, photographs), partial(_no_sides, len(drawings), len(photographs))
        sides, ended = open_answer(name, answer, given, _SECONDS, fault)
        if ended:
            return ended
        ours.append(_both_ways(*(np.asarray(side, dtype=float) for side in sides), right))
        centred = (side - side.mean(axis=0) for side in (drawings, photographs))
        theirs.append(_both_ways(*centred, right))
    why = "what do the neighbours of a drawing, among drawings, tell?"
    return ahead(name, ours, theirs, _GAIN, "mAP is {:.3f}, that of per-domain means {:.3f}", why)


def _pacs_pairs():
    """Drawings, photographs, and which of them show the same class, for two domains and three draws."""
    from cbirkit.datasets import load_real

    pacs = load_real("pacs")
    vectors, domains = pacs.embeddings("lite0").astype(float), pacs.column("domain")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for seed in range(3):
        random = np.random.RandomState(seed)
        half = random.permutation(len(vectors))[: len(vectors) // 2]  # in no order of classes
        for other in ("sketch", "cartoon"):
            a, b = (half[domains[half] == name] for name in (other, "photo"))
            yield vectors[a], vectors[b], pacs.labels[a][:, None] == pacs.labels[b]


def _both_ways(a, b, right):
    a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (a, b))
    return (mean_precision(a @ b.T, right) + mean_precision(b @ a.T, right.T)) / 2


def _no_sides(n, m, value):
    try:
        a, b = (np.asarray(side, dtype=float) for side in value)
    except (TypeError, ValueError, RuntimeError):
        return f"expected two arrays, of {n} and {m} rows, got {type(value).__name__}."
    if a.ndim != 2 or b.ndim != 2 or (len(a), len(b)) != (n, m) or a.shape[1] != b.shape[1]:
        return f"expected shapes ({n}, e) and ({m}, e), got {a.shape} and {b.shape}."
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return "some numbers are not finite: is there a division by 0?"
    return None
