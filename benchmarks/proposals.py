"""How well proposals meet the things on photographs: mean best overlap, by the parameters of `Felzenszwalb` and `SLIC`, and of `Segmenter`.

`python benchmarks/proposals.py REALDATA [STEP]` reads ``d_masks_camvid100`` and ``m_coco131`` there, every STEP-th image. Things are the connected
parts of CamVid's classes and the objects of COCO, of 1 to 60 % of the image. Parameters are chosen on every other image
and reported on the rest.
"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import label
from tqdm.auto import tqdm

from cbirkit.objects import (
    SLIC,
    Felzenszwalb,
    Region,
    Segmenter,
    SlidingPyramid,
    keep_best,
    mask_iou,
)

GRID = {"max_regions": (16, 40, 60), "iou": (0.7,), "max_area": (0.5, 0.6, 0.8)}


def camvid(folder):
    """(image, regions of things) of each frame."""
    for path in sorted((folder / "images").glob("*.jpg")):
        classes = np.asarray(Image.open(folder / "masks" / f"{path.stem}.png"))
        parts = (label(classes == one) for one in range(11))
        masks = [numbered == i for numbered, n in parts for i in range(1, n + 1)]
        yield np.asarray(Image.open(path).convert("RGB")), things(masks)


def coco(folder):
    """(image, regions of things) of each photograph with annotations."""
    told = json.loads((folder / "annotations.json").read_text("utf-8"))
    for entry in told["images"]:
        masks = []
        for one in told["annotations"]:
            if one["image_id"] == entry["id"] and isinstance(one["segmentation"], list):
                drawn = Image.new("1", (entry["width"], entry["height"]))
                for polygon in one["segmentation"]:
                    ImageDraw.Draw(drawn).polygon(polygon, fill=1)
                masks.append(np.asarray(drawn))
        if masks:
            yield (
                np.asarray(Image.open(folder / "images" / entry["file_name"]).convert("RGB")),
                things(masks),
            )


def things(masks):
    """Regions of the masks that cover 1 to 60 % of the image."""
    return [Region.from_mask(mask) for mask in masks if 0.01 <= mask.mean() <= 0.6]


def best_overlaps(regions, wanted):
    """The overlap of each wanted region with the best of some."""
    return [max((mask_iou(one, other) for other in regions), default=0) for one in wanted]


def kept(regions, max_regions, iou, max_area):
    """What the proposer would return, of all its regions."""
    small = [one for one in regions if one.area <= max_area * np.prod(one.shape)]
    return keep_best(small, n=max_regions, iou=iou)


def main(folder, step=1):
    """Print every setting, the best by the even images first."""
    images = {
        "CamVid": list(camvid(folder / "d_masks_camvid100"))[::step],
        "COCO": list(coco(folder / "m_coco131"))[::step],
    }
    every = dict.fromkeys(GRID, None) | {"max_regions": 100_000, "iou": 1.0, "max_area": 1.0}
    ways = {
        f"Felzenszwalb({scale})": Felzenszwalb(scale, **every) for scale in (60.0, 120.0, 200.0)
    }
    ways |= {f"SLIC({n})": SLIC(n, **every) for n in (50, 80)}
    found, segmenter = {}, Segmenter(device="cpu")
    for name, pairs in images.items():
        for at, (image, wanted) in enumerate(tqdm(pairs, desc=name)):
            overlaps = {
                (type(proposer).__name__, ""): best_overlaps(proposer.propose(image), wanted)
                for proposer in (SlidingPyramid(), segmenter)
            }
            for way, proposer in ways.items():
                regions = proposer.propose(image)
                for values in itertools.product(*GRID.values()):
                    overlaps[way, values] = best_overlaps(kept(regions, *values), wanted)
            for key, values in overlaps.items():
                found.setdefault(key, {}).setdefault((name, at % 2), []).extend(values)
    rows = {
        key: {half: np.mean(values) for half, values in one.items()} for key, one in found.items()
    }
    chosen = sorted(rows, key=lambda key: -(rows[key]["CamVid", 0] + rows[key]["COCO", 0]))
    for key in chosen:
        told = "  ".join(
            f"{name} {rows[key][name, 0]:.3f} | {rows[key][name, 1]:.3f}" for name in images
        )
        print(f"{key[0]:20} {key[1]!s:18} chosen on | reported on:  {told}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
