"""The contact sheet: some instances of each category, one view each, rendered where it is not there yet.

    PYTHONPATH=tools python -m tabletop.sheet FOLDER docs/images/tabletop_catalogue.jpg

FOLDER/sheet/ keeps what is rendered; interrupted, the same command goes on.
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from .catalogue import CATEGORIES
from .parameters import row
from .render import render_object, save

TILE, LABEL = 128, 20


def tile(folder, category, instance):
    """Path of the first view of an instance, large, in the middle and alone."""
    key = f"{category.replace(' ', '_')}_{instance}_0"
    path = Path(folder) / "sheet" / f"{key}.webp"
    if not path.with_suffix(".png").exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, *render_object(row(key, circle=(0, 0, 0.46)) | {"distractors": []}, samples=8))
    return path


def sheet(folder, categories, n_instances, columns=4):
    """Blocks of `n_instances` tiles with the name above, `columns` blocks a line."""
    lines = -(-len(categories) // columns)
    paper = Image.new("RGB", (columns * (n_instances * TILE + 8), lines * (TILE + LABEL)), "white")
    pen = ImageDraw.Draw(paper)
    font = ImageFont.load_default(LABEL - 5)
    for i, category in enumerate(categories):
        x, y = i % columns * (n_instances * TILE + 8), i // columns * (TILE + LABEL)
        pen.text((x + 3, y), category, fill="black", font=font)
        for k in range(n_instances):
            paper.paste(Image.open(tile(folder, category, k)), (x + k * TILE, y + LABEL))
    return paper


def main():
    parser = argparse.ArgumentParser(
        prog="python -m tabletop.sheet", description=__doc__.splitlines()[0]
    )
    parser.add_argument("folder")
    parser.add_argument("sheet")
    parser.add_argument("--instances", type=int, default=4)
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument(
        "--scale", type=float, default=0.75, help="size of the sheet's tiles against 128 pixels"
    )
    parser.add_argument("--quality", type=int, default=35)
    parser.add_argument("--only", nargs="*", default=list(CATEGORIES), metavar="CATEGORY")
    asked = parser.parse_args()
    paper = sheet(asked.folder, asked.only, asked.instances, asked.columns)
    size = round(paper.width * asked.scale), round(paper.height * asked.scale)
    paper.resize(size, Image.Resampling.LANCZOS).save(
        asked.sheet, quality=asked.quality, optimize=True
    )


if __name__ == "__main__":
    main()
