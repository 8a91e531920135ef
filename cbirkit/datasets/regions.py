"""Square regions of the photographs: disjoint, textured, and the same on every platform for one seed."""

from dataclasses import dataclass

import numpy as np

from .photographs import PHOTOGRAPHS, read_photograph

OBJECT_TEXTURE = (
    3.0  # least texture of an object: grey levels a pixel of the 64-pixel reference view
)
DISTRACTOR_TEXTURE = 1.0


@dataclass(frozen=True)
class Region:
    """A square of a photograph: pixels x to x + side - 1, y to y + side - 1; `name` is ``photo_column_row``."""

    name: str
    source: str
    x: int
    y: int
    side: int
    texture: float


def texture(image):
    """Median over 4 × 4 blocks of the mean length of the grey-level gradient, at 64 × 64 pixels.

    The median keeps out regions that are empty but for one corner. Sums are of integers, so that every
    platform finds the same regions.

    Parameters
    ----------
    image : ndarray of shape (side, side, 3), uint8
        `side` >= 64.

    Returns
    -------
    float
        In grey levels a pixel.

    Examples
    --------
    >>> texture(np.full((100, 100, 3), 7, dtype=np.uint8))
    0.0
    """
    edges = np.arange(64) * len(image) // 64
    grey = image.astype(np.int64) @ np.array([299, 587, 114])
    sums = np.add.reduceat(np.add.reduceat(grey, edges, axis=0), edges, axis=1)  # (64, 64)
    widths = np.diff(np.append(edges, len(image)))
    down, right = np.gradient(sums / (1000 * np.outer(widths, widths)))
    blocks = np.hypot(down, right).reshape(4, 16, 4, 16).mean(axis=(1, 3))
    return float(np.round(np.median(blocks), 6))


def cut(photograph, rng):
    """Cut a photograph into a grid of squares; side and place of the grid are drawn.

    Squares of one grid share no pixel, so no view of one region shows a pixel of another.

    Parameters
    ----------
    photograph : Photograph
    rng : numpy.random.Generator

    Returns
    -------
    list of Region
        Row by row.
    """
    image = read_photograph(photograph.name)
    height, width = image.shape[:2]
    u = rng.random(3)
    side = round(photograph.cell * (0.9 + 0.1 * u[0]))
    columns, rows = width // side, height // side
    left, top = int(u[1] * (width - columns * side + 1)), int(u[2] * (height - rows * side + 1))
    regions = []
    for row in range(rows):
        for column in range(columns):
            x, y = left + column * side, top + row * side
            name = f"{photograph.name}_{column}_{row}"
            level = texture(image[y : y + side, x : x + side])
            regions.append(Region(name, photograph.name, x, y, side, level))
    return regions


def choose_regions(n_objects, seed):
    """Regions to serve as objects, and those left over as distractors.

    Every photograph in turn gives its most textured region, up to the number it may give.

    Parameters
    ----------
    n_objects : int
    seed : int

    Returns
    -------
    objects, others : list of Region
        Disjoint squares; `others` in random order.

    Raises
    ------
    ValueError
        The photographs do not hold so many objects.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0]))
    queues, others = [], []
    for photograph in PHOTOGRAPHS:
        regions = sorted(cut(photograph, rng), key=lambda r: (-r.texture, r.name))
        good = [r for r in regions if r.texture >= OBJECT_TEXTURE][: photograph.most]
        queues.append(good)
        others.extend(r for r in regions if r not in good and r.texture >= DISTRACTOR_TEXTURE)
    turns = [queue[i] for i in range(max(map(len, queues))) for queue in queues if i < len(queue)]
    if n_objects > len(turns):
        raise ValueError(
            f"n_objects={n_objects} exceeds the {len(turns)} textured regions of the photographs "
            f"with this random_state; use n_objects <= {len(turns)}"
        )
    others = others + turns[n_objects:]
    return turns[:n_objects], [
        others[i] for i in np.argsort(rng.random(len(others)), kind="stable")
    ]
