"""The tables of a collection: what is known of each image, and what was refused."""

import numpy as np
import pandas as pd


def problem_table(problems=()):
    """Table (name, reason) of images that cannot be used."""
    return pd.DataFrame(list(problems), columns=["name", "reason"], dtype=object)


def table_for(n, table, ids):
    """The given table (or an empty one) with `ids` as index."""
    ids = [str(i) for i in ids]
    if table is None:
        table = pd.DataFrame(index=range(n))
    if len(table) != n or len(ids) != n:
        raise ValueError(f"got {n} images, {len(table)} table rows and {len(ids)} ids; the numbers must agree")
    return table.set_index(pd.Index(ids, dtype=object))


def checked_table(table):
    """Check that ids are unique strings."""
    if not all(isinstance(i, str) for i in table.index):
        raise TypeError("ids must be strings; use table.index.astype(str)")
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][0]
        where = np.flatnonzero(table.index == twice)[:2]
        raise ValueError(f"duplicate id {twice!r} (rows {where[0]} and {where[1]}); ids must be unique")
    return table
