"""Read the images that still need an embedding, batch by batch, ahead of the encoder."""

import contextlib
import hashlib
import logging
import os
import re
import sqlite3
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ..images import ImageProblem
from .rows import KEY_BYTES

logger = logging.getLogger(__name__)

_BATCH_BYTES = 128 << 20  # pixels held in a batch: photographs of 50 megapixels come one at a time
_TICK = 500  # images skipped before progress is told
_RACY = 2.0  # seconds: a file changed twice within the clock's tick could keep its time stamp


@dataclass
class Batch:
    """Images to be encoded together; `reached` images of the collection are then dealt with."""

    positions: list = field(default_factory=list)
    keys: list = field(default_factory=list)
    images: list = field(default_factory=list)
    reached: int = 0


class Reading:
    """Pass once over a collection; contents that are known, or came before, are not read again.

    Parameters
    ----------
    images : ImageCollection
    known : container of bytes
        Keys that need no reading.
    batch_size : int
    cache_file : Path, optional
    prepare : callable, optional
        Turns the pixels of an image into the array that the encoder wants, while it is still busy with the batch before.

    Attributes
    ----------
    keys : list of bytes or None, one an image
        Key of the contents; None where the image cannot be used.
    stamps : list, one an image
        What `stamp_of` said of its file before it was read; empty where that is not settled.
    problems : list of (name, reason)
    """

    def __init__(self, images, known, *, batch_size, cache_file=None, prepare=None):
        self.images = images
        self.known = known
        self.batch_size = batch_size
        self.cache_file = cache_file
        self.prepare = prepare
        self.keys = [None] * len(images)
        self.stamps = [None] * len(images)
        self.problems = []
        self._claimed = set()

    def batches(self):
        """Yield a `Batch` at a time; broken images take no place in one, so a resumed run forms the same batches."""
        batch, weight = Batch(), 0
        with DigestCache(self.cache_file) as cache:
            for position in range(len(self.images)):
                image = self._next_image(position, cache)
                batch.reached = position + 1
                if image is not None:
                    batch.positions.append(position)
                    batch.keys.append(self.keys[position])
                    batch.images.append(image)
                    weight += image.nbytes
                if len(batch.images) == self.batch_size or weight >= _BATCH_BYTES:
                    yield batch
                    batch, weight = Batch(reached=position + 1), 0
                elif not batch.images and position % _TICK == _TICK - 1:
                    yield batch
                    batch = Batch(reached=position + 1)
        yield batch

    def _next_image(self, position, cache):
        """The pixels of an image that is to be encoded, or None."""
        try:
            path = self.images.path(position)
            before = stamp_of(path)
            self.stamps[position] = () if before and not is_settled(before) else before
            key = contents_key(self.images, position, before, cache)
            image = None
            if key not in self.known and key not in self._claimed:
                image = self.images[position]
                if stamp_of(path) != before:
                    raise ImageProblem(
                        self.images.ids[position], "changed while it was read; run it again"
                    )
                if self.prepare is not None:
                    image = self.prepare(image)
                self._claimed.add(key)
        except (ImageProblem, OSError) as problem:
            reason = (
                getattr(problem, "reason", None)
                or getattr(problem, "strerror", None)
                or str(problem)
            )
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
    return hashlib.blake2b(digest.encode(), digest_size=KEY_BYTES).digest()


def ahead(items, depth=1):
    """Yield what the iterator `items` gives, computed in a thread up to `depth` items ahead.

    An exception in the iterator is raised here; when this generator is closed the thread ends after the item it is at.
    """
    done = object()
    with ThreadPoolExecutor(
        1, thread_name_prefix="cbirkit-reader"
    ) as thread:  # what is opened in a thread is closed in it
        try:
            waiting = deque(thread.submit(next, items, done) for _ in range(depth + 1))
            while (item := waiting.popleft().result()) is not done:
                waiting.append(thread.submit(next, items, done))
                yield item
        finally:
            for later in waiting:
                later.cancel()
            thread.submit(getattr(items, "close", list)).result()


class DigestCache:
    """Digests of files by path, size, times and inode, so that files that did not change are not read only to be recognised.

    A best-effort SQLite file: whatever goes wrong with it, digests are computed. Use it in one thread, in a ``with`` block.
    """

    def __init__(self, file):
        self.file = file
        self._connection = None
        self._new = []

    def __enter__(self):
        if self.file is not None:
            with self._best_effort():
                self._connection = sqlite3.connect(self.file, timeout=10)
                self._connection.execute(
                    "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, stamp TEXT, digest TEXT)"
                )
        return self

    def __exit__(self, *exception):
        self._write()
        if self._connection is not None:
            self._connection.close()

    def get(self, path, stamp):
        """The digest of the file at `path`, or None if it is not known of a file with this stamp."""
        if path is None or self._connection is None:
            return None
        with self._best_effort():
            query = "SELECT digest FROM files WHERE path = ? AND stamp = ?"
            found = self._connection.execute(query, (_text(path), repr(stamp))).fetchone()
            return found[0] if found and re.fullmatch("[0-9a-f]{32}", str(found[0])) else None

    def put(self, path, stamp, digest):
        """Remember a digest, unless the file changed so lately that it could change again under the same stamp."""
        if path is None or self._connection is None or not is_settled(stamp):
            return
        self._new.append((_text(path), repr(stamp), digest))
        if len(self._new) >= 1000:
            self._write()

    def _write(self):
        if self._new and self._connection is not None:
            with self._best_effort(), self._connection:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO files VALUES (?, ?, ?)", self._new
                )
        self._new = []

    @contextlib.contextmanager
    def _best_effort(self):
        try:
            yield
        except sqlite3.Error as error:
            logger.info("digests of files are not kept in %s: %s", self.file, error)
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            if not isinstance(
                error, sqlite3.OperationalError
            ):  # damaged, or not ours: begin anew next time
                with contextlib.suppress(OSError):
                    os.replace(self.file, f"{self.file}.damaged")


def _text(path):
    # A file name need not be text: what is not becomes an escape, as the database takes text only.
    return str(path.absolute()).encode("utf-8", "backslashreplace").decode()
