"""Fisher vectors beside VLAD on the hard photo views, as set up in notebook 02.

    python -m benchmarks.fisher_vectors [--seeds 0 1 2]

Both learn from the same half of the distractor pieces, which are neither queries nor database; intervals of the paired difference over pieces.
"""

import argparse

import numpy as np
import pandas as pd

from cbirkit import Ranking, compare, datasets, encoders
from cbirkit.indexes import Exact


def measure(seed):
    """mAP of each encoder on one set, and what the comparison says."""
    views = datasets.load_photo_views(
        "hard", n_objects=50, n_views=6, n_distractors=200, random_state=seed
    )
    pieces = views.column("region")
    spare = np.unique(pieces[pd.isna(views.column("instance"))])
    split = np.where(np.isin(pieces, spare[::2]), "aside", views.column("split"))
    aside, queries, database = views.with_columns(split=split).split(
        parts=("aside", "query", "database")
    )
    rankings = {}
    for encoder in (
        encoders.VLAD(64, random_state=seed),
        encoders.FisherVector(64, random_state=seed),
    ):
        encoder.fit(aside)
        index = Exact().fit(encoder.transform(database))
        distances, found = index.kneighbors(encoder.transform(queries), len(database))
        rankings[type(encoder).__name__] = Ranking(queries.ids, database.ids, found, distances)
    return compare(rankings, views.relevance(queries, database), groups=queries.column("instance"))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    for seed in parser.parse_args().seeds:
        print(f"seed {seed}\n{measure(seed)}\n")


if __name__ == "__main__":
    main()
