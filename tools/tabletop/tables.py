"""The parts of the tabletop world, and the table of each: what is known of every picture, one row each.

    PYTHONPATH=tools python -m tabletop.tables objects objects.csv        # needs NumPy and Pillow, not Blender

Cells that hold a list (distractors, the objects of a scene, relations, captions) are JSON.
"""

import argparse
import csv
import json

from . import parameters, scenes

DOMAINS = ("drawing", "night", "clay")
DOMAIN_CATEGORIES = (
    "teapot", "wine glass", "bananas", "ice cream", "chair", "table lamp",
    "car", "duck", "hammer", "scissors", "alarm clock", "cactus",
)  # fmt: skip


def domain_keys():
    """12 categories x 4 instances x 4 views in each domain; the photograph-like view of each is in `objects`."""
    same = parameters.keys(DOMAIN_CATEGORIES, range(4), range(4))
    return [f"{domain}_{key}" for domain in DOMAINS for key in same]


def domain_row(key):
    """The row of the same view in `objects`, with the domain and the name of that view as `photograph`."""
    domain, _, photograph = key.partition("_")
    return parameters.row(photograph) | {"picture": key, "domain": domain, "photograph": photograph}


# part: names of its pictures, and what is known of the picture of a name
PARTS = {
    "objects": (parameters.keys, parameters.row),
    "scenes": (scenes.keys, scenes.row),
    "domains": (domain_keys, domain_row),
}


def cells_of(row):
    """A row as it stands in the table: lists as JSON."""
    return {
        name: json.dumps(value) if isinstance(value, list) else value for name, value in row.items()
    }


def write_table(part, path):
    keys, row = PARTS[part]
    with open(path, "w", newline="") as file:
        writer = None
        for key in keys():
            cells = cells_of(row(key))
            if writer is None:
                writer = csv.DictWriter(file, list(cells))
                writer.writeheader()
            writer.writerow(cells)


def main():
    parser = argparse.ArgumentParser(
        prog="python -m tabletop.tables", description=__doc__.splitlines()[0]
    )
    parser.add_argument("part", choices=sorted(PARTS))
    parser.add_argument("table")
    asked = parser.parse_args()
    write_table(asked.part, asked.table)


if __name__ == "__main__":
    main()
