"""A published protocol on the real data: download, encode, score; one line a protocol, for docs/reproductions.md.

    python -m benchmarks.reproduce roxford5k --backbone resnet101 --pooling rmac --size 800 --scales 1 0.7071 0.5
    python -m benchmarks.reproduce ukbench --backbone resnet50 --pooling gem

The first run needs internet (`cbirkit prefetch roxford5k resnet101` gets the same beforehand); embeddings are kept, so that a run that was
stopped goes on. Images keep their aspect ratio only as far as the network's square input allows: they are squashed to it.
"""

import argparse
from pathlib import Path

from cbirkit import Retriever, evaluate
from cbirkit.datasets.fetch import data_root, fetch_by_name, fetchable
from cbirkit.encoders import Deep
from cbirkit.store import EmbeddingStore

METRICS = {
    "roxford5k": ["trapezoid_map", "p@1", "p@5", "p@10"],
    "rparis6k": ["trapezoid_map", "p@1", "p@5", "p@10"],
    "ukbench": ["ukbench", "map"],
    "holidays": ["map"],
    "holidays-upright": ["map"],
    "cub200": ["hit_rate@1", "map@r"],
    "sop": ["hit_rate@1", "map@r"],
}  # of the others: mAP and P@1


def parts_of(name, data):
    """Queries and database of a data set as its publication scores it."""
    if name in ("cub200", "sop"):  # classes that training does not see, each image asks the others
        test = data.split(parts=("train", "test"))[1]
        return test, test
    if name == "ukbench":
        return data, data
    return data.split()


def judgements(name, data, queries, database):
    """Pairs of protocol and `Relevance`."""
    if hasattr(data, "protocols"):
        return [
            (protocol, data.relevance(queries, database, protocol=protocol))
            for protocol in data.protocols
        ]
    return [("", data.relevance(queries, database, keep_self=name == "ukbench"))]


def run(options):
    data = fetch_by_name(options.name)
    encoder = Deep(
        options.backbone, options.weights, pooling=options.pooling, layer=options.layer, size=options.size, resize=options.resize,
        scales=tuple(options.scales), batch_size=options.batch,
    )  # fmt: skip
    queries, database = parts_of(options.name, data)
    retriever = Retriever(encoder, store=EmbeddingStore(options.store)).fit(database)
    ranking = retriever.search(queries, k=None, exclude_self=options.name != "ukbench")
    print(ranking.protocol)
    for protocol, relevance in judgements(options.name, data, queries, database):
        found = evaluate(ranking, relevance, metrics=METRICS.get(options.name, ["map", "p@1"]))
        print(
            f"{options.name} {protocol}: "
            + ", ".join(f"{name} {found[name]:.4f}" for name in found.summary.index)
        )


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "name", choices=list(fetchable().index), metavar="NAME", help=", ".join(fetchable().index)
    )
    parser.add_argument("--backbone", default="tiny")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--pooling", default="default")
    parser.add_argument("--layer")
    parser.add_argument("--size", type=int)
    parser.add_argument("--resize", default="default")
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--store", type=Path, default=data_root() / "embeddings")
    return parser.parse_args()


if __name__ == "__main__":
    run(parse())
