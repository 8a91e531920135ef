"""What the points of a map are coloured by: a column, clusters, errors, or values of one's own."""

import numpy as np
import pandas as pd
from sklearn.cluster import MiniBatchKMeans

from cbirkit.images.tables import text_of
from cbirkit.plots.maps import group
from cbirkit.ranking.codes import aligned, is_missing

from .projection import nearest

_MOST_VALUES = 1000  # a column with more different values is not offered
_MOST_FOR_ERRORS = 20_000  # all pairs are compared
NOTHING, CLUSTER, ERROR, GIVEN = "nothing", "cluster", "error", "given values"


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
        self._given, self._made = None, {}
        self.column = next((name for name in ("instance", "label") if name in images.table), None)

    @property
    def choices(self):
        """list of str: what `groups` can be asked for by name."""
        table, n = self._images.table, len(self._images)
        columns = [one for one in table if 2 <= table[one].map(text_of).nunique() <= _MOST_VALUES]
        usual = ("label", "instance", "split", "domain")
        made = [CLUSTER] * (n > 2) + [ERROR] * (bool(self.column) and 1 < n <= _MOST_FOR_ERRORS)
        given = [GIVEN] * (self._given is not None)
        first = [NOTHING, *given, *(name for name in usual if name in columns)]
        return list(dict.fromkeys([*first, *columns, *made]))

    def resolve(self, colour_by):
        """The name that `colour_by` (a name, None for the default, or one value an image) goes by; ValueError if none."""
        choices, ids = self.choices, self._images.ids
        if colour_by is None:
            return next((name for name in ("label", "instance") if name in choices), NOTHING)
        if isinstance(colour_by, str):
            if colour_by not in choices:
                known = ", ".join(map(repr, choices))
                raise ValueError(f"cannot be coloured by {colour_by!r}; choose one of {known}")
            return colour_by
        if not hasattr(colour_by, "__len__"):
            got = type(colour_by).__name__
            raise TypeError(f"colour_by must be a name or one value an image, got {got}")
        values = list(aligned(colour_by, ids, "colour_by"))
        if len(values) != len(ids):
            raise ValueError(f"got {len(values)} values to colour {len(ids)} images by")
        self._given = values
        self._made.pop(GIVEN, None)
        return GIVEN

    def groups(self, name):
        """`Groups` by one of `choices`."""
        if name not in self._made:
            self._made[name] = group(self._values(name), len(self._images))
        return self._made[name]

    def _values(self, name):
        if name in self._images.table:
            return self._images.column(name)
        made = {GIVEN: lambda: self._given, CLUSTER: self._clusters, ERROR: self._errors}
        return None if name == NOTHING else made[name]()

    def _clusters(self):
        n_clusters = int(np.clip(round(np.sqrt(len(self._images) / 2)), 2, 10))
        kmeans = MiniBatchKMeans(n_clusters, n_init=3, random_state=self._seed)
        return [f"cluster {one:02d}" for one in kmeans.fit_predict(self._embeddings) + 1]

    def _errors(self):
        """Whether the nearest other image shares the column that decides."""
        column = self._images.column(self.column)
        texts = pd.Series(
            [None if is_missing(one) else text_of(one) for one in column], dtype=object
        )
        codes = pd.factorize(texts)[0]
        found = nearest(self._embeddings, np.arange(len(codes)), 1)[:, 0]
        right = np.where(codes == codes[found], "nearest is right", "nearest is wrong")
        return [words if code >= 0 else None for words, code in zip(right, codes, strict=True)]
