"""Retrieval metrics: pure functions of ranked arrays, nearest first, vectorised over all but the last axis.

Every function takes an array of shape ``(..., k)`` and returns ``(...)`` (a float for one ranking). Junk has
been deleted before: the functions only see what counts. A query without positives gives NaN;
`cbirkit.evaluate` leaves it out of the mean and counts it. Tied distances are taken in the order given,
except by `expected_average_precision`. `alignment` and `uniformity` look at embeddings (n_images, n_dims) instead.

`METRICS` is the one table of what `cbirkit.evaluate` and the Metric Lab know by name:

"""

from .geometry import alignment, uniformity
from .ranked import (
    METRICS,
    average_precision,
    average_precision_at_k,
    dcg_at_k,
    expected_average_precision,
    find_metric,
    first_positive_rank,
    hit_rate_at_k,
    map_at_r,
    ndcg_at_k,
    precision_at_k,
    r_precision,
    recall_at_k,
    ukbench_score,
)

__doc__ += "\n".join(f"- ``{m.name}``: {m.formula}".replace("{k}", "K") for m in METRICS)

__all__ = [
    "METRICS", "alignment", "average_precision", "average_precision_at_k", "dcg_at_k",
    "expected_average_precision", "find_metric", "first_positive_rank", "hit_rate_at_k", "map_at_r",
    "ndcg_at_k", "precision_at_k", "r_precision", "recall_at_k", "ukbench_score", "uniformity",
]  # fmt: skip
