"""Object retrieval: images cut into regions, an embedding for each from one forward pass, and an index of regions."""

from .masked_pooling import pool_regions, window_of
from .proposals import (
    SLIC,
    Felzenszwalb,
    GrabCut,
    Segmenter,
    SlidingPyramid,
    TorchvisionSegmenter,
    connected_regions,
)
from .region_retriever import RegionQuery, RegionRanking, RegionRetriever
from .regions import Region, as_region, box_iou, keep_best, mask_iou, non_maximum_suppression

__all__ = [
    "SLIC", "Felzenszwalb", "GrabCut", "Region", "RegionQuery", "RegionRanking", "RegionRetriever",
    "Segmenter", "SlidingPyramid", "TorchvisionSegmenter", "as_region", "box_iou",
    "connected_regions", "keep_best", "mask_iou", "non_maximum_suppression", "pool_regions",
    "window_of",
]  # fmt: skip
