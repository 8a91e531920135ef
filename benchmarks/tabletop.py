"""How hard the tabletop world is, and what shortcuts through it are worth.

    python -m benchmarks.tabletop [objects] [domains] [scenes]

Protocol: cosine distance, exact search, queries are views 0 and 1, the database views 2 to 6; mAP with its 95 % interval by bootstrap over
instances (by instance) or categories (by category, where views of the query's own instance are junk). Networks, codebooks and PCA have met
none of the pictures; VLAD's codebook is learned on views set aside. Printed as tables of markdown.
"""

import sys
from functools import cache

import numpy as np
import pandas as pd
from sklearn.preprocessing import scale

from cbirkit import Ranking, Relevance, datasets, evaluate
from cbirkit.encoders import HOG, VLAD, ColorHistogram, Deep, TinyImage
from cbirkit.indexes import Exact

DEEP = {"random network": Deep("tiny", weights=None), "tiny": Deep("tiny"), "lite0": Deep("lite0")}


def without_objects(images):
    """Pictures whose object is hidden by a grey disc: its bounding circle, for an outline would tell what it is."""
    for i in range(len(images)):
        picture, row = images[i].copy(), images.table.iloc[i]
        y, x = (np.mgrid[: len(picture), : len(picture)] + 0.5) / len(picture) - 0.5
        picture[
            np.hypot(x - row["circle_x"], y + row["circle_y"]) <= 1.03 * row["circle_radius"]
        ] = 128
        yield picture


def described(images, aside):
    """Name: embeddings (n, d) of shortcuts and methods."""
    circle = images.table[["circle_x", "circle_y", "circle_radius"]].to_numpy(float)
    area = np.array(
        [(images.mask(i) == 1).mean() for i in range(len(images))]
    )  # its square root is at most 1
    yield "chance", np.random.default_rng(0).normal(size=(len(images), 64))
    yield "size and position (circle)", scale(circle)
    yield (
        "area of the outline",
        np.c_[np.cos(3 * area), np.sin(3 * area)],
    )  # nearer in area, nearer in angle
    yield "surroundings, colour", ColorHistogram().transform(list(without_objects(images)))
    yield "surroundings, lite0", Deep("lite0").transform(list(without_objects(images)))
    yield "colour", ColorHistogram().transform(images)
    yield "small image", TinyImage().transform(images)
    yield "HOG", HOG(cell=32).transform(images)
    yield "VLAD", VLAD(random_state=0).fit(aside).transform(images)
    for name, encoder in DEEP.items():
        yield name, encoder.transform(images)


def ranked(x, images, queries, database):
    rows = [x[images.positions(part.ids)] for part in (queries, database)]
    metric = "euclidean" if x.shape[1] == 3 else "cosine"
    distances, indices = Exact(metric).fit(rows[1]).kneighbors(rows[0], len(database))
    return Ranking(queries.ids, database.ids, indices, distances)


def told(ranking, relevance, groups):
    row = evaluate(ranking, relevance, metrics=["map"], ties="expected", groups=groups).summary.loc[
        "map"
    ]
    return f"{100 * row['mean']:.1f} ({100 * row['low']:.1f} to {100 * row['high']:.1f})"


@cache
def whole(part):
    return datasets.load_tabletop(part)


def objects():
    """By category on unseen categories, by instance on unseen instances, and on one instance of each category (notebook 00)."""
    everything = whole("objects")
    table, aside = everything.table, everything[(everything.column("split") == "aside")]
    sets = {
        "by category, unseen categories": (
            ~table["seen_category"],
            {"by": "label", "junk": "instance"},
            "label",
        ),
        "by instance, unseen instances": (~table["seen_instance"], {"by": "instance"}, "instance"),
        "one instance of each category": (
            table["instance"].str.endswith(" 0"),
            {"by": "instance"},
            "instance",
        ),
    }
    found = {}
    for title, (mask, how, groups) in sets.items():
        images = everything[mask.to_numpy()]
        queries, database = images.split()
        truth = queries.relevance(queries, database, **how)
        for name, x in described(images, aside[::2]):
            found.setdefault(name, {})[title] = told(
                ranked(np.asarray(x, np.float32), images, queries, database),
                truth,
                queries.column(groups),
            )
            print(title, name, found[name][title], file=sys.stderr, flush=True)
    return pd.DataFrame(found).T


def domains():
    """The same views as queries in each domain against photograph-like views of the same instances."""
    others, everything = whole("domains"), whole("objects")
    same = everything[np.isin(everything.column("instance"), others.column("instance"))]
    database = same[same.column("split") == "database"]
    found = {}
    for name, encoder in {"colour": ColorHistogram(), "HOG": HOG(cell=32), **DEEP}.items():
        rows = encoder.transform(database)
        for domain in ("photograph-like", "night", "clay", "drawing"):
            queries = (
                same[same.column("split") == "query"]
                if domain == "photograph-like"
                else others[others.column("domain") == domain]
            )
            distances, indices = (
                Exact("cosine").fit(rows).kneighbors(encoder.transform(queries), len(database))
            )
            truth = queries.relevance(queries, database, by="label", junk="instance")
            found.setdefault(name, {})[domain] = told(
                Ranking(queries.ids, database.ids, indices, distances),
                truth,
                queries.column("label"),
            )
    return pd.DataFrame(found).T


def scenes():
    """Pictures of an object ask for scenes that hold its category in one size; scenes that hold it in another are junk."""
    database, everything = whole("scenes"), whole("objects")
    queries = everything[
        (everything.column("view") == 0)
        & np.isin(everything.column("instance"), [f"{c} 4" for c in set(everything.labels)])
    ]
    found = {}
    holds = [{one["category"]: one["size"] for one in row} for row in database.column("objects")]
    for name, encoder in {"chance": None, "colour": ColorHistogram(), **DEEP}.items():
        parts = [
            np.random.default_rng(0).normal(size=(len(c), 64))
            if encoder is None
            else encoder.transform(c)
            for c in (queries, database)
        ]
        distances, indices = Exact("cosine").fit(parts[1]).kneighbors(parts[0], len(database))
        for size in ("small", "medium", "large"):
            sizes = [[row.get(label) for row in holds] for label in queries.labels]
            right = [
                [i for i, s in zip(database.ids, row, strict=True) if s == size] for row in sizes
            ]
            junk = [
                [i for i, s in zip(database.ids, row, strict=True) if s not in (None, size)]
                for row in sizes
            ]
            truth = Relevance.from_sets(queries.ids, database.ids, right, junk)
            found.setdefault(name, {})[size] = told(
                Ranking(queries.ids, database.ids, indices, distances), truth, queries.labels
            )
    return pd.DataFrame(found).T


if __name__ == "__main__":
    for part in sys.argv[1:] or ("objects", "domains", "scenes"):
        table = {"objects": objects, "domains": domains, "scenes": scenes}[part]()
        print(
            f"\n| {part} | "
            + " | ".join(table.columns)
            + " |\n|"
            + "---|" * (len(table.columns) + 1)
        )
        for name, row in table.iterrows():
            print(f"| {name} | " + " | ".join(row) + " |")
