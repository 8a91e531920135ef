"""Turn images into embeddings, and keep these in an SQLite database so that no image is encoded twice."""

import contextlib
import errno
import hashlib
import itertools
import logging
import os
import sqlite3
import tempfile
import time
import zlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import gen_batches

from ._atomic import plain_errors, reason_of
from ._progress import bars
from .images import ImageCollection, ImageProblem
from .persistence import fingerprint

__all__ = ["DamagedStore", "DigestCache", "Embedded", "EmbeddingStore", "ahead", "check_encoder"]
__all__ += ["contents_key", "embed", "is_settled", "split_pipeline", "stamp_of"]

logger = logging.getLogger(__name__)

_SCHEMA = {
    "CREATE TABLE files (path BLOB PRIMARY KEY, stamp TEXT, digest TEXT)",
    "CREATE TABLE embeddings (encoder TEXT, image BLOB, dtype TEXT, vector BLOB, crc INTEGER, PRIMARY KEY (encoder, image))",
}
_NUMBERS = {  # of errors of SQLite
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_PERM: errno.EACCES,
}
_KEY_BYTES = 16
_CHUNK = 4096  # embeddings read at a time
_BATCH_BYTES = 128 << 20  # pixels held in a batch: photographs of 50 megapixels come one at a time
_IN_MEMORY = 64 << 20  # larger results are mapped from a scratch file
_TICK = 500  # images skipped before progress is told
_RACY = 2.0  # seconds: a file changed twice within the clock's tick could keep its time stamp


class DamagedStore(ValueError):
    """A database, or embeddings in it, that cannot be read."""


@dataclass(frozen=True, eq=False)
class Embedded:
    """Embeddings of a collection.

    Attributes
    ----------
    embeddings : ndarray of shape (n_good, n_dims), float32 (or uint8, where the encoder gives packed bits)
        A read-only ``memmap`` where it comes from a store and is larger than 64 MB.
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
        self.n_encoded = 0

    def __repr__(self):
        return f"EmbeddingStore({str(self.folder)!r})"

    def embed(self, encoder, images, *, batch_size=64, progress=True):
        """Embeddings of `images`: those in the store are read, the others computed and added.

        Parameters, returns and raises as for `embed`, and:

        Raises
        ------
        OSError
            The folder cannot be written, or the disk is full: what was done before is kept.
        ValueError
            The encoder cannot be identified (it holds a function of a foreign library, say).
        """
        return embed(encoder, images, self, batch_size=batch_size, progress=progress)


def embed(encoder, images, store=None, *, batch_size=64, progress=True):
    """Encode every image of a collection.

    Images are read in a second thread, a batch at a time: memory does not grow with the collection (but for the result, without a
    store). Equal contents are encoded once. Images that cannot be read are left out and reported.

    Parameters
    ----------
    encoder : estimator with ``transform(images) -> (n_images, n_dims)``
        Fitted if it learns. Each embedding must depend on its own image only. If it also has ``prepare(image) -> array`` and
        ``transform_prepared(list of arrays) -> (n_images, n_dims)``, images are prepared in the thread that reads.
    images : ImageCollection or sequence of images
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
    images = _checked(encoder, images, batch_size)
    head, tail = split_pipeline(encoder)
    run = {"batch_size": batch_size, "progress": progress}
    if store is None:
        return _embed(head, tail, images, _MemoryRows(), None, **run)
    identity = _identity(head)
    for attempt in (1, 2):
        try:
            with _opened(store.file) as connection:
                rows = _Rows(connection, store, identity)
                return _embed(head, tail, images, rows, store.file, **run)
        except DamagedStore as error:  # by now it is out of the way
            if attempt == 2:
                raise
            logger.getChild("damaged").warning("%s", error)


def _embed(head, tail, images, rows, cache_file, *, batch_size, progress):
    reading = _Reading(images, rows.known, batch_size, head, cache_file)
    _fill(head, reading, rows, progress)
    n_lost = len(reading.problems)
    good = np.array([row for row, key in enumerate(reading.keys) if key is not None], np.int64)
    if not len(good):
        name, reason = reading.problems[0]
        if len(images) == 1:
            raise ImageProblem(name, reason)
        raise ValueError(
            f"none of the {len(images)} images can be used; the first, {name!r}: {reason}"
        )
    if n_lost:
        logger.warning("%d of %d images cannot be used, see .problems", n_lost, len(images))
    keys = [reading.keys[row] for row in good]
    vectors = rows.read(keys)
    # packed bits may well be 0
    silent = ~vectors.any(axis=1) & (vectors.dtype != np.uint8)
    if silent.any():
        logger.warning(
            "%d of %d embeddings are zero, as of images without key points", silent.sum(), len(good)
        )
    if tail is not None:
        names, parts = images.ids[good], gen_batches(len(good), _CHUNK)
        parts = [_checked_vectors(tail.transform(vectors[p]), names[p], tail) for p in parts]
        vectors = np.concatenate(parts)
    problems = pd.DataFrame(reading.problems, columns=["name", "reason"], dtype=object)
    digests = np.array([key.hex() for key in keys], dtype=object)
    return Embedded(vectors, good, problems, digests, reading.stamps, silent)


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
    steps = [named for named in encoder.steps if named[1] is not None and named[1] != "passthrough"]
    first = len(steps)
    while first and _is_vector_step(steps[first - 1][1]):
        first -= 1
    if first in (0, len(steps)):
        return encoder, None
    return steps[0][1] if first == 1 else Pipeline(steps[:first]), Pipeline(steps[first:])


def _is_vector_step(step):
    wrappers = (ColumnTransformer, FeatureUnion, FunctionTransformer, Pipeline)
    of_sklearn = type(step).__module__.startswith("sklearn.") and not isinstance(step, wrappers)
    return of_sklearn or getattr(type(step), "_on_vectors", False)


def check_encoder(encoder):
    """Raise TypeError unless `encoder` is an instance with ``transform``."""
    if isinstance(encoder, type):
        raise TypeError(
            f"the encoder is the class {encoder.__name__}; give an instance: {encoder.__name__}()"
        )
    if not hasattr(encoder, "transform"):
        raise TypeError(
            f"{type(encoder).__name__} is no encoder: it has no transform(images); see cbirkit.encoders"
        )


def _checked(encoder, images, batch_size):
    check_encoder(encoder)
    if type(batch_size) is not int or batch_size < 1:
        raise ValueError(f"batch_size={batch_size!r} is not a positive whole number; use 64, say")
    if isinstance(images, str | Path):
        raise TypeError(
            f"got the path {str(images)!r}; use ImageCollection.from_folder or from_files"
        )
    if not isinstance(images, ImageCollection):
        images = ImageCollection.from_arrays(images)
    if not len(images):
        raise ValueError(f"there is no image in {images.name!r}; give at least one")
    return images


def _identity(encoder):
    """What embeddings of an encoder are kept under: another version of cbirkit computes them anew."""
    from . import __version__

    return hashlib.sha256(f"{__version__}\n{fingerprint(encoder)}".encode()).hexdigest()[:32]


def _called(encoder):
    """What the progress bar calls an encoder: a union by its parts."""
    if isinstance(encoder, FeatureUnion):
        return " + ".join(_called(part) for _, part in encoder.transformer_list)
    return type(encoder).__name__


def _fill(encoder, reading, rows, progress):
    """Encode what `rows` lacks; each batch is kept when it is done."""
    from tqdm.auto import tqdm

    encode = encoder.transform if reading.prepare is None else encoder.transform_prepared
    total, n_dims = len(reading.images), None
    bar = tqdm(total=total, desc=_called(encoder), unit="image", disable=not progress, delay=1)
    with bar, bars(progress), contextlib.closing(ahead(reading.batches())) as batches:
        for reached, batch in batches:
            if batch:
                if n_dims is None:
                    rows.prepare()  # what cannot be written is told before the work
                positions, pictures = map(list, zip(*batch, strict=True))
                names = reading.images.ids[positions]
                vectors = _checked_vectors(encode(pictures), names, encoder, n_dims)
                n_dims = vectors.shape[1]
                rows.add([reading.keys[position] for position in positions], vectors)
            bar.update(reached - bar.n)


def _checked_vectors(vectors, names, encoder, n_dims=None):
    """Embeddings as float32 (uint8 is kept), one row for each of `names`, finite; errors name the image."""
    what = type(encoder.steps[-1][1] if isinstance(encoder, Pipeline) else encoder).__name__
    vectors = np.asarray(vectors.toarray() if hasattr(vectors, "toarray") else vectors)
    fits = vectors.ndim == 2 and len(vectors) == len(names) and vectors.shape[1] > 0
    if not fits or n_dims not in (None, vectors.shape[1]):
        raise ValueError(
            f"{what} gave an array of shape {vectors.shape} for {len(names)} images, the first {names[0]!r}; its transform "
            f"must give (n_images, n_dims){f', as the {n_dims} dimensions before' if n_dims else ''}"
        )
    if vectors.dtype == np.uint8:
        return vectors
    if vectors.dtype.kind not in "fiub":
        raise ValueError(
            f"{what} gave values of type {vectors.dtype}; its transform must give numbers"
        )
    with np.errstate(over="ignore"):
        vectors = vectors.astype(np.float32, copy=False)
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{what} gave NaN or infinity for the image {names[int(bad.argmax())]!r}; leave that image out or mend the encoder"
        )
    return vectors


# ---------------------------------------------------------------------- the database


def _connect(file):
    """A connection to the database `file`, which is made if need be; errors are those of SQLite."""
    for path in (f"{file}{ending}" for ending in ("", "-wal", "-shm", "-journal")):
        if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
            raise FileExistsError(
                f"{path} is a pipe or a device; delete it, or choose another folder"
            )
    if os.access(file.parent, os.W_OK):
        connection = sqlite3.connect(file, timeout=60)
    else:
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?immutable=1", uri=True)
    try:
        find = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"
        if not (tables := {sql for (sql,) in connection.execute(find)}):
            if file.with_name("embeddings").is_dir():
                told = "embeddings of cbirkit 0.1.0 in %s are not read but computed again"
                logger.getChild("damaged").warning(told, file.parent)
            connection.execute("PRAGMA page_size = 16384")
            connection.execute("PRAGMA journal_mode = WAL")
            tables = "; ".join(one.replace("TABLE", "TABLE IF NOT EXISTS") for one in _SCHEMA)
            connection.executescript(f"BEGIN IMMEDIATE; {tables}; COMMIT")
        elif tables != _SCHEMA:  # nor are views and triggers of a stranger run
            raise FileExistsError(f"{file} is a database of something else; choose another folder")
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def _opened(file):
    """A connection to a database; a file that is none any more is moved aside.

    Raises
    ------
    OSError
        It cannot be read or written: one sentence.
    DamagedStore
        It was damaged.
    """
    connection = None
    try:
        with plain_errors(file.parent):
            file.parent.mkdir(parents=True, exist_ok=True)
        connection = _connect(file)
        yield connection
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or file.is_dir():
            with plain_errors(file):
                os.replace(file, f"{file}.damaged")
            for more in ("-wal", "-shm"):
                Path(f"{file}{more}").unlink(missing_ok=True)
            raise DamagedStore(
                f"{file} is damaged ({error}) and was moved to {file.name}.damaged; its embeddings are computed again"
            ) from error
        with plain_errors(file):
            raise OSError(_NUMBERS.get(code, errno.EIO), str(error), str(file)) from error
    finally:
        if connection is not None:
            connection.close()


class _MemoryRows:
    """Embeddings by keys of image contents, where there is no store."""

    def __init__(self):
        self.known = {}

    def prepare(self):
        """Nothing is to be prepared."""

    def add(self, keys, vectors):
        """Keep `vectors` (n, n_dims) under `keys`."""
        self.known.update(zip(keys, vectors, strict=True))

    def read(self, keys):
        """The embeddings of `keys`, (n, n_dims)."""
        return np.stack([self.known[key] for key in keys])


class _Rows:
    """Embeddings of one encoder in a database, by keys of image contents.

    Attributes
    ----------
    known : set of bytes
        Keys that need no encoding.
    """

    def __init__(self, connection, store, encoder):
        self._connection, self._store, self._encoder = connection, store, encoder
        query = "SELECT image FROM embeddings WHERE encoder = ?"
        self.known = {key for (key,) in connection.execute(query, (encoder,))}

    def prepare(self):
        """Raise an error of SQLite if the database cannot be written."""
        self._connection.execute("PRAGMA user_version = 2")

    def add(self, keys, vectors):
        """Keep `vectors` (n, n_dims) under `keys`."""
        little = vectors.astype(vectors.dtype.newbyteorder("<"), copy=False)
        rows = [
            (self._encoder, key, little.dtype.name, data, zlib.crc32(data, zlib.crc32(key)))
            for key, data in zip(keys, map(bytes, little), strict=True)
        ]
        with self._connection:
            self._connection.executemany(
                "INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?, ?, ?)", rows
            )
        self.known.update(keys)
        self._store.n_encoded += len(keys)

    def read(self, keys):
        """The embeddings of `keys`, (n, n_dims): in memory, or mapped from a file in the folder of the store where they are large.

        Raises
        ------
        DamagedStore
            Some were damaged; they are forgotten.
        """
        parts = (self._read_some(keys[some]) for some in gen_batches(len(keys), _CHUNK))
        first = next(parts)
        shape, dtype, parts = (
            (len(keys), first.shape[1]),
            first.dtype,
            itertools.chain([first], parts),
        )
        if len(keys) * first[0].nbytes <= _IN_MEMORY:
            return np.concatenate(list(parts))
        scratch = self._store.folder if os.access(self._store.folder, os.W_OK) else None
        with plain_errors(self._store.folder), tempfile.TemporaryFile(dir=scratch) as file:
            for part in parts:  # written, not mapped: a full disk is then an error and not a crash
                file.write(part.data)
            file.flush()
            return np.memmap(file, dtype=dtype, mode="r", shape=shape)

    def _read_some(self, keys):
        marks = ", ".join("?" * len(keys))
        query = f"SELECT image, dtype, vector, crc FROM embeddings WHERE encoder = ? AND image IN ({marks})"
        found, kinds = {}, set()
        for key, dtype, data, crc in self._connection.execute(query, (self._encoder, *keys)):
            if isinstance(data, bytes) and crc == zlib.crc32(data, zlib.crc32(key)):
                found[key] = data
                kinds.add((dtype, len(data)))
        bad = [key for key in keys if key not in found]
        with contextlib.suppress(ValueError):  # of a width that is none
            if not bad and len(kinds) == 1:
                dtype = np.dtype("u1" if kinds.pop()[0] == "uint8" else "<f4")
                some = np.frombuffer(b"".join(found[key] for key in keys), dtype)
                some = some.reshape(len(keys), -1).astype(dtype.newbyteorder("="), copy=False)
                if np.isfinite(some).all() and some.size:
                    return some
        bad = [(self._encoder, key) for key in bad or keys]
        with self._connection:
            query = "DELETE FROM embeddings WHERE encoder = ? AND image = ?"
            self._connection.executemany(query, bad)
        raise DamagedStore(
            f"{len(bad)} embeddings in {self._store.file} are damaged and are computed again"
        )


class DigestCache:
    """Digests of files by path, size, times and inode, so that files that did not change are not read only to be recognised.

    A best-effort table in the database of a store: whatever goes wrong with it, digests are computed. Use it in one thread, in a
    ``with`` block.

    Parameters
    ----------
    file : pathlib.Path or None
        The `file` of an `EmbeddingStore`; None: nothing is remembered.
    """

    def __init__(self, file):
        self.file = file
        self._connection = None
        self._new = []

    def __enter__(self):
        with contextlib.suppress(sqlite3.Error, OSError):
            self._connection = None if self.file is None else _connect(self.file)
        return self

    def __exit__(self, *exception):
        self._write()
        if self._connection is not None:
            self._connection.close()

    def get(self, path, stamp):
        """The digest of the file at `path`, or None if it is not known of a file with this stamp."""
        if path is not None and self._connection is not None:
            query = "SELECT digest FROM files WHERE path = ? AND stamp = ?"
            with contextlib.suppress(sqlite3.Error):
                for (digest,) in self._connection.execute(query, (os.fsencode(path), repr(stamp))):
                    return str(digest)
        return None

    def put(self, path, stamp, digest):
        """Remember a digest, unless the file changed so lately that it could change again under the same stamp."""
        if path is not None and self._connection is not None and is_settled(stamp):
            self._new.append((os.fsencode(path), repr(stamp), digest))
        if len(self._new) >= 1000:
            self._write()

    def _write(self):
        if self._new and self._connection is not None:
            with contextlib.suppress(sqlite3.Error), self._connection:
                query = "INSERT OR REPLACE INTO files VALUES (?, ?, ?)"
                self._connection.executemany(query, self._new)
        self._new = []


# ---------------------------------------------------------------------- reading ahead of the encoder


class _Reading:
    """Pass once over a collection; contents that are known, or came before, are not read again.

    Attributes
    ----------
    keys : list of bytes or None, one an image
        Key of the contents; None where the image cannot be used.
    stamps : list, one an image
        What `stamp_of` said of its file before it was read; empty where that is not settled.
    problems : list of (name, reason)
    """

    def __init__(self, images, known, batch_size, encoder, cache_file):
        self.images, self._known, self._batch_size = images, known, batch_size
        self._cache_file = cache_file
        # done to an image when it is read, while the encoder is still busy with the batch before
        in_two = hasattr(encoder, "prepare") and hasattr(encoder, "transform_prepared")
        self.prepare = encoder.prepare if in_two else None
        self.keys, self.stamps = [None] * len(images), [None] * len(images)
        self.problems = []

    def batches(self):
        """Yield how many images are dealt with, and of those that are to be encoded the positions and pixels.

        Broken images take no place in a batch, so a resumed run forms the same ones.
        """
        claimed, batch, weight = set(), [], 0
        with DigestCache(self._cache_file) as cache:
            for position in range(len(self.images)):
                image = self._next_image(position, cache, claimed)
                if image is not None:
                    batch.append((position, image))
                    weight += image.nbytes
                full = len(batch) == self._batch_size or weight >= _BATCH_BYTES
                if full or (not batch and position % _TICK == _TICK - 1):
                    yield position + 1, batch
                    batch, weight = [], 0
        yield len(self.images), batch

    def _next_image(self, position, cache, claimed):
        """The pixels of an image that is to be encoded, or None."""
        try:
            path = self.images.path(position)
            before = stamp_of(path)
            self.stamps[position] = () if before and not is_settled(before) else before
            key = contents_key(self.images, position, before, cache)
            image = None
            if key not in self._known and key not in claimed:
                image = self.images[position]
                if stamp_of(path) != before:
                    raise ImageProblem(
                        self.images.ids[position], "changed while it was read; run it again"
                    )
                image = image if self.prepare is None else self.prepare(image)
                claimed.add(key)
        except (ImageProblem, OSError) as problem:
            reason = getattr(problem, "reason", None) or reason_of(problem)
            self.problems.append((str(self.images.ids[position]), reason))
            return None
        self.keys[position] = key
        return image


def stamp_of(path):
    """What changes when a file does: size, times, inode; None for what is no file."""
    if path is None:
        return None
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def is_settled(stamp):
    """Whether a stamp taken just now stands for the contents: a file that changed lately could change again under the same one."""
    return time.time() - max(stamp[1:3]) / 1e9 >= _RACY


def contents_key(images, position, stamp, cache):
    """Bytes that identify the contents of one image, whose file has this stamp now."""
    path = images.path(position)
    digest = cache.get(path, stamp)
    if digest is None:
        digest = images.digest(position)
        cache.put(path, stamp, digest)
    return hashlib.blake2b(digest.encode(), digest_size=_KEY_BYTES).digest()


def ahead(items, depth=1):
    """Yield what the iterator `items` gives, computed in a thread up to `depth` items ahead.

    An exception in the iterator is raised here; when this generator is closed the thread ends after the item it is at.
    """
    done = object()
    # what is opened in a thread is closed in it
    with ThreadPoolExecutor(1, thread_name_prefix="cbirkit-reader") as thread:
        try:
            waiting = deque(thread.submit(next, items, done) for _ in range(depth + 1))
            while (item := waiting.popleft().result()) is not done:
                waiting.append(thread.submit(next, items, done))
                yield item
        finally:
            for later in waiting:
                later.cancel()
            thread.submit(getattr(items, "close", list)).result()
