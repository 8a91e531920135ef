"""Grade an answer against cases that come from a fresh process, in which nothing of the notebook has run.

The learner's function runs where it is; only its results travel, as plain data, and are compared in the other process.
They stand in the cell's outputs too, so that nbgrader's own process can compare them once more (`cbirkit.checks.referee`).
"""

import builtins
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from .running import Elsewhere, Outcome, OutOfTime, Verdict, call, error_sentence, short

DEMONSTRATION = "demonstration"  # tag of a cell that is neither an answer nor a check
RECORD = "application/vnd.cbirkit.outcomes"  # under which a graded cell's outputs hold what the answer gave
_UNREADABLE = (StopIteration, ValueError, TypeError, LookupError, AttributeError)
_UNREADABLE += (RecursionError, MemoryError)
_VERDICTS = {}  # of this kernel, by the name of the check
_REFEREE = (
    "import sys; sys.path.append({!r}); from cbirkit.checks.grading import _referee; _referee({!r})"
)


class NotPassed(AssertionError):
    """What a grading cell raises where it is run by nbgrader and the answer is not right; its text is the verdict's."""

    def _render_traceback_(self):
        return [str(self)]  # shown in place of a traceback, in which nothing is the learner's


def grade(check, answer, *, points=1):
    """Say how an answer stands and, where nbgrader runs the notebook, let the cell fail unless it is right.

    Parameters
    ----------
    check : str
        Name of the check, such as ``"check_precision_at_k"``.
    answer : callable
        The learner's function.
    points : float
        What a right answer is worth.

    Returns
    -------
    float or None
        Points that `nbgrader autograde` gives to an answer that is right in part.

    Raises
    ------
    NotPassed
        nbgrader autogrades or validates the notebook, and the answer earns nothing.
    """
    from cbirkit import checks

    run_by = os.environ.get("NBGRADER_EXECUTION")
    show = getattr(builtins, "display", print)  # IPython's, in a notebook
    if run_by == "autograde" and callable(answer):
        verdict, record = _from_fresh_process(check, answer)
        show({RECORD: record}, raw=True)
    else:
        verdict = getattr(checks, check)(answer)
    _VERDICTS[check] = verdict
    earned = round(verdict.worth * points, 2)
    if run_by and not verdict.passed and not (earned and run_by == "autograde"):
        raise NotPassed(verdict)
    show(verdict)
    return earned if run_by and not verdict.passed else None


def points(possible):
    """What the graded cells of a notebook have earned so far.

    Parameters
    ----------
    possible : dict of str to float
        Points of a right answer by the name of its check, ``{"check_precision_at_k": 1}``.

    Returns
    -------
    pandas.DataFrame
        By exercise: `status` (``"not run"`` where the graded cell was not), points `earned` and those `possible`; the sum last.
        Nothing is graded here: nbgrader decides.
    """
    rows = {}
    for check, most in possible.items():
        name = check.removeprefix("check_")
        verdict = _VERDICTS.get(check, Verdict(name, "not run", ""))
        worth = 1.0 if verdict.passed else verdict.worth
        rows[name] = [verdict.status, round(worth * most, 2), most]
    rows["sum"] = ["", sum(row[1] for row in rows.values()), sum(possible.values())]
    return pd.DataFrame.from_dict(rows, "index", columns=["status", "earned", "possible"])


def verdict_on(check, record):
    """Verdict of a check on the outcomes that a graded cell recorded; ValueError where they are not those of its cases."""
    from cbirkit import checks

    outcomes = iter(record.splitlines())

    def ask(arguments, seconds):
        try:
            return _decoded(next(outcomes))
        except _UNREADABLE as error:
            why = "the results of the answer did not all arrive, or cannot be read"
            raise ValueError(why) from error

    return getattr(checks, check)(Elsewhere(ask))


def _from_fresh_process(check, answer):
    code = _REFEREE.format(str(Path(__file__).resolve().parents[2]), check)
    record, pipes = [], {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    pipes["stderr"] = subprocess.DEVNULL
    with subprocess.Popen([sys.executable, "-P", "-c", code], **pipes) as referee:
        while isinstance(message := pickle.load(referee.stdout), tuple):
            record.append(_encoded(call(answer, *message), message[1]))
            referee.stdin.write(f"{record[-1]}\n".encode())
            referee.stdin.flush()
    return message, "\n".join(record)


def _referee(check):
    """Run a check in this process on an answer that lives in the one that started it."""
    from cbirkit import checks

    def say(message):
        pickle.dump(message, out)
        out.flush()

    def ask(*question):
        say(question)
        return _decoded(sys.stdin.readline())

    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # whatever prints does not come between
        say(getattr(checks, check)(Elsewhere(ask)))


def _encoded(outcome, seconds):
    """An outcome as a line of JSON."""
    told = {"changed": outcome.changed}
    if outcome.error is not None:
        told["error"] = type(outcome.error).__name__
        told["sentence"] = error_sentence(outcome.error, seconds)
    try:
        return json.dumps(told | {"value": _plain(outcome.value)})
    except (RecursionError, ValueError):  # it holds itself, or more digits than Python prints
        endless = [type(outcome.value).__name__, "that has no end"]
        return json.dumps(told | {"value": {"other": endless}})


def _plain(value):
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple | range):
        return {"tuple" if isinstance(value, tuple) else "list": [_plain(part) for part in value]}
    if isinstance(value, dict):
        return {"dict": [[_plain(key), _plain(part)] for key, part in value.items()]}
    try:
        array = np.asarray(value) if hasattr(value, "__array__") else None
    except (RuntimeError, TypeError):  # a tensor with a gradient, or on another device
        array = None
    if array is None or array.dtype.kind not in "biufUO":
        return {"other": [type(value).__name__, short(value)]}
    dtype = "O" if array.dtype.kind in "UO" else array.dtype.str
    values = [_plain(part) for part in array.ravel().tolist()]
    return {"array": values, "dtype": dtype, "shape": array.shape}


def _decoded(line):
    """The outcome that a line of JSON holds, made of plain values and arrays of the size that was sent."""
    told = json.loads(line)
    if "error" not in told:
        return Outcome(_value(told["value"]), None, bool(told["changed"]))
    name = told["error"]
    base = {"OutOfTime": OutOfTime, "NotImplementedError": NotImplementedError}.get(name, Exception)
    error = type(name, (base,), {"sentence": str(told["sentence"])})()
    return Outcome(None, error, bool(told["changed"]))


def _value(plain):
    if not isinstance(plain, dict):
        return plain
    if "array" in plain and np.dtype(plain["dtype"]).itemsize <= 16:
        parts = [_value(part) for part in plain["array"]]
        return np.fromiter(parts, plain["dtype"], len(parts)).reshape(plain["shape"])
    if "dict" in plain:
        return {_value(key): _value(part) for key, part in plain["dict"]}
    if "other" in plain:  # equal to nothing; its type and text are told
        return type(plain["other"][0], (), {"__repr__": lambda _: str(plain["other"][1])})()
    (kind, parts), make = next(iter(plain.items())), {"tuple": tuple, "list": list}
    return make[kind](_value(part) for part in parts)
