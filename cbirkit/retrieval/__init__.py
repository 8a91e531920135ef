"""`Retriever`: encoder, embeddings and index together; from images to rankings."""

import numbers
from dataclasses import replace

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from cbirkit import persistence, text
from cbirkit._optional import bars
from cbirkit.encoders.base import has_learned, is_fitted, steps_of
from cbirkit.images import ImageProblem
from cbirkit.indexes import as_index, leave_out
from cbirkit.ranking import Ranking
from cbirkit.ranking.codes import aligned
from cbirkit.store import as_collection, check_encoder, embed, split_pipeline

from .database import Database, changed
from .queries import Queries, as_queries, as_words, unique

__all__ = ["Retriever", "changed", "is_fitted"]

_SHOWN = ("ids", "images", "table", "embeddings", "problems")  # of the database, by a retriever
_MOST_COMPARED = 100  # results of a query whose files are looked at again


def _of_database(name):
    """Property that reads an attribute of the database; see the attributes of `Retriever`."""
    return property(lambda self: check_is_fitted(self) or getattr(self.database_, name))


class Retriever(BaseEstimator):
    """Find the images of a database that are nearest to a query.

    Parameters
    ----------
    encoder : estimator with ``transform(images) -> (n_images, n_dims)``
        One of `cbirkit.encoders`, a scikit-learn pipeline around one, or your own.
    index : estimator with ``fit`` and ``kneighbors``, optional
        One of `cbirkit.indexes` or scikit-learn's ``NearestNeighbors``. Default: ``Exact("cosine")``.
    store : EmbeddingStore, optional
        Keeps embeddings on disk.
    progress : bool
        Show progress bars for what takes longer than a second.

    Attributes
    ----------
    encoder_, index_ : fitted
        `encoder_` is `encoder` itself if it was fitted; otherwise a clone, fitted by `fit`.
    ids : ndarray of str (n_images,), the indexed images
    images : ImageCollection of them, or None after loading where the files are not at hand
    table : DataFrame indexed by id
    embeddings : ndarray (n_images, n_dims)
    problems : DataFrame (name, reason) of images that could not be used

    Examples
    --------
    >>> from sklearn.preprocessing import FunctionTransformer
    >>> mean = FunctionTransformer(lambda images: np.stack([i.mean(axis=(0, 1)) for i in images]))
    >>> retriever = Retriever(mean).fit(np.eye(3)[:, None, None, :])  # images of one pixel: red, green, blue
    >>> retriever.search(np.array([[[0.2, 0.9, 0.1]]]), k=2).ids.tolist()
    [['1', '0']]
    """

    def __init__(self, encoder, index=None, *, store=None, progress=True):
        self.encoder = encoder
        self.index = index
        self.store = store
        self.progress = progress

    def fit(self, images, y=None, *, encoder_images=None):
        """Encode and index a database; what was indexed before is forgotten.

        An encoder that learns and is not fitted is fitted first: on `encoder_images`, or else on the database itself, which the
        protocol of every ranking then says. A fitted encoder stays as it is.

        Parameters
        ----------
        images : ImageCollection, folder, or sequence of images
            Images that cannot be read are left out, see `problems`.
        y : ignored
        encoder_images : the same, optional
            What an unfitted encoder learns from.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            `encoder` has no ``transform``, or `index` no ``fit`` and ``kneighbors``.
        ValueError
            There is no usable image, or an embedding is not finite.
        OSError
            The store cannot be written.
        """
        index = clone(as_index(self.index), safe=False)
        check_encoder(self.encoder)
        images = as_collection(images)
        encoder, note = fit_encoder(self.encoder, images, encoder_images, **self._options)
        embedded = embed(encoder, images, **self._options)
        index.fit(embedded.embeddings)
        self.database_ = Database.of(images, embedded, np.arange(len(embedded.positions)))
        self.encoder_, self.index_, self.note_ = encoder, index, note
        return self

    def search(self, queries, k=10, *, exclude_self=True):
        """Rank the database by its distance to each query.

        Parameters
        ----------
        queries : ImageCollection, id of an indexed image, path, bytes, PIL image, array (h, w, 3), a list of these, or words
            A string is taken as an id if an indexed image has it, else as a path if there is such a file, or if it looks
            like a name (``"x.jpg"``, ``"mug_2"``: `cbirkit.text.is_words`); else as words: see `search_words`. Files are called by their path in the
            ranking, pixels ``"query-0"``, ``"query-1"`` … by their place in the list. Images of a collection that cannot be read are left
            out, which the protocol says; any other one is an error.
        k : int or None
            Results for each query; None ranks the whole database.
        exclude_self : bool
            Leave out the query itself: the indexed image of the same id and the same contents, or of the same file. Copies of it
            under other ids stay, and so does an image that only shares its id.

        Returns
        -------
        Ranking
            Rows are padded with -1 where leaving out the query leaves fewer than `k`.

        Raises
        ------
        ValueError
            `k` exceeds the database, an unknown id, no query, or an image that cannot be read.
        TypeError
            A query is none of these; or it is words, and the encoder knows none.
        """
        self._check_k(k)
        if words := as_words(queries, self.database_):
            return self.search_words(words, k)
        found = as_queries(queries, self.encoder_, self.database_, **self._options)
        return self._ranked(found, k, exclude_self)

    def search_words(self, sentences, k=10):
        """Rank the database by its distance to sentences, whatever images and files are called; nothing is encoded anew.

        Parameters
        ----------
        sentences : str or list of str
            ``"a red car on a street"``.
        k : int or None

        Returns
        -------
        Ranking
            All images are compared, without the index; distances are those of `cbirkit.text.distances`.

        Raises
        ------
        TypeError
            The encoder has no `cbirkit.text.text_side`.
        ImportError
            The packages of ``cbirkit[text]`` are missing.
        ValueError
            A sentence is empty, or looks like the name of a file.
        """
        self._check_k(k)
        sentences = [sentences] if isinstance(sentences, str) else list(sentences)
        table = text.distances(self.encoder_, sentences, self.embeddings)
        found = Ranking.from_distances(table, unique(sentences), self.ids, k=k)
        self.database_.tell_changed(found.indices[:, :_MOST_COMPARED].ravel())
        told = f"words, compared with all {len(self.ids):,} images; encoder {self.encoder_!r}"
        return replace(found, protocol=" ".join(told.split()))

    @property
    def _options(self):
        return {"store": self.store, "progress": self.progress}

    def _check_k(self, k):
        check_is_fitted(self)
        n = len(self.database_)
        if k is not None and check_scalar(k, "k", numbers.Integral, min_val=1) > n:
            raise ValueError(f"k={k} exceeds the {n} indexed images; use k <= {n}, or None for all")

    def search_embeddings(self, embeddings, k=10, *, ids=None):
        """Rank the database by its distance to embeddings, made by `encoder_` or combined from such.

        Parameters
        ----------
        embeddings : array-like of shape (n_queries, n_dims) or (n_dims,)
            A DataFrame is matched with `ids` by its index.
        k : int or None
        ids : list of str, optional
            Names of the queries; default ``"query-0"`` …

        Returns
        -------
        Ranking
            Nothing is left out.

        Raises
        ------
        ValueError
            `k` exceeds the database, or the dimensions do not fit.
        """
        self._check_k(k)
        if ids is not None and np.ndim(embeddings) == 2:
            embeddings = aligned(embeddings, ids, "embeddings")
        embeddings = np.atleast_2d(embeddings)
        names = [f"query-{n}" for n in range(len(embeddings))] if ids is None else list(ids)
        queries = Queries(names, embeddings, np.full(len(embeddings), -1))
        return replace(self._ranked(queries, k, False), own=None)

    def _ranked(self, queries, k, exclude_self):
        own = queries.own if exclude_self else np.full(len(queries.own), -1)
        n = len(self.database_)
        deep = n if k is None else min(k + int((own >= 0).any()), n)
        distances, keys = self.index_.kneighbors(queries.embeddings, n_neighbors=deep)
        k = max(1, deep - int((own >= 0).all())) if k is None else k
        found = np.where(keys < 0, -1, np.searchsorted(self.database_.keys, keys))
        distances, indices = leave_out(distances, found, own, k)
        self.database_.tell_changed(np.append(queries.own, indices[:, :_MOST_COMPARED]))
        parts = [f"encoder {self.encoder_!r}", self.note_, f"index {self.index_!r}"]
        lost = f"{queries.unreadable} queries left out as unreadable" * (queries.unreadable > 0)
        who = "left out (same id and contents)" if exclude_self else "not left out"
        parts += [f"{n:,} database images", lost, f"query itself {who}"]
        protocol = "; ".join(" ".join(part.split()) for part in parts if part)
        return Ranking(queries.ids, self.ids, indices, distances, protocol, queries.own)

    def add(self, images):
        """Encode and index further images; the encoder is not fitted again.

        Parameters
        ----------
        images : ImageCollection, folder, or sequence of images
            Their ids must be new.

        Raises
        ------
        TypeError
            The index cannot add.
        ValueError
            An id is indexed already.
        """
        self._need("add")
        images = as_collection(images)
        if clash := [name for name in images.ids if name in self.table.index]:
            raise ValueError(f"the id {clash[0]!r} is indexed already; remove it, or use another")
        embedded = embed(self.encoder_, images, **self._options)
        keys = np.asarray(self.index_.add(embedded.embeddings), dtype=np.int64)
        self.database_ = self.database_.added(Database.of(images, embedded, keys))
        return self

    def remove(self, ids):
        """Forget indexed images.

        Parameters
        ----------
        ids : str or list of str

        Raises
        ------
        TypeError
            The index cannot remove.
        ValueError
            An id is not indexed; then nothing is removed.
        """
        self._need("remove")
        ids = [ids] if isinstance(ids, str) else list(ids)
        positions = np.unique(self.database_.positions(ids))
        self.index_.remove(self.database_.keys[positions])
        self.database_ = self.database_.without(positions)
        return self

    def _need(self, method):
        check_is_fitted(self)
        if not hasattr(self.index_, method):
            raise TypeError(f"{type(self.index_).__name__} cannot {method} images; use Exact()")

    def save(self, path, *, about=None):
        """Save encoder, index, embeddings, ids and table (not the images) as one file, in one step and without pickle.

        Parameters
        ----------
        path : path-like
            A retriever saved there before is replaced; anything else is refused.
        about : dict, optional
            Numbers and strings for `cbirkit.persistence.about`.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        ValueError
            Something cannot be saved without pickle; it is named.
        OSError
            The file cannot be written, or is something else; an earlier save stays.
        """
        check_is_fitted(self)
        state = {"encoder": self.encoder_, "index": self.index_, "note": self.note_}
        state |= {"progress": self.progress, **self.database_.state(path)}
        return persistence.save(state, path, kind="retriever", about=about)

    @classmethod
    def load(cls, path, images=None, *, trusted=(), trust_index=False):
        """Load a retriever saved by `save`, without its store.

        Parameters
        ----------
        path : path-like
        images : ImageCollection, optional
            The indexed images (or more). Default: their files, if all of them moved along with `path` or are where they were;
            else `images` is None, and everything works but showing them. False: they are not looked for. Files whose contents
            changed since are told, and refused when they are read.
        trusted : sequence of classes
            Encoder classes of your own that may be made.
        trust_index : bool
            Let faiss and Annoy parse their part though you did not save it on this machine; else the index is built anew.

        Returns
        -------
        Retriever

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            It is damaged or something else; a class is not trusted; `images` lacks an indexed image.
        """
        state = persistence.load(path, kind="retriever", trusted=trusted)
        with persistence.reading(path, "retriever"):
            index, database, files = state["index"], Database.of_state(state), state["files"]
            if hasattr(index, "finish_loading"):
                index.finish_loading(trusted=trust_index, vectors=database.embeddings)
                if index.keys_.tolist() != database.keys.tolist():
                    raise ValueError("its index does not fit its embeddings")
            new = clone(as_index(index), safe=False)
            found = cls(state["encoder"], new, progress=state["progress"])
            found.encoder_, found.index_, found.note_ = state["encoder"], index, state["note"]
            if images is None and files is not None:
                database = database.with_files(files, path)
        if images is not None and images is not False:
            database = database.shown_by(images)
        found.database_ = database
        return found

    def embedding(self, name):
        """Embedding (n_dims,) of one indexed image by its id."""
        return self.embeddings[self.database_.positions([name])[0]]

    ids, images, table, embeddings, problems = map(_of_database, _SHOWN)


def fit_encoder(encoder, images, encoder_images=None, *, store=None, progress=True):
    """Fit an encoder if it needs it; the one given stays as it is.

    Parameters
    ----------
    encoder : estimator
    images : ImageCollection
        The database.
    encoder_images : ImageCollection, optional
        Images to learn from instead.

    Returns
    -------
    encoder : estimator
        The one given if it was fitted, else a fitted clone.
    note : str
        For the protocol: on what it was fitted; empty if nothing was learned here.

    Raises
    ------
    ValueError
        `encoder_images` are given for an encoder that is fitted already.
    """
    if is_fitted(encoder):
        if encoder_images is not None:
            raise ValueError("the encoder is fitted, or learns nothing; leave encoder_images out")
        return encoder, ""
    training = images if encoder_images is None else as_collection(encoder_images)
    head, tail = split_pipeline(encoder)
    fitted = head if is_fitted(head) else _fit_on_images(head, training, progress)
    if tail is not None:
        rows = np.asarray(embed(fitted, training, store, progress=progress).embeddings)
        fitted = Pipeline([(encoder.steps[0][0], fitted), *clone(tail).fit(rows).steps])
    if not any(has_learned(step) for step in steps_of(fitted)):
        return fitted, ""
    where = "the database" if encoder_images is None else f"{len(training):,} images given for it"
    return fitted, f"encoder fitted on {where}"


def _fit_on_images(encoder, images, progress):
    with bars(progress):
        try:
            return clone(encoder, safe=False).fit(images)
        except ImageProblem:
            return clone(encoder, safe=False).fit(images.verify(progress=progress))
