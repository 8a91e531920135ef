"""Three sets of photographs that may be used freely: clothing, flowers and land seen from the air. ``cbirkit prefetch photos`` gets them."""

import re
from functools import partial

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from ...images import ImageCollection
from .download import Download
from .preparing import DataSet, expect, prepare, unpack_all

_COMMIT = "11961516512414bf9f6c150a832cfd21b54a6b54"
CLOTHING = DataSet(
    name="clothing",
    title="Clothing dataset (small)",
    n_images=3781,
    downloads=(
        Download(
            "clothing.zip",
            (f"https://github.com/alexeygrigorev/clothing-dataset-small/archive/{_COMMIT}.zip",),
            180,
            None,
        ),
    ),
    unpacked_megabytes=180,
    page="https://github.com/alexeygrigorev/clothing-dataset-small",
    terms="CC0 1.0",
)
FLOWERS = DataSet(
    name="flowers",
    title="Flower photos of TensorFlow",
    n_images=3670,
    downloads=(
        Download(
            "flower_photos.tgz",
            (
                "https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz",
            ),
            229,
            None,
        ),
    ),
    unpacked_megabytes=230,
    page="https://www.tensorflow.org/datasets/catalog/tf_flowers",
    terms="CC BY 2.0; the columns author and page say whom to name",
)
UCMERCED = DataSet(
    name="ucmerced",
    title="UC Merced Land Use",
    n_images=2100,
    downloads=(
        Download(
            "UCMerced_LandUse.zip",
            (
                "http://weegee.vision.ucmerced.edu/datasets/UCMerced_LandUse.zip",
                "https://huggingface.co/datasets/torchgeo/ucmerced/resolve/main/UCMerced_LandUse.zip",
            ),
            332,
            "md5:5b7ec56793786b6dc8a908e8854ac0e4",
        ),
    ),
    unpacked_megabytes=420,
    page="http://weegee.vision.ucmerced.edu/datasets/landuse.html",
    terms="public domain imagery of the USGS; cite Yang and Newsam (2010)",
)
_CREDIT = re.compile(r"(\S+\.jpg) CC-BY by (.*) - (https?://\S+)")


def _make(data_set, files, folder, progress):
    """Images, and the file of credits if there is one, without the archive's outermost folders."""

    def place(name):
        return (
            re.sub(r"^[^/]+/(?:Images/)?", "", name)
            if name.endswith((".jpg", ".tif", "LICENSE.txt"))
            else None
        )

    unpack_all(files, folder, progress, place)
    expect(
        sum(path.suffix in (".jpg", ".tif") for path in folder.rglob("*")),
        data_set.n_images,
        "images",
    )


def _paths(data_set, options):
    ready = prepare(data_set, partial(_make, data_set), **options)
    return ready, sorted(path for path in ready.rglob("*") if path.suffix in (".jpg", ".tif"))


def _fifth(labels, random_state):
    """A fifth of each class, drawn at random, are queries, the rest the database: no split is official."""
    labels, rng = np.array(labels), check_random_state(random_state)
    split = np.full(len(labels), "database", dtype=object)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        split[members[: round(len(members) / 5)]] = "query"
    return split


def fetch_clothing(*, root=None, download=True, progress=True):
    """Photographs of clothes that people took of what they own: 3,781 of ten classes, free for any purpose (CC0).

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
        Ids ``"train/dress/….jpg"`` … Columns ``label`` and ``split``: "database" (3,068, the authors' training part),
        "validation" (341) and "query" (372, their test part).

    Raises
    ------
    DownloadFailed
        The host is gone or the file is another one; the message says what to download by hand and where to put it.

    References
    ----------
    Grigorev (2020), Clothing dataset, the repository named in ``data/README.md``.
    """
    ready, paths = _paths(CLOTHING, {"root": root, "download": download, "progress": progress})
    parts = {"train": "database", "test": "query"}
    split = [parts.get(name := path.parent.parent.name, name) for path in paths]
    table = pd.DataFrame({"label": [path.parent.name for path in paths], "split": split})
    return ImageCollection.from_files(paths, table, root=ready, name=CLOTHING.name)


def fetch_flowers(*, root=None, download=True, progress=True, random_state=0):
    """Photographs of daisies, dandelions, roses, sunflowers and tulips: 3,670, each with its author (CC BY 2.0).

    Parameters
    ----------
    root : path-like, optional
    download : bool, default=True
    progress : bool, default=True
        As for `fetch_clothing`.
    random_state : int or RandomState, default=0
        Draws the fifth of each class that is the queries.

    Returns
    -------
    ImageCollection
        Ids ``"daisy/….jpg"`` … Columns ``label``, ``split`` ("database", "query"), ``author`` and ``page``: whom to name.

    Raises
    ------
    DownloadFailed
        As for `fetch_clothing`.

    References
    ----------
    The TensorFlow Team (2019), Flowers, the page named in ``data/README.md``.
    """
    ready, paths = _paths(FLOWERS, {"root": root, "download": download, "progress": progress})
    text = (
        (ready / "LICENSE.txt").read_text("utf-8", errors="replace")
        if (ready / "LICENSE.txt").exists()
        else ""
    )
    credits = {file: (author, page) for file, author, page in _CREDIT.findall(text)}
    labels = [path.parent.name for path in paths]
    told = [credits.get(path.relative_to(ready).as_posix(), (None, None)) for path in paths]
    columns = {"label": labels, "split": _fifth(labels, random_state)}
    table = pd.DataFrame(
        columns | {"author": [one for one, _ in told], "page": [page for _, page in told]}
    )
    return ImageCollection.from_files(paths, table, root=ready, name=FLOWERS.name)


def fetch_ucmerced(*, root=None, download=True, progress=True, random_state=0):
    """Land use seen from the air: 2,100 images of 256 × 256 pixels, 100 of each of 21 classes (public domain imagery of the USGS).

    Parameters
    ----------
    root : path-like, optional
    download : bool, default=True
    progress : bool, default=True
        As for `fetch_clothing`.
    random_state : int or RandomState, default=0
        Draws the fifth of each class that is the queries, as is usual.

    Returns
    -------
    ImageCollection
        Ids ``"agricultural/agricultural00.tif"`` … Columns ``label`` and ``split`` ("database", "query").

    Raises
    ------
    DownloadFailed
        As for `fetch_clothing`.

    References
    ----------
    Yang and Newsam (2010), Bag-of-visual-words and spatial extensions for land-use classification, ACM SIGSPATIAL,
    doi:10.1145/1869790.1869829.
    """
    ready, paths = _paths(UCMERCED, {"root": root, "download": download, "progress": progress})
    labels = [path.parent.name for path in paths]
    table = pd.DataFrame({"label": labels, "split": _fifth(labels, random_state)})
    return ImageCollection.from_files(paths, table, root=ready, name=UCMERCED.name)
