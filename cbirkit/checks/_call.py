"""Call a learner's function without harm: on copies of the arguments, within a time limit, no exception out."""

import copy
import ctypes
import threading
import traceback
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


def call(function, arguments, seconds):
    """Call ``function(*arguments)`` on copies of the arguments, for at most `seconds`.

    Returns
    -------
    Outcome
        `error` is an `OutOfTime` where the call did not end in time.
    """
    given = copy.deepcopy(arguments)
    box = {}

    def target():
        try:
            box["value"] = function(*given)
        except BaseException as error:  # noqa: BLE001  (whatever a learner's code raises becomes a sentence)
            box["error"] = error

    thread = threading.Thread(target=target, daemon=True, name="cbirkit-check")
    thread.start()
    try:
        thread.join(seconds)
    finally:  # also when the learner presses "interrupt"
        late = thread.is_alive()
        if late:
            _stop(thread)
    error = OutOfTime() if late else box.get("error")
    changed = any(
        difference(before, after, tolerance=0) for before, after in zip(arguments, given, strict=True)
    )
    return Outcome(box.get("value"), error, changed)


def _stop(thread):
    """Raise OutOfTime in a thread of Python code; one that hangs in C is left behind as a daemon."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(OutOfTime))
    thread.join(1)


def error_sentence(error, seconds):
    """Say in one clause how a call ended, with the line of the learner's code that raised."""
    if isinstance(error, OutOfTime):
        return f"did not end within {seconds:g} s: is there a loop that never stops?"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    line = f" in the line `{frames[0].line}`" if frames and frames[0].line else ""
    text = str(error).strip().splitlines()
    return f"raised {type(error).__name__}{': ' + text[0] if text else ''}{line}"
