"""Which rows of a ranking to draw, and what each result is: right, wrong or junk."""

import numpy as np

from .style import safe_text


def positive(value, name):
    """`value` as an int of at least 1; ValueError otherwise."""
    if int(value) < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return int(value)


def chosen_rows(ranking, rows):
    """Positions in `ranking` for a number of first queries, or for positions and query ids."""
    if isinstance(rows, int | np.integer):
        return list(range(min(positive(rows, "rows"), len(ranking))))
    where = {str(one): i for i, one in enumerate(ranking.query_ids)}
    chosen = []
    for row in [rows] if isinstance(rows, str) else rows:
        if isinstance(row, str) and row in where:
            chosen.append(where[row])
        elif not isinstance(row, str) and -len(ranking) <= row < len(ranking):
            chosen.append(int(row) % len(ranking))
        else:
            raise ValueError(
                f"no query {row!r} in the ranking of {len(ranking)} queries; give positions or query ids"
            )
    return chosen


def relevance_rows(relevance, ranking, rows):
    """`relevance` of the chosen rows of `ranking`, found by query id; the databases must be the same."""
    if not np.array_equal(relevance.database_ids, ranking.database_ids):
        raise ValueError(
            f"the relevance knows {len(relevance.database_ids)} database images, "
            f"the ranking {len(ranking.database_ids)}, and the lists differ; make both from one database"
        )
    where = {one: i for i, one in enumerate(relevance.query_ids)}
    missing = [ranking.query_ids[row] for row in rows if ranking.query_ids[row] not in where]
    if missing:
        raise ValueError(
            f"the relevance does not know query {safe_text(missing[0])!r}; make it for the ranking's queries"
        )
    return relevance.select(
        np.array([where[ranking.query_ids[row]] for row in rows], dtype=np.int64)
    )


def verdicts_of(ranking, relevance, rows, k):
    """What each result of the chosen rows is.

    Returns
    -------
    verdicts : list of list of str
        "right", "wrong", "junk" or, without relevance, "unknown"; no entry where the ranking is padded.
    found : list of str
        For each row, words such as "3 of 4 found"; empty without relevance.
    """
    indices = ranking.indices[rows][:, :k]  # (n_rows, k)
    if relevance is None:
        return [["unknown"] * int((row >= 0).sum()) for row in indices], [""] * len(rows)
    truth = relevance_rows(relevance, ranking, rows)
    names = np.where(
        truth.junk(indices), "junk", np.where(truth.gains(indices) > 0, "right", "wrong")
    )
    verdicts = [
        [str(n) for n, i in zip(*row, strict=True) if i >= 0]
        for row in zip(names, indices, strict=True)
    ]
    found = [
        f"{v.count('right')} of {n} found" for v, n in zip(verdicts, truth.n_positives, strict=True)
    ]
    return verdicts, found
