"""`load_scenes`: a procedural world as an `ImageCollection`."""

import numpy as np
from sklearn.utils import check_random_state

from ...images import ImageCollection
from .classes import classes_of
from .compose import compose
from .domains import DOMAINS
from .renderer import Renderer
from .rosters import draw_roster
from .truth import truth_table
from .views import KINDS, LEVELS

VERSION = 1  # raise it whenever a pixel or a number of the set changes


def load_scenes(
    kind="objects", level="std", *, classes="all", n_instances=None, n_views=None,
    domain="photo", size=None, random_state=0,
):  # fmt: skip
    """A procedural world of shapes of which everything is known: classes, instances, views, masks, captions.

    The class of an object is its shape: 6 families of 8 classes, all of the same area. Everything else is
    drawn without regard to the class: colours, texture, turn, size, ground, light, clutter. 32 classes are
    *seen*, 16 *unseen* (both from all families, once and for all), and 32 *generic* ones of other families
    serve to pretrain on. Images are rendered when they are read, and the last 128 MB of them kept.

    Parameters
    ----------
    kind : {"objects", "clutter", "multi", "relations", "context"}
        One object; a small one among three to five pieces of clutter; two to four objects of three sizes;
        two objects of which one is left of, right of, above or below the other, and something else besides;
        as "objects", but four in five stand on their class's usual ground.
    level : {"easy", "std", "medium", "hard"}
        Strength of everything that differs between views (`scenes.LEVELS`). The instances and the underlying
        draws are the same at all levels.
    classes : {"all", "seen", "unseen", "generic"} or list of str
        "all" is seen and unseen. The images of a class do not depend on which others there are (but for
        "multi", where they appear in its images).
    n_instances : int, optional
        Instances of each label; by default 20, 10 (multi) or 5 (relations).
    n_views : int, optional
        Views of each instance; by default 2, or 1 (multi, relations: other views of the same scene).
    domain : {"photo", "sketch", "thermal", "icon"}
        Renderer. The same arguments with another domain give the same scenes, row by row and id by id; with
        another `random_state`, other instances of the same classes.
    size : int, optional
        Pixels a side, from 16; by default 64, or 96 (multi, relations).
    random_state : int, RandomState or None, default=0
        Decides on all instances and views.

    Returns
    -------
    ImageCollection
        RGB uint8 (size, size, 3), label by label, instance by instance, view by view. ``mask(i)`` is int64
        (size, size): the number of the object seen at each pixel, from 1, 0 for ground, clutter and cards;
        `scenes.full_masks` gives what is hidden, too. Columns of the table:

        ``label``, ``family``, ``group``, ``seen``
            Class (for relations "a left of b"); its family; seen, unseen or generic; whether seen. Of the
            first object where there are several, as for all columns in the singular.
        ``split``
            Seen and generic classes: "train", and "val" for the last fifth of the instances. Unseen classes:
            "query" for the first view, "database" for the others (with one view: one instance in four).
        ``instance``, ``view``
            Name of the instance, the same in all kinds and levels for one `random_state`; number of the view.
        ``color``, ``texture``, ``size``, ``context``
            One of 8, 6, 3 and 6 words.
        ``usual_context``
            Whether the ground is the one that the context kind prefers for this class.
        ``visible``
            Share of the object that is inside the image and not hidden, in steps of 1/128.
        ``classes``, ``instances``, ``colors``, ``textures``, ``sizes``, ``visibles``, ``boxes``
            Of all objects: tuples, and float64 (n_objects, 4) with x0, y0, x1, y1 in pixels, whole.
        ``relations``
            Triples (class, relation, class) of all pairs that clearly lie side by side or one above the other.
        ``captions``
            Three sentences or more.
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
    >>> scenes.column("captions")[0][0]
    'a large green checkered three-lobed blob on sand'
    """
    _check(kind, level, domain)
    made = KINDS[kind]
    n_instances = _whole("n_instances", made.n_instances if n_instances is None else n_instances, 1)
    n_views = _whole("n_views", made.n_views if n_views is None else n_views, 1)
    size = _whole("size", made.size if size is None else size, 16)
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


def _check(kind, level, domain):
    for name, value, known in (
        ("kind", kind, KINDS),
        ("level", level, LEVELS),
        ("domain", domain, DOMAINS),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")


def _whole(name, value, low):
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < low:
        raise ValueError(f"{name} must be at least {low}, got {value}")
    return int(value)
