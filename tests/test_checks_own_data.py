"""The checks of notebook 24: right answers pass, wrong ones get the sentence that names the mistake."""

import itertools

import numpy as np
import pandas as pd

from cbirkit import checks
from cbirkit.checks import own_data


def solved_copy_groups(ids, digests):
    pairs = sorted(zip(digests, ids, strict=True))
    groups = ([name for _, name in group] for _, group in itertools.groupby(pairs, key=lambda pair: pair[0]))
    return sorted(group for group in groups if len(group) > 1)


def solved_mean_over_classes(scores, labels):
    return pd.Series(scores).groupby(labels).mean().mean()


CHECKS = {
    "copy_groups": (checks.check_copy_groups, own_data.COPY_GROUPS_MISTAKES, solved_copy_groups),
    "mean_over_classes": (
        checks.check_mean_over_classes,
        own_data.MEAN_OVER_CLASSES_MISTAKES,
        solved_mean_over_classes,
    ),
}


def test_no_scores_is_nan_to_the_trusted_version():
    assert np.isnan(own_data._mean_over_classes(np.full(3, np.nan), np.array(["a", "a", "b"])))
