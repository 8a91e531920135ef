"""An instance-retrieval set made of real photographs under known homographies."""

from dataclasses import asdict, dataclass
from functools import partial
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state, check_scalar

from cbirkit.images import ImageCollection

from . import difficulty
from .difficulty import LEVELS
from .photographs import PHOTOGRAPHS, Region, choose_regions, file_digest, read_photograph

VERSION = 2  # raise it whenever a pixel or a number of the set changes
N_QUERY_VIEWS = 2


@dataclass(frozen=True)
class _Drawn:
    """One image of the set: what it shows and how."""

    region: Region
    instance: str | None
    number: int
    view: difficulty.View
    homography: np.ndarray  # (3, 3) reference frame of the region -> view
    pixel_seed: tuple


def load_photo_views(
    level="hard", *, n_objects=120, n_views=8, n_distractors=240, image_size=128, random_state=0
):
    """Views of regions of real photographs under known homographies: which show the same region?

    The 15 photographs ship inside scikit-image and scikit-learn; nothing is downloaded. Each is cut into a
    grid of squares that share no pixel. Textured squares are the *objects*; each is seen in `n_views` views,
    and each view shows only pixels of its own square, so there is no doubt about what is relevant. Squares
    left over give *distractors*, which are relevant to nothing. Views are rendered when they are read.

    Parameters
    ----------
    level : {"easy", "medium", "hard"}
        Strength of everything that differs between views (`cbirkit.datasets.difficulty.LEVELS`). The
        objects, and the underlying draws of each view, are the same at all levels.
    n_objects : int, default=120
        Up to 125 to 136, depending on `random_state` (200 tried).
    n_views : int, default=8
        Views of each object, at least 3: views 0 and 1 are queries, the others database.
    n_distractors : int, default=240
        Images: two or so views of each of about 110 regions.
    image_size : int, default=128
        Side of the images in pixels, at least 8.
    random_state : int, RandomState or None, default=0
        Decides on the regions and on all views.

    Returns
    -------
    ImageCollection
        RGB uint8 (image_size, image_size, 3), objects first. ``mask(i)`` is True where the photograph is
        seen, False where the occluder hides it. Columns of the table:

        ``instance``
            Name of the object; None for distractors. ``relevance()`` uses it.
        ``split``
            "query" or "database" (all distractors).
        ``source``, ``region``, ``x``, ``y``, ``side``, ``texture``
            Name of the photograph; name of the square, its top left pixel and its side in the photograph;
            its mean gradient. Regions are known for distractors, too.
        ``view``, ``level``
            Number of the view of its region, from 0; the level.
        ``rotation``, ``zoom``
            Degrees; magnification against a view that fits the square exactly.
        ``gamma``, ``gain_r``, ``gain_g``, ``gain_b``, ``saturation``, ``ramp``, ``ramp_angle``
            Colour and light.
        ``blur``, ``noise``, ``jpeg``, ``occluder``
            Standard deviations in pixels (of a 128-pixel view) and grey levels; quality; share of the view
            that the occluding card takes where it lies wholly inside.
        ``homography``
            (3, 3) float64, from pixels of the region's reference frame (the square scaled to `image_size`)
            to pixels of the view, pixel centres at whole numbers. See `homography_between`.

    Raises
    ------
    ValueError
        Unknown level, or numbers out of range.
    FileNotFoundError
        An installed package lacks a photograph.

    Notes
    -----
    On every platform one seed gives the same regions, homographies and parameters. Pixels are the same in
    every run with the same libraries; between versions of OpenCV they differ, by less than 2 grey levels on
    average in any image (4.14 against 5.0), for neither resampling nor JPEG coding is specified bit by bit.

    Measured mAP × 100 with the default sizes, mean of the seeds 0 to 2 (cosine; histogram of 16 × 4 × 4 HSV
    bins; 16 × 16 pixels less their mean; VLAD of RootSIFT, 64 words learned on the database):

    ======  =========  ====  ====
    level   histogram  tiny  VLAD
    ======  =========  ====  ====
    easy         42.0  90.2  98.7
    medium       20.4  43.3  87.4
    hard          9.3  17.7  70.0
    ======  =========  ====  ====

    Two views of one object always share a part of it: on hard, half of the query's area or more in 95 % of
    the pairs, and never less than a tenth (seeds 0 to 2).

    The regions of *brick*, *grass* and *gravel* look alike, which is why these photographs give at most five
    objects each; the stars of *hubble* and the vessels of *retina* are alike by nature. *grass* is a retouched
    texture in which strips come back: 21 of its 400 patches of 48 pixels stand elsewhere again (correlation above
    0.9, up to 0.99), so that two of its pieces may truly share what the labels call different. Six photographs are
    grey: brick, camera, coins, grass, gravel, text. Origin, authors and licences: `photo_credits` and
    ``data/README.md``.

    Examples
    --------
    >>> views = load_photo_views("easy", n_objects=12, n_views=3, n_distractors=4)
    >>> len(views), views[0].shape
    (40, (128, 128, 3))
    >>> queries, database = views.split()
    >>> len(queries), len(database)
    (24, 16)
    >>> views.relevance(queries, database).n_positives.max()
    np.int64(1)
    """
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}, got {level!r}")
    check_scalar(n_objects, "n_objects", Integral, min_val=1)
    check_scalar(n_views, "n_views", Integral, min_val=N_QUERY_VIEWS + 1)
    check_scalar(n_distractors, "n_distractors", Integral, min_val=0)
    check_scalar(image_size, "image_size", Integral, min_val=8)
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    objects, others = choose_regions(n_objects, seed)
    wanted = [(region, region.name, n) for region in objects for n in range(n_views)]
    wanted += [(others[i % len(others)], None, i // len(others)) for i in range(n_distractors)]
    names = sorted(region.name for region in objects + others)
    codes = {name: i for i, name in enumerate(names)}
    drawn = [
        _draw(region, instance, number, LEVELS[level], (image_size, seed, codes[region.name]))
        for region, instance, number in wanted
    ]
    digests = ",".join(file_digest(photograph.name) for photograph in PHOTOGRAPHS)
    key = (
        f"photo_views {VERSION} level={level} n_objects={n_objects} n_views={n_views} "
        f"n_distractors={n_distractors} image_size={image_size} seed={seed} {digests}"
    )
    return ImageCollection.from_function(
        partial(_render, drawn, image_size),
        _table(drawn, level),
        key=key,
        name=f"photo_views {level}",
        read_mask=partial(_seen, drawn, image_size),
    )


def _draw(region, instance, number, level, where):
    size, seed, code = where
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1, code, number]))
    view, corners = difficulty.draw_view(level, rng)
    # In the reference frame, whose outer corners are at -1/2 and size - 1/2.
    frame = difficulty.frame_corners(size)
    homography = difficulty.homography_of_corners(corners * size - 0.5, frame)
    return _Drawn(region, instance, number, view, homography, (seed, 2, code, number))


def _table(drawn, level):
    rows = [
        {
            "instance": d.instance,
            "split": "query" if d.instance and d.number < N_QUERY_VIEWS else "database",
            "source": d.region.source,
            "region": d.region.name,
            **{name: getattr(d.region, name) for name in ("x", "y", "side", "texture")},
            "view": d.number,
            "level": level,
            **asdict(d.view),
        }
        for d in drawn
    ]
    ids = [f"{d.region.name}/{d.number}" for d in drawn]
    table = pd.DataFrame(rows, index=pd.Index(ids, dtype=object))
    table["instance"] = pd.Series([d.instance for d in drawn], index=table.index, dtype=object)
    table["homography"] = pd.Series([d.homography for d in drawn], index=table.index, dtype=object)
    return table


def _render(drawn, size, row):
    d = drawn[row]
    homography = d.homography @ _to_reference(d.region, size)
    image = difficulty.warp(partial(read_photograph, d.region.source), homography, size)
    return difficulty.expose(image, d.view, np.random.default_rng(d.pixel_seed))


def _seen(drawn, size, row):
    d = drawn[row]
    cover, _ = difficulty.occluder_cover(size, d.view, np.random.default_rng(d.pixel_seed))
    return cover == 0


def _to_reference(region, size):
    """Homography (3, 3) from the photograph to the reference frame of a region."""
    move = np.array([[1.0, 0.0, -region.x], [0.0, 1.0, -region.y], [0.0, 0.0, 1.0]])
    return difficulty.scaling(size / region.side) @ move


def homography_between(views, a, b):
    """The homography from view `a` to view `b` of one region, as the set was made.

    Parameters
    ----------
    views : ImageCollection
        From `load_photo_views`, or a part of it.
    a, b : str or int
        Ids or positions of two views of the same region.

    Returns
    -------
    ndarray of shape (3, 3), float64
        H with H[2, 2] = 1, for pixel centres at whole numbers: ``cv2.warpPerspective(views[a], H, (w, h))``
        lies on ``views[b]`` where both show the region.

    Raises
    ------
    ValueError
        The views show different regions, or the collection has no column ``homography``.

    Examples
    --------
    >>> views = load_photo_views("easy", n_objects=3, n_views=3, n_distractors=0)
    >>> np.allclose(homography_between(views, 0, 0), np.eye(3))
    True
    """
    homographies, regions = views.column("homography"), views.column("region")
    i, j = (views.positions([v])[0] if isinstance(v, str) else range(len(views))[v] for v in (a, b))
    if regions[i] != regions[j]:
        raise ValueError(
            f"{views.ids[i]!r} shows {regions[i]} and {views.ids[j]!r} shows {regions[j]}; "
            "a homography joins two views of the same region"
        )
    between = homographies[j] @ np.linalg.inv(homographies[i])
    return between / between[2, 2]


def reference_views(views):
    """One clean view of every region of a set: the whole square, upright, with no change of light or colour.

    Parameters
    ----------
    views : ImageCollection
        From `load_photo_views`, or a part of it.

    Returns
    -------
    ImageCollection
        Ids are the names of the regions, in the order in which they first appear; with the columns
        ``instance``, ``source``, ``region``, ``x``, ``y``, ``side``, ``texture`` and an identity ``homography``.

    Examples
    --------
    >>> views = load_photo_views("hard", n_objects=5, n_views=3, n_distractors=0)
    >>> len(reference_views(views))
    5
    """
    columns = ["instance", "source", "region", "x", "y", "side", "texture"]
    views.column("homography")  # says what is wrong if this is no such set
    table = views.table.drop_duplicates("region")[columns]
    regions = [
        Region(r.region, r.source, int(r.x), int(r.y), int(r.side), float(r.texture))
        for r in table.itertuples()
    ]
    size = len(views[0])
    table = table.set_index(pd.Index(table["region"].to_numpy(), dtype=object))
    table["homography"] = pd.Series([np.eye(3)] * len(table), index=table.index, dtype=object)
    key = f"photo_views reference {VERSION} {size} " + repr(
        [(r.source, file_digest(r.source), r) for r in regions]
    )
    return ImageCollection.from_function(
        partial(_render_reference, regions, size), table, key=key, name=f"{views.name} reference"
    )


def _render_reference(regions, size, row):
    region = regions[row]
    photograph = partial(read_photograph, region.source)
    return difficulty.warp(photograph, _to_reference(region, size), size)
