"""Where embeddings are kept while (and after) they are made: in shard files of a folder, or in memory."""

import contextlib
import hashlib
import io
import logging
import tempfile
from pathlib import Path

import numpy as np

from .._atomic import plain_errors, sweep, write_bytes
from .._manifest import read_array, reason_of

logger = logging.getLogger(__name__)

KEY_BYTES = 16
_IN_MEMORY = 64 << 20  # larger results are mapped from a scratch file
_CHUNK = 4096  # rows copied at a time


def row_dtype(n_dims, dtype):
    """Type of a row of a shard: the key of the image contents and the embedding."""
    return np.dtype(
        [
            ("key", np.uint8, (KEY_BYTES,)),
            ("embedding", np.dtype(dtype).newbyteorder("<"), (n_dims,)),
        ]
    )


class MemoryRows:
    """Embeddings by key, in memory."""

    folder = None

    def __init__(self):
        self._where = {}
        self._blocks = []

    def __contains__(self, key):
        return key in self._where

    def prepare(self):
        """Nothing to do before the first `add`."""

    def add(self, keys, vectors):
        """Keep `vectors` (n, n_dims) under `keys`."""
        self._where.update({key: (len(self._blocks), row) for row, key in enumerate(keys)})
        self._blocks.append(vectors)

    def blocks(self, keys):
        """Yield the embeddings of `keys` in their order, `_CHUNK` rows at a time."""
        for start in range(0, len(keys), _CHUNK):
            where = np.array(
                [self._where[key] for key in keys[start : start + _CHUNK]]
            )  # (m, 2): block, row
            first = self._block(where[0, 0])
            out = np.empty((len(where), first.shape[1]), first.dtype)
            for block in np.unique(where[:, 0]):
                mine = where[:, 0] == block
                out[mine] = self._block(block)[where[mine, 1]]
            yield out

    def _block(self, number):
        return self._blocks[number]


class ShardRows(MemoryRows):
    """Embeddings of one encoder, in the shard files of one folder.

    A shard is an ``.npy`` file of rows (key, embedding) that is written in one step and never changed; its name is the checksum of
    its bytes, so that a damaged one is recognised, and processes that write at the same time cannot disturb one another.

    Parameters
    ----------
    folder : Path
    about : bytes
        Text for people: which encoder this is. Written beside the shards.
    store : EmbeddingStore
        Its ``_verified`` are the names, sizes and times of shards whose checksums were found right before, its ``n_encoded`` counts.
    """

    def __init__(self, folder, about, store):
        super().__init__()
        self.folder = Path(folder)
        self.about = about
        self._store = store
        self._dtype = None
        if self.folder.is_dir():
            for path in sorted(self.folder.glob("*.npy")):
                self._open(path)

    def prepare(self):
        """Make the folder, or raise an OSError that says why it cannot be written."""
        with plain_errors(self.folder):
            description = self.folder / "encoder.json"
            if not description.is_file() or description.read_bytes() != self.about:
                write_bytes(description, self.about)
            with tempfile.TemporaryFile(dir=self.folder):
                sweep(self.folder)

    def add(self, keys, vectors):
        """Write `vectors` (n, n_dims) under `keys` as a new shard."""
        rows = np.empty(len(keys), row_dtype(vectors.shape[1], vectors.dtype))
        rows["key"] = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), KEY_BYTES)
        rows["embedding"] = vectors
        file = io.BytesIO()
        np.save(file, rows, allow_pickle=False)
        data = file.getbuffer()
        path = self.folder / f"{hashlib.sha256(data).hexdigest()[:40]}.npy"
        if path not in self._blocks:  # one that is there and damaged is replaced
            write_bytes(path, data)
        self._store._verified.add(_stamp(path))
        self._store.n_encoded += len(keys)
        self._open(path)

    def _open(self, path):
        try:
            known = _stamp(path) in self._store._verified
            if not known:
                with open(path, "rb") as file:
                    if not hashlib.file_digest(file, "sha256").hexdigest().startswith(path.stem):
                        raise ValueError("its checksum differs")
            rows = read_array(path, mmap=True)
            vectors = rows["embedding"]
            if self._dtype not in (None, rows.dtype) or rows.dtype != row_dtype(
                vectors.shape[1], vectors.dtype
            ):
                raise ValueError(f"its rows are {rows.dtype}, those of other shards {self._dtype}")
            if not known and not np.isfinite(vectors).all():
                raise ValueError("it holds NaN or infinity")
            keys = rows["key"].tobytes()
        except FileNotFoundError:
            return  # another process found it damaged just now
        except Exception as error:  # noqa: BLE001 (whatever lies there, it only costs time)
            logger.warning(
                "%s is damaged (%s); its embeddings are computed again", path, reason_of(error)
            )
            with contextlib.suppress(OSError):
                if path.is_dir():
                    path.rmdir()
                elif not isinstance(error, OSError):
                    path.unlink()
            return
        self._store._verified.add(_stamp(path))
        self._dtype = rows.dtype
        number = len(self._blocks)
        self._blocks.append(path)
        for row in range(len(rows)):
            self._where.setdefault(keys[row * KEY_BYTES : (row + 1) * KEY_BYTES], (number, row))

    def size(self):
        """Number of embeddings, of their dimensions, and megabytes."""
        n_dims = 0 if self._dtype is None else self._dtype["embedding"].shape[0]
        return len(self._where), n_dims, sum(path.stat().st_size for path in self._blocks) / 1e6

    def _block(self, number):
        return read_array(self._blocks[number], mmap=True)["embedding"]


def _stamp(path):
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns


def gather(blocks, n, scratch=None):
    """Put blocks of rows together: in memory, or mapped from an unnamed scratch file where they are large.

    Parameters
    ----------
    blocks : iterable of arrays (m, n_dims)
    n : int
        Rows in all.
    scratch : path-like, optional
        Folder for the scratch file, which vanishes with the array. None: always in memory.

    Returns
    -------
    ndarray of shape (n, n_dims)
        A read-only ``memmap`` where larger than 64 MB.
    """
    blocks = iter(blocks)
    first = next(blocks)
    if scratch is None or n * first[0].nbytes <= _IN_MEMORY:
        out = np.empty((n, first.shape[1]), first.dtype)
        start = 0
        while first is not None:
            out[start : start + len(first)] = first
            start, first = start + len(first), next(blocks, None)
        return out
    shape, dtype = (n, first.shape[1]), first.dtype
    with plain_errors(scratch), _scratch_file(scratch) as file:
        while (
            first is not None
        ):  # written, not mapped: a full disk is then an error and not a crash
            file.write(np.ascontiguousarray(first).data)
            first = next(blocks, None)
        file.flush()
        return np.memmap(file, dtype=dtype, mode="r", shape=shape)


def _scratch_file(folder):
    try:
        return tempfile.TemporaryFile(dir=folder)
    except OSError:  # a store that can be read only
        return tempfile.TemporaryFile()
