"""Ids and labels: one value an item, matched by name, missing ones told apart, as whole numbers where many are compared."""

import numbers
import unicodedata
from collections.abc import Mapping

import numpy as np
import pandas as pd

NO_LABEL_QUERY, NO_LABEL_DATABASE, PADDING = -1, -2, -3  # codes that match nothing
_BLOCK = 1 << 20  # numbers looked at together: temporary arrays stay near 8 MB each


def row_blocks(n, k):
    """Slices of the n rows of a table with k columns, that are as many as are looked at together.

    Examples
    --------
    >>> row_blocks(5, 1 << 19)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = max(1, _BLOCK // max(1, k))
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def as_ids(ids, what, n=None, prefix=""):
    """Return `ids` as a one-dimensional, read-only object array, checked.

    Parameters
    ----------
    ids : sequence of str or int, or None
        None numbers the items ``prefix + "0"``, ``prefix + "1"`` and so on; `n` must then be given.
    what : str
        How an error calls them, such as ``"query_ids"``.
    n : int, optional
        The length they must have.
    prefix : str, default=""
        Put before the numbers where `ids` is None.

    Raises
    ------
    ValueError
        Not one-dimensional, of the wrong length, missing (None or NaN) or not unique.
    TypeError
        A single string.

    Examples
    --------
    >>> as_ids(["a", "b"], "query_ids").tolist()
    ['a', 'b']
    >>> as_ids(None, "query_ids", n=2, prefix="q").tolist()
    ['q0', 'q1']
    """
    if isinstance(ids, str):
        raise TypeError(f"{what} is the single string {ids!r}; give a list of ids")
    ids = [f"{prefix}{number}" for number in range(n)] if ids is None else list(ids)
    array = np.array(ids, dtype=object)
    if array.ndim != 1 or (n is not None and len(array) != n):
        raise ValueError(f"{what} are {array.shape}, not ({n or 'n'},); give a flat list")
    if len(set(ids)) != len(ids):
        twice = pd.Series(array)[pd.Series(array).duplicated()].iloc[0]
        raise ValueError(f"{what} has the id {twice!r} more than once; make every id unique")
    if pd.isna(array).any():
        raise ValueError(f"{what} has a missing id (None or NaN); give every item an id")
    array.flags.writeable = False
    return array


def own_positions(own, query_ids, database_ids):
    """Where each query itself is in the database: int64 (n_queries,), -1 for nowhere; None is answered by the ids."""
    if own is None:
        return positions_of(query_ids, database_ids)
    own = np.asarray(own)
    fits = own.shape == (len(query_ids),) and own.dtype.kind in "iu"
    if not fits or not ((own >= -1) & (own < len(database_ids))).all():
        raise ValueError(f"own must be a position, or -1, for each of {len(query_ids)} queries")
    return own.astype(np.int64)


def composed(value):
    """A text with its accents composed (NFC); anything else as it is."""
    plain = not isinstance(value, str) or value.isascii()
    return value if plain else unicodedata.normalize("NFC", value)


def positions_of(wanted, known, what="database_ids"):
    """Position of each of `wanted` in `known`, as it is written or else with the accents of both composed; -1 where it is not there.

    Parameters
    ----------
    wanted : sequence of ids
    known : sequence of unique ids
    what : str
        How the error for ids that cannot be hashed calls them.

    Returns
    -------
    ndarray of int64, shape (len(wanted),)

    Examples
    --------
    >>> positions_of(["b", "x"], ["a", "b"]).tolist()
    [1, -1]
    """
    try:
        out = _look_up(wanted, known)
        lost = [i for i in np.flatnonzero(out < 0) if not str(wanted[i]).isascii()]
        if lost:
            out[lost] = _look_up([composed(wanted[i]) for i in lost], map(composed, known))
    except TypeError as error:
        raise TypeError(f"{what} must be strings or integers ({error})") from error
    return out


def _look_up(wanted, known):
    """Where each of `wanted` first is; the table holds no others, as there may be far fewer."""
    asked, where = set(wanted), {}
    for position, value in enumerate(known):
        if value in asked:
            where.setdefault(value, position)
    return np.array([where.get(value, -1) for value in wanted], dtype=np.int64)


def is_missing(value):
    """Whether a value is None, NaN, NaT or pandas' NA; a list or another container never is.

    Examples
    --------
    >>> is_missing(float("nan")), is_missing("nan"), is_missing([])
    (True, False, False)
    """
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
        There are more or fewer of them than ids; an index that neither names the items nor is 0, 1, 2 …, or that may be meant either way: numbers in another order
        than that of ids which are texts, as of a table that was sorted.

    Examples
    --------
    >>> aligned({"b": 1, "a": 2}, ["a", "b"], "labels").tolist()
    [2, 1]
    """
    if isinstance(values, str | bytes):
        raise TypeError(f"{what} is the single text {values!r}; give one value for each item")
    values = pd.Series(values, dtype=object) if isinstance(values, Mapping) else values
    values = values if hasattr(values, "__len__") else list(values)
    index = index_of(values)
    in_order = index is None or (like is not None and index.equals(like))
    by_position = in_order or index.equals(pd.RangeIndex(len(index)))
    if in_order or (by_position and (ids is None or len(index) != len(ids))):
        if ids is not None and len(values) != len(ids):
            raise ValueError(f"got {len(values)} {what} for {len(ids)} items; give one for each")
        return values
    for known in () if ids is None else (index, index.map(str)):
        if not known.is_unique or (at := positions_of(list(ids), known)).min(initial=0) < 0:
            continue
        if (by_position or known is not index) and (np.diff(at) < 0).any():
            break  # numbers that might be positions, or ids
        return values.iloc[at]
    else:
        if by_position:
            return values
    raise ValueError(
        f"the index of {what} (such as {list(index[:1])}) does not name the items one by one; "
        f"give .to_numpy() if they are in order, or set the index to the ids"
    )


def index_of(values):
    """The index of a pandas object, None for anything else."""
    return values.index if isinstance(values, pd.Series | pd.DataFrame) else None


def selection(which, ids):
    """A boolean Series as a mask in the order of the ids, see `aligned`; anything else as it is."""
    if not isinstance(which, pd.Series) or which.dtype not in (bool, "boolean"):
        return which
    if which.isna().any():
        raise ValueError("the mask has missing values; say what they mean: mask.fillna(False)")
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
    labels = aligned(labels, ids, what)
    if getattr(labels, "ndim", 1) != 1:
        raise ValueError(f"{what} have the shape {np.shape(labels)}; give one value for each item")
    dtype = getattr(labels, "dtype", None)
    series = pd.Series(list(labels), dtype=object) if dtype is None else pd.Series(labels)
    array = series.astype(object).to_numpy(copy=True)
    array[pd.isna(array)] = None
    if getattr(dtype, "kind", "O") not in "biufM":
        array[:] = pd.Series(map(_plain, array), dtype=object)
    return array


def _plain(value):
    """Text composed, None for the empty one; a NumPy scalar, or a tensor of one number, as Python's own."""
    if isinstance(value, str):
        return str(composed(value)) or None
    if isinstance(value, np.datetime64):
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
    try:
        codes, values = pd.factorize(np.concatenate([query_labels, database_labels]))
    except TypeError as error:
        raise ValueError(f"{what} must be text or numbers, one label for each item") from error
    _check_kinds(values)
    query_codes, database_codes = np.split(codes.astype(np.int32), [len(query_labels)])
    database_codes[database_codes < 0] = NO_LABEL_DATABASE
    return query_codes, database_codes


def _check_kinds(values):
    """Raise ValueError where labels that look alike are of two kinds, such as 1 and "1"."""
    kinds = [next((k for k in (str, numbers.Number) if isinstance(v, k)), type(v)) for v in values]
    seen = {}
    for value, kind in zip(values, kinds, strict=True) if len(set(kinds)) > 1 else ():
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        number = pd.to_numeric(text, errors="coerce")
        if seen.setdefault(text if pd.isna(number) else number, kind) is not kind:
            raise ValueError(
                f"labels that look alike are of two types, such as {value!r}, so that equal ones would not "
                "match; make all of them text: with_columns(label=[str(one) for one in images.labels])"
            )


def count_equal(query_codes, database_codes):
    """How many database codes equal each query code; negative codes equal none: int64 (n_queries,)."""
    n = int(query_codes.max(initial=0)) + 1
    counts = np.bincount(database_codes[database_codes >= 0], minlength=n)
    return np.where(query_codes >= 0, counts[query_codes], 0).astype(np.int64)
