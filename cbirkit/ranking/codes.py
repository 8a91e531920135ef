"""Labels as whole numbers, so that equal labels are found without a table of queries x database."""

import numpy as np

NO_LABEL_QUERY, NO_LABEL_DATABASE, PADDING = -1, -2, -3  # codes that match nothing


def label_codes(query_labels, database_labels):
    """Labels as int32 codes of queries and database items; missing ones get codes that match nothing."""
    import pandas as pd

    codes = pd.factorize(np.concatenate([query_labels, database_labels]))[0].astype(np.int32)
    query_codes, database_codes = codes[: len(query_labels)], codes[len(query_labels) :]
    database_codes[database_codes < 0] = NO_LABEL_DATABASE
    return query_codes, database_codes


def count_equal(query_codes, database_codes):
    """How many database codes equal each query code; negative codes equal none: int64 (n_queries,)."""
    counts = np.bincount(database_codes[database_codes >= 0], minlength=int(query_codes.max(initial=0)) + 1)
    return np.where(query_codes >= 0, counts[query_codes], 0).astype(np.int64)


def as_labels(labels):
    array = np.asarray(labels, dtype=object)
    if array.ndim != 1:
        raise ValueError(f"labels have the shape {array.shape}; give one label for each item")
    return array
