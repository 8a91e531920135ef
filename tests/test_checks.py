"""The checks of the exercises: right answers pass, wrong ones get the sentence that names the mistake."""

import importlib
import logging
import os
import re
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from tqdm import tqdm

from cbirkit import checks
from cbirkit.checks import grading, running, start_here
from cbirkit.checks.running import Outcome, difference, short

MODULES = [
    importlib.import_module(path.stem)
    for path in sorted(Path(__file__).parent.glob("test_checks_*.py"))
]
# exercise: (check, a right answer written independently of it)
CHECKS = {name: entry for module in MODULES for name, entry in module.CHECKS.items()}


def mistakes_of(check):
    """Known mistakes of a check: (sentence, wrong answer, worth) of each."""
    found = []

    def record(answer, trusted, cases, *, mistakes, **settings):
        rows = [(s, *(m if isinstance(m, tuple) else (m, 0.0))) for s, m in mistakes.items()]
        found.extend(rows)
        return checks.Verdict(trusted.__name__, "passed", "recorded")

    with mock.patch.dict(check.__globals__, {"run_check": record}):
        check(abs)
    return found


MISTAKES = {name: mistakes_of(check) for name, (check, _) in CHECKS.items()}
PAIRS = [(name, *mistake) for name, mistakes in MISTAKES.items() for mistake in mistakes]


@pytest.mark.parametrize("name", CHECKS)
def test_a_right_answer_passes(name):
    check, answer = CHECKS[name]
    verdict = check(answer)
    assert verdict.passed and verdict.status == "passed" and verdict.exercise == name, verdict


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "sentence", "wrong", "worth"), PAIRS, ids=range(len(PAIRS)))
def test_each_known_mistake_is_rejected_by_its_own_sentence(name, sentence, wrong, worth):
    verdict = CHECKS[name][0](wrong)
    assert not verdict.passed and verdict.message.endswith(sentence), verdict
    assert verdict.worth == worth < 1


@pytest.mark.parametrize("name", CHECKS)
def test_each_check_knows_at_least_three_mistakes(name):
    assert len(MISTAKES[name]) >= 3


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
    yield (
        "leave_query_out",
        lambda query_id, ranked_ids, k: np.unique(ranked_ids[ranked_ids != query_id])[:k],
    )
    yield (
        "leave_query_out",
        lambda query_id, ranked_ids, k: np.delete(ranked_ids, list(ranked_ids).index(query_id))[:k],
    )
    yield (
        "tiled_histogram",
        lambda image, tiles, bins: np.ones(tiles**2 * bins**3) / (tiles**2 * bins**3),
    )
    yield (
        "tiled_histogram",
        lambda image, tiles, bins: start_here._tiled_histogram(image[:, ::-1], tiles, bins),
    )
    yield (
        "tiled_histogram",
        lambda image, tiles, bins: np.sqrt(start_here._tiled_histogram(image, tiles, bins)),
    )


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

    verdict = checks.run_check(forever, abs, [("one", 1)], seconds=0.3)
    assert not verdict.passed and "never stops" in verdict.message
    assert not [thread for thread in threading.enumerate() if thread.name == "cbirkit-check"]


def test_cases_share_one_time_limit(monkeypatch):
    given = []

    def call(function, arguments, seconds):
        given.append(seconds)
        clock[0] += 2.0  # each call takes two seconds
        return Outcome(function(*arguments))

    clock = [100.0]
    monkeypatch.setattr(running, "call", call)
    monkeypatch.setattr(running.time, "monotonic", lambda: clock[0])
    assert checks.run_check(lambda x: x, abs, [(str(n), n) for n in range(4)], seconds=10).passed
    assert given[::2] == [10, 6, 2, 0.1]  # each answer is followed by a call of the trusted version


NOISES = {
    "NumPy": lambda: np.log(np.zeros(2)),
    "Python": lambda: warnings.warn("look out", stacklevel=1),
    "print": lambda: print("look out", file=sys.stderr),
    "log": lambda: logging.getLogger("learner").warning("look out"),
    "old log": lambda: OLD_LOG.warning("look out"),
    "C": lambda: os.write(2, b"look out"),
    "child": lambda: subprocess.run(
        [sys.executable, "-c", "import sys; sys.stderr.write('look out')"], check=True
    ),
    "tqdm": lambda: list(tqdm(range(3))),
}
OLD_LOG = logging.getLogger("with a handler that holds the stream")


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("noise", NOISES)
def test_nothing_that_an_answer_writes_to_stderr_gets_out(noise, capfd):
    handler = logging.StreamHandler(sys.stderr)
    OLD_LOG.addHandler(handler)

    def loud(x):
        NOISES[noise]()
        return abs(x)

    verdict = checks.run_check(loud, abs, [(str(n), n) for n in (-1, 2)])
    OLD_LOG.removeHandler(handler)
    assert verdict.passed and capfd.readouterr().err == ""
    print("heard again", file=sys.stderr)
    os.write(2, b"and below")
    assert "heard again" in (told := capfd.readouterr().err) and "and below" in told


@pytest.mark.parametrize("name", CHECKS)
def test_no_check_passes_where_nothing_is_called(name, monkeypatch):
    class Nothing(threading.Thread):
        def run(self):
            pass

    monkeypatch.setattr(threading, "Thread", Nothing)
    try:
        assert not CHECKS[name][0](lambda *arguments: None).passed
    except RuntimeError as error:
        assert "no value" in str(error)


@pytest.mark.parametrize("name", CHECKS)
def test_replaced_comparisons_of_numpy_pass_nothing(name, monkeypatch):
    for one in ("isclose", "allclose", "array_equal", "array_equiv", "equal"):
        monkeypatch.setattr(np, one, lambda a, *more, **settings: np.ones(np.shape(a), dtype=bool))
    assert not CHECKS[name][0](MISTAKES[name][0][1]).passed


def test_the_verdict_says_where_the_answer_raised():
    def fails(x):
        return x / 0

    verdict = checks.run_check(fails, abs, [("one", 1)])
    assert "ZeroDivisionError" in verdict.message and "return x / 0" in verdict.message


def test_the_verdict_is_a_word_not_only_a_colour_and_is_escaped():
    verdict = checks.run_check(lambda x: "<script>", abs, [("one", 1)])
    assert repr(verdict).startswith("[not yet] abs: ")
    assert "[not yet]" in verdict._repr_html_() and "<script>" not in verdict._repr_html_()


def test_a_mistake_is_named_only_if_it_fits_every_case():
    cases = [(str(n), n) for n in (-1, -2)]
    mistakes = {"You forgot the sign.": lambda x: x, "Always zero.": lambda x: 0}
    assert checks.run_check(lambda x: x, abs, cases, mistakes=mistakes).message.endswith(
        "You forgot the sign."
    )
    assert (
        "sign"
        not in checks.run_check(lambda x: x + (x == -2), abs, cases, mistakes=mistakes).message
    )


def test_where_bugs_are_to_be_found_each_earns_its_part():
    worth = {name: {worth for *_, worth in mistakes} for name, mistakes in MISTAKES.items()}
    parts = {name: values - {0} for name, values in worth.items() if values != {0}}
    assert parts == {"mended_average_precision": {1 / 3, 2 / 3}, "mended_attack": {1 / 2}}


def test_a_check_without_cases_is_refused():
    with pytest.raises(ValueError, match="at least one case"):
        checks.run_check(abs, abs, [])


NAN, INF = float("nan"), float("inf")
SAME = [  # what is right in another type is right
    (1.0, 1.0 + 1e-9),
    (1.0, np.float32(1.0)),
    (1.0, np.array(1.0)),
    (1.0, 1),
    (3, 3.0),
    (3, np.int8(3)),
    (3, torch.tensor(3)),
    (NAN, np.float32(NAN)),
    (-INF, -INF),
    (True, np.True_),
    (True, np.array(True)),
    ("a", np.str_("a")),
    ((1, 2), [1, 2]),
    ((1, 2), np.array([1.0, 2.0])),
    ([0.5, NAN], (np.float32(0.5), NAN)),
    ([["a", "b"], ["c"]], (("a", "b"), ["c"])),
    ([["a", "b"], ["c", "d"]], np.array([["a", "b"], ["c", "d"]])),
    ({"a": 1}, {"a": 1.0}),
    (np.arange(3), [0, 1, 2]),
    (np.arange(3), range(3)),
    (np.arange(3), np.arange(3.0)),
    (np.arange(3.0), np.arange(3)),
    (np.arange(3.0), torch.arange(3)),
    (np.arange(3.0), pd.Series([0, 1, 2])),
    (np.arange(3.0), np.array([0, 1, 2], dtype=object)),
    (np.array([[1.0, 2.0]]), [(1, 2)]),
    (np.array([1.0, NAN, INF]), [1, NAN, INF]),
    (np.array([True, False]), [True, np.False_]),
    (np.array(["a"], dtype=object), np.array(["a"])),
    (np.array(["a", NAN], dtype=object), ["a", NAN]),
    (np.array([], dtype=object), []),
    (np.zeros(0, dtype=np.int64), np.zeros(0)),
    (np.zeros(0, dtype=bool), np.array([], dtype="U3")),
    (np.zeros((0, 4)), []),
]
NOT_SAME = [  # expected, got, what is said
    (0.0, NAN, "expected 0, got nan"),
    (NAN, 0.0, "expected nan, got 0"),
    (INF, 1e300, "expected inf, got 1e+300"),
    (INF, -INF, "expected inf, got -inf"),
    (1e300, INF, "got inf"),
    (1.0, 10**400, "got 1000"),
    (1.0, 10**5000, "got what cannot be shown"),
    (True, 1, "expected True, got 1"),
    (1.0, "1.0", "expected a single number, 1, got str '1.0'"),
    (1.0, np.array([1.0]), "an array of shape (1,)"),
    (1.0, 1j, "a single number"),
    (0.25, 0.250004, "expected 0.25, got 0.250004"),
    (10**7, 10**7 + 1, "expected 10000000, got 10000001"),
    (2, 2.5, "expected 2, got 2.5"),
    ("a" * 90 + "b", "a" * 90 + "c", "aab', got 'aaa"),
    ("a", b"a", "b'a'"),
    ((1, 2), (1, 3), "value 2: expected 2, got 3"),
    ((1, 2), (1,), "expected 2 values"),
    ((1, 2), {1, 2}, "got set"),
    (np.arange(3), {0, 1, 2}, "NumPy array of shape (3,), got set"),
    (np.arange(3), "012", "got str"),
    (np.arange(3), [[0], [1, 2]], "got list"),
    (np.arange(3), np.arange(4), "shape (3,), got (4,)"),
    (np.arange(3), np.arange(3)[None], "shape (3,), got (1, 3)"),
    (np.zeros((2, 0)), [], "shape (2, 0), got (0,)"),
    (np.array([1]), [], "shape (1,), got (0,)"),
    (np.arange(2), np.array([False, True]), "whole values (int64), got true/false"),
    (np.array([False, True]), np.arange(2), "true/false values (bool), got whole"),
    (np.arange(2.0), np.arange(2) + 0j, "complex"),
    (np.arange(2.0), ["0", "1"], "got text"),
    (np.arange(20), np.arange(20)[::-1], "expected 0, got 19 at [0] (20 of 20 differ)"),
    (
        np.arange(20.0),
        np.r_[np.arange(19.0), 19.0001],
        "expected 19, got 19.0001 at [19] (1 of 20 differ)",
    ),
    (np.full(8, 1 / 3), np.r_[np.full(7, 1 / 3), 1 / 3 + 1e-5], "0.33334333"),
    (np.array([0.0, NAN]), np.array([0.0, 0.0]), "nan"),
    (np.array([INF]), np.array([-INF]), "expected [inf], got [-inf]"),
    (np.uint8([250]), np.uint8([4]), "expected [250], got [4]"),
]


@pytest.mark.parametrize(("expected", "got"), SAME, ids=short)
def test_what_is_right_in_another_type_is_right(expected, got):
    assert difference(expected, got, tolerance=1e-6) is None


def travelled(value):
    """A value as it arrives in another process."""
    return grading._decoded(grading._encoded(Outcome(value), 1)).value


@pytest.mark.parametrize(("expected", "got"), SAME, ids=short)
def test_results_travel_as_what_they_are(expected, got):
    assert difference(expected, travelled(got), tolerance=1e-6) is None


class Gladly(np.ndarray):
    __eq__ = __le__ = __sub__ = __rsub__ = lambda *given: np.True_


ENDLESS = [1]
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(3.0).view(Gladly),
        ENDLESS,
        print,
        1j,
        10**5000,
        {"a": {1}},
        torch.ones(3, requires_grad=True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_plain_value_is_equal_to_nothing(value):
    got = travelled(value)
    for expected in (1.0, np.ones(3), [1, 2], "a", {"a": 1}):
        assert difference(expected, got, tolerance=1e-6)
    assert type(value).__name__ in difference(1.0, got, tolerance=1e-6) or isinstance(
        value, Gladly | dict
    )


@pytest.mark.parametrize(
    ("name", "is_right"),
    [
        ("leave_query_out", True),
        ("seen_pixels", False),
        ("root_sift", True),
        ("root_sift", False),
        ("semi_hard", False),
        ("choose_nprobe", True),
        ("copy_groups", False),
        ("mended_average_precision", True),
    ],
)
def test_a_fresh_process_comes_to_the_same_verdict(name, is_right):
    check, answer = CHECKS[name]
    one = answer if is_right else MISTAKES[name][0][1]
    verdict, record = grading._from_fresh_process(check.__name__, one)
    assert verdict == check(one) == checks.verdict_on(check.__name__, record)
    assert verdict.passed == is_right
    for damaged in (
        "",
        record.partition("\n")[0],
        "[1]",
        "{",
        '{"value": {"array": [1], "dtype": "<U999999999", "shape": [9]}}',
    ):
        with pytest.raises(ValueError, match="did not all arrive"):
            checks.verdict_on(check.__name__, damaged)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("expected", "got", "words"), NOT_SAME, ids=short)
def test_difference_in_words(expected, got, words):
    found = difference(expected, got, tolerance=1e-6)
    assert words in found
    said = re.search(r"expected (.+?), got (.+?)(?: at \[|$)", found)
    assert said is None or said[1] != said[2]


def test_short_values_stay_short():
    assert len(short(np.arange(1000))) <= 80 and len(short("x" * 500)) <= 80


ANSWER = "def double(x):\n    return [value + value for value in x]\n"
SOLUTION = "def solution_double(x):\n    return 'the solution'\n"
STUB = "def double(x):\n    raise NotImplementedError\n"
CHANGING = "def double(x):\n    x.append(0)\n    return x\n"


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (ANSWER + SOLUTION, [2, 4]),
        (ANSWER, [2, 4]),
        (STUB + SOLUTION, "the solution"),
        (SOLUTION, "the solution"),
        (STUB, None),
        ("", None),
        ("double = 3\n" + SOLUTION, "the solution"),
        ("def double(x):\n    return {}[x[0]]\n" + SOLUTION, None),  # not shown as if it were right
        ("def double(x):\n    while True:\n        pass\n" + SOLUTION, None),
        (CHANGING + SOLUTION, [1, 2, 0]),
    ],
)
def test_first_written_is_the_readers_or_else_the_solution(cells, expected):
    names = {"first_written": checks.first_written, "given": [1, 2]}
    exec(cells + "made = first_written('double', given, seconds=0.5)", names)  # noqa: S102
    assert names["made"] == expected and names["given"] == [1, 2]


def test_first_written_finds_the_names_from_inside_a_function():
    names = {"checks": checks}
    drawn = "def draw():\n    return checks.first_written('double', [3])\nmade = draw()"
    exec(ANSWER + drawn, names)  # noqa: S102
    assert names["made"] == [6]
