"""Run a check: the learner's function against a trusted one, with known mistakes told by name."""

import html
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cbirkit.checks._call import OutOfTime, call, error_sentence
from cbirkit.checks._compare import describe, difference

_COLOURS = {"passed": "#117733", "not yet": "#AA4499", "not attempted": "#888888"}


@dataclass(frozen=True)
class Case:
    """Arguments for one call, and what the case is about, in words that continue "for …"."""

    arguments: tuple
    about: str


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that learners give, the sentence that names it, and the part of the points it still earns."""

    answer: Callable
    sentence: str
    worth: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """What a check says; shows itself at the end of a cell, by a word as well as by a colour.

    Attributes
    ----------
    exercise : str
        Name of the function asked for.
    status : str
        ``"passed"``, ``"not yet"`` or ``"not attempted"``.
    message : str
        One or two sentences: expected, got and why.
    worth : float
        Part of the points that the answer earns, from 0 to 1.
    """

    exercise: str
    status: str
    message: str
    worth: float = 0.0

    @property
    def passed(self):
        """True only for a right answer."""
        return self.status == "passed"

    def __repr__(self):
        return f"[{self.status}] {self.exercise}: {self.message}"

    def _repr_html_(self):
        text = f"<b>[{self.status}]</b> <code>{html.escape(self.exercise)}</code>: {html.escape(self.message)}"
        return f'<div style="border-left: 4px solid {_COLOURS[self.status]}; padding-left: 8px">{text}</div>'


def run_check(answer, trusted, cases, *, mistakes=(), tolerance=1e-6, seconds=10.0):
    """Compare a learner's function with a trusted one.

    Parameters
    ----------
    answer : callable
        The learner's function. A stub that raises NotImplementedError is "not attempted".
    trusted : callable
        What is right; its name, less a leading underscore, is the exercise's name.
    cases : sequence of Case
        Tried in order; the first that fails is reported.
    mistakes : sequence of Mistake
        If the answer behaves like one of these on every case, its sentence is added to the verdict.
    tolerance : float
        For real numbers, absolute and relative.
    seconds : float
        Time for all cases together.

    Returns
    -------
    Verdict
        It never raises for what the answer does.

    Raises
    ------
    ValueError
        There are no cases.

    Examples
    --------
    >>> def double(x):
    ...     return 2 * x
    >>> run_check(lambda x: x + 2, double, [Case((2,), "two"), Case((3,), "three")])
    [not yet] double: for three, expected 6, got 5.
    """
    if not cases:
        raise ValueError("a check needs at least one case; got none")
    name = trusted.__name__.lstrip("_")
    if not callable(answer):
        return Verdict(
            name, "not yet", f"give the function itself, `{name}`; got {describe(answer)}."
        )
    outcomes, failure, deadline = [], None, time.monotonic() + seconds
    for case in cases:
        outcome = call(answer, case.arguments, max(deadline - time.monotonic(), 0.1))
        if not outcomes and isinstance(outcome.error, NotImplementedError):
            advice = "replace `raise NotImplementedError` by your answer and run the cell again."
            return Verdict(name, "not attempted", advice)
        outcomes.append(outcome)
        if failure is None:
            failure, failed = (
                _failure(outcome, trusted, case, tolerance, seconds),
                len(outcomes) - 1,
            )
        if outcome.error is not None or outcome.changed:
            break
    if failure is None:
        return Verdict(
            name, "passed", f"agrees with the trusted version on {len(cases)} cases.", 1.0
        )
    mistake = _diagnosis(outcomes, failed, cases, mistakes, tolerance, deadline)
    if mistake is None:
        return Verdict(name, "not yet", failure)
    return Verdict(name, "not yet", f"{failure} {mistake.sentence}", mistake.worth)


def _failure(outcome, trusted, case, tolerance, seconds):
    """Return the sentence on what is wrong with the outcome of one case, or None."""
    if outcome.error is not None:
        return _sentence(
            f"for {case.about}, your function {error_sentence(outcome.error, seconds)}"
        )
    if outcome.changed:
        return f"for {case.about}, your function changed its input: work on a copy, as in `x = x.copy()`."
    expected = call(trusted, case.arguments, 60)
    if expected.error is not None:
        raise expected.error
    if expected.value is None:
        raise RuntimeError(
            f"the trusted version gave no value for {case.about}; restart the kernel and run the cell again"
        )
    found = difference(expected.value, outcome.value, tolerance=tolerance)
    return None if found is None else _sentence(f"for {case.about}, {found}")


def _sentence(text):
    return text if text.endswith("?") else f"{text}."


def _diagnosis(outcomes, failed, cases, mistakes, tolerance, deadline):
    """Return the first known mistake that is like the answer on every case tried, or None.

    Where none is, one will do that is like it wherever it gave numbers, on the first case that failed among them: the
    same mistake may raise or give NaN in a case at the edge, depending on how it is written. It earns no points.
    """
    if any(isinstance(outcome.error, OutOfTime) or outcome.changed for outcome in outcomes):
        return None
    partly = None
    for mistake in mistakes:
        if time.monotonic() > deadline + 5:
            break
        same = True
        for number, (outcome, case) in enumerate(zip(outcomes, cases, strict=False)):
            if not _alike(outcome, call(mistake.answer, case.arguments, 5), tolerance):
                same = False
                if number == failed or _has_numbers(outcome):
                    break
        else:
            if same:
                return mistake
            partly = partly or replace(mistake, worth=0.0)
    return partly


def _has_numbers(outcome):
    try:
        return outcome.error is None and not np.isnan(np.asarray(outcome.value, dtype=float)).any()
    except (TypeError, ValueError):  # text, or rows of different length
        return True


def _alike(outcome, other, tolerance):
    if outcome.error is not None or other.error is not None:
        return type(outcome.error).__name__ == type(other.error).__name__
    return difference(other.value, outcome.value, tolerance=tolerance) is None
