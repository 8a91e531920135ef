"""Improve a ranking by a second look: spatial verification of the first results, query expansion, diffusion.

`match_descriptors` and `verify` compare two images; `verify_ranking` re-orders the first results of every query by
the matches that agree with one homography; `expand_queries` and `query_expansion` search again with the mean of the
query and what it found; `Diffusion` lets similarity spread over the graph of the database's nearest neighbours;
`k_reciprocal` compares the neighbourhoods of two images.
"""

from .diffusion import Diffusion, k_reciprocal
from .expansion import expand_queries, query_expansion
from .verification import (
    SpatialRanking,
    Verification,
    describe_images,
    match_descriptors,
    verify,
    verify_ranking,
)

__all__ = [
    "Diffusion", "SpatialRanking", "Verification", "describe_images", "expand_queries",
    "k_reciprocal", "match_descriptors", "query_expansion", "verify", "verify_ranking",
]  # fmt: skip
