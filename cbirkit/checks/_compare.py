"""Compare an answer with the expected value, and say the difference in a few words."""

import numbers

import numpy as np


def difference(expected, got, *, tolerance):
    """Return None if `got` is `expected`, else what differs, in words a learner can act on.

    Arrays must be NumPy arrays of the same shape and kind (whole numbers, truth values, text or real numbers);
    numbers agree within `tolerance`, absolute and relative; NaN agrees with NaN.
    """
    if got is None and expected is not None:
        return "got None: does the function end with `return`?"
    if isinstance(expected, np.ndarray):
        return _array_difference(expected, got, tolerance)
    if isinstance(expected, bool | np.bool_):
        good = isinstance(got, bool | np.bool_) and bool(got) == bool(expected)
        return None if good else _expected_got(expected, got)
    if isinstance(expected, numbers.Real):
        return _number_difference(expected, got, tolerance)
    if isinstance(expected, list | tuple):
        return _sequence_difference(expected, got, tolerance)
    if isinstance(expected, dict):
        return _dict_difference(expected, got, tolerance)
    return None if type(got) is type(expected) and got == expected else _expected_got(expected, got)


def _dict_difference(expected, got, tolerance):
    if not isinstance(got, dict) or set(got) != set(expected):
        return f"expected a dict with the keys {short(list(expected))}, got {short(list(got)) if isinstance(got, dict) else describe(got)}"
    parts = ((key, difference(value, got[key], tolerance=tolerance)) for key, value in expected.items())
    return next((f"value of {key!r}: {part}" for key, part in parts if part), None)


def _number_difference(expected, got, tolerance):
    if isinstance(got, np.ndarray) and got.ndim == 0:
        got = got[()]
    if not isinstance(got, numbers.Real | np.bool_):
        return f"expected a single number, {short(expected)}, got {describe(got)}"
    same = np.isclose(float(got), float(expected), rtol=tolerance, atol=tolerance, equal_nan=True)
    return None if same else _expected_got(expected, got)


def _sequence_difference(expected, got, tolerance):
    if not isinstance(got, list | tuple):
        return f"expected {describe(expected)}, got {describe(got)}"
    if len(got) != len(expected):
        return f"expected {len(expected)} values, {short(expected)}, got {len(got)}, {short(got)}"
    parts = (difference(e, g, tolerance=tolerance) for e, g in zip(expected, got, strict=True))
    return next((f"value {n + 1}: {part}" for n, part in enumerate(parts) if part), None)


def _array_difference(expected, got, tolerance):
    if not isinstance(got, np.ndarray):
        return f"expected a NumPy array of shape {expected.shape}, got {describe(got)}"
    if got.shape != expected.shape:
        return f"expected shape {expected.shape}, got {got.shape}"
    if _kind(got) != _kind(expected) and not (_kind(expected) == "real" and _kind(got) == "whole"):
        return f"expected {_kind(expected)} values ({expected.dtype}), got {_kind(got)} ({got.dtype})"
    if _kind(expected) == "real":
        same = np.isclose(got.astype(float), expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    else:
        same = np.asarray(got == expected, dtype=bool)
    if same.all():
        return None
    if expected.size <= 8:
        return _expected_got(expected, got)
    where = tuple(int(i) for i in np.argwhere(~same)[0])
    place = where[0] if len(where) == 1 else where
    how_many = f"{int((~same).sum())} of {same.size} differ"
    return f"{_expected_got(expected[where], got[where])} at [{place}] ({how_many})"


def _kind(array):
    """Name the kind of an array's values; text and objects are one kind."""
    return {"b": "true/false", "i": "whole", "u": "whole", "f": "real"}.get(array.dtype.kind, "text")


def _expected_got(expected, got):
    return f"expected {short(expected)}, got {short(got)}"


def describe(value):
    """Name a value by type, shape and content, in at most some 80 characters."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    return f"{type(value).__name__} {short(value)}"


def short(value):
    """Return a value as one line of at most 80 characters."""
    if isinstance(value, np.ndarray):
        text = np.array2string(value, precision=4, threshold=8, edgeitems=3, separator=", ")
    elif isinstance(value, float | np.floating):
        text = f"{value:.4g}"
    else:
        text = str(value.item()) if isinstance(value, np.generic) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= 80 else text[:77] + "..."
