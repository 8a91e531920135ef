"""`load_scenes`: a procedural world as an `ImageCollection`, what is true of its images, and what counts as relevant."""

from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state, check_scalar

from cbirkit.images import ImageCollection
from cbirkit.ranking import Relevance

from .compose import boxes, compose
from .layers import EXTENT
from .render import DOMAINS, Renderer
from .shapes import classes_of, scene_classes
from .surfaces import COLORS, CONTEXTS, TEXTURES
from .views import KINDS, LEVELS, SIZES, draw_roster

VERSION = 1  # raise it whenever a pixel or a number of the set changes


def load_scenes(
    kind="objects",
    level="std",
    *,
    classes="all",
    n_instances=None,
    n_views=None,
    domain="photo",
    size=None,
    random_state=0,
):
    """A procedural world of shapes of which everything is known: classes, instances, views, masks.

    The class of an object is its shape: 6 families of 8 classes, all of the same area. Everything else is
    drawn without regard to the class: colours, texture, turn, size, ground, light, clutter. 32 classes are
    *seen*, 16 *unseen* (both from all families, once and for all), and 32 *generic* ones of other families
    serve to pretrain on. Images are rendered when they are read, and the last 128 MB of them kept.

    Parameters
    ----------
    kind : {"objects", "clutter", "multi"}
        One object; a small one among three to five pieces of clutter; two to four objects of three sizes.
    level : {"easy", "std", "medium", "hard"}
        Strength of everything that differs between views (`scenes.LEVELS`). The instances and the underlying
        draws are the same at all levels.
    classes : {"all", "seen", "unseen", "generic"} or list of str
        "all" is seen and unseen. The images of a class do not depend on which others there are (but for
        "multi", where they appear in its images).
    n_instances : int, optional
        Instances of each label; by default 20, or 10 (multi).
    n_views : int, optional
        Views of each instance; by default 2, or 1 (multi: other views of the same scene).
    domain : {"photo", "thermal"}
        Renderer. The same arguments with another domain give the same scenes, row by row and id by id; with
        another `random_state`, other instances of the same classes.
    size : int, optional
        Pixels a side, from 16; by default 64, or 96 (multi).
    random_state : int, RandomState or None, default=0
        Decides on all instances and views.

    Returns
    -------
    ImageCollection
        RGB uint8 (size, size, 3), label by label, instance by instance, view by view. ``mask(i)`` is int64
        (size, size): the number of the object seen at each pixel, from 1, 0 for ground, clutter and cards;
        `scenes.full_masks` gives what is hidden, too. Columns of the table:

        ``label``, ``family``, ``group``, ``seen``
            Class; its family; seen, unseen or generic; whether seen. Of the first object where there are
            several, as for all columns in the singular.
        ``split``
            Seen and generic classes: "train", and "val" for the last fifth of the instances. Unseen classes:
            "query" for the first view, "database" for the others (with one view: one instance in four).
        ``instance``, ``view``
            Name of the instance, the same in all kinds and levels for one `random_state`; number of the view.
        ``color``, ``texture``, ``size``, ``context``
            One of 8, 6, 3 and 6 words.
        ``classes``, ``instances``, ``colors``, ``textures``, ``sizes``, ``boxes``
            Of all objects: tuples, and float64 (n_objects, 4) with x0, y0, x1, y1 in pixels, whole.
        ``x``, ``y``, ``half_extent``, ``rotation``, ``shear``, ``aspect``
            Centre in pixels; half-extent of the average class of this area, in halves of the image; degrees,
            anticlockwise; what else bends the object.
        ``clutter``, ``occlusion``, ``contrast``
            Pieces of clutter; share that a card hides; distance in RGB between the first colours of the
            objects and the mean of the ground, where black and white are 1 apart.
        ``gain_r``, ``gain_g``, ``gain_b``, ``ramp``, ``ramp_angle``, ``domain``, ``level``
            Light; how it was made.

    Raises
    ------
    ValueError, TypeError
        Unknown words, or numbers out of range.

    Notes
    -----
    One seed gives the same table on every platform, and pixels that agree to one grey level: only the bits of
    NumPy's generator are used, which are promised to stay, and plain arithmetic of NumPy and SciPy.

    Measured by ``benchmarks/scenes_probes.py``: retrieval by class among the unseen classes, mAP × 100, mean of
    the seeds 0 to 2, 64 pixels, 30 instances × 2 views of each class. Chance is 6.7, and so are (to 0.1) colour
    histogram, area, position, ground, and the image with the object greyed out. HOG: `encoders.HOG` with 8 × 8
    cells; mask: the same of the visible mask, which no method is given; CNN: 165,000 weights, 2,000 steps of 64
    images of the seen classes (120 instances of each); three seeds on std, one on the others.

    ======  ====  ====  ====  ====
    level   tiny   HOG   CNN  mask
    ======  ====  ====  ====  ====
    easy     8.6  39.3  70.5  51.6
    std      7.4  18.2  47.9  24.5
    medium   7.1  13.8  48.3  20.0
    hard     6.8   7.8  20.5   9.2
    ======  ====  ====  ====  ====

    For retrieval by class use ``scenes.class_relevance``, in which the query's own instance is junk; for
    retrieval by instance, ``collection.relevance(by="instance")``.

    Examples
    --------
    >>> scenes = load_scenes(classes="unseen", n_instances=3)
    >>> len(scenes), scenes[0].shape, scenes.mask(0).max()
    (96, (64, 64, 3), np.int64(1))
    >>> queries, database = scenes.split()
    >>> scenes.column("classes")[0], scenes.column("color")[0], scenes.column("context")[0]
    (('blob3',), 'green', 'sand')
    """
    asked = {"kind": (kind, KINDS), "level": (level, LEVELS), "domain": (domain, DOMAINS)}
    for name, (value, known) in asked.items():
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    made = KINDS[kind]
    n_instances = made.n_instances if n_instances is None else n_instances
    n_views = made.n_views if n_views is None else n_views
    size = made.size if size is None else size
    check_scalar(n_instances, "n_instances", Integral, min_val=1)
    check_scalar(n_views, "n_views", Integral, min_val=1)
    check_scalar(size, "size", Integral, min_val=16)
    wanted = classes_of(classes)
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    scenes = compose(kind, level, draw_roster(kind, wanted, n_instances, n_views, seed), seed)
    renderer = Renderer(scenes, domain, size)
    key = (
        f"scenes {VERSION} {kind} level={level} classes={','.join(c.name for c in wanted)} "
        f"n_instances={n_instances} n_views={n_views} domain={domain} size={size} seed={seed}"
    )
    table = truth_table(scenes, size, domain)
    name = f"scenes {kind} {level}" + (f" {domain}" if domain != "photo" else "")
    return ImageCollection.from_function(
        renderer, table, key=key, name=name, read_mask=renderer.visible
    )


# ---------------------------------------------------------------------- truth


def truth_table(scenes, size, domain):
    """The table of a set: one row an image; see `load_scenes` for its columns.

    Parameters
    ----------
    scenes : Scenes
    size : int
        Pixels a side, for the columns in pixels.
    domain : str

    Returns
    -------
    DataFrame, indexed by id
    """
    tag = f"{scenes.seed & 0xFFFF:04x}"
    roster, classes = scenes.roster, np.array(scene_classes(), dtype=object)
    main = classes[roster.shape[:, 0]]
    group = [c.group for c in main]
    objects = _objects(scenes, tag)
    instance = [f"{c.name}/{tag}-{k:03d}" for c, k in zip(main, roster.number, strict=True)]
    frames = ((boxes(scenes) + 1) * (size / 2)).round(2)
    columns = {
        "label": [c.name for c in main],
        "family": [c.family for c in main],
        "group": group,
        "seen": [g == "seen" for g in group],
        "split": _split(group, roster),
        "instance": instance,
        "view": roster.view,
        **{one: [row[0] for row in objects[one + "s"]] for one in ("color", "texture", "size")},
        "context": [CONTEXTS[c] for c in scenes.context],
        **objects,
        "boxes": [frame[:k] for frame, k in zip(frames, scenes.n_objects, strict=True)],
        **_nuisances(scenes, size),
    }
    ids = [f"{scenes.kind}/{i}/{v}" for i, v in zip(instance, roster.view, strict=True)]
    columns = {name: _column(values) for name, values in columns.items()}
    out = pd.DataFrame(columns, index=pd.Index(ids, dtype=object))
    return out.assign(domain=domain, level=scenes.level)


def _column(values):
    """Values as an array, of objects where they are no numbers."""
    if isinstance(values[0], str | tuple) or np.ndim(values[0]) > 0:
        out = np.empty(len(values), dtype=object)
        out[:] = values
        return out
    return np.asarray(values)


def _objects(scenes, tag):
    """Names, instances, colours, textures and sizes of the objects of each image: lists of tuples."""
    names = [c.name for c in scene_classes()]
    shapes, looks, numbers = scenes.roster.shape, scenes.layers, scenes.roster.instance

    def of_each(values, word):
        pairs = zip(values, scenes.n_objects, strict=True)
        return [tuple(word(value) for value in row[:k]) for row, k in pairs]

    together = np.stack([shapes, numbers], axis=-1)
    return {
        "classes": of_each(shapes, names.__getitem__),
        "instances": of_each(together, lambda one: f"{names[one[0]]}/{tag}-{one[1]:03d}"),
        "colors": of_each(looks.color, COLORS.__getitem__),
        "textures": of_each(looks.texture, TEXTURES.__getitem__),
        "sizes": of_each(scenes.sizes, SIZES.__getitem__),
    }


def _split(group, roster):
    """The part of each image: train and val of seen and generic classes, query and database of unseen ones."""
    last = roster.number.max() + 1
    val = roster.number >= last - last // 5
    one_view = roster.view.max() == 0
    query = roster.number % 4 == 0 if one_view else roster.view == 0
    return [
        ("query" if q else "database") if g == "unseen" else ("val" if v else "train")
        for g, v, q in zip(group, val, query, strict=True)
    ]


def _nuisances(scenes, size):
    """Columns of numbers, of the first object where there are several."""
    layers, cards, light = scenes.layers, scenes.cards, scenes.light
    half = size / 2
    columns = {
        "x": (layers.x[:, 0] + 1) * half,
        "y": (layers.y[:, 0] + 1) * half,
        "half_extent": layers.scale[:, 0] * EXTENT,
        "rotation": np.rad2deg(layers.turn[:, 0]),
        "shear": layers.shear[:, 0],
        "aspect": layers.aspect[:, 0],
        "clutter": (layers.shape >= 0).sum(axis=1) - scenes.n_objects,
        "occlusion": np.where(cards.there, cards.share, 0.0),
        "contrast": scenes.ground["contrast"],
        **light,
    }
    return {name: v if v.dtype.kind == "i" else v.round(6) for name, v in columns.items()}


# ---------------------------------------------------------------------- relevance


def class_relevance(queries, database=None):
    """Images of the query's class are relevant; those of the query's own instance are junk.

    With several views of each instance, a ranking by class must not be paid for finding the same instance.

    Parameters
    ----------
    queries : ImageCollection
        With the columns ``label`` and ``instance``.
    database : ImageCollection, optional
        Default: `queries`.

    Returns
    -------
    Relevance

    Examples
    --------
    >>> from cbirkit.datasets import load_scenes
    >>> scenes = load_scenes(classes=["star5", "blob3"], n_instances=4, n_views=3)
    >>> relevance = class_relevance(scenes)
    >>> relevance.n_positives[0], relevance.n_junk[0]
    (np.int64(9), np.int64(3))
    """
    database = queries if database is None else database
    parts = queries, database
    ids, labels = [part.ids for part in parts], [part.labels for part in parts]
    groups = tuple(part.column("instance") for part in parts)
    return Relevance.from_labels(*ids, *labels, groups=groups)


def object_relevance(queries, database, *, by="classes", size=None):
    """Images that hold the query's first object: its class, or the very instance.

    Parameters
    ----------
    queries, database : ImageCollection
        Of scenes; typically the kinds "objects" and "multi".
    by : {"classes", "instances"}
    size : {"small", "medium", "large"}, optional
        Only objects of this size count. Images that hold the class in other sizes are junk.

    Returns
    -------
    Relevance

    Raises
    ------
    ValueError
        Unknown `by` or `size`.

    Examples
    --------
    >>> from cbirkit.datasets import load_scenes
    >>> known = ["star5", "blob3", "ringed1", "limbed4"]
    >>> queries = load_scenes(classes=known, n_instances=1, n_views=1)
    >>> database = load_scenes("multi", classes=known, n_instances=5)
    >>> bool((object_relevance(queries, database).n_positives >= 5).all())
    True
    """
    if by not in ("classes", "instances"):
        raise ValueError(f'by must be "classes" or "instances", got {by!r}')
    if size not in (None, "small", "medium", "large"):
        raise ValueError(f"size must be small, medium, large or None, got {size!r}")
    there, other = {}, {}
    rows = zip(database.column(by), database.column("sizes"), strict=True)
    for position, (names, sizes) in enumerate(rows):
        for name, its_size in zip(names, sizes, strict=True):
            (there if size in (None, its_size) else other).setdefault(name, []).append(position)
    wanted = [names[0] for names in queries.column(by)]
    positives = [np.array(there.get(name, []), dtype=np.int64) for name in wanted]
    junk = [np.array(other.get(name, []), dtype=np.int64) for name in wanted]
    return Relevance.from_sets(queries.ids, database.ids, positives, junk)
