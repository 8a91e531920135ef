"""`BackgroundSurvey`: a collection looked at in a thread, so that its pictures appear at once."""

import logging
import time
from threading import Thread

import numpy as np
import pandas as pd

from ..evaluation import Survey, survey
from ..images import ImageCollection
from .projection import checked_embeddings

log = logging.getLogger(__name__)
_PATIENCE = 1.0  # seconds to wait before anything is shown: small collections are ready by then
_BETWEEN = 0.5  # seconds between two reports


class _StopSurvey(Exception):
    """Nobody wants to know any more."""


class BackgroundSurvey:
    """Runs `survey` once.

    Parameters
    ----------
    images : ImageCollection
    embeddings : array, estimator or None
    n_outliers : int
    on_progress : callable
        ``on_progress()`` when `n_done` is new, in the thread.
    on_end : callable
        ``on_end()`` when `found` or `failure` is there, in the thread; not called if `start` already waited for it.

    Attributes
    ----------
    found : Survey or None
    failure : Exception or None
    n_done : int
        Images looked at.
    """

    def __init__(self, images, embeddings, *, n_outliers, on_progress, on_end):
        self._images, self._embeddings, self._n_outliers = images, embeddings, n_outliers
        self._on_progress, self._on_end = on_progress, on_end
        self._stopped, self._told_at = False, 0.0
        self.found = self.failure = None
        self.n_done = 0
        self._thread = Thread(target=self._run, name="collection survey", daemon=True)

    @property
    def told(self):
        """How far it is, in words."""
        if self.failure is not None:
            return "this could not be looked at"
        if self.n_done >= len(self._images):
            return f"all {len(self._images):,} images are read; they are being compared"
        return f"being looked at: {self.n_done:,} of {len(self._images):,} images"

    def start(self):
        """Begin, and wait a moment; True if it is over already."""
        self._thread.start()
        self._thread.join(_PATIENCE)
        return not self._thread.is_alive()

    def wait(self, timeout):
        """Wait for the end; TimeoutError if that takes longer, and what went wrong."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError(
                f"{self.told} after {timeout} s; wait longer, or look at a part: images[:1000]"
            )
        if self.failure is not None:
            raise self.failure

    def stop(self):
        """Give up."""
        self._stopped = True

    def _run(self):
        try:
            how = {"n_outliers": self._n_outliers, "progress": self._tell}
            self.found = survey(self._images, self._embeddings, **how)
        except _StopSurvey:
            return
        except Exception as error:  # told where the reader looks; `wait` raises it
            log.warning("the collection was not looked at", exc_info=True)
            self.failure = error
        self._on_end()

    def _tell(self, n_done, n_images):
        if self._stopped:
            raise _StopSurvey
        self.n_done = n_done
        if n_done == n_images or time.monotonic() - self._told_at > _BETWEEN:
            self._told_at = time.monotonic()
            self._on_progress()


def checked_input(images, embeddings, found, page_size):
    """Embeddings as an array or estimator, or None; TypeError or ValueError for what cannot be shown."""
    if not isinstance(images, ImageCollection):
        raise TypeError(
            f"images must be an ImageCollection, got {type(images).__name__}; see datasets.from_folder"
        )
    if not len(images):
        raise ValueError(
            "the collection has no images; see its .problems for files that were refused"
        )
    if isinstance(page_size, bool) or not isinstance(page_size, int | np.integer) or page_size < 1:
        raise ValueError(f"page_size must be a whole number of at least 1, got {page_size!r}")
    if found is not None:
        _check_survey(images, embeddings, found)
    if embeddings is None or (
        hasattr(embeddings, "transform") and not isinstance(embeddings, pd.DataFrame)
    ):
        return embeddings
    rows = checked_embeddings(embeddings, images.ids)
    if len(rows) != len(images):
        raise ValueError(
            f"got {len(rows)} embeddings for {len(images)} images; give one row an image"
        )
    return rows


def _check_survey(images, embeddings, found):
    """Whether a survey is one, and of these images."""
    if not isinstance(found, Survey):
        raise TypeError(
            f"found must be a Survey, got {type(found).__name__}; see evaluation.survey"
        )
    left_over = images.table.index.symmetric_difference(found.table.index).difference(
        found.problems["name"]
    )
    if len(left_over):
        raise ValueError(
            "found= is a survey of other images; leave it out, or call evaluation.survey on these"
        )
    if embeddings is not None and "distance" not in found.table:
        raise ValueError(
            "found= was made without embeddings; leave it out, or make it with survey(images, embeddings)"
        )
