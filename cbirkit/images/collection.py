"""`ImageCollection`: ordered, lazily read images with a table of what is known of each."""

import copy
import hashlib
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state
from tqdm.auto import tqdm

from cbirkit.ranking import Relevance
from cbirkit.ranking.codes import aligned, as_labels, index_of, is_missing, positions_of, selection

from . import tables
from .files import DECODING, open_file, read_image, read_stored, read_thumbnail, shrink
from .pixels import ImageProblem
from .tables import as_on_disk, is_several, plain_column, printable, problem_table, text_of

log = logging.getLogger(__name__)

_BLOCK = 256  # images handed to the threads at a time, so that memory stays flat


class ImageCollection:
    """Images in a fixed order, read when asked for, with ids and a table.

    Make one with `from_folder`, `from_table`, `from_files`, `from_arrays` or `from_function`.
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

    def __init__(self, source, table, *, rows=None, problems=None, name="images"):
        # position here -> row of the source
        self._source, self._rows = source, np.arange(len(table)) if rows is None else rows
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
            systems and photo programs, such as ``@eaDir`` and ``$RECYCLE.BIN``; links are followed. Folders of masks beside
            images are not left out, but the log says so: open the folder of the images.
        labels : "folder", "parent", a CSV file or None
            "folder": the first sub-folder that tells images apart is the label; folders called ``train``, ``val``, ``test``,
            ``query``, ``database`` … are the column ``split`` instead, and the label is the folder in them.
            "parent": the folder that holds the image. An image outside of such folders has no label (None), and where there
            are not two different ones there is no column ``label``. ``Cat`` and ``cat`` are two classes, which the log says.
            A CSV file, in the folder or anywhere, that names images adds its columns; its ``label`` (or class, category …) is the
            label, or the column named as in ``"labels.csv:species"``. The log says if there is such a file and it is not used.

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
        if labels in ("folder", "parent", None):
            columns = tables.labels_of_folders(ids, labels) if labels else {}
            tables.say_masks(ids)
            if labels:
                tables.say_tables(root, ids, columns.get("label"))
        else:
            columns, more = tables.labels_of_file(os.fspath(labels), root, ids)
            problems += more
        tables.say_alike(columns.get("label", ()))
        columns = {"path": [printable(path) for path in paths], **columns}
        table = pd.DataFrame(columns, index=pd.Index(ids, dtype=object))
        source, name = FileSource(paths, root), root.resolve().name
        return cls(source, table, problems=problem_table(problems), name=name)

    @classmethod
    def from_table(cls, table, path="path", *, root=None, ids=None):
        """Images named by a column of a table.

        Parameters
        ----------
        table : DataFrame or path of a CSV file
            The other columns are kept; ``mask``, if there, holds paths of masks (see `mask`).
        path : str
            Column with the image files, relative to `root` or absolute.
        root : str or path, optional
            Default: the folder of the CSV file, else the current folder.
        ids : str, optional
            Column with unique ids. Default: the column `path` as it stands.

        Raises
        ------
        ValueError
            The column is missing, ids repeat, or none of the files exists.
        FileNotFoundError
            No such CSV file.
        """
        name = "table"
        if isinstance(table, str | os.PathLike):
            file = tables.absolute(table)
            name, root = file.resolve().parent.name, file.parent if root is None else root
            table = tables.read_csv(file, text=(path, ids))
        if missing := {path, ids or path} - {*table}:
            raise ValueError(
                f"no column {missing.pop()!r} in the table; set path= to one of {[*table]}"
            )
        root = tables.absolute("." if root is None else root)
        names, keys = ([text_of(one) for one in table[column]] for column in (path, ids or path))
        paths = [as_on_disk(root / one) if one else None for one in names]
        there = np.array([one is not None for one in paths], dtype=bool)
        if not there.any():
            raise ValueError(
                f"none of {len(table)} files in column {path!r} exists in {root}; set root="
            )
        lost = [(keys[i] or f"row {i}", "no such file") for i in np.flatnonzero(~there)]
        paths = [one for one in paths if one is not None]
        table = table[there].set_axis(pd.Index(keys, dtype=object)[there], axis=0)
        table = table.assign(path=[printable(one) for one in paths])
        tables.say_alike(table.get("label", ()))
        return cls(FileSource(paths, root), table, problems=problem_table(lost), name=name)

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
        if labels is not None:
            labels = plain_column(aligned(labels, table.index, "labels", like), "label")
            if len(labels) != len(arrays):
                raise ValueError(f"got {len(labels)} labels for {len(arrays)} images")
            table = table.assign(label=pd.Series(labels, table.index, labels.dtype))
        return cls(_ArraySource(arrays), table, name=name)

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
        return cls(_FunctionSource(read, key, read_mask), table, name=name)

    # ------------------------------------------------------------------ looking inside

    def __len__(self):
        return len(self._rows)

    def __iter__(self):
        return (self._image(i) for i in range(len(self)))

    def __getitem__(self, which):
        if isinstance(which, str | int | np.integer) and not isinstance(which, bool):
            return self._image(self._position(which))
        return self.subset(which)

    def __repr__(self):
        columns = list(self.table)
        for i, name in enumerate(columns):
            if name in ("label", "instance", "split"):
                columns[i] = f"{name} ({self.table[name].dropna().map(text_of).nunique()})"
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
        return getattr(self._source, "root", None)

    def column(self, name):
        """ndarray (n_images,) of one column; ValueError names the columns there are."""
        if name not in self.table:
            known = ", ".join(map(str, self.table)) or "none"
            raise ValueError(
                f"no column {name!r} in {self.name!r}; there are: {known}; with_columns() adds"
            )
        return self.table[name].to_numpy()

    def positions(self, ids):
        """Positions (int64) of ids; ValueError names the first unknown one."""
        ids = list(ids)
        positions = self.table.index.get_indexer(ids)
        if (positions < 0).any():  # the same names with their accents composed
            positions = positions_of(ids, self.ids, "ids")
        if (positions < 0).any():
            unknown = str(ids[int(np.flatnonzero(positions < 0)[0])])
            raise ValueError(
                f"no image {unknown!r} in {self.name!r} ({len(self)} images); see .ids"
            )
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
        path = self.path(position)
        if path is not None and path == other.path(there):
            return True
        try:
            same = self.digest(position) == other.digest(there)
        except ImageProblem:
            return False
        return same or self._shows(position, other, there)

    def _shows(self, position, other, there):
        """Whether the image has the very pixels of one of another collection, where not both are files: digests do not tell then."""
        paths = self.path(position), other.path(there)
        try:
            return None in paths and np.array_equal(self[position], other[there])
        except ImageProblem:
            return False

    def _position(self, which):
        if isinstance(which, str):
            return int(self.positions([which])[0])
        position = int(which) + (len(self) if which < 0 else 0)
        if not 0 <= position < len(self):
            raise IndexError(f"image {which} in {self.name!r}; positions are 0 to {len(self) - 1}")
        return position

    def _image(self, position):
        return self._named(position, self._source.read, self._rows[position])

    def _named(self, position, read, *args):
        """Call `read`, and give a problem the id of its image as name."""
        try:
            return read(*args)
        except ImageProblem as problem:
            raise ImageProblem(self.table.index[position], problem.reason) from problem

    def thumbnail(self, which, size=96):
        """RGB uint8 (h, w, 3) of one image by position or id, its longer side at most `size` pixels."""
        position = self._position(which)
        return self._named(position, self._source.thumbnail, self._rows[position], size)

    def digest(self, which):
        """Hexadecimal digest of the contents of one image: of the file's bytes, the pixels, or the generator's key."""
        position = self._position(which)
        return self._named(position, self._source.digest, self._rows[position])

    def path(self, which):
        """Path of one image, or None if it is no file."""
        return self._source.path(self._rows[self._position(which)])

    def mask(self, which):
        """Mask (h, w) of one image, from the column ``mask`` or the generator; ValueError if there is none."""
        position = self._position(which)
        if "mask" in self.table:
            if is_missing(file := self.table["mask"].iloc[position]):
                raise ValueError(f"image {self.table.index[position]!r} has none in column 'mask'")
            return self._named(position, self._source.read_mask, file)
        return self._named(position, self._source.make_mask, self._rows[position])

    # ------------------------------------------------------------------ making others of it

    def subset(self, which):
        """The images that a slice, boolean mask, position array or list of ids selects, in that order."""
        if not isinstance(which, slice):
            which = selection(which, self.ids)
            which = np.asarray(which if hasattr(which, "dtype") else list(which))
            if which.dtype.kind in "UO":
                which = self.positions(which)
            if which.ndim != 1 or (len(which) and which.dtype.kind not in "biu"):
                got = f"an array of {which.dtype} and shape {which.shape}"
                raise TypeError(f"select images by a mask, positions or ids, got {got}")
            which = which if len(which) else which.astype(np.int64)
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
            values = plain_column(values, name, self.ids)
            if len(values) != len(self):
                raise ValueError(f"column {name!r} has {len(values)} values for {len(self)} images")
            table[name] = pd.Series(values, table.index, values.dtype)
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
            Split at random instead, into `fraction` and the rest; every label keeps its share.
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
            by = disjoint or ("label" if "label" in self.table else None)
            known = np.zeros(len(self)) if by is None else [*map(text_of, self.column(by))]
            codes, names = pd.factorize(np.asarray(known, dtype=object))
            strata = np.where(
                np.bincount(codes)[codes] > 1, codes, -1
            )  # those of one image together
            first = _random_part(
                np.zeros(len(names)) if disjoint else strata, fraction, random_state
            )
            first = first[codes] if disjoint else first
            return self.subset(first), self.subset(~first)
        if by not in self.table:
            raise ValueError(
                f"no column {by!r} in {self.name!r}; split(fraction=0.2) splits at random"
            )
        values, found = as_labels(self.column(by)), []
        for part in as_labels(parts):
            found.append(np.array([not is_several(one) and one == part for one in values], bool))
            if not found[-1].any():
                known = ", ".join(dict.fromkeys(map(repr, values)))
                raise ValueError(f"column {by!r} has no {part!r}; it has: {known}")
        return tuple(map(self.subset, found))

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
        if problems:
            log.warning("%d of %d images cannot be read, see .problems", len(problems), len(self))
        problems = pd.concat([self.problems, problem_table(problems)], ignore_index=True)
        return self.subset(good)._new(problems=problems)


# ---------------------------------------------------------------------- where pixels come from


def _digest(*parts):
    return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()


class Source:
    """Where the pixels of a collection come from: for a row number, `read`, `thumbnail`, `digest`, `path`, `make_mask`."""

    root = None

    def thumbnail(self, row, size):
        return shrink(self.read(row), size)

    def path(self, row):
        return None

    def make_mask(self, row):
        raise ValueError("no masks are known of these images; name files in a column 'mask'")

    def read_mask(self, path):
        """Read a mask file as it is stored: (h, w) of bool or class numbers."""
        path = Path(self.root or "") / path
        return read_stored(as_on_disk(path) or path)


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


class _ArraySource(Source):
    def __init__(self, arrays):
        self.arrays = arrays

    def read(self, row):
        return read_image(self.arrays[row])

    def digest(self, row):
        pixels = self.read(row)
        return _digest(repr(pixels.shape).encode(), pixels.tobytes())


class _FunctionSource(Source):
    def __init__(self, function, key, mask_function=None):
        self.function, self.key, self.mask_function = function, key, mask_function

    def read(self, row):
        return self.function(int(row))

    def digest(self, row):
        return _digest(f"{self.key}\n{int(row)}".encode())

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
        for start in range(0, len(images), _BLOCK):
            yield from pool.map(one, range(start, min(start + _BLOCK, len(images))))


def _random_part(items, fraction, random_state):
    """Mask (n,) of a random part: so large a share of the items that are equal; at least one of each, and not all, of several."""
    rng = check_random_state(random_state)
    order = pd.Series(rng.permutation(len(items))).groupby(items)
    n = order.transform("size")
    first = order.rank() <= (fraction * n).round().clip(1, n - 1)
    if not 0 < fraction < 1 or first.all() or not first.any():
        told = f"fraction={fraction} of {len(items)} leaves one side empty"
        raise ValueError(f"{told}; give one between 0 and 1, or more images")
    return first.to_numpy()
