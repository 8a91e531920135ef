"""The photographs that installed packages carry and whose free licence is stated, and square regions of them.

Nothing is downloaded: a file that the installed package lacks is an error, never a reason to go online.
``photographs.csv`` lists them, as does `data/README.md`.
"""

import hashlib
import importlib.resources
import logging
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd

from cbirkit._optional import require
from cbirkit.images import read_image

log = logging.getLogger(__name__)

# Least texture, in grey levels a pixel of the 64-pixel reference view.
OBJECT_TEXTURE, DISTRACTOR_TEXTURE = 3.0, 1.0


# name: the value of the column ``source``; file: package and path inside it; cell: side, in pixels of the photograph, of the squares
# that regions are cut into; most: at most so many objects, fewer where the whole photograph is one texture that looks alike everywhere;
# licence, credit, address: as stated by the package's docstring or README; sha256: of the file that published figures were measured with.
_TABLE = pd.read_csv(Path(__file__).with_name("photographs.csv"))
PHOTOGRAPHS = tuple(_TABLE.itertuples(index=False, name="Photograph"))
_BY_NAME = {photograph.name: photograph for photograph in PHOTOGRAPHS}


def photograph_path(photograph):
    """Path of the file inside the installed package; FileNotFoundError says which package lacks it."""
    package, _, inside = photograph.file.partition("/")
    path = Path(str(importlib.resources.files(package) / inside))
    if path.is_file():
        return path
    install = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[package]
    raise FileNotFoundError(
        f"{photograph.file} is not in the installed package ({install}); "
        f"install the version with which it ships: pip install --force-reinstall {install}"
    )


@lru_cache(maxsize=64)
def file_digest(name):
    """First 12 hex digits of the SHA-256 of the photograph's file; a warning is logged where it is not the known one."""
    photograph = _BY_NAME[name]
    digest = hashlib.sha256(photograph_path(photograph).read_bytes()).hexdigest()
    if digest != photograph.sha256:
        log.warning(
            "%s differs from the file that published figures were measured with", photograph.file
        )
    return digest[:12]


@lru_cache(maxsize=128)
def read_photograph(name, halvings=0):
    """The photograph, decoded once per process, halved `halvings` times by box averaging.

    Parameters
    ----------
    name : str
        Name of a photograph in `PHOTOGRAPHS`.
    halvings : int, default=0
        0 is full size, 1 half of each side, and so on.

    Returns
    -------
    ndarray of shape (h, w, 3), uint8
        RGB, read-only because it is shared.
    """
    if halvings:
        larger = read_photograph(name, halvings - 1)
        height, width = larger.shape[:2]
        even = np.ascontiguousarray(larger[: height // 2 * 2, : width // 2 * 2])
        cv2 = require("cv2")
        image = cv2.resize(even, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    else:
        image = np.ascontiguousarray(read_image(photograph_path(_BY_NAME[name])))
    image.setflags(write=False)
    return image


def photo_credits():
    """Who made the photographs, and under which licence the packages say they may be used.

    Returns
    -------
    DataFrame indexed by source
        Columns ``file`` (package and path inside it), ``licence``, ``credit``, ``address``, ``sha256``.

    Examples
    --------
    >>> photo_credits().loc["flower", "licence"]
    'CC BY 2.0'
    """
    columns = ["file", "licence", "credit", "address", "sha256"]
    return _TABLE.set_index(pd.Index(_TABLE["name"], name="source"))[columns]


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
    turns = [region for turn in zip_longest(*queues) for region in turn if region]
    if n_objects > len(turns):
        raise ValueError(
            f"n_objects={n_objects} exceeds the {len(turns)} textured regions of the photographs "
            f"with this random_state; use n_objects <= {len(turns)}"
        )
    others = others + turns[n_objects:]
    order = np.argsort(rng.random(len(others)), kind="stable")
    return turns[:n_objects], [others[i] for i in order]
