"""The checks of the exercises: right answers pass, wrong ones get the sentence that names the mistake."""

import importlib
import time
from pathlib import Path

import numpy as np
import pytest

from cbirkit import checks
from cbirkit.checks import Case, Mistake, start_here
from cbirkit.checks._compare import difference, short

START_HERE = {  # exercise: (check, its known mistakes, a right answer written independently of the check)
    "precision_at_k": (
        checks.check_precision_at_k,
        start_here.PRECISION_MISTAKES,
        lambda relevant, k: np.count_nonzero(relevant[:k]) / k,
    ),
    "leave_query_out": (
        checks.check_leave_query_out,
        start_here.LEAVE_OUT_MISTAKES,
        lambda query_id, ranked_ids, k: ranked_ids[ranked_ids != query_id][:k],
    ),
    "tiled_histogram": (
        checks.check_tiled_histogram,
        start_here.TILED_MISTAKES,
        lambda image, tiles, bins: (
            np.concatenate(
                [
                    np.histogramdd(tile.reshape(-1, 3), bins=bins, range=[(0, 256)] * 3)[0].ravel()
                    / (tile.size / 3)
                    for band in np.array_split(image, tiles)
                    for tile in np.array_split(band, tiles, axis=1)
                ]
            )
            / tiles**2
        ),
    ),
}
MODULES = [
    importlib.import_module(path.stem) for path in sorted(Path(__file__).parent.glob("test_checks_*.py"))
]
CHECKS = START_HERE | {name: entry for module in MODULES for name, entry in module.CHECKS.items()}
PAIRS = [(name, n) for name, (_, mistakes, _) in CHECKS.items() for n in range(len(mistakes))]


@pytest.mark.parametrize("name", CHECKS)
def test_a_right_answer_passes(name):
    check, _, answer = CHECKS[name]
    verdict = check(answer)
    assert verdict.passed and verdict.status == "passed" and verdict.exercise == name, verdict


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "number"), PAIRS)
def test_each_known_mistake_is_rejected_by_its_own_sentence(name, number):
    check, mistakes, _ = CHECKS[name]
    verdict = check(mistakes[number].answer)
    assert not verdict.passed
    assert verdict.message.endswith(mistakes[number].sentence), verdict


@pytest.mark.parametrize("name", CHECKS)
def test_each_check_knows_at_least_three_mistakes(name):
    mistakes = CHECKS[name][1]
    assert len({mistake.sentence for mistake in mistakes}) == len(mistakes) >= 3


@pytest.mark.parametrize("name", CHECKS)
def test_an_untouched_stub_is_not_attempted(name):
    def stub(*arguments):
        raise NotImplementedError

    verdict = CHECKS[name][0](stub)
    assert verdict.status == "not attempted" and not verdict.passed


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda *arguments: None, "return"),
        (lambda *arguments: "seven", "seven"),
        (lambda *arguments: np.zeros((2, 3, 4)), "(2, 3, 4)"),
        (lambda: 1, "TypeError"),
        (lambda *arguments: arguments[99], "IndexError"),
        (3.5, "the function itself"),
    ],
    ids=["none", "text", "shape", "signature", "raises", "not a function"],
)
def test_what_is_no_answer_at_all_gets_a_sentence(name, answer, words):
    verdict = CHECKS[name][0](answer)
    assert verdict.status == "not yet" and words in verdict.message, verdict


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", CHECKS)
def test_the_first_argument_given_back_is_no_answer(name):
    assert CHECKS[name][0](lambda *arguments: arguments[0]).status == "not yet"


def more_mutants():
    """Wrong answers that are not among the known mistakes: rejected all the same."""
    yield "precision_at_k", lambda relevant, k: 0.5
    yield "precision_at_k", lambda relevant, k: round(relevant[:k].sum() / k, 1)
    yield "precision_at_k", lambda relevant, k: sorted(relevant)[:k].count(True) / k
    yield "precision_at_k", lambda relevant, k: relevant[-k:].sum() / k
    yield "leave_query_out", lambda query_id, ranked_ids, k: np.unique(ranked_ids[ranked_ids != query_id])[:k]
    yield "leave_query_out", lambda query_id, ranked_ids, k: list(ranked_ids[ranked_ids != query_id])[:k]
    yield (
        "leave_query_out",
        lambda query_id, ranked_ids, k: np.delete(ranked_ids, list(ranked_ids).index(query_id))[:k],
    )
    yield "tiled_histogram", lambda image, tiles, bins: np.ones(tiles**2 * bins**3) / (tiles**2 * bins**3)
    yield "tiled_histogram", lambda image, tiles, bins: start_here._tiled(image[:, ::-1], tiles, bins)
    yield "tiled_histogram", lambda image, tiles, bins: np.sqrt(start_here._tiled(image, tiles, bins))


@pytest.mark.parametrize(("name", "answer"), list(more_mutants()))
def test_other_wrong_answers_are_rejected(name, answer):
    verdict = CHECKS[name][0](answer)
    assert verdict.status == "not yet" and "for " in verdict.message, verdict


def test_an_answer_that_changes_its_input_is_told_so():
    def precision_at_k(relevant, k):
        relevant[k:] = False
        return relevant.sum() / k

    verdict = checks.check_precision_at_k(precision_at_k)
    assert not verdict.passed and "changed its input" in verdict.message


def test_an_endless_loop_is_stopped():
    def forever(x):
        while True:
            pass

    began = time.monotonic()
    verdict = checks.run_check(forever, abs, [Case((1,), "one")], seconds=0.3)
    assert time.monotonic() - began < 5
    assert not verdict.passed and "never stops" in verdict.message


def test_slow_cases_share_one_time_limit():
    cases = [Case((n,), str(n)) for n in range(1000)]
    began = time.monotonic()
    verdict = checks.run_check(lambda x: time.sleep(0.1) or abs(x), abs, cases, seconds=0.5)
    assert time.monotonic() - began < 30 and "did not end" in verdict.message


def test_the_verdict_says_where_the_answer_raised():
    def fails(x):
        return x / 0

    verdict = checks.run_check(fails, abs, [Case((1,), "one")])
    assert "ZeroDivisionError" in verdict.message and "return x / 0" in verdict.message


def test_the_verdict_is_a_word_not_only_a_colour_and_is_escaped():
    verdict = checks.run_check(lambda x: "<script>", abs, [Case((1,), "one")])
    assert repr(verdict).startswith("[not yet] abs: ")
    assert "[not yet]" in verdict._repr_html_() and "<script>" not in verdict._repr_html_()


def test_a_mistake_is_named_only_if_it_fits_every_case():
    cases = [Case((n,), str(n)) for n in (-1, -2)]
    mistakes = [Mistake(lambda x: x, "You forgot the sign."), Mistake(lambda x: 0, "Always zero.")]
    assert checks.run_check(lambda x: x, abs, cases, mistakes=mistakes).message.endswith(
        "You forgot the sign."
    )
    assert "sign" not in checks.run_check(lambda x: x + (x == -2), abs, cases, mistakes=mistakes).message


def test_a_check_without_cases_is_refused():
    with pytest.raises(ValueError, match="at least one case"):
        checks.run_check(abs, abs, [])


@pytest.mark.parametrize(
    ("expected", "got", "words"),
    [
        (1.0, 1.0 + 1e-9, None),
        (1.0, np.float32(1.0), None),
        (1.0, np.array(1.0), None),
        (float("nan"), float("nan"), None),
        (0.0, float("nan"), "nan"),
        (True, 1, "expected True, got 1"),
        (np.arange(3), np.arange(3.0), "whole values"),
        (np.arange(3.0), np.arange(3), None),
        (np.arange(3), [0, 1, 2], "NumPy array"),
        (np.arange(3), np.arange(4), "shape (3,), got (4,)"),
        (np.arange(20), np.arange(20)[::-1], "at [0] (20 of 20 differ)"),
        (np.array(["a"], dtype=object), np.array(["a"]), None),
        ((1, 2), (1, 3), "value 2: expected 2, got 3"),
        ((1, 2), (1,), "expected 2 values"),
    ],
)
def test_difference_in_words(expected, got, words):
    found = difference(expected, got, tolerance=1e-6)
    assert found is None if words is None else words in found


def test_short_values_stay_short():
    assert len(short(np.arange(1000))) <= 80 and len(short("x" * 500)) <= 80
