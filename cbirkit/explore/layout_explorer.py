"""`LayoutExplorer`: put names on a canvas, and see the scenes whose objects stand like that."""

import numbers

import numpy as np
import traitlets
from ipywidgets import Checkbox
from PIL import Image, ImageDraw
from scipy.optimize import linear_sum_assignment

from cbirkit.encoders.base import check_number
from cbirkit.objects import Region
from cbirkit.plots import Section, Tile, View
from cbirkit.ranking import Ranking
from cbirkit.ranking.codes import aligned

from .explorer import Explorer, checked_images, whole_number
from .object_view import outlined
from .widgets import PageWidget, TileGrid, labelled, script, style

MOST = 12  # labels on the canvas
_EMPTY = "Choose a name and click on the canvas: scenes with such an object there are searched for"


def layout_scores(placed, scenes, *, spread=0.15, free=False):
    """How well the objects of scenes stand where labels were placed.

    ``score = sum over labels of match x exp(-d^2 / (2 spread^2))``: each label takes an object of its name, no object is taken twice, and
    they are taken so that the sum is largest. d is the distance between label and centre of the object, in fractions of width and height.

    Parameters
    ----------
    placed : sequence of (str, float, float)
        Name, x and y of each label, as fractions of width and height from the upper left corner.
    scenes : sequence of list of (str, float, float, float)
        Of each scene its objects: name, x and y of the centre, and how sure the name is (match), 0 to 1.
    spread : float
        Distance at which an object counts for .61.
    free : bool
        Whether all labels may be shifted together: of the shifts that bring a label onto an object of its name the best counts.

    Returns
    -------
    ndarray of shape (n_scenes,), float64
        From 0 to the number of labels.

    References
    ----------
    Search by labels placed on a canvas: Mai, Jin, Lin, Fang, Brandt and Liu, "Spatial-semantic image search by visual feature
    synthesis", CVPR 2017. They train a network that turns the canvas into a feature; here positions are compared as they are.

    Examples
    --------
    >>> scenes = [[("mug", 0.2, 0.5, 1.0), ("book", 0.8, 0.5, 1.0)], [("book", 0.2, 0.5, 1.0), ("mug", 0.8, 0.5, 1.0)]]
    >>> layout_scores([("mug", 0.2, 0.5), ("book", 0.8, 0.5)], scenes).round(2).tolist()
    [2.0, 0.0]
    """
    at = np.array([[x, y] for _, x, y in placed], dtype=float).reshape(-1, 1, 2)
    return np.array([_score([p[0] for p in placed], at, one, spread, free) for one in scenes])


def _score(names, at, scene, spread, free):
    match = np.array([[sure * (name == one) for one, *_, sure in scene] for name in names])
    if not match.any():
        return 0.0
    away = np.array([one[1:3] for one in scene]) - at  # (n_labels, n_objects, 2)
    shifts = [np.zeros(2), *(away[match > 0] if free else ())]
    near = [match * np.exp(-((away - one) ** 2).sum(axis=2) / (2 * spread**2)) for one in shifts]
    return max(float(one[linear_sum_assignment(-one)].sum()) for one in near)


class LayoutPad(PageWidget):
    """A canvas for labels: click to place, drag or arrow keys to move, Delete to remove. Event: "layout" (list of (name, x, y)).

    Examples
    --------
    >>> pad = LayoutPad(names=["mug"]).on("layout", print).on("problem", print)
    >>> pad.receive({"event": "layout", "labels": [["mug", 0.5, 0.25]]})
    [('mug', 0.5, 0.25)]
    >>> pad.receive({"event": "layout", "labels": [["mug", 0.5, 7]]})
    a label is a name and two fractions from 0 to 1, got ['mug', 0.5, 7]
    """

    _esm, _css = script("layout_pad.js"), style("sketch_pad.css", "layout_pad.css")
    _events = ("layout",)
    names = traitlets.List([]).tag(sync=True)
    labels = traitlets.List([]).tag(sync=True)
    aspect = traitlets.Float(1.0).tag(sync=True)  # width over height

    def _read(self, event, content, buffers):
        return event, checked_labels(content["labels"], self.names)


def checked_labels(labels, names):
    """Labels as list of (name, x, y); ValueError for anything else."""
    if not isinstance(labels, list | tuple) or len(labels) > MOST:
        raise ValueError(f"give a list of at most {MOST} labels (name, x, y), got {labels!r:.60}")
    for one in labels:
        three = isinstance(one, list | tuple) and len(one) == 3 and isinstance(one[0], str)
        if not three or not all(isinstance(v, numbers.Real) and 0 <= v <= 1 for v in one[1:]):
            raise ValueError(f"a label is a name and two fractions from 0 to 1, got {one!r:.60}")
        if one[0] not in names:
            raise ValueError(f"no object is called {one[0]!r:.60}; choose a name from the list")
    return [(name, float(x), float(y)) for name, x, y in labels]


class LayoutExplorer(Explorer):
    """Place names on a canvas, and see the scenes whose objects stand like that, by `layout_scores`.

    Parameters
    ----------
    images : ImageCollection
    objects : sequence of list of dict, optional
        Of each image its objects: "category" (a name), "box" (left, top, right, bottom in pixels) and, where a name may be wrong, "score"
        (from 0 to 1, default 1). Default: the column "objects" of the images, as `datasets.load_tabletop("scenes")` has it. For the
        regions of a `RegionRetriever`: its `regions_` have boxes, and a classifier gives names.
    placed : sequence of (str, float, float)
        Labels at first, see `layout_scores`.
    spread : float
        As for `layout_scores`.
    k : int
        Scenes to show.

    Attributes
    ----------
    placed : list of (str, float, float)
    scores : ndarray of shape (n_images,) or None
        None as long as nothing is placed.

    Raises
    ------
    TypeError, ValueError
        No images, objects that do not fit, an unknown name, a label off the canvas, a `k` or `spread` out of range.

    Examples
    --------
    >>> LayoutExplorer(scenes, placed=[("mug", 0.3, 0.6), ("book", 0.7, 0.6)])        # doctest: +SKIP
    """

    def __init__(self, images, objects=None, *, placed=(), spread=0.15, k=12):
        self._images, self._k = checked_images(images), whole_number(k, "k", 1, 48)
        check_number("spread", spread, 0.01, 10)
        self._spread, self.placed, self.scores = spread, [], None
        objects = images.column("objects") if objects is None else objects
        self._objects = aligned(objects, images.ids, "lists of objects")
        shapes = [image.shape[1::-1] for image in images]
        self._scenes = [_centres(*both) for both in zip(self._objects, shapes, strict=True)]
        names = sorted({name for scene in self._scenes for name, *_ in scene})
        self._pad = LayoutPad(names=names, aspect=shapes[0][0] / shapes[0][1])
        self._grid = TileGrid(tile_size=120, heading="Scenes that look like this")
        self._free = Checkbox(False, description="anywhere in the picture", indent=False)
        labelled(self._free, "All labels may be shifted together")
        self._arrange(self._pad, [self._free], [self._grid])
        self.search(list(placed))
        self._pad.on("layout", self._guarded(self._show))
        self._on_value([self._free], self._guarded(lambda: self._show(self.placed)))

    def search(self, placed, *, free=None):
        """Put labels on the canvas, and return the ranking of the images; None without labels.

        Parameters
        ----------
        placed : list of (str, float, float)
        free : bool, optional
            Whether all labels may be shifted together. Default: as the switch is.

        Returns
        -------
        Ranking or None

        Raises
        ------
        ValueError
            A label that is none; nothing changes then.
        """
        placed = checked_labels(placed, self._pad.names)
        with self._quietly():
            self._free.value = self._free.value if free is None else bool(free)
        self._show(placed)
        self._pad.labels = [list(one) for one in placed]
        return self._ranking() if placed else None

    def __repr__(self):
        return f"LayoutExplorer({self.placed or 'nothing placed'}, k={self._k})"

    def _ranking(self):
        ids = self._images.ids
        return Ranking.from_distances(-self.scores[None], ["layout"], ids, k=min(self._k, len(ids)))

    def _show(self, placed):
        self.placed, self.scores, self._told, tiles = placed, None, f"{_EMPTY}.", []
        if placed:
            free = self._free.value
            self.scores = layout_scores(placed, self._scenes, spread=self._spread, free=free)
            best = [int(i) for i in self._ranking().indices[0] if self.scores[i] > 0]
            tiles = [self._tile(i, rank) for rank, i in enumerate(best, start=1)]
            first = f"best {tiles[0].id} with {tiles[0].note}" if tiles else "no scene has any"
            self._told = f"{', '.join(name for name, *_ in placed)}: {first} of {len(placed)}"
        self._tiles = tiles
        self._grid.show(tiles)
        self._status.say(self._told)

    def _tile(self, i, rank):
        """A scene with the objects outlined that have a name of the labels."""
        pixels, names = self._images[i], {name for name, *_ in self.placed}
        those = [one["box"] for one in self._objects[i] if one["category"] in names]
        shown = outlined(pixels, [Region.from_box(box, pixels.shape) for box in those])
        held, note = ", ".join(one["category"] for one in self._objects[i]), f"{self.scores[i]:.2f}"
        name = str(self._images.ids[i])
        return Tile(
            name, shown, f"{rank}: {name}, score {note}, shows {held}", "", note, held, rank
        )

    def _view(self):
        width, height = 240, round(240 / self._pad.aspect)
        canvas = Image.new("RGB", (width, height), "white")
        for name, x, y in self.placed:
            at = (x * width, y * height)
            ImageDraw.Draw(canvas).text(at, name, "black", anchor="mm", font_size=20)
        query = Tile("layout", np.asarray(canvas), caption="placed", mark="query")
        return View("Layout", self._told, [Section("Scenes", "", self._tiles)], query)


def _centres(objects, shape):
    """(name, x, y, match) of the objects of an image of `shape`, width and height."""
    try:
        boxes = np.array([one["box"] for one in objects], dtype=float).reshape(-1, 2, 2)
        at = (boxes.mean(axis=1) / shape).tolist()  # (n_objects, 2)
        return [
            (str(o["category"]), *c, o.get("score", 1.0)) for o, c in zip(objects, at, strict=True)
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        told = "an object is a dict with a 'category' and a 'box' of four numbers"
        raise ValueError(f"{told}, got {objects!r:.80}") from error
