"""What the points of a map are coloured by: a column, clusters, errors, or values of one's own."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.cluster import MiniBatchKMeans

from ..images.tables import text_of
from ..plots.style import COLOURS, MARKERS, safe_text
from ..ranking.codes import aligned, is_missing
from .projection import nearest

MOST_GROUPS = 16  # the others are one group of grey dots, as in plots.embedding_map
_MOST_VALUES = 1000  # a column with more different values is not offered
_MOST_FOR_ERRORS = 20_000  # all pairs are compared
NOTHING, CLUSTER, ERROR, GIVEN = "nothing", "cluster", "error", "given values"
OTHERS = {"colour": "#8c8c8c", "shape": "."}


@dataclass(frozen=True, eq=False)
class Groups:
    """Points by group.

    Attributes
    ----------
    codes : array (n_images,), uint8
        Row of `legend`.
    legend : list of dict
        ``name``, ``count``, ``colour`` (hexadecimal) and ``shape`` (a matplotlib marker) of each group.
    texts : array (n_images,) of str
        What to say of each image; "" where there is nothing.
    """

    codes: np.ndarray
    legend: list
    texts: np.ndarray

    def most_common(self, chosen, n=4):
        """The largest groups among some images, in words; "" where there is but one group."""
        counts = np.bincount(self.codes[chosen], minlength=len(self.legend))
        largest = [
            i for i in np.argsort(-counts, kind="stable")[:n] if counts[i] and len(self.legend) > 1
        ]
        return ", ".join(f"{self.legend[i]['name']} ({counts[i]:,})" for i in largest)


def group(values, n_images):
    """Groups by value: the 16 largest apart in colour and shape, the rest together.

    Examples
    --------
    >>> groups = group(["cat", "dog", "cat", None], 4)
    >>> [(one["name"], one["count"], one["shape"]) for one in groups.legend]
    [('cat', 2, 'o'), ('dog', 1, 's'), ('not labelled', 1, '^')]
    """
    if values is None:
        legend = [{"name": "all images", "count": n_images, "colour": COLOURS[0], "shape": "o"}]
        return Groups(np.zeros(n_images, np.uint8), legend, np.full(n_images, "", object))
    texts = np.array(
        ["not labelled" if is_missing(one) else text_of(one) for one in values], dtype=object
    )
    names, codes, counts = np.unique(texts.astype(str), return_inverse=True, return_counts=True)
    order = (
        np.argsort(-counts, kind="stable") if len(names) > MOST_GROUPS else np.arange(len(names))
    )
    place = np.empty(len(names), dtype=np.int64)
    place[order] = np.minimum(np.arange(len(names)), MOST_GROUPS)
    legend = [
        {
            "name": safe_text(names[one], 40),
            "count": int(counts[one]),
            "colour": COLOURS[i % len(COLOURS)],
            "shape": MARKERS[i % len(MARKERS)],
        }
        for i, one in enumerate(order[:MOST_GROUPS])
    ]
    rest = order[MOST_GROUPS:]
    if len(rest):
        legend.append({"name": f"{len(rest):,} others", "count": int(counts[rest].sum()), **OTHERS})
    return Groups(place[codes.ravel()].astype(np.uint8), legend, texts)


class Colouring:
    """The ways to colour a collection, each computed when it is first asked for.

    Parameters
    ----------
    images : ImageCollection
    embeddings : array (n_images, n_dims)
    random_state : int
        Of the clusters.
    """

    def __init__(self, images, embeddings, random_state):
        self._images, self._embeddings, self._seed = images, embeddings, random_state
        self._given = None
        self._made = {}
        self.column = next((name for name in ("instance", "label") if name in images.table), None)

    @property
    def choices(self):
        """list of str: what `groups` can be asked for by name."""
        table = self._images.table
        columns = [
            name for name in table if 2 <= table[name].map(text_of).nunique() <= _MOST_VALUES
        ]
        first = [name for name in ("label", "instance", "split", "domain") if name in columns]
        columns = first + [name for name in columns if name not in first]
        made = [CLUSTER] if len(self._images) > 2 else []
        if self.column and 1 < len(self._images) <= _MOST_FOR_ERRORS:
            made.append(ERROR)
        known = [GIVEN] if self._given is not None else []
        return [NOTHING, *known, *columns, *(name for name in made if name not in columns)]

    def resolve(self, colour_by):
        """The name that `colour_by` (a name, None for the default, or one value an image) goes by; ValueError if none."""
        if colour_by is None:
            return next((name for name in ("label", "instance") if name in self.choices), NOTHING)
        if isinstance(colour_by, str):
            if colour_by not in self.choices:
                known = ", ".join(map(repr, self.choices))
                raise ValueError(
                    f"the points cannot be coloured by {colour_by!r}; choose one of {known}, or give values"
                )
            return colour_by
        try:
            values = list(aligned(colour_by, self._images.ids, "colour_by"))
        except TypeError as error:
            raise TypeError(
                f"colour_by must be a name or one value an image, got {type(colour_by).__name__}"
            ) from error
        if len(values) != len(self._images):
            raise ValueError(
                f"got {len(values)} values to colour {len(self._images)} images by; give one an image"
            )
        self._given = values
        self._made.pop(GIVEN, None)
        return GIVEN

    def groups(self, name):
        """`Groups` by one of `choices`."""
        if name not in self._made:
            self._made[name] = group(self._values(name), len(self._images))
        return self._made[name]

    def _values(self, name):
        if name == NOTHING:
            return None
        if name == GIVEN:
            return self._given
        if name in self._images.table:
            return self._images.column(name)
        return self._clusters() if name == CLUSTER else self._errors()

    def _clusters(self):
        n_clusters = int(np.clip(round(np.sqrt(len(self._images) / 2)), 2, 10))
        kmeans = MiniBatchKMeans(n_clusters, n_init=3, random_state=self._seed)
        return [f"cluster {one:02d}" for one in kmeans.fit_predict(self._embeddings) + 1]

    def _errors(self):
        """Whether the nearest other image shares the column that decides."""
        codes = codes_of(self._images.column(self.column))
        found = nearest(self._embeddings, np.arange(len(codes)), 1)[:, 0]
        texts = np.where(codes == codes[found], "nearest is right", "nearest is wrong").astype(
            object
        )
        texts[codes < 0] = None
        return texts


def codes_of(values):
    """A number for each value (n,), equal for equal ones, -1 where it is missing; lists are equal as a whole."""
    return pd.factorize(
        np.array([None if is_missing(one) else text_of(one) for one in values], dtype=object)
    )[0]
