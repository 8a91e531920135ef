"""What `ObjectExplorer` shows: regions outlined on pictures, and the tiles of what was found."""

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion

from cbirkit.plots.tiles import Tile, picture_or_none

OUTLINE, AROUND = (255, 176, 0), (0, 0, 0)  # a bright line between dark ones: seen on any ground
_SIZE = 160  # pixels of a result's thumbnail, at most


def outlined(pixels, regions, size=_SIZE):
    """A picture, made smaller, with the outlines of regions.

    Parameters
    ----------
    pixels : ndarray (h, w, 3), uint8
    regions : sequence of Region
        Of this picture. One that is the whole picture gets its frame.
    size : int
        Pixels of the longer side, at most; pictures below half of it are enlarged, so that lines can be seen.

    Returns
    -------
    ndarray (h', w', 3), uint8

    Examples
    --------
    >>> from cbirkit.objects import Region
    >>> picture = outlined(np.zeros((40, 40, 3), np.uint8), [Region.from_box((10, 10, 30, 30), (40, 40))])
    >>> picture.shape, picture[20:24, 20].max()
    ((80, 80, 3), np.uint8(255))
    """
    longer = max(pixels.shape[:2])
    factor = min(1.0, size / longer) if longer > size / 2 else size / 2 / longer
    shape = [max(1, round(side * factor)) for side in pixels.shape[1::-1]]
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    out = np.array(picture.resize(shape, Image.Resampling.BILINEAR))
    for region in regions:
        mask = np.array(Image.fromarray(region.mask).resize(shape, Image.Resampling.NEAREST))
        if not mask.any():  # a pixel that the smaller picture skips
            x0, y0, x1, y1 = (int(value * factor) for value in region.box)
            mask[min(y0, len(mask) - 1) : y1 + 1, min(x0, mask.shape[1] - 1) : x1 + 1] = True
        # What lies outside the picture does not belong to the mask.
        line = mask & ~binary_erosion(mask, iterations=2)
        out[binary_dilation(mask) & ~binary_erosion(mask, iterations=3)] = AROUND
        out[line] = OUTLINE
    return out


def region_at(regions, x, y):
    """The smallest region that holds a pixel; None if none does.

    Examples
    --------
    >>> from cbirkit.objects import Region
    >>> boxes = [Region.from_box(box, (20, 20)) for box in ((0, 0, 20, 20), (4, 4, 9, 9))]
    >>> region_at(boxes, 5, 5).area, region_at(boxes, 15, 5).area
    (25, 400)
    """
    holding = [r for r in regions if r.box[0] <= x < r.box[2] and r.box[1] <= y < r.box[3]]
    holding = [r for r in holding if r.inside[y - r.box[1], x - r.box[0]]]
    return min(holding, key=lambda r: r.area, default=None)


def result_tiles(images, found):
    """Tiles of the results of one query: the picture with the found region, rank and distance."""
    tiles = []
    rows = zip(found.ranking.indices[0], found.ranking.distances[0], found.regions[0], strict=False)
    for rank, (row, distance, regions) in enumerate(rows, start=1):
        name, far = str(images.ids[row]), f"{distance:.3f}"
        pixels = picture_or_none(images.__getitem__, name)
        picture = None if pixels is None else outlined(pixels, regions)
        x0, y0, x1, y1 = regions[0].box
        told = f"rank {rank}: {name}, distance {far}, region {x1 - x0} x {y1 - y0} px at {x0}, {y0}"
        tiles.append(Tile(name, picture, told, caption=name, note=far, title=told, rank=rank))
    return tiles
