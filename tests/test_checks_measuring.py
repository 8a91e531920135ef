"""The checks of notebook 01: right answers pass, wrong ones get the sentence that names the mistake."""

import math

import numpy as np
import pytest

from cbirkit import checks
from cbirkit.checks import measuring_protocol as protocol
from cbirkit.checks import measuring_retrieval as measuring


def plain_average_precision(relevant, n_positives):
    """Written down from the definition, another way than in the check."""
    if n_positives == 0:
        return math.nan
    return sum(relevant[: i + 1].mean() for i in np.flatnonzero(relevant)) / n_positives


def plain_interval(scores, draws):
    scored = [score for score in scores if not math.isnan(score)]
    means = sorted(sum(scored[i] for i in draw) / len(draw) for draw in draws)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


CHECKS = {  # exercise: (check, its known mistakes, a right answer written independently of the check)
    "average_precision": (
        checks.check_average_precision,
        measuring.AVERAGE_PRECISION_MISTAKES,
        plain_average_precision,
    ),
    "mended_average_precision": (
        checks.check_mended_average_precision,
        measuring.MENDED_MISTAKES,
        plain_average_precision,
    ),
    "counted_results": (
        checks.check_counted_results,
        protocol.COUNTED_MISTAKES,
        lambda ranked_ids, query_id, junk_ids: np.array(
            [one for one in ranked_ids if one != query_id and one not in junk_ids], dtype=object
        ),
    ),
    "bootstrap_interval": (checks.check_bootstrap_interval, protocol.INTERVAL_MISTAKES, plain_interval),
}


def more_mutants():
    """Wrong answers that are not among the known mistakes: rejected all the same."""
    for name in ("average_precision", "mended_average_precision"):
        yield name, lambda relevant, n_positives: relevant.mean()
        yield name, lambda relevant, n_positives: round(plain_average_precision(relevant, n_positives), 2)
        yield name, lambda relevant, n_positives: plain_average_precision(relevant[::-1], n_positives)
    yield "counted_results", lambda ranked_ids, query_id, junk_ids: np.unique(ranked_ids)
    yield "counted_results", lambda ranked_ids, query_id, junk_ids: ranked_ids[:0]
    yield "bootstrap_interval", lambda scores, draws: (float(np.nanmin(scores)), float(np.nanmax(scores)))
    yield "bootstrap_interval", lambda scores, draws: tuple(x + 0.001 for x in plain_interval(scores, draws))


@pytest.mark.parametrize(("name", "answer"), list(more_mutants()))
def test_other_wrong_answers_are_rejected(name, answer):
    assert CHECKS[name][0](answer).status == "not yet"


def test_the_faulty_function_of_the_notebook_is_named_as_such():
    def faulty_average_precision(relevant, n_positives):
        hits, total = 0, 0.0
        for rank, is_relevant in enumerate(relevant, start=1):
            if is_relevant:
                total += hits / rank
                hits += 1
        return total / max(hits, 1)

    verdict = checks.check_mended_average_precision(faulty_average_precision)
    assert "as it stood" in verdict.message
