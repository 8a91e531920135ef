"""Embeddings of real photographs that ship with the kit, in place of the photographs, which do not."""

import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from ..images import ImageCollection
from ..ranking import Ranking, Relevance

SHIPPED = Path(__file__).resolve().parents[2] / "data" / "real_features"
SETS = ("clothing", "imagenet", "pacs", "satellite", "omniglot")


def quantise(embeddings, dtype=np.uint8):
    """Eight (or sixteen) bits a number: each row runs from its own least to its own largest value in 256 (or 65,536) steps.

    Parameters
    ----------
    embeddings : array-like of shape (n_images, n_dims)
    dtype : numpy.uint8 or numpy.uint16
        Sixteen bits are for few dimensions, of which each counts for more.

    Returns
    -------
    codes : ndarray (n_images, n_dims)
    scale : ndarray (n_images, 2), float32
        Value of code 0 and size of a step. Zeros of a row without negative values stay exactly zero.

    Examples
    --------
    >>> codes, scale = quantise([[0.0, 0.2, 1.0]])
    >>> codes.tolist(), dequantise(codes, scale).astype(float).round(3).tolist()
    ([[0, 51, 255]], [[0.0, 0.2, 1.0]])
    """
    X = np.asarray(embeddings, dtype=np.float32)
    low = np.minimum(X.min(axis=1), 0)
    step = (X.max(axis=1) - low) / np.iinfo(dtype).max
    codes = np.rint((X - low[:, None]) / np.where(step > 0, step, 1)[:, None])
    return codes.astype(dtype), np.stack([low, step], axis=1).astype(np.float32)


def dequantise(codes, scale):
    """What `quantise` stored: float32 (n_images, n_dims)."""
    return codes.astype(np.float32) * scale[:, 1:] + scale[:, :1]


@dataclass(frozen=True, eq=False, repr=False)
class RealFeatures:
    """What several encoders say of the images of one set, and what the images show.

    Attributes
    ----------
    name : str
    table : DataFrame, indexed by id
        One row an image: ``label``, ``domain`` (`pacs` only), and ``file``, the image below the folder of its set. An id is that path
        without its suffix.
    recipes : dict of str to str
        How each encoder was made, as Python.
    weights : dict of str to str
        For an encoder with shipped weights, which they were (`cbirkit.nets.tiny.tiny_identity`).
    source : str
        Folder of the set below that of all sets; origin and licence are in ``data/README.md``.
    """

    name: str
    table: pd.DataFrame
    recipes: dict
    weights: dict
    source: str
    _codes: dict = field(default_factory=dict)

    def __len__(self):
        return len(self.table)

    def __repr__(self):
        classes = self.table["label"].nunique()
        return f"RealFeatures {self.name!r}: {len(self):,} images of {classes} classes; encoders: {', '.join(self.encoders)}"

    @property
    def encoders(self):
        """Names of the encoders there are: list of str."""
        return list(self.recipes)

    @property
    def ids(self):
        return self.table.index.to_numpy()

    @property
    def labels(self):
        """ndarray (n_images,): the column ``label``."""
        return self.table["label"].to_numpy()

    def column(self, name):
        """ndarray (n_images,) of one column of the table; ValueError names the columns there are."""
        if name not in self.table:
            raise ValueError(f"no column {name!r} in {self.name!r}; its columns: {', '.join(map(str, self.table))}")
        return self.table[name].to_numpy()

    def embeddings(self, encoder):
        """Embeddings of one encoder, float32 (n_images, n_dims).

        They were stored in eight bits a number (layers in sixteen): lengths are 1 to within 1 %, cosines right to within 0.002.
        Those of "random" hardly differ from one another; of them, the differences to their mean were stored.

        Raises
        ------
        ValueError
            No such encoder.
        """
        if encoder not in self.recipes:
            raise ValueError(f"no encoder {encoder!r} for {self.name!r}; use one of {', '.join(self.encoders)}")
        codes, scale, centre = self._codes[encoder]
        return dequantise(codes, scale) + centre

    def relevance(self, queries=None, database=None, *, by="label"):
        """Which images answer which: those of the same label (or other column). An image itself is junk, by id.

        Parameters
        ----------
        queries, database : bool mask (n_images,) or positions, optional
            Default: all images.
        by : str

        Returns
        -------
        Relevance
        """
        rows, columns = self._rows(queries), self._rows(database)
        values = self.column(by)
        return Relevance.from_labels(self.ids[rows], self.ids[columns], values[rows], values[columns])

    def ranking(self, encoder, queries=None, database=None, *, k=None):
        """Rank the database for every query by the cosine distance; an image itself is left out, by id.

        Parameters
        ----------
        encoder : str, or ndarray (n_images, n_dims)
            A name of `encoders`, or embeddings of all the images made from them.
        queries, database : bool mask (n_images,) or positions, optional
            Default: all images.
        k : int, optional
            Ranks to keep. Default: all.

        Returns
        -------
        Ranking

        Raises
        ------
        ValueError
            No such encoder, embeddings of another number of images, no query or no database.
        """
        rows, columns = self._rows(queries), self._rows(database)
        X = np.asarray(self.embeddings(encoder) if isinstance(encoder, str) else encoder, dtype=np.float64)
        if X.ndim != 2 or len(X) != len(self):
            raise ValueError(f"embeddings have the shape {X.shape} for {len(self)} images; give (n_images, n_dims), one row an image")
        lengths = np.linalg.norm(X, axis=1, keepdims=True)
        X = X / np.where(lengths > 0, lengths, 1)
        distances = np.maximum(1 - X[rows] @ X[columns].T, 0)  # (n_queries, n_database)
        return Ranking.from_distances(distances, self.ids[rows], self.ids[columns], k=k, exclude_self=True)

    def images(self, folder):
        """The images themselves, for those who have them.

        Parameters
        ----------
        folder : path
            Holds the folder `source`, and that the files of the table.

        Returns
        -------
        ImageCollection
            With the ids and the table of these features, in the same order.

        Raises
        ------
        FileNotFoundError
            An image is not there.
        """
        paths = [Path(folder) / self.source / file for file in self.table["file"]]
        missing = next((path for path in paths if not path.is_file()), None)
        if missing is not None:
            raise FileNotFoundError(f"no image {str(missing)!r}; give the folder that holds {self.source!r}, see data/README.md")
        return ImageCollection.from_files(paths, self.table, ids=list(self.ids), name=self.name)

    def _rows(self, which):
        """Positions that a mask, positions or None (all) selects."""
        rows = np.arange(len(self)) if which is None else np.asarray(which)
        if rows.dtype == bool:
            if rows.shape != (len(self),):
                raise ValueError(f"mask of shape {rows.shape} for {len(self)} images; give one value an image")
            rows = np.flatnonzero(rows)
        if rows.ndim != 1 or not len(rows) or rows.dtype.kind not in "iu":
            raise ValueError(f"select images of {self.name!r} by a mask or positions, at least one image, got {which!r}")
        if rows.min() < 0 or rows.max() >= len(self):
            raise ValueError(f"position {rows.max() if rows.min() >= 0 else rows.min()} is not one of the {len(self)} images")
        return rows


def load_real_features(name):
    """Embeddings of real photographs by several encoders, offline. The photographs are not part of the kit.

    ==========  ======  =======  ===========================================================
    name        images  classes  what
    ==========  ======  =======  ===========================================================
    clothing     1,000       10  photographs of clothes
    imagenet       446       10  photographs, at most one of each ImageNet class, in 10 groups
    pacs           896        7  photographs, paintings, cartoons and sketches of the same classes
    satellite      420        7  aerial images (RSSCN7)
    omniglot       800       40  handwritten Korean letters, 20 drawers each
    ==========  ======  =======  ===========================================================

    Parameters
    ----------
    name : str

    Returns
    -------
    RealFeatures
        Every set has the encoders "tiny" (``Deep("tiny")``), "random" (its network with random weights), "colour" and "HOG"; `clothing`
        also other poolings and layers of "tiny", `pacs` and `satellite` "VLAD". ``recipes`` tells how each was made.

    Raises
    ------
    ValueError
        No such set.
    FileNotFoundError
        The files are not there: this is no checkout of the repository.

    Notes
    -----
    ``tiny`` was distilled, without labels, on photographs among which are some of the sources of `clothing`, `pacs` and `satellite`
    (other pictures than these) and of `imagenet`; `omniglot` is new to it.

    Examples
    --------
    >>> features = load_real_features("satellite")
    >>> features.embeddings("colour").shape
    (420, 256)
    >>> len(features.ranking("colour", k=5))
    420
    """
    if name not in SETS:
        raise ValueError(f"no features of {name!r}; use one of {', '.join(SETS)}")
    return _read(SHIPPED / f"{name}.json")


def _read(path):
    from safetensors.numpy import load_file

    if not path.is_file():
        raise FileNotFoundError(f"no shipped features at {str(path)!r}; install cbirkit from a checkout (pip install -e .)")
    told = json.loads(path.read_text(encoding="utf-8"))
    ids = [str(PurePosixPath(file).with_suffix("")) for file in told["columns"]["file"]]
    table = pd.DataFrame(told["columns"], index=pd.Index(ids, dtype=object, name="id")).astype(object)
    arrays = {}
    for file in told["files"]:
        arrays |= load_file(path.parent / file)
    codes = {e: (arrays[f"{e}/codes"], arrays[f"{e}/scale"], arrays.get(f"{e}/centre", np.float32(0))) for e in told["recipes"]}
    return RealFeatures(told["name"], table, told["recipes"], told["weights"], told["source"], codes)
