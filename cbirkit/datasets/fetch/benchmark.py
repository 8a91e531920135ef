"""`Benchmark`: queries, database and official relevance where these are more than columns of one table."""

from collections.abc import Mapping
from dataclasses import dataclass

from cbirkit.images import ImageCollection
from cbirkit.ranking import Relevance


@dataclass(frozen=True, eq=False)
class Benchmark:
    """Queries, a database, and what answers what, under one or more protocols.

    ``split()`` and ``relevance()`` do what those of an `ImageCollection` do, so code for one works for the
    other.

    Parameters
    ----------
    name : str
    queries, database : ImageCollection
    positives, junk : mapping of protocol to (mapping of query id to a collection of database ids)
    protocol : str
        The one meant where none is named.

    Examples
    --------
    >>> images = ImageCollection.from_arrays(np.zeros((3, 8, 8)), ids=["q", "a", "b"])
    >>> positives, junk = {"easy": {"q": ["a"]}}, {"easy": {"q": ["b"]}}
    >>> benchmark = Benchmark("toy", images[:1], images[1:], positives, junk, "easy")
    >>> queries, database = benchmark.split()
    >>> benchmark.relevance(queries, database).n_positives.tolist()
    [1]
    """

    name: str
    queries: ImageCollection
    database: ImageCollection
    positives: Mapping
    junk: Mapping
    protocol: str

    @property
    def protocols(self):
        """Names of the protocols."""
        return tuple(self.positives)

    def split(self):
        """The queries and the database."""
        return self.queries, self.database

    def relevance(self, queries=None, database=None, *, protocol=None):
        """What answers what under a protocol.

        Parameters
        ----------
        queries, database : ImageCollection, optional
            Some of the benchmark's own, such as those that can be read (``database.verify()``). Default: all.
        protocol : str, optional
            One of `protocols`.

        Returns
        -------
        Relevance

        Raises
        ------
        ValueError
            No such protocol, or a query that is not one of the benchmark's.
        """
        protocol = self.protocol if protocol is None else protocol
        if protocol not in self.positives:
            raise ValueError(
                f"no protocol {protocol!r} in {self.name}; there are: {', '.join(self.protocols)}"
            )
        query_ids = (self.queries if queries is None else queries).ids
        database_ids = (self.database if database is None else database).ids
        self.queries.positions(query_ids)  # names a query that is not one of these
        there = set(database_ids)

        def lists(of):
            return {
                query: [i for i in of[protocol].get(query, ()) if i in there] for query in query_ids
            }

        return Relevance.from_sets(query_ids, database_ids, lists(self.positives), lists(self.junk))

    def __repr__(self):
        return (
            f"Benchmark {self.name!r}: {len(self.queries):,} queries, {len(self.database):,} database images; "
            f"protocols: {', '.join(self.protocols)} (default {self.protocol})"
        )
