"""A region retriever as a file: encoder, proposer, index, and regions as packed bits; no pickle, no copy of the images."""

import itertools

import numpy as np

from cbirkit import persistence

from .._manifest import reason_of
from ..retrieval.joined import as_indexed, indexed_among
from .regions import Region

KIND = "region retriever"


def pack(regions):
    """Regions of all images as arrays, for `unpack`: dict of str to ndarray."""
    flat = [region for mine in regions for region in mine]
    bits = [np.packbits(region.inside) for region in flat]
    return {
        "counts": np.array([len(mine) for mine in regions], dtype=np.int64),
        "boxes": np.array([region.box for region in flat], dtype=np.int64).reshape(-1, 4),
        "shapes": np.array([region.shape for region in flat], dtype=np.int64).reshape(-1, 2),
        "scores": np.array([region.score for region in flat], dtype=np.float64),
        "sizes": np.array([len(part) for part in bits], dtype=np.int64),
        "bits": np.concatenate(bits) if bits else np.empty(0, np.uint8),
    }


def unpack(packed):
    """The inverse of `pack`.

    Raises
    ------
    ValueError
        The arrays do not fit one another.
    """
    boxes, sizes = packed["boxes"], packed["sizes"]
    height, width = (boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0])
    if np.abs(boxes).max(initial=0) > 2**30 or (packed["counts"] < 0).any():
        raise ValueError("the regions are damaged: a box is larger than any image; index again")
    n = int(packed["counts"].sum())
    if not len(boxes) == len(sizes) == len(packed["scores"]) == len(
        packed["shapes"]
    ) == n or sizes.sum() != len(packed["bits"]):
        raise ValueError(
            "the regions are damaged: their numbers do not fit one another; index again"
        )
    if (height < 1).any() or (width < 1).any() or (sizes != -(-height * width // 8)).any():
        raise ValueError("the regions are damaged: a mask does not fit its box; index again")
    ends, flat = np.cumsum(sizes), []
    for i, end in enumerate(ends):
        shape = int(height[i]), int(width[i])
        inside = (
            np.unpackbits(packed["bits"][end - sizes[i] : end], count=shape[0] * shape[1])
            .reshape(shape)
            .astype(bool)
        )
        flat.append(
            Region(
                tuple(map(int, boxes[i])),
                inside,
                tuple(map(int, packed["shapes"][i])),
                float(packed["scores"][i]),
            )
        )
    starts = np.concatenate([[0], np.cumsum(packed["counts"])])
    return [flat[a:b] for a, b in itertools.pairwise(starts)]


def save(retriever, path):
    """Write a fitted `RegionRetriever`."""
    settings = ("encoder", "proposer", "index", "whole", "pooling", "query_scales", "progress")
    state = {
        "settings": {name: getattr(retriever, name) for name in settings},
        "ids": [str(name) for name in retriever.ids],
        "regions": pack(retriever.regions_),
        "embeddings": retriever.embeddings_,
        "digests": list(retriever.digests_),
        "are_files": [stamp is not None for stamp in retriever._stamps],
        "problems": [list(one) for one in retriever.problems_],
    }
    return persistence.save(state, path, kind=KIND)


def load(cls, path, images=None, trusted=()):
    """Read what `save` wrote."""
    state = persistence.load(path, kind=KIND, trusted=trusted)
    try:
        retriever = cls(**state["settings"])
        ids, regions = np.array(state["ids"], dtype=object), unpack(state["regions"])
        retriever.digests_ = state["digests"]
        retriever.problems_ = [tuple(one) for one in state["problems"]]
        # to be compared when they are shown
        retriever._stamps = [() if one else None for one in state["are_files"]]
        if not len(regions) == len(ids) == len(retriever.digests_) == len(retriever._stamps):
            raise ValueError("its regions and images differ in number")
        retriever._set(ids, regions, state["embeddings"])
        if len(retriever._flat) != len(retriever.embeddings_):
            raise ValueError("its regions and embeddings differ in number")
    except Exception as error:
        raise ValueError(f"{str(path)!r} is damaged: {reason_of(error)}; index again") from error
    if images is not None:
        images = as_indexed(indexed_among(images, ids), retriever.digests_, retriever._stamps)
    retriever.images, retriever.seconds_ = images, {}
    return retriever
