"""Ids: the names by which queries and database images are told apart."""

import math
import unicodedata

import numpy as np


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
    if ids is None:
        ids = [f"{prefix}{number}" for number in range(n)]
    if isinstance(ids, str):
        raise TypeError(
            f"{what} is the single string {ids!r}; give a list of ids, such as [{ids!r}]"
        )
    array = np.array(ids if hasattr(ids, "__len__") else list(ids), dtype=object)
    if array.ndim != 1:
        raise ValueError(f"{what} has the shape {array.shape}; give a flat list of ids")
    if n is not None and len(array) != n:
        raise ValueError(f"{what} has {len(array)} ids for {n} items; give one id for each item")
    values = array.tolist()
    if len(set(values)) != len(values):
        seen = set()
        twice = next(value for value in values if value in seen or seen.add(value))
        raise ValueError(f"{what} has the id {twice!r} more than once; make every id unique")
    if not {type(None), float, np.float32, np.float64}.isdisjoint(map(type, values)):
        for value in values:
            if value is None or (isinstance(value, (float, np.floating)) and math.isnan(value)):
                raise ValueError(f"{what} has a missing id ({value}); give every item an id")
    array.flags.writeable = False
    return array


def own_positions(own, query_ids, database_ids):
    """Where each query itself is in the database: int64 (n_queries,), -1 for nowhere; None is answered by the ids."""
    if own is None:
        return positions_of(query_ids, database_ids)
    own = np.asarray(own)
    if (
        own.shape != (len(query_ids),)
        or own.dtype.kind not in "iu"
        or (len(own) and not -1 <= own.min() <= own.max() < len(database_ids))
    ):
        raise ValueError(
            f"own must be a position in the database for each of {len(query_ids)} queries, or -1, got {own.dtype} {own.shape}"
        )
    return own.astype(np.int64)


def composed(value):
    """A text with its accents composed (NFC); anything else as it is."""
    return (
        unicodedata.normalize("NFC", value)
        if isinstance(value, str) and not value.isascii()
        else value
    )


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
    out = np.full(len(wanted), -1, dtype=np.int64)
    try:
        if len(wanted) < len(known):  # a small dict is the cheaper one to make
            asked = set(wanted)
            where = {value: position for position, value in enumerate(known) if value in asked}
        else:
            where = {value: position for position, value in enumerate(known)}
        out[:] = [where.get(value, -1) for value in wanted]
        if any(at < 0 and not str(value).isascii() for at, value in zip(out, wanted, strict=True)):
            where = {
                composed(value): position for position, value in reversed(list(enumerate(known)))
            }
            out[:] = [
                where.get(composed(value), -1) if at < 0 else at
                for at, value in zip(out, wanted, strict=True)
            ]
    except TypeError as error:
        raise TypeError(f"{what} must be strings or integers ({error})") from error
    return out
