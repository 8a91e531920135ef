"""Answers of learners to every exercise: right ones in another style or type pass, subtly wrong ones do not.

The tables stand beside the checks of their notebook: `RIGHT` holds answers, `WRONG` answers, too, or pairs of words that the
verdict has to say and an answer.
"""

import copy
import sys
import warnings

import numpy as np
import pytest
from test_checks import CHECKS, MODULES

from cbirkit import checks
from cbirkit.checks import active_learning

ALL = {
    name: entry[0] for name, entry in CHECKS.items()
} | {  # the others are judged by their result
    "better_choice": checks.check_better_choice,
    "better_alignment": checks.check_better_alignment,
    "better_feedback": checks.check_better_feedback,
    "better_map": checks.check_better_map,
    "better_probe": checks.check_better_probe,
    "rare_weights": checks.check_rare_weights,
    "better_ranking": checks.check_better_ranking,
    "better_relation": checks.check_better_relation,
    "better_vectors": checks.check_better_vectors,
    "give_back_colour": checks.check_give_back_colour,
    "short_vectors": checks.check_short_vectors,
    "sixteen_bytes": checks.check_sixteen_bytes,
    "groups_needed": checks.check_groups_needed,
    "keep_samples": checks.check_keep_samples,
}
RIGHT = {
    name: answers for module in MODULES for name, answers in getattr(module, "RIGHT", {}).items()
}
WRONG = {
    name: answers for module in MODULES for name, answers in getattr(module, "WRONG", {}).items()
}
RIGHT_ONES = [(name, n) for name in RIGHT for n in range(len(RIGHT[name]))]
WRONG_ONES = [(name, n) for name in WRONG for n in range(len(WRONG[name]))]


@pytest.fixture(scope="module", autouse=True)
def each_classifier_is_learned_once():
    """What "better_choice" compares with, images at random, is the same for every answer."""
    learn, known = active_learning.probabilities, {}

    def remembered(embeddings, labels, others):
        key = embeddings.tobytes(), labels.tobytes(), others.tobytes()
        if key not in known:
            known[key] = learn(embeddings, labels, others)
        return known[key].copy()

    active_learning.probabilities = remembered
    yield
    active_learning.probabilities = learn


def as_floats(value):
    """Whole numbers as floats, single or in arrays; all else as it is."""
    if isinstance(value, list | tuple):
        return type(value)(as_floats(part) for part in value)
    whole = np.asarray(value).dtype.kind in "iu"
    return np.asarray(value, dtype=float)[()] if whole else value


def as_other_sequence(value):
    """Arrays as lists, lists as tuples, tuples as arrays where their parts are numbers."""
    if isinstance(value, np.ndarray) and value.size:
        return value.tolist()
    if isinstance(value, list):
        return tuple(as_other_sequence(part) for part in value)
    return np.array(value) if isinstance(value, tuple) else value


STYLES = {
    "whole numbers as floats": as_floats,
    "other sequences": as_other_sequence,
    "NumPy scalars and single precision": lambda value: (
        np.float32(value) if isinstance(value, float) else value
    ),
    "a view": lambda value: value[::-1].copy()[::-1] if isinstance(value, np.ndarray) else value,
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", CHECKS)
def test_a_right_answer_of_another_type_passes(name, style):
    check, answer = CHECKS[name]
    verdict = check(lambda *arguments: STYLES[style](answer(*arguments)))
    assert verdict.passed, verdict


@pytest.mark.parametrize("name", CHECKS)
def test_a_right_answer_that_warns_prints_and_works_on_its_own_copy_passes(name, capfd):
    check, answer = CHECKS[name]

    def loud(*arguments):
        result = answer(*copy.deepcopy(arguments))
        spoil(copy.deepcopy(arguments))
        warnings.warn("look out", stacklevel=1)
        print("look out", file=sys.stderr)
        return result

    verdict = check(loud)
    assert verdict.passed and "look out" not in capfd.readouterr().err, verdict


def spoil(arguments):
    """Change the first argument that can be changed; say whether there is one."""
    for one in arguments:
        if isinstance(one, np.ndarray) and one.size:
            one[...] = (
                one.ravel()[::-1].reshape(one.shape)
                if len(set(one.ravel().tolist())) > 1
                else one.dtype.type(0)
            )
            return True
        if isinstance(one, list) and one:
            one.pop()
            return True
    return False


@pytest.mark.parametrize("name", CHECKS)
def test_an_answer_that_changes_what_it_is_given_is_told_so(name):
    check, answer = CHECKS[name]

    def changing(*arguments):
        result = answer(*arguments)
        spoil(arguments)
        return copy.deepcopy(result)

    verdict = check(changing)
    assert not verdict.passed and "changed its input" in verdict.message, verdict


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [  # the mistake is told although it is written so that an edge case raises or gives NaN
        (
            "mended_average_precision",
            lambda r, n: (r.cumsum() / np.arange(1, len(r) + 1))[r].mean(),
            "divided by the number of hits",
        ),
        (
            "mended_average_precision",
            lambda r, n: sum(r[: i + 1].mean() for i in np.flatnonzero(r)) / int(r.sum()),
            "divided by the number of hits",
        ),
        (
            "precision_in_radius",
            lambda d, r, x: (
                sum(v := [b[a <= x].mean() for a, b in zip(d, r, strict=True) if (a <= x).any()])
                / len(v)
            ),
            "You skipped the queries with nobody inside",
        ),
    ],
)
def test_a_mistake_is_told_where_it_also_spoils_an_edge_case(name, answer, words):
    verdict = ALL[name](answer)
    assert not verdict.passed and words in verdict.message and verdict.worth == 0, verdict


@pytest.mark.parametrize("name", ALL)
def test_every_exercise_has_been_tried(name):
    assert len(RIGHT[name]) >= 4 and len(WRONG[name]) >= 10


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "number"), RIGHT_ONES)
def test_right_answers_in_another_style_pass(name, number):
    verdict = ALL[name](RIGHT[name][number])
    assert verdict.passed, verdict


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "number"), WRONG_ONES)
def test_wrong_answers_are_told_what_is_wrong(name, number):
    wrong = WRONG[name][number]
    words, answer = wrong if isinstance(wrong, tuple) else ("for ", wrong)
    verdict = ALL[name](answer)
    assert verdict.status == "not yet" and words in verdict.message, verdict
