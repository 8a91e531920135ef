"""INRIA Holidays: 500 scenes of holiday photographs, also turned upright."""

import json
import re

import pandas as pd

from ...images import ImageCollection
from .download import Download
from .preparing import DataSet, expect, prepare, unpack_all
from .result import Benchmark
from .stored_files import StoredFiles

_PLACES = (
    "ftp://ftp.inrialpes.fr/pub/lear/douze/data/",
    "http://pascal.inrialpes.fr/data/holidays/",
)
_MULTIGRAIN = "https://raw.githubusercontent.com/facebookresearch/multigrain"

SET = DataSet(
    name="holidays",
    title="INRIA Holidays",
    n_images=1491,
    downloads=(
        Download("jpg1.tar.gz", tuple(place + "jpg1.tar.gz" for place in _PLACES), 1142),
        Download("jpg2.tar.gz", tuple(place + "jpg2.tar.gz" for place in _PLACES), 1701),
    ),
    unpacked_megabytes=2850,
    page="https://lear.inrialpes.fr/people/jegou/data.php.html",
    terms="copyright INRIA; cite Jégou, Douze and Schmid (2008)",
)
N_QUERIES = 500

UPRIGHT = DataSet(
    name="holidays_upright",
    title="the table that turns INRIA Holidays upright",
    n_images=0,
    downloads=(
        Download(
            "holidays-rotate.yaml",
            (
                f"{_MULTIGRAIN}/53c5ccf39e936a996691f0f278f43abd5b81acce/multigrain/datasets/holidays-rotate.yaml",
            ),
            0.01,
        ),
    ),
    unpacked_megabytes=0.01,
    page="https://github.com/facebookresearch/multigrain",
    terms="CC BY-NC 4.0 (the repository's licence)",
)


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
    recorded in ``checksums.json`` and later ones must match. The FTP server can be slow; a download that
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
    ready = prepare(SET, _make, root=root, download=download, progress=progress)
    paths = sorted(ready.glob("*.jpg"))
    names = [path.name for path in paths]
    numbers = [int(path.stem) for path in paths]
    table = pd.DataFrame(
        {
            "instance": [number // 100 for number in numbers],
            "query": [number % 100 == 0 for number in numbers],
            "path": [str(path) for path in paths],
        },
        index=pd.Index(names, dtype=object),
    )
    turns = None
    if upright:
        place = prepare(UPRIGHT, _make_upright, root=root, download=download, progress=progress)
        known = json.loads((place / "turns.json").read_text("utf-8"))
        turns = [known.get(name, 0) for name in names]
        table["turned"] = turns
    name = "holidays, upright" if upright else "holidays"
    images = ImageCollection(StoredFiles(paths, ready, turns=turns), table, name=name)
    groups = table.groupby("instance").groups
    queries = images[table["query"].to_numpy()]
    positives = {
        query: [i for i in groups[table.at[query, "instance"]] if i != query]
        for query in queries.ids
    }
    return Benchmark(name, queries, images, {"standard": positives}, {"standard": {}}, "standard")


def _make(files, folder, progress):
    def place(name):
        return match[1] if (match := re.fullmatch(r"(?:.*/)?(\d{6}\.jpg)", name)) else None

    unpack_all(files, folder, progress, place)
    names = [path.name for path in folder.glob("*.jpg")]
    expect(len(names), SET.n_images, "images")
    expect(sum(name.endswith("00.jpg") for name in names), N_QUERIES, "queries")


def _make_upright(files, folder, progress):
    """The table is written like JSON, but for a comma too many: it is read entry by entry, and kept as
    JSON."""
    text = files["holidays-rotate.yaml"].read_text("ascii")
    turns = {
        name: int(degrees)
        for name, degrees in re.findall(r'"(\d{6}\.jpg)":\s*(90|180|270)\b', text)
    }
    if not turns or len(turns) != text.count(":"):
        raise ValueError("the table does not hold names and turns of 90, 180 or 270 degrees")
    (folder / "turns.json").write_text(json.dumps(turns), "utf-8")
