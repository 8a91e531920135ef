"""`RegionRetriever`: search for a thing in images rather than for an image."""

import time
from dataclasses import replace

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from cbirkit import persistence

from .._atomic import reason_of
from ..images import ImageProblem
from ..indexes import as_index
from ..ranking import Ranking
from ..retrieval.database import as_collection, as_indexed, contents_of, indexed_among
from .masked_pooling import pool_regions, window_of
from .proposals import Felzenszwalb
from .region_queries import as_region, check_settings, grouped, images_holding, names_of, picture_of
from .region_result import RegionRanking
from .region_search import images_together, kept_regions, nearest_images
from .regions import pack, unpack


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
    pooling : {"average", "gem", "max"}
        As in `pool_regions`.
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
        self, encoder, proposer=None, index=None, *, whole=True, pooling="average", query_scales=(1.0,), progress=True
    ):  # fmt: skip
        self.encoder = encoder
        self.proposer = proposer
        self.index = index
        self.whole = whole
        self.pooling = pooling
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
        check_settings(self.encoder, self.query_scales)
        self.__dict__.pop("_scaled", None)
        images = as_collection(images)
        if regions is not None and len(regions) != len(images):
            raise ValueError(
                f"regions holds {len(regions)} lists and there are {len(images)} images; give one list an image"
            )
        self.seconds_ = dict.fromkeys(("regions", "network", "pooling"), 0.0)
        self.problems_, kept, found, rows, contents = [], [], [], [], []
        for position in tqdm(
            range(len(images)), desc="regions", disable=not self.progress, leave=False
        ):
            try:
                contents.append(contents_of(images, position))
                picture = images[position]
            except (ImageProblem, OSError) as problem:
                self.problems_.append(
                    (
                        str(images.ids[position]),
                        getattr(problem, "reason", None) or reason_of(problem),
                    )
                )
                del contents[len(kept) :]
                continue
            kept.append(position)
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
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise ValueError(f"k must be a whole number from 1, got {k!r}")
        allowed = self._allowed(where)
        groups, known = grouped(queries), set(self.ids)
        indices, near, regions = (
            np.full((len(groups), k), -1),
            np.full((len(groups), k), np.inf),
            [],
        )
        for number, group in enumerate(groups):
            vectors = [self.embed(query) for query in group]
            images, distances, rows = (
                images_together(self.index_, vectors, self.owners_)
                if len(group) > 1
                else nearest_images(self.index_, vectors[0], self.owners_, depth)
            )
            own = [
                self._positions[query.image]
                for query in group
                if isinstance(query.image, str) and query.image in known
            ]
            keep = np.flatnonzero(allowed[images] & ~np.isin(images, own))[:k]
            indices[number, : len(keep)], near[number, : len(keep)] = images[keep], distances[keep]
            regions.append([tuple(self._flat[row] for row in rows[i]) for i in keep])
        return RegionRanking(Ranking(names_of(groups, known), self.ids, indices, near), regions)

    def embed(self, query):
        """Embeddings of a `RegionQuery`, one a scale: float32 (n_scales, n_dims)."""
        if query.vectors is not None:
            return query.vectors
        picture = picture_of(query, self.images, set(self.ids))
        region = [as_region(query.region, picture.shape)]
        return np.concatenate(
            [self._embed(picture, region, scale=scale) for scale in self.query_scales]
        )

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
        return images_holding(self.images, names, column)

    def pruned(self, n=None, *, iou=1.0):
        """A copy with fewer regions an image: the best `n`, and of two that overlap by more than `iou` the better one.

        Nothing is encoded anew. The whole image stays where it is indexed, and is not counted.
        """
        check_is_fitted(self, "embeddings_")
        found, rows = kept_regions(self.regions_, int(self.whole), n=n, iou=iou)
        other = clone(self)
        other.images, other.problems_, other.seconds_ = self.images, self.problems_, self.seconds_
        return other._set(self.ids, found, self.embeddings_[rows])

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
            found.digests_, found.problems_, found.seconds_ = (
                state["digests"],
                state["problems"],
                {},
            )
            # to be compared when they are shown
            found._stamps = [() if one else None for one in state["are_files"]]
            found._set(ids, unpack(state["regions"]), state["embeddings"])
            n_images = {len(ids), *map(len, (found.regions_, found.digests_, found._stamps))}
            if len(n_images) > 1 or len(found._flat) != len(found.embeddings_):
                raise ValueError("its images, regions and embeddings differ in number")
        if images is not None:
            images = as_indexed(indexed_among(images, ids), found.digests_, found._stamps)
        found.images = images
        return found

    def propose(self, picture):
        """How this retriever cuts a picture, RGB uint8 (h, w, 3): list of Region, the best first, without the whole."""
        proposer = Felzenszwalb() if self.proposer is None else self.proposer
        return sorted(proposer.propose(picture), key=lambda region: -region.score)

    def _cut(self, picture, given):
        """Regions of an image, the best first, and all of it."""
        began = time.process_time()
        regions = (
            self.propose(picture)
            if given is None
            else [as_region(region, picture.shape) for region in given]
        )
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
        rows = pool_regions(feature_map, regions, window=window, pooling=self.pooling)
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

    def _allowed(self, where):
        if where is None:
            return np.ones(len(self.ids), dtype=bool)
        where = np.asarray(where)
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
