"""Turn images into embeddings, and keep these on disk so that no image is encoded twice."""

import contextlib
import hashlib
import json
import os
from pathlib import Path

import pandas as pd

from ..persistence import fingerprint
from .embedding import Embedded, check_encoder, embed, split_pipeline
from .reading import DigestCache, contents_key, is_settled, stamp_of
from .rows import ShardRows

__all__ = ["DigestCache", "Embedded", "EmbeddingStore", "check_encoder", "contents_key", "embed"]
__all__ += ["is_settled", "split_pipeline", "stamp_of"]

_FORMAT = "embeddings 1"


class EmbeddingStore:
    """Embeddings on disk, by encoder and image contents.

    What an encoder computes is identified by `cbirkit.persistence.fingerprint` (class, version, parameters, fitted attributes), an
    image by its contents: a changed parameter or file never meets an old embedding, a renamed or copied file is not encoded again.
    Work is kept in small steps: a run that is killed goes on where it was. Several processes may use one store. Of a pipeline the
    embeddings before its last scikit-learn steps (PCA, scaling, normalisation) are kept, so changing these costs no encoding.

    Parameters
    ----------
    folder : path-like
        Made when first needed. Nothing else in it is touched.
    flush_seconds : float
        After how long embeddings that are done are written at the latest.

    Attributes
    ----------
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

    def __init__(self, folder, *, flush_seconds=10.0):
        self.folder = Path(os.path.abspath(folder))
        self.flush_seconds = flush_seconds
        self.n_encoded = 0
        self._verified = set()

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

    def summary(self):
        """What is stored: a DataFrame with the columns encoder, n_images, n_dims, megabytes, folder."""
        rows = []
        for path in sorted(self.folder.glob("embeddings/*/encoder.json")):
            kept, name = ShardRows(path.parent, b"", self), "?"
            with contextlib.suppress(
                OSError, ValueError, KeyError, TypeError
            ):  # a text for people, which may be damaged
                name = str(json.loads(path.read_text("utf-8"))["encoder"])
            rows.append((name, *kept.size(), path.parent.name))
        return pd.DataFrame(rows, columns=["encoder", "n_images", "n_dims", "megabytes", "folder"])

    def _rows(self, encoder):
        from .. import __version__

        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"{str(self.folder)!r} is a file; give the store a folder")
        identity = fingerprint(encoder)
        key = hashlib.sha256(f"{_FORMAT}\n{__version__}\n{identity}".encode()).hexdigest()[:32]
        about = {
            "encoder": repr(encoder),
            "fingerprint": identity,
            "cbirkit": __version__,
            "format": _FORMAT,
        }
        return ShardRows(
            self.folder / "embeddings" / key, json.dumps(about, indent=1).encode(), self
        )
