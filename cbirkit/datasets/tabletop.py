"""The tabletop world: rendered pictures of everyday objects, about which everything is known."""

import hashlib
import io
import json

import numpy as np
import pandas as pd
from PIL import Image

from cbirkit._optional import require
from cbirkit.images import ImageCollection
from cbirkit.images.files import read_image
from cbirkit.ranking import Relevance

from .real_features import shipped_file

PARTS = ("objects", "scenes", "domains")
# Columns that are JSON in the file.
_LISTS = ("box", "distractors", "objects", "relations", "captions")
_PLACES = ("image_start", "image_bytes", "mask_start", "mask_bytes")


def load_tabletop(part="objects"):
    """Pictures of the tabletop world, made with a path tracer: they look like photographs, and are none.

    Material, pattern, colours, ground, light, size and position were drawn independently of the category.

    Parameters
    ----------
    part : {"objects", "scenes", "domains"}
        "objects": 64 categories x 6 instances x 8 views, 128 x 128 pixels, one object each and up to two plain solids beside it.
        "scenes": 420 pictures of 144 x 192 pixels (h, w) with three to seven objects in five places.
        "domains": 192 views of "objects" again, as a line drawing, at night, and in clay, without colour and pattern.

    Returns
    -------
    ImageCollection
        RGB uint8; ``mask(i)`` (h, w) is 0 around the objects, 1 for the first of them, 2 for the second … (in "objects" from 2 on
        the solids). Ids are the names of the pictures. Columns of "objects" and "domains":

        ``label``, ``group``, ``instance``
            Category, one of 7 groups of categories, and the object itself: "mug", "kitchenware", "mug 3".
        ``split``, ``view``
            "query" (views 0 and 1), "database" (2 to 6) or "aside" (7: to validate with).
        ``seen_category``, ``seen_instance``
            False for a quarter of each group, and for instances 4 and 5: nothing that is tested on them learns from them.
        ``material``, ``pattern``, ``colour``, ``accent``
            Words of the surface; ``shape_seed`` is that of its shape.
        ``box``
            [left, top, right, bottom] in pixels, the last two excluded; ``circle_x``, ``circle_y``, ``circle_radius``: the circle around
            the object, as fractions of the side from the middle of the picture.
        ``azimuth``, ``elevation``, ``lens``, ``camera_x`` …, ``ground``, ``backdrop``, ``lamp_azimuth`` …, ``fill``, ``distractors``
            Turn of the object and camera (degrees, millimetres), surroundings, light.
        ``domain``, ``photograph``
            Of "domains": "drawing", "night" or "clay", and the picture of "objects" that shows the same view.

        Columns of "scenes": ``split`` ("correlated": most objects are at home in the place; "independent"), ``context`` (the place),
        ``objects`` (a list with a dict each: category, group, colour, material, pattern, size, box, visible …), ``categories`` (of
        these objects, a list), ``relations``
        (triples such as [0, "left of", 2] of positions in that list), ``captions`` (three sentences), camera, surroundings, light.

    Raises
    ------
    ValueError
        Unknown part, or a damaged file.
    FileNotFoundError
        The package was installed without the repository, which holds the pictures.

    Notes
    -----
    By instance: ``objects.relevance(queries, database, by="instance")``. By category, with other views of the same object
    as junk, so that nobody is paid for finding the object itself: ``by="label", junk="instance"``.
    How the pictures were made, and how hard they are: ``data/README.md`` and ``docs/benchmarks.md``.

    Examples
    --------
    >>> objects = load_tabletop()
    >>> queries, database = objects.split()
    >>> len(objects), len(queries), len(database), objects[0].shape
    (3072, 768, 1920, (128, 128, 3))
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, got {part!r}")
    table = pd.read_csv(
        shipped_file(f"tabletop/{part}.csv.gz"), dtype={"picture": str}, keep_default_na=False
    )
    for name in table.columns.intersection(_LISTS):
        table[name] = table[name].map(json.loads)
    for name in table.columns.intersection(["seen_category", "seen_instance"]):
        table[name] = table[name].astype(bool)
    places, files = table[[*_PLACES]].to_numpy(), {}
    for column, kind in ((0, "images"), (2, "masks")):
        files[kind] = shipped_file(f"tabletop/{part}.{kind}")
        if files[kind].stat().st_size != places[-1, column] + places[-1, column + 1]:
            raise ValueError(
                f"{str(files[kind])!r} is damaged or of another version than its table; get the folder data/ again"
            )
    table = table.drop(columns=[*_PLACES]).rename(columns={"category": "label"})
    table.index = pd.Index(table.pop("picture").to_numpy(), dtype=object)
    if part == "scenes":
        table["categories"] = [[one["category"] for one in row] for row in table["objects"]]

    def part_of(kind, start, size):
        with open(files[kind], "rb") as file:
            file.seek(int(start))
            return file.read(int(size))

    def picture(row):
        return read_image(part_of("images", *places[row, :2]))

    def mask(row):
        return np.asarray(Image.open(io.BytesIO(part_of("masks", *places[row, 2:]))))

    digest = hashlib.sha256(files["images"].read_bytes()).hexdigest()
    return ImageCollection.from_function(
        picture, table, key=f"tabletop {part} {digest}", name=f"tabletop {part}", read_mask=mask
    )


def close_ups(objects, size):
    """The object of each picture with a border of a sixth around it, as a square picture of its own.

    Parameters
    ----------
    objects : ImageCollection
        Pictures of "objects" or "domains".
    size : int
        Side in pixels.

    Returns
    -------
    ImageCollection
        RGB uint8 (size, size, 3), in memory, with masks; ids and columns are those of `objects` (places are those in their pictures).

    Examples
    --------
    >>> close = close_ups(load_tabletop()[:2], 32)
    >>> close[0].shape, close.mask(0).shape
    ((32, 32, 3), (32, 32))
    """
    cv2, boxes = require("cv2"), objects.column("box")

    def close_up(array, box, interpolation):
        left, top, right, bottom = box
        half = int(0.65 * max(right - left, bottom - top)) + 1  # pixels
        x, y = (left + right) // 2, (top + bottom) // 2
        border = [(half, half), (half, half), (0, 0)][: array.ndim]
        padded = np.pad(array, border, mode="reflect")
        close = padded[y : y + 2 * half, x : x + 2 * half]
        return cv2.resize(close, (size, size), interpolation=interpolation)

    taken = [close_up(*pair, cv2.INTER_AREA) for pair in zip(objects, boxes, strict=True)]
    digests = " ".join(objects.digest(row) for row in range(len(objects)))
    return ImageCollection.from_function(
        taken.__getitem__,
        objects.table,
        key=f"close-ups {size} {hashlib.sha256(digests.encode()).hexdigest()}",
        name=f"close-ups of {objects.name}",
        read_mask=lambda row: close_up(objects.mask(row), boxes[row], cv2.INTER_NEAREST),
    )


def zoomed(objects, fractions, size):
    """The object of each picture at several zooms, from filling the frame to small in it.

    Where the frame reaches beyond the picture, its surroundings go on: mirrored, blurred, without the object.

    Parameters
    ----------
    objects : ImageCollection
        Pictures of "objects" or "domains".
    fractions : sequence of float
        The longer side of the object's box, as a fraction of the frame's.
    size : int
        Side of the frames in pixels.

    Returns
    -------
    ndarray of uint8, shape (n_objects, n_fractions, size, size, 3)

    Examples
    --------
    >>> zoomed(load_tabletop()[:2], (0.9, 0.3), 64).shape
    (2, 2, 64, 64, 3)
    """
    cv2, found = require("cv2"), []
    for row, (left, top, right, bottom) in enumerate(objects.column("box")):
        picture, mask = objects[row], objects.mask(row)
        sides = [round(max(right - left, bottom - top) / fraction) for fraction in fractions]
        empty, margin = picture.copy(), max(sides)
        empty[mask > 0] = np.median(picture[mask == 0], axis=0)
        around = cv2.GaussianBlur(empty, (0, 0), 8, borderType=cv2.BORDER_REFLECT)
        wide = cv2.copyMakeBorder(around, *[margin] * 4, cv2.BORDER_REFLECT)
        wide[margin:-margin, margin:-margin] = picture
        for side in sides:
            x, y = (left + right - side) // 2 + margin, (top + bottom - side) // 2 + margin
            how = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
            found.append(
                cv2.resize(wide[y : y + side, x : x + side], (size, size), interpolation=how)
            )
    return np.reshape(found, (len(objects), len(fractions), size, size, 3))


def scene_relevance(queries, scenes, *, size=None):
    """Which scenes hold the category of a query, as something that can be seen.

    Parameters
    ----------
    queries : ImageCollection
        Pictures of "objects" or "domains"; their label is the category that is asked for.
    scenes : ImageCollection
        Pictures of "scenes".
    size : {"small", "medium", "large"}, optional
        Only objects of this size; scenes that hold the category in another size are junk then.

    Returns
    -------
    Relevance
        Junk, too, are scenes in which less than half of the object can be seen.

    Examples
    --------
    >>> scenes = load_tabletop("scenes")
    >>> objects = load_tabletop()
    >>> mugs = objects[objects.labels == "mug"]
    >>> [int(scene_relevance(mugs, scenes, size=size).n_positives[0]) for size in (None, "small")]
    [31, 7]
    """
    held, right = {}, {}
    for name, objects in zip(scenes.ids, scenes.column("objects"), strict=True):
        for one in objects:
            held.setdefault(one["category"], []).append(name)
            if one["visible"] >= 0.5 and size in (None, one["size"]):
                right.setdefault(one["category"], []).append(name)
    positives = [right.get(label, []) for label in queries.labels]
    junk = [
        list(set(held.get(label, [])) - set(good))
        for label, good in zip(queries.labels, positives, strict=True)
    ]
    return Relevance.from_sets(queries.ids, scenes.ids, positives, junk)
