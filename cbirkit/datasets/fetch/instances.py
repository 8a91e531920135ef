"""Sets of the same object or place seen again: UKBench, INRIA Holidays, revisited Oxford and Paris."""

import json
import math
import re
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from cbirkit.images import ImageCollection

from .benchmark import Benchmark
from .readers import StoredFiles, read_pickle
from .registry import expect, prepare, register
from .unpack import unpack

PROTOCOLS = {  # of revisited Oxford and Paris: what counts, what is junk
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}
_KINDS = ("easy", "hard", "junk")


def _stored(ids, paths, root, name, columns, **options):
    """A collection of files whose pixels are taken as they are stored."""
    table = pd.DataFrame(columns, index=pd.Index(ids, dtype=object))
    table["path"] = [str(path) for path in paths]
    return ImageCollection(StoredFiles(paths, root, **options), table, name=name)


@register("ukbench")
def fetch_ukbench(*, root=None, download=True, progress=True):
    """UKBench: 10,200 photographs (640 × 480) of 2,550 objects, four of each.

    Protocol: every image is a query, all 10,200 are the database, the query itself stays in it, and the score
    is the mean number of the object's four images among the first four (0 to 4; `evaluate` calls it
    ``ukbench``)::

        images = fetch_ukbench()
        relevance = images.relevance(keep_self=True)

    The original host is gone; the file comes from the Internet Archive. No checksum is published: the SHA-256
    of the first file that arrives is recorded in ``checksums.json`` and later ones must match.

    Parameters
    ----------
    root : path-like, optional
        Folder for data sets. Default: the environment variable ``CBIRKIT_DATA``, else ``~/.cache/cbirkit``.
    download : bool, default=True
        False: only use what is there.
    progress : bool, default=True

    Returns
    -------
    ImageCollection
        Ids ``"ukbench00000.jpg"`` … Column ``instance`` (int, 0 to 2,549). Some files carry an EXIF
        orientation, which published figures ignore: pixels are given as stored.

    Raises
    ------
    DownloadFailed
        The host is gone or the file is another one; the message says what to download by hand and where to
        put it.

    References
    ----------
    Nistér and Stewénius (2006), Scalable Recognition with a Vocabulary Tree, CVPR.
    """
    ready = prepare("ukbench", root=root, download=download, progress=progress)
    paths = sorted(ready.glob("ukbench*.jpg"))
    columns = {"instance": [int(path.stem[-5:]) // 4 for path in paths]}
    return _stored([path.name for path in paths], paths, ready, "ukbench", columns)


def _make_turns(data_set, files, folder, progress):
    """The table is written like JSON, but for a comma too many: it is read entry by entry, and kept as JSON."""
    text = files["holidays-rotate.yaml"].read_text("ascii")
    found = re.findall(r'"(\d{6}\.jpg)":\s*(90|180|270)\b', text)
    turns = {name: int(degrees) for name, degrees in found}
    if not turns or len(turns) != text.count(":"):
        raise ValueError("the table does not hold names and turns of 90, 180 or 270 degrees")
    (folder / "turns.json").write_text(json.dumps(turns), "utf-8")


@register("holidays")
@register("holidays_upright", upright=True)
def fetch_holidays(*, upright=False, root=None, download=True, progress=True):
    """INRIA Holidays: 1,491 photographs of 500 scenes; the first of each scene is the query.

    Protocol: 500 queries against all 1,491 images, the query itself left out by its id, so the other queries
    are distractors; mean average precision, which the authors' program computes by the trapezoid rule
    (``metrics=["trapezoid_map"]``)::

        holidays = fetch_holidays(upright=True)
        queries, database = holidays.split()
        relevance = holidays.relevance(queries, database)

    Some 200 photographs lie on their side. Since Babenko et al. (2014) many papers turn them upright by hand
    first, which helps features that are not invariant to rotation; say which variant a figure is for.

    No checksum of the archives or of the table is published: the SHA-256 of the first files that arrive is
    recorded in ``checksums.json`` and later ones must match. A download that
    breaks is continued.

    Parameters
    ----------
    upright : bool, default=False
        Turn photographs upright by the table of MultiGrain (Berman et al. 2019), which is downloaded from its
        repository. Otherwise pixels are as stored: an EXIF orientation is not applied in either case.
    root : path-like, optional
        Folder for data sets. Default: the environment variable ``CBIRKIT_DATA``, else ``~/.cache/cbirkit``.
    download : bool, default=True
        False: only use what is there.
    progress : bool, default=True

    Returns
    -------
    Benchmark
        Ids ``"100000.jpg"`` … Columns ``instance`` (int: the scene, 1000 to 1499) and ``query`` (bool); with
        `upright` also ``turned`` (degrees clockwise).

    Raises
    ------
    DownloadFailed
        A host is gone or a file is another one; the message says what to download by hand and where to put
        it.

    References
    ----------
    Jégou, Douze and Schmid (2008), Hamming Embedding and Weak Geometric Consistency, ECCV. Babenko, Slesarev,
    Chigorin and Lempitsky (2014), Neural Codes for Image Retrieval, arXiv:1404.1777. Berman et al. (2019),
    MultiGrain, arXiv:1902.05509.
    """
    options = {"root": root, "download": download, "progress": progress}
    ready = prepare("holidays", **options)
    paths = sorted(ready.glob("*.jpg"))
    names = [path.name for path in paths]
    numbers = np.array([int(path.stem) for path in paths])
    columns, turns = {"instance": numbers // 100, "query": numbers % 100 == 0}, None
    if upright:
        folder = prepare("holidays_upright", _make_turns, **options)
        known = json.loads((folder / "turns.json").read_text("utf-8"))
        columns["turned"] = turns = [known.get(name, 0) for name in names]
    name = "holidays, upright" if upright else "holidays"
    images = _stored(names, paths, ready, name, columns, turns=turns)
    table = images.table
    groups = table.groupby("instance").groups
    queries = images[table["query"].to_numpy()]
    positives = {
        query: [i for i in groups[table.at[query, "instance"]] if i != query]
        for query in queries.ids
    }
    return Benchmark(name, queries, images, {"standard": positives}, {"standard": {}}, "standard")


@register("roxford5k", name="roxford5k")
@register("rparis6k", name="rparis6k")
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
    if name not in ("roxford5k", "rparis6k"):
        raise ValueError(f"name must be one of roxford5k, rparis6k, got {name!r}")
    ready = prepare(name, _make_revisited, root=root, download=download, progress=progress)
    truth = json.loads((ready / "ground_truth.json").read_text("utf-8"))
    boxes = [entry["box"] for entry in truth["queries"]]

    def collection(kind, title, columns, **options):
        paths = [ready / "jpg" / f"{name}.jpg" for name in truth[kind]]
        return _stored(truth[kind], paths, ready / "jpg", title, columns, **options)

    columns = dict(zip(("x0", "y0", "x1", "y1"), zip(*boxes, strict=True), strict=True))
    crops = boxes if crop else None
    queries = collection("query_names", f"{name} queries", columns, boxes=crops)
    database = collection("database_names", name, {})
    positives, junk = ({p: _sets(truth, PROTOCOLS[p][side]) for p in PROTOCOLS} for side in (0, 1))
    return Benchmark(name, queries, database, positives, junk, "medium")


def _sets(truth, kinds):
    names = truth["database_names"]
    return {
        query: [names[i] for kind in kinds for i in entry[kind]]
        for query, entry in zip(truth["query_names"], truth["queries"], strict=True)
    }


def _make_revisited(data_set, files, folder, progress):
    pickled, *archives = files.values()
    truth = plain_truth(read_pickle(pickled))
    names = truth["query_names"] + truth["database_names"]
    expect(len(names), data_set.n_images, "names in the ground truth")
    (folder / "ground_truth.json").write_text(json.dumps(truth), "utf-8")
    wanted = {f"{name}.jpg" for name in names}

    def place(name):  # Paris comes in folders, Oxford without; others are not part of the benchmark
        last = PurePosixPath(name).name
        return f"jpg/{last}" if last in wanted else None

    for archive in archives:
        unpack(archive, folder, place=place, progress=progress)
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

    def demand(fine, problem):
        if not fine:
            raise ValueError(f"the ground truth {problem}")

    try:
        names, query_names = list(raw["imlist"]), list(raw["qimlist"])
        queries = [
            {kind: [int(i) for i in entry[kind]] for kind in _KINDS}
            | {"box": [float(v) for v in entry["bbx"]]}
            for entry in raw["gnd"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        demand(False, f"lacks something or holds something else ({type(error).__name__}: {error})")
    together = names + query_names
    plain = all(isinstance(name, str) and re.fullmatch(r"\w+", name) for name in together)
    demand(plain, "has names that are no plain names of images")
    demand(len(set(together)) == len(together), "names an image twice")
    numbers = f"{len(queries)} entries for {len(query_names)} queries"
    demand(len(queries) == len(query_names), f"has {numbers}")
    for name, entry in zip(query_names, queries, strict=True):
        items, box = [i for kind in _KINDS for i in entry[kind]], entry["box"]
        good = len(set(items)) == len(items) and set(items) <= set(range(len(names)))
        demand(good, f"of {name} lists an image twice, or one that does not exist")
        good = len(box) == 4 and all(map(math.isfinite, box))
        demand(good and box[0] < box[2] and box[1] < box[3], f"of {name} has no box")
    return {"database_names": names, "query_names": query_names, "queries": queries}
