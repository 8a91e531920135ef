"""Compare an answer with the expected value, and say the difference in a few words."""

import numbers

import numpy as np
from numpy import (
    inf,
    isnan,
)  # bound here: a notebook that replaces them in NumPy replaces nothing here


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
    except (
        ValueError,
        TypeError,
        RuntimeError,
    ):  # ragged rows; a tensor with a gradient or on another device
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
