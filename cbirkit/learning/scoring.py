"""A score for validation: how well the images of a split find one another."""

import numpy as np

from cbirkit.encoders.base import check_choice, unit
from cbirkit.metrics import average_precision, map_at_r
from cbirkit.ranking.codes import aligned, index_of

from .batches import class_numbers

_BLOCK = 512  # queries ranked at a time, so that memory stays small
_METRICS = {"map": average_precision, "map@r": map_at_r}


def retrieval_score(embeddings, labels, *, metric="map"):
    """Mean average precision (0 to 1) when each embedding in turn is the query and all others are the database, by cosine.

    AP is the mean of the precision at the rank of each image with the query's label. Queries whose label no
    other image has do not count. Give it to `train` as the score of a validation split: ``validate=lambda
    network: retrieval_score(embed(network), labels)``.

    Parameters
    ----------
    embeddings : array (n_images, n_dims)
        Of any length; a zero vector is at cosine 0 to all.
    labels : sequence (n_images,)
    metric : {"map", "map@r"}
        "map@r" looks at the first R ranks only, where R is the number of positives (`cbirkit.metrics.map_at_r`).

    Returns
    -------
    float
        NaN if no label occurs twice.

    Raises
    ------
    ValueError
        Numbers of embeddings and labels differ, a label is missing, or the metric is unknown.

    Examples
    --------
    >>> round(retrieval_score([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], ["a", "a", "b", "a"]), 3)
    0.861
    """
    check_choice("metric", metric, _METRICS)
    rows = np.asarray(embeddings, dtype=np.float32)
    _, targets = class_numbers(aligned(labels, index_of(embeddings), "labels"), len(rows))
    rows, values = unit(rows), []
    for start in range(0, len(rows), _BLOCK):
        cosines = rows[start : start + _BLOCK] @ rows.T  # (n, n_images)
        own = np.arange(start, start + len(cosines))
        cosines[own - start, own] = -np.inf  # the query itself comes last, and is cut off
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :-1]
        values.extend(_METRICS[metric](targets[order] == targets[own, None]))
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
