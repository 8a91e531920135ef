"""The points of a map: at once where that is quick, else PCA first and the rest from a thread."""

import logging
from threading import Thread

import numpy as np

from ..images import ImageCollection
from ..ranking.codes import aligned
from .projection import (
    METHODS,
    check_method,
    checked_embeddings,
    is_remembered,
    map_quality,
    narrowed,
    project,
)

log = logging.getLogger(__name__)
GIVEN = "given positions"
AT_ONCE = 5000  # of more images, the quality of a map is measured in the thread


class MapLayout:
    """Lays rows out, measures the map, and says when there is something new.

    Parameters
    ----------
    rows : array (n_images, n_dims), float32
    given : array (n_images, 2) or None
        Positions for the method "given positions".
    k, random_state, cache
        As for `EmbeddingMap`.
    on_change : callable
        ``on_change()`` when `points`, `shown` or `quality` are new, in whichever thread.
    say : callable
        ``say(text, problem=False)``.

    Attributes
    ----------
    points : array (n_images, 2), float32
    shown : str
        The method that `points` are by.
    quality : MapQuality or None
        None until it is measured.
    """

    def __init__(self, rows, given, *, k, random_state, cache, on_change, say):
        self._rows, self._given, self._k = rows, given, k
        self._how = {"random_state": random_state, "cache": cache}
        self._on_change, self._say = on_change, say
        self._thread, self._failure, self._turn = None, None, 0
        self.points, self.shown, self.quality = None, "", None

    @property
    def choices(self):
        """list of (str, str): what the methods are called, and the methods."""
        given = [] if self._given is None else [("positions given", GIVEN)]
        return given + [(words, name) for name, words in METHODS.items()]

    @property
    def told(self):
        """How far the map can be believed, in words."""
        return (
            "how far the map can be believed is being measured"
            if self.quality is None
            else str(self.quality)
        )

    def check(self, method):
        """Raise ValueError for a method that cannot be used."""
        if method != GIVEN or self._given is None:
            check_method(method, len(self._rows))

    def start(self, method):
        """Show a map by `method`, or PCA until that is ready."""
        self._turn += 1
        self._failure = None
        first = (
            method if method == GIVEN or is_remembered(self._rows, method, **self._how) else "pca"
        )
        self._show(first, self._laid_out(first), measure=len(self._rows) <= AT_ONCE)
        if first == method and self.quality is not None:
            self._thread = None
            return
        if first != method:
            self._say(
                f"{named(method)} is being fitted to {len(self._rows):,} images; PCA is shown until it is ready."
            )
        self._thread = Thread(
            target=self._go_on, args=(method, self._turn), name="embedding map", daemon=True
        )
        self._thread.start()

    def wait(self, timeout):
        """Wait for the thread; TimeoutError if it takes longer, and what went wrong in it."""
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                raise TimeoutError(
                    f"the map was not ready after {timeout} s; wait longer, or use method='pca'"
                )
        if self._failure is not None:
            raise self._failure

    def _go_on(self, method, turn):
        try:
            if self.quality is None:
                self._show(self.shown, self.points, turn=turn)
            if self.shown != method:
                self._show(method, self._laid_out(method), turn=turn)
                if turn == self._turn:
                    self._say(f"{named(method)} is shown.")
        except Exception as error:  # told where the reader looks; `wait` raises it
            log.warning("no map by %s", method, exc_info=True)
            if turn == self._turn:
                self._failure = error
                self._say(
                    f"{named(self.shown)} stays, for {named(method)} failed: {error}", problem=True
                )

    def _laid_out(self, method):
        return self._given if method == GIVEN else project(self._rows, method, **self._how)

    def _show(self, method, points, *, measure=True, turn=None):
        """Take over a map, unless another one has been asked for meanwhile."""
        quality = None
        if measure:
            quality = map_quality(
                points, self._rows, k=self._k, random_state=self._how["random_state"]
            )
        if turn in (None, self._turn):
            self.points, self.shown, self.quality = points, method, quality
            self._on_change()


def named(method):
    """What to call a method."""
    return METHODS.get(method, "The map of given positions")


def checked_positions(points, ids):
    """Given positions as float32 (n_images, 2), a DataFrame matched with the ids; ValueError for anything else."""
    n_images, points = len(ids), aligned(points, ids, "positions")
    try:
        points = np.array(points, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"method must be one of {', '.join(METHODS)} or positions (n_images, 2); {error}"
        ) from error
    if points.ndim == 0:
        raise ValueError(
            f"method must be one of {', '.join(METHODS)} or positions (n_images, 2), got {points.item()!r}"
        )
    if points.shape != (n_images, 2) or not np.isfinite(points).all():
        raise ValueError(
            f"positions must be finite, of the shape ({n_images}, 2), one row an image; got shape {points.shape}"
        )
    return points


def checked_rows(images, embeddings, metric):
    """Rows to compare by Euclidean distance, float32 (n_images, n_dims); of length 1 for cosine."""
    if not isinstance(images, ImageCollection):
        raise TypeError(
            f"images must be an ImageCollection, got {type(images).__name__}; see datasets.from_folder"
        )
    rows = checked_embeddings(embeddings, images.ids)
    if len(rows) != len(images):
        raise ValueError(
            f"got {len(rows)} embeddings for {len(images)} images; give one row an image"
        )
    if metric not in ("cosine", "euclidean"):
        raise ValueError(f"metric must be 'cosine' or 'euclidean', got {metric!r}")
    if metric == "cosine":
        largest = np.abs(rows).max(axis=1, keepdims=True).astype(np.float64)
        rows = rows / np.where(largest > 0, largest, 1)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return narrowed(rows)
