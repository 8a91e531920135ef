"""What a search for regions gives: a ranking of images, and in each the regions that were meant."""

from dataclasses import dataclass

from ..ranking import Ranking


@dataclass(frozen=True, eq=False, repr=False)
class RegionRanking:
    """Images, nearest first, and where in them the thing is.

    Attributes
    ----------
    ranking : Ranking
        Of images: ``evaluate(found.ranking, relevance)`` judges it.
    regions : list of list of tuple of Region
        ``regions[query][rank]``: the best region of the image for each part of the query, in the order of the parts.
    """

    ranking: Ranking
    regions: list

    def region(self, query=0, rank=0):
        """The region found for a query of one part, at a rank counted from 0.

        Raises
        ------
        IndexError
            So many results there are not.
        """
        if rank >= len(self.regions[query]):
            raise IndexError(
                f"rank {rank} of query {query} does not exist: it has {len(self.regions[query])} results, counted from 0"
            )
        return self.regions[query][rank][0]

    def __len__(self):
        return len(self.regions)

    def __repr__(self):
        return f"RegionRanking({self.ranking!r})"
