"""Put a rendered part into three files: its table, all pictures one after the other, all masks one after the other.

    PYTHONPATH=tools python -m tabletop.pack objects FOLDER data/tabletop        # needs no Blender

PART.csv.gz has the columns of `tabletop.tables` and four more: `image_start`, `image_bytes` (WebP in PART.images) and
`mask_start`, `mask_bytes` (PNG in PART.masks). What the masks tell is added: `box` (left, top, right, bottom; the last
two excluded) and, in scenes, of each object `box` and `visible`, the share of its outline that nothing hides.
"""

import argparse
import csv
import gzip
import io
from pathlib import Path

import numpy as np
from PIL import Image

from .tables import PARTS, cells_of


def box_of(mask):
    """(left, top, right, bottom) of the True pixels, as a list; None where there are none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]
        if len(rows)
        else None
    )


def describe(row, mask):
    """The row with what its mask (h, w) tells."""
    if "objects" not in row:
        return row | {"box": box_of(mask == 1)}
    things = [
        thing
        | {
            "box": box_of(mask == 1 + i),
            "visible": round(min((mask == 1 + i).sum() / thing["area"], 1.0), 3),
        }
        for i, thing in enumerate(row["objects"])
    ]
    return row | {"objects": things}


def pack(part, rendered, folder):
    """Write the three files of a part; every picture has to be there."""
    keys, row_of = PARTS[part]
    source, folder = Path(rendered) / part, Path(folder)
    missing = [key for key in keys() if not (source / f"{key}.png").exists()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} pictures of {part} are not rendered, {missing[0]} first; run tabletop.render {part} again"
        )
    folder.mkdir(parents=True, exist_ok=True)
    table, writer = io.StringIO(), None
    starts = {"image": 0, "mask": 0}
    with (
        open(folder / f"{part}.images", "wb") as images,
        open(folder / f"{part}.masks", "wb") as masks,
    ):
        for key in keys():
            row = describe(row_of(key), np.asarray(Image.open(source / f"{key}.png")))
            for name, file, suffix in (("image", images, ".webp"), ("mask", masks, ".png")):
                data = (source / (key + suffix)).read_bytes()
                file.write(data)
                row |= {f"{name}_start": starts[name], f"{name}_bytes": len(data)}
                starts[name] += len(data)
            if writer is None:
                writer = csv.DictWriter(table, list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow(cells_of(row))
    (folder / f"{part}.csv.gz").write_bytes(gzip.compress(table.getvalue().encode(), mtime=0))


def main():
    parser = argparse.ArgumentParser(
        prog="python -m tabletop.pack", description=__doc__.splitlines()[0]
    )
    parser.add_argument("part", choices=sorted(PARTS))
    parser.add_argument("rendered")
    parser.add_argument("folder")
    asked = parser.parse_args()
    pack(asked.part, asked.rendered, asked.folder)


if __name__ == "__main__":
    main()
