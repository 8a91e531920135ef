"""The checks of notebook 24: right answers pass, wrong ones get the sentence that names the mistake."""

import itertools

import numpy as np
import pandas as pd
import pytest

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
MISTAKES = [(name, i) for name, (_, mistakes, _) in CHECKS.items() for i in range(len(mistakes))]


@pytest.mark.parametrize("name", CHECKS)
def test_another_right_answer_passes(name):
    check, _, solved = CHECKS[name]
    assert check(solved).passed, check(solved)


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("answer", [lambda *a: None, lambda *a: a[0], lambda: 1, lambda *a: a[99]])
def test_nonsense_is_rejected_without_an_exception(name, answer):
    verdict = CHECKS[name][0](answer)
    assert verdict.status == "not yet" and verdict.message


@pytest.mark.parametrize(("name", "number"), MISTAKES)
def test_a_mistake_gets_the_sentence_that_names_it(name, number):
    check, mistakes, _ = CHECKS[name]
    verdict = check(mistakes[number].answer)
    assert verdict.status == "not yet" and verdict.message.endswith(mistakes[number].sentence)


def test_a_stub_is_not_attempted():
    def stub(*arguments):
        raise NotImplementedError

    for check, *_ in CHECKS.values():
        assert check(stub).status == "not attempted"


def test_no_scores_is_nan_to_the_trusted_version():
    assert np.isnan(own_data._mean_over_classes(np.full(3, np.nan), np.array(["a", "a", "b"])))
