"""Call a learner's function without harm: on copies of the arguments, within a time limit, no exception or warning out."""

import copy
import ctypes
import os
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cbirkit.checks._compare import difference


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
