"""Run a check: call the learner's function without harm, compare it with a trusted one, tell known mistakes by name."""

import copy
import ctypes
import html
import numbers
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

# bound here: a notebook that replaces them in NumPy replaces nothing here
from numpy import inf, isnan

_COLOURS = {"passed": "#117733", "not yet": "#AA4499", "not attempted": "#888888"}


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


def run_check(answer, trusted, cases, *, mistakes=None, tolerance=1e-6, seconds=10.0):
    """Compare a learner's function with a trusted one.

    Parameters
    ----------
    answer : callable
        The learner's function. A stub that raises NotImplementedError is "not attempted".
    trusted : callable
        What is right; its name, less a leading underscore, is the exercise's name.
    cases : iterable of tuple
        ``(about, *arguments)``: what the case is about, in words that continue "for …", and the arguments of one call. Tried in
        order; the first that fails is reported.
    mistakes : dict, optional
        ``{sentence: wrong answer}``: if the answer behaves like one of these functions on every case, its sentence is added to
        the verdict. ``(wrong answer, worth)`` where it still earns a part of the points.
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
    >>> run_check(lambda x: x + 2, double, [("two", 2), ("three", 3)])
    [not yet] double: for three, expected 6, got 5.
    """
    name, cases = trusted.__name__.lstrip("_"), list(cases)
    if not cases:
        raise ValueError("a check needs at least one case; got none")
    if not callable(answer):
        return not_a_function(name, answer)
    outcomes, failure, deadline = [], None, time.monotonic() + seconds
    for about, *arguments in cases:
        outcome = call(answer, arguments, max(deadline - time.monotonic(), 0.1))
        if not outcomes and isinstance(outcome.error, NotImplementedError):
            return not_attempted(name)
        outcomes.append(outcome)
        if failure is None:
            failed = len(outcomes) - 1
            failure = _failure(outcome, trusted, about, arguments, tolerance, seconds)
        if outcome.error is not None or outcome.changed:
            break
    if failure is None:
        told = f"agrees with the trusted version on {len(cases)} cases."
        return Verdict(name, "passed", told, 1.0)
    sentence, worth = _diagnosis(outcomes, failed, cases, mistakes or {}, tolerance, deadline)
    return Verdict(name, "not yet", f"{failure} {sentence}".rstrip(), worth)


def first_written(name, *given, seconds=60.0):
    """Call the reader's answer to an exercise, or the notebook's solution while the answer is still a stub.

    The picture under an exercise is drawn with it. It never raises for what an answer does, so that Run All goes on.

    Parameters
    ----------
    name : str
        Name of the exercise's function, looked up where this is called from; the solution has it behind ``solution_``.
    *given : object
        The arguments of the call; the function gets copies.
    seconds : float
        Time for the call.

    Returns
    -------
    object or None
        What the function gives. None where neither is written, and where the answer fails: its check has said why.

    Examples
    --------
    >>> def double(x):
    ...     raise NotImplementedError
    >>> def solution_double(x):
    ...     return 2 * x
    >>> first_written("double", 4)
    8
    """
    names = sys._getframe(1).f_globals
    for function in (names.get(name), names.get(f"solution_{name}")):
        outcome = call(function, given, seconds) if callable(function) else None
        if outcome is not None and not isinstance(outcome.error, NotImplementedError):
            return outcome.value
    return None


def not_a_function(name, answer):
    """The verdict on an answer that is no function."""
    told = f"give the function itself, `{name}`; got {describe(answer)}."
    return Verdict(name, "not yet", told)


def not_attempted(name):
    """The verdict on a stub."""
    told = "replace `raise NotImplementedError` by your answer and run the cell again."
    return Verdict(name, "not attempted", told)


def open_answer(name, answer, given, seconds, fault):
    """What the answer to an open exercise gives, and the Verdict that ends its check, or None; `fault` tells what is wrong with a value."""
    if not callable(answer):
        return None, not_a_function(name, answer)
    outcome = call(answer, given, seconds)
    if isinstance(outcome.error, NotImplementedError):
        return None, not_attempted(name)
    complaint = complaint_of(outcome, seconds) or fault(outcome.value)
    return outcome.value, Verdict(name, "not yet", complaint) if complaint else None


def no_numbers(shape, value, *, what="numbers", good=np.isfinite):
    """A complaint where `value` is not an array of good numbers of a shape, in which None stands for any length; else None."""
    try:
        got = np.asarray(value, dtype=float)
    except (TypeError, ValueError, RuntimeError):
        return f"expected {what} of shape {shape}, got {type(value).__name__}."
    fits = len(got.shape) == len(shape) and all(n in (None, m) for n, m in zip(shape, got.shape, strict=True))  # fmt: skip
    if not fits:
        return f"expected {what} of shape {shape}, got shape {got.shape}."
    return (
        None if good(got).all() else f"some {what} are NaN or infinite: is there a division by 0?"
    )


def same_rows(rows, outcome):
    """Whether a second call, on fewer images, gave these rows (n, d) again, up to rounding."""
    size = 1e-4 * np.abs(rows).max()
    fits = outcome.error is None and np.shape(outcome.value) == rows.shape
    return fits and np.allclose(outcome.value, rows, rtol=1e-3, atol=size)


def mean_precision(scores, relevant):
    """Mean average precision of `scores` (n_queries, n_images), larger first, ties in their order; `relevant` is bool of that shape."""
    order = np.argsort(-scores + 0.0, axis=1, kind="stable")  # -0.0 ties with 0.0
    hits = np.take_along_axis(relevant, order, axis=1)
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    return float(((precision * hits).sum(axis=1) / hits.sum(axis=1)).mean())


def ahead(name, ours, theirs, gain, told, why):
    """The Verdict on an open exercise that has to beat a method by `gain`, on the mean of `ours` and of `theirs`."""
    ours, goal = np.mean(ours), np.mean(theirs) + gain
    told = f"your {told.format(ours, np.mean(theirs))}"
    if ours >= goal:
        return Verdict(name, "passed", f"{told}.", 1.0)
    return Verdict(name, "not yet", f"{told}: reach {goal:.3f}; {why}")


def complaint_of(outcome, seconds):
    """The sentence on a call that failed, whatever it should have given, or None."""
    if outcome.error is not None:
        return f"your function {error_sentence(outcome.error, seconds)}."
    if outcome.changed:
        return "your function changes what it is given: work on a copy."
    return None


def _failure(outcome, trusted, about, arguments, tolerance, seconds):
    """Return the sentence on what is wrong with the outcome of one case, or None."""
    if outcome.error is not None:
        told = f"for {about}, your function {error_sentence(outcome.error, seconds)}"
        return told if told.endswith("?") else f"{told}."
    if outcome.changed:
        return (
            f"for {about}, your function changed its input: work on a copy, as in `x = x.copy()`."
        )
    expected = call(trusted, arguments, 60)
    if expected.error is not None:
        raise expected.error
    if expected.value is None:
        raise RuntimeError(
            f"the trusted version gave no value for {about}; restart the kernel and run the cell again"
        )
    found = difference(expected.value, outcome.value, tolerance=tolerance)
    if found is not None:
        return f"for {about}, {found}" + "." * (not found.endswith("?"))


def _diagnosis(outcomes, failed, cases, mistakes, tolerance, deadline):
    """Sentence and worth of the first known mistake that is like the answer on every case tried, or ("", 0).

    Where none is, one will do that is like it wherever it gave numbers, on the first case that failed among them: the
    same mistake may raise or give NaN in a case at the edge, depending on how it is written. It earns no points.
    """
    partly = ""
    if any(isinstance(outcome.error, OutOfTime) or outcome.changed for outcome in outcomes):
        return "", 0.0
    for sentence, mistake in mistakes.items():
        if time.monotonic() > deadline + 5:
            break
        wrong, worth = mistake if isinstance(mistake, tuple) else (mistake, 0.0)
        same = True
        for number, (outcome, (_, *arguments)) in enumerate(zip(outcomes, cases, strict=False)):
            if not _alike(outcome, call(wrong, arguments, 5), tolerance):
                same = False
                if number == failed or _has_numbers(outcome):
                    break
        else:
            if same:
                return sentence, worth
            partly = partly or sentence
    return partly, 0.0


def _has_numbers(outcome):
    try:
        return outcome.error is None and not np.isnan(np.asarray(outcome.value, dtype=float)).any()
    except (TypeError, ValueError):  # text, or rows of different length
        return True


def _alike(outcome, other, tolerance):
    if outcome.error is not None or other.error is not None:
        return type(outcome.error).__name__ == type(other.error).__name__
    return difference(other.value, outcome.value, tolerance=tolerance) is None


class OutOfTime(BaseException):
    """Raised inside the learner's function when its time is up; no Exception, so `except Exception` lets it by."""


@dataclass(frozen=True)
class Outcome:
    """What came of one call: a value, or the error it ended with, and whether it changed its arguments."""

    value: Any = None
    error: BaseException | None = None
    changed: bool = False


@dataclass(frozen=True)
class Elsewhere:
    """Stands for a learner's function that lives in another process: ``ask(arguments, seconds)`` gives an `Outcome`."""

    ask: Callable

    def __call__(self, *arguments):
        raise TypeError(
            "a function of another process is asked by `call`, which keeps its errors apart"
        )


def call(function, arguments, seconds):
    """Call ``function(*arguments)`` on copies of the arguments, for at most `seconds`, silently.

    Returns
    -------
    Outcome
        `error` is an `OutOfTime` where the call did not end in time.
    """
    if isinstance(function, Elsewhere):
        return function.ask(arguments, seconds)
    given = copy.deepcopy(arguments)
    box = {}

    def target():
        try:
            box["value"] = function(*given)
        except BaseException as error:  # noqa: BLE001  (whatever a learner's code raises becomes a sentence)
            box["error"] = error

    thread = threading.Thread(target=target, daemon=True, name="cbirkit-check")
    with _silent_stderr():
        thread.start()
        try:
            thread.join(seconds)
        finally:  # also when the learner presses "interrupt"
            late = thread.is_alive()
            if late:
                _stop(thread)
    error = OutOfTime() if late else box.get("error")
    pairs = zip(arguments, given, strict=True)
    changed = any(
        difference(before, after, tolerance=0) for before, after in pairs if not callable(before)
    )
    return Outcome(box.get("value"), error, changed)


@contextmanager
def _silent_stderr():
    """Keep warnings, logs and progress bars in: nbgrader takes all points for a word on stderr.

    The streams themselves are silenced, since handlers of `logging` hold them, and the file descriptor for what C writes.
    """
    streams = {
        id(stream): stream for stream in (sys.stderr, sys.__stderr__) if stream is not None
    }.values()
    with open(os.devnull, "w") as nowhere:
        kept = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        for stream in streams:
            stream.write = len
        try:
            yield
        finally:
            for stream in streams:
                del stream.write
            os.dup2(kept, 2)
            os.close(kept)


def _stop(thread):
    """Raise OutOfTime in a thread of Python code; one that hangs in C is left behind as a daemon."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident), ctypes.py_object(OutOfTime)
    )
    thread.join(1)


def error_sentence(error, seconds):
    """Say in one clause how a call ended, with the line of the learner's code that raised."""
    if isinstance(error, OutOfTime):
        return f"did not end within {seconds:g} s: is there a loop that never stops?"
    if hasattr(error, "sentence"):  # it was raised in another process
        return error.sentence
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__
    ]
    line = f" in the line `{frames[0].line}`" if frames and frames[0].line else ""
    text = str(error).strip().splitlines()
    return f"raised {type(error).__name__}{': ' + text[0] if text else ''}{line}"


def difference(expected, got, *, tolerance):
    """Return None if `got` is `expected`, else what differs, in words a learner can act on.

    What is right in another type is right: a list, a tuple, a CPU tensor or whatever else NumPy reads, where an
    array is expected; a tuple, list or array where a sequence is; whole numbers as floats; text of any string type;
    an empty array of any dtype. Masks have to be true and false, and shapes have to agree.
    Numbers agree within `tolerance`, absolute and relative; NaN agrees with NaN only, infinity with itself only.
    """
    if got is None and expected is not None:
        return "got None: does the function end with `return`?"
    if isinstance(expected, np.ndarray):
        return _array_difference(expected, got, tolerance)
    if isinstance(expected, list | tuple):
        return _sequence_difference(expected, got, tolerance)
    if isinstance(expected, dict):
        return _dict_difference(expected, got, tolerance)
    array = _as_array(got) if hasattr(got, "__array__") else None
    got = got if array is None or array.ndim else array[()]
    if isinstance(expected, bool | np.bool_):
        good = isinstance(got, bool | np.bool_) and bool(got) == bool(expected)
    elif isinstance(expected, numbers.Real):
        if not isinstance(got, numbers.Real | np.bool_):
            return f"expected a single number, {short(expected)}, got {describe(got)}"
        good = bool(_same_numbers(expected, _as_float(got), tolerance))
    elif isinstance(expected, str):
        good = isinstance(got, str) and str.__eq__(expected, got)
    else:
        good = type(got) is type(expected) and got == expected
    return (
        None
        if good
        else _expected_got(expected, got) or f"expected {describe(expected)}, got {describe(got)}"
    )


def _same_numbers(expected, got, tolerance):
    """Where numbers agree, in operators and not by ``np.isclose``, which a notebook may have replaced."""
    whole = (
        isinstance(expected, numbers.Integral)
        or getattr(expected, "dtype", None)
        and expected.dtype.kind in "iu"
    )
    relative = 0 if whole else tolerance
    with np.errstate(all="ignore"):
        near = (abs(got - expected) <= tolerance + relative * abs(expected)) & (abs(expected) < inf)
        return near | (got == expected) | (isnan(got) & isnan(expected))


def _as_float(number):
    try:
        return float(number)
    except OverflowError:  # a whole number beyond all floats
        return inf if number > 0 else -inf


def _dict_difference(expected, got, tolerance):
    if not isinstance(got, dict) or set(got) != set(expected):
        return f"expected a dict with the keys {short(list(expected))}, got {short(list(got)) if isinstance(got, dict) else describe(got)}"
    parts = (
        (key, difference(value, got[key], tolerance=tolerance)) for key, value in expected.items()
    )
    return next((f"value of {key!r}: {part}" for key, part in parts if part), None)


def _sequence_difference(expected, got, tolerance):
    array = _as_array(got) if hasattr(got, "__array__") else None
    rows = any(isinstance(part, list | tuple) for part in expected)
    if array is not None and 1 <= array.ndim <= 1 + rows:
        got = list(array)
    if not isinstance(got, list | tuple | range):
        return f"expected {describe(expected)}, got {describe(got)}"
    if len(got) != len(expected):
        return f"expected {len(expected)} values, {short(expected)}, got {len(got)}, {short(got)}"
    parts = (difference(e, g, tolerance=tolerance) for e, g in zip(expected, got, strict=True))
    return next((f"value {n + 1}: {part}" for n, part in enumerate(parts) if part), None)


def _as_array(value, dtype=None):
    """Return the value as a plain NumPy array, or None where it is none and no list of equal rows."""
    if not (isinstance(value, list | tuple | range) or hasattr(value, "__array__")):
        return None
    try:
        return np.asarray(value, dtype=None if hasattr(value, "__array__") else dtype)
    # ragged rows; a tensor with a gradient or on another device
    except (ValueError, TypeError, RuntimeError):
        return None


def _array_difference(expected, got, tolerance):
    array = _as_array(got, object if _kind(expected) == "text" else None)
    if array is None:
        return f"expected a NumPy array of shape {expected.shape}, got {describe(got)}"
    if array.shape == (0,) and expected.shape[:1] == (0,):
        return None  # nothing, whatever it would have been
    if array.shape != expected.shape:
        return f"expected shape {expected.shape}, got {array.shape}"
    if array.dtype == object and _kind(expected) != "text" and array.size:
        array = np.asarray(array.tolist())  # numbers that were put into an array of objects
    kinds = _kind(expected), _kind(array)
    if expected.size and kinds[0] != kinds[1] and set(kinds) != {"real", "whole"}:
        return f"expected {kinds[0]} values ({expected.dtype}), got {kinds[1]} ({array.dtype})"
    if "real" in kinds:
        same = _same_numbers(expected, array.astype(float), tolerance)
    elif "text" in kinds:
        pairs = zip(expected.ravel(), array.ravel(), strict=True)
        same = np.array(
            [difference(*pair, tolerance=tolerance) is None for pair in pairs], dtype=bool
        ).reshape(array.shape)
    else:
        same = array == expected
    if same.all():
        return None
    words = _expected_got(expected, array) if expected.size <= 8 else None
    if words:
        return words
    where = tuple(int(i) for i in np.unravel_index(same.argmin(), same.shape))
    place = where[0] if len(where) == 1 else where
    how_many = f"{int((~same).sum())} of {same.size} differ"
    one = difference(expected[where], array[where], tolerance=tolerance)
    return f"{one or _expected_got(expected[where], array[where])} at [{place}] ({how_many})"


def _kind(array):
    """Name the kind of an array's values; text and objects are one kind."""
    names = {"b": "true/false", "i": "whole", "u": "whole", "f": "real", "c": "complex"}
    return names.get(array.dtype.kind, "text")


def _expected_got(expected, got):
    """Both values, with as many digits or letters as it takes to tell them apart; None where none do."""
    for digits in (4, 8, 17):
        theirs, ours = short(expected, digits), short(got, digits)
        if theirs != ours:
            return f"expected {theirs}, got {ours}"
    return None


def describe(value):
    """Name a value by type, shape and content, in at most some 80 characters."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    return f"{type(value).__name__} {short(value)}"


def short(value, digits=4):
    """Return a value as one line of at most 80 characters, or 20 for a digit that its numbers have."""
    try:
        if isinstance(value, np.ndarray):
            text = np.array2string(
                value, precision=digits, threshold=8, edgeitems=3, separator=", "
            )
        elif isinstance(value, float | np.floating):
            text = f"{value:.{digits}g}"
        else:
            text = str(value.item()) if isinstance(value, np.generic) else repr(value)
    except Exception as error:  # noqa: BLE001  (a learner's class, a number of too many digits)
        text = f"what cannot be shown ({type(error).__name__})"
    text = " ".join(text.split())
    return text if len(text) <= 20 * digits else text[: 20 * digits - 3] + "..."
