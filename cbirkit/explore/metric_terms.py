"""How the numbers of the Metric Lab come about: a term for each rank, and a line to calculate with.

Each function takes a `Listing` (or returns one that does) and gives (terms, formula): a text for each result that
counts, and the whole as arithmetic that Python would evaluate. The values themselves come from `cbirkit.metrics`;
the tests evaluate the formulas and compare.
"""

from fractions import Fraction

import numpy as np


def _ratio(number, rank):
    return f"{number}/{rank}"


def _sum(terms, divisor):
    return f"({' + '.join(terms)}) / {divisor}" if terms else f"0 / {divisor}"


def _precision_terms(relevant, last=None):
    """Hits / rank at every relevant rank up to `last`, "" elsewhere."""
    hits, terms = np.cumsum(relevant), []
    for rank, (good, number) in enumerate(zip(relevant, hits, strict=True), start=1):
        terms.append(_ratio(number, rank) if good and (last is None or rank <= last) else "")
    return terms


def step_terms(divide, last=lambda one: None):
    """Explain a sum of precisions at hits, up to rank `last`, over what `divide` says."""

    def explain(one):
        terms = _precision_terms(one.relevant, last(one))
        return terms, _sum([term for term in terms if term], divide(one))

    return explain


def trapezoid_terms(one):
    """The trapezoid of the Oxford and Paris code."""
    hits, terms = np.cumsum(one.relevant), []
    for rank, (good, number) in enumerate(zip(one.relevant, hits, strict=True), start=1):
        before = _ratio(number - 1, rank - 1) if rank > 1 else "1"
        terms.append(f"({before} + {_ratio(number, rank)})/2" if good else "")
    return terms, _sum([term for term in terms if term], one.n_positives)


def count_terms(divide, last):
    """Explain hits up to rank `last` over what `divide` says."""

    def explain(one):
        terms = [
            "1" if good and rank <= last(one) else ""
            for rank, good in enumerate(one.relevant, start=1)
        ]
        return terms, f"{terms.count('1')} / {divide(one)}"

    return explain


def any_terms(one):
    """1 at each hit among the first k."""
    terms = [
        "1" if good and rank <= one.k else "" for rank, good in enumerate(one.relevant, start=1)
    ]
    return terms, "1" if "1" in terms else "0"


def _gain_terms(gains, kind, k):
    numbers = [2 ** int(g) - 1 if kind == "exponential" else int(g) for g in gains[:k]]
    return [f"{n}/log2({rank + 1})" if n else "" for rank, n in enumerate(numbers, start=1)]


def ndcg_terms(kind):
    """Explain nDCG with exponential or linear gains."""

    def explain(one):
        terms = _gain_terms(one.gains, kind, one.k)
        best = _gain_terms(-np.sort(-one.ideal), kind, one.k)
        parts = [" + ".join(t for t in part if t) or "0" for part in (terms, best)]
        return terms + [""] * (len(one.gains) - len(terms)), f"({parts[0]}) / ({parts[1]})"

    return explain


def _blocks(one):
    """(first, end, relevant) of each group of ties among what counts."""
    starts = np.flatnonzero(np.concatenate([[True], np.diff(one.distances) > 0]))
    ends = [*starts[1:], len(one.distances)]
    return [
        (int(a), int(b), int(one.relevant[a:b].sum())) for a, b in zip(starts, ends, strict=True)
    ]


def expected_terms(one):
    """What each rank adds in expectation over the orders within ties, as fractions."""
    terms, hits = [], 0
    for start, end, found in _blocks(one) if len(one.relevant) else ():
        size = end - start
        for i in range(size):
            before = Fraction(i * (found - 1), size - 1) if size > 1 else Fraction(0)
            term = Fraction(found, size) * (hits + 1 + before) / (start + i + 1)
            terms.append(str(term) if found else "")
        hits += found
    return terms, _sum([term for term in terms if term], one.n_positives)


def extreme_terms(best):
    """Explain AP with the positives first (or last) within each tie."""

    def explain(one):
        order = one.relevant.copy()
        for start, end, _ in _blocks(one) if len(order) else ():
            order[start:end] = (
                -np.sort(-order[start:end].astype(int)) if best else np.sort(order[start:end])
            )
        terms = _precision_terms(order)
        return terms, _sum([term for term in terms if term], one.n_positives)

    return explain


def first_terms(one):
    """The rank of the first hit."""
    where = np.flatnonzero(one.relevant)
    terms = ["" for _ in one.relevant]
    if len(where):
        terms[where[0]] = str(where[0] + 1)
    return terms, str(where[0] + 1) if len(where) else "inf"
