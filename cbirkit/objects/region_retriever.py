"""`RegionRetriever`: search for a thing in images rather than for an image."""

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from cbirkit import persistence
from cbirkit._atomic import reason_of
from cbirkit.encoders.base import check_count, check_each, check_number
from cbirkit.images import ImageProblem, read_image
from cbirkit.indexes import as_index
from cbirkit.ranking import Ranking
from cbirkit.retrieval.database import as_indexed
from cbirkit.store import as_collection, contents_key, is_settled, stamp_of

from .masked_pooling import pool_regions, window_of
from .proposals import Felzenszwalb
from .regions import as_region, keep_best, pack, unpack


@dataclass(frozen=True, eq=False)
class RegionQuery:
    """A part of a picture that is searched for.

    Attributes
    ----------
    image : str, path, bytes, PIL image or array (h, w[, 3 or 4])
        A string is an id of an indexed image if there is such a one, else a file.
    region : Region, box, mask or None
        A box is four numbers x0, y0, x1, y1 in pixels; a mask has the shape (h, w) of the picture; None means all of it.
    name : str, optional
        What the query is called in a ranking.
    vectors : ndarray of shape (n_scales, n_dims), optional
        Its embeddings, where they are known already: `RegionRetriever.embedded` fills them in.

    Examples
    --------
    >>> RegionQuery(np.zeros((20, 30, 3), np.uint8), (2, 2, 9, 9), name="knob").name
    'knob'
    """

    image: Any
    region: Any = None
    name: str | None = None
    vectors: Any = None


@dataclass(frozen=True, eq=False)
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
    regions: list = field(repr=False)

    def region(self, query=0, rank=0):
        """The region found for a query of one part, at a rank counted from 0.

        Raises
        ------
        IndexError
            There are fewer results.
        """
        return self.regions[query][rank][0]

    def __len__(self):
        return len(self.regions)


class RegionRetriever(BaseEstimator):
    """An index of the regions of images; an image is as near to a query as its best region.

    Each image runs through the network once. A proposer cuts it into regions, and the embedding of each is the feature map averaged
    under its mask.

    Parameters
    ----------
    encoder : Deep
        Or whatever has ``feature_maps(images)`` and ``preprocessing``. A larger `size` gives a finer map.
    proposer : Proposer, optional
        Default: ``Felzenszwalb()``. One with ``propose(image)`` that gives a list of `Region`.
    index : estimator, optional
        Over the embeddings of the regions. Default: ``indexes.Exact()``, which has the cosine distance.
    whole : bool
        Index the whole image as a region, too: then every image has at least one, and large things are not lost.
    query_scales : sequence of float
        A query is embedded at each of these multiples of the encoder's size, and the nearest counts: at 0.5 it is compared with things
        half as large as it is. The index does not grow.
    progress : bool

    Attributes
    ----------
    ids : ndarray of str
        Of the indexed images.
    images : ImageCollection or None
    regions_ : list of list of Region
        Of each image, the best first; the whole image, if it is indexed, last.
    embeddings_ : ndarray of shape (n_regions, n_dims), float32
    owners_ : ndarray of shape (n_regions,), int64
        Position of the image that each region belongs to, ascending.
    problems_ : list of (str, str)
        Images that could not be read, and why; they are not indexed.
    seconds_ : dict
        Processor time that `fit` took: "regions", "network", "pooling".

    References
    ----------
    Teichmann et al., "Detect-to-Retrieve", CVPR 2019, arXiv 1812.01584.

    Examples
    --------
    >>> from cbirkit.encoders import Deep
    >>> from cbirkit.objects import RegionQuery, SlidingPyramid
    >>> images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    >>> deep = Deep("conv5", weights=None, size=32, device="cpu")
    >>> retriever = RegionRetriever(deep, SlidingPyramid((0.5,)), progress=False).fit(images)
    >>> found = retriever.search(RegionQuery(images[1], (0, 0, 16, 16)), k=1)
    >>> found.ranking.ids.tolist(), found.region().box
    ([['1']], (0, 0, 16, 16))
    """

    def __init__(
        self, encoder, proposer=None, index=None, *, whole=True, query_scales=(1.0,), progress=True
    ):
        self.encoder = encoder
        self.proposer = proposer
        self.index = index
        self.whole = whole
        self.query_scales = query_scales
        self.progress = progress

    def fit(self, images, y=None, *, regions=None):
        """Cut images into regions, embed and index them.

        Parameters
        ----------
        images : ImageCollection, folder or sequence of images
        regions : sequence of list of Region, optional
            One list an image, to be used instead of the proposer's.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            An encoder without feature maps, or one that cuts the borders off; regions that do not fit; no readable image.
        """
        self._check()
        self.__dict__.pop("_scaled", None)
        images = as_collection(images)
        if regions is not None and len(regions) != len(images):
            raise ValueError(
                f"regions holds {len(regions)} lists and there are {len(images)} images; give one list an image"
            )
        self.seconds_ = dict.fromkeys(("regions", "network", "pooling"), 0.0)
        self.problems_, kept, found, rows, contents = [], [], [], [], []
        bar = {"desc": "regions", "disable": not self.progress, "leave": False}
        for position in tqdm(range(len(images)), **bar):
            try:
                content, picture = _contents_of(images, position), images[position]
            except (ImageProblem, OSError) as problem:
                self.problems_.append((str(images.ids[position]), reason_of(problem)))
                continue
            kept.append(position)
            contents.append(content)
            found.append(self._cut(picture, None if regions is None else regions[position]))
            rows.append(self._embed(picture, found[-1], spent=self.seconds_))
        if not sum(map(len, found)):
            raise ValueError(
                f"none of the {len(images)} images gave a region; pass whole=True, or another proposer"
            )
        images = images if len(kept) == len(images) else images.subset(np.array(kept))
        self.digests_, self._stamps = zip(*contents, strict=True)
        self.images = as_indexed(images, self.digests_, self._stamps)
        return self._set(self.images.ids, found, np.concatenate(rows))

    def search(self, queries, k=10, *, where=None, depth=None):
        """Rank images by their best region.

        Parameters
        ----------
        queries : RegionQuery, tuple of RegionQuery, or list of these
            A tuple is one query of several parts: "this and that". Each part is answered by another region of the image, and the mean
            of their distances counts. The image that a query is taken from, given by its id, is left out.
        k : int
            Images for each query, at most.
        where : ndarray of shape (n_images,), bool, optional
            Which images may be found, such as `holding` gives.
        depth : int, optional
            How many regions an index is asked for, for queries of one part; all by default. Images none of whose regions is
            among them are not found.

        Returns
        -------
        RegionRanking

        Raises
        ------
        TypeError, ValueError
            No such query, an empty mask, a box outside its image, `where` of another length, or `k` < 1.
        """
        check_is_fitted(self, "embeddings_")
        check_count("k", k)
        allowed, groups, names, regions = self._allowed(where), _grouped(queries), [], []
        indices, near = np.full((len(groups), k), -1), np.full((len(groups), k), np.inf)
        for number, group in enumerate(groups):
            vectors = [self.embed(query) for query in group]
            images, distances, rows = nearest_images(self.index_, vectors, self.owners_, depth)
            own = [self._positions[query.image] for query in group if self._is_id(query.image)]
            keep = np.flatnonzero(allowed[images] & ~np.isin(images, own))[:k]
            indices[number, : len(keep)], near[number, : len(keep)] = images[keep], distances[keep]
            regions.append([tuple(self._flat[row] for row in rows[i]) for i in keep])
            names.append(self._name(group, number, names))
        return RegionRanking(Ranking(names, self.ids, indices, near), regions)

    def embed(self, query):
        """Embeddings of a `RegionQuery`, one a scale: float32 (n_scales, n_dims)."""
        if query.vectors is not None:
            return query.vectors
        picture = query.image
        if not self._is_id(picture):
            picture = read_image(picture)
        elif self.images is None:
            raise ValueError(
                f"the indexed images are not at hand, so {picture!r} cannot be asked with; load with images="
            )
        else:
            picture = self.images[picture]
        region = [as_region(query.region, picture.shape)]
        return np.concatenate([self._embed(picture, region, scale=s) for s in self.query_scales])

    def embedded(self, query):
        """The same `RegionQuery` with its embeddings, for several searches with this encoder and these scales."""
        return replace(query, vectors=self.embed(query))

    def holding(self, names, *, column="classes"):
        """Which indexed images hold all of some things, by a column of the table.

        Parameters
        ----------
        names : str or sequence of str
        column : str
            Holds for each image a list, tuple or set of names, or one name.

        Returns
        -------
        ndarray of shape (n_images,), bool

        Raises
        ------
        ValueError
            The images are not at hand, or nothing in the column has such a name.
        """
        check_is_fitted(self, "embeddings_")
        if self.images is None:
            raise ValueError("the images, and what they hold, are not at hand; load with images=")
        wanted = {names} if isinstance(names, str) else set(names)
        column_ = self.images.column(column)
        there = [{one} if isinstance(one, str) else set(one) for one in column_]
        if unknown := wanted - set().union(*there):
            raise ValueError(
                f"no image holds {min(unknown)!r} by its column {column!r}; ask for what is in there"
            )
        return np.array([wanted <= held for held in there])

    def pruned(self, n=None, *, iou=1.0):
        """A copy with fewer regions an image: the best `n`, and of two that overlap by more than `iou` the better one.

        Nothing is encoded anew. The whole image stays where it is indexed, and is not counted.
        """
        check_is_fitted(self, "embeddings_")
        found, stays = [], []
        for mine in self.regions_:
            last = len(mine) - self.whole
            few = {*map(id, keep_best(mine[:last], n=n, iou=iou)), *map(id, mine[last:])}
            found.append([region for region in mine if id(region) in few])
            stays += [id(region) in few for region in mine]
        other = clone(self)
        for name in ("images", "problems_", "seconds_", "digests_", "_stamps"):
            setattr(other, name, getattr(self, name))
        return other._set(self.ids, found, self.embeddings_[np.array(stays, dtype=bool)])

    def save(self, path):
        """Write encoder, proposer, regions and embeddings to a file, in one step; the images stay where they are.

        Raises
        ------
        ValueError, OSError
            A part that cannot be saved without pickle; something else is there, or it cannot be written.
        """
        check_is_fitted(self, "embeddings_")
        state = {
            "settings": self.get_params(deep=False),
            "ids": self.ids.tolist(),
            "regions": pack(self.regions_),
            "embeddings": self.embeddings_,
            "digests": list(self.digests_),
            "are_files": [stamp is not None for stamp in self._stamps],
            "problems": self.problems_,
        }
        return persistence.save(state, path, kind="region retriever")

    @classmethod
    def load(cls, path, images=None, *, trusted=()):
        """Read what `save` wrote.

        Parameters
        ----------
        path : path-like
        images : ImageCollection, optional
            What was indexed, to be shown and asked with. Without it a query has to bring its own picture.
        trusted : sequence of classes
            As in `cbirkit.persistence.load_estimator`.

        Raises
        ------
        FileNotFoundError, ValueError
            No such file; damaged; something else; `images` lacks an indexed one.
        """
        state = persistence.load(path, kind="region retriever", trusted=trusted)
        with persistence.reading(path, "region retriever"):
            found, ids = cls(**state["settings"]), np.array(state["ids"], dtype=object)
            found.digests_, found.problems_ = state["digests"], state["problems"]
            found.seconds_ = {}
            # to be compared when they are shown
            found._stamps = [() if one else None for one in state["are_files"]]
            found._set(ids, unpack(state["regions"]), state["embeddings"])
            n_images = {len(ids), *map(len, (found.regions_, found.digests_, found._stamps))}
            if len(n_images) > 1 or len(found._flat) != len(found.embeddings_):
                raise ValueError("its images, regions and embeddings differ in number")
        if images is not None:
            images = as_indexed(images.subset(ids), found.digests_, found._stamps)
        found.images = images
        return found

    def propose(self, picture):
        """How this retriever cuts a picture, RGB uint8 (h, w, 3): list of Region, the best first, without the whole."""
        proposer = Felzenszwalb() if self.proposer is None else self.proposer
        return sorted(proposer.propose(picture), key=lambda region: -region.score)

    def _cut(self, picture, given):
        """Regions of an image, the best first, and all of it."""
        began = time.process_time()
        regions = self.propose(picture) if given is None else given
        regions = [as_region(region, picture.shape) for region in regions]
        regions = sorted(regions, key=lambda region: -region.score)
        self.seconds_["regions"] += time.process_time() - began
        return regions + ([as_region(None, picture.shape)] if self.whole else [])

    def _embed(self, picture, regions, spent=None, scale=1.0):
        """float32 (n_regions, n_dims): one pass of the network, then the map under each mask."""
        began = time.process_time()
        encoder = self._encoder_at(scale)
        feature_map = encoder.feature_maps([picture])[0]
        between = time.process_time()
        window = window_of(encoder.preprocessing, picture.shape)
        rows = pool_regions(feature_map, regions, window=window)
        if spent is not None:
            spent["network"] += between - began
            spent["pooling"] += time.process_time() - between
        return rows

    def _set(self, ids, regions, embeddings):
        self.ids, self.regions_, self.embeddings_ = ids, regions, embeddings
        self._flat = [region for mine in regions for region in mine]
        self.owners_ = np.repeat(np.arange(len(ids)), [len(mine) for mine in regions])
        self._positions = {name: position for position, name in enumerate(ids)}
        self.index_ = clone(as_index(self.index), safe=False).fit(embeddings)
        return self

    def _check(self):
        """Refuse an encoder that regions cannot be pooled from, and scales that are none."""
        if not hasattr(self.encoder, "feature_maps") or not hasattr(self.encoder, "preprocessing"):
            raise TypeError(
                f"regions are pooled from feature maps, and {type(self.encoder).__name__} has none; use encoders.Deep"
            )
        if self.encoder.preprocessing.resize == "crop":
            raise ValueError(
                'this encoder cuts the borders of images off and sees no region there; pass resize="squash" to it'
            )
        check_each("query_scales", self.query_scales, check_number, low=0, open_low=True)

    def _is_id(self, image):
        return isinstance(image, str) and image in self._positions

    def _name(self, group, number, taken):
        """A name for a group of parts that is not `taken`: those given, else ids of indexed images, else ``"query 0"`` and so on."""
        own = [q.name or (q.image if self._is_id(q.image) else f"query {number}") for q in group]
        name = " and ".join(dict.fromkeys(own))
        while name in taken:
            name += "'"
        return name

    def _allowed(self, where):
        where = np.ones(len(self.ids), dtype=bool) if where is None else np.asarray(where)
        if where.dtype != bool or where.shape != (len(self.ids),):
            raise ValueError(
                f"where is {where.dtype} of shape {where.shape}; give one truth value for each of the {len(self.ids)} images"
            )
        return where

    def _encoder_at(self, scale):
        if scale == 1:
            return self.encoder
        kept = self.__dict__.setdefault("_scaled", {})
        if scale not in kept:
            size = tuple(max(1, round(side * scale)) for side in self.encoder.preprocessing.shape)
            kept[scale] = clone(self.encoder).set_params(size=size)
        return kept[scale]


def _grouped(queries):
    """Queries as a list of tuples of `RegionQuery`: one part each, or several that are asked for together."""
    if isinstance(queries, RegionQuery | tuple):
        queries = [queries]
    groups = [group if isinstance(group, tuple) else (group,) for group in queries]
    for part in (part for group in groups for part in group):
        if not isinstance(part, RegionQuery):
            raise TypeError(
                f"a query is a RegionQuery(image, region), or a tuple of them, got {type(part).__name__}"
            )
    if not groups or not all(groups):
        raise ValueError("there is no query: the list, or a tuple in it, is empty")
    return groups


def best_per_image(distances, rows, owners):
    """The nearest region of each image.

    Parameters
    ----------
    distances : ndarray of shape (n,), ascending
    rows : ndarray of shape (n,), int64
        Which region each distance belongs to.
    owners : ndarray of shape (n_regions,), int64
        Which image each region is of.

    Returns
    -------
    images, nearest, regions : ndarray
        Each image that has a region among `rows`, nearest first; its distance; the region. Equal distances: the image that comes
        first in the database.

    Examples
    --------
    >>> owners = np.array([0, 0, 1])
    >>> [part.tolist() for part in best_per_image(np.array([0.1, 0.2, 0.4]), np.array([1, 2, 0]), owners)]
    [[0, 1], [0.1, 0.2], [1, 2]]
    """
    images, first = np.unique(owners[rows], return_index=True)  # the first of each is its nearest
    order = np.argsort(distances[first], kind="stable")
    return images[order], distances[first][order], rows[first][order]


def best_together(distances, owners):
    """The regions of each image that answer several parts of a query, each part another region, at the least mean distance.

    Parameters
    ----------
    distances : ndarray of shape (n_parts, n_regions)
    owners : ndarray of shape (n_regions,), int64, ascending

    Returns
    -------
    images, nearest : ndarray of shape (n_found,)
        Images with at least as many regions as the query has parts, nearest first, and their mean distances.
    regions : ndarray of shape (n_found, n_parts), int64

    Examples
    --------
    >>> table = np.array([[0.1, 0.2, 0.5, 0.5], [0.1, 0.6, 0.5, 0.5]])
    >>> [part.tolist() for part in best_together(table, np.array([0, 0, 1, 1]))]
    [[0, 1], [0.15000000000000002, 0.5], [[1, 0], [2, 3]]]
    """
    images, means, regions = [], [], []
    starts = np.unique(owners, return_index=True, return_counts=True)
    for image, start, count in zip(*starts, strict=True):
        if count >= len(distances):
            part = distances[:, start : start + count]
            chosen = linear_sum_assignment(part)
            images.append(image)
            means.append(part[chosen].mean())
            regions.append(start + chosen[1])
    order = np.argsort(means, kind="stable")
    regions = np.array(regions, dtype=np.int64).reshape(-1, len(distances))
    return np.array(images, dtype=np.int64)[order], np.array(means)[order], regions[order]


def nearest_images(index, parts, owners, depth=None):
    """Images by their best regions for the parts of a query, each (n_scales, n_dims): as `best_together` gives them."""
    one = len(parts) == 1
    n = min(depth or len(owners), len(owners)) if one else len(owners)
    found = [index.kneighbors(vectors, n_neighbors=n) for vectors in parts]
    if one:
        distances, rows = map(np.ravel, found[0])
        order = np.argsort(distances, kind="stable")  # of all scales
        images, near, best = best_per_image(distances[order], rows[order], owners)
        return images, near, best[:, None]
    table = np.full((len(parts), len(owners)), np.inf)
    for number, (distances, rows) in enumerate(found):
        np.minimum.at(table[number], rows, distances)
    return best_together(table, owners)


def _contents_of(images, position):
    """What `as_indexed` has to know of one image, before it is read: digest and stamp."""
    path = images.path(position)
    stamp = stamp_of(path)
    digest = contents_key(images, position, path, stamp).hex()
    return digest, () if stamp and not is_settled(stamp) else stamp
