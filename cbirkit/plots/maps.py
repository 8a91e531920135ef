"""Embeddings as a map in the plane."""

from dataclasses import dataclass

import numpy as np
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from sklearn.decomposition import PCA

from cbirkit.images.tables import text_of
from cbirkit.learning.projection import map_trustworthiness
from cbirkit.ranking.codes import aligned, index_of, is_missing

from .style import COLOURS, MARKERS, describe, new_axes, plain_legend, safe_text
from .tiles import picture_or_none

_MOST_THUMBNAILS = 60
MOST_GROUPS = 16  # the others are one group of grey dots


def embedding_map(
    points, labels=None, *, thumbnails=None, embeddings=None, random_state=0, ax=None
):
    """Scatter embeddings in the plane, each label with its own colour and marker.

    A map of many dimensions in two is an illustration: the title gives its trustworthiness, 1 where the
    neighbours on the map are neighbours among the embeddings, about 0.5 for a random map.

    Parameters
    ----------
    points : array (n_images, 2), or embeddings (n_images, n_dims)
        Points of a map (PCA, t-SNE, UMAP); more dimensions are projected with PCA and used as `embeddings`.
    labels : sequence (n_images,), optional
    thumbnails : ImageCollection, optional
        The images of the points: some, far enough apart, are drawn in place.
    embeddings : array (n_images, n_dims), optional
        What the map was made from; needed for the trustworthiness.
    random_state : int, RandomState or None
        For the sample of at most 1,000 points on which trustworthiness is computed.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        Not one finite point for each image.

    Examples
    --------
    >>> ax = embedding_map(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), ["cat", "cat", "dog"])
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['cat (2)', 'dog (1)']

    References
    ----------
    Venna and Kaski (2001), ICANN, doi:10.1007/3-540-44668-0_68 (trustworthiness).
    """
    labels = labels if labels is None else aligned(labels, index_of(points), "labels")
    points = np.asarray(points, dtype=np.float64)
    names = ("map, first dimension (no unit)", "map, second dimension (no unit)")
    if points.ndim == 2 and points.shape[1] > 2:
        pca = PCA(2, random_state=random_state)
        embeddings = points if embeddings is None else embeddings
        points = pca.fit_transform(points)
        shares = enumerate(100 * pca.explained_variance_ratio_, start=1)
        names = [f"principal component {i} ({part:.0f} % of the variance)" for i, part in shares]
    if points.shape[1:] != (2,) or not np.isfinite(points).all():
        raise ValueError(f"points must be finite and (n_images, 2), got shape {points.shape}")
    for what, given in (("labels", labels), ("thumbnails", thumbnails), ("embeddings", embeddings)):
        if given is not None and len(given) != len(points):
            raise ValueError(f"got {len(given)} {what} for {len(points)} points; give one each")
    ax, words = new_axes(ax, (6.4, 4.6)), ""
    colours, told = _scatter(ax, points, labels)
    ax.set(xlabel=names[0], ylabel=names[1])
    ax.margins(0.06)
    if thumbnails is not None:
        _place_thumbnails(ax, points, thumbnails, colours)
    if embeddings is not None:
        value, neighbours, n = map_trustworthiness(points, embeddings, random_state=random_state)
        sample = f" of a sample of {n:,}" if n < len(points) else ""
        words = f"trustworthiness {value:.2f} ({neighbours} neighbours{sample}; 1 is faithful, 0.5 random)"
        ax.set_title(words, fontsize=9)
    return describe(ax, f"Map of {len(points)} images in the plane{told}. {words.capitalize()}")


def _scatter(ax, points, labels):
    """Draw the points; return the colour of each and words about the labels."""
    groups, size = group(labels, len(points)), float(np.clip(9000 / len(points), 9, 40))
    for code, one in enumerate(groups.legend):
        look = {"color": one["colour"], "marker": one["shape"], "alpha": 0.75, "lw": 0.3}
        look["label"] = f"{one['name']} ({one['count']})"
        ax.scatter(*points[groups.codes == code].T, s=size, ec="white", **look)
    colours = [groups.legend[code]["colour"] for code in groups.codes]
    if labels is None:
        return colours, ""
    beside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "borderaxespad": 0}
    for handle in plain_legend(ax, fontsize=8, **beside).legend_handles:
        handle.set_sizes([40])
    names = [one["name"] for one in groups.legend[:MOST_GROUPS]]
    told = f", {len(set(groups.texts))} labels, each with its colour and marker: {', '.join(names)}"
    return colours, told


def _place_thumbnails(ax, points, images, colours):
    """Draw thumbnails, framed in `colours`, at points that are far enough apart, taken in the given order."""
    span = np.ptp(points, axis=0)
    unit = (points - points.min(axis=0)) / np.where(span > 0, span, 1)
    taken = np.empty((0, 2))
    for i, where in enumerate(unit):
        if len(taken) == _MOST_THUMBNAILS:
            return
        near = (np.abs(taken - where) < (0.075, 0.1)).all(axis=1).any()
        if near or (picture := picture_or_none(images.thumbnail, i, 64)) is None:
            continue
        taken = np.vstack([taken, where])
        image = OffsetImage(picture, zoom=26 / max(picture.shape[:2]))
        frame = {"edgecolor": colours[i], "linewidth": 1.3}
        ax.add_artist(AnnotationBbox(image, points[i], pad=0.1, zorder=4, bboxprops=frame))


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
        largest = np.argsort(-counts, kind="stable")[: n * (len(self.legend) > 1)]
        return ", ".join(f"{self.legend[i]['name']} ({counts[i]:,})" for i in largest if counts[i])


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
    texts = ["not labelled" if is_missing(one) else text_of(one) for one in values]
    texts = np.array(texts, dtype=object)
    names, codes, counts = np.unique(texts.astype(str), return_inverse=True, return_counts=True)
    # by name, or where they are too many, by size
    order = np.argsort(-counts * (len(names) > MOST_GROUPS), kind="stable")
    place = np.minimum(np.argsort(order), MOST_GROUPS).astype(np.uint8)
    legend = []
    for i, one in enumerate(order[:MOST_GROUPS]):
        look = {"colour": COLOURS[i % len(COLOURS)], "shape": MARKERS[i % len(MARKERS)]}
        legend.append({"name": safe_text(names[one], 40), "count": int(counts[one]), **look})
    if len(rest := order[MOST_GROUPS:]):
        look = {"count": int(counts[rest].sum()), "colour": "#8c8c8c", "shape": "."}
        legend.append({"name": f"{len(rest):,} others", **look})
    return Groups(place[codes.ravel()], legend, texts)
