"""`ImageCollection`: ordered, lazily read images with a table of what is known of each."""

import copy
import hashlib
import logging
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from cbirkit.ranking import Relevance
from cbirkit.ranking.codes import aligned, index_of, is_missing, positions_of, selection

from . import tables
from .files import DECODING, open_file, read_image, read_stored, read_thumbnail, shrink
from .pixels import ImageProblem
from .tables import as_on_disk, plain_column, printable, problem_table, text_of

log = logging.getLogger(__name__)


class ImageCollection:
    """Images in a fixed order, read when asked for, with ids and a table.

    Make one with `from_folder`, `from_files`, `from_arrays` or `from_function`.
    ``images[3]`` and ``images["cat/1.jpg"]`` read one image; ``images[mask]``, ``images[10:20]`` and
    ``images[["a", "b"]]`` give smaller collections. No image is kept in memory but those given as arrays.

    Attributes
    ----------
    ids : ndarray of str
        Unique; for a folder the path below it, with ``/`` on every platform.
    table : DataFrame, one row an image, indexed by id
        What is known: ``path``, ``label``, ``instance``, ``split`` … Treat it as read-only.
    problems : DataFrame with the columns ``name`` and ``reason``
        Files that were refused when the collection was opened, or found broken by `verify`.
    name : str
    root : Path or None
        Folder that the ids of files are relative to.

    Examples
    --------
    >>> images = ImageCollection.from_arrays(np.zeros((3, 8, 8)), labels=["a", "a", "b"])
    >>> images[images.labels == "a"].ids
    array(['0', '1'], dtype=object)
    """

    def __init__(self, source, table, *, problems=None, name="images"):
        # position here -> row of the source
        self._source, self._rows = source, np.arange(len(table))
        self.table, self.name = tables.checked_table(table), name
        self.problems = problem_table() if problems is None else problems

    # ------------------------------------------------------------------ making one

    @classmethod
    def from_folder(cls, folder, *, labels="folder"):
        """All images below a folder, in the order of their names.

        Parameters
        ----------
        folder : str or path
            Left out are hidden files and folders (names that start with a dot), and folders of file servers, operating
            systems and photo programs, such as ``@eaDir`` and ``$RECYCLE.BIN``; links are followed, each folder is listed
            once. Folders of masks beside images are not left out: open the folder of the images.
        labels : "folder", a CSV file or None
            "folder": the first sub-folder that tells images apart is the label; folders called ``train``, ``val``, ``test``,
            ``query``, ``database`` … are the column ``split`` instead, and the label is the folder in them.
            An image outside of such folders has no label (None), and where there are not two different ones there is no
            column ``label``. ``Cat`` and ``cat`` are two classes, which the log says.
            A CSV file, in the folder or anywhere, that names images adds its columns; its ``label`` (or class, category …) is the
            label, or the column named as in ``"labels.csv:species"``. The log says if there is a CSV file and it is not used.

        Returns
        -------
        ImageCollection
            With the columns ``path`` and, where found, ``label``. Files are listed, not decoded: empty ones
            are refused now, damaged ones by `verify` or when they are read.

        Raises
        ------
        FileNotFoundError, NotADirectoryError, ValueError
            No such folder; a file; no image in it.
        """
        root = tables.absolute(folder)
        ids, paths, problems = tables.list_images(root)
        if labels in ("folder", None):
            columns = tables.labels_of_folders(ids) if labels else {}
            if labels:
                tables.say_tables(root)
        else:
            columns, more = tables.labels_of_file(os.fspath(labels), root, ids)
            problems += more
        tables.say_alike(columns.get("label", ()))
        table = pd.DataFrame({"path": [*map(printable, paths)], **columns}, index=ids)
        source, name = FileSource(paths, root), root.resolve().name
        return cls(source, table, problems=problem_table(problems), name=name)

    @classmethod
    def from_files(cls, paths, table=None, *, ids=None, root=None, name="files"):
        """Images given by their paths.

        Parameters
        ----------
        paths : sequence of str or path
        table : DataFrame, optional
            One row an image, in the same order.
        ids : sequence of str, optional
            Default: the path below `root` if given, else the paths as they stand.
        root : str or path, optional

        Raises
        ------
        ValueError
            Lengths differ, ids repeat, or there is no path.
        """
        like, root = index_of(paths), None if root is None else tables.absolute(root)
        names, paths = [printable(p) for p in paths], [Path(p).absolute() for p in paths]
        if root is not None:
            names = [printable(path.relative_to(root).as_posix()) for path in paths]
        table = tables.table_for(len(paths), table, names if ids is None else ids, like)
        table = table.assign(path=[printable(path) for path in paths])
        return cls(FileSource(paths, root), table, name=name)

    @classmethod
    def from_arrays(cls, arrays, labels=None, *, ids=None, table=None, name="arrays"):
        """Images that are in memory already.

        Parameters
        ----------
        arrays : sequence of arrays (h, w), (h, w, 3) or (h, w, 4), or of PIL images
            See `to_rgb` for the values allowed.
        labels : sequence, optional
            One an image; None, NaN and the empty text stand for no label. Becomes the column ``label``.
        ids : sequence of str, optional
            Default: "0", "1", …
        table : DataFrame, optional
        """
        like, arrays = index_of(arrays), list(arrays)
        ids = range(len(arrays)) if ids is None else ids
        table = tables.table_for(len(arrays), table, ids, like)
        images = cls(_MadeSource(lambda row: read_image(arrays[row])), table, name=name)
        if labels is None:
            return images
        labels = aligned(labels, table.index, "labels", like)
        return images.with_columns(label=getattr(labels, "array", labels))

    @classmethod
    def from_function(cls, read, table, *, key, name, read_mask=None):
        """Images made on demand, by a generator.

        Parameters
        ----------
        read : callable
            ``read(row)`` gives the RGB uint8 image (h, w, 3) of row number `row` of `table`.
        table : DataFrame indexed by id
        key : str
            Names the generator, its version and its parameters: with the row it identifies the contents.
        name : str
        read_mask : callable, optional
            ``read_mask(row)`` gives a mask (h, w).
        """
        return cls(_MadeSource(read, key, read_mask), table, name=name)

    # ------------------------------------------------------------------ looking inside

    def __len__(self):
        return len(self._rows)

    def __iter__(self):
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, which):
        if isinstance(which, str | int | np.integer) and not isinstance(which, bool):
            return self._ask(which, self._source.read)
        return self.subset(which)

    def __repr__(self):
        counted = {"label", "instance", "split"}.intersection(self.table)
        counts = {name: self.table[name].dropna().map(text_of).nunique() for name in counted}
        columns = [f"{name} ({counts[name]})" if name in counts else name for name in self.table]
        columns = f"; columns: {', '.join(columns)}" if columns else ""
        refused = f"; {len(self.problems)} refused, see .problems" if len(self.problems) else ""
        return f"ImageCollection {self.name!r}: {len(self):,} images{columns}{refused}"

    @property
    def ids(self):
        return self.table.index.to_numpy()

    @property
    def labels(self):
        """ndarray (n_images,): the column ``label``."""
        return self.column("label")

    @property
    def root(self):
        return self._source.root

    def column(self, name):
        """ndarray (n_images,) of one column; ValueError names the columns there are."""
        if name not in self.table:
            known = ", ".join(map(str, self.table)) or "none"
            raise ValueError(f"no column {name!r} in {self.name!r}; there are: {known}; add it")
        return self.table[name].to_numpy()

    def positions(self, ids):
        """Positions (int64) of ids; ValueError names the first unknown one."""
        ids = list(ids)
        positions = self.table.index.get_indexer(ids)
        if (positions < 0).any():  # the same names with their accents composed
            positions = positions_of(ids, self.ids, "ids")
        if lost := [str(i) for i, at in zip(ids, positions, strict=True) if at < 0]:
            raise ValueError(f"no image {lost[0]!r} in {self.name!r} ({len(self)} images)")
        return positions.astype(np.int64)

    def positions_in(self, other):
        """Where these images are in another collection, int64 (n_images,), -1 for those that are not there.

        An image is the same if the file is, or both the id and the contents; equal ids of other contents are told in the log.
        """
        called = positions_of(self.ids, other.ids)
        if self._source is other._source:
            return called
        own = [j if j >= 0 and self._is_same(i, other, j) else -1 for i, j in enumerate(called)]
        own = np.array(own, dtype=np.int64)
        if apart := int((called != own).sum()):
            text = "%d images of %r share their id with another picture of %r; they are told apart by contents"
            log.warning(text, apart, self.name, other.name)
        theirs = map(other.path, reversed(range(len(other))) if (own < 0).any() else ())
        files = {os.path.realpath(p): len(other) - 1 - n for n, p in enumerate(theirs) if p}
        for i in np.flatnonzero(own < 0) if files else ():
            own[i] = files.get(os.path.realpath(self.path(i) or ""), -1)
        return own

    def _is_same(self, position, other, there):
        """Whether the image is one of another collection: the same file, contents or pixels."""
        with suppress(ImageProblem):
            same = self.path(position) == other.path(there) is not None
            same = same or self.digest(position) == other.digest(there)
            return same or self._shows(position, other, there)
        return False

    def _shows(self, position, other, there):
        """Whether the image has the very pixels of one of another collection, where not both are files: digests do not tell then."""
        paths = self.path(position), other.path(there)
        with suppress(ImageProblem):
            return None in paths and np.array_equal(self[position], other[there])
        return False

    def _position(self, which):
        return int(self.positions([which])[0] if isinstance(which, str) else which)

    def _ask(self, which, read):
        """Call `read` with the row of an image in the source, and give a problem the id of the image as name."""
        position = self._position(which)
        try:
            return read(self._rows[position])
        except ImageProblem as problem:
            raise ImageProblem(self.table.index[position], problem.reason) from problem

    def thumbnail(self, which, size=96):
        """RGB uint8 (h, w, 3) of one image by position or id, its longer side at most `size` pixels."""
        return self._ask(which, lambda row: self._source.thumbnail(row, size))

    def digest(self, which):
        """Hexadecimal digest of the contents of one image: of the file's bytes, the pixels, or the generator's key."""
        return self._ask(which, self._source.digest)

    def path(self, which):
        """Path of one image, or None if it is no file."""
        return self._ask(which, self._source.path)

    def mask(self, which):
        """Mask (h, w) of one image, bool or class numbers, from a file of the column ``mask`` or the generator; ValueError if there is none."""
        if "mask" not in self.table:
            return self._ask(which, self._source.make_mask)
        file = self.table["mask"].iloc[self._position(which)]
        if is_missing(file):
            raise ValueError(f"image {which!r} has none in column 'mask'")
        path = Path(self.root or "") / file
        return self._ask(which, lambda row: read_stored(as_on_disk(path) or path))

    # ------------------------------------------------------------------ making others of it

    def subset(self, which):
        """The images that a slice, boolean mask, position array or list of ids selects, in that order."""
        if not isinstance(which, slice):
            which = selection(which, self.ids)
            which = np.asarray(which if getattr(which, "ndim", 0) else list(which))
            if which.dtype.kind in "UO":
                which = self.positions(which)
            which = which if which.size else which.astype(np.int64)
        return self._new(_rows=self._rows[which], table=self.table.iloc[which])

    def _new(self, **parts):
        new = copy.copy(self)
        vars(new).update(parts)
        return new

    def with_columns(self, **columns):
        """The same images with further (or other) columns; each has one value an image.

        A pandas object or a dict is matched by its index, which must name the images or be 0, 1, 2 …
        """
        table = self.table.copy()
        for name, values in columns.items():
            table[name] = plain_column(values, name, table.index)
        return self._new(table=table)

    def split(
        self,
        by="split",
        *,
        parts=("query", "database"),
        fraction=None,
        disjoint=None,
        random_state=0,
    ):
        """Divide the collection.

        Parameters
        ----------
        by : str
            Column that names the part of each image; used if `fraction` is None.
        parts : tuple of str
            Values of that column, in the order wanted.
        fraction : float in (0, 1), optional
            Split at random instead, into `fraction` and the rest; every label keeps its share if each has two images.
        disjoint : str, optional
            With `fraction`: a column whose groups stay whole (``"label"``: no class on both sides).
        random_state : int or RandomState

        Returns
        -------
        tuple of ImageCollection

        Raises
        ------
        ValueError
            The column or a part is missing, or the fraction leaves one side empty.
        """
        if fraction is not None:
            from sklearn import model_selection

            by = disjoint or ("label" if "label" in self.table else None)
            groups = by and [text_of(one) for one in self.column(by)]
            several = by and min(Counter(groups).values(), default=0) > 1
            kind = "Group" if disjoint else "Stratified" if several else ""
            kind = getattr(model_selection, f"{kind}ShuffleSplit")
            splitter = kind(1, train_size=fraction, random_state=random_state)
            found = next(splitter.split(self.ids, groups, groups if disjoint else None))
            return tuple(self[np.sort(part)] for part in found)
        values, parts = np.array([*map(text_of, self.column(by))]), [*map(text_of, parts)]
        if lost := set(parts) - {*values}:
            known = ", ".join(np.unique(values))
            raise ValueError(f"column {by!r} has no {min(lost)!r}; it has: {known}")
        return tuple(self[values == part] for part in parts)

    def relevance(self, queries=None, database=None, *, by=None, junk=None, keep_self=False):
        """What is relevant to what: images that share the value of a column.

        Parameters
        ----------
        queries, database : ImageCollection, optional
            Default: this collection.
        by : str, optional
            Column; default ``instance`` if there, else ``label``. Missing values match nothing.
        junk : str, optional
            Column; images that share its value with the query are junk, whatever they show: with ``by="label", junk="instance"``
            other views of the query's own object count neither as right nor as wrong.
        keep_self : bool
            Whether a query counts as relevant to itself (UKBench); by default it is junk. See `positions_in` for what it is.

        Returns
        -------
        Relevance
        """
        queries = self if queries is None else queries
        database = self if database is None else database
        if by is None:
            by = "instance" if "instance" in database.table else "label"
        groups = junk and (queries.column(junk), database.column(junk))
        how = {"keep_self": keep_self, "groups": groups, "own": queries.positions_in(database)}
        labels = queries.column(by), database.column(by)
        return Relevance.from_labels(queries.ids, database.ids, *labels, **how)

    def verify(self, progress=True):
        """Decode every image once, on several threads.

        Returns
        -------
        ImageCollection
            The good images; its ``problems`` name the others with the reason.
        """
        shapes = map_images(lambda images, position: images[position].shape, self)
        shapes = list(tqdm(shapes, desc="verify", total=len(self), disable=not progress))
        good = np.array([not isinstance(one, ImageProblem) for one in shapes], dtype=bool)
        problems = [(one.name, one.reason) for one in shapes if isinstance(one, ImageProblem)]
        problems = pd.concat([self.problems, problem_table(problems)], ignore_index=True)
        return self.subset(good)._new(problems=problems)


# ---------------------------------------------------------------------- where pixels come from


class Source:
    """Where the pixels of a collection come from: for a row number, `read`, `thumbnail`, `digest`, `path`, `make_mask`."""

    root = None

    def thumbnail(self, row, size):
        return shrink(self.read(row), size)

    def path(self, row):
        return None

    def make_mask(self, row):
        raise ValueError("no masks are known of these images; name files in a column 'mask'")


class FileSource(Source):
    """Image files; ids and masks are relative to `root`."""

    def __init__(self, paths, root):
        self.paths, self.root = paths, root

    def read(self, row):
        return read_image(self.paths[row])

    def thumbnail(self, row, size):
        return read_thumbnail(self.paths[row], size)

    def digest(self, row):
        with open_file(self.paths[row]) as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()

    def path(self, row):
        return Path(self.paths[row])


class _MadeSource(Source):
    def __init__(self, function, key=None, mask_function=None):
        self.function, self.key, self.mask_function = function, key, mask_function

    def read(self, row):
        return self.function(int(row))

    def digest(self, row):
        data = f"{self.key}\n{int(row)}".encode()
        if self.key is None:
            pixels = self.read(row)
            data = repr(pixels.shape).encode() + pixels.tobytes()
        return hashlib.blake2b(data, digest_size=16).hexdigest()

    def make_mask(self, row):
        return self.mask_function(int(row)) if self.mask_function else super().make_mask(row)


# ---------------------------------------------------------------------- over all images


def map_images(function, images):
    """Yield ``function(images, position)`` for every image, in order, or the ImageProblem that it raises.

    Several threads decode, but no more than `files.PIXELS_AT_ONCE` pixels are in memory together: what `function` reads
    counts until it returns, so it should not give pixels back.
    """

    def one(position):
        with DECODING.kept():
            try:
                return function(images, position)
            except ImageProblem as problem:
                return problem

    with ThreadPoolExecutor() as pool:
        yield from pool.map(one, range(len(images)))
