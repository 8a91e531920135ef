"""Files that ship with the kit in `data/`, among them embeddings of real photographs, which do not ship."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from cbirkit.images import ImageCollection
from cbirkit.ranking import Ranking, Relevance

from .fetch import data_root

DATA = Path(__file__).resolve().parents[2] / "data"
SHIPPED = DATA / "real_features"
SETS = ("clothing", "flowers", "ucmerced", "satellite", "pacs", "sketches", "coco", "flickr8k",
        "omniglot")  # fmt: skip


def shipped_file(name):
    """Path of a file in the kit's `data/`, whatever folder a notebook runs in.

    Parameters
    ----------
    name : str
        As in `data/README.md`, which says how each was made: "fine_tune_real.csv".

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError
        There is no such file; or the package was installed without the repository, which holds `data/`.

    Examples
    --------
    >>> shipped_file("tiny.safetensors").name
    'tiny.safetensors'
    """
    path = DATA / name
    if path.is_file():
        return path
    if not DATA.is_dir():
        raise FileNotFoundError(
            f"{name} ships with the repository, not with the package: install from a clone (pip install -e .)"
        )
    there = ", ".join(sorted(p.name for p in DATA.iterdir() if p.is_file() and p.suffix != ".md"))
    raise FileNotFoundError(f"no file {name!r} ships with the kit; there are {there}")


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
        One row an image: ``label`` (not in `flickr8k`), others such as ``domain`` (`pacs`), ``author`` and ``page`` (`flowers`: whom to
        name), and ``file``, the image below the folder of its set. An id is that path without its suffix.
    recipes : dict of str to str
        How each encoder was made, as Python.
    weights : dict of str to str
        For an encoder with shipped weights, which they were (`cbirkit.nets.backbones.official_identity`).
    source : str
        Folder of the set below that of all sets; origin and licence are in ``data/README.md``.
    captions : DataFrame or None
        `coco` and `flickr8k`: one row a caption, ``image`` (its id) and, where the sentences may be passed on, ``text``. Their
        embeddings are ``embeddings("captions")``, row by row.
    """

    name: str
    table: pd.DataFrame
    recipes: dict
    weights: dict
    source: str
    _codes: dict = field(default_factory=dict)
    captions: pd.DataFrame | None = None

    def __len__(self):
        return len(self.table)

    def __repr__(self):
        of = f" of {self.table['label'].nunique()} classes" if "label" in self.table else ""
        captions = "" if self.captions is None else f", {len(self.captions):,} captions"
        return f"RealFeatures {self.name!r}: {len(self):,} images{of}{captions}; encoders: {', '.join(self.encoders)}"

    @property
    def encoders(self):
        """Names of the encoders there are: list of str."""
        return [name for name in self.recipes if name != "captions"]

    @property
    def ids(self):
        return self.table.index.to_numpy()

    @property
    def labels(self):
        """ndarray (n_images,): the column ``label``."""
        return self.column("label")

    def column(self, name):
        """ndarray (n_images,) of one column of the table; ValueError names the columns there are."""
        if name not in self.table:
            raise ValueError(
                f"no column {name!r} in {self.name!r}; its columns: {', '.join(map(str, self.table))}"
            )
        return self.table[name].to_numpy()

    def embeddings(self, encoder):
        """Embeddings of one encoder, float32 (n_images, n_dims); of "captions", one row a caption.

        They were stored in eight bits a number (layers in sixteen): lengths are 1 to within 1 %, cosines right to within 0.002.
        Those of "random" hardly differ from one another; of them, the differences to their mean were stored. Those of deep networks'
        last layers are projected from 1,280 to 256 or 128 numbers, which raises cosines by up to 0.3 and keeps their order nearly.

        Raises
        ------
        ValueError
            No such encoder.
        """
        if encoder not in self.recipes:
            raise ValueError(
                f"no encoder {encoder!r} for {self.name!r}; use one of {', '.join(self.encoders)}"
            )
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
        ids = self.ids
        return Relevance.from_labels(ids[rows], ids[columns], values[rows], values[columns])

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
        X = self.embeddings(encoder) if isinstance(encoder, str) else encoder
        X = np.asarray(X, dtype=np.float64)
        if X.ndim != 2 or len(X) != len(self):
            raise ValueError(
                f"embeddings have the shape {X.shape} for {len(self)} images; give (n_images, n_dims), one row an image"
            )
        lengths = np.linalg.norm(X, axis=1, keepdims=True)
        X = X / np.where(lengths > 0, lengths, 1)
        distances = np.maximum(1 - X[rows] @ X[columns].T, 0)  # (n_queries, n_database)
        return Ranking.from_distances(
            distances, self.ids[rows], self.ids[columns], k=k, exclude_self=True
        )

    def images(self, folder=None):
        """The images themselves, for those who have them.

        Parameters
        ----------
        folder : path, optional
            Holds the folder `source`, and that the files of the table. Default: the environment variable ``CBIRKIT_REALDATA``, else,
            for `clothing`, `flowers` and `ucmerced`, what ``cbirkit prefetch photos`` has downloaded.

        Returns
        -------
        ImageCollection
            With the ids and the table of these features, in the same order.

        Raises
        ------
        FileNotFoundError
            An image is not there.
        """
        folder = folder or os.environ.get("CBIRKIT_REALDATA")
        if folder:
            paths = [Path(folder) / self.source / file for file in self.table["file"]]
        else:  # the archives have other folders and suffixes, and the same names
            files = sorted((data_root() / self.name / "ready").rglob("*"))
            there = {path.stem: path for path in files if path.suffix in (".jpg", ".tif")}
            paths = [there.get(name := Path(file).stem, Path(name)) for file in self.table["file"]]
        missing = next((path for path in paths if not path.is_file()), None)
        if missing is not None:
            raise FileNotFoundError(
                f"no image {str(missing)!r} of {self.name!r}; give the folder that holds {self.source!r}, "
                "or run `cbirkit prefetch photos` for clothing, flowers and ucmerced; see data/README.md"
            )
        return ImageCollection.from_files(paths, self.table, ids=list(self.ids), name=self.name)

    @property
    def pictures(self):
        """`images()` where they are, None where they are not: a notebook shows them to whoever has them."""
        try:
            return self.images()
        except FileNotFoundError:
            return None

    def _rows(self, which):
        """Positions that a mask, positions or None (all) selects."""
        rows = np.arange(len(self)) if which is None else np.asarray(which)
        if rows.dtype == bool and rows.shape == (len(self),):
            rows = np.flatnonzero(rows)
        right = rows.ndim == 1 and len(rows) and rows.dtype.kind in "iu"
        if not right or rows.min() < 0 or rows.max() >= len(self):
            raise ValueError(
                f"select images of {self.name!r} by a mask with a value for each of the {len(self)} images, "
                f"or by positions among them, at least one; got {which!r}"
            )
        return rows


def load_real(name):
    """Real photographs: their embeddings by several encoders, offline, and, where they are, the photographs, which do not ship.

    =========  ======  =======  ======================================================================
    name       images  classes  what
    =========  ======  =======  ======================================================================
    clothing    1,000       10  photographs of clothes
    flowers       300        5  photographs of flowers
    ucmerced      420       21  land use seen from the air
    satellite     420        7  aerial images (RSSCN7)
    pacs          896        7  photographs, paintings, cartoons and sketches of the same classes
    sketches      175        7  garments as people drew them (Quick, Draw!), labelled as in `clothing`
    coco          131       40  photographs of several objects; the label is the largest one's; captions
    flickr8k      500           photographs, above all of people and dogs, with captions
    omniglot      800       40  handwritten Korean letters, 20 drawers each
    =========  ======  =======  ======================================================================

    Parameters
    ----------
    name : str

    Returns
    -------
    RealFeatures
        Every set has the encoders "lite0", "MobileNetV2", "tiny" and "colour"; `clothing`, `satellite`, `pacs` and `omniglot` also
        "random" (the network of `tiny` with random weights) and "HOG", `clothing` other poolings and layers of "tiny", `pacs` and
        `satellite` "VLAD". ``recipes`` tells how each was made.

    Raises
    ------
    ValueError
        No such set.
    FileNotFoundError
        The files are not there: this is no checkout of the repository.

    Notes
    -----
    "lite0", of which "tiny" is a rounded copy that sees fewer pixels, and "MobileNetV2" were trained on ImageNet, and met none of
    these sets.

    Examples
    --------
    >>> features = load_real("satellite")
    >>> features.embeddings("colour").shape
    (420, 256)
    >>> len(features.ranking("lite0", k=5))
    420
    """
    if name not in SETS:
        raise ValueError(f"no features of {name!r}; use one of {', '.join(SETS)}")
    return _read(shipped_file(f"real_features/{name}.json"))


def _read(path):
    from safetensors.numpy import load_file

    told = json.loads(path.read_text(encoding="utf-8"))
    ids = [str(PurePosixPath(file).with_suffix("")) for file in told["columns"]["file"]]
    index = pd.Index(ids, dtype=object, name="id")
    table = pd.DataFrame(told["columns"], index=index).astype(object)
    arrays = {}
    for file in told["files"]:
        arrays |= load_file(path.parent / file)
    codes = {
        e: (arrays[f"{e}/codes"], arrays[f"{e}/scale"], arrays.get(f"{e}/centre", np.float32(0)))
        for e in told["recipes"]
    }
    captions = pd.DataFrame(told["captions"]) if told.get("captions") else None
    return RealFeatures(
        told["name"], table, told["recipes"], told["weights"], told["source"], codes, captions
    )
