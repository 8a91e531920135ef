"""Revisited Oxford and Paris: landmarks, 70 queries each, easy, medium and hard."""

import json
import math
import re
from functools import partial
from pathlib import PurePosixPath

import pandas as pd

from ...images import ImageCollection
from .download import Download
from .plain_pickle import read_plain
from .preparing import DataSet, expect, prepare, unpack_all
from .result import Benchmark
from .stored_files import StoredFiles

_TRUTH = "http://cmp.felk.cvut.cz/revisitop/data/datasets/"
_VGG = "https://www.robots.ox.ac.uk/~vgg/data/"
_TERMS = "photographs belong to their Flickr authors, for research; cite Philbin et al. and Radenović et al."

SETS = {
    "roxford5k": DataSet(
        name="roxford5k",
        title="Revisited Oxford",
        n_images=5063,
        downloads=(
            Download("gnd_roxford5k.pkl", (f"{_TRUTH}roxford5k/gnd_roxford5k.pkl",), 1),
            Download(
                "oxbuild_images-v1.tgz",
                (
                    f"{_VGG}oxbuildings/oxbuild_images-v1.tgz",
                    "https://thor.robots.ox.ac.uk/oxbuildings/oxbuild_images-v1.tgz",
                ),
                1938,
            ),
        ),
        unpacked_megabytes=1980,
        page=f"{_TRUTH.split('data/')[0]}",
        terms=_TERMS,
    ),
    "rparis6k": DataSet(
        name="rparis6k",
        title="Revisited Paris",
        n_images=6392,
        downloads=(
            Download("gnd_rparis6k.pkl", (f"{_TRUTH}rparis6k/gnd_rparis6k.pkl",), 1),
            Download(
                "paris_1-v1.tgz",
                (
                    f"{_VGG}parisbuildings/paris_1-v1.tgz",
                    "https://thor.robots.ox.ac.uk/datasets/paris-buildings/paris_1-v1.tgz",
                ),
                1270,
            ),
            Download(
                "paris_2-v1.tgz",
                (
                    f"{_VGG}parisbuildings/paris_2-v1.tgz",
                    "https://thor.robots.ox.ac.uk/datasets/paris-buildings/paris_2-v1.tgz",
                ),
                1200,
            ),
        ),
        unpacked_megabytes=2500,
        page=f"{_TRUTH.split('data/')[0]}",
        terms=_TERMS,
    ),
}
PROTOCOLS = {  # what counts, what is junk
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}
_KINDS = ("easy", "hard", "junk")


def fetch_revisited(name, *, crop=True, root=None, download=True, progress=True):
    """Revisited Oxford ("roxford5k") or Paris ("rparis6k"): landmarks, 70 queries, three protocols.

    The database holds 4,993 (Oxford) or 6,322 (Paris) photographs; no query is among them.

    Protocols: ``"easy"`` (easy images count, hard ones are junk), ``"medium"`` (both count) and ``"hard"``
    (hard ones count, easy ones are junk); unclear images are always junk, and junk is deleted before ranks
    are counted. Queries are cropped to their box. The official program computes AP by the trapezoid rule::

        oxford = fetch_revisited("roxford5k")
        queries, database = oxford.split()
        evaluate(ranking, oxford.relevance(queries, database, protocol="hard"), metrics=["trapezoid_map"])

    Papers report medium and hard; what is learnt (whitening, vocabulary) is learnt on other images. Some
    queries have no easy image: under "easy" they are left out of the mean.

    The ground truth is the official one. It comes as a pickle, which is read without resolving any name and
    kept as JSON. No checksum of the files is published: the SHA-256 of the first ones that arrive is recorded
    in ``checksums.json`` and later ones must match.

    Parameters
    ----------
    name : {"roxford5k", "rparis6k"}
    crop : bool, default=True
        Crop the queries to their boxes, as the protocol demands. False gives the whole photographs, for
        comparison.
    root : path-like, optional
        Folder for data sets. Default: the environment variable ``CBIRKIT_DATA``, else ``~/.cache/cbirkit``.
    download : bool, default=True
        False: only use what is there.
    progress : bool, default=True

    Returns
    -------
    Benchmark
        With the protocols "easy", "medium" (default) and "hard". Ids are the official names, without
        ``.jpg``. Pixels are as stored (no EXIF orientation), as the boxes refer to these. The queries' table
        has the columns ``x0``, ``y0``, ``x1``, ``y1`` (box, in pixels).

    Raises
    ------
    ValueError
        Another name.
    DownloadFailed
        A host is gone or a file is another one; the message says what to download by hand and where to put
        it.

    References
    ----------
    Radenović, Iscen, Tolias, Avrithis and Chum (2018), Revisiting Oxford and Paris, CVPR, arXiv:1803.11285.
    Philbin et al. (2007), Object retrieval with large vocabularies and fast spatial matching, CVPR; (2008),
    Lost in Quantization, CVPR.
    """
    if name not in SETS:
        raise ValueError(f"name must be one of {', '.join(SETS)}, got {name!r}")
    ready = prepare(
        SETS[name], partial(_make, SETS[name]), root=root, download=download, progress=progress
    )
    truth = json.loads((ready / "ground_truth.json").read_text("utf-8"))
    boxes = pd.DataFrame(
        [entry["box"] for entry in truth["queries"]], columns=["x0", "y0", "x1", "y1"]
    )
    queries = _collection(ready, truth["query_names"], f"{name} queries", boxes, crop)
    database = _collection(ready, truth["database_names"], name)
    positives, junk = ({p: _sets(truth, PROTOCOLS[p][side]) for p in PROTOCOLS} for side in (0, 1))
    return Benchmark(name, queries, database, positives, junk, "medium")


def _collection(ready, names, title, boxes=None, crop=False):
    paths = [ready / "jpg" / f"{name}.jpg" for name in names]
    table = pd.DataFrame({"path": [str(path) for path in paths]})
    if boxes is not None:
        table = table.join(boxes)
    source = StoredFiles(paths, ready / "jpg", boxes=boxes.to_numpy().tolist() if crop else None)
    return ImageCollection(source, table.set_index(pd.Index(names, dtype=object)), name=title)


def _sets(truth, kinds):
    names = truth["database_names"]
    return {
        query: [names[i] for kind in kinds for i in entry[kind]]
        for query, entry in zip(truth["query_names"], truth["queries"], strict=True)
    }


def _make(data_set, files, folder, progress):
    pickled = files[f"gnd_{data_set.name}.pkl"]
    truth = plain_truth(read_plain(pickled))
    expect(
        len(truth["query_names"]) + len(truth["database_names"]),
        data_set.n_images,
        "names in the ground truth",
    )
    (folder / "ground_truth.json").write_text(json.dumps(truth), "utf-8")
    wanted = {f"{name}.jpg" for name in truth["query_names"] + truth["database_names"]}

    def place(
        name,
    ):  # Paris comes in folders, Oxford without; images that are not part of the benchmark are left out
        last = PurePosixPath(name).name
        return f"jpg/{last}" if last in wanted else None

    unpack_all(
        {key: path for key, path in files.items() if path != pickled}, folder, progress, place
    )
    expect(len(list((folder / "jpg").glob("*.jpg"))), data_set.n_images, "images")


def plain_truth(raw):
    """The official ground truth as plain lists, checked.

    Parameters
    ----------
    raw : dict
        With ``imlist``, ``qimlist`` (names) and ``gnd`` (one dict for each query: ``bbx``, ``easy``,
        ``hard``, ``junk``).

    Returns
    -------
    dict
        ``database_names``, ``query_names`` and ``queries``: for each its ``box`` and the positions of its
        ``easy``, ``hard`` and ``junk`` images.

    Raises
    ------
    ValueError
        Something is missing or is not what it should be.
    """
    try:
        names, query_names = list(raw["imlist"]), list(raw["qimlist"])
        queries = [
            {
                "box": [float(v) for v in entry["bbx"]],
                **{kind: [int(i) for i in entry[kind]] for kind in _KINDS},
            }
            for entry in raw["gnd"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"the ground truth lacks something or holds something else ({type(error).__name__}: {error})"
        ) from error
    if not all(
        isinstance(name, str) and re.fullmatch(r"\w+", name) for name in names + query_names
    ):
        raise ValueError("the ground truth has names that are no plain names of images")
    if len(set(names + query_names)) != len(names) + len(query_names):
        raise ValueError("the ground truth names an image twice")
    if len(queries) != len(query_names):
        raise ValueError(
            f"the ground truth has {len(queries)} entries for {len(query_names)} queries"
        )
    for name, entry in zip(query_names, queries, strict=True):
        _check_entry(name, entry, len(names))
    return {"database_names": names, "query_names": query_names, "queries": queries}


def _check_entry(name, entry, n_images):
    items = [i for kind in _KINDS for i in entry[kind]]
    if len(set(items)) != len(items) or not all(0 <= i < n_images for i in items):
        raise ValueError(
            f"the ground truth of {name} lists an image twice, or one that does not exist"
        )
    box = entry["box"]
    if len(box) != 4 or not all(map(math.isfinite, box)) or box[0] >= box[2] or box[1] >= box[3]:
        raise ValueError(f"the ground truth of {name} has no box")
