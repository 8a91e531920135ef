"""Which results are right: by a column of the collections, or by a `Relevance`."""

import numpy as np

from ..images import ImageCollection
from ..images.tables import is_several, text_of
from ..ranking import Relevance
from ..ranking.codes import is_missing


class Judge:
    """Says of results whether they are right, wrong or junk.

    Parameters
    ----------
    by : str, optional
        Column that a right result shares with the query. Default: ``instance`` if there, else ``label``.
    relevance : Relevance, optional
        Used instead of a column.
    """

    def __init__(self, by=None, relevance=None):
        if relevance is not None and not isinstance(relevance, Relevance):
            raise TypeError(
                f"relevance must be a Relevance, got {type(relevance).__name__}; see images.relevance()"
            )
        self.by = by
        self.relevance = relevance
        self._rows = (
            {} if relevance is None else {i: row for row, i in enumerate(relevance.query_ids)}
        )
        self._places = (
            {}
            if relevance is None
            else {i: place for place, i in enumerate(relevance.database_ids)}
        )
        self._made = {}  # (id of queries, id of database) -> (queries, database, (Relevance or None, column))

    def verdicts(self, query, database, ids):
        """Judge the results of one query.

        Parameters
        ----------
        query : Query
        database : ImageCollection
            Of the results.
        ids : sequence of str

        Returns
        -------
        verdicts : list of str
            "right", "wrong" or "junk"; all "" where nothing is known of the query.
        n_positives : int or None
            Right images in the whole database.
        """
        nothing = [""] * len(ids), None
        if query.images is None:
            return nothing
        if self.relevance is not None:
            relevance, row = self.relevance, self._rows.get(query.name, -1)
            places = [self._places.get(i, -1) for i in ids]
        else:
            relevance, by = self._between(query.images, database)
            row = int(query.images.positions([query.name])[0])
            places = database.positions(ids)
            if relevance is None or is_missing(query.images.table[by].iloc[row]):
                return nothing
        if row < 0:
            return nothing
        truth = relevance.select(np.array([row]))
        places = np.asarray(places, dtype=np.int64)[None]  # (1, k)
        names = np.where(
            truth.junk(places), "junk", np.where(truth.gains(places) > 0, "right", "wrong")
        )[0]
        return [str(name) for name in names], int(truth.n_positives[0])

    def column(self, images):
        """Name of the column that decides in a collection, or None."""
        if self.by is not None:
            return self.by
        return next((name for name in ("instance", "label") if name in images.table), None)

    def caption(self, images, image_id):
        """What to write under an image: its label, else the last part of its id (all of it where that is a mere number)."""
        for name in ("label", self.column(images)):
            known = name is not None and name in images.table
            if known and (
                text := text_of(images.table[name].iloc[int(images.positions([image_id])[0])])
            ):
                return text
        tail = image_id.rsplit("/", 1)[-1]
        return image_id if tail.isdigit() else tail

    def _between(self, queries: ImageCollection, database: ImageCollection):
        """The relevance between two collections, made once, and the column it goes by."""
        key = id(queries), id(database)
        if key not in self._made:
            by = self.column(database)
            known = by is not None and by in queries.table and by in database.table
            known = known and (
                self.by is not None
                or not any(map(is_several, [*queries.table[by], *database.table[by]]))
            )
            relevance = queries.relevance(queries, database, by=by) if known else None
            self._made[key] = (
                queries,
                database,
                (relevance, by),
            )  # kept, so that their id() stays theirs
        return self._made[key][2]
