"""What the Metric Lab edits: one ranked list with its truth, and the examples it starts from."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

JUNK = -1
MOST_ITEMS, MOST_GAIN, MOST_MISSING = 20, 3, 1000


@dataclass(frozen=True)
class Listing:
    """One ranked list with its truth, nearest first.

    Attributes
    ----------
    items : tuple of int
        -1 is junk, 0 not relevant, 1 to 3 relevant with that gain.
    ties : tuple of bool
        One fewer than `items`: whether an item is as far away as the next.
    missing : int
        Positives of the database that the list does not hold; their gain is 1.
    k : int
        Cut-off.

    Examples
    --------
    >>> listing = Listing((0, 1, -1, 1), missing=2)
    >>> listing.relevant.tolist(), listing.n_positives, listing.places.tolist()
    ([False, True, True], 4, [0, 1, 3])
    """

    items: tuple
    ties: tuple = ()
    missing: int = 0
    k: int = 10

    def __post_init__(self):
        object.__setattr__(self, "items", tuple(int(item) for item in self.items))
        ties = tuple(bool(tie) for tie in self.ties) or (False,) * max(len(self.items) - 1, 0)
        object.__setattr__(self, "ties", ties)
        if not 1 <= len(self.items) <= MOST_ITEMS:
            raise ValueError(
                f"a list of 1 to {MOST_ITEMS} results can be edited, got {len(self.items)}"
            )
        if not all(JUNK <= item <= MOST_GAIN for item in self.items):
            raise ValueError(
                f"items must be -1 (junk), 0 or a gain of 1 to {MOST_GAIN}, got {self.items}"
            )
        if len(ties) != len(self.items) - 1:
            raise ValueError(
                f"{len(self.items)} results have {len(self.items) - 1} gaps, got {len(ties)} ties"
            )
        if not 0 <= self.missing <= MOST_MISSING:
            raise ValueError(f"missing must be 0 to {MOST_MISSING} positives, got {self.missing}")
        if isinstance(self.k, bool) or self.k != int(self.k) or self.k < 1:
            raise ValueError(f"k must be a whole number of at least 1, got {self.k!r}")

    @cached_property
    def places(self):
        """Positions in `items` of what counts, int64 (n,): junk is deleted before ranks are counted."""
        return np.flatnonzero(np.array(self.items) != JUNK)

    @cached_property
    def gains(self):
        return np.array(self.items, dtype=np.float64)[self.places]

    @cached_property
    def relevant(self):
        return self.gains > 0

    @cached_property
    def distances(self):
        """Equal for tied items, float64 (n,)."""
        steps = np.concatenate([[1], ~np.array(self.ties, dtype=bool)])
        return np.cumsum(steps).astype(np.float64)[self.places]

    @property
    def n_positives(self):
        """R"""
        return int(self.relevant.sum()) + self.missing

    @cached_property
    def ideal(self):
        return np.concatenate([self.gains, np.ones(self.missing)])


def _tied(*sizes):
    """Ties of consecutive groups of these sizes."""
    return tuple(i < size - 1 for size in sizes for i in range(size))[:-1]


PRESETS = {  # name: (the list, which number to explain, what there is to see)
    "hits at 2, 4 and 8": (
        Listing((0, 1, 0, 1, 0, 0, 0, 1), k=5),
        "trapezoid_map",
        "The finite sum and the trapezoid of the Oxford and Paris code differ wherever a miss precedes a hit.",
    ),
    "2 found of 20": (
        Listing((1, 0, 0, 1, 0, 0, 0, 0, 0, 0), missing=18, k=10),
        "map@10/hits",
        "AP@10 of one list, ten times as large or as small, depending on what the sum is divided by.",
    ),
    "finds 1 of 3": (
        Listing((1, 0, 0, 0), missing=2, k=4),
        "map@4/hits",
        'Divided by hits, this is perfect. Compare "finds 3 of 3".',
    ),
    "finds 3 of 3": (
        Listing((1, 1, 0, 1), k=4),
        "map@4/hits",
        'Everything was found, and divided by hits it scores less than "finds 1 of 3".',
    ),
    "MAP@R, R = 4": (
        Listing((1, 0, 1, 1, 0, 0, 1), k=4),
        "map@r",
        "MAP@R and R-precision look at the first R ranks: the hit at rank 7 does not count.",
    ),
    "graded": (
        Listing((3, 2, 0, 1, 2), k=5),
        "ndcg@5",
        "Gains of 0 to 3. Exponential and linear gains give two nDCGs; precision sees only whether a gain is there.",
    ),
    "ties of 2, 3 and 4": (
        Listing((1, 0, 1, 0, 0, 1, 1, 0, 0), _tied(2, 3, 4), k=5),
        "expected_map",
        'Results at equal distance may come in any order. "AP" takes the order shown.',
    ),
    "ties of 1, 3 and 3": (
        Listing((0, 1, 1, 0, 1, 0, 0), _tied(1, 3, 3), k=5),
        "expected_map",
        "Sorting does not decide between equals: the mean over all orders does not depend on luck.",
    ),
    "one tie of 8": (
        Listing((1, 0, 1, 0, 0, 1, 0, 0), _tied(8), k=5),
        "worst_map",
        "A method that cannot tell anything apart: from very bad to perfect, by the order in which files were read.",
    ),
    "junk": (
        Listing((JUNK, 1, 0, JUNK, 1, 0, 0, 1), k=5),
        "map",
        "Junk (the query itself, other photographs of a doubtful kind) is deleted before ranks are counted.",
    ),
    "the query left in": (
        Listing((1, 1, 0, 1, 0, 0, 1), k=4),
        "ukbench",
        "UKBench counts the query itself, which here stands first: 4 is the best score, and 1 is for free.",
    ),
}
