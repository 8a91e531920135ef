"""Turn images into embeddings, and keep these in an SQLite database so that no image is encoded twice."""

import contextlib
import errno
import hashlib
import logging
import os
import sqlite3
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer

from . import __version__
from ._atomic import plain_errors, reason_of
from ._optional import bars
from .images import ImageCollection, ImageProblem
from .persistence import fingerprint

logger = logging.getLogger(__name__)

_SCHEMA = {
    "CREATE TABLE files (path BLOB PRIMARY KEY, stamp TEXT, digest TEXT)",
    "CREATE TABLE embeddings (encoder TEXT, image BLOB, dtype TEXT, vector BLOB, crc INTEGER, PRIMARY KEY (encoder, image))",
}
_BATCH_BYTES = 128 << 20  # pixels held in a batch: photographs of 50 megapixels come one at a time


class Embedded(NamedTuple):
    """Embeddings of a collection.

    Attributes
    ----------
    embeddings : ndarray of shape (n_good, n_dims), float32 (or uint8, where the encoder gives packed bits)
    positions : ndarray of shape (n_good,), int64
        Position in the collection of each row.
    problems : DataFrame with the columns ``name`` and ``reason``
        Images that could not be read.
    digests : ndarray of shape (n_good,), str
        Identify the contents of the images: equal for equal files, pixels or generator rows.
    stamps : list, one an image of the collection
        Size, times and inode of its file when it was read; empty where it could have changed since under the same; None for no file.
    silent : ndarray of shape (n_good,), bool
        Whether the encoder (before trailing steps of scikit-learn) gave only zeros, as for an image without key points.
    """

    embeddings: np.ndarray
    positions: np.ndarray
    problems: pd.DataFrame
    digests: np.ndarray
    stamps: list
    silent: np.ndarray


class EmbeddingStore:
    """Embeddings on disk, by encoder and image contents.

    What an encoder computes is identified by `cbirkit.persistence.fingerprint` (class, version, parameters, fitted attributes), an
    image by its contents: a changed parameter or file never meets an old embedding, a renamed or copied file is not encoded again.
    Each batch is kept as it is done: a run that is killed goes on where it was. Several processes of one machine may use one store.
    Of a pipeline the embeddings before its last scikit-learn steps (PCA, scaling, normalisation) are kept, so changing these costs no
    encoding.

    Parameters
    ----------
    folder : path-like
        Made when first needed. It holds ``embeddings.sqlite``; nothing else in it is touched.

    Attributes
    ----------
    file : pathlib.Path
        The database.
    n_encoded : int
        Embeddings that were computed and added through this object.
    refused : dict of bytes to str
        Contents, by `contents_key`, that `cbirkit.workers.encode` found to be of no use, and why: they are reported, and not opened again.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from sklearn.preprocessing import FunctionTransformer
    >>> from cbirkit.images import ImageCollection
    >>> store = EmbeddingStore(tempfile.mkdtemp())
    >>> images = ImageCollection.from_arrays(np.zeros((3, 8, 8)))
    >>> mean = FunctionTransformer(lambda images: np.stack([i.mean(axis=(0, 1)) for i in images]))
    >>> store.embed(mean, images).embeddings.shape
    (3, 3)
    """

    def __init__(self, folder):
        self.folder = Path(os.path.abspath(folder))
        self.file = self.folder / "embeddings.sqlite"
        self.n_encoded, self.refused = 0, {}

    def embed(self, encoder, images, *, batch_size=64, progress=True):
        """Embeddings of `images`: those in the store are read, the others computed and added.

        Parameters, returns and raises as for `embed`, and:

        Raises
        ------
        OSError
            The folder cannot be written, or the disk is full: what was done before is kept. Told with the first batch.
        ValueError
            The encoder cannot be identified (it holds a function of a foreign library, say).
        """
        return embed(encoder, images, self, batch_size=batch_size, progress=progress)


def embed(encoder, images, store=None, *, batch_size=64, progress=True):
    """Encode every image of a collection.

    Images are read in a second thread, a batch at a time: but for the result, memory does not grow with the collection. Equal contents are encoded once. Images that cannot be read are left out and reported.

    Parameters
    ----------
    encoder : estimator with ``transform(images) -> (n_images, n_dims)``
        Fitted if it learns. Each embedding must depend on its own image only. If it also has ``prepare(image) -> array`` and
        ``transform_prepared(list of arrays) -> (n_images, n_dims)``, images are prepared in the thread that reads.
    images : ImageCollection, folder, or sequence of images
    store : EmbeddingStore, optional
        Keeps the embeddings; None: they are computed anew.
    batch_size : int
        Images given to the encoder at once, fewer where they are large.
    progress : bool
        Show a progress bar if it takes longer than a second.

    Returns
    -------
    Embedded

    Raises
    ------
    TypeError
        `encoder` has no ``transform``.
    ValueError
        There is no image, or none can be read; the embeddings have a wrong shape or are not finite (the image is named).
    """
    check_encoder(encoder)
    images = as_collection(images)
    if not len(images):
        raise ValueError(f"there is no image in {images.name!r}; give at least one")
    head, tail = split_pipeline(encoder)
    if store is None:
        return Run(head, images, batch_size).go(None, progress).result(tail)
    run = Run(head, images, batch_size, store)
    try:
        with plain_errors(store.folder):
            store.folder.mkdir(parents=True, exist_ok=True)
        with connected(store.file) as connection:
            run.go(connection, progress)
    except sqlite3.Error as error:
        move_if_damaged(store.file, error)
        return embed(encoder, images, store, batch_size=batch_size, progress=progress)
    return run.result(tail)


def as_collection(images):
    """A collection of what was given: itself, a folder, or a sequence of images."""
    if isinstance(images, str | os.PathLike):
        return ImageCollection.from_folder(images)
    return images if isinstance(images, ImageCollection) else ImageCollection.from_arrays(images)


def split_pipeline(encoder):
    """Divide a pipeline into what needs the images and the last steps, which only transform embeddings.

    Returns
    -------
    head : estimator
        The encoder itself if it cannot be divided.
    tail : Pipeline or None
        Trailing steps of scikit-learn, or of classes with ``_on_vectors = True``, such as `cbirkit.encoders.PCAWhitening`.
    """
    if type(encoder) is not Pipeline:
        return encoder, None
    steps = [named for named in encoder.steps if named[1] not in (None, "passthrough")]
    need_images = [at for at, (_, step) in enumerate(steps, 1) if not _is_vector_step(step)]
    first = max(need_images, default=0)  # of the last steps
    if first in (0, len(steps)):
        return encoder, None
    return steps[0][1] if first == 1 else Pipeline(steps[:first]), Pipeline(steps[first:])


def _is_vector_step(step):
    wrappers = (ColumnTransformer, FeatureUnion, FunctionTransformer, Pipeline)
    of_sklearn = type(step).__module__.startswith("sklearn.") and not isinstance(step, wrappers)
    return of_sklearn or getattr(type(step), "_on_vectors", False)


def check_encoder(encoder):
    """Raise TypeError unless `encoder` is an instance with ``transform``."""
    if isinstance(encoder, type) or not hasattr(encoder, "transform"):
        name = getattr(encoder, "__name__", type(encoder).__name__)
        raise TypeError(f"{name} is no encoder; give an instance with transform(images)")


def _called(encoder):
    """What the progress bar calls an encoder: a union by its parts."""
    parts = [part for _, part in getattr(encoder, "transformer_list", [("", encoder)])]
    return " + ".join(type(part).__name__ for part in parts)


def checked_vectors(vectors, names, encoder):
    """Embeddings as float32 (uint8 is kept), one row for each of `names`, finite; errors name the image."""
    what = type(encoder.steps[-1][1] if isinstance(encoder, Pipeline) else encoder).__name__
    vectors = np.asarray(vectors.toarray() if hasattr(vectors, "toarray") else vectors)
    is_table = vectors.ndim == 2 and vectors.shape[1] > 0 and vectors.dtype.kind in "fiub"
    if not is_table or len(vectors) != len(names):
        told = f"{what} gave {vectors.dtype} of shape {vectors.shape} for {len(names)} images, the first {names[0]!r}"
        raise ValueError(f"{told}; its transform must give numbers of shape ({len(names)}, n_dims)")
    if vectors.dtype == np.uint8:
        return vectors
    with np.errstate(over="ignore"):
        vectors = vectors.astype(np.float32, copy=False)
    if (bad := ~np.isfinite(vectors).all(axis=1)).any():
        name = names[int(bad.argmax())]
        raise ValueError(f"{what} gave NaN or infinity for the image {name!r}; leave it out")
    return vectors


# ---------------------------------------------------------------------- the database


@contextlib.contextmanager
def connected(file):
    """A connection to the database `file`, which is made if need be; errors are those of SQLite."""
    for path in (f"{file}{ending}" for ending in ("", "-wal", "-shm", "-journal")):
        if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
            raise FileExistsError(f"{path} is a pipe or a device; delete it")
    uri = file.absolute().as_uri() + "?immutable=1" * (not os.access(file.parent, os.W_OK))
    with contextlib.closing(sqlite3.connect(uri, timeout=60, uri=True)) as connection:
        tables = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master")} - {None}
        if tables - _SCHEMA:  # nor are views and triggers of a stranger run
            raise FileExistsError(f"{file} is a database of something else; choose another folder")
        if not tables:
            connection.executescript("PRAGMA page_size = 16384; PRAGMA journal_mode = WAL")
        for table in _SCHEMA - tables:
            connection.execute(table.replace("TABLE", "TABLE IF NOT EXISTS"))
        connection.execute("PRAGMA synchronous = NORMAL")
        yield connection


def move_if_damaged(file, error):
    """Move a file that is no database any more aside; OSError, one sentence, where the error means that it cannot be written."""
    with plain_errors(file):
        if type(error) is not sqlite3.DatabaseError and not file.is_dir():
            raise OSError(errno.EIO, str(error)) from error
        os.replace(file, f"{file}.damaged")
        for more in ("-wal", "-shm"):
            Path(f"{file}{more}").unlink(missing_ok=True)
    told = "%s is damaged (%s) and was moved to %s.damaged; its embeddings are computed again"
    logger.getChild("damaged").warning(told, file, error, file.name)


@contextlib.contextmanager
def digests(file):
    """A connection to the database of a store, for `contents_key`; None where it cannot be used."""
    with contextlib.ExitStack() as stack:
        connection = None
        with contextlib.suppress(sqlite3.Error, OSError):
            connection = stack.enter_context(connected(file))
        yield connection


def contents_key(images, position, path, stamp, connection=None):
    """Bytes that identify the contents of one image, whose file (at `path`, None for none) has this stamp now.

    Digests of files are kept in the database by path, size, times and inode, so that files that did not change are not read only
    to be recognised. Whatever goes wrong with that, they are computed.
    """
    file, found = () if None in (path, connection) else (os.fsencode(path), repr(stamp)), None
    if file:
        query = "SELECT digest FROM files WHERE path = ? AND stamp = ?"
        with contextlib.suppress(sqlite3.Error):
            found = connection.execute(query, file).fetchone()
    digest = str(found[0]) if found else images.digest(position)
    # a file that changed lately could change again under the same stamp
    if file and not found and is_settled(stamp):
        with contextlib.suppress(sqlite3.Error), connection:
            connection.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", (*file, digest))
    return hashlib.blake2b(digest.encode(), digest_size=16).digest()


class Run:
    """Encode a collection in one pass; contents that came before, or are in the store, are not encoded again.

    Attributes
    ----------
    keys : list of bytes or None, one an image
        Key of the contents; None where the image cannot be used.
    stamps : list, one an image
        What `stamp_of` said of its file before it was read; empty where that is not settled.
    problems : list of (name, reason)
    vectors : dict of key to ndarray of shape (n_dims,)
    """

    def __init__(self, encoder, images, batch_size, store=None):
        self.encoder, self.images, self.batch_size = encoder, images, batch_size
        self.store, self._n_damaged, self._refused = store, 0, getattr(store, "refused", {})
        # another version of cbirkit computes them anew
        self.key = store and f"{__version__} {fingerprint(encoder)[:32]}"
        self.keys, self.stamps = [None] * len(images), [None] * len(images)
        self.problems, self.vectors = [], {}
        # done to an image when it is read, while the encoder is still busy with the batch before
        in_two = hasattr(encoder, "prepare") and hasattr(encoder, "transform_prepared")
        self.read = (lambda at: encoder.prepare(images[at])) if in_two else images.__getitem__
        self._encode = encoder.transform_prepared if in_two else encoder.transform

    def go(self, connection, progress):
        """Do it; each batch is kept when it is done."""
        from tqdm.auto import tqdm

        about = {"desc": _called(self.encoder), "unit": "image", "disable": not progress}
        bar = tqdm(total=len(self.images), delay=1, **about)
        with bar, bars(progress), contextlib.closing(ahead(self.batches())) as batches:
            for reached, batch in batches:
                if batch:
                    positions, pictures = map(list, zip(*batch, strict=True))
                    names, keys = self.images.ids[positions], [self.keys[at] for at in positions]
                    vectors = checked_vectors(self._encode(pictures), names, self.encoder)
                    self.keep(connection, keys, vectors)
                bar.update(reached - bar.n)
        if self._n_damaged:
            told = "%d embeddings in %s are damaged and were computed again"
            logger.getChild("damaged").warning(told, self._n_damaged, self.store.file)
        return self

    def keep(self, connection, keys, vectors):
        self.vectors.update(zip(keys, vectors, strict=True))
        if self.store is not None:
            with connection:
                query = "INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?, ?, ?)"
                for key, data in zip(keys, map(bytes, vectors), strict=True):
                    crc = zlib.crc32(data, zlib.crc32(key))
                    connection.execute(query, (self.key, key, vectors.dtype.str, data, crc))
            self.store.n_encoded += len(keys)

    def _kept(self, connection, key):
        """The embedding in the store of contents with this key, or None."""
        query = "SELECT dtype, vector, crc FROM embeddings WHERE encoder = ? AND image = ? AND dtype IN ('<f4', '|u1')"
        if row := connection and connection.execute(query, (self.key, key)).fetchone():
            kind, data, crc = row
            with contextlib.suppress(ValueError, TypeError):  # of what a stranger wrote
                vector = np.frombuffer(data, kind)
                whole = vector.size and crc == zlib.crc32(data, zlib.crc32(key))
                if whole and np.isfinite(vector).all():
                    return vector
            self._n_damaged += 1

    def batches(self):
        """Yield how many images are dealt with, and of those that are to be encoded the positions and what `read` gave.

        Broken images take no place in a batch, so a resumed run forms the same ones.
        """
        batch, weight = [], 0
        opened = contextlib.nullcontext() if self.store is None else connected(self.store.file)
        with opened as connection:  # of this thread
            for position in range(len(self.images)):
                image = self._next_image(position, connection)
                if image is not None:
                    batch.append((position, image))
                    weight += image.nbytes
                full = len(batch) >= self.batch_size or weight >= _BATCH_BYTES
                # the bar moves, too, while images are known
                if full or (not batch and position % 500 == 499):
                    yield position + 1, batch
                    batch, weight = [], 0
        yield len(self.images), batch

    def _next_image(self, position, connection):
        """The pixels of an image that is to be encoded, or None."""
        image, name = None, self.images.ids[position]
        try:
            path = self.images.path(position)
            before = stamp_of(path)
            self.stamps[position] = () if before and not is_settled(before) else before
            key = contents_key(self.images, position, path, before, connection)
            if key in self._refused:
                raise ImageProblem(name, self._refused[key])
            if key not in self.vectors:
                vector = self._kept(connection, key)
                if vector is None:
                    image = self.read(position)
                    if stamp_of(path) != before:
                        raise ImageProblem(name, "changed while it was read; run it again")
                self.vectors[key] = vector
            self.keys[position] = key
            return image
        except (ImageProblem, OSError) as problem:
            self.problems.append((str(name), reason_of(problem)))

    def result(self, tail):
        """What was found as `Embedded`, after the last steps of a pipeline."""
        good = np.array([row for row, key in enumerate(self.keys) if key is not None], np.int64)
        n, n_lost = len(self.keys), len(self.problems)
        if not len(good):
            name, reason = self.problems[0]
            if n == 1:
                raise ImageProblem(name, reason)
            raise ValueError(f"none of the {n} images can be used; the first, {name!r}: {reason}")
        if n_lost:
            logger.warning("%d of %d images cannot be used, see .problems", n_lost, n)
        keys = [self.keys[row] for row in good]
        vectors = [self.vectors[key] for key in keys]
        if len(kinds := {(len(vector), vector.dtype) for vector in vectors}) > 1:
            raise ValueError(f"the embeddings differ in length: {sorted(map(str, kinds))}")
        vectors = np.stack(vectors)
        # packed bits may well be 0
        silent = ~vectors.any(axis=1) & (vectors.dtype != np.uint8)
        if tail is not None:
            vectors = checked_vectors(tail.transform(vectors), self.images.ids[good], tail)
        problems = pd.DataFrame(self.problems, columns=["name", "reason"], dtype=object)
        names = np.array([key.hex() for key in keys], dtype=object)
        return Embedded(vectors, good, problems, names, self.stamps, silent)


def stamp_of(path):
    """What changes when a file does: size, times, inode; None for what is no file."""
    status = None if path is None else os.stat(path)
    return status and (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def is_settled(stamp):
    """Whether a stamp taken just now stands for the contents: a file that changed lately could change again under the same one."""
    # within the tick of the clock of some file systems, which is 2 seconds
    return time.time() - max(stamp[1:3]) / 1e9 >= 2


def ahead(items):
    """Yield what the generator `items` gives (never None), each computed in a thread while the one before is in use.

    An exception in the generator is raised here; when this one is closed the thread ends after the item it is at.
    """
    # what is opened in a thread is closed in it
    with ThreadPoolExecutor(1, thread_name_prefix="cbirkit-reader") as thread:
        try:
            coming = thread.submit(next, items, None)
            while (item := coming.result()) is not None:
                coming = thread.submit(next, items, None)
                yield item
        finally:
            thread.submit(items.close).result()
