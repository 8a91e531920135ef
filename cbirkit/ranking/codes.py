"""Labels: one value an item, missing ones told apart, as whole numbers where many are compared."""

import numbers
from collections.abc import Mapping

import numpy as np

from .ids import composed, positions_of

NO_LABEL_QUERY, NO_LABEL_DATABASE, PADDING = -1, -2, -3  # codes that match nothing


def is_missing(value):
    """Whether a value is None, NaN, NaT or pandas' NA; a list or another container never is.

    Examples
    --------
    >>> is_missing(float("nan")), is_missing("nan"), is_missing([])
    (True, False, False)
    """
    import pandas as pd

    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def aligned(values, ids, what, like=None):
    """One value an item, in the order of the items: a pandas object or a dict by its index, if that names them.

    Parameters
    ----------
    values : Series, DataFrame, dict or any other sequence
    ids : sequence of str, or None
        None: the items have no names.
    what : str
        How an error calls the values.
    like : Index, optional
        Of the pandas object that the items themselves came in: values of the same index are in order.

    Raises
    ------
    TypeError
        A single text.
    ValueError
        An index that neither names the items nor is 0, 1, 2 …, or that may be meant either way: numbers in another order
        than that of ids which are texts, as of a table that was sorted.

    Examples
    --------
    >>> aligned({"b": 1, "a": 2}, ["a", "b"], "labels").tolist()
    [2, 1]
    """
    import pandas as pd

    if isinstance(values, str | bytes):
        raise TypeError(f"{what} is the single text {values!r}; give one value for each item")
    values = pd.Series(values, dtype=object) if isinstance(values, Mapping) else values
    if not isinstance(values, pd.Series | pd.DataFrame) or (
        like is not None and values.index.equals(like)
    ):
        return values
    by_position = values.index.equals(pd.RangeIndex(len(values)))
    names = pd.Index([] if ids is None else ids, dtype=object)
    forms = (
        ()
        if ids is None or (by_position and len(values) != len(names))
        else ((values.index, True), (values.index.map(str), False))
    )
    for known, as_given in forms:
        if not known.is_unique or (at := positions_of(names, known)).min(initial=0) < 0:
            continue
        if (by_position or not as_given) and (np.diff(at) < 0).any():
            break
        return values.iloc[at]
    else:
        if by_position:
            return values
    example = repr(values.index[0]) if len(values) else "nothing"
    raise ValueError(
        f"the index of {what} (it begins with {example}) does not name the items one by one; "
        f"give .to_numpy() if they are in order, or set the index to the ids"
    )


def index_of(values):
    """The index of a pandas object, None for anything else."""
    import pandas as pd

    return values.index if isinstance(values, pd.Series | pd.DataFrame) else None


def selection(which, ids):
    """A boolean Series as a mask in the order of the ids, see `aligned`; anything else as it is."""
    import pandas as pd

    if not isinstance(which, pd.Series) or which.dtype not in (bool, "boolean"):
        return which
    if which.isna().any():
        raise ValueError(
            "the mask has missing values; say what they mean, such as mask.fillna(False)"
        )
    return aligned(which, ids, "mask").to_numpy(bool)


def as_labels(labels, ids=None, what="labels"):
    """One label an item as an object array (n,): plain values, text composed (NFC), None where it is missing or an empty text.

    Raises
    ------
    ValueError
        Not one-dimensional; a pandas object whose index says another order, see `aligned`.

    Examples
    --------
    >>> as_labels(["a", float("nan"), np.int64(1)]).tolist()
    ['a', None, 1]
    """
    import pandas as pd

    labels = aligned(labels, ids, what)
    if getattr(labels, "ndim", 1) != 1:
        raise ValueError(f"{what} have the shape {np.shape(labels)}; give one value for each item")
    if not hasattr(labels, "dtype"):
        labels = list(labels)
    array = (
        pd.Series(labels, dtype=None if hasattr(labels, "dtype") else object)
        .astype(object)
        .to_numpy(copy=True)
    )
    array[pd.isna(array)] = None
    if getattr(getattr(labels, "dtype", None), "kind", "O") not in "biufM":
        array[:] = pd.Series(map(_plain, array), dtype=object)
    return array


def _plain(value):
    """Text composed, None for the empty one; a NumPy scalar, or a tensor of one number, as Python's own."""
    if isinstance(value, str):
        return str(composed(value)) or None
    if isinstance(value, np.datetime64):
        import pandas as pd

        return pd.Timestamp(value)
    if hasattr(value, "ndim") and hasattr(value, "item"):
        return value.item() if value.ndim == 0 else np.asarray(value)
    return value


def label_codes(query_labels, database_labels, what="labels"):
    """Labels as int32 codes of queries and database items; missing ones get codes that match nothing.

    Raises
    ------
    ValueError
        Labels that are lists; or a number beside the same number as text, which would match nothing.
    """
    import pandas as pd

    try:
        codes, values = pd.factorize(np.concatenate([query_labels, database_labels]))
    except TypeError as error:
        raise ValueError(
            f"{what} must be text or numbers, one label for each item; choose another column"
        ) from error
    _check_kinds(values)
    codes = codes.astype(np.int32)
    query_codes, database_codes = codes[: len(query_labels)], codes[len(query_labels) :]
    database_codes[database_codes < 0] = NO_LABEL_DATABASE
    return query_codes, database_codes


def _check_kinds(values):
    """Raise ValueError where labels that look alike are of two kinds, such as 1 and "1"."""
    kinds = [
        str
        if isinstance(one, str)
        else numbers.Number
        if isinstance(one, numbers.Number)
        else type(one)
        for one in values
    ]
    if len(set(kinds)) < 2:
        return
    seen = {}
    for value, kind in zip(values, kinds, strict=True):
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        for key in {text, _number(value if kind is numbers.Number else text)} - {None}:
            if seen.setdefault(key, kind) is not kind:
                raise ValueError(
                    f"labels that look alike are of two types, such as {value!r}, so that equal ones would not match; "
                    "make all of them text or all numbers: with_columns(label=[str(one) for one in images.labels])"
                )


def _number(value):
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def count_equal(query_codes, database_codes):
    """How many database codes equal each query code; negative codes equal none: int64 (n_queries,)."""
    counts = np.bincount(
        database_codes[database_codes >= 0], minlength=int(query_codes.max(initial=0)) + 1
    )
    return np.where(query_codes >= 0, counts[query_codes], 0).astype(np.int64)
