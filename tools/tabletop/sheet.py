"""The contact sheet: some instances of each category, one view each, rendered where it is not there yet.

PYTHONPATH=tools python -m tabletop.sheet FOLDER SHEET.jpg [--instances 4] [--only mug chair ...]
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

from .catalogue import CATEGORIES
from .parameters import row
from .render import render_object, save

TILE, LABEL = 128, 14


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
    for i, category in enumerate(categories):
        x, y = i % columns * (n_instances * TILE + 8), i // columns * (TILE + LABEL)
        pen.text((x + 2, y + 1), category, fill="black")
        for k in range(n_instances):
            paper.paste(Image.open(tile(folder, category, k)), (x + k * TILE, y + LABEL))
    return paper


def main():
    parser = argparse.ArgumentParser(prog="python -m tabletop.sheet", description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("sheet")
    parser.add_argument("--instances", type=int, default=4)
    parser.add_argument("--columns", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(CATEGORIES))
    asked = parser.parse_args()
    sheet(asked.folder, asked.only, asked.instances, asked.columns).save(asked.sheet, quality=80)


if __name__ == "__main__":
    main()
